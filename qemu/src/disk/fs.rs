//! One file system, made in a file of its own by the tools that make real ones.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;
use uuid::Uuid;

use super::mkfs::Type;
use super::{MIB, SECTOR, scratch};
use crate::program::{command, run};
use crate::tree::Tree;

/// What is to be in a partition, or on a bare disk.
#[derive(Debug, Clone)]
pub struct Fs {
    content: Content,
    /// Bytes.
    pub(super) size: u64,
}

#[derive(Debug, Clone)]
enum Content {
    Vfat {
        label: String,
        serial: u32,
        tree: Tree,
    },
    Ext4 {
        label: String,
        uuid: Uuid,
        tree: Tree,
    },
    Other {
        kind: Type,
        label: String,
        uuid: Uuid,
        tree: Tree,
    },
    Bytes(Vec<u8>),
}

impl Fs {
    /// A vfat of 64 MiB. The label has at most 11 characters, and is upper case by custom.
    pub fn vfat(label: &str, serial: u32, tree: Tree) -> Self {
        Self {
            content: Content::Vfat {
                label: label.to_owned(),
                serial,
                tree,
            },
            size: 64 * MIB,
        }
    }

    /// An ext4 of 64 MiB. The label has at most 16 bytes.
    pub fn ext4(label: &str, uuid: Uuid, tree: Tree) -> Self {
        Self {
            content: Content::Ext4 {
                label: label.to_owned(),
                uuid,
                tree,
            },
            size: 64 * MIB,
        }
    }

    /// One of another type, of the least size that its tool makes with some room.
    pub fn of_type(kind: Type, label: &str, uuid: Uuid, tree: Tree) -> Self {
        Self {
            content: Content::Other {
                kind,
                label: label.to_owned(),
                uuid,
                tree,
            },
            size: kind.mib() * MIB,
        }
    }

    /// These bytes and nothing else: a file system made elsewhere, or a broken one. At least 1 MiB.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let size = (bytes.len() as u64).next_multiple_of(MIB).max(MIB);
        Self {
            content: Content::Bytes(bytes),
            size,
        }
    }

    /// Nothing but zeros, 1 MiB.
    pub fn empty() -> Self {
        Self::bytes([])
    }

    /// Another size.
    pub fn mib(mut self, size: u64) -> Self {
        self.size = size * MIB;
        self
    }

    /// Makes the file system in a file of its own, for a device with sectors of `sector` bytes.
    pub(super) fn make(&self, sector: u32) -> Result<NamedTempFile> {
        let mut image = scratch()?;
        image
            .as_file()
            .set_len(self.size)
            .context("size the file system")?;
        match &self.content {
            Content::Vfat {
                label,
                serial,
                tree,
            } => make_vfat(image.path(), sector, label, *serial, tree)?,
            Content::Ext4 { label, uuid, tree } => {
                make_ext4(image.path(), sector, label, *uuid, tree)?
            }
            Content::Other {
                kind,
                label,
                uuid,
                tree,
            } => {
                kind.make(image.path(), sector, label, *uuid, tree)?;
                let made = image.as_file().metadata()?.len();
                ensure!(made <= self.size, "{made} bytes do not fit");
            }
            Content::Bytes(bytes) => {
                ensure!(
                    bytes.len() as u64 <= self.size,
                    "{} bytes do not fit",
                    bytes.len()
                );
                image.write_all(bytes).context("write the bytes")?;
            }
        }
        Ok(image)
    }

    /// The type that partition tables give it: MBR's byte and GPT's.
    pub(super) fn partition_type(&self) -> (u8, gpt::partition_types::Type) {
        match self.content {
            Content::Vfat { .. } => (0x0e, gpt::partition_types::BASIC),
            Content::Ext4 { .. } | Content::Other { .. } | Content::Bytes(_) => {
                (0x83, gpt::partition_types::LINUX_FS)
            }
        }
    }
}

fn make_vfat(image: &Path, sector: u32, label: &str, serial: u32, tree: &Tree) -> Result<()> {
    let serial = format!("{serial:08x}");
    let mut mkfs = utc("mkfs.vfat");
    mkfs.args(["--invariant", "-n", label, "-i", &serial])
        .args(["-S", &sector.to_string()])
        .arg(image);
    run(&mut mkfs).context("make a vfat")?;

    let root = tempfile::tempdir().context("make a directory for the tree")?;
    tree.make(root.path())?;
    let mut files = Vec::new();
    for entry in fs::read_dir(root.path())? {
        files.push(entry?.path());
    }
    if files.is_empty() {
        return Ok(());
    }
    let mut mcopy = utc("mcopy");
    mcopy
        .args(["-i"])
        .arg(image)
        .args(["-s", "-m", "-Q"])
        .args(files)
        .arg("::");
    run(&mut mcopy).context("fill the vfat")?;
    Ok(())
}

fn make_ext4(image: &Path, sector: u32, label: &str, uuid: Uuid, tree: &Tree) -> Result<()> {
    let root = tempfile::tempdir().context("make a directory for the tree")?;
    tree.make(root.path())?;
    let uuid = uuid.to_string();
    let mut mkfs = utc("mke2fs");
    mkfs.args(["-q", "-F", "-t", "ext4", "-L", label, "-U", &uuid])
        // Of its own accord it makes smaller blocks for a small file.
        .args((sector > SECTOR).then(|| format!("-b{sector}")))
        .args(["-E", &format!("hash_seed={uuid},root_owner=0:0"), "-d"])
        .args([root.path(), image])
        .env("E2FSPROGS_FAKE_TIME", "315532800");
    run(&mut mkfs).context("make an ext4")?;
    Ok(())
}

/// A tool to which the host's time zone means nothing.
fn utc(program: &str) -> Command {
    let mut command = command(program);
    command.env("TZ", "UTC");
    command
}
