//! Namespaces (namespaces(7)): their files, joining them, and the clocks of one.

use linux_raw_sys::general as linux;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, Stat, fstat, fstatfs, openat, stat};
use rustix::io::Errno;
use rustix::process::geteuid;
use rustix::thread::{
    Gid, LinkNameSpaceType, ThreadNameSpaceType, Uid, UnshareFlags, move_into_link_name_space,
    move_into_thread_name_spaces, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    unshare_unsafe,
};

use super::procfs::Procfs;
use super::raw::call;
use crate::error::{During, Fault, Op};
use crate::parse::config::Kind;

/// `NSFS_MAGIC` (include/uapi/linux/magic.h).
const NSFS: i64 = 0x6e73_6673;

/// Its flag for clone3(2), unshare(2) and setns(2).
pub const fn flag(kind: Kind) -> u32 {
    link_type(kind) as u32
}

const fn link_type(kind: Kind) -> LinkNameSpaceType {
    match kind {
        Kind::User => LinkNameSpaceType::User,
        Kind::Mount => LinkNameSpaceType::Mount,
        Kind::Pid => LinkNameSpaceType::ProcessID,
        Kind::Network => LinkNameSpaceType::Network,
        Kind::Ipc => LinkNameSpaceType::InterProcessCommunication,
        Kind::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
        Kind::Cgroup => LinkNameSpaceType::ControlGroup,
        Kind::Time => LinkNameSpaceType::Time,
    }
}

/// Whether this process is root, and root of the machine: in its first user namespace, and not in
/// one where a user has the number
/// 0. Where `/proc` does not tell, it is taken for that.
#[must_use]
pub fn is_machines_root() -> bool {
    /// `PROC_USER_INIT_INO`, the same on every boot (include/linux/proc_ns.h).
    const FIRST: u64 = 0xefff_fffd;
    let is_first = |namespace: Stat| namespace.st_ino == FIRST;
    geteuid().is_root() && stat("/proc/self/ns/user").map_or(true, is_first)
}

/// Opens the namespace of this kind that the file `path` stands for.
///
/// The file is looked at before it is opened, because opening may do something: a FIFO waits for a
/// writer, a device acts.
///
/// # Errors
/// Those of openat(2); `EINVAL` for what is no namespace, or one of another kind.
pub fn open(path: &str, kind: Kind) -> Result<OwnedFd, Fault> {
    let step = |flags| openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty());
    let is_namespace = |file: &OwnedFd| match fstatfs(file)?.f_type as i64 {
        NSFS => Ok(()),
        _ => Err(Errno::INVAL),
    };
    let opened = step(OFlags::PATH)
        .and_then(|place| is_namespace(&place))
        .and_then(|()| step(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY))
        .and_then(|file| {
            // It may have become another file meanwhile.
            is_namespace(&file)?;
            match type_of(file.as_fd())? == flag(kind) {
                true => Ok(file),
                false => Err(Errno::INVAL),
            }
        });
    opened.during(Op::Join, Subject { path, kind })
}

/// `ioctl(2)`, `NS_GET_NSTYPE` (ioctl_nsfs(2)): the `CLONE_NEW*` of a namespace.
///
/// # Errors
/// Those of `ioctl(2)`; `ENOTTY` for what is no namespace.
fn type_of(namespace: BorrowedFd<'_>) -> Result<u32, Errno> {
    /// include/uapi/linux/nsfs.h
    const NS_GET_NSTYPE: usize = 0xb703;
    let descriptor = namespace.as_raw_fd() as usize;
    // SAFETY: the request takes no pointers.
    let flag = unsafe { call(linux::__NR_ioctl, [descriptor, NS_GET_NSTYPE, 0, 0, 0]) };
    flag.map(|flag| flag as u32)
}

/// Moves this process into the namespace; into one of processes, only its children (setns(2)).
///
/// # Errors
/// Those of setns(2).
pub fn join(file: BorrowedFd<'_>, kind: Kind) -> Result<(), Errno> {
    move_into_link_name_space(file, Some(link_type(kind)))
}

/// Moves this process into those namespaces of the process `pidfd` that `flags` name, all or none
/// (setns(2)).
///
/// # Errors
/// Those of setns(2).
pub fn join_process(pidfd: BorrowedFd<'_>, flags: u32) -> Result<(), Errno> {
    move_into_thread_name_spaces(pidfd, ThreadNameSpaceType::from_bits_retain(flags))
}

/// The inode of the machine's own PID namespace, which all others are below (`PROC_PID_INIT_INO` in
/// include/linux/proc_ns.h).
const FIRST_OF_PROCESSES: u64 = 0xefff_fffc;

/// Whether this process is in the machine's own PID namespace: not in that of a container. Nothing
/// is mounted to find it out, and where the kernel has no procfs it is not known, and held to be
/// so.
pub fn is_first_of_processes() -> bool {
    let namespace = Procfs::new().and_then(|procfs| procfs.follow("self/ns", "pid", OFlags::PATH));
    match namespace {
        Ok(namespace) => fstat(&namespace).is_ok_and(|stat| stat.st_ino == FIRST_OF_PROCESSES),
        // The first process of a machine has all rights.
        Err(fault) => fault.errno != Errno::PERM,
    }
}

/// Moves this process into new namespaces, as `flags` say (unshare(2)); into one of processes, only
/// its children.
///
/// # Errors
/// Those of unshare(2).
pub fn enter_new(flags: u64) -> Result<(), Fault> {
    let flags = UnshareFlags::from_bits_retain(flags as u32);
    // SAFETY: what is unshared is no table of descriptors.
    unsafe { unshare_unsafe(flags) }.during(Op::Create, "namespaces")
}

/// A file and what it is to be.
struct Subject<'s> {
    path: &'s str,
    kind: Kind,
}

impl core::fmt::Display for Subject<'_> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = self.kind.name();
        write!(formatter, "{} as namespace of type {name}", self.path)
    }
}

/// Moves this process into a new time namespace, whose clocks are ahead of its own as `offsets`
/// says in the kernel's format (time_namespaces(7)).
///
/// unshare(2) gives it to children only; but until somebody is in it, the clocks can be set, and
/// then it can be joined like any other.
///
/// # Errors
/// Those of unshare(2), of writing the offsets (`ERANGE` for a clock that would be before 0), and
/// of setns(2).
pub fn enter_new_time(procfs: &Procfs, offsets: &str) -> Result<(), Fault> {
    const SUBJECT: &str = "a time namespace";
    // SAFETY: what is unshared is no table of descriptors.
    unsafe { unshare_unsafe(UnshareFlags::NEWTIME) }.during(Op::Create, SUBJECT)?;
    if !offsets.is_empty() {
        procfs.write("self/timens_offsets", offsets.as_bytes())?;
    }
    let new = procfs.follow("self/ns", "time_for_children", OFlags::RDONLY)?;
    join(new.as_fd(), Kind::Time).during(Op::Join, SUBJECT)
}

/// Becomes user 0 of group 0 in the user namespace that this process is in, and gives up its other
/// groups; whether it could: not where the map is a user's own and not a superuser's
/// (user_namespaces(7), "/proc/pid/setgroups"). With every capability in the namespace, and before
/// any filter, there is no other reason for `EPERM`.
///
/// # Errors
/// Those of setresgid(2), setgroups(2) and setresuid(2): `EINVAL` if the namespace has no such user
/// or group.
pub fn become_root() -> Result<bool, Fault> {
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)
        .during(Op::Become, "group 0 of the user namespace")?;
    let has_given_up = match set_thread_groups(&[]) {
        Ok(()) => true,
        Err(Errno::PERM) => false,
        Err(errno) => return Err(errno).during(Op::Drop, "groups"),
    };
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
        .during(Op::Become, "user 0 of the user namespace")?;
    Ok(has_given_up)
}

/// All flags of `kinds`.
pub fn flags(kinds: impl Iterator<Item = Kind>) -> u32 {
    kinds.fold(0, |flags, kind| flags | flag(kind))
}

const _: () = assert!(flag(Kind::Time) == linux::CLONE_NEWTIME);
