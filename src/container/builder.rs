//! The builder: a process that does the parent's part where that takes time.
//!
//! Most containers take one clone3(2), and the caller goes on at once. Some take more:
//!
//! * the maps of a user namespace are written from outside of it;
//! * hooks run outside while the container waits;
//! * only children join a PID namespace;
//! * an agent is told the PID of a process that does not know it;
//! * the caller has something of its own to do to the container.
//!
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
//! What the two say to each other is in [`super::handshake`].
//!
//! # Namespaces that exist
//!
//! Hooks run in the builder's namespaces, so yet another process joins those of others. It makes
//! the first process as its sibling (CLONE_PARENT), says which it is, and ends. Where others are in
//! the PID namespace, that process does the set-up itself, and makes the first process last
//! ([`super::shared_pid`]).
//!
//! # Whose child the first process is
//!
//! It is the builder's child until the builder ends, and only then the caller's: orphans go to PID
//! 1, or to a command that has asked for them (PR_SET_CHILD_SUBREAPER). So nobody can collect the
//! first process before the caller knows which it is.
//!
//! When a builder dies, its end of the socket is closed, and the first process does not go on. The
//! builder dies with its caller.

use core::mem::ManuallyDrop;

use linux_raw_sys::general as linux;
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::broker;
use super::cgroup::Group;
use super::handshake::{BuilderSocket, PidReader, PidWriter, SyncSocket, pair, pid_pipe};
use super::hooks;
use super::limits;
use super::mounts;
use super::namespaces::{self, JoinedNamespaces};
use super::request::{OUTSIDE_HOOKS, Outside, Request, joins_processes, maps_ids_outside};
use super::setup;
use super::shared_pid;
use super::state::State;
use super::status_pipe::{Message, StatusPipe};
use crate::cause::Cause;
use crate::error::{At, During, Fault, Op};
use crate::parse::config::{Config, HookKind, Kind};
use crate::sys::process::{self, Forked};
use crate::sys::{signal, socket};

/// These hooks are told the first process's PID as the builder sees it, which that does not know
/// itself.
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
        || request.joins_namespaces()
        || config.hooks.has(BEFORE_THE_PROGRAM)
        || agent(config).is_some()
        || request.outside.is_some()
}

/// The path at which the agent listens that the container's filter asks.
fn agent<'a>(config: &Config<'a>) -> Option<&'a str> {
    Some(config.seccomp.as_ref()?.agent?.path)
}

/// Connects to the agent. The path is one of the host, and is opened with the rights of the process
/// that makes the container: so the builder does it.
#[inline(never)]
fn connect(config: &Config<'_>) -> Result<Option<ManuallyDrop<OwnedFd>>, Fault> {
    let Some(path) = agent(config) else {
        return Ok(None);
    };
    let socket = socket::connect(path).during(Op::Socket, format_args!("the agent at {path}"));
    let socket = socket.because(Cause::SeccompAgent)?;
    Ok(Some(ManuallyDrop::new(socket)))
}

/// Does the builder's work, and ends; with its parent `caller`, if that ends before.
pub(super) fn run(request: Request<'_>, mut status_pipe: StatusPipe, caller: Pid) -> ! {
    signal::reset();
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // The caller may have ended before that.
    if getppid() != Some(caller) {
        process::exit(1)
    }
    if let Err(fault) = build(request, &mut status_pipe) {
        status_pipe.send(Message::Fault(fault));
    }
    process::exit(0)
}

/// What the builder knows of the request, once the first process has that.
struct BuildContext<'r> {
    config: &'r Config<'r>,
    group: Option<&'r Group>,
    outside: Option<Outside>,
    is_new: bool,
    joins_namespaces: bool,
    has_hooks: bool,
    state: State<'r>,
}

#[inline(never)]
fn build(request: Request<'_>, status_pipe: &mut StatusPipe) -> Result<(), Fault> {
    let mut context = BuildContext {
        config: request.config,
        group: request.group,
        outside: request.outside,
        is_new: request.is_new(),
        joins_namespaces: request.joins_namespaces(),
        has_hooks: request.has_outside_hooks(),
        state: request.state(),
    };
    let Some(Spawned { pid, sync, first }) = spawn(request, status_pipe)? else {
        return Ok(());
    };
    if first.is_none() {
        status_pipe.send(Message::Pid(pid));
    }
    context.state.pid = Some(pid);
    if let Err(fault) = context.serve(pid, &sync, status_pipe) {
        // It is this process's child, which nobody else collects.
        let _ = process::signal(pid, signal::KILL);
        return Err(fault);
    }
    match first {
        Some(first) => context.receive(pid, &first, &sync, status_pipe),
        None => Ok(()),
    }
}

impl BuildContext<'_> {
    /// Does what the process `pid` waits for.
    #[inline(never)]
    fn serve(
        &self,
        pid: Pid,
        sync: &BuilderSocket,
        status_pipe: &mut StatusPipe,
    ) -> Result<(), Fault> {
        let config = self.config;
        if self.is_new {
            namespaces::write_or_check_maps(config, pid)?;
        }
        // The process that joins namespaces has done that.
        if !self.joins_namespaces {
            limits::raise_limits(&config.process, Some(pid))?;
        }
        if !self.is_new {
            return Ok(());
        }
        if let Some(group) = self.group.filter(|_| config.namespaces.has(Kind::User)) {
            group.confine_devices(config)?;
        }
        sync.resume(pid);
        if config.namespaces.has(Kind::User) {
            broker::serve(config, self.state.bundle, pid, sync)?;
        }
        if maps_ids_outside(config) {
            for item in config.mounts.iter() {
                let Some(ids) = &item.ids else { continue };
                let Some(mount) = sync.mount_to_map() else {
                    return Ok(());
                };
                mounts::map_ids_of(&pid.as_raw_nonzero(), mount, item, ids)?;
                sync.resume(pid);
            }
        }
        if self.has_hooks && sync.is_ready() {
            if let Some(act) = self.outside {
                act(config, self.state.id, pid)?;
            }
            for moment in OUTSIDE_HOOKS {
                hooks::run(config, *moment, &self.state)?;
            }
            if joins_processes(config) {
                shared_pid::run_hooks(config, pid, &self.state, status_pipe)?;
            }
            sync.resume(pid);
        }
        Ok(())
    }

    /// Receives the first process from the set-up process, which ends then, and has it go on.
    fn receive(
        &self,
        set_up: Pid,
        first: &PidReader,
        sync: &BuilderSocket,
        status_pipe: &mut StatusPipe,
    ) -> Result<(), Fault> {
        let first = first.wait();
        process::wait_for(set_up);
        let Some(first) = first else { return Ok(()) };
        status_pipe.send(Message::Pid(first));
        let moved = self.move_in(first);
        match &moved {
            Ok(()) => sync.resume(first),
            Err(_) => drop(process::signal(first, signal::KILL)),
        }
        moved
    }

    /// Puts one more process of a container where the container is.
    fn move_in(&self, first: Pid) -> Result<(), Fault> {
        if self.is_new {
            return Ok(());
        }
        if let Some(group) = self.group {
            group.add(first)?;
        }
        match self.outside {
            Some(act) => act(self.config, self.state.id, first),
            None => Ok(()),
        }
    }
}

/// The process that becomes the container, or sets it up.
struct Spawned {
    pid: Pid,
    sync: BuilderSocket,
    /// Where a process that only sets the container up says which is the first.
    first: Option<PidReader>,
}

/// Makes the first process, or the one that makes it; `None` if that failed, and the process that
/// failed has said why.
#[inline(never)]
fn spawn(request: Request<'_>, status_pipe: &mut StatusPipe) -> Result<Option<Spawned>, Fault> {
    let joined = match request.is_new() {
        true => JoinedNamespaces::open(&request.config.namespaces)?,
        false => JoinedNamespaces::none(),
    };
    let agent = connect(request.config)?;
    let (ours, theirs) = pair(request.id)?;
    let (ours, theirs) = (BuilderSocket(ours), SyncSocket::new(theirs, agent));
    if !request.joins_namespaces() {
        let flags = namespaces::flags_of_new(&request.config.namespaces);
        return match fork(&request, flags)? {
            Forked::Child => {
                drop(ours);
                setup::run(request, status_pipe, Some(theirs), None)
            }
            Forked::Parent(pid) => Ok(Some(Spawned {
                pid,
                sync: ours,
                first: None,
            })),
        };
    }
    let (first, to) = pid_pipe(request.id)?;
    let is_visible = request.is_visible();
    // What the set-up process mounts and makes shows the group that it is in.
    let group = request.group.filter(|_| is_visible && request.is_new());
    match process::fork(0, group.map(AsFd::as_fd)).during(Op::Clone, request.id)? {
        Forked::Child => {
            drop((ours, first));
            let made = match is_visible {
                true => shared_pid::begin(request, &joined, status_pipe, theirs, to),
                false => join_and_make(request, &joined, status_pipe, theirs, to),
            };
            if let Err(fault) = made {
                status_pipe.send(Message::Fault(fault));
            }
            process::exit(0)
        }
        Forked::Parent(pid) => {
            drop(to);
            if is_visible {
                return Ok(Some(Spawned {
                    pid,
                    sync: ours,
                    first: Some(first),
                }));
            }
            let first = first.wait();
            process::wait_for(pid);
            Ok(first.map(|pid| Spawned {
                pid,
                sync: ours,
                first: None,
            }))
        }
    }
}

/// Joins the namespaces that exist, and makes the first process there, in a PID namespace of its
/// own or the host's; in a process that does nothing else.
#[inline(never)]
fn join_and_make(
    request: Request<'_>,
    joined: &JoinedNamespaces<'_>,
    status_pipe: &mut StatusPipe,
    sync: SyncSocket,
    to: PidWriter,
) -> Result<(), Fault> {
    limits::raise_limits(&request.config.process, None)?;
    joined.join()?;
    let flags = namespaces::flags_of_new(&request.config.namespaces);
    match fork(&request, flags | u64::from(linux::CLONE_PARENT))? {
        Forked::Child => {
            drop(to);
            joined.join_cgroups()?;
            setup::run(request, status_pipe, Some(sync), None)
        }
        Forked::Parent(pid) => {
            to.send(pid);
            Ok(())
        }
    }
}

/// Makes a process in namespaces that are new.
#[inline(never)]
pub(super) fn fork(request: &Request<'_>, flags: u64) -> Result<Forked, Fault> {
    let forked = process::fork(flags, request.group.map(AsFd::as_fd));
    match flags & u64::from(linux::CLONE_NEWUSER) {
        0 => forked.during(Op::Clone, request.id),
        // Some systems keep these from users, or from all.
        _ => forked
            .during(Op::Create, "a process in a user namespace")
            .because(Cause::UserNamespace),
    }
}
