//! berth as a command: every case calls it as a person or an engine would, on whatever machine this
//! runs on.
//!
//! `guest command-cases BERTH DIRECTORY [CASE]…` runs the cases, all without a name, and prints `ok
//! CASE`, `failed CASE: why` or `impossible CASE: what this machine lacks`. The tests run it
//! natively, and as PID 1 of a virtual machine: the same cases.

mod agents;
mod bpf;
mod bundles;
mod buses;
mod engine;
mod exec;
mod features;
mod files;
mod inherited;
pub(crate) mod killed;
mod lab;
mod lifecycle;
mod many;
mod mapped;
mod mounts;
mod notify;
mod pipes;
mod rootless;
mod seen;
mod specification;
mod terminal;
mod traced;
mod words;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};

use lab::Lab;
pub(crate) use many::many;

/// What a case needs that not every machine has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing but root.
    Nothing,
    /// A control group for the container.
    Group,
    /// One that can have limits.
    Controllers,
    /// Overlays.
    Overlay,
    /// A filesystem with containers whose ids can be mapped.
    MappedIds,
    /// The first two processors.
    Processors,
    /// Network devices that programs make.
    Tap,
    /// User namespaces of those who have no rights.
    UserNamespaces,
    /// Landlock.
    Landlock,
}

impl Need {
    /// Why it cannot be met here.
    fn lacking(self) -> Option<&'static str> {
        match self {
            Self::Group if !lab::has_groups() => Some("a cgroup2 filesystem at /sys/fs/cgroup"),
            Self::Controllers if !lab::has_controllers() => {
                Some("controllers in a cgroup2 filesystem at /sys/fs/cgroup")
            }
            Self::Overlay if !lab::has_filesystem("overlay") => {
                Some("overlay in /proc/filesystems")
            }
            Self::MappedIds if !lab::can_map_ids() => {
                Some("ext4, xfs or btrfs where the tests are built")
            }
            Self::Processors if !lab::has_two_processors() => Some("processors 0 and 1"),
            Self::Tap if !Path::new("/dev/net/tun").exists() => Some("/dev/net/tun"),
            Self::UserNamespaces if !lab::has_user_namespaces() => {
                Some("user namespaces for users without rights (sysctl)")
            }
            Self::Landlock if berth::sys::landlock::version().is_err() => Some("Landlock"),
            _ => None,
        }
    }
}

/// One case.
pub(crate) struct Case {
    name: &'static str,
    need: Need,
    run: fn(&Lab) -> Result<()>,
}

/// Names cases after their functions.
macro_rules! cases {
    ($($need:ident $name:ident),* $(,)?) => {
        &[$(crate::command::Case {
            name: stringify!($name),
            need: crate::command::Need::$need,
            run: $name,
        }),*]
    };
}
pub(crate) use cases;

const ALL: &[&[Case]] = &[
    agents::CASES,
    bpf::CASES,
    buses::CASES,
    bundles::CASES,
    engine::CASES,
    exec::CASES,
    features::CASES,
    files::CASES,
    inherited::CASES,
    killed::CASES,
    lifecycle::CASES,
    mapped::CASES,
    mounts::CASES,
    notify::CASES,
    pipes::CASES,
    rootless::CASES,
    seen::CASES,
    specification::CASES,
    terminal::CASES,
    words::CASES,
];

/// Prints the names, with what this machine lacks for them.
pub(crate) fn list() -> Result<()> {
    lab::prepare()?;
    for case in ALL.iter().copied().flatten() {
        println!("{}\t{}", case.name, case.need.lacking().unwrap_or_default());
    }
    Ok(())
}

/// Runs those that are named, or all; whether none failed.
pub(crate) fn run(berth: &Path, directory: &Path, names: &[&str]) -> Result<ExitCode> {
    lab::prepare()?;
    let mut status = ExitCode::SUCCESS;
    let mut count = 0;
    for case in ALL.iter().copied().flatten() {
        let name = case.name;
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        count += 1;
        if let Some(lacking) = case.need.lacking() {
            println!("impossible {name}: {lacking}");
            continue;
        }
        let result = Lab::new(berth, directory, name).and_then(|lab| (case.run)(&lab));
        match result {
            Ok(()) => println!("ok {name}"),
            Err(error) => {
                println!(
                    "failed {name}: {}",
                    format!("{error:#}").replace('\n', "\\n")
                );
                status = ExitCode::FAILURE;
            }
        }
    }
    ensure!(count > 0, "there is no case {names:?}");
    Ok(status)
}
