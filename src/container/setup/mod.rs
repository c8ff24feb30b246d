//! What the new process does before it becomes the container's program.
//!
//! It runs inside the namespaces, and is three lists of steps: [`MAKE`] makes the container, or
//! [`JOIN`] goes into one that runs; [`LEAVE`] gives up everything of the host's; then the program
//! gets its identity, rights and limits, as [`AT_START`] or [`AT_CREATE`] say. The order of the
//! rows is the order in which they run, and a row says why it stands where it does.
//!
//! Between the second and the third list, [`Launch::prepare`] makes what takes memory and
//! descriptors: the program's limits may leave it none.

mod launch;

use core::convert::Infallible;
use core::mem::ManuallyDrop;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use rustix::process::{Pid, umask};

use self::launch::{AT_CREATE, AT_START, Launch};
use super::confine::{self, ProcSysMounts};
use super::deferred::DeferredFork;
use super::handshake::SyncSocket;
use super::image::{self, Image};
use super::limits::AffinityStage;
use super::mounts::{EarlyCopies, Mounts};
use super::request::{self, Request, Streams};
use super::rootfs::Rootfs;
use super::state::State;
use super::status_pipe::{Message, StatusPipe};
use super::{devices, exposure, hooks, labels, limits, mounts, namespaces, target, terminal};
use crate::error::{During, Fault, Op};
use crate::parse::config::{Config, DeviceAccess, HookKind, Kind};
use crate::sys::path::Path;
use crate::sys::{console, mount, namespace, net, process, signal};

/// A step of a list.
struct Step<Run> {
    /// What it does, as it follows "to".
    name: &'static str,
    run: Run,
}

const fn step<Run: Copy>(name: &'static str, run: Run) -> Step<Run> {
    Step { name, run }
}

type SetupStep = Step<fn(&mut Setup<'_, '_>) -> Result<(), Fault>>;

/// Makes a container: from the host's root to the container's own.
const MAKE: &[SetupStep] = &[
    // In a user namespace, this process has no ids before the builder has written the maps.
    step("wait for the builder", wait_for_builder),
    // These two come before this process is user 0 of a user namespace: as that it may be kept out
    // of directories that its maker may enter. And the copies come before the rootfs is bound,
    // which cuts the mounts of this namespace off from the host's.
    step("copy volumes of the host", copy_volumes),
    step("open the rootfs", open_rootfs),
    step("become user 0", become_root),
    // Nodes and mount points get exactly the modes that are asked for.
    step("clear the umask", clear_umask),
    step("start a session", start_session),
    step("connect standard output", connect_streams),
    // This needs a procfs, and rights on the host.
    step("set the OOM score", set_oom_score),
    step("enter a time namespace", enter_time_namespace),
    step("bring up the loopback device", bring_loopback_up),
    // The steps before this write to this process's own files in /proc, which belong to the host's
    // root afterwards. All later ones mount and open what others in the namespaces could use.
    step("hide from others", hide),
    step("label filesystems", prepare_label),
    // Hooks, sources of mounts, nodes and `/dev/null` are the host's until its root is left. A
    // mount covers what is below it, so the container's tree grows from its root.
    step("mount the rootfs", mount_rootfs),
    step("forbid devices", forbid_devices),
    step("mount its filesystems", make_mounts),
    step("make its devices", make_devices),
    step("make its console", make_console),
    step("make its working directory", make_working_directory),
    // A mount or a device that came later would lie on top of a mask.
    step("mask its paths", confine_paths),
    step("name its host", set_names),
    // These hooks see the container's mounts complete, and may bring network devices.
    step("run hooks outside", run_outside_hooks),
    // Parameters of a network device can be set when that is there.
    step("set kernel parameters", set_parameters),
    // A hook may still write to a root that will be read-only.
    step("run createContainer hooks", run_create_hooks),
    step("make the rootfs read-only", make_root_read_only),
    step("enter the rootfs", enter_rootfs),
    // The root's own propagation was set for the whole tree.
    step("propagate volumes", propagate_volumes),
    // Mounting a disk or an image opens a device that the program need not be allowed.
    step("confine devices", confine_devices),
    // The standard input that came with this process is the host's `/dev/null`.
    step("open its /dev/null", reopen_standard_input),
];

/// Goes into a container that runs; the process that forks this one has joined its namespaces.
const JOIN: &[SetupStep] = &[
    step("become user 0", become_root),
    step("clear the umask", clear_umask),
    step("start a session", start_session),
    step("connect standard output", connect_streams),
    step("open a terminal", open_terminal),
];

/// Gives up what is the host's.
const LEAVE: &[SetupStep] = &[
    // The descriptors have owners, which close them before they are closed by number.
    step("close streams", close_streams),
    step("forget variables", forget_variables),
    // Others in its PID namespace see the first process from its first instruction on.
    step("fork into the PID namespace", fork_into_pid_namespace),
    // The processors are those of the control group, which the first process is in by now.
    step("choose processors", set_affinity),
    // Not left to execve(2): a path like `/proc/self/fd/7` is the configuration's, and must not
    // lead to the host before (CVE-2024-21626).
    step("close descriptors", close_descriptors),
    // It belongs to the session, which may be one of a process that was forked only now.
    step("take the terminal", take_terminal),
];

/// What many steps use: a failure that names only this does not say which step it was.
const SHARED: [(Op, &str); 2] = [(Op::Mount, "proc as proc"), (Op::Open, "/dev/null")];

/// Adds the name of the step that failed to a failure that does not tell it.
#[cold]
#[inline(never)]
fn named(step: &str, mut fault: Fault) -> Fault {
    if SHARED.contains(&(fault.op, fault.subject.as_str())) {
        fault.subject.push(format_args!(", to {step}"));
    }
    fault
}

/// What [`MAKE`], [`JOIN`] and [`LEAVE`] work on.
struct Setup<'r, 's> {
    request: Request<'r>,
    status_pipe: &'s mut StatusPipe,
    /// The connection to the builder, where there is one.
    sync: Option<SyncSocket>,
    /// How the first process is made, if that is not this one.
    deferred: Option<DeferredFork>,
    /// The container's state, for hooks and for an agent.
    state: State<'r>,
    /// This process, as the builder sees it.
    pid: Option<Pid>,
    /// The connection to the agent that the container's filter asks.
    agent: Option<ManuallyDrop<OwnedFd>>,
    can_change_groups: bool,
    callers_umask: Mode,
    early: EarlyCopies,
    rootfs: Option<Rootfs<'r>>,
    /// The option that labels a new filesystem.
    label: Option<Path>,
    proc_and_sys: ProcSysMounts,
    has_terminal: bool,
    /// How many of the caller's descriptors stay open behind the standard ones.
    more: u32,
}

/// Sets everything up and executes the program, or says why not.
#[inline(never)]
pub(super) fn run(
    request: Request<'_>,
    status_pipe: &mut StatusPipe,
    sync: Option<SyncSocket>,
    deferred: Option<DeferredFork>,
) -> ! {
    let Err(fault) = prepare_and_execute(request, status_pipe, sync, deferred);
    status_pipe.send(Message::Fault(fault));
    process::exit(127)
}

fn prepare_and_execute(
    request: Request<'_>,
    status_pipe: &mut StatusPipe,
    mut sync: Option<SyncSocket>,
    deferred: Option<DeferredFork>,
) -> Result<Infallible, Fault> {
    signal::reset();
    let steps = match request.is_new() {
        true => MAKE,
        false => JOIN,
    };
    // This process ends soon if a step fails, so nothing is closed or given back before that: a
    // filter need not let through the calls that it takes.
    let mut setup = ManuallyDrop::new(Setup {
        state: request.state(),
        has_terminal: matches!(request.streams, Streams::Console(_) | Streams::Terminal(_)),
        more: match request.streams {
            Streams::Inherited { more } => more,
            _ => 0,
        },
        request,
        status_pipe,
        agent: sync.as_mut().and_then(|sync| sync.agent.take()),
        sync,
        deferred,
        pid: None,
        can_change_groups: true,
        callers_umask: Mode::empty(),
        early: [const { None }; _],
        rootfs: None,
        label: None,
        proc_and_sys: ProcSysMounts::default(),
    });
    for step in steps.iter().chain(LEAVE) {
        (step.run)(&mut setup).map_err(|fault| named(step.name, fault))?;
    }
    let mut launch = ManuallyDrop::new(Launch::prepare(&mut setup)?);
    let steps = match launch.is_early {
        true => AT_CREATE,
        false => AT_START,
    };
    for step in steps {
        (step.run)(&mut launch).map_err(|fault| named(step.name, fault))?;
    }
    launch.program.execute()
}

impl<'r> Setup<'r, '_> {
    const fn config(&self) -> &'r Config<'r> {
        self.request.config
    }

    /// Whether the mounts are the container's own.
    fn has_mounts(&self) -> bool {
        self.config().namespaces.is_new(Kind::Mount)
    }

    /// Whether nodes are of no use but in `/dev`. Where there is no group to attach a program to,
    /// that is better than nothing.
    fn has_nodev(&self) -> bool {
        match self.config().device_access() {
            DeviceAccess::Any => false,
            DeviceAccess::NoDev => self.has_mounts(),
            DeviceAccess::Program => self.has_mounts() && self.request.group.is_none(),
        }
    }

    fn root(&self) -> Result<BorrowedFd<'_>, Fault> {
        opened(&self.rootfs).map(Rootfs::root)
    }
}

/// [`open_rootfs`] has opened it, and [`enter_rootfs`] closes it.
fn opened<'a, 'c>(rootfs: &'a Option<Rootfs<'c>>) -> Result<&'a Rootfs<'c>, Fault> {
    rootfs
        .as_ref()
        .ok_or(Errno::BADF)
        .during(Op::Open, "the rootfs")
}

fn wait_for_builder(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    if let Some(sync) = &setup.sync {
        setup.pid = Some(sync.wait()?);
        setup.state.pid = setup.state.pid.or(setup.pid);
    }
    Ok(())
}

/// Copies volumes that could not be copied later (see [`mounts::copy_early`]).
fn copy_volumes(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    let config = setup.config();
    if !setup.has_mounts() {
        return Ok(());
    }
    let sync = setup.sync.as_ref();
    let sync = sync.filter(|_| config.namespaces.has(Kind::User));
    let root = config.rootfs_propagation;
    let bundle = setup.request.bundle;
    mounts::copy_early(bundle, config.mounts, root, sync, &mut setup.early)
}

fn open_rootfs(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    let config = setup.config();
    let sync = setup.sync.as_ref();
    let sync = sync.filter(|_| config.namespaces.has(Kind::User));
    let rootfs = Rootfs::open(setup.request.bundle, config.root_path, sync)?;
    setup.rootfs = Some(rootfs);
    if let Some(sync) = sync {
        sync.open_nothing_more();
    }
    Ok(())
}

fn become_root(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    if setup.config().namespaces.has(Kind::User) {
        setup.can_change_groups = namespace::become_root()?;
    }
    Ok(())
}

fn clear_umask(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    setup.callers_umask = umask(Mode::empty());
    Ok(())
}

/// This process has a session of its own, and no terminal in it yet.
fn start_session(_: &mut Setup<'_, '_>) -> Result<(), Fault> {
    rustix::process::setsid()
        .map(drop)
        .during(Op::Create, "a session")
}

fn connect_streams(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    match &setup.request.streams {
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

/// Where there is a builder, that has done it.
fn set_oom_score(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    match &setup.sync {
        Some(_) => Ok(()),
        None => limits::set_oom_score(&setup.config().process, None),
    }
}

fn enter_time_namespace(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    namespaces::enter_time(setup.config())
}

fn bring_loopback_up(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    match setup.config().namespaces.is_new(Kind::Network) {
        true => net::bring_loopback_up(),
        false => Ok(()),
    }
}

fn hide(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    exposure::hide(&setup.config().process, setup.request.keeps_keyring)
}

fn prepare_label(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    let label = setup.config().mount_label;
    labels::check_mounts(label)?;
    setup.label = labels::context_of(label)?;
    Ok(())
}

/// Mounts the bundle's image at the rootfs, or binds that over itself.
#[inline(never)]
fn mount_rootfs(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    if !setup.has_mounts() {
        return Ok(());
    }
    let (config, bundle) = (setup.config(), setup.request.bundle);
    let annotations = &config.annotations;
    let label = setup.label.as_deref();
    let image = annotations.image.map(|path| {
        image::make(&Image {
            bundle,
            path,
            verity: annotations.verity.as_ref(),
            is_read_only: config.root_readonly || annotations.overlay.is_some(),
            label,
        })
    });
    let image = image.transpose()?;
    if let Some(rootfs) = &mut setup.rootfs {
        rootfs.bind(bundle, config, image, label)?;
    }
    Ok(())
}

fn forbid_devices(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    match setup.has_nodev() {
        true => mount::forbid_devices(setup.root()?).during(Op::Mount, "the rootfs nodev"),
        false => Ok(()),
    }
}

#[inline(never)]
fn make_mounts(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    if !setup.has_mounts() {
        return Ok(());
    }
    let config = setup.config();
    let mounts = Mounts {
        root: opened(&setup.rootfs)?.root(),
        bundle: setup.request.bundle,
        items: config.mounts,
        label: config.mount_label,
        has_ipc: config.namespaces.has(Kind::Ipc),
        has_resolver: setup.request.streams.are_of_pid_1() && !config.namespaces.has(Kind::Network),
        has_control: setup.request.streams.are_of_pid_1() && config.annotations.control,
        has_cgroups: config.namespaces.has(Kind::Cgroup),
        has_nodev: setup.has_nodev(),
        mapper: setup
            .sync
            .as_ref()
            .filter(|_| request::maps_ids_outside(config)),
        procfs: setup
            .deferred
            .as_ref()
            .and_then(DeferredFork::procfs_socket),
    };
    setup.proc_and_sys = mounts.make(&mut setup.early)?;
    Ok(())
}

fn make_devices(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    let has_nodev = setup.has_nodev();
    let root = setup.root()?;
    devices::make_all(root, &setup.config().confinement, has_nodev)
}

fn make_console(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    let root = setup.root()?;
    match &setup.request.streams {
        Streams::Console(_) if setup.has_mounts() => {
            // Only mounts of this namespace can be bound, and the descriptor of the console was
            // opened in the host's.
            let source = mounts::open_source(console::PATH)?;
            mounts::bind_console(root, source.as_fd())
        }
        Streams::Terminal(socket) => {
            let size = setup.config().process.console_size;
            terminal::set_up(root, size, socket, setup.has_mounts())
        }
        _ => Ok(()),
    }
}

/// A directory that cannot be made is missed when it is entered.
fn make_working_directory(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    if setup.has_mounts() {
        let cwd = setup.config().process.cwd;
        let _ = target::prepare(setup.root()?, cwd, FileType::Directory);
    }
    Ok(())
}

fn confine_paths(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    if !setup.has_mounts() {
        return Ok(());
    }
    let proc_and_sys = core::mem::take(&mut setup.proc_and_sys);
    let root = setup.root()?;
    let label = setup.label.as_deref();
    confine::apply(root, proc_and_sys, &setup.config().confinement, label)
}

fn set_names(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    if let Some(name) = setup.config().hostname {
        rustix::system::sethostname(name.as_bytes()).during(Op::SetHostname, name)?;
    }
    if let Some(name) = setup.config().domainname {
        rustix::system::setdomainname(name.as_bytes())
            .during(Op::Set, format_args!("domainname {name}"))?;
    }
    Ok(())
}

fn run_outside_hooks(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    match &setup.sync {
        Some(sync) if setup.request.has_outside_hooks() => sync.run_outside_hooks(),
        _ => Ok(()),
    }
}

fn set_parameters(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    confine::set_parameters(&setup.config().confinement)
}

/// In the PID namespace of others, the builder has run them.
fn run_create_hooks(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    if request::joins_processes(setup.config()) {
        return Ok(());
    }
    umask(setup.callers_umask);
    hooks::run(setup.config(), HookKind::CreateContainer, &setup.state)?;
    umask(Mode::empty());
    Ok(())
}

fn make_root_read_only(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    match setup.has_mounts() && setup.config().root_readonly {
        true => mount::make_read_only(setup.root()?).during(Op::Mount, "the rootfs read-only"),
        false => Ok(()),
    }
}

fn enter_rootfs(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    opened(&setup.rootfs)?.enter()?;
    setup.rootfs = None;
    Ok(())
}

fn propagate_volumes(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    if setup.has_mounts() {
        mounts::propagate(setup.config().mounts, &mut setup.early)?;
    }
    Ok(())
}

fn confine_devices(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    /// For a container that can make nodes, or brings some, where there are no control groups.
    const NEEDS_GROUPS: &str =
        "which devices it may use, which needs control groups of version 2, or berth.privileged";
    let config = setup.config();
    match setup.request.group {
        // In a user namespace no process may say which devices can be used: the builder does it.
        _ if config.namespaces.has(Kind::User) => Ok(()),
        Some(group) => group.confine_devices(config),
        None if config.device_access() == DeviceAccess::Program => {
            Err(Errno::OPNOTSUPP).during(Op::Configure, NEEDS_GROUPS)
        }
        None => Ok(()),
    }
}

fn reopen_standard_input(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    match setup.request.streams {
        Streams::Pipes { .. } => console::reopen_standard_input().during(Op::Open, "/dev/null"),
        _ => Ok(()),
    }
}

fn open_terminal(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    let Streams::Terminal(socket) = &setup.request.streams else {
        return Ok(());
    };
    let root = mount::open_root()?;
    let size = setup.config().process.console_size;
    terminal::set_up(root.as_fd(), size, socket, false)
}

fn close_streams(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    setup.request.streams = Streams::Inherited { more: setup.more };
    Ok(())
}

fn forget_variables(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    if let Some(environment) = setup.request.environment {
        environment.forget();
    }
    Ok(())
}

impl Setup<'_, '_> {
    /// The descriptors that stay open until the program runs, besides the standard ones.
    fn kept(&self) -> [BorrowedFd<'_>; 4] {
        let status_pipe = self.status_pipe.as_fd();
        let fifo = self.request.exec_fifo.as_ref();
        let agent = self.agent.as_ref();
        [
            status_pipe,
            self.status_pipe.recorded_socket(),
            fifo.map_or(status_pipe, AsFd::as_fd),
            agent.map_or(status_pipe, |agent| agent.as_fd()),
        ]
    }
}

fn fork_into_pid_namespace(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    let (Some(deferred), Some(sync)) = (setup.deferred.take(), &setup.sync) else {
        return Ok(());
    };
    let pid = deferred.fork_and_wait(sync, setup.more, setup.kept())?;
    setup.pid = Some(pid);
    setup.state.pid = setup.state.pid.or(Some(pid));
    start_session(setup)
}

fn set_affinity(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    let process = &setup.config().process;
    match setup.request.is_new() || process.exec_affinity.iter().all(Option::is_none) {
        true => limits::reset_affinity(),
        false => limits::set_affinity(process, AffinityStage::Final)?,
    }
    Ok(())
}

fn close_descriptors(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    setup.sync = None;
    exposure::close_all_but(setup.more.saturating_add(3), &setup.kept())
}

fn take_terminal(setup: &mut Setup<'_, '_>) -> Result<(), Fault> {
    if setup.has_terminal {
        let [terminal, ..] = console::standard_descriptors();
        rustix::process::ioctl_tiocsctty(terminal).during(Op::Terminal, console::PATH)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_failure_of_what_many_steps_use_names_the_step() {
        let text = |subject: &str| {
            let fault = Fault::new(Op::Mount, &subject, Errno::PERM);
            named("set kernel parameters", fault).to_string()
        };
        assert_eq!(
            text("proc as proc"),
            "mount proc as proc, to set kernel parameters: EPERM"
        );
        assert_eq!(
            text("proc as proc on /proc"),
            "mount proc as proc on /proc: EPERM"
        );
    }

    #[test]
    fn the_steps_of_a_list_have_names_of_their_own() {
        let names = [
            MAKE.iter()
                .map(|step| step.name)
                .collect::<std::vec::Vec<_>>(),
            JOIN.iter().map(|step| step.name).collect(),
            LEAVE.iter().map(|step| step.name).collect(),
            AT_START.iter().map(|step| step.name).collect(),
            AT_CREATE.iter().map(|step| step.name).collect(),
        ];
        for list in names {
            assert_eq!(BTreeSet::from_iter(&list).len(), list.len(), "{list:?}");
        }
    }
}
