//! The end of a boot that failed: the report, and then what `berth.on_failure=` asks for.

use core::time::Duration;

use rustix::event::poll;
use rustix::fs::CWD;

use super::failure_policy::{self, FailurePolicy};
use super::modules;
use super::report::{late, report};
use super::root::sleep_until;
use super::shell::Shell;
use super::{Machine, unmount};
use crate::error::{Code, Error, Stage};
use crate::events::{EndAction, Event, OWN_FAILURE};
use crate::hint::of_machine;
use crate::plan::{OnFailure, Plan};
use crate::sys::clock::{self, Moment};
use crate::sys::netlink::UEVENT_MAX;
use crate::sys::process::{self, End};
use crate::sys::{console, fs, kmsg, virtio_port};
use crate::text::{Shown, Text};

/// How long a report stays on the console before the machine starts again, in seconds, where nobody
/// says.
const TIME_TO_READ: i32 = 10;

/// How long the report may take to reach the reader of the event stream, once its port is there.
const DELIVERY: Duration = Duration::from_secs(2);

/// Reports `error` and ends the boot as the plan, or what could be read of it, says.
pub fn fail(machine: &mut Machine, error: &Error) -> ! {
    let action = machine.on_failure.action;
    if machine.journal.stage_of(error) == Stage::Early {
        // The port of the event stream may need a driver. If that cannot be loaded, the report is
        // still about the first failure.
        let _ = modules::load_all(machine, &Plan::empty());
    }
    report(machine, error, action.name());
    if action != OnFailure::Shell {
        // Before what could take its time.
        deliver(machine);
        unmount::clean_up(machine);
    }
    machine.journal.events.emit(Event::End {
        status: OWN_FAILURE,
        action: EndAction::OnFailure(action),
    });
    deliver(machine);
    carry_out(machine, error.code)
}

/// Waits until the event stream is written, if it has a device or may get one, but no longer than
/// [`DELIVERY`].
pub(crate) fn deliver(machine: &mut Machine) {
    let deadline = clock::now() + DELIVERY;
    machine.journal.open_event_device(&machine.devices);
    loop {
        machine.journal.events.flush();
        if !machine.journal.events.is_pending()
            || !virtio_port::is_to_be_expected()
            || clock::now() >= deadline
        {
            return;
        }
        // Where nobody reads, a reader that comes is not announced: there is one more try in the
        // end.
        if machine.wait_for_change(Some(deadline)).is_err() {
            return;
        }
        let mut room = [0; UEVENT_MAX];
        while let Some(change) = machine.devices.next_change(&mut room) {
            machine.journal.note_change(&machine.devices, &change);
        }
    }
}

fn carry_out(machine: &mut Machine, code: Code) -> ! {
    let timeout = machine.on_failure.timeout;
    match machine.on_failure.action {
        OnFailure::PowerOff => end(End::PowerOff),
        OnFailure::Halt => end(End::Halt),
        OnFailure::Panic => panic_kernel(),
        OnFailure::Reboot => {
            if code == Code::RootNotFound {
                reboot_after(timeout, &mut |until| late::watch(machine, until));
            }
            reboot_after(timeout, &mut pause)
        }
        OnFailure::Shell => {
            match Shell::find() {
                Some(shell) => shell.run(),
                None => kmsg::error(
                    Stage::Early,
                    format_args!("there is no shell at /bin/sh: rebooting instead"),
                ),
            }
            unmount::clean_up(machine);
            reboot_after(timeout, &mut pause)
        }
    }
}

/// `panic=` as the kernel has it (Documentation/admin-guide/kernel-parameters.txt): seconds to
/// wait, 0 for ever, negative not at all. Where it is not given, the kernel's own value counts,
/// except 0: distributions build kernels with that, and a machine that nobody watches would wait
/// for ever. `wait` is how the time is spent.
fn reboot_after(timeout: Option<i32>, wait: &mut dyn FnMut(Option<Moment>)) -> ! {
    let seconds = timeout
        .or_else(|| kernel_panic_timeout().filter(|seconds| *seconds != 0))
        .unwrap_or(TIME_TO_READ);
    match u64::try_from(seconds) {
        Ok(0) => {
            kmsg::error(
                Stage::Early,
                format_args!("holding, as panic=0 asks: reset the machine"),
            );
            wait(None);
            wait_forever()
        }
        Ok(seconds) => wait(Some(clock::now() + Duration::from_secs(seconds))),
        Err(_) => {}
    }
    end(End::Reboot)
}

/// Sleeps until then. Without a time it returns, and [`wait_forever`] waits for ever.
fn pause(until: Option<Moment>) {
    if let Some(until) = until {
        sleep_until(until);
    }
}

fn kernel_panic_timeout() -> Option<i32> {
    let mut buffer = [0; 32];
    fs::read_attribute(format_args!("/proc/sys/kernel/panic"), &mut buffer)
        .and_then(|text| core::str::from_utf8(text.trim_ascii()).ok()?.parse().ok())
}

/// Has the kernel panic, for machines that collect its dumps.
fn panic_kernel() -> ! {
    // Without sysrq, the end of PID 1 is a panic as well.
    let _ = fs::write_file(CWD, "/proc/sysrq-trigger", b"c");
    crate::sys::process::exit(OWN_FAILURE.into())
}

/// Ends the machine and rests until it does.
pub fn end(end: End) -> ! {
    if let Err(fault) = process::end_machine(end) {
        kmsg::error(Stage::Shutdown, format_args!("{fault}"));
        process::end_machine_from_here(end);
    }
    wait_forever()
}

/// Waits for ever; children that end are collected meanwhile.
pub fn wait_forever() -> ! {
    loop {
        if !process::wait_for_child() {
            // Signals are blocked or ignored: this does not return.
            let _ = poll(&mut [], None);
        }
    }
}

/// Ends this process, which is not PID 1 of a machine.
pub fn not_pid_1() -> ! {
    end_as_a_process(&Error::new(
        Code::NotPid1,
        crate::error::Op::Exec,
        "init",
        match process::is_pid_1() {
            true => "it is the first process of a container, and not of a machine",
            false => "it is not PID 1 of a machine",
        },
    ))
}

fn end_as_a_process(error: &Error) -> ! {
    let mut text = Text::<512>::EMPTY;
    text.push(format_args!(
        "berth: {}\n  {}\n",
        Shown(error),
        of_machine(error)
    ));
    console::complain(text.as_str());
    crate::sys::process::exit(OWN_FAILURE.into())
}

/// What the panic handler does: it reports and ends the machine, and uses nothing that could be the
/// cause of the panic.
pub fn panicked(place: core::fmt::Arguments<'_>) -> ! {
    let error = Error::new(Code::Panic, crate::error::Op::Exec, "berth", place);
    if !failure_policy::is_pid_1() {
        end_as_a_process(&error)
    }
    kmsg::error(Stage::Early, format_args!("{error}"));
    kmsg::error(Stage::Early, format_args!("  {}", of_machine(&error)));
    unmount::clean_up_at_once();
    let policy = FailurePolicy::adopted();
    match policy.action {
        OnFailure::PowerOff => end(End::PowerOff),
        OnFailure::Halt => end(End::Halt),
        OnFailure::Reboot | OnFailure::Shell => reboot_after(policy.timeout, &mut pause),
        OnFailure::Panic => panic_kernel(),
    }
}
