//! The namespaces of a container: those that it joins, and what has to be written before a process
//! can use the others.
//!
//! # Control groups
//!
//! In a hierarchy that is mounted with `nsdelegate`, a process can be put only into groups below
//! the root of the cgroup namespace of the process that does it (`ENOENT`;
//! Documentation/admin-guide/cgroup-v2.rst, "Delegation"). The first process begins in its group.
//! So the process that makes it does not join a cgroup namespace; the first process joins that
//! itself.

use core::fmt::Write as _;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{During, Fault, Op, SUBJECT_MAX};
use crate::parse::config::id_map::shown;
use crate::parse::config::{CLOCKS, Config, IdMap, Kind, Namespaces};
use crate::sys::fs::read_file;
use crate::sys::path::path;
use crate::sys::procfs::Procfs;
use crate::sys::{id_maps, namespace};
use crate::text::Text;

/// Bytes that a map may have, as the kernel shows it: 340 lines of three numbers in eleven places
/// each (user_namespaces(7)).
const SHOWN_MAX: usize = 340 * 33 + 1;

/// Namespaces that exist, opened.
pub(super) struct JoinedNamespaces<'p>(
    heapless::Vec<(Kind, &'p str, OwnedFd), { Kind::ALL.len() }>,
);

impl<'p> JoinedNamespaces<'p> {
    /// Opens those that have a path.
    #[inline(never)]
    pub(super) fn open(namespaces: &Namespaces<'p>) -> Result<Self, Fault> {
        let mut joined = heapless::Vec::new();
        for (kind, path) in namespaces.joined() {
            // There is one of each kind at most.
            let _ = joined.push((kind, path, namespace::open(path, kind)?));
        }
        Ok(Self(joined))
    }

    /// None at all.
    pub(super) const fn none() -> Self {
        Self(heapless::Vec::new())
    }

    /// Moves this process into all of them but that of control groups.
    ///
    /// A process needs rights in the user namespace that owns the one it joins (setns(2)): a
    /// superuser has them before it joins the new user namespace, and any other user has them
    /// afterwards. So the user namespace comes in the middle, and what was refused before it is
    /// tried again.
    #[inline(never)]
    pub(super) fn join(&self) -> Result<(), Fault> {
        let is_user = |kind: Kind| kind == Kind::User;
        let has_user = self.0.iter().any(|(kind, ..)| is_user(*kind));
        let mut refused = heapless::Vec::<_, { Kind::ALL.len() }>::new();
        let is_late = |kind: Kind| is_user(kind) || kind == Kind::Cgroup;
        for entry in self.0.iter().filter(|(kind, ..)| !is_late(*kind)) {
            match enter(entry) {
                Err(fault) if has_user && fault.errno == Errno::PERM => {
                    // As many as there are.
                    let _ = refused.push(entry);
                }
                result => result?,
            }
        }
        let user = self.0.iter().filter(|(kind, ..)| is_user(*kind));
        user.chain(refused).try_for_each(enter)
    }

    /// Moves this process into that of control groups.
    pub(super) fn join_cgroups(&self) -> Result<(), Fault> {
        let mut cgroups = self.0.iter().filter(|(kind, ..)| *kind == Kind::Cgroup);
        cgroups.try_for_each(enter)
    }
}

fn enter((kind, path, file): &(Kind, &str, OwnedFd)) -> Result<(), Fault> {
    namespace::join(file.as_fd(), *kind).during(Op::Join, *path)
}

/// The flags of clone3(2) for those that are made with the process. A time namespace is not: see
/// [`enter_time`].
pub(super) fn flags_of_new(namespaces: &Namespaces<'_>) -> u64 {
    let is_made = |kind: &Kind| namespaces.is_new(*kind) && *kind != Kind::Time;
    namespace::flags(Kind::ALL.into_iter().filter(is_made)).into()
}

/// Moves this process into the namespaces of the process `pidfd` that its container does not share
/// with the host, as far as `is_wanted` says.
pub(super) fn join_container(
    pidfd: BorrowedFd<'_>,
    namespaces: &Namespaces<'_>,
    is_wanted: fn(Kind) -> bool,
) -> Result<(), Fault> {
    let kinds = Kind::ALL.into_iter();
    match namespace::flags(kinds.filter(|kind| is_wanted(*kind) && namespaces.has(*kind))) {
        0 => Ok(()),
        flags => namespace::join_process(pidfd, flags)
            .during(Op::Join, "the namespaces of the container"),
    }
}

/// Writes the maps of the user namespace whose first process is `pid`; or, for a namespace that was
/// joined, checks that its maps are those that are asked for.
#[inline(never)]
pub(super) fn write_or_check_maps(config: &Config<'_>, pid: Pid) -> Result<(), Fault> {
    let (users, groups) = (&config.uid_map, &config.gid_map);
    if config.namespaces.is_new(Kind::User)
        && let (Some(users), Some(groups)) = (users, groups)
    {
        return id_maps::write(&Procfs::new_or_mounted()?, pid, [users, groups]);
    }
    check_map(pid, id_maps::USERS, users)?;
    check_map(pid, id_maps::GROUPS, groups)
}

/// Compares the maps of a user namespace that was joined with those that the configuration asks
/// for. The outer ids are as this process sees them: the kernel shows them so to the process that
/// opens the file (user_namespaces(7)).
#[inline(never)]
fn check_map(
    pid: Pid,
    (file, field): (&str, &str),
    asked: &Option<IdMap<'_>>,
) -> Result<(), Fault> {
    let Some(asked) = asked else { return Ok(()) };
    let path = path(format_args!("{}/{file}", pid.as_raw_nonzero())).during(Op::Open, file)?;
    let mut text = [0; SHOWN_MAX];
    let procfs = Procfs::new_or_mounted()?;
    let text = read_file(procfs.as_fd(), &path, &mut text)?;
    let text = core::str::from_utf8(text).unwrap_or_default();
    if asked.is_shown_as(text) {
        return Ok(());
    }
    let mut subject = Text::<SUBJECT_MAX>::new("the user namespace: it has");
    shown(text).for_each(|range| subject.push(format_args!(" [{range}]")));
    subject.push(format_args!(", but linux.{field} is"));
    let asked = asked.ranges();
    asked.for_each(|range| subject.push(format_args!(" [{range}]")));
    Err(Errno::INVAL).during(Op::Join, subject)
}

/// Moves this process into a time namespace, if the container has one of its own.
#[inline(never)]
pub(super) fn enter_time(config: &Config<'_>) -> Result<(), Fault> {
    if !config.namespaces.is_new(Kind::Time) {
        return Ok(());
    }
    let mut text = heapless::String::<128>::new();
    for (clock, offset) in CLOCKS.into_iter().zip(config.time_offsets) {
        if let Some(offset) = offset {
            // Two lines with two numbers each fit.
            let _ = writeln!(text, "{clock} {} {}", offset.seconds, offset.nanoseconds);
        }
    }
    namespace::enter_new_time(&Procfs::new_or_mounted()?, &text)
}
