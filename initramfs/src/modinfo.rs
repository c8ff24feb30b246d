//! What a module says about itself: the `.modinfo` section of its ELF file.
//!
//! It is a sequence of `key=value` strings that end in NUL (kernel: `include/linux/moduleparam.h`,
//! `__MODULE_INFO`). `depends` lists direct dependencies by name; `alias` and `softdep` may occur
//! many times; the first word of `vermagic` is the release of the kernel that the module was built
//! for.

use anyhow::{Context, Result};
use object::elf::{FileHeader64, Machine};
use object::read::elf::{ElfFile64, FileHeader};
use object::{Endianness, Object, ObjectSection};

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Modinfo {
    pub(crate) depends: Vec<String>,
    pub(crate) aliases: Vec<String>,
    pub(crate) softdeps: Vec<String>,
    /// Release of the kernel it was built for; empty if it does not say.
    pub(crate) release: String,
    pub(crate) machine: Option<Machine>,
}

impl Modinfo {
    /// Reads a decompressed module.
    pub(crate) fn read(module: &[u8]) -> Result<Self> {
        let file: ElfFile64<Endianness> =
            ElfFile64::parse(module).context("not an ELF kernel module")?;
        let section = file
            .section_by_name(".modinfo")
            .context("not a kernel module: no section .modinfo")?;
        let header: &FileHeader64<Endianness> = file.elf_header();
        let mut info = Self {
            machine: Some(header.e_machine(file.endian())),
            ..Self::default()
        };
        for pair in section.data()?.split(|byte| *byte == 0) {
            let pair = String::from_utf8_lossy(pair);
            match pair.split_once('=') {
                Some(("depends", value)) => {
                    info.depends = value
                        .split(',')
                        .filter(|name| !name.is_empty())
                        .map(normal)
                        .collect();
                }
                Some(("alias", value)) => info.aliases.push(value.to_owned()),
                Some(("softdep", value)) => info.softdeps.push(value.to_owned()),
                Some(("vermagic", value)) => {
                    info.release = value.split(' ').next().unwrap_or_default().to_owned();
                }
                _ => {}
            }
        }
        Ok(info)
    }
}

/// A module's name as the kernel has it: `-` and `_` are one.
pub(crate) fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// The module's name for a path such as `kernel/fs/nls/nls_iso8859-1.ko.xz`; `None` if this is no
/// module file.
pub(crate) fn name_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let (stem, suffix) = file.split_once(".ko")?;
    matches!(suffix, "" | ".gz" | ".xz" | ".zst").then(|| normal(stem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Module;

    #[test]
    fn reads_what_a_module_says() {
        let elf = Module::new("a")
            .depends("b,c-d")
            .alias("fs-a")
            .alias("a2")
            .softdep("pre: x")
            .release("6.1.0-9");
        let info = Modinfo::read(&elf.elf()).unwrap();
        assert_eq!(info.depends, ["b", "c_d"]);
        assert_eq!(info.aliases, ["fs-a", "a2"]);
        assert_eq!(info.softdeps, ["pre: x"]);
        assert_eq!(info.release, "6.1.0-9");
        assert_eq!(info.machine, Some(object::elf::EM_X86_64));
    }

    #[test]
    fn other_files_are_refused() {
        assert!(Modinfo::read(b"#!/bin/sh\n").is_err());
        assert!(Modinfo::read(&Module::new("a").elf()[..90]).is_err());
    }

    #[test]
    fn names_come_from_paths() {
        assert_eq!(
            name_of("kernel/fs/nls/nls_iso8859-1.ko.xz").as_deref(),
            Some("nls_iso8859_1")
        );
        assert_eq!(name_of("a.ko").as_deref(), Some("a"));
        assert_eq!(name_of("kernel/a.ko.asc"), None);
        assert_eq!(name_of("modules.dep"), None);
    }
}
