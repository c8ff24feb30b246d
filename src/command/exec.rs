//! `exec`: one more process in a container that runs.
//!
//! What it is, the command line says, or a file with what `process` of a `config.json` has
//! (`--process`); how it is confined, the container's own configuration, as it was when the
//! container was created.

use rustix::fd::AsFd;
use rustix::fs::CWD;
use rustix::process::Pid;

use super::attend::{attend, listen};
use super::descriptors::{PRESERVE_FDS, preserved};
use super::launch::{
    self, ConfigText, END_TIMEOUT, StartMode, adopt_orphans, await_start, number_of, streams,
    write_pid,
};
use super::relay::{self, Relay};
use super::state::Directory;
use super::{Call, DETACH, OrReport, Reported, Subcommand, group, outside};
use crate::container::{Place, Request, Status, refusal, setup_error, start};
use crate::error::{Code, During, Op};
use crate::parse::arguments::{MAX_OPTIONS, Opt};
use crate::parse::config::capabilities::Set;
use crate::parse::config::{Config, MAX_SIZE, ProcessChanges};
use crate::sys::buffer::Buffer;
use crate::sys::{fs, namespace, process, signal};
use crate::text::Quoted;

const PROCESS: Opt = Opt {
    long: "process",
    short: Some('p'),
    value: Some("FILE"),
    about: "a file with what to run, as `process` in config.json",
};
const DIRECTORY: Opt = Opt {
    long: "cwd",
    short: None,
    value: Some("DIR"),
    about: "the working directory; default: that of the container's program",
};
const ENV: Opt = Opt {
    long: "env",
    short: Some('e'),
    value: Some("NAME=VALUE"),
    about: "one more environment variable",
};
const USER: Opt = Opt {
    long: "user",
    short: Some('u'),
    value: Some("UID[:GID]"),
    about: "the user and group; default: those of the container's program",
};
const NO_NEW_PRIVILEGES: Opt = Opt {
    long: "no-new-privs",
    short: None,
    value: None,
    about: "set no_new_privs: it gains no privileges",
};
const IGNORE_PAUSED: Opt = Opt {
    long: "ignore-paused",
    short: None,
    value: None,
    about: "accept a paused container: it runs when that is resumed",
};
const CAPABILITY: Opt = Opt {
    long: "cap",
    short: Some('c'),
    value: Some("CAP_NAME"),
    about: "one more capability",
};
const GROUPS: Opt = Opt {
    long: "additional-gids",
    short: Some('g'),
    value: Some("GID"),
    about: "one more supplementary group",
};
const CGROUP: Opt = Opt {
    long: "cgroup",
    short: None,
    value: Some("PATH"),
    about: "an existing control group below the container's; / is the container's own",
};
const APPARMOR: Opt = Opt {
    long: "apparmor",
    short: None,
    value: Some("PROFILE"),
    about: "the AppArmor profile",
};
const LABEL: Opt = Opt {
    long: "process-label",
    short: None,
    value: Some("LABEL"),
    about: "the SELinux label",
};
const TTY: Opt = Opt {
    long: "tty",
    short: Some('t'),
    value: None,
    about: "give it a terminal",
};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "exec",
    operands: "ID [PROGRAM [ARGUMENT]…]",
    count: (1, usize::MAX),
    raw_from: 1,
    options: &[
        &PROCESS,
        &DIRECTORY,
        &ENV,
        &USER,
        &GROUPS,
        &CAPABILITY,
        &NO_NEW_PRIVILEGES,
        &APPARMOR,
        &LABEL,
        &CGROUP,
        &IGNORE_PAUSED,
        &TTY,
        &DETACH,
        &launch::PID_FILE,
        &launch::CONSOLE_SOCKET,
        &PRESERVE_FDS,
    ],
    about: "run another program in a container, and exit with its status",
    run,
};

/// Why nothing can be executed in a container that is frozen.
const PAUSED: &str = "cannot exec in a paused container (use --ignore-paused to override)";

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    let id = call.id()?;
    call.seal()?;
    let more = preserved(call, 0)?;
    let directory = Directory::open(call, id)?;
    let record = directory.record(call)?;
    let status = directory.status(&record).or_report(call, Code::State)?;
    let first = record.process().or_report(call, Code::Control)?;
    let is_fitting = match status {
        Status::Paused => call.given.has(&IGNORE_PAUSED),
        status => status == Status::Running,
    };
    let Some(first) = first.filter(|_| is_fitting) else {
        let known = match status {
            Status::Paused => PAUSED,
            _ => "",
        };
        return Err(call.wrong_status(Op::Exec, id, status, known));
    };
    let mut text = ConfigText::default();
    let len = directory
        .config(&mut text.file)
        .or_report(call, Code::State)?
        .len();
    let (file, scratch, places) = text
        .parts(len)
        .during(Op::Parse, id)
        .or_report(call, Code::State)?;
    // The configuration refers to them.
    let (mut process, mut process_scratch) = (Document::new(), Buffer::<MAX_SIZE>::new());
    let [env, capabilities, groups] =
        [&ENV, &CAPABILITY, &GROUPS].map(|option| call.given.values(option).collect::<List<'_>>());
    let groups = ids(call, &groups)?;
    let mut config =
        Config::parse(file, scratch, places).map_err(|error| call.fail(&refusal(id, &error)))?;
    match call.given.value(&PROCESS) {
        Some(path) => {
            let read = fs::open_file(CWD, path)
                .and_then(|file| process.fill_from(&file).during(Op::Read, path))
                .and_then(|file| {
                    let scratch = process_scratch.bytes_mut();
                    Ok((file, scratch.during(Op::Parse, path)?))
                });
            let (file, scratch) = read.or_report(call, Code::BundleConfig)?;
            let replaced = config.replace_process(file, scratch);
            replaced.map_err(|error| call.fail(&refusal(path, &error)))?;
        }
        None => {
            let changes = changes(call, [&env, &capabilities], &groups)?;
            let changed = config.change_process(&changes);
            changed.map_err(|error| call.fail(&refusal(id, &error)))?;
        }
    }
    config.is_of_user = !namespace::is_machines_root();

    let then = match call.given.has(&DETACH) {
        true => StartMode::Detach,
        false => StartMode::Stay,
    };
    let (streams, waiting) = streams(call, &config, more, then)?;
    let signals = match then {
        StartMode::Stay => Some(listen(call)?),
        _ => None,
    };
    let group = group::for_one_more(call, &record, id, call.given.value(&CGROUP))?;
    // The process may be able to make nodes, and the container not: then nothing but `nodev` keeps
    // it from them so far.
    if let Some(group) = group
        .as_ref()
        .filter(|_| !config.resources.has_device_rules())
    {
        group
            .confine_devices(&config)
            .or_report(call, Code::ContainerSetup)?;
    }
    adopt_orphans(call)?;
    let mut pending = start(Request {
        id,
        bundle: &record.bundle,
        config: &config,
        place: Place::Running {
            first: first.as_fd(),
            pid: Pid::from_raw(record.pid as i32),
        },
        group: group.as_ref(),
        streams,
        exec_fifo: None,
        variables: &[],
        keeps_keyring: false,
        outside: outside::of_one_more(&config),
        environment: Some(call.environment),
    })
    .or_report(call, Code::ContainerSetup)?;
    let born = await_start(&mut pending).map_err(|why| call.fail(&setup_error(id, why)));
    let pid = pending.pid();
    if born.is_err() {
        // It has nothing more to do than to end; and who is not collected keeps the container from
        // that.
        collect(pid);
    }
    born?;
    let number = pid.map_or(0, number_of);
    let begun = write_pid(call, number).and_then(|()| {
        let relay = waiting.as_ref();
        relay
            .map(|terminal| Relay::start(call, terminal))
            .transpose()
    });
    let relay = begun.inspect_err(|_| {
        let _ = pid.map(|pid| process::signal(pid, signal::KILL));
        collect(pid);
    })?;
    match signals {
        None => Ok(0),
        Some(signals) => attend(call, &signals, number, relay, None),
    }
}

/// Collects a process that ends.
fn collect(pid: Option<Pid>) {
    let _ = pid.map(|pid| process::wait_no_longer_than(pid, Some(END_TIMEOUT)));
}

/// Room for what `--process` names.
type Document = Buffer<{ MAX_SIZE + 1 }>;

/// The values of an option that may be given more than once.
type List<'c> = heapless::Vec<&'c str, MAX_OPTIONS>;

/// The values of `--additional-gids`.
fn ids(call: &Call<'_>, groups: &[&str]) -> Result<heapless::Vec<u32, MAX_OPTIONS>, Reported> {
    let ids = groups.iter().map(|text| {
        let id = text.parse::<u32>().ok();
        id.ok_or_else(|| {
            call.usage(format_args!(
                "--additional-gids is GID, not {}",
                Quoted(text)
            ))
        })
    });
    ids.collect()
}

/// What the command line says; with the values of `--env` and `--cap`, and of `--additional-gids`.
fn changes<'c>(
    call: &'c Call<'_>,
    [env, names]: [&'c [&'c str]; 2],
    groups: &'c [u32],
) -> Result<ProcessChanges<'c>, Reported> {
    let args = call.given.operands.get(1..).unwrap_or_default();
    if args.is_empty() {
        return Err(call.usage("there is no program to run, and no --process"));
    }
    let user = call.given.value(&USER).map(|text| {
        user(text).ok_or_else(|| {
            call.usage(format_args!(
                "--user is UID or UID:GID, not {}",
                Quoted(text)
            ))
        })
    });
    let mut capabilities = Set::NONE;
    for name in names {
        let set = Set::of_name(name).ok_or_else(|| {
            call.usage(format_args!(
                "--cap is the name of a capability, not {}",
                Quoted(name)
            ))
        })?;
        capabilities = capabilities.union(set);
    }
    Ok(ProcessChanges {
        args,
        env,
        cwd: call.given.value(&DIRECTORY),
        user: user.transpose()?,
        groups,
        capabilities,
        apparmor_profile: call.given.value(&APPARMOR),
        selinux_label: call.given.value(&LABEL),
        no_new_privileges: call.given.has(&NO_NEW_PRIVILEGES),
        terminal: call.given.has(&TTY),
        console_size: relay::size(),
    })
}

fn user(text: &str) -> Option<(u32, Option<u32>)> {
    match text.split_once(':') {
        Some((uid, gid)) => Some((uid.parse().ok()?, Some(gid.parse().ok()?))),
        None => Some((text.parse().ok()?, None)),
    }
}
