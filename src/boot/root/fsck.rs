//! `berth.fsck=`: the check of a filesystem before it is mounted, by the image's own
//! `/sbin/fsck.TYPE`, as fsck(8) calls it: `-a` repairs what is safe to repair, `-y` all.
//!
//! Its output goes to the console. It may take as long as it takes: how long it has taken is said,
//! and nobody would be served by a filesystem that is mounted half-checked.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Machine;
use super::device::Device;
use crate::boot::failure;
use crate::error::{Code, During, Error, Fault, Op, Stage};
use crate::events::{EndAction, Event};
use crate::parse::choice::Fsck;
use crate::plan::Plan;
use crate::sys::path::{Path, path};
use crate::sys::process::{self, End, Environment, Forked, Status};
use crate::sys::strings::Strings;
use crate::sys::{clock, console, fs, kmsg, signal};

/// How often it is said that the check goes on.
const TELLING: Duration = Duration::from_secs(10);

// The status of fsck(8), bit by bit.
const CORRECTED: u8 = 1;
const REBOOT: u8 = 2;

/// Checks what is on `device`, if that was asked for; whether it was done.
///
/// # Errors
/// [`Code::RootCheck`] for errors that stay, or a check that could not be done.
#[inline(never)]
pub(super) fn check(
    machine: &mut Machine,
    plan: &Plan<'_>,
    device: &Device,
) -> Result<bool, Error> {
    // Blocks that are checked against a hash tree are never written. Of two filesystems it is not
    // known which is there.
    let kind = device.kind.fstype().filter(|_| device.also.is_none());
    let (Some(mode), Some(fstype), None) = (plan.fsck, kind, &plan.verity) else {
        return Ok(false);
    };
    let node = device.node.as_str();
    if is_write_protected(node) {
        return Ok(false);
    }
    let Some(program) = program(fstype) else {
        let text = format_args!(
            "{node} is not checked: the image has no /sbin/fsck.{fstype}; berth-initramfs build --fsck {fstype} adds it"
        );
        machine.journal.warn(Stage::Root, text);
        return Ok(false);
    };
    kmsg::notice(Stage::Root, format_args!("{program} checks {node}"));
    let failed = |fault: Fault| fault.at(Code::RootCheck);
    let child = run(&program, mode, node).map_err(failed)?;
    let status = wait_for(child, node)
        .during(Op::Wait, &program)
        .map_err(failed)?;
    match status {
        Status::Exited(0) => {}
        Status::Exited(bits) if bits & !(CORRECTED | REBOOT) == 0 => {
            let text = format_args!("{node} had errors, which {program} has corrected");
            machine.journal.warn(Stage::Root, text);
            if bits & REBOOT != 0 {
                reboot(machine);
            }
        }
        status => {
            let subject = format_args!("{node} with {program}");
            let detail = format_args!("the check {status}");
            return Err(Error::new(Code::RootCheck, Op::Read, subject, detail));
        }
    }
    Ok(true)
}

fn program(fstype: &str) -> Option<Path> {
    let places = ["/sbin", "/usr/sbin", "/bin", "/usr/bin"].into_iter();
    let mut programs = places.filter_map(|place| path(format_args!("{place}/fsck.{fstype}")).ok());
    programs.find(|program| access(program.as_str(), Access::EXEC_OK).is_ok())
}

/// Whether nothing can be repaired on it (queue/ro of a disk, ro of a partition).
fn is_write_protected(node: &str) -> bool {
    let name = node.strip_prefix("/dev/").unwrap_or(node);
    let mut flag = [0; 8];
    fs::read_attribute(format_args!("/sys/class/block/{name}/ro"), &mut flag)
        .is_some_and(|flag| flag.trim_ascii() == b"1")
}

fn run(program: &Path, mode: Fsck, node: &str) -> Result<Pid, Fault> {
    match process::fork(0, None).during(Op::Clone, program)? {
        Forked::Parent(child) => Ok(child),
        Forked::Child => {
            signal::reset();
            if let Some(terminal) = console::open_console() {
                let _ = console::become_standard_descriptors(&terminal);
            }
            // As large as others are, so that the code is there once.
            let mut words = Strings::<8192, 64>::new();
            let mut variables = Strings::<8192, 64>::new();
            let option = match mode {
                Fsck::Preen => "-a",
                Fsck::Yes => "-y",
            };
            for word in [program.as_str(), option, node] {
                // There is room for three.
                let _ = words.push(format_args!("{word}"));
            }
            let _ = variables.push(format_args!("PATH=/sbin:/usr/sbin:/bin:/usr/bin"));
            let errno = variables.with_list(|variables| {
                let environment = Environment::from_list(variables);
                words.with_list(|words| process::execute(program, words, environment))
            });
            if let Err(fault) = Err::<(), _>(errno).during(Op::Exec, program) {
                kmsg::error(Stage::Root, format_args!("{fault}"));
            }
            process::exit(127)
        }
    }
}

/// Waits until it has ended, and says that it goes on.
fn wait_for(child: Pid, node: &str) -> Result<Status, Errno> {
    let end = pidfd_open(child, PidfdFlags::empty())?;
    let began = clock::now();
    loop {
        let until = clock::now() + TELLING;
        // A PID descriptor is readable when the process has ended (pidfd_open(2)).
        match poll(
            &mut [PollFd::new(&end, PollFlags::IN)],
            Some(&until.from_now()),
        ) {
            Ok(0) => {
                let seconds = (clock::now() - began) / 1_000_000;
                let text = format_args!("{node} is being checked, for {seconds} s by now");
                kmsg::notice(Stage::Root, text);
            }
            Ok(_) => return process::wait_no_longer_than(child, None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The check says that the machine has to start again.
fn reboot(machine: &mut Machine) -> ! {
    machine.journal.events.emit(Event::End {
        status: 0,
        action: EndAction::Orderly(End::Reboot),
    });
    failure::deliver(machine);
    failure::end(End::Reboot)
}
