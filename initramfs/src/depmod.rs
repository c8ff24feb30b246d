//! What depmod(8) does, for trees it never ran on: a distribution's kernel package that was
//! unpacked, not installed.
//!
//! Every module names its direct dependencies in `.modinfo`, so no symbol needs to be resolved.
//! `modules.dep` then lists for each module *all* that it needs, such that loading the list from
//! right to left and then the module itself never meets an unknown symbol. kmod promises no more
//! about the order, and neither does this; lines are sorted by path.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::compression::decode_module;
use crate::modinfo::{Modinfo, name_of};

/// Name and text of each index, `modules.dep` last: where it is, the others are.
pub(crate) type Indexes = [(&'static str, String); 3];

/// Reads all modules below `dir`, the directory `lib/modules/<release>` of a tree, and writes
/// `modules.dep`, `modules.alias` and `modules.softdep` there.
///
/// # Errors
/// A module that cannot be read, or a directory that cannot be written. An existing `modules.dep`
/// is replaced only when all went well.
pub fn write(dir: &Path) -> Result<()> {
    for (name, text) in generate(dir)? {
        let partial = dir.join(format!("{name}.partial"));
        fs::write(&partial, text).with_context(|| format!("write {}", partial.display()))?;
        let path = dir.join(name);
        fs::rename(&partial, &path).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

pub(crate) fn generate(dir: &Path) -> Result<Indexes> {
    let mut modules = BTreeMap::new();
    for path in module_files(dir)? {
        let Some(name) = name_of(&path) else { continue };
        let file = dir.join(&path);
        let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        let info = decode_module(&path, bytes).and_then(|elf| Modinfo::read(&elf));
        let info = info.with_context(|| format!("read {}", file.display()))?;
        // Of two files with one name, depmod.d(5) prefers the one below updates/.
        if path.starts_with("updates/") || !modules.contains_key(&name) {
            modules.insert(name, (path, info));
        }
    }
    let mut dep = Vec::new();
    let mut alias = "# Aliases extracted from modules themselves.\n".to_owned();
    let mut softdep = "# Soft dependencies extracted from modules themselves.\n".to_owned();
    for (name, (path, info)) in &modules {
        let mut order = Vec::new();
        load_order(name, &modules, &mut order);
        let deps = order
            .iter()
            .rev()
            .skip(1)
            .map(|dep| format!(" {}", modules[*dep].0));
        dep.push(format!("{path}:{}\n", deps.collect::<String>()));
        alias.extend(
            info.aliases
                .iter()
                .map(|pattern| format!("alias {pattern} {name}\n")),
        );
        softdep.extend(
            info.softdeps
                .iter()
                .map(|text| format!("softdep {name} {text}\n")),
        );
    }
    dep.sort_unstable();
    Ok([
        ("modules.alias", alias),
        ("modules.softdep", softdep),
        ("modules.dep", dep.concat()),
    ])
}

/// Appends `name` behind all that it needs. What no file provides is built in or missing: no matter
/// for an index.
fn load_order<'a>(
    name: &str,
    modules: &'a BTreeMap<String, (String, Modinfo)>,
    order: &mut Vec<&'a str>,
) {
    let Some((name, (_, info))) = modules.get_key_value(name) else {
        return;
    };
    if order.contains(&name.as_str()) {
        return;
    }
    for dependency in &info.depends {
        load_order(dependency, modules, order);
    }
    order.push(name);
}

/// Paths of all module files below `dir`, sorted. Symbolic links to directories, such as `build`,
/// are not followed.
pub(crate) fn module_files(dir: &Path) -> Result<Vec<String>> {
    fn walk(dir: &Path, prefix: &str, found: &mut Vec<String>) -> Result<()> {
        let listing =
            fs::read_dir(dir).with_context(|| format!("read directory {}", dir.display()))?;
        for entry in listing {
            let entry = entry.with_context(|| format!("read directory {}", dir.display()))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let path = format!("{prefix}{name}");
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(&entry.path(), &format!("{path}/"), found)?;
            } else if name_of(&path).is_some() {
                found.push(path);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(dir, "", &mut found)?;
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Module, vfat_tree, write_tree};

    #[test]
    fn indexes_have_the_form_of_kmod() {
        let root = tempfile::tempdir().unwrap();
        let dir = vfat_tree(root.path());
        write(&dir).unwrap();
        let text = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
        assert_eq!(
            text("modules.dep"),
            "kernel/drivers/scsi/scsi_mod.ko.gz:\n\
             kernel/drivers/scsi/sd_mod.ko: kernel/drivers/scsi/scsi_mod.ko.gz\n\
             kernel/fs/fat/fat.ko.xz:\n\
             kernel/fs/fat/vfat.ko.xz: kernel/fs/fat/fat.ko.xz\n\
             kernel/fs/nls/nls_ascii.ko.xz:\n\
             kernel/fs/nls/nls_cp437.ko.xz:\n\
             kernel/fs/nls/nls_iso8859-1.ko.xz:\n\
             kernel/lib/t10-pi.ko.zst:\n"
        );
        assert!(text("modules.alias").ends_with("alias t10 t10_pi\nalias fs-vfat vfat\n"));
        assert!(text("modules.softdep").ends_with("softdep sd_mod pre: t10\n"));
    }

    #[test]
    fn dependencies_stand_to_the_right_of_what_needs_them() {
        let root = tempfile::tempdir().unwrap();
        let modules = [
            ("top.ko", Module::new("top").depends("left,right")),
            ("left.ko", Module::new("left").depends("base")),
            ("right.ko", Module::new("right").depends("left,absent")),
            ("base.ko", Module::new("base")),
        ];
        let [_, _, (_, dep)] = generate(&write_tree(root.path(), &modules, None)).unwrap();
        assert!(dep.ends_with("top.ko: right.ko left.ko base.ko\n"), "{dep}");
    }

    #[test]
    fn updates_go_before_what_they_update() {
        let root = tempfile::tempdir().unwrap();
        let modules = [
            ("kernel/a.ko", Module::new("a")),
            ("updates/a.ko", Module::new("a")),
            ("zz/a.ko", Module::new("a")),
        ];
        let [_, _, (_, dep)] = generate(&write_tree(root.path(), &modules, None)).unwrap();
        assert_eq!(dep, "updates/a.ko:\n");
    }

    #[test]
    fn damaged_module_is_named() {
        let root = tempfile::tempdir().unwrap();
        let dir = vfat_tree(root.path());
        fs::write(dir.join("kernel/fs/fat/vfat.ko.xz"), "not xz").unwrap();
        let error = format!("{:#}", write(&dir).unwrap_err());
        assert!(
            error.contains("kernel/fs/fat/vfat.ko.xz: the content is not what the suffix says"),
            "{error}"
        );
        assert!(!dir.join("modules.dep").exists());
    }
}
