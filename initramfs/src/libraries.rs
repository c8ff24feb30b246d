//! The libraries of a program that is linked dynamically: what the dynamic linker would find, in
//! its order (ld.so(8)).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use object::Endianness;
use object::elf::{
    DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB, DynamicTag, EM_AARCH64, FileHeader64,
};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

/// Where libraries are, for the machine whose name stands for `*`.
const PLACES: [&str; 6] = [
    "/lib/*",
    "/usr/lib/*",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// What a program or a library asks for.
#[derive(Default)]
struct Wanted {
    interpreter: Option<PathBuf>,
    names: Vec<String>,
    places: Vec<PathBuf>,
}

/// The dynamic linker and all libraries that the program at `path` needs, as they are found on this
/// machine. None for one that is static, or a script.
pub(crate) fn of(path: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut left = vec![path.to_owned()];
    while let Some(file) = left.pop() {
        let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        let wanted = wanted(&bytes, &file).unwrap_or_default();
        let named = wanted.names.iter().map(|name| {
            let mut places = wanted.places.iter().map(|place| place.join(name));
            let place = places.find(|place| place.is_file());
            place.with_context(|| format!("{} needs {name}, which is not there", file.display()))
        });
        let named = named.collect::<Result<Vec<_>>>()?;
        for library in wanted.interpreter.into_iter().chain(named) {
            ensure!(library.is_file(), "{} is not there", library.display());
            if found.insert(library.clone()) {
                left.push(library);
            }
        }
    }
    Ok(found)
}

/// What the file asks for; `None` if it is not linked dynamically.
fn wanted(bytes: &[u8], path: &Path) -> Option<Wanted> {
    let header = FileHeader64::<Endianness>::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, bytes).ok()?;
    let machine = match header.e_machine(endian) {
        EM_AARCH64 => "aarch64-linux-gnu",
        _ => "x86_64-linux-gnu",
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let interpreter = segments.iter().find_map(|segment| {
        let name = segment.interpreter(endian, bytes).ok()??;
        text(name.strip_suffix(b"\0").unwrap_or(name)).map(PathBuf::from)
    });
    let mut tables = segments.iter();
    let entries = tables.find_map(|segment| segment.dynamic(endian, bytes).ok()?)?;
    let value = |tag: DynamicTag| {
        let entry = entries.iter().find(|entry| entry.tag(endian) == tag);
        entry.map(|entry| entry.val(endian))
    };
    let (address, size) = (value(DT_STRTAB)?, value(DT_STRSZ)?);
    let strings = segments
        .iter()
        .find_map(|segment| segment.data_range(endian, bytes, address, size).ok()?)?;
    let string = |at: u64| {
        let rest = strings.get(usize::try_from(at).ok()?..)?;
        text(rest.split(|byte| *byte == 0).next()?)
    };
    let all = |tag: DynamicTag| {
        let entries = entries.iter().filter(move |entry| entry.tag(endian) == tag);
        entries.filter_map(|entry| string(entry.val(endian)))
    };
    let origin = path.parent()?.display().to_string();
    let own = all(DT_RPATH).chain(all(DT_RUNPATH)).flat_map(|places| {
        let places = places
            .replace("${ORIGIN}", &origin)
            .replace("$ORIGIN", &origin);
        places.split(':').map(PathBuf::from).collect::<Vec<_>>()
    });
    let usual = PLACES
        .iter()
        .map(|place| PathBuf::from(place.replace('*', machine)));
    Some(Wanted {
        interpreter,
        names: all(DT_NEEDED).collect(),
        places: own.chain(usual).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the dynamic linker itself says.
    #[test]
    fn what_the_dynamic_linker_finds_is_found() {
        let program = std::env::current_exe().unwrap();
        let output = std::process::Command::new("ldd")
            .arg(&program)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let words = text.lines().filter_map(|line| {
            let path = line.split_whitespace().find(|word| word.starts_with('/'))?;
            Some(fs::canonicalize(path).unwrap())
        });
        let found = of(&program).unwrap();
        let found: BTreeSet<_> = found
            .iter()
            .map(|path| fs::canonicalize(path).unwrap())
            .collect();
        assert_eq!(found, words.collect());
        assert!(found.len() > 1, "{text}");
    }

    #[test]
    fn a_script_needs_none() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("fsck.xfs");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        assert!(of(&script).unwrap().is_empty());
    }
}
