//! How filesystems were left: what their checkers say, after the machine's end.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The partition of a disk with an MBR, as a file beside it: that is what the checkers take.
pub(crate) fn partition(disk: &Path, number: usize) -> Result<std::path::PathBuf> {
    const SECTOR: usize = 512;
    let image = fs::read(disk).with_context(|| format!("read {}", disk.display()))?;
    // Entries of 16 bytes from 446 on; the first sector at 8, the count at 12.
    let field = |at: usize| -> Result<usize> {
        let at = 446 + 16 * number + at;
        let bytes = image.get(at..at + 4).context("no partition table")?;
        Ok(u32::from_le_bytes(bytes.try_into()?) as usize * SECTOR)
    };
    let (begin, len) = (field(8)?, field(12)?);
    let file = disk.with_extension(format!("part{number}"));
    fs::write(
        &file,
        image
            .get(begin..begin + len)
            .context("the partition is beyond the disk")?,
    )?;
    Ok(file)
}

/// The state in the superblock, and what e2fsck finds.
pub(crate) fn ext4_is_clean(file: &Path) -> Result<()> {
    const SUPERBLOCK: usize = 1024;
    const STATE: usize = SUPERBLOCK + 0x3a;
    const INCOMPATIBLE: usize = SUPERBLOCK + 0x60;
    let image = fs::read(file)?;
    ensure!(image[STATE] & 1 == 1, "the ext4 was not unmounted");
    ensure!(
        image[INCOMPATIBLE] & 4 == 0,
        "the journal of the ext4 is to be replayed"
    );
    finds_nothing(Command::new("e2fsck").args(["-f", "-n"]).arg(file))
}

/// The dirty bit in the boot sector (FAT16, as `Fs::vfat` makes it), and what fsck.vfat finds.
pub(crate) fn vfat_is_clean(file: &Path) -> Result<()> {
    const TYPE: std::ops::Range<usize> = 0x36..0x3b;
    const STATE: usize = 0x25;
    let image = fs::read(file)?;
    ensure!(&image[TYPE] == b"FAT16", "the vfat is of another kind");
    ensure!(image[STATE] & 1 == 0, "the vfat was not unmounted");
    finds_nothing(Command::new("fsck.vfat").arg("-n").arg(file))
}

fn finds_nothing(command: &mut Command) -> Result<()> {
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    let output = command
        .env("PATH", path)
        .output()
        .with_context(|| format!("run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}

/// Copies a file out of an ext4.
pub(crate) fn extract(image: &Path, path: &str, into: &Path) -> Result<()> {
    let output = Command::new("debugfs")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["-R", &format!("dump {path} {}", into.display())])
        .arg(image)
        .output()
        .context("start debugfs")?;
    let is_there = into.metadata().is_ok_and(|file| file.len() > 0);
    ensure!(output.status.success() && is_there, "{output:?}");
    Ok(())
}
