//! `/root.cpio`: what PID 1 fills the memory of `root=tmpfs` with.
//!
//! Unlike the rest of an image, which is reduced to what booting needs, this is somebody's root
//! filesystem: modes, owners and links stay as they are.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{major, minor};

use crate::archive::{self, BLOCK, CHARACTER, Entries, Entry, REGULAR, SYMLINK, TYPE_MASK};
use crate::compression;

/// Where it is in the image.
pub(crate) const PATH: &str = "root.cpio";

/// Makes it of a directory, with all times `mtime`, or takes a newc archive, plain or compressed,
/// as it is.
pub(crate) fn make(src: &Path, mtime: u32) -> Result<Vec<u8>> {
    let make = || {
        if fs::metadata(src)?.is_dir() {
            let mut entries = Entries::new();
            collect(src, "", &mut entries)?;
            return archive::write(&entries, mtime);
        }
        let bytes = fs::read(src)?;
        let plain = if archive::is_header(&bytes) {
            bytes
        } else {
            compression::decode(&bytes)?.0
        };
        check(&plain)?;
        Ok(plain)
    };
    make().with_context(|| format!("--root-archive {}", src.display()))
}

/// Whether PID 1 can unpack it, as far as can be seen from here.
///
/// # Errors
/// It is compressed, no newc archive, or cut off.
pub(crate) fn check(bytes: &[u8]) -> Result<()> {
    ensure!(
        archive::is_header(bytes),
        "it is no newc archive, or compressed, which the image is as a whole"
    );
    archive::read(bytes).map(drop)
}

fn collect(dir: &Path, below: &str, entries: &mut Entries) -> Result<()> {
    for file in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let file = file?;
        let path = file.path();
        let name = file.file_name();
        let name = name
            .to_str()
            .with_context(|| format!("{}: not UTF-8", path.display()))?;
        let name = format!("{below}{name}");
        let meta = fs::symlink_metadata(&path)?;
        let data = data(&path, &meta).with_context(|| format!("read {}", path.display()))?;
        let (uid, gid, rdev) = (meta.uid(), meta.gid(), meta.rdev());
        let entry = Entry {
            mode: meta.mode(),
            uid,
            gid,
            rdev: match meta.mode() & TYPE_MASK {
                CHARACTER | BLOCK => (major(rdev), minor(rdev)),
                _ => (0, 0),
            },
            data,
        };
        entries.insert(name.clone(), entry);
        if meta.is_dir() {
            collect(&path, &format!("{name}/"), entries)?;
        }
    }
    Ok(())
}

fn data(path: &Path, meta: &Metadata) -> Result<Vec<u8>> {
    const SOCKET: u32 = 0o140_000;
    Ok(match meta.mode() & TYPE_MASK {
        REGULAR => fs::read(path)?,
        SYMLINK => fs::read_link(path)?.as_os_str().as_bytes().to_vec(),
        SOCKET => bail!("a socket cannot be archived"),
        _ => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_directory_keeps_modes_and_links() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::write(dir.path().join("bin/su"), "program").unwrap();
        let mode = fs::Permissions::from_mode(0o4711);
        fs::set_permissions(dir.path().join("bin/su"), mode).unwrap();
        symlink("bin", dir.path().join("sbin")).unwrap();
        let bytes = make(dir.path(), 0).unwrap();
        let entries = archive::read(&bytes).unwrap();
        let modes: Vec<_> = entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry.mode & !0o22))
            .collect();
        assert_eq!(
            modes,
            [
                ("bin", 0o40_755),
                ("bin/su", 0o104_711),
                ("sbin", 0o120_755)
            ]
        );
        assert_eq!(entries["sbin"].data, b"bin");
        // The archive itself is taken as it is, and so is a compressed one, which is unpacked.
        let file = dir.path().join("a.cpio");
        for compression in [crate::Compression::None, crate::Compression::Zstd] {
            fs::write(&file, compression.encode(&bytes).unwrap()).unwrap();
            assert_eq!(make(&file, 1).unwrap(), bytes);
        }
        fs::write(&file, &bytes[..200]).unwrap();
        let error = format!("{:#}", make(&file, 0).unwrap_err());
        assert!(error.contains("cut off"), "{error}");
    }
}
