//! Requests to PID 1.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use super::super::{Call, OrReport, Reported};
use crate::error::{Code, During, Error, Fault, Op};
use crate::parse::request::{PATH, REPLY_MAX, REQUEST_MAX, Reply, Request, Row};
use crate::sys::socket;

/// How long an answer is waited for.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    /// As long as PID 1, which answers at once, may take on a machine that has much else to do.
    Short,
    /// As long as it takes.
    Endless,
}

const SHORT: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Whether PID 1 is berth and takes requests from here.
pub(super) fn is_there() -> bool {
    rustix::fs::stat(PATH).is_ok()
}

/// Asks PID 1 for something, and calls `each` with each container that it tells of.
///
/// # Errors
/// [`Code::Control`] if PID 1 is not reached; or why it does not do it.
pub(super) fn ask(
    call: &Call<'_>,
    request: Request<'_>,
    each: &mut dyn FnMut(Row<'_>),
) -> Result<(), Reported> {
    ask_and_wait(call, request, Patience::Short, each)
}

/// The same for what may take its time.
///
/// # Errors
/// As [`ask`].
pub(super) fn ask_and_wait(
    call: &Call<'_>,
    request: Request<'_>,
    patience: Patience,
    each: &mut dyn FnMut(Row<'_>),
) -> Result<(), Reported> {
    let answers = send(request).or_report(call, Code::Control)?;
    let mut room = [0; REPLY_MAX];
    loop {
        let len = receive(&answers, &mut room, patience).or_report(call, Code::Control)?;
        match Reply::parse(room.get(..len).unwrap_or_default()) {
            Some(Reply::Row(row)) => each(row),
            Some(Reply::Done) => return Ok(()),
            Some(Reply::Refused(error)) => return Err(call.fail(&error)),
            None => {
                let detail = "it has answered what cannot be understood";
                let error = Error::new(Code::Control, Op::Read, "PID 1", detail);
                return Err(call.fail(&error));
            }
        }
    }
}

/// Sends a request; where the answers come from.
fn send(request: Request<'_>) -> Result<OwnedFd, Fault> {
    let mut room = [0; REQUEST_MAX];
    let packet = request.encode(&mut room).ok_or(Errno::NAMETOOLONG);
    let packet = packet.during(Op::Write, "PID 1")?;
    let connection = socket::datagrams_to(PATH.as_bytes()).during(Op::Socket, "PID 1")?;
    let (ours, theirs) = socket::packets().during(Op::Socket, "PID 1")?;
    loop {
        match socket::send(&connection, packet, theirs.as_fd()) {
            // Others ask, too.
            Err(Errno::AGAIN) => {
                wait(&connection, PollFlags::OUT, Patience::Short).during(Op::Wait, "PID 1")?;
            }
            sent => return sent.map(|()| ours).during(Op::Write, "PID 1"),
        }
    }
}

fn receive(answers: &OwnedFd, room: &mut [u8], patience: Patience) -> Result<usize, Fault> {
    loop {
        if let Some(packet) = socket::packet_if_any(answers, room) {
            let (len, _) = packet.during(Op::Read, "PID 1")?;
            return Ok(len);
        }
        wait(answers, PollFlags::IN, patience).during(Op::Wait, "PID 1")?;
    }
}

fn wait(socket: &OwnedFd, flags: PollFlags, patience: Patience) -> Result<(), Errno> {
    let timeout = match patience {
        Patience::Short => Some(&SHORT),
        Patience::Endless => None,
    };
    match poll(&mut [PollFd::new(socket, flags)], timeout) {
        Ok(0) => Err(Errno::TIMEDOUT),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
