//! What the new process does before it becomes the container's program. It runs inside the namespaces.

use core::convert::Infallible;
use core::mem::ManuallyDrop;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior, umask};

use super::builder::{self, SyncSocket};
use super::confine;
use super::image::{self, Image};
use super::limits::Moment;
use super::mounts::{EarlyCopies, Mounts};
use super::program::Program;
use super::rootfs::Rootfs;
use super::seccomp::{self, Filter};
use super::shared_pid::{self, DeferredFork};
use super::start::{Place, Request, Streams};
use super::state::{State, Status};
use super::status_pipe::{Message, StatusPipe};
use super::{credentials, devices, hooks, labels, landlock, limits, mounts, namespaces, terminal};
use crate::error::{During, Fault, Op};
use crate::parse::config::{DeviceAccess, HookKind, Kind, Process};
use crate::sys::procfs::Procfs;
use crate::sys::{console, mount, namespace, net, raw, signal};

/// What a container that can make nodes, or brings some, is told where there are no control groups.
const NEEDS_GROUPS: &str =
    "which devices it may use, which needs control groups of version 2, or berth.privileged";

/// Sets everything up and executes the program. Returns only what went wrong.
pub(super) fn run(
    request: Request<'_>,
    status_pipe: &mut StatusPipe,
    sync: Option<SyncSocket>,
    deferred: Option<DeferredFork>,
) -> Fault {
    match prepare_and_execute(request, status_pipe, sync, deferred) {
        Ok(never) => match never {},
        Err(fault) => fault,
    }
}

fn prepare_and_execute(
    mut request: Request<'_>,
    status_pipe: &mut StatusPipe,
    mut sync: Option<SyncSocket>,
    deferred: Option<DeferredFork>,
) -> Result<Infallible, Fault> {
    signal::reset();
    let config = request.config;
    let is_new = matches!(request.place, Place::New);
    // The builder's part is done once this process is somebody.
    let mut pid = match &sync {
        Some(sync) if is_new => Some(sync.wait()?),
        _ => None,
    };
    let mut early: EarlyCopies = [const { None }; _];
    let rootfs = match is_new {
        true => Some(open_from_host(&request, sync.as_ref(), &mut early)?),
        false => None,
    };
    let can_change_groups = match config.namespaces.has(Kind::User) {
        true => namespace::become_root()?,
        false => true,
    };
    // Nodes and mount points get the modes that stand here.
    let callers_umask = umask(Mode::empty());
    start_session()?;
    connect(&request.streams)?;
    // Of a container that runs, the state has its first process's.
    let mut state = request.state();
    state.pid = state.pid.or(pid);
    if sync.is_none() {
        limits::set_oom_score(&config.process, None)?;
    }
    if let Some(rootfs) = rootfs {
        namespaces::enter_time(config)?;
        if config.namespaces.is_new(Kind::Network) {
            net::bring_loopback_up()?;
        }
        make_untraceable(&config.process, request.keeps_keyring)?;
        let procfs = deferred.as_ref().and_then(DeferredFork::maker);
        let helpers = (sync.as_ref(), procfs);
        make_root(&request, helpers, &state, callers_umask, rootfs, &mut early)?;
        if let Streams::Pipes { .. } = request.streams {
            console::read_own_null().during(Op::Open, "/dev/null")?;
        }
    } else if let Streams::Terminal(socket) = &request.streams {
        let root = mount::open_root()?;
        terminal::set_up(root.as_fd(), config.process.console_size, socket, false)?;
    }
    let more = match request.streams {
        Streams::Inherited { more } => more,
        _ => 0,
    };
    let has_terminal = matches!(request.streams, Streams::Console(_) | Streams::Terminal(_));
    let fifo = request.exec_fifo.take();
    // Who owns a descriptor gives it up before it is closed.
    drop(request.streams);
    if let Some(environment) = request.environment {
        environment.forget();
    }
    let agent = sync.as_mut().and_then(|sync| sync.agent.take());
    let status_end = status_pipe.as_fd();
    let kept = [
        status_end,
        status_pipe.recorded_socket(),
        fifo.as_ref().map_or(status_end, AsFd::as_fd),
        agent.as_ref().map_or(status_end, |agent| agent.as_fd()),
    ];
    if let (Some(deferred), Some(sync)) = (deferred, &sync) {
        pid = Some(deferred.fork_and_wait(sync, more, kept)?);
        start_session()?;
        state.pid = state.pid.or(pid);
    }
    match is_new || config.process.exec_affinity.iter().all(Option::is_none) {
        true => limits::reset_affinity(),
        false => limits::set_affinity(&config.process, Moment::Final)?,
    }
    drop(sync);
    close_all_but(more, &kept)?;
    if has_terminal {
        let [terminal, ..] = console::standard_descriptors();
        rustix::process::ioctl_tiocsctty(terminal).during(Op::Terminal, console::PATH)?;
    }
    // Compiled while everything may still be called.
    let filter = match &config.seccomp {
        Some(profile) => Some(Filter::of(profile, agent, pid, &state)?),
        None => None,
    };
    let process = &config.process;
    // Images have directories that only root may enter, and start their programs there as somebody else: so it is entered with all
    // rights. Where root may not (on a network's filesystem, or in a user namespace), the user perhaps may.
    let entered = enter_working_directory(process.cwd);
    umask(Mode::from_raw_mode(process.user.umask));
    // What is executed and what it is called with takes memory, before there may be a limit.
    let program = ManuallyDrop::new(Program::new(process, request.variables)?);
    let gate = match fifo {
        Some(fifo) => {
            // Who makes a container is told that it has no program, not only who starts it.
            program.look()?;
            labels::apply(process, labels::Moment::Check)?;
            Some(ExecFifo::before(fifo)?)
        }
        None => None,
    };
    // Else the program's rights and limits come when it was held and hooks have run: those are the runtime's.
    let is_early = gate.is_some() && seccomp::is_agent_told_early(config);
    // After the filter, as little is called as can be: what takes memory took it before, and is left to the end of the process.
    let mut filter = ManuallyDrop::new(filter);
    let mut become_it = || -> Result<(), Fault> {
        let mut install = || filter.as_mut().map_or(Ok(()), Filter::install);
        let is_last = seccomp::comes_last(process);
        if !is_last {
            install()?;
        }
        credentials::apply(process, can_change_groups)?;
        // To become another user has made it what the machine's `fs.suid_dumpable` says.
        if is_early {
            clear_dumpable()?;
        }
        entered.or_else(|_| enter_working_directory(process.cwd))?;
        match is_last {
            true => install(),
            false => Ok(()),
        }
    };
    let label_and_restrict = || {
        labels::apply(process, labels::Moment::Execute)?;
        limits::apply(process)?;
        landlock::ruleset(&config.annotations.landlock)
    };
    let mut ruleset = None;
    if is_early {
        ruleset = label_and_restrict()?;
        become_it()?;
    }
    if let Some(gate) = gate {
        gate.wait(status_pipe)?;
    }
    if !is_early {
        if is_new {
            let state = State {
                status: Status::Created,
                ..state
            };
            hooks::run(config, HookKind::StartContainer, &state)?;
        }
        ruleset = label_and_restrict()?;
    }
    if let Some(ruleset) = ruleset {
        ruleset.restrict_self().during(Op::Configure, "Landlock")?;
    }
    limits::apply_to_resources(process)?;
    if !is_early {
        become_it()?;
    }
    program.execute()
}

/// Until it executes the program, this process has the host's memory, descriptors and binary. Nobody in a namespace that it joins,
/// be he root there, shall trace it or look into its `/proc/<pid>` (ptrace(2), "PTRACE_MODE"); execve(2) ends that. And it has keys
/// of its own: a session keyring is inherited, like a descriptor (session-keyring(7)).
///
/// What it writes to its own `/proc` comes before: that is the host's from then on.
pub(super) fn make_untraceable(process: &Process<'_>, keeps_keyring: bool) -> Result<(), Fault> {
    const KEYRING: &str = "a session keyring";
    clear_dumpable()?;
    if keeps_keyring {
        return Ok(());
    }
    labels::label_keys(process)?;
    match raw::new_session_keyring() {
        // Without keys there are none to hide.
        Err(Errno::NOSYS) => Ok(()),
        result => result.during(Op::Create, KEYRING),
    }
}

fn clear_dumpable() -> Result<(), Fault> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).during(Op::Configure, "PR_SET_DUMPABLE")
}

/// Closes what the set-up and its caller have open, but for `more` descriptors behind the standard ones and those `kept`. Not at
/// execve(2): a path like `/proc/self/fd/7` is the configuration's, and must not lead to the host before (CVE-2024-21626).
pub(super) fn close_all_but(more: u32, kept: &[BorrowedFd<'_>]) -> Result<(), Fault> {
    raw::close_all_but(more.saturating_add(3), kept).during(Op::Configure, "close_range(2)")
}

/// Changes to the working directory, and sees whether that is inside the root: whatever a path led through, and if a descriptor was
/// forgotten.
fn enter_working_directory(path: &str) -> Result<(), Fault> {
    mount::enter(path)?;
    match raw::working_directory_is_reachable() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Errno::XDEV),
        Err(errno) => Err(errno),
    }
    .during(Op::Chdir, format_args!("{path}, outside of the root"))
}

/// Takes from the host what may be out of reach once this process is somebody else: the directory of the rootfs, and volumes (see
/// [`mounts::copy_early`]).
#[inline(never)]
fn open_from_host<'c>(
    request: &Request<'c>,
    sync: Option<&SyncSocket>,
    early: &mut EarlyCopies,
) -> Result<Rootfs<'c>, Fault> {
    let (bundle, config) = (request.bundle, request.config);
    let sync = sync.filter(|_| config.namespaces.has(Kind::User));
    if config.namespaces.is_new(Kind::Mount) {
        mounts::copy_early(
            bundle,
            config.mounts,
            config.rootfs_propagation,
            sync,
            early,
        )?;
    }
    let rootfs = Rootfs::open(bundle, config.root_path, sync)?;
    if let Some(sync) = sync {
        sync.open_nothing_more();
    }
    Ok(rootfs)
}

/// This process has a session of its own, and no terminal in it yet.
fn start_session() -> Result<(), Fault> {
    rustix::process::setsid()
        .map(drop)
        .during(Op::Create, "a session")
}

/// From the host's root to the container's.
#[inline(never)]
fn make_root(
    request: &Request<'_>,
    (sync, procfs): (Option<&SyncSocket>, Option<&OwnedFd>),
    state: &State<'_>,
    callers_umask: Mode,
    mut rootfs: Rootfs<'_>,
    early: &mut EarlyCopies,
) -> Result<(), Fault> {
    let (bundle, config) = (request.bundle, request.config);
    let annotations = &config.annotations;
    labels::check_mounts(config.mount_label)?;
    let label = labels::context_of(config.mount_label)?;
    let label = label.as_deref();
    let image = annotations.image.map(|path| {
        image::make(&Image {
            bundle,
            path,
            verity: annotations.verity.as_ref(),
            is_read_only: config.root_readonly || annotations.overlay.is_some(),
            label,
        })
    });
    let has_mounts = config.namespaces.is_new(Kind::Mount);
    if has_mounts {
        rootfs.bind(bundle, config, image.transpose()?, label)?;
    }
    // Where there is no group to attach a program to, it is better than nothing.
    let has_nodev = match config.device_access() {
        DeviceAccess::Any => false,
        DeviceAccess::NoDev => has_mounts,
        DeviceAccess::Program => has_mounts && request.group.is_none(),
    };
    if has_nodev {
        mount::forbid_devices(rootfs.root()).during(Op::Mount, "the rootfs nodev")?;
    }
    let mut made = None;
    if has_mounts {
        let mounts = Mounts {
            root: rootfs.root(),
            bundle,
            items: config.mounts,
            label: config.mount_label,
            has_ipc: config.namespaces.has(Kind::Ipc),
            has_cgroups: config.namespaces.has(Kind::Cgroup),
            has_nodev,
            mapper: sync.filter(|_| builder::is_mapping(config)),
            procfs,
        };
        made = Some(mounts.make(early)?);
    }
    devices::make_all(rootfs.root(), &config.confinement, has_nodev)?;
    match &request.streams {
        Streams::Console(_) if has_mounts => {
            // Not by its descriptor: that was opened in the host's namespace, and only mounts of this one can be bound.
            let source = mounts::open_source(console::PATH)?;
            mounts::bind_console(rootfs.root(), source.as_fd())?;
        }
        Streams::Terminal(socket) => {
            let size = config.process.console_size;
            terminal::set_up(rootfs.root(), size, socket, has_mounts)?;
        }
        _ => {}
    }
    if let Some(proc_and_sys) = made {
        // What cannot be made is missed when it is entered.
        let _ = mounts::prepare_target(rootfs.root(), config.process.cwd, FileType::Directory);
        confine::apply(rootfs.root(), proc_and_sys, &config.confinement, label)?;
    }
    if let Some(hostname) = config.hostname {
        rustix::system::sethostname(hostname.as_bytes()).during(Op::SetHostname, hostname)?;
    }
    if let Some(name) = config.domainname {
        rustix::system::setdomainname(name.as_bytes())
            .during(Op::Set, format_args!("domainname {name}"))?;
    }
    if let Some(sync) = sync.filter(|_| request.has_outside_hooks()) {
        sync.run_outside_hooks()?;
    }
    // A network device may have come from outside only now.
    confine::set_parameters(&config.confinement)?;
    if !shared_pid::joins_processes(config) {
        umask(callers_umask);
        hooks::run(config, HookKind::CreateContainer, state)?;
        umask(Mode::empty());
    }
    // Only now: these hooks may still write there.
    if has_mounts && config.root_readonly {
        mount::make_read_only(rootfs.root()).during(Op::Mount, "the rootfs read-only")?;
    }
    rootfs.enter()?;
    if has_mounts {
        mounts::propagate(config.mounts, early)?;
    }
    match request.group {
        // In a user namespace nobody may say which devices can be used: there the builder does it.
        _ if config.namespaces.has(Kind::User) => Ok(()),
        Some(group) => group.confine_devices(config),
        None if config.device_access() == DeviceAccess::Program => {
            Err(Errno::OPNOTSUPP).during(Op::Configure, NEEDS_GROUPS)
        }
        None => Ok(()),
    }
}

/// The FIFO that is held at, and what it takes to open it.
struct ExecFifo {
    fifo: OwnedFd,
    /// This process's descriptors, by their numbers.
    numbers: OwnedFd,
}

impl ExecFifo {
    fn before(fifo: OwnedFd) -> Result<Self, Fault> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let numbers = Procfs::of_processes()?.open("self/fd", flags)?;
        Ok(Self { fifo, numbers })
    }

    /// Says that all is set up, and waits for who opens the FIFO for reading. There may be a filter by now.
    #[inline(never)]
    fn wait(self, status_pipe: &mut StatusPipe) -> Result<(), Fault> {
        let number = crate::sys::path::path(format_args!("{}", self.fifo.as_raw_fd()));
        let number = number.during(Op::Open, "a descriptor")?;
        status_pipe.send(Message::Created);
        status_pipe.wait_for_record()?;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let opened = openat(&self.numbers, number.as_str(), flags, Mode::empty());
        status_pipe.also_send_to(opened.during(Op::Open, "what is held at")?);
        Ok(())
    }
}

fn connect(streams: &Streams) -> Result<(), Fault> {
    match streams {
        Streams::Pipes { stdout, stderr } => {
            let null = console::open_null()
                .ok_or(Errno::NODEV)
                .during(Op::Open, "/dev/null")?;
            console::set_standard_descriptors(null.as_fd(), stdout.as_fd(), stderr.as_fd())
                .during(Op::Open, "standard output")
        }
        Streams::Console(terminal) => {
            console::become_standard_descriptors(terminal).during(Op::Terminal, console::PATH)
        }
        // A terminal is made in the container's mounts, later.
        Streams::Inherited { .. } | Streams::Terminal(_) => Ok(()),
    }
}
