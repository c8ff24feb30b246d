//! Verifying an image: what would fail at boot, found on the build machine.

use std::collections::{BTreeMap, BTreeSet};

use object::elf::Machine;

use crate::archive::{self, Entries, Entry};
use crate::compression::decode_module;
use crate::index::{Found, Index, Module};
use crate::modinfo::{Modinfo, name_of, normal};
use crate::program::{BERTH, defect_of};
use crate::resolve::COMPANIONS;
use crate::root_archive;

/// More missing files than this are only counted.
const MISSING_LIMIT: usize = 10;

/// The defects of an image, one line each; none if it can boot as far as can be seen from here.
/// `release` is that of the kernel it is for, if known.
#[must_use]
pub fn verify(image: &[u8], release: Option<&str>) -> Vec<String> {
    let entries = match archive::read(image) {
        Ok(entries) => entries,
        Err(error) => return vec![format!("unreadable: {error:#}")],
    };
    let mut defects = Vec::new();
    let releases = releases(&entries);
    if releases
        .iter()
        .any(|directory| directory.path.starts_with("usr/"))
        && !entries.contains_key("lib")
    {
        defects.push(
            "the modules are in /usr/lib/modules, and there is no link /lib to /usr/lib".into(),
        );
    }
    let mut machine = None;
    for directory in &releases {
        if release.is_none_or(|release| directory.release == release) {
            machine = machine.or(check_release(&entries, directory, &mut defects));
        }
    }
    match entries.get("init") {
        Some(init) => defects.extend(defect_of("init", init, machine)),
        None => defects
            .push("/init is missing: the kernel would look for a root filesystem instead".into()),
    }
    if let Some(berth) = entries.get(BERTH) {
        defects.extend(defect_of(BERTH, berth, machine));
    }
    if let Some(release) = release
        && !releases.is_empty()
        && releases
            .iter()
            .all(|directory| directory.release != release)
    {
        let found: Vec<_> = releases
            .iter()
            .map(|directory| directory.release.as_str())
            .collect();
        defects.push(format!(
            "the modules are for kernel {}, not for {release}",
            found.join(", ")
        ));
    }
    match entries.get(root_archive::PATH) {
        Some(archive) => {
            let defect = root_archive::check(&archive.data).err();
            defects.extend(defect.map(|error| format!("/{}: {error:#}", root_archive::PATH)));
        }
        None if wants_root_archive(&entries) => defects.push(format!(
            "/etc/berth/cmdline says root=tmpfs, and there is no /{}",
            root_archive::PATH
        )),
        None => {}
    }
    if releases.is_empty() && !wanted(&entries).is_empty() {
        defects.push("/etc/berth/modules names modules, but the image has none".into());
    }
    defects
}

fn wants_root_archive(entries: &Entries) -> bool {
    let cmdline = entries.get("etc/berth/cmdline");
    cmdline.is_some_and(|entry| {
        let words = String::from_utf8_lossy(&entry.data);
        words.split_whitespace().any(|word| word == "root=tmpfs")
    })
}

/// The modules of one release in the image.
struct Release {
    /// Path of the directory.
    path: String,
    release: String,
}

fn releases(entries: &Entries) -> Vec<Release> {
    let mut found = BTreeSet::new();
    for path in entries.keys() {
        // usr/lib: images packed from a tree where /lib is a link to it.
        for base in ["lib/modules/", "usr/lib/modules/"] {
            let below = path
                .strip_prefix(base)
                .and_then(|rest| rest.split_once('/'));
            found.extend(below.map(|(release, _)| (base, release)));
        }
    }
    let release = |(base, release): (&str, &str)| Release {
        path: format!("{base}{release}"),
        release: release.to_owned(),
    };
    found.into_iter().map(release).collect()
}

/// The names in `/etc/berth/modules`.
fn wanted(entries: &Entries) -> Vec<String> {
    let list = entries
        .get("etc/berth/modules")
        .map(|entry| String::from_utf8_lossy(&entry.data));
    let lines = list.iter().flat_map(|list| list.lines()).map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Checks one release's modules and indexes; gives the machine they are for.
fn check_release(
    entries: &Entries,
    directory: &Release,
    defects: &mut Vec<String>,
) -> Option<Machine> {
    let Release {
        path: base,
        release,
    } = directory;
    let files: BTreeMap<&str, &Entry> = entries
        .iter()
        .filter_map(|(path, entry)| Some((path.strip_prefix(base)?.strip_prefix('/')?, entry)))
        .collect();
    let mut machine = None;
    for (path, entry) in &files {
        if name_of(path).is_none() || !entry.is_file() {
            continue;
        }
        match decode_module(path, entry.data.clone()).and_then(|elf| Modinfo::read(&elf)) {
            Ok(info) if info.release != *release => {
                defects.push(format!(
                    "/{base}/{path} was built for kernel {}",
                    info.release
                ));
            }
            Ok(info) => machine = info.machine,
            Err(error) => defects.push(format!("/{base}/{path}: {error:#}")),
        }
    }
    if !files.contains_key("modules.dep") {
        defects.push(format!(
            "/{base}/modules.dep is missing: no module can be found without it"
        ));
        return machine;
    }
    let index = Index::read(&mut |name| Ok(files.get(name).map(|entry| entry.data.clone())));
    match index {
        Ok(index) => check_index(entries, base, &files, &index, defects),
        Err(error) => defects.push(format!("/{base}/{error:#}")),
    }
    machine
}

fn check_index(
    entries: &Entries,
    base: &str,
    files: &BTreeMap<&str, &Entry>,
    index: &Index,
    defects: &mut Vec<String>,
) {
    let mut loaded = BTreeSet::new();
    for name in wanted(entries) {
        match index.find(&name) {
            Found::Modules(modules) => {
                let deps = modules
                    .iter()
                    .flat_map(|module| &index.modules[module].deps)
                    .cloned();
                loaded.extend(deps.collect::<Vec<_>>());
                loaded.extend(modules);
            }
            Found::Builtin => {
                loaded.insert(normal(&name));
            }
            // Without modules.builtin it may be built in.
            Found::Nowhere if index.builtin.is_none() => {}
            Found::Nowhere => {
                defects.push(format!(
                    "/etc/berth/modules: {name} is no module of the image and not built in"
                ));
            }
        }
    }
    let has_file = |module: &Module| files.contains_key(module.path.as_str());
    let mut missing: Vec<_> = index
        .modules
        .iter()
        .filter(|(_, module)| !has_file(module))
        .collect();
    // What the image loads comes first; the rest may be a whole index beside a few files.
    missing.sort_by_key(|(name, _)| !loaded.contains(*name));
    for (_, module) in missing.iter().take(MISSING_LIMIT) {
        defects.push(format!(
            "/{base}/{} is missing, but modules.dep lists it",
            module.path
        ));
    }
    if missing.len() > MISSING_LIMIT {
        defects.push(format!(
            "/{base}: {} more files that modules.dep lists are missing",
            missing.len() - MISSING_LIMIT
        ));
    }
    for companion in COMPANIONS {
        let of = companion.of;
        let builtin = |name: &str| index.find(name) == Found::Builtin;
        let stored = |name: &str| index.modules.get(name).is_some_and(has_file);
        let there = |name: &str| builtin(name) || stored(name);
        let ready = |name: &str| builtin(name) || loaded.contains(name);
        if stored(of)
            && let Some(lacks) = companion.lacks(there)
        {
            defects.push(format!(
                "{of} cannot mount without {lacks}, which the image lacks"
            ));
        } else if loaded.contains(of)
            && let Some(lacks) = companion.lacks(ready)
        {
            defects.push(format!(
                "{of} cannot mount without {lacks}, which /etc/berth/modules does not load"
            ));
        }
    }
}

#[cfg(test)]
mod tests;
