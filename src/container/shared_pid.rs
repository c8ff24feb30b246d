//! A first process that others see as soon as it exists: those of a PID namespace that it does not have for itself.
//!
//! Whoever is there with CAP_SYS_PTRACE can look into it, non-dumpable or not (ptrace(2), "PTRACE_MODE"): a directory of the host
//! among its descriptors, or the host's root behind `/proc/<pid>/root`, would be a way out. So it must have nothing of the host from
//! its first instruction on. setns(2) into a PID namespace moves children only, and that is made use of:
//!
//! ```text
//! builder ─► this process: joins all, makes the other namespaces (unshare(2)), mounts, enters the root;
//!               │          wipes the variables, closes everything
//!               ├─► first process, in the PID namespace: waits for the builder, which moves it into its group
//!               ╵ ends
//! ```
//!
//! What the first process has: its standard descriptors, those that the caller leaves open for the program, pipes and sockets to
//! those who make it, and the FIFO that it holds at. Its root and working directory are the container's, its binary is a sealed copy
//! or busy ([`crate::sys::sealed`]).
//!
//! From setns(2) on, every child of the process that sets up is born there. So it makes no other: the ids of mounts are mapped by
//! the builder, and createContainer hooks are run by a child of the builder, which joins all namespaces but that of processes. They,
//! like those that run outside, are told of the process that sets up.
//!
//! # A procfs
//!
//! It shows the PID namespace that its maker is *in*, so somebody has to be in there before the root is entered: a helper, that has
//! one socket and one pipe, and an empty tmpfs as its root. It makes the filesystem that the other asks for, and the other mounts it.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::process::{Pid, PidfdFlags, fchdir, pidfd_open};

use super::builder::{SyncSocket, send_pid};
use super::hooks;
use super::limits::{self, Moment};
use super::mounts;
use super::namespaces::{self, JoinedNamespaces};
use super::rootfs::drop_escape_capabilities;
use super::setup::{self, close_all_but};
use super::start::{Place, Request, become_container};
use super::state::State;
use super::status_pipe::{Message, StatusPipe};
use crate::error::{During, Fault, Op};
use crate::parse::config::{Config, HookKind, Kind, Mount, MountList, Namespace, RootSwitch};
use crate::sys::mount::{Detached, chroot_here};
use crate::sys::path::path;
use crate::sys::process::Status;
use crate::sys::raw::{self, Forked};
use crate::sys::{fs, namespace, process, socket};

/// Whether the first process is seen by others while it is made.
pub(super) fn is_needed(request: &Request<'_>) -> bool {
    matches!(request.place, Place::Running { .. }) || joins_processes(request.config)
}

/// Whether it is in the PID namespace of others.
pub(super) fn joins_processes(config: &Config<'_>) -> bool {
    matches!(config.namespaces.get(Kind::Pid), Namespace::At(_))
}

/// Two ends of a connection between processes that make a container.
pub(super) fn pair(id: &str) -> Result<(OwnedFd, OwnedFd), Fault> {
    let (family, flags) = (AddressFamily::UNIX, SocketFlags::CLOEXEC);
    socketpair(family, SocketType::SEQPACKET, flags, None).during(Op::Pipe, id)
}

/// Becomes the process that sets up: in all namespaces of the container, but that of processes.
#[inline(never)]
pub(super) fn begin(
    request: Request<'_>,
    joined: &JoinedNamespaces<'_>,
    status_pipe: &mut StatusPipe,
    sync: SyncSocket,
    pid_to: OwnedFd,
) -> Result<(), Fault> {
    let config = request.config;
    limits::raise(&config.process, None)?;
    // Before it is in a user namespace of others.
    setup::make_untraceable(&config.process, request.keeps_keyring)?;
    let mut procfs = None;
    match request.place {
        Place::New => {
            if config.namespaces.is_new(Kind::Mount) {
                procfs = Some(mounter(&request, joined, status_pipe)?);
            }
            joined.join()?;
            joined.join_cgroups()?;
            namespace::enter_new(namespaces::flags_of_new(&config.namespaces))?;
        }
        Place::Running { first, pid } => {
            limits::set_affinity(&config.process, Moment::Initial)?;
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
    become_container(
        request,
        status_pipe,
        Some(sync),
        Some(DeferredFork { pid_to, procfs }),
    )
}

/// The root directory of the process `first`, which has the number `pid`.
fn root_of(first: BorrowedFd<'_>, pid: Option<Pid>) -> Result<OwnedFd, Fault> {
    let number = pid.map_or(0, |pid| pid.as_raw_nonzero().get());
    let root = path(format_args!("/proc/{number}/root")).during(Op::Open, "/proc")?;
    let root = fs::open_directory(CWD, &*root)?;
    // It was its own number if it is still there.
    raw::pidfd_send_signal(first, 0).during(Op::Join, "the container")?;
    Ok(root)
}

/// The first process, before it is made.
pub(super) struct DeferredFork {
    pid_to: OwnedFd,
    /// Who makes procfs.
    procfs: Option<ProcfsHelper>,
}

/// Who makes procfs: the socket by which it is asked, and the process that waits for its end.
struct ProcfsHelper {
    socket: OwnedFd,
    waiting: Pid,
}

impl DeferredFork {
    /// The socket by which who makes procfs is asked.
    pub(super) fn maker(&self) -> Option<&OwnedFd> {
        self.procfs.as_ref().map(|maker| &maker.socket)
    }

    /// Makes it, with nothing open but `more` descriptors behind the standard ones, those `kept`, and its end of the sync; returns in
    /// it alone, when the builder lets it go on, with its number.
    #[inline(never)]
    pub(super) fn fork_and_wait(
        self,
        sync: &SyncSocket,
        more: u32,
        [a, b, c, d]: [BorrowedFd<'_>; 4],
    ) -> Result<Pid, Fault> {
        let Self { pid_to, procfs } = self;
        if let Some(ProcfsHelper { socket, waiting }) = procfs {
            drop(socket);
            process::wait_for(waiting);
        }
        close_all_but(more, &[a, b, c, d, sync.end.as_fd(), pid_to.as_fd()])?;
        let flags = u64::from(linux_raw_sys::general::CLONE_PARENT);
        match raw::fork(flags, None).during(Op::Clone, "the container")? {
            Forked::Child => {
                drop(pid_to);
                sync.wait()
            }
            Forked::Parent(pid) => {
                send_pid(&pid_to, pid);
                raw::exit(0)
            }
        }
    }
}

/// Runs the createContainer hooks in the namespaces of the process that sets up, which is `pid`.
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
    match raw::fork(0, None).during(Op::Clone, MOMENT.name())? {
        Forked::Child => {
            let ran =
                namespaces::join_container(pidfd.as_fd(), namespaces, |kind| kind != Kind::Pid)
                    .and_then(|()| match namespaces.has(Kind::User) {
                        true => namespace::become_root().map(drop),
                        false => Ok(()),
                    })
                    .and_then(|()| hooks::run(config, MOMENT, state));
            let failed = ran.map_err(|fault| status_pipe.send(Message::Fault(fault)));
            raw::exit(failed.is_err().into())
        }
        Forked::Parent(child) => match process::wait_no_longer_than(child, None) {
            Ok(Status::Exited(0)) => Ok(()),
            // It has said why.
            _ => Err(Errno::CANCELED).during(Op::Hook, MOMENT.name()),
        },
    }
}

/// What stands for the default procfs in a question.
const DEFAULT: usize = usize::MAX;

/// Has `maker` make the procfs that is `item` of these, or the default one.
pub(super) fn procfs_of(
    maker: &OwnedFd,
    items: MountList<'_>,
    item: &Mount<'_>,
) -> Result<OwnedFd, Fault> {
    let place = items.iter().position(|one| core::ptr::eq(one, item));
    let question = place.unwrap_or(DEFAULT).to_ne_bytes();
    send(maker, &question, SendFlags::NOSIGNAL)
        .and_then(|_| socket::receive(maker, RecvFlags::empty()))
        // It has said why.
        .during(Op::Mount, "proc")
}

/// Starts who makes procfs; the socket by which it is asked.
#[inline(never)]
fn mounter(
    request: &Request<'_>,
    joined: &JoinedNamespaces<'_>,
    status_pipe: &mut StatusPipe,
) -> Result<ProcfsHelper, Fault> {
    let (ours, theirs) = pair(request.id)?;
    match raw::fork(0, None).during(Op::Clone, request.id)? {
        Forked::Parent(waiting) => Ok(ProcfsHelper {
            socket: ours,
            waiting,
        }),
        Forked::Child => {
            drop(ours);
            if let Err(fault) = enter_and_serve(request, joined, status_pipe, &theirs) {
                status_pipe.send(Message::Fault(fault));
            }
            raw::exit(0)
        }
    }
}

fn enter_and_serve(
    request: &Request<'_>,
    joined: &JoinedNamespaces<'_>,
    status_pipe: &mut StatusPipe,
    socket: &OwnedFd,
) -> Result<(), Fault> {
    joined.join()?;
    // Of a user namespace that is joined, it may mount in one of its own.
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
    raw::close_all_but(0, &[socket.as_fd(), status_pipe.as_fd()])
        .during(Op::Configure, "close_range(2)")?;
    // It ends with the process that asks. Who is not collected keeps his PID namespace from ending.
    match raw::fork(0, None).during(Op::Clone, request.id)? {
        Forked::Parent(pid) => {
            process::wait_for(pid);
            raw::exit(0)
        }
        Forked::Child => serve(request.config.mounts, socket),
    }
}

/// Makes what is asked for, as long as somebody asks. No mount: that would be one of a procfs with nothing masked in it.
fn serve(items: MountList<'_>, socket: &OwnedFd) -> Result<(), Fault> {
    let mut question = [0; size_of::<usize>()];
    while let Ok((size, _)) = recv(socket, &mut question, RecvFlags::empty())
        && size == question.len()
    {
        let item = items.iter().nth(usize::from_ne_bytes(question));
        let made = mounts::configure(item.unwrap_or(&mounts::PROC), "proc")?;
        socket::send(socket, b"!", made.as_fd()).during(Op::Mount, "proc")?;
    }
    Ok(())
}
