//! From the names that were asked for to the modules that go in.
//!
//! The closure is that of modprobe(8): a name or alias, what `modules.dep` lists for it, and what
//! the softdeps of each of these ask for. On top come [`COMPANIONS`]: modules that no index names,
//! because the code that needs them asks for them by name at run time, and in an initramfs there is
//! no modprobe for the kernel to call.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::index::{Found, Index};
use crate::kernel::Config;
use crate::modinfo::normal;

/// Modules that another one asks the kernel for by name.
pub(crate) struct Companion {
    /// The module that asks.
    pub(crate) of: &'static str,
    /// Needed in any case.
    pub(crate) all: &'static [&'static str],
    /// One of these is needed; which, depends on the kernel's configuration and the mount options.
    pub(crate) any: &'static [&'static str],
}

/// Filesystems that call `load_nls()` when mounted and fail without it. Others (exfat, isofs, udf,
/// ntfs3) do without by default.
pub(crate) const COMPANIONS: &[Companion] = &[
    // Codepage for the short names, character set for the long ones: fs/fat/inode.c,
    // CONFIG_FAT_DEFAULT_{CODEPAGE,IOCHARSET}.
    Companion {
        of: "vfat",
        all: &["nls_cp437"],
        any: &["nls_ascii", "nls_iso8859_1", "nls_utf8"],
    },
    Companion {
        of: "msdos",
        all: &["nls_cp437"],
        any: &[],
    },
    // fs/hfsplus/super.c: UTF-8 is used to find the hidden directory, whatever the options.
    Companion {
        of: "hfsplus",
        all: &["nls_utf8"],
        any: &[],
    },
];

/// What goes into the image.
#[derive(Debug, Default)]
pub(crate) struct Resolution {
    /// Names for `/etc/berth/modules`: the modules asked for, in order, then their companions.
    pub(crate) load: Vec<String>,
    /// All modules to store.
    pub(crate) closure: BTreeSet<String>,
    /// Modules that are to be loaded before another one, which no index names: its softdeps in the
    /// image.
    pub(crate) before: Vec<(&'static str, Vec<String>)>,
    /// Lines for the user: built in, added, not found.
    pub(crate) notes: Vec<String>,
}

/// Resolves `names`, module names or aliases.
///
/// # Errors
/// Names that are neither a module nor built in, all of them in one message with what they look
/// like. Where the tree does not say what is built in, such a name is a note instead.
pub(crate) fn resolve(
    index: &Index,
    names: &[String],
    include: &[String],
    config: Option<&Config>,
) -> Result<Resolution> {
    let mut resolution = Resolution::default();
    let mut missing = Vec::new();
    let named = names.iter().map(|name| (name, true));
    for (name, is_listed) in named.chain(include.iter().map(|name| (name, false))) {
        match index.find(name) {
            Found::Modules(modules) => {
                if modules != [normal(name)] {
                    resolution
                        .notes
                        .push(format!("{name}: alias of {}", modules.join(", ")));
                }
                for module in modules {
                    match is_listed {
                        true => resolution.load(index, module),
                        false => resolution.visit(index, &module),
                    }
                }
            }
            Found::Builtin => resolution
                .notes
                .push(format!("{name}: built into the kernel")),
            Found::Nowhere => {
                let near = match index.near_misses(name).join(", ") {
                    near if near.is_empty() => near,
                    near => format!("; there is {near}"),
                };
                if index.builtin.is_some() {
                    missing.push(format!("{name}: no such module, alias or built-in{near}"));
                } else {
                    resolution.notes.push(format!(
                        "{name}: no such module; left out, as it may be built in (this kernel has no modules.builtin){near}"
                    ));
                }
            }
        }
    }
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    for companion in COMPANIONS {
        let is_it = |name: &String| normal(name) == companion.of;
        let is_listed = names.iter().any(is_it) || resolution.load.iter().any(is_it);
        if is_listed || resolution.closure.contains(companion.of) {
            resolution.add_companions(index, companion, config, is_listed);
        }
    }
    Ok(resolution)
}

impl Resolution {
    fn load(&mut self, index: &Index, module: String) {
        self.visit(index, &module);
        if !self.load.contains(&module) {
            self.load.push(module);
        }
    }

    fn visit(&mut self, index: &Index, name: &str) {
        let Some(module) = index.modules.get(name) else {
            return;
        };
        if !self.closure.insert(name.to_owned()) {
            return;
        }
        for dependency in &module.deps {
            self.visit(index, dependency);
        }
        for wanted in index.softdeps(name) {
            // Soft: what is not there is not needed.
            if let Found::Modules(modules) = index.find(wanted) {
                modules.iter().for_each(|module| self.visit(index, module));
            }
        }
    }

    /// Stores all that may be asked for, and has those loaded that are by default: before the
    /// module where it is loaded by need, by name where it is listed.
    fn add_companions(
        &mut self,
        index: &Index,
        companion: &Companion,
        config: Option<&Config>,
        is_listed: bool,
    ) {
        let of = companion.of;
        let defaults = companion.defaults(config);
        let mut before = Vec::new();
        let mut added = Vec::new();
        for name in companion.all.iter().chain(companion.any) {
            let Found::Modules(modules) = index.find(name) else {
                continue;
            };
            let is_default = defaults
                .as_ref()
                .is_none_or(|names| names.contains(&normal(name)));
            for module in modules {
                self.visit(index, &module);
                if is_default {
                    before.push(module.clone());
                    if !self.load.contains(&module) {
                        added.push(module);
                    }
                }
            }
        }
        if !added.is_empty() {
            self.notes.push(format!(
                "{of}: added {}, which modules.dep does not name",
                added.join(", ")
            ));
        }
        if is_listed {
            self.load.append(&mut added);
        }
        if !before.is_empty() {
            self.before.push((of, before));
        }
        if let Some(lacks) = companion.lacks(|name| !matches!(index.find(name), Found::Nowhere)) {
            self.notes.push(format!(
                "{of}: needs {lacks}, which this kernel does not have as a module"
            ));
        }
    }
}

impl Companion {
    /// The names of those that are asked for without mount options, where the kernel's
    /// configuration tells.
    fn defaults(&self, config: Option<&Config>) -> Option<Vec<String>> {
        let config = config.filter(|_| self.of == "vfat")?;
        let codepage = config.value("CONFIG_FAT_DEFAULT_CODEPAGE")?;
        let charset = config.value("CONFIG_FAT_DEFAULT_IOCHARSET")?;
        Some(vec![
            format!("nls_cp{codepage}"),
            normal(&format!("nls_{charset}")),
        ])
    }

    /// What is missing if only what `has` says is there.
    pub(crate) fn lacks(&self, has: impl Fn(&str) -> bool) -> Option<String> {
        if let Some(name) = self.all.iter().find(|name| !has(name)) {
            return Some((*name).to_owned());
        }
        let satisfied = self.any.is_empty() || self.any.iter().any(|name| has(name));
        (!satisfied).then(|| format!("one of {}", self.any.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModuleTree;
    use crate::testing::{Module, vfat_tree, write_tree};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn vfat_index() -> Index {
        let root = tempfile::tempdir().unwrap();
        ModuleTree::open(&vfat_tree(root.path()), None)
            .unwrap()
            .index
    }

    #[test]
    fn dependencies_and_softdeps_come_along_but_are_not_loaded_by_name() {
        let resolution = resolve(&vfat_index(), &names(&["sd-mod"]), &[], None).unwrap();
        assert_eq!(resolution.load, ["sd_mod"]);
        assert_eq!(
            Vec::from_iter(resolution.closure),
            ["scsi_mod", "sd_mod", "t10_pi"]
        );
    }

    #[test]
    fn vfat_brings_its_character_sets() {
        let resolution = resolve(&vfat_index(), &names(&["fs-vfat", "sd_mod"]), &[], None).unwrap();
        assert_eq!(
            resolution.load,
            ["vfat", "sd_mod", "nls_cp437", "nls_ascii", "nls_iso8859_1"]
        );
        assert!(resolution.closure.contains("nls_iso8859_1"));
        assert_eq!(
            resolution.notes,
            [
                "fs-vfat: alias of vfat",
                "vfat: added nls_cp437, nls_ascii, nls_iso8859_1, which modules.dep does not name"
            ]
        );
    }

    #[test]
    fn what_is_included_is_stored_and_not_listed() {
        let resolution = resolve(&vfat_index(), &[], &names(&["vfat", "sd_mod"]), None).unwrap();
        assert_eq!(resolution.load, [""; 0]);
        assert!(resolution.closure.contains("t10_pi") && resolution.closure.contains("nls_ascii"));
        let before = vec![
            "nls_cp437".into(),
            "nls_ascii".into(),
            "nls_iso8859_1".into(),
        ];
        assert_eq!(resolution.before, [("vfat", before)]);
    }

    #[test]
    fn character_sets_are_those_of_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let text = "CONFIG_FAT_DEFAULT_CODEPAGE=437\nCONFIG_FAT_DEFAULT_IOCHARSET=\"iso8859-1\"\n";
        std::fs::write(&path, text).unwrap();
        let config = Config::read(&path).unwrap();
        let resolution = resolve(&vfat_index(), &names(&["vfat"]), &[], Some(&config)).unwrap();
        assert_eq!(resolution.load, ["vfat", "nls_cp437", "nls_iso8859_1"]);
        // Others may be asked for by mount options.
        assert!(resolution.closure.contains("nls_ascii"));
    }

    #[test]
    fn companions_that_were_asked_for_are_not_added_again() {
        let resolution = resolve(
            &vfat_index(),
            &names(&["nls_ascii", "vfat", "vfat"]),
            &[],
            None,
        )
        .unwrap();
        assert_eq!(
            resolution.load,
            ["nls_ascii", "vfat", "nls_cp437", "nls_iso8859_1"]
        );
    }

    #[test]
    fn built_in_is_a_note() {
        let resolution = resolve(&vfat_index(), &names(&["ext4"]), &[], None).unwrap();
        assert_eq!(resolution.notes, ["ext4: built into the kernel"]);
        assert!(resolution.load.is_empty() && resolution.closure.is_empty());
    }

    #[test]
    fn unknown_names_are_one_error_with_near_misses() {
        let error =
            resolve(&vfat_index(), &names(&["vftat", "vfat", "zzz"]), &[], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "vftat: no such module, alias or built-in; there is vfat, fat\n\
             zzz: no such module, alias or built-in"
        );
    }

    #[test]
    fn unknown_name_is_a_note_where_built_ins_are_unknown() {
        let root = tempfile::tempdir().unwrap();
        let dir = write_tree(
            root.path(),
            &[("kernel/vfat.ko", Module::new("vfat"))],
            None,
        );
        let index = ModuleTree::open(&dir, None).unwrap().index;
        let resolution = resolve(&index, &names(&["virtio_pci", "vfat"]), &[], None).unwrap();
        assert_eq!(resolution.load, ["vfat"]);
        assert!(resolution.notes[0].starts_with("virtio_pci: no such module; left out"));
        assert_eq!(
            resolution.notes[1],
            "vfat: needs nls_cp437, which this kernel does not have as a module"
        );
    }
}
