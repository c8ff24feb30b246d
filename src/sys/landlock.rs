//! Landlock (landlock(7), Documentation/userspace-api/landlock.rst): a process takes rights from
//! itself and from all that it starts.
//!
//! A ruleset names the rights that it is about, which are then denied but for what its rules allow.
//! Rights came with versions of the interface; naming one that the kernel does not know is an
//! error, so the version is asked first.

use core::mem::size_of;

use linux_raw_sys::general as linux;
use linux_raw_sys::landlock as abi;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;

use super::raw::call;

/// Rights to files, as bits (`LANDLOCK_ACCESS_FS_*`).
pub type Files = u32;

/// Reading files and listing directories.
pub const READ: Files = abi::LANDLOCK_ACCESS_FS_READ_FILE | abi::LANDLOCK_ACCESS_FS_READ_DIR;

/// Executing files.
pub const EXECUTE: Files = abi::LANDLOCK_ACCESS_FS_EXECUTE;

/// All that can be done with a file which is no directory; other rights make no sense for one
/// (`EINVAL`).
pub const OF_A_FILE: Files = abi::LANDLOCK_ACCESS_FS_EXECUTE
    | abi::LANDLOCK_ACCESS_FS_WRITE_FILE
    | abi::LANDLOCK_ACCESS_FS_READ_FILE
    | abi::LANDLOCK_ACCESS_FS_TRUNCATE
    | abi::LANDLOCK_ACCESS_FS_IOCTL_DEV;

/// Rights that came after version 1, with the version that they came with.
const LATER: &[(Files, u32)] = &[
    (abi::LANDLOCK_ACCESS_FS_REFER, 2),
    (abi::LANDLOCK_ACCESS_FS_TRUNCATE, 3),
    (abi::LANDLOCK_ACCESS_FS_IOCTL_DEV, 5),
];

/// The version that can restrict TCP: Linux 6.7.
pub const WITH_PORTS: u32 = 4;

/// Rights to TCP ports, as bits (`LANDLOCK_ACCESS_NET_*`).
pub type Tcp = u32;

/// Listening.
pub const BIND: Tcp = abi::LANDLOCK_ACCESS_NET_BIND_TCP;

/// Connecting.
pub const CONNECT: Tcp = abi::LANDLOCK_ACCESS_NET_CONNECT_TCP;

/// The version of the interface that the kernel has, from 1.
///
/// # Errors
/// `ENOSYS` and `EOPNOTSUPP` without Landlock.
pub fn version() -> Result<u32, Errno> {
    let flags = abi::LANDLOCK_CREATE_RULESET_VERSION as usize;
    // SAFETY: without attributes nothing is read from memory.
    let version = unsafe { call(linux::__NR_landlock_create_ruleset, [0, 0, flags, 0, 0]) }?;
    Ok(u32::try_from(version).unwrap_or(u32::MAX))
}

/// All rights to files that this version of the interface knows.
pub fn all_of(version: u32) -> Files {
    const FIRST: Files = (abi::LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
    let known = LATER.iter().filter(|(_, since)| *since <= version);
    known.fold(FIRST, |all, (right, _)| all | right)
}

/// What is denied, and what is allowed of it.
pub struct Ruleset(OwnedFd);

impl Ruleset {
    /// A ruleset that denies these rights.
    ///
    /// # Errors
    /// Those of landlock_create_ruleset(2); `EINVAL` for a right that the kernel does not know,
    /// `ENOMSG` for none at all.
    pub fn new(files: Files, tcp: Tcp) -> Result<Self, Errno> {
        let attributes = abi::landlock_ruleset_attr {
            handled_access_fs: files.into(),
            handled_access_net: tcp.into(),
            scoped: 0,
        };
        let start = (&raw const attributes).expose_provenance();
        let size = size_of::<abi::landlock_ruleset_attr>();
        // SAFETY: `attributes` has that size and outlives the call. Older kernels take a longer
        // structure whose rest is zero.
        let number = unsafe { call(linux::__NR_landlock_create_ruleset, [start, size, 0, 0, 0]) }?;
        // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(number as i32) }))
    }

    /// Allows these rights on what is beneath the file or directory `at`.
    ///
    /// # Errors
    /// Those of landlock_add_rule(2).
    pub fn allow_beneath(&self, at: BorrowedFd<'_>, files: Files) -> Result<(), Errno> {
        let rule = abi::landlock_path_beneath_attr {
            allowed_access: files.into(),
            parent_fd: at.as_raw_fd(),
        };
        let kind = abi::landlock_rule_type::LANDLOCK_RULE_PATH_BENEATH;
        // SAFETY: the rule is of that kind.
        unsafe { self.add(kind, (&raw const rule).expose_provenance()) }
    }

    /// Allows these rights on a TCP port.
    ///
    /// # Errors
    /// Those of landlock_add_rule(2); `EAFNOSUPPORT` for a kernel without TCP.
    pub fn allow_port(&self, port: u16, tcp: Tcp) -> Result<(), Errno> {
        let rule = abi::landlock_net_port_attr {
            allowed_access: tcp.into(),
            port: port.into(),
        };
        let kind = abi::landlock_rule_type::LANDLOCK_RULE_NET_PORT;
        // SAFETY: the rule is of that kind.
        unsafe { self.add(kind, (&raw const rule).expose_provenance()) }
    }

    /// # Safety
    /// `rule` is the address of a structure of that kind.
    unsafe fn add(&self, kind: abi::landlock_rule_type, rule: usize) -> Result<(), Errno> {
        let ruleset = self.0.as_raw_fd() as usize;
        let arguments = [ruleset, kind as usize, rule, 0, 0];
        // SAFETY: the caller's promise; the structure outlives the call.
        unsafe { call(linux::__NR_landlock_add_rule, arguments) }.map(drop)
    }

    /// Takes the rights from this process, for good.
    ///
    /// # Errors
    /// Those of landlock_restrict_self(2): `EPERM` without CAP_SYS_ADMIN and without no_new_privs.
    pub fn restrict_self(self) -> Result<(), Errno> {
        let arguments = [self.0.as_raw_fd() as usize, 0, 0, 0, 0];
        // SAFETY: no memory is passed.
        unsafe { call(linux::__NR_landlock_restrict_self, arguments) }.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_come_with_their_versions() {
        assert_eq!(all_of(1), 0x1fff);
        assert_eq!(all_of(2), 0x3fff);
        assert_eq!(all_of(4), 0x7fff);
        assert_eq!(all_of(99), 0xffff);
    }
}
