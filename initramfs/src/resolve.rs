//! From the names that were asked for to the modules that go in.
//!
//! The closure is that of modprobe(8): a name or alias, what `modules.dep` lists for it, and what the softdeps of each of these ask for.
//! On top come [`COMPANIONS`]: modules that no index names, because the code that needs them asks for them by name at run time, and in an
//! initramfs there is no modprobe for the kernel to call.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::index::{Found, Index};
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

/// Filesystems that call `load_nls()` when mounted and fail without it. Others (exfat, isofs, udf, ntfs3) do without by default.
pub(crate) const COMPANIONS: &[Companion] = &[
    // Codepage for the short names, character set for the long ones: fs/fat/inode.c, CONFIG_FAT_DEFAULT_{CODEPAGE,IOCHARSET}.
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
    /// Lines for the user: built in, added, not found.
    pub(crate) notes: Vec<String>,
}

/// Resolves `names`, module names or aliases.
///
/// # Errors
/// Names that are neither a module nor built in, all of them in one message with what they look like. Where the tree does not say
/// what is built in, such a name is a note instead.
pub(crate) fn resolve(index: &Index, names: &[String]) -> Result<Resolution> {
    let mut resolution = Resolution::default();
    let mut missing = Vec::new();
    for name in names {
        match index.find(name) {
            Found::Modules(modules) => {
                if modules != [normal(name)] {
                    resolution
                        .notes
                        .push(format!("{name}: alias of {}", modules.join(", ")));
                }
                for module in modules {
                    resolution.load(index, module);
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
        let wanted = names.iter().any(|name| normal(name) == companion.of);
        if wanted || resolution.closure.contains(companion.of) {
            resolution.add_companions(index, companion);
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

    fn add_companions(&mut self, index: &Index, companion: &Companion) {
        let of = companion.of;
        let mut added = Vec::new();
        for name in companion.all.iter().chain(companion.any) {
            if let Found::Modules(modules) = index.find(name) {
                let new = modules
                    .into_iter()
                    .filter(|module| !self.load.contains(module));
                added.extend(new);
            }
        }
        if !added.is_empty() {
            self.notes.push(format!(
                "{of}: added {}, which modules.dep does not name",
                added.join(", ")
            ));
        }
        added
            .into_iter()
            .for_each(|module| self.load(index, module));
        if let Some(lacks) = companion.lacks(|name| !matches!(index.find(name), Found::Nowhere)) {
            self.notes.push(format!(
                "{of}: needs {lacks}, which this kernel does not have as a module"
            ));
        }
    }
}

impl Companion {
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
        let resolution = resolve(&vfat_index(), &names(&["sd-mod"])).unwrap();
        assert_eq!(resolution.load, ["sd_mod"]);
        assert_eq!(
            Vec::from_iter(resolution.closure),
            ["scsi_mod", "sd_mod", "t10_pi"]
        );
    }

    #[test]
    fn vfat_brings_its_character_sets() {
        let resolution = resolve(&vfat_index(), &names(&["fs-vfat", "sd_mod"])).unwrap();
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
    fn companions_that_were_asked_for_are_not_added_again() {
        let resolution = resolve(&vfat_index(), &names(&["nls_ascii", "vfat", "vfat"])).unwrap();
        assert_eq!(
            resolution.load,
            ["nls_ascii", "vfat", "nls_cp437", "nls_iso8859_1"]
        );
    }

    #[test]
    fn built_in_is_a_note() {
        let resolution = resolve(&vfat_index(), &names(&["ext4"])).unwrap();
        assert_eq!(resolution.notes, ["ext4: built into the kernel"]);
        assert!(resolution.load.is_empty() && resolution.closure.is_empty());
    }

    #[test]
    fn unknown_names_are_one_error_with_near_misses() {
        let error = resolve(&vfat_index(), &names(&["vftat", "vfat", "zzz"])).unwrap_err();
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
        let resolution = resolve(&index, &names(&["virtio_pci", "vfat"])).unwrap();
        assert_eq!(resolution.load, ["vfat"]);
        assert!(resolution.notes[0].starts_with("virtio_pci: no such module; left out"));
        assert_eq!(
            resolution.notes[1],
            "vfat: needs nls_cp437, which this kernel does not have as a module"
        );
    }
}
