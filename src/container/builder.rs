//! The builder: who plays the parent's part where that takes time.
//!
//! Most containers take one clone3(2), and whoever makes them goes on at once. Some take more: the maps of a user namespace are
//! written by who is outside of it, hooks run outside while the container waits, a namespace of processes is joined by children
//! only, an agent is told the number of a process that does not know it, the caller has something of its own to do.
//! So a short-lived process does it:
//!
//! ```text
//! caller ─► builder ────────────────────► first process
//!              │  its PID  ─► caller          │ waits
//!              │  maps                        │
//!              ├─ "go on, you are PID n" ────►│ becomes user 0, mounts
//!              │◄──────── "map the ids of 7" ─┤
//!              ├─ "go on" ───────────────────►│ mounts
//!              │◄──────── "I am ready" ───────┤
//!              │  the caller's, prestart,     │ waits
//!              │  createRuntime               │
//!              ├─ "go on" ───────────────────►│ createContainer, its root is `/`, …
//!              ╵ ends                         ▼ becomes the caller's child
//! ```
//!
//! # Namespaces that exist
//!
//! Hooks run in the builder's namespaces, so it is another process yet that joins those of others, makes the first process as its
//! sibling (CLONE_PARENT), says which it is, and ends. Where others are in the PID namespace, that process sets up all that the host
//! can be reached by, and makes the first process last ([`super::shared_pid`]).
//!
//! # Whose child it is
//!
//! The first process is the builder's child until that ends, and only then the caller's: as an orphan it becomes PID 1's, and that
//! of a command that has asked for orphans (PR_SET_CHILD_SUBREAPER). So nobody can collect it before it was heard which it is.
//!
//! A builder that dies takes its end of the sync with it, and the first process does not go on. It dies with its caller.

use core::mem::ManuallyDrop;

use linux_raw_sys::general as linux;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::io::{Errno, read, write};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::broker;
use super::cgroup::Group;
use super::hooks;
use super::limits;
use super::mounts;
use super::namespaces::{self, JoinedNamespaces};
use super::shared_pid;
use super::start::{Outside, Place, Request, become_container};
use super::state::State;
use super::status_pipe::{Message, StatusPipe};
use crate::cause::Cause;
use crate::error::{At, During, Fault, Op};
use crate::parse::config::{Config, HookKind, Kind, MountList};
use crate::sys::raw::{self, Forked};
use crate::sys::{process, signal, socket};

/// The hooks for which the first process waits.
const OUTSIDE: &[HookKind] = &[HookKind::Prestart, HookKind::CreateRuntime];

/// These are told the first process's PID as the builder sees it; itself, it does not know that.
const BEFORE_THE_PROGRAM: &[HookKind] = &[
    HookKind::Prestart,
    HookKind::CreateRuntime,
    HookKind::CreateContainer,
    HookKind::StartContainer,
];

/// Whether the container takes a builder.
pub(super) fn is_needed(request: &Request<'_>) -> bool {
    let config = request.config;
    config.namespaces.is_new(Kind::User)
        || is_joining(request)
        || config.hooks.has(BEFORE_THE_PROGRAM)
        || agent(config).is_some()
        || request.outside.is_some()
}

/// The path at which the agent listens that the container's filter asks.
fn agent<'a>(config: &Config<'a>) -> Option<&'a str> {
    Some(config.seccomp.as_ref()?.agent?.path)
}

/// A connection to that. The path is one of the host, and who makes the container is who connects, so it is done here.
#[inline(never)]
fn connect(config: &Config<'_>) -> Result<Option<ManuallyDrop<OwnedFd>>, Fault> {
    let Some(path) = agent(config) else {
        return Ok(None);
    };
    let socket = socket::connect(path).during(Op::Socket, format_args!("the agent at {path}"));
    let socket = socket.because(Cause::SeccompAgent)?;
    Ok(Some(ManuallyDrop::new(socket)))
}

/// Whether the builder maps the ids of mounts: the first process may not, or would be seen with what that takes.
pub(super) fn is_mapping(config: &Config<'_>) -> bool {
    config.namespaces.has(Kind::User) || shared_pid::joins_processes(config)
}

/// Whether another process joins namespaces for it.
pub(super) fn is_joining(request: &Request<'_>) -> bool {
    matches!(request.place, Place::Running { .. })
        || request.config.namespaces.joined().next().is_some()
}

/// Does the builder's work, and ends; with `caller`, its parent, if that ends before.
pub(super) fn run(request: Request<'_>, mut status_pipe: StatusPipe, caller: Pid) -> ! {
    signal::reset();
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // It may have ended before that.
    if getppid() != Some(caller) {
        raw::exit(1)
    }
    if let Err(fault) = build(request, &mut status_pipe) {
        status_pipe.send(Message::Fault(fault));
    }
    raw::exit(0)
}

#[inline(never)]
fn build(request: Request<'_>, status_pipe: &mut StatusPipe) -> Result<(), Fault> {
    let (config, has_hooks) = (request.config, request.has_outside_hooks());
    let is_new = matches!(request.place, Place::New);
    let is_joining = is_joining(&request);
    let (group, outside) = (request.group, request.outside);
    let state = request.state();
    let Some(Spawned { pid, sync, born }) = make_first(request, status_pipe)? else {
        return Ok(());
    };
    if born.is_none() {
        status_pipe.send(Message::Pid(pid));
    }
    let state = State {
        pid: Some(pid),
        ..state
    };
    let maps = match is_new {
        true => namespaces::settle_maps(config, pid),
        false => Ok(()),
    };
    // Who joins for it has done that.
    let maps = maps.and_then(|()| match is_joining {
        true => Ok(()),
        false => limits::raise(&config.process, Some(pid)),
    });
    let mounts = match is_new && is_mapping(config) {
        true => config.mounts,
        false => MountList::default(),
    };
    let done = maps.and_then(|()| match is_new {
        true => serve_first_process(
            config,
            group,
            mounts,
            (has_hooks, outside),
            &sync,
            &state,
            status_pipe,
        ),
        false => Ok(()),
    });
    if done.is_err() {
        // It is this process's child, which nobody else collects.
        let _ = process::signal(pid, signal::KILL);
    }
    match born {
        Some(born) if done.is_ok() => {
            let first = read_pid(&born);
            process::wait_for(pid);
            let Some(first) = first else { return Ok(()) };
            status_pipe.send(Message::Pid(first));
            let moved = match group.filter(|_| !is_new) {
                Some(group) => group.add(first),
                None => Ok(()),
            };
            let moved = moved.and_then(|()| match outside.filter(|_| !is_new) {
                Some(act) => act(config, state.id, first),
                None => Ok(()),
            });
            match &moved {
                Ok(()) => resume(&sync, first),
                Err(_) => drop(process::signal(first, signal::KILL)),
            }
            moved
        }
        _ => done,
    }
}

/// The process that becomes the container, or sets it up.
struct Spawned {
    pid: Pid,
    sync: OwnedFd,
    /// Where the process that sets up says which is the first, if it is another.
    born: Option<OwnedFd>,
}

fn read_pid(from: &OwnedFd) -> Option<Pid> {
    let mut pid = [0; size_of::<i32>()];
    let _ = read(from, &mut pid);
    Pid::from_raw(i32::from_ne_bytes(pid))
}

/// Makes the first process, or who makes it; `None` if that failed, and whoever failed has said why.
#[inline(never)]
fn make_first(
    request: Request<'_>,
    status_pipe: &mut StatusPipe,
) -> Result<Option<Spawned>, Fault> {
    let joined = match request.place {
        Place::New => JoinedNamespaces::open(&request.config.namespaces)?,
        Place::Running { .. } => JoinedNamespaces::none(),
    };
    let agent = connect(request.config)?;
    let (ours, theirs) = shared_pid::pair(request.id)?;
    let sync = SyncSocket { end: theirs, agent };
    if !is_joining(&request) {
        let flags = namespaces::flags_of_new(&request.config.namespaces);
        return match fork(&request, flags)? {
            Forked::Child => {
                drop(ours);
                become_container(request, status_pipe, Some(sync), None)
            }
            Forked::Parent(pid) => Ok(Some(Spawned {
                pid,
                sync: ours,
                born: None,
            })),
        };
    }
    let (pid_from, pid_to) = pipe_with(PipeFlags::CLOEXEC).during(Op::Pipe, request.id)?;
    let is_seen = shared_pid::is_needed(&request);
    // What it mounts and makes shows the group that it is in.
    let group = request
        .group
        .filter(|_| is_seen && matches!(request.place, Place::New));
    match raw::fork(0, group.map(AsFd::as_fd)).during(Op::Clone, request.id)? {
        Forked::Child => {
            drop((ours, pid_from));
            let made = match is_seen {
                true => shared_pid::begin(request, &joined, status_pipe, sync, pid_to),
                false => join_and_make(request, &joined, status_pipe, sync, pid_to),
            };
            if let Err(fault) = made {
                status_pipe.send(Message::Fault(fault));
            }
            raw::exit(0)
        }
        Forked::Parent(joiner) => {
            drop(pid_to);
            if is_seen {
                return Ok(Some(Spawned {
                    pid: joiner,
                    sync: ours,
                    born: Some(pid_from),
                }));
            }
            let pid = read_pid(&pid_from);
            process::wait_for(joiner);
            Ok(pid.map(|pid| Spawned {
                pid,
                sync: ours,
                born: None,
            }))
        }
    }
}

/// Joins what is to be joined, and makes the first process there, in a PID namespace of its own or the host's; in a process that does
/// nothing else.
#[inline(never)]
fn join_and_make(
    request: Request<'_>,
    joined: &JoinedNamespaces<'_>,
    status_pipe: &mut StatusPipe,
    sync: SyncSocket,
    pid_to: OwnedFd,
) -> Result<(), Fault> {
    limits::raise(&request.config.process, None)?;
    joined.join()?;
    let flags = namespaces::flags_of_new(&request.config.namespaces);
    match fork(&request, flags | u64::from(linux::CLONE_PARENT))? {
        Forked::Child => {
            drop(pid_to);
            joined.join_cgroups()?;
            become_container(request, status_pipe, Some(sync), None)
        }
        Forked::Parent(pid) => {
            send_pid(&pid_to, pid);
            Ok(())
        }
    }
}

/// Says which process is the first, to the builder.
pub(super) fn send_pid(to: &OwnedFd, pid: Pid) {
    let _ = write(to, &pid.as_raw_nonzero().get().to_ne_bytes());
}

/// Has the process at the other end go on, which is told that it is `pid`. One that is gone has said why.
fn resume(sync: &OwnedFd, pid: Pid) {
    let number = pid.as_raw_nonzero().get().to_ne_bytes();
    let _ = send(sync, &number, SendFlags::NOSIGNAL);
}

#[inline(never)]
pub(super) fn fork(request: &Request<'_>, flags: u64) -> Result<Forked, Fault> {
    let forked = raw::fork(flags, request.group.map(AsFd::as_fd));
    match flags & u64::from(linux::CLONE_NEWUSER) {
        0 => forked.during(Op::Clone, request.id),
        // Some systems keep these from users, or from all.
        _ => forked
            .during(Op::Create, "a process in a user namespace")
            .because(Cause::UserNamespace),
    }
}

/// What the first process waits for.
#[inline(never)]
fn serve_first_process(
    config: &Config<'_>,
    group: Option<&Group>,
    mounts: MountList<'_>,
    (has_hooks, outside): (bool, Option<Outside>),
    sync: &OwnedFd,
    state: &State<'_>,
    status_pipe: &mut StatusPipe,
) -> Result<(), Fault> {
    let Some(pid) = state.pid else { return Ok(()) };
    let resume = || resume(sync, pid);
    if let Some(group) = group.filter(|_| config.namespaces.has(Kind::User)) {
        group.confine_devices(config)?;
    }
    resume();
    if config.namespaces.has(Kind::User) {
        broker::serve(config, state.bundle, pid, sync)?;
    }
    for item in mounts.iter() {
        let Some(ids) = &item.ids else { continue };
        let mut mount = [0; size_of::<RawFd>()];
        if !matches!(recv(sync, &mut mount, RecvFlags::empty()), Ok((len, _)) if len == mount.len())
        {
            return Ok(());
        }
        let first = pid.as_raw_nonzero();
        mounts::map_ids_of(&first, RawFd::from_ne_bytes(mount), item, ids)?;
        resume();
    }
    if has_hooks && matches!(recv(sync, &mut [0], RecvFlags::empty()), Ok((1, _))) {
        if let Some(act) = outside {
            act(config, state.id, pid)?;
        }
        for moment in OUTSIDE {
            hooks::run(config, *moment, state)?;
        }
        if shared_pid::joins_processes(config) {
            shared_pid::run_hooks(config, pid, state, status_pipe)?;
        }
        resume();
    }
    Ok(())
}

/// The end of the sync that the first process has.
pub(super) struct SyncSocket {
    pub(super) end: OwnedFd,
    /// The connection to the agent that the container's filter asks. The first process closes it; the others that have it end before
    /// the agent is told anything, or soon after.
    pub(super) agent: Option<ManuallyDrop<OwnedFd>>,
}

impl SyncSocket {
    /// Waits until the builder says that it goes on; this process's PID, as the builder sees it.
    pub(super) fn wait(&self) -> Result<Pid, Fault> {
        let mut pid = [0; size_of::<i32>()];
        recv(&self.end, &mut pid, RecvFlags::empty())
            .and_then(|_| Pid::from_raw(i32::from_ne_bytes(pid)).ok_or(Errno::PIPE))
            .during(Op::Wait, "the process that makes the container")
    }

    /// Has the builder map the ids of this mount: the next one for which the configuration asks for that.
    pub(super) fn map_ids(&self, mount: BorrowedFd<'_>) -> Result<(), Fault> {
        // That the builder is gone is found out next.
        let _ = send(
            &self.end,
            &mount.as_raw_fd().to_ne_bytes(),
            SendFlags::NOSIGNAL,
        );
        self.wait().map(drop)
    }

    /// Has the builder run its hooks, and waits for them.
    pub(super) fn run_outside_hooks(&self) -> Result<(), Fault> {
        // That the builder is gone is found out next.
        let _ = send(&self.end, b"!", SendFlags::NOSIGNAL);
        self.wait().map(drop)
    }
}

impl Request<'_> {
    pub(super) fn has_outside_hooks(&self) -> bool {
        let hooks = &self.config.hooks;
        let is_seen = shared_pid::joins_processes(self.config);
        matches!(self.place, Place::New)
            && (self.outside.is_some()
                || hooks.has(OUTSIDE)
                || is_seen && hooks.has(&[HookKind::CreateContainer]))
    }
}
