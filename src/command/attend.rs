//! A program in the foreground: signals go to it, bytes go between its terminal and ours, and its
//! end is waited for.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;

use super::launch::number_of;
use super::notify::Notify;
use super::relay::Relay;
use super::{Call, OrReport, Reported};
use crate::error::{Code, During, Fault, Op};
use crate::sys::pidfd::Process;
use crate::sys::process::{self, Status};
use crate::sys::signal::{self, Set, Signals};

/// Makes all signals readable, those too that come before there is a program.
///
/// # Errors
/// [`Code::Control`].
pub(super) fn listen(call: &Call<'_>) -> Result<Signals, Reported> {
    Signals::open(Set::FULL).or_report(call, Code::Control)
}

/// Stays with the program `pid`, which is a child of this process or becomes one, until it has
/// ended; the status that a shell has of it.
///
/// # Errors
/// [`Code::Control`].
pub(super) fn attend(
    call: &Call<'_>,
    signals: &Signals,
    pid: u32,
    relay: Option<Relay>,
    notify: Option<Notify>,
) -> Result<u8, Reported> {
    // It is not collected yet, so the number is its own.
    Process::open(pid)
        .and_then(|program| stay(call, signals, pid, &program, relay, notify))
        .map(Status::as_shell)
        .or_report(call, Code::Control)
}

fn stay(
    call: &Call<'_>,
    signals: &Signals,
    pid: u32,
    program: &Process,
    mut relay: Option<Relay>,
    mut notify: Option<Notify>,
) -> Result<Status, Fault> {
    let mut ended = None;
    loop {
        let ready = wait(signals, relay.as_ref(), notify.as_ref(), ended.is_some());
        let ready = ready.during(Op::Wait, "the program")?;
        let [signalled, ready @ .., said] = ready;
        // A program that talks to the socket for ever is not waited for.
        let is_quiet = signalled.is_empty() && ready.iter().all(|flags| flags.is_empty());
        if let Some(relay) = &mut relay {
            relay.serve(ready);
        }
        if let Some(notify) = notify.as_mut().filter(|_| !said.is_empty()) {
            notify.hand_on(call, None);
        }
        while let Some(number) = signals.next() {
            match number {
                // Other children are those that the program has left behind.
                signal::CHLD => {
                    while let Some(child) = process::ended() {
                        let status = process::reap(child);
                        if number_of(child) == pid {
                            ended = status;
                        }
                    }
                }
                signal::WINCH => {
                    if let Some(relay) = &relay {
                        relay.copy_size();
                    }
                }
                // It may have ended by now.
                number => drop(program.signal(number)),
            }
        }
        // What it printed last is printed, but others that have its terminal open are not waited
        // for.
        match ended {
            Some(status) if relay.is_none() || is_quiet => return Ok(status),
            _ => {}
        }
    }
}

/// Waits for signals, and for what the relay waits for; what is ready, in that order.
fn wait(
    signals: &Signals,
    relay: Option<&Relay>,
    notify: Option<&Notify>,
    has_ended: bool,
) -> Result<[PollFlags; 5], Errno> {
    /// To look without waiting.
    const NOW: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let nothing = (signals.0.as_fd(), PollFlags::empty());
    let wanted = relay.map_or([nothing; 3], Relay::wanted);
    let [terminal, input, output] = wanted;
    // poll(2) tells of a hang-up where nothing is wanted too; the descriptor of signals, in its
    // place, has none.
    let notify = notify.map_or(nothing, |notify| (notify.as_fd(), PollFlags::IN));
    let signals = (nothing.0, PollFlags::IN);
    let mut polled = [signals, terminal, input, output, notify].map(|wanted| {
        let (descriptor, flags) = if wanted.1.is_empty() { nothing } else { wanted };
        PollFd::from_borrowed_fd(descriptor, flags)
    });
    let is_waiting_for_output = relay.is_some_and(Relay::has_output);
    let timeout = Some(&NOW).filter(|_| has_ended && !is_waiting_for_output);
    match poll(&mut polled, timeout) {
        Ok(_) => Ok(polled.each_ref().map(PollFd::revents)),
        Err(Errno::INTR) => Ok([PollFlags::empty(); 5]),
        Err(errno) => Err(errno),
    }
}
