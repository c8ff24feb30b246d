//! What the new process does before it becomes the container's program. It runs inside the namespaces.

use core::convert::Infallible;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::umask;

use super::rootfs::Rootfs;
use super::{image, landlock, mounts};
use crate::error::{During, Fault, Op};
use crate::parse::config::Config;
use crate::sys::process::{self, Environment};
use crate::sys::strings::Strings;
use crate::sys::{console, mount, net, raw, signal};

/// Room for arguments, and for variables: a config.json is no longer.
const STRINGS: usize = crate::parse::config::MAX_SIZE;

/// Where programs are looked for without a `PATH` in `process.env`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program's files are not for, unless it says otherwise: writing by others. As the kernel has it for PID 1.
const UMASK: u32 = 0o022;

/// Where the program's standard descriptors lead.
pub(super) enum Streams {
    /// Nothing to read; what is written goes to PID 1.
    Pipes {
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// The console, as the controlling terminal.
    Console(OwnedFd),
}

/// Sets everything up and executes the program. Returns only what went wrong.
pub(super) fn run(bundle: &str, config: &Config<'_>, streams: Streams) -> Fault {
    match prepare_and_execute(bundle, config, streams) {
        Ok(never) => match never {},
        Err(fault) => fault,
    }
}

fn prepare_and_execute(
    bundle: &str,
    config: &Config<'_>,
    streams: Streams,
) -> Result<Infallible, Fault> {
    signal::unblock_all();
    // Nodes and mount points get the modes that stand here.
    umask(Mode::empty());
    rustix::process::setsid().during(Op::Create, "a session")?;
    let has_console = matches!(streams, Streams::Console(_));
    connect(streams)?;
    if config.namespaces.network {
        net::bring_loopback_up()?;
    }

    let annotations = &config.annotations;
    let image = annotations.image.map(|image| {
        image::make(
            bundle,
            image,
            annotations.verity.as_ref(),
            config.root_readonly,
        )
    });
    let rootfs = Rootfs::bind(
        bundle,
        config.root_path,
        image.transpose()?,
        config.rootfs_propagation,
        annotations.root_switch,
    )?;
    mounts::mount_defaults(rootfs.root(), &config.mounts)?;
    mounts::mount_all(rootfs.root(), bundle, &config.mounts)?;
    if has_console {
        mounts::bind_console(rootfs.root())?;
    }
    if config.root_readonly {
        mount::make_read_only(rootfs.root()).during(Op::Mount, "the rootfs read-only")?;
    }
    if let Some(hostname) = config.hostname {
        rustix::system::sethostname(hostname.as_bytes()).during(Op::SetHostname, hostname)?;
    }
    rootfs.enter()?;
    mounts::set_propagations(&config.mounts)?;
    landlock::restrict(&annotations.landlock)?;
    mount::enter(config.process.cwd)?;
    umask(Mode::from_raw_mode(UMASK));
    execute(config)
}

fn connect(streams: Streams) -> Result<(), Fault> {
    match streams {
        Streams::Pipes { stdout, stderr } => {
            let null = console::open_null()
                .ok_or(Errno::NODEV)
                .during(Op::Open, "/dev/null")?;
            console::set_standard_descriptors(null.as_fd(), stdout.as_fd(), stderr.as_fd())
                .during(Op::Open, "standard output")
        }
        Streams::Console(terminal) => {
            rustix::process::ioctl_tiocsctty(&terminal).during(Op::Terminal, console::PATH)?;
            console::become_standard_descriptors(&terminal).during(Op::Terminal, console::PATH)
        }
    }
}

#[inline(never)]
fn execute(config: &Config<'_>) -> Result<Infallible, Fault> {
    let process = &config.process;
    let program = process.args.first().copied().unwrap_or_default();
    let mut arguments = Strings::<STRINGS, { crate::parse::config::MAX_ARGS }>::new();
    let mut variables = Strings::<STRINGS, { crate::parse::config::MAX_ENV }>::new();
    for argument in &process.args {
        arguments
            .push(format_args!("{argument}"))
            .during(Op::Exec, program)?;
    }
    for variable in &process.env {
        variables
            .push(format_args!("{variable}"))
            .during(Op::Exec, program)?;
    }
    // What the set-up has open, and forgot to mark, must not reach the program.
    raw::close_on_exec_from(3).during(Op::Exec, program)?;

    let try_path = |path: &str| {
        variables.with_list(|variables| {
            let environment = Environment::from_list(variables);
            arguments.with_list(|arguments| process::execute(path, arguments, environment))
        })
    };
    if program.contains('/') {
        return Err(try_path(program)).during(Op::Exec, program);
    }
    let search = process
        .env
        .iter()
        .find_map(|variable| variable.strip_prefix("PATH="));
    let mut errno = Errno::NOENT;
    for directory in search
        .unwrap_or(DEFAULT_PATH)
        .split(':')
        .filter(|part| !part.is_empty())
    {
        let path = crate::sys::path::path(format_args!("{directory}/{program}"));
        match path.map_or_else(|errno| errno, |path| try_path(&path)) {
            Errno::NOENT | Errno::NOTDIR => {}
            // Found, but not executable: worth more than "not found" if nothing better comes (execvp(3)).
            Errno::ACCESS => errno = Errno::ACCESS,
            other => return Err(other).during(Op::Exec, program),
        }
    }
    Err(errno).during(Op::Exec, format_args!("{program} in PATH"))
}
