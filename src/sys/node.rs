//! Device nodes and FIFOs: made, recognised, and borrowed from the host where they cannot be made.
//!
//! mknod(2) of a device needs CAP_MKNOD in the initial user namespace. A process with less rights
//! can be given a node of the host's, which is bound and not made (mount_namespaces(7)). Whatever a
//! name led to, the descriptor tells what it is.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Dev, FileType, Gid, Mode, OFlags, Stat, StatVfsMountFlags, Uid, chownat, fstat,
    fstatvfs, makedev, mknodat, openat, unlinkat,
};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::mount::Detached;
use crate::parse::config::NodeKind;
use crate::sys::path::path;

/// A node as it is to be.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permissions, if they matter.
    pub mode: Option<u32>,
    /// Owner, if it matters.
    pub uid: Option<u32>,
    /// Group, if it matters.
    pub gid: Option<u32>,
}

/// Permissions of a node of which nothing else is said.
const MODE: u32 = 0o666;

/// `/dev/null` (Documentation/admin-guide/devices.txt).
const NULL: Node = Node::of(NodeKind::Character(1, 3));

impl Node {
    /// A node of this kind, with any owner.
    pub const fn of(kind: NodeKind) -> Self {
        Self {
            kind,
            mode: None,
            uid: None,
            gid: None,
        }
    }

    fn device(&self) -> (FileType, Dev) {
        match self.kind {
            NodeKind::Character(major, minor) => (FileType::CharacterDevice, makedev(major, minor)),
            NodeKind::Block(major, minor) => (FileType::BlockDevice, makedev(major, minor)),
            NodeKind::Fifo => (FileType::Fifo, 0),
        }
    }

    /// Whether this is such a node, with any owner.
    fn is(&self, stat: &Stat) -> bool {
        let (kind, device) = self.device();
        FileType::from_raw_mode(stat.st_mode) == kind
            && (kind == FileType::Fifo || stat.st_rdev == device)
    }

    /// Whether it has the permissions and the owners that matter.
    fn has_attributes_of(&self, stat: &Stat) -> bool {
        let permissions = Mode::from_raw_mode(stat.st_mode).as_raw_mode();
        self.mode.is_none_or(|mode| mode == permissions)
            && self.uid.is_none_or(|uid| uid == stat.st_uid)
            && self.gid.is_none_or(|gid| gid == stat.st_gid)
    }

    /// Makes it as `name` in `directory`. The mode is exact if the umask is empty.
    ///
    /// One that is there already is left if it is the same, and replaced if it has other
    /// permissions or owners.
    ///
    /// # Errors
    /// `EEXIST` if something else is there; those of mknodat(2), unlinkat(2) and fchownat(2):
    /// `EPERM` where devices cannot be made, `EBUSY` for a mount point.
    pub fn make(&self, directory: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        match open_node(directory, name) {
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
            Ok(found) => {
                let stat = fstat(&found)?;
                if !self.is(&stat) {
                    return Err(Errno::EXIST);
                }
                if self.has_attributes_of(&stat) {
                    return Ok(());
                }
                unlinkat(directory, name, AtFlags::empty())?;
            }
        }
        let (kind, device) = self.device();
        let mode = Mode::from_raw_mode(self.mode.unwrap_or(MODE));
        mknodat(directory, name, kind, mode, device)?;
        if self.uid.is_none() && self.gid.is_none() {
            return Ok(());
        }
        let made = open_node(directory, name)?;
        if !self.is(&fstat(&made)?) {
            return Err(Errno::EXIST);
        }
        let (uid, gid) = (self.uid.map(Uid::from_raw), self.gid.map(Gid::from_raw));
        chownat(&made, "", uid, gid, AtFlags::EMPTY_PATH)
    }

    /// Whether `found` is such a node, with any owner.
    pub fn is_at(&self, found: &OwnedFd) -> bool {
        fstat(found).is_ok_and(|stat| self.is(&stat))
    }

    /// Makes the node `name` of `directory` one that can be used, if the mount that it is on has
    /// `nodev`: by a mount of its own.
    ///
    /// # Errors
    /// Those of openat(2), fstatvfs(3), open_tree(2), mount_setattr(2) and move_mount(2); `EEXIST`
    /// if it is something else.
    pub fn allow(&self, directory: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        if !fstatvfs(directory)?
            .f_flag
            .contains(StatVfsMountFlags::NODEV)
        {
            return Ok(());
        }
        let node = open_node(directory, name)?;
        if !self.is_at(&node) {
            return Err(Errno::EXIST);
        }
        let copy = Detached::copy_of(node.as_fd(), false)?;
        let nodev = MountAttrFlags::MOUNT_ATTR_NODEV;
        copy.change_attributes(MountAttrFlags::empty(), nodev, false)?;
        copy.attach(node.as_fd())
    }

    /// Opens the node that the host has at `path`, to be bound elsewhere.
    ///
    /// # Errors
    /// Those of openat(2); `ENODEV` if that is something else.
    pub fn of_host(&self, path: &str) -> Result<OwnedFd, Errno> {
        let node = open_node(CWD, path)?;
        match self.is(&fstat(&node)?) {
            true => Ok(node),
            false => Err(Errno::NODEV),
        }
    }

    /// Opens the node that udev's link in `links` leads to, which bears the numbers of the device:
    /// `/dev/char/1:3`.
    ///
    /// # Errors
    /// Those of openat(2); `ENODEV` if that is something else, or this is no device.
    fn of_number(&self, links: &str) -> Result<OwnedFd, Errno> {
        let link = match self.kind {
            NodeKind::Character(major, minor) => {
                path(format_args!("{links}/char/{major}:{minor}"))?
            }
            NodeKind::Block(major, minor) => path(format_args!("{links}/block/{major}:{minor}"))?,
            NodeKind::Fifo => return Err(Errno::NODEV),
        };
        let node = openat(
            CWD,
            link.as_str(),
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        match self.is(&fstat(&node)?) {
            true => Ok(node),
            false => Err(Errno::NODEV),
        }
    }

    /// Binds the node that the host has at `path`, or under another name, on the file `name` of
    /// `directory`, which is made if it is missing.
    ///
    /// # Errors
    /// `EEXIST` if that is something else than the empty file that such a bind leaves behind; as
    /// [`Self::of_host`]; those of openat(2), open_tree(2) and move_mount(2).
    pub fn bind(&self, path: &str, directory: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        // What is wrong with the node of that name says more than that there is no link.
        let node = self
            .of_host(path)
            .or_else(|errno| self.of_number("/dev").map_err(|_| errno))?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        match openat(directory, name, flags, Mode::empty()) {
            Ok(_) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let target = open_node(directory, name)?;
        let stat = fstat(&target)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size != 0 {
            return Err(Errno::EXIST);
        }
        Detached::copy_of(node.as_fd(), false)?.attach(target.as_fd())
    }
}

/// Opens the host's `/dev/null`, having seen that it is the null device.
///
/// # Errors
/// As [`Node::of_host`].
pub fn null_of_host() -> Result<OwnedFd, Errno> {
    NULL.of_host("/dev/null")
}

/// Opens `name` itself, and not what it leads to if it is a symbolic link.
fn open_node(directory: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_hosts_node_is_told_by_its_numbers_and_not_by_its_name() {
        assert!(null_of_host().is_ok());
        let zero = Node::of(NodeKind::Character(1, 5));
        assert_eq!(zero.of_host("/dev/null").unwrap_err(), Errno::NODEV);
        let block = Node::of(NodeKind::Block(1, 3));
        assert_eq!(block.of_host("/dev/null").unwrap_err(), Errno::NODEV);
        let link = std::env::temp_dir().join(format!("berth-node-{}", std::process::id()));
        symlink("/dev/null", &link).unwrap();
        assert_eq!(
            NULL.of_host(link.to_str().unwrap()).unwrap_err(),
            Errno::NODEV
        );
        std::fs::remove_file(link).unwrap();
    }

    #[test]
    fn the_hosts_node_is_found_by_its_numbers_under_any_name() {
        let links = std::env::temp_dir().join(format!("berth-links-{}", std::process::id()));
        std::fs::create_dir_all(links.join("char")).unwrap();
        symlink("/dev/null", links.join("char/1:3")).unwrap();
        symlink("/dev/null", links.join("char/1:5")).unwrap();
        let found = |kind| Node::of(kind).of_number(links.to_str().unwrap());
        assert!(NULL.is_at(&found(NodeKind::Character(1, 3)).unwrap()));
        assert_eq!(found(NodeKind::Character(1, 5)).unwrap_err(), Errno::NODEV);
        assert_eq!(found(NodeKind::Character(1, 7)).unwrap_err(), Errno::NOENT);
        assert_eq!(found(NodeKind::Fifo).unwrap_err(), Errno::NODEV);
        std::fs::remove_dir_all(links).unwrap();
    }

    #[test]
    fn a_fifo_is_made_once_and_remade_with_other_permissions() {
        let path = std::env::temp_dir().join(format!("berth-fifo-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let directory = open_node(CWD, path.to_str().unwrap()).unwrap();
        let fifo = |mode| Node {
            mode: Some(mode),
            ..Node::of(NodeKind::Fifo)
        };
        let mode_of = |name| fstat(open_node(&directory, name).unwrap()).unwrap().st_mode & 0o7777;
        fifo(0o600).make(directory.as_fd(), "f").unwrap();
        fifo(0o600).make(directory.as_fd(), "f").unwrap();
        assert_eq!(mode_of("f"), 0o600);
        fifo(0o400).make(directory.as_fd(), "f").unwrap();
        assert_eq!(mode_of("f"), 0o400);
        std::fs::write(path.join("file"), "").unwrap();
        assert_eq!(
            fifo(0o600).make(directory.as_fd(), "file"),
            Err(Errno::EXIST)
        );
        std::fs::remove_dir_all(path).unwrap();
    }
}
