//! A first process that others see as soon as it exists: it is in a PID namespace that the
//! container does not have for itself.
//!
//! Any process there that has CAP_SYS_PTRACE can look into it, non-dumpable or not (ptrace(2),
//! "PTRACE_MODE"): a directory of the host among its descriptors, or the host's root behind
//! `/proc/<pid>/root`, would be a way out. So it must have nothing of the host from its first
//! instruction on. setns(2) into a PID namespace moves children only, and that is made use of:
//!
//! ```text
//! builder ─► set-up process: joins all namespaces, makes the others (unshare(2)), mounts, enters
//!               │            the root; overwrites the variables, closes everything
//!               ├─► first process, in the PID namespace: waits for the builder, which moves it
//!               │                                        into its control group
//!               ╵ ends
//! ```
//!
//! What the first process has:
//!
//! * its standard descriptors, and those that the caller leaves open for the program;
//! * pipes and sockets to the processes that make it, and the FIFO that it waits at;
//! * the container's root and working directory;
//! * a binary that is a sealed copy, or busy ([`crate::sys::sealed`]).
//!
//! From setns(2) on, every child of the set-up process is born in the PID namespace. So it makes no
//! other child: the builder maps the ids of mounts, and a child of the builder, which joins all
//! namespaces but that one, runs createContainer hooks. These hooks, like those that run outside,
//! are told the PID of the set-up process.
//!
//! # A procfs
//!
//! It shows the PID namespace that its maker is *in*, so a process has to be in there before the
//! root is entered: a helper that has one socket and one pipe, and an empty tmpfs as its root. It
//! makes the filesystem that the set-up process asks for, which that mounts.

use core::mem::ManuallyDrop;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::process::{Pid, PidfdFlags, fchdir, pidfd_open};

use super::deferred::{DeferredFork, ProcfsHelper};
use super::exposure::{close_all_but, hide};
use super::handshake::{PidWriter, ProcfsSocket, SyncSocket, pair};
use super::hooks;
use super::limits::{self, AffinityStage};
use super::mounts;
use super::namespaces::{self, JoinedNamespaces};
use super::request::{Place, Request};
use super::rootfs::drop_escape_capabilities;
use super::setup;
use super::state::State;
use super::status_pipe::{Message, StatusPipe};
use crate::error::{During, Fault, Op};
use crate::parse::config::{Config, HookKind, Kind, MountList, RootSwitch};
use crate::sys::mount::{Detached, chroot_here};
use crate::sys::path::path;
use crate::sys::process::{self, Forked, Status};
use crate::sys::{fs, namespace, pidfd};

/// Becomes the set-up process: in all namespaces of the container, but that of processes.
#[inline(never)]
pub(super) fn begin(
    request: Request<'_>,
    joined: &JoinedNamespaces<'_>,
    status_pipe: &mut StatusPipe,
    sync: SyncSocket,
    pid: PidWriter,
) -> Result<(), Fault> {
    let config = request.config;
    limits::raise_limits(&config.process, None)?;
    // Before it is in a user namespace of others.
    hide(&config.process, request.keeps_keyring)?;
    let mut procfs = None;
    match request.place {
        Place::New => {
            if config.namespaces.is_new(Kind::Mount) {
                procfs = Some(start_procfs_helper(&request, joined, status_pipe)?);
            }
            joined.join()?;
            joined.join_cgroups()?;
            namespace::enter_new(namespaces::flags_of_new(&config.namespaces))?;
        }
        Place::Running { first, pid } => {
            limits::set_affinity(&config.process, AffinityStage::Initial)?;
            let root = root_of(first, pid)?;
            namespaces::join_container(first, &config.namespaces, |_| true)?;
            // The root of a mount namespace is that of a container which has pivoted.
            match config.annotations.root_switch {
                RootSwitch::Chroot => {
                    fchdir(&root).during(Op::Chdir, "the root of the container")?;
                    chroot_here("the root of the container")?;
                    drop_escape_capabilities()?;
                }
                RootSwitch::Move => drop_escape_capabilities()?,
                RootSwitch::Pivot => {}
            }
        }
    }
    let deferred = DeferredFork { pid, procfs };
    setup::run(request, status_pipe, Some(sync), Some(deferred))
}

/// The root directory of the process `first`, which has the number `pid`.
fn root_of(first: BorrowedFd<'_>, pid: Option<Pid>) -> Result<OwnedFd, Fault> {
    let number = pid.map_or(0, |pid| pid.as_raw_nonzero().get());
    let root = path(format_args!("/proc/{number}/root")).during(Op::Open, "/proc")?;
    let root = fs::open_directory(CWD, &*root)?;
    // If the process is still there, the number was its own.
    pidfd::send_signal(first, 0).during(Op::Join, "the container")?;
    Ok(root)
}

/// Runs the createContainer hooks in the namespaces of the set-up process, which is `pid`.
#[inline(never)]
pub(super) fn run_hooks(
    config: &Config<'_>,
    pid: Pid,
    state: &State<'_>,
    status_pipe: &mut StatusPipe,
) -> Result<(), Fault> {
    const MOMENT: HookKind = HookKind::CreateContainer;
    let namespaces = &config.namespaces;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).during(Op::Hook, MOMENT.name())?;
    match process::fork(0, None).during(Op::Clone, MOMENT.name())? {
        Forked::Child => {
            let ran =
                namespaces::join_container(pidfd.as_fd(), namespaces, |kind| kind != Kind::Pid)
                    .and_then(|()| match namespaces.has(Kind::User) {
                        true => namespace::become_root().map(drop),
                        false => Ok(()),
                    })
                    .and_then(|()| hooks::run(config, MOMENT, state));
            let failed = ran.map_err(|fault| status_pipe.send(Message::Fault(fault)));
            process::exit(failed.is_err().into())
        }
        Forked::Parent(child) => match process::wait_no_longer_than(child, None) {
            Ok(Status::Exited(0)) => Ok(()),
            // It has said why.
            _ => Err(Errno::CANCELED).during(Op::Hook, MOMENT.name()),
        },
    }
}

/// Starts the process that makes procfs.
#[inline(never)]
fn start_procfs_helper(
    request: &Request<'_>,
    joined: &JoinedNamespaces<'_>,
    status_pipe: &mut StatusPipe,
) -> Result<ProcfsHelper, Fault> {
    let (ours, theirs) = pair(request.id)?;
    match process::fork(0, None).during(Op::Clone, request.id)? {
        Forked::Parent(parent) => Ok(ProcfsHelper {
            socket: ProcfsSocket(ours),
            parent,
        }),
        Forked::Child => {
            drop(ours);
            let socket = ProcfsSocket(theirs);
            if let Err(fault) = enter_and_serve(request, joined, status_pipe, &socket) {
                status_pipe.send(Message::Fault(fault));
            }
            process::exit(0)
        }
    }
}

fn enter_and_serve(
    request: &Request<'_>,
    joined: &JoinedNamespaces<'_>,
    status_pipe: &mut StatusPipe,
    socket: &ProcfsSocket,
) -> Result<(), Fault> {
    joined.join()?;
    // In a user namespace that it joins, this process may mount in a mount namespace of its own.
    namespace::enter_new(linux_raw_sys::general::CLONE_NEWNS.into())?;
    let nothing = Detached::new(
        "tmpfs",
        "tmpfs",
        &mut core::iter::empty(),
        MountAttrFlags::MOUNT_ATTR_RDONLY,
    )?;
    fchdir(nothing.root()).during(Op::Chdir, "an empty directory")?;
    chroot_here("an empty directory")?;
    if let Some(environment) = request.environment {
        environment.forget();
    }
    // The descriptor of the empty root is closed with the rest.
    let _ = ManuallyDrop::new(nothing);
    close_all_but(0, &[socket.0.as_fd(), status_pipe.as_fd()])?;
    // The child ends with the process that asks. It must be collected, or its PID namespace could
    // not end.
    match process::fork(0, None).during(Op::Clone, request.id)? {
        Forked::Parent(pid) => {
            process::wait_for(pid);
            process::exit(0)
        }
        Forked::Child => serve(request.config.mounts, socket),
    }
}

/// Makes each procfs that is asked for. It does not mount it: that would be a procfs with nothing
/// masked in it.
fn serve(items: MountList<'_>, socket: &ProcfsSocket) -> Result<(), Fault> {
    while let Some(which) = socket.asked() {
        let item = items.iter().nth(which);
        let made = mounts::configure(item.unwrap_or(&mounts::PROC), "proc")?;
        socket.answer(made.as_fd())?;
    }
    Ok(())
}
