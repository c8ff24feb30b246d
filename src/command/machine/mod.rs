//! The machine that PID 1 runs: what is asked of it from inside, and what it has kept.
//!
//! A verb that only looks reads files that PID 1 writes ([`follow`]), and costs PID 1 nothing. A
//! verb that changes something sends PID 1 a [request](crate::parse::request), and then reads in
//! the event stream what came of it. A container with `berth.control` sees neither of the two; the
//! command sends each verb through the control socket there ([`remote`]).

mod ask;
mod boot;
mod containers;
mod copy;
pub(super) mod follow;
mod happened;
mod logs;
mod mounts;
mod remote;
mod steer;

use super::Subcommand;
use crate::parse::arguments::Opt;

pub(super) use containers::list;
pub(super) use happened::print as print_events;
pub(super) use remote::forward;
pub(super) use steer::start;

/// The commands that are about the machine alone.
pub(super) const LOGS: Subcommand = logs::COMMAND;
pub(super) const STOP: Subcommand = steer::STOP;
pub(super) const RESTART: Subcommand = steer::RESTART;
pub(super) const BOOT: Subcommand = boot::COMMAND;
pub(super) const MOUNTS: Subcommand = mounts::COMMAND;
pub(super) const FREEZE: Subcommand = copy::FREEZE;
pub(super) const THAW: Subcommand = copy::THAW;
pub(super) const POWEROFF: Subcommand = steer::POWEROFF;
pub(super) const REBOOT: Subcommand = steer::REBOOT;
pub(super) const HALT: Subcommand = steer::HALT;
pub(super) const KEXEC: Subcommand = steer::KEXEC;

pub(super) const JSON: Opt = Opt {
    long: "json",
    short: None,
    value: None,
    about: "print an object a line, for programs",
};
pub(super) const FOLLOW: Opt = Opt {
    long: "follow",
    short: Some('f'),
    value: None,
    about: "go on with what comes",
};
