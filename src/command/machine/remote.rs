//! The machine's control from inside a container with `berth.control`: a command becomes a message
//! to the socket, which a run of `berth` outside serves (`docs/control.md`).
//!
//! That run does the work, and this process prints its answers. A program of `exec` inherits the
//! standard descriptors of this process, so its input and output do not pass through the socket.

use core::fmt::Write as _;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, stat};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::super::output::Output;
use super::super::{Call, GLOBAL, OrReport, QUIET, ROOT, Reported, Subcommand, relay, supervised};
use super::JSON;
use super::ask::is_there;
use crate::error::{Code, During, Fault, Op};
use crate::events::OWN_FAILURE;
use crate::parse::answer::HINT_MAX;
use crate::parse::arguments::Opt;
use crate::parse::control::{EXEC, MESSAGE_MAX, REPLY_MAX, Verb};
use crate::parse::json::{self, Node, Text, Unescaped, Value};
use crate::parse::number::number;
use crate::parse::request::CONTROL;
use crate::sys::buffer::Buffer;
use crate::sys::signal::{self, Set, Signals};
use crate::sys::{console, socket};
use crate::text::BoundedWriter;

/// The number of what is asked for, and of what is said about it meanwhile.
const ID: u64 = 1;
const ABOUT: u64 = 2;

/// The program in a container that was given the control. Elsewhere no record has this name: those
/// are directories.
const GIVEN: &str = "/run/berth/berth";

/// Has the command done by way of the socket. `None` where PID 1 or the records can be reached, or
/// there is no socket; and if the command is none of the control's.
pub(in crate::command) fn forward(
    call: &Call<'_>,
    command: &Subcommand,
) -> Option<Result<u8, Reported>> {
    let verb = Verb::of(command.name)?;
    // Engines give a directory of their own.
    let is_ours = call.given.value(&ROOT).is_none() && !is_there();
    let is_given = is_ours && is(GIVEN, FileType::RegularFile) && is(CONTROL, FileType::Socket);
    is_given.then(|| do_by_socket(call, verb))
}

fn is(path: &str, kind: FileType) -> bool {
    stat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == kind)
}

/// What is made of what comes as `more`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Lines as people read them.
    Text,
    /// Objects.
    Objects,
    /// The id of each object.
    Ids,
}

#[inline(never)]
fn do_by_socket(call: &Call<'_>, verb: &'static Verb) -> Result<u8, Reported> {
    let form = match (call.given.has(&QUIET), call.given.has(&JSON)) {
        (true, _) => Form::Ids,
        (false, true) => Form::Objects,
        // They are for programs in any case.
        _ if verb.name == "events" => Form::Objects,
        _ => Form::Text,
    };
    let mut room = Buffer::<MESSAGE_MAX>::new();
    let room = room.bytes_mut().during(Op::Write, CONTROL);
    let room = room.or_report(call, Code::Control)?;
    let mut writer = BoundedWriter::new(room, 0);
    let is_known = |option: &'static Opt| {
        let mut of_all = GLOBAL.iter().chain(supervised::GLOBAL);
        of_all.any(|known| *known == option) || [&QUIET, &JSON].contains(&option)
    };
    let is_text = form == Form::Text;
    verb.write(ID, &call.given, &is_known, is_text, &mut writer)
        .map_err(|wrong| call.usage(wrong))?;
    let message = writer.written();
    let is_exec = verb.name == EXEC;
    // Before the program may print something, or has changed the terminal.
    let numbers = [signal::INT, signal::TERM, signal::WINCH];
    let signals = is_exec.then(|| Signals::open(Set::of(&numbers)));
    let signals = signals.transpose().or_report(call, Code::Control)?;
    let connection = socket::packets_to(CONTROL).and_then(|connection| {
        let streams = console::standard_descriptors();
        let streams = if is_exec { streams.as_slice() } else { &[] };
        socket::send_with(&connection, message, streams)?;
        Ok(connection)
    });
    let connection = connection.during(Op::Socket, CONTROL);
    let connection = connection.or_report(call, Code::Control)?;
    follow(call, &connection, signals.as_ref(), form)
}

/// Prints what comes, until it is over.
fn follow(
    call: &Call<'_>,
    connection: &OwnedFd,
    signals: Option<&Signals>,
    form: Form,
) -> Result<u8, Reported> {
    let mut room = Buffer::<REPLY_MAX>::new();
    let room = room.bytes_mut().during(Op::Read, CONTROL);
    let room = room.or_report(call, Code::Control)?;
    loop {
        let len = next(connection, signals, room).or_report(call, Code::Control)?;
        let packet = room.get(..len).unwrap_or_default();
        let value = json::check(packet).ok().filter(|_| len > 0);
        let wrong = |why: &'static str| call.found(Code::Control, Op::Read, &CONTROL, &why);
        let Some(value) = value else {
            return Err(wrong(match len {
                0 => "the connection was ended: it is for root of the machine alone, and for 128",
                _ => "what was answered cannot be understood",
            }));
        };
        match value.members(&["ok", "error", "more"]) {
            [Some(ok), _, _] => return Ok(status(ok).unwrap_or(0)),
            [_, Some(error), _] => return Err(fail(call, error)),
            [_, _, Some(more)] => print(call, more, form)?,
            _ => return Err(wrong("what was answered cannot be understood")),
        }
    }
}

/// The next message; of what signals say meanwhile, the other side is told.
fn next(connection: &OwnedFd, signals: Option<&Signals>, room: &mut [u8]) -> Result<usize, Fault> {
    loop {
        if let Some(packet) = socket::packet_if_any(connection, room) {
            return Ok(packet.during(Op::Read, CONTROL)?.0);
        }
        let own = signals.map_or(connection, |signals| &signals.0);
        let mut polled = [connection, own].map(|one| PollFd::new(one, PollFlags::IN));
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during(Op::Wait, CONTROL),
        }
        while let Some(number) = signals.and_then(Signals::next) {
            tell(connection, number);
        }
    }
}

/// Tells the program's other end of a signal.
fn tell(connection: &OwnedFd, number: u32) {
    let mut text = heapless::String::<128>::new();
    let written = match (number, relay::size()) {
        (signal::WINCH, Some([rows, columns])) => write!(
            text,
            "{{\"id\":{ABOUT},\"do\":\"resize\",\"for\":{ID},\"rows\":{rows},\"columns\":{columns}}}"
        ),
        (signal::WINCH, None) => return,
        _ => write!(text, "{{\"id\":{ABOUT},\"do\":\"cancel\",\"for\":{ID}}}"),
    };
    if written.is_ok() {
        // If the other side is gone, the next read says so.
        let _ = send(connection, text.as_bytes(), SendFlags::NOSIGNAL);
    }
}

fn print(call: &Call<'_>, more: Value<'_>, form: Form) -> Result<(), Reported> {
    let text = |name| match more.member(name)?.node() {
        Node::String(text) => Some(Unescaped(text)),
        _ => None,
    };
    let wanted = match form {
        Form::Text => text("text"),
        Form::Ids => text("id"),
        Form::Objects => None,
    };
    let mut output = Output::new();
    // Failures of the output are told by `finish`.
    let _ = match wanted {
        Some(text) => writeln!(output, "{text}"),
        None => writeln!(output, "{}", more.as_written()),
    };
    output.finish(call)
}

/// Tells why it was not done.
fn fail(call: &Call<'_>, error: Value<'_>) -> Reported {
    let text = |name| match error.member(name).map(|member| member.node()) {
        Some(Node::String(text)) => text,
        _ => Text::of(""),
    };
    let hint = text("hint").decode::<HINT_MAX>().unwrap_or_default();
    let journal = &call.journal;
    journal.pass_on(call.name, &Unescaped(text("text")), &hint);
    Reported(status(error).unwrap_or(OWN_FAILURE))
}

/// The status with which a shell would say so.
fn status(value: Value<'_>) -> Option<u8> {
    match value.member("status")?.node() {
        Node::Number(digits) => number(digits),
        _ => None,
    }
}
