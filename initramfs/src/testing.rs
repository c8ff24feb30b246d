//! Small kernel modules and module trees for the tests of this crate: real ELF files with a real
//! `.modinfo`.

use std::fs;
use std::path::{Path, PathBuf};

use object::elf::{ET_EXEC, Machine, PF_R, PT_INTERP, PT_LOAD};
use object::write::Object;
use object::write::elf::{FileHeader, ProgramHeader, Writer};
use object::{Architecture, BinaryFormat, Endianness, SectionKind};

pub(crate) const RELEASE: &str = "6.1.0-9-test";

/// A module to be: what its `.modinfo` will say.
pub(crate) struct Module {
    name: &'static str,
    release: String,
    lines: Vec<String>,
}

impl Module {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            release: RELEASE.to_owned(),
            lines: Vec::new(),
        }
    }

    fn line(mut self, key: &str, value: &str) -> Self {
        self.lines.push(format!("{key}={value}"));
        self
    }

    pub(crate) fn depends(self, value: &str) -> Self {
        self.line("depends", value)
    }

    pub(crate) fn alias(self, value: &str) -> Self {
        self.line("alias", value)
    }

    pub(crate) fn softdep(self, value: &str) -> Self {
        self.line("softdep", value)
    }

    pub(crate) fn release(mut self, value: &str) -> Self {
        self.release = value.to_owned();
        self
    }

    pub(crate) fn elf(&self) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let section =
            object.add_section(Vec::new(), b".modinfo".to_vec(), SectionKind::ReadOnlyData);
        let vermagic = format!("vermagic={} SMP preempt mod_unload", self.release);
        for line in self
            .lines
            .iter()
            .chain([&vermagic, &format!("name={}", self.name)])
        {
            object.append_section_data(section, line.as_bytes(), 1);
            object.append_section_data(section, &[0], 1);
        }
        object.write().unwrap()
    }
}

/// A little ELF executable: header and one program header, of which the kernel would load nothing.
pub(crate) fn executable(machine: Machine, interpreted: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(Endianness::Little, true, &mut bytes);
    writer.reserve_file_header();
    writer.reserve_program_headers(1);
    let header = FileHeader {
        e_machine: machine,
        e_type: ET_EXEC,
        ..FileHeader::default()
    };
    writer.write_file_header(&header).unwrap();
    writer.write_align_program_headers();
    writer.write_program_header(&ProgramHeader {
        p_type: if interpreted { PT_INTERP } else { PT_LOAD },
        p_flags: PF_R,
        p_offset: 0,
        p_vaddr: 0,
        p_paddr: 0,
        p_filesz: 0,
        p_memsz: 0,
        p_align: 1,
    });
    bytes
}

/// Writes a package's tree for [`RELEASE`] under `root`, as it looks before depmod has run; gives
/// the release's directory.
pub(crate) fn write_tree(
    root: &Path,
    modules: &[(&str, Module)],
    builtin: Option<&str>,
) -> PathBuf {
    let dir = root.join("lib/modules").join(RELEASE);
    for (path, module) in modules {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let elf = module.elf();
        let bytes = match path.extension().unwrap().to_str().unwrap() {
            "xz" => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
                std::io::Write::write_all(&mut encoder, &elf).unwrap();
                encoder.finish().unwrap()
            }
            "zst" => crate::Compression::Zstd.encode(&elf).unwrap(),
            "gz" => crate::Compression::Gzip.encode(&elf).unwrap(),
            _ => elf,
        };
        fs::write(path, bytes).unwrap();
    }
    if let Some(builtin) = builtin {
        fs::write(dir.join("modules.builtin"), builtin).unwrap();
    }
    dir
}

/// A tree with vfat, its character sets and a disk driver, in every compression; ext4 is built in.
pub(crate) fn vfat_tree(root: &Path) -> PathBuf {
    let modules = [
        (
            "kernel/drivers/scsi/sd_mod.ko",
            Module::new("sd_mod")
                .depends("scsi_mod")
                .softdep("pre: t10"),
        ),
        (
            "kernel/drivers/scsi/scsi_mod.ko.gz",
            Module::new("scsi_mod"),
        ),
        (
            "kernel/lib/t10-pi.ko.zst",
            Module::new("t10_pi").alias("t10"),
        ),
        ("kernel/fs/fat/fat.ko.xz", Module::new("fat")),
        (
            "kernel/fs/fat/vfat.ko.xz",
            Module::new("vfat").depends("fat").alias("fs-vfat"),
        ),
        ("kernel/fs/nls/nls_cp437.ko.xz", Module::new("nls_cp437")),
        (
            "kernel/fs/nls/nls_iso8859-1.ko.xz",
            Module::new("nls_iso8859_1"),
        ),
        ("kernel/fs/nls/nls_ascii.ko.xz", Module::new("nls_ascii")),
    ];
    write_tree(
        root,
        &modules,
        Some("kernel/fs/ext4/ext4.ko\nkernel/fs/nls/nls_utf8.ko\n"),
    )
}
