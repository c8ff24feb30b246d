//! `events` without an id: what has happened in the machine, as PID 1 has kept it.

use super::super::output::Output;
use super::super::{Call, OrReport, Reported};
use super::FOLLOW;
use super::follow::Follower;
use crate::error::{Code, Error, Fault, Op};
use crate::events::DIRECTORY;
use crate::parse::json::{self, Node, Text, Unescaped};

/// The file of events.
///
/// # Errors
/// Those of [`Follower::open`].
pub(super) fn open(is_followed: bool) -> Result<Follower, Fault> {
    Follower::open(format_args!("{DIRECTORY}/events"), is_followed)
}

/// Prints events, an object a line.
///
/// # Errors
/// [`Code::Control`] where PID 1 is not berth; [`Code::Output`].
#[inline(never)]
pub(in crate::command) fn print(call: &Call<'_>) -> Result<u8, Reported> {
    let is_followed = call.given.has(&FOLLOW);
    let mut events = open(is_followed).or_report(call, Code::Control)?;
    if !events.is_there() {
        let detail = "PID 1 is not berth, and there is no ID whose use could be printed";
        return Err(call.fail(&Error::new(Code::Control, Op::Read, "events", detail)));
    }
    print_lines(call, &mut events, &mut |line, output| output.bytes(line))
}

/// Prints each line as `show` does, and goes on with what comes if it is followed.
///
/// # Errors
/// [`Code::Control`], [`Code::Output`].
pub(super) fn print_lines(
    call: &Call<'_>,
    lines: &mut Follower,
    show: &mut dyn FnMut(&[u8], &mut Output),
) -> Result<u8, Reported> {
    let mut written = Ok(());
    let followed = lines.follow(&mut |line| {
        let mut output = Output::new();
        show(line, &mut output);
        written = output.finish(call);
        written.is_ok()
    });
    followed.or_report(call, Code::Control)?;
    written.map(|()| 0)
}

/// An event about a container.
pub(super) struct Happened<'l> {
    pub(super) id: Text<'l>,
    pub(super) state: Text<'l>,
    text: Option<Text<'l>>,
    failure: Option<Text<'l>>,
}

impl<'l> Happened<'l> {
    /// The event that `line` is, if it is about a container.
    pub(super) fn parse(line: &'l [u8]) -> Option<Self> {
        let value = json::check(line).ok()?;
        let names = &["event", "id", "state", "text", "failure"];
        let [event, id, state, text, failure] = value.members(names).map(|member| {
            let Node::String(text) = member?.node() else {
                return None;
            };
            Some(text)
        });
        event.filter(|event| event.is("container"))?;
        Some(Self {
            id: id?,
            state: state?,
            text,
            failure,
        })
    }

    /// Tells of the failure that it is.
    pub(super) fn failure(&self, call: &Call<'_>) -> Reported {
        let code = self.failure.and_then(|code| {
            let is_it = |known: &&Code| code.is(crate::text::Text::<8>::new(known).as_str());
            Code::ALL.iter().find(is_it).copied()
        });
        let text = self.text.unwrap_or(Text::of(""));
        let code = code.unwrap_or(Code::ContainerSetup);
        call.fail(&Error::new(
            code,
            Op::Exec,
            Unescaped(self.id),
            Unescaped(text),
        ))
    }
}
