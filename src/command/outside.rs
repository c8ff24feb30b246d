//! What the command does to a container from outside of it: network devices of the host become the
//! container's (`linux.netDevices`), and its processes get a group of resctrl ([`resctrl`]).
//!
//! A device is moved by rtnetlink(7). It loses its addresses by that; those that nobody gave it for
//! a time only, and that are known beyond the machine, it gets again, and then it is up
//! (`config-linux.md`, "Network Devices").

use core::fmt::Write as _;

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::Pid;

use super::resctrl;
use crate::container::Outside;
use crate::error::{During, Fault, Op};
use crate::parse::config::net_devices::{Name, NetDevices};
use crate::parse::config::{Config, Kind};
use crate::sys::namespace;
use crate::sys::path::path;
use crate::sys::rtnetlink::Route;
use crate::text::find;

/// What a new container asks for.
pub(super) fn of(config: &Config<'_>) -> Option<Outside> {
    let is_asked = config.intel_rdt.is_some() || !config.net_devices.is_empty();
    is_asked.then_some(act as Outside)
}

/// What one more process in a container takes.
pub(super) fn of_one_more(config: &Config<'_>) -> Option<Outside> {
    config.intel_rdt.map(|_| join as Outside)
}

fn act(config: &Config<'_>, id: &str, pid: Pid) -> Result<(), Fault> {
    if let Some(rdt) = &config.intel_rdt {
        resctrl::make(rdt, id)?;
        resctrl::join(rdt, id, pid)?;
    }
    match config.net_devices.is_empty() {
        true => Ok(()),
        false => move_all(&config.net_devices, pid),
    }
}

fn join(config: &Config<'_>, id: &str, pid: Pid) -> Result<(), Fault> {
    let rdt = config.intel_rdt.as_ref();
    rdt.map_or(Ok(()), |rdt| resctrl::join(rdt, id, pid))
}

/// Moves the devices into the network namespace of the process `pid`. This process is in there for
/// a moment, and comes back.
///
/// # Errors
/// `ENODEV` for a device that there is not, `EEXIST` for a name that is taken inside: before any is
/// moved. Those of rtnetlink(7) and setns(2).
fn move_all(devices: &NetDevices<'_>, pid: Pid) -> Result<(), Fault> {
    const OWN: &str = "/proc/self/ns/net";
    const KIND: Kind = Kind::Network;
    let theirs = path(format_args!("/proc/{}/ns/net", pid.as_raw_nonzero()));
    let theirs = namespace::open(&theirs.during(Op::Open, OWN)?, KIND)?;
    let own = namespace::open(OWN, KIND)?;
    let here = Route::open()?;
    let join = |file: &rustix::fd::OwnedFd| {
        namespace::join(file.as_fd(), KIND).during(Op::Join, "a network namespace")
    };
    join(&theirs)?;
    let there = Route::open();
    join(&own)?;
    let there = there?;
    for is_only_tried in [true, false] {
        for (outside, inside) in devices.iter() {
            let one = || {
                let index = here.index(&outside)?;
                let name = free_name(&there, &inside)?;
                if is_only_tried {
                    return Ok(());
                }
                let addresses = here.addresses(index)?;
                here.move_to(index, theirs.as_fd(), &name)?;
                let index = there.index(&name)?;
                there.give(index, &addresses)?;
                there.bring_up(index)
            };
            let subject = format_args!("the network device {outside} as {inside} in the container");
            one().during(Op::Configure, subject)?;
        }
    }
    Ok(())
}

/// The name that a device will have that is to be called `name`: `%d` stands for the first number
/// that makes one which is free.
fn free_name(there: &Route, name: &str) -> Result<Name, Errno> {
    let place = find(name.as_bytes(), b"%d");
    let is_pattern = place.is_some();
    let (before, rest) = name
        .split_at_checked(place.unwrap_or(name.len()))
        .unwrap_or_default();
    let behind = rest.get(2..).unwrap_or_default();
    for number in 0u32.. {
        let mut name = Name::new();
        let written = match is_pattern {
            true => write!(name, "{before}{number}{behind}"),
            false => name.write_str(before),
        };
        written.map_err(|_| Errno::NAMETOOLONG)?;
        match there.index(&name) {
            Err(Errno::NODEV) => return Ok(name),
            Ok(_) if is_pattern => {}
            Ok(_) => return Err(Errno::EXIST),
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EXIST)
}
