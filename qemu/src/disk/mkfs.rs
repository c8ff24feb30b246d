//! Filesystems besides vfat and ext4, by the tools that can fill one without mounting it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use uuid::Uuid;

use crate::program::{command, run};
use crate::tree::Tree;

/// A type of filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// The first of three that one driver serves.
    Ext2,
    /// The same with a journal.
    Ext3,
    /// Its tools cannot fill it: it is empty, and has a label and no UUID of our choice.
    Exfat,
    /// The same is true of it.
    Ntfs,
    /// From 300 MiB on, as mkfs.xfs demands.
    Xfs,
    /// From 109 MiB on, as mkfs.btrfs demands.
    Btrfs,
    /// Without label and UUID; read-only.
    Squashfs,
    /// Without label; read-only.
    Erofs,
    /// Of 64 MiB little is left for files.
    F2fs,
    /// With a label, and a date for a UUID; read-only.
    Iso9660,
}

impl Type {
    /// The size in MiB that one has unless it is said otherwise.
    pub(super) const fn mib(self) -> u64 {
        match self {
            Self::Xfs => 320,
            Self::Btrfs | Self::F2fs => 128,
            Self::Ext2 | Self::Ext3 | Self::Exfat | Self::Ntfs => 64,
            Self::Squashfs | Self::Erofs | Self::Iso9660 => 32,
        }
    }

    /// Its name for mount(2).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Exfat => "exfat",
            Self::Ntfs => "ntfs3",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
            Self::F2fs => "f2fs",
            Self::Iso9660 => "iso9660",
        }
    }

    /// Makes one of the tree in the file `image`, which has its size already, for sectors of
    /// `sector` bytes.
    pub(super) fn make(
        self,
        image: &Path,
        sector: u32,
        label: &str,
        uuid: Uuid,
        tree: &Tree,
    ) -> Result<()> {
        let root = tempfile::tempdir().context("make a directory for the tree")?;
        tree.make(root.path())?;
        let uuid = uuid.to_string();
        let mut then = None;
        let mut mkfs = match self {
            Self::Ext2 | Self::Ext3 => {
                let mut mkfs = tool("mke2fs", &["-q", "-F", "-t", self.name(), "-L", label]);
                mkfs.args(["-U", &uuid, "-E", "root_owner=0:0", "-d"]);
                mkfs.arg(root.path());
                mkfs
            }
            Self::Exfat => tool("mkfs.exfat", &["-L", label]),
            Self::Ntfs => {
                let sector = sector.to_string();
                // It asks for the geometry of real disks, and for more than a file's name to
                // believe in a disk.
                tool("mkntfs", &["-q", "-Q", "-F", "-s", &sector, "-L", label])
            }
            Self::Xfs => {
                let list = root.path().with_extension("proto");
                fs::write(&list, format!("/\n0 0\n{}", proto(root.path(), "")?))?;
                let mut mkfs = tool("mkfs.xfs", &["-q", "-L", label, "-m"]);
                mkfs.arg(format!("uuid={uuid}")).arg("-p").arg(&list);
                mkfs.arg(format!("-ssize={sector}"));
                mkfs
            }
            Self::Btrfs => {
                let mut mkfs = tool("mkfs.btrfs", &["-q", "-L", label, "-U", &uuid, "--rootdir"]);
                mkfs.arg(root.path());
                mkfs
            }
            Self::Squashfs => {
                let mut mkfs = command("mksquashfs");
                mkfs.arg(root.path()).arg(image);
                mkfs.args(["-noappend", "-all-root", "-quiet", "-no-progress"]);
                return run(&mut mkfs).context("make a squashfs").map(drop);
            }
            Self::Erofs => {
                let mut mkfs = tool("mkfs.erofs", &["--all-root", "-U", &uuid]);
                mkfs.arg(image).arg(root.path());
                return run(&mut mkfs).context("make an erofs").map(drop);
            }
            Self::F2fs => {
                let mut fill = command("sload.f2fs");
                fill.arg("-f").arg(root.path()).arg(image);
                then = Some(fill);
                tool("mkfs.f2fs", &["-q", "-l", label, "-U", &uuid])
            }
            Self::Iso9660 => {
                let mut mkfs = tool("genisoimage", &["-quiet", "-R", "-V", label, "-o"]);
                mkfs.arg(image).arg(root.path());
                return run(&mut mkfs).context("make an iso9660").map(drop);
            }
        };
        run(mkfs.arg(image)).with_context(|| format!("make a {}", self.name()))?;
        if let Some(mut fill) = then {
            run(&mut fill).with_context(|| format!("fill the {}", self.name()))?;
        }
        Ok(())
    }
}

fn tool(program: &str, arguments: &[&str]) -> Command {
    let mut tool = command(program);
    tool.args(arguments);
    tool
}

/// A directory in the form of mkfs.xfs(8), "-p protofile".
fn proto(dir: &Path, name: &str) -> Result<String> {
    let mut text = format!("{name} d--755 0 0\n");
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let entry = entry?;
        let (path, name) = (
            entry.path(),
            entry.file_name().to_string_lossy().into_owned(),
        );
        let meta = entry.metadata()?;
        if meta.is_dir() {
            text += &proto(&path, &name)?;
        } else if meta.is_symlink() {
            text += &format!("{name} l--777 0 0 {}\n", fs::read_link(&path)?.display());
        } else {
            let mode = meta.permissions().mode() & 0o777;
            text += &format!("{name} ---{mode:o} 0 0 {}\n", path.display());
        }
    }
    Ok(text + "$\n")
}
