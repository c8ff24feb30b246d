//! `check`: what berth makes of a bundle, field by field, without making anything.
//!
//! What becomes of a field is in the table that the fields are read by ([`table`]). What the parser
//! refuses is named by its error; then a `null` is put there, which says nothing, and the parser is
//! asked again.

use core::fmt::Write as _;

use heapless::Vec;
use rustix::fs::CWD;

use super::output::Output;
use super::{Call, OrReport, Reported, Subcommand};
use crate::container::{CONTROLS, PRIVILEGED, is_agent_notified_at_create};
use crate::error::{Code, During, Op};
use crate::parse::config::mount_options;
use crate::parse::config::table::{self, Becomes, Step};
use crate::parse::config::{Config, ConfigError, MAX_SIZE, MOUNTS_SIZE, OF_PID_1};
use crate::parse::json::{self, Node, Value};
use crate::sys::buffer::{Buffer, Table};
use crate::sys::fs;
use crate::sys::path::path;
use crate::text::Shown;

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "check",
    operands: "[BUNDLE]",
    count: (0, 1),
    raw_from: usize::MAX,
    options: &[],
    about: "print what becomes of the fields of a bundle's config.json",
    run,
};

/// How many things may be refused; the rest is not looked at.
const REFUSALS_MAX: usize = 64;

/// What the path of an annotation begins with.
const ANNOTATION: &str = "annotations.";

/// Where the agent of SCMP_ACT_NOTIFY listens, and what it gets; where no rule asks one, it is not
/// told.
const OF_AGENT: [&str; 2] = [LISTENER, "linux.seccomp.listenerMetadata"];
const LISTENER: &str = "linux.seccomp.listenerPath";
/// What is said of an agent that `create` does not tell.
const AGENT_TOLD_AT_START: &str = ": by start, and not by create";

/// Room for a document.
type Document = Buffer<{ MAX_SIZE + 1 }>;

/// The path of a value: `mounts[3].options`.
type Place = heapless::String<256>;

/// A value in the document, and how it is come by.
struct Visited<'v, 'a> {
    place: &'v str,
    steps: &'v [Step<'a>],
    value: Value<'a>,
    /// Whether it holds no values that are looked at by themselves.
    is_leaf: bool,
}

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    let bundle = call.given.operands.first().copied().unwrap_or(".");
    let mut text = Document::new();
    let file = path(format_args!("{bundle}/config.json"))
        .during(Op::Open, bundle)
        .and_then(|path| fs::open_file(CWD, &path))
        .and_then(|file| text.fill_from(&file).during(Op::Read, bundle))
        .or_report(call, Code::BundleConfig)?;
    let mut len = file.len();
    let mut scratch = Buffer::<MAX_SIZE>::new();
    let mut mounts = Table::<MOUNTS_SIZE>::new();
    let mut output = Output::new();
    let mut refused = 0;
    // Failures of the output are told by `finish`.
    while let Some((start, end)) = {
        let file = text.bytes().get(..len).unwrap_or_default();
        let root = json::check(file).map_err(|error| {
            let file = format_args!("{bundle}/config.json");
            call.found(Code::BundleConfig, Op::Parse, &file, &error)
        })?;
        let room = scratch
            .bytes_mut()
            .and_then(|scratch| Ok((scratch, mounts.places()?)));
        let (scratch, places) = room
            .during(Op::Parse, bundle)
            .or_report(call, Code::BundleConfig)?;
        match Config::parse(file, scratch, places) {
            Ok(config) => {
                print_fields(&mut output, &config, root);
                None
            }
            Err(error) => {
                refused += 1;
                print_refusal(&mut output, &error);
                culprit(file, root, &error).filter(|_| refused < REFUSALS_MAX)
            }
        }
    } {
        len = forget(&mut text, len, start, end)
            .during(Op::Parse, bundle)
            .or_report(call, Code::BundleConfig)?;
    }
    output.finish(call)?;
    Ok(u8::from(refused > 0))
}

fn print_refusal(output: &mut Output, error: &ConfigError<'_>) {
    let _ = match error {
        // What else is refused begins with its path.
        ConfigError::UnknownAnnotation { key, .. } => {
            writeln!(
                output,
                "refused  {ANNOTATION}{}: {}",
                Shown(key),
                Shown(error)
            )
        }
        _ => writeln!(output, "refused  {}", Shown(error)),
    };
}

/// Where in the file the value is that the error is about.
fn culprit(file: &[u8], root: Value<'_>, error: &ConfigError<'_>) -> Option<(usize, usize)> {
    let mut wanted = Place::new();
    match error {
        ConfigError::UnknownAnnotation { key, .. } => write!(wanted, "{key}"),
        error => write!(wanted, "{}", error.field()?),
    }
    .ok()?;
    let mut found = None;
    each(root, &mut |visited| {
        // Of an annotation, an error has the key alone.
        let key = visited.place.strip_prefix(ANNOTATION);
        if visited.place == wanted || key == Some(&wanted) {
            found = Some(visited.value);
        }
    });
    let written = found
        .filter(|value| !matches!(value.node(), Node::Null))?
        .as_written();
    let start = written.as_ptr().addr().checked_sub(file.as_ptr().addr())?;
    Some((start, start.checked_add(written.len())?))
}

/// Puts `null` where a value was; the new length.
fn forget(
    text: &mut Document,
    len: usize,
    start: usize,
    end: usize,
) -> Result<usize, rustix::io::Errno> {
    const NOTHING: &[u8] = b"null";
    let bytes = text.bytes_mut()?;
    let behind = start + NOTHING.len();
    let new = len - (end - start) + NOTHING.len();
    if new > bytes.len() {
        return Err(rustix::io::Errno::FBIG);
    }
    bytes.copy_within(end..len, behind);
    if let Some(room) = bytes.get_mut(start..behind) {
        room.copy_from_slice(NOTHING);
    }
    Ok(new)
}

/// Prints of every value that holds no others what becomes of it.
fn print_fields(output: &mut Output, config: &Config<'_>, root: Value<'_>) {
    if config.annotations.privileged {
        let _ = writeln!(output, "{PRIVILEGED}");
    }
    if config.annotations.control {
        let _ = writeln!(output, "{CONTROLS}");
    }
    let has_agent = config
        .seccomp
        .is_some_and(|profile| profile.agent.is_some());
    let is_told_early = is_agent_notified_at_create(config);
    each(root, &mut |visited| {
        let place = visited.place;
        if !visited.is_leaf || matches!(visited.value.node(), Node::Null) {
            return;
        }
        let key = place.strip_prefix(ANNOTATION).unwrap_or_default();
        let (word, why) = match table::becomes(visited.steps) {
            Some(Becomes::Acted) if OF_PID_1.contains(&key) => ("done", ": by PID 1 only"),
            Some(Becomes::Acted) if OF_AGENT.contains(&place) && !has_agent => {
                ("ignored", ": no rule asks an agent")
            }
            Some(Becomes::Acted) if place == LISTENER && !is_told_early => {
                ("done", AGENT_TOLD_AT_START)
            }
            Some(Becomes::Acted) => ("done", ""),
            Some(Becomes::Warned) => ("ignored", ": not supported yet"),
            // Else the parser would have said so.
            Some(Becomes::Refused) => ("ignored", ": it says nothing"),
            None => ("ignored", ": not a field for this machine"),
        };
        let _ = writeln!(output, "{word:9}{}{why}", Shown(place));
        if place.starts_with("mounts[") && place.ends_with("].options") {
            mount_options::each_ignored(visited.value, &mut |option| {
                let what = "for other programs, or beside bind";
                let (place, option) = (Shown(place), Shown(&option));
                let _ = writeln!(output, "ignored  {place}: {option}: {what}");
            });
        }
    });
}

/// Calls `visit` with each value. Those of a list of words or numbers are not looked at by
/// themselves.
fn each<'a>(root: Value<'a>, visit: &mut dyn FnMut(&Visited<'_, 'a>)) {
    each_below(root, &mut Place::new(), &mut Vec::new(), visit);
}

/// As deep as the document at most, for which there is room. A path that is too long is shown as
/// far as it fits.
fn each_below<'a>(
    value: Value<'a>,
    place: &mut Place,
    steps: &mut Vec<Step<'a>, { json::MAX_DEPTH }>,
    visit: &mut dyn FnMut(&Visited<'_, 'a>),
) {
    let len = place.len();
    let node = value.node();
    let is_leaf = match &node {
        Node::Object(members) => members.clone().next().is_none(),
        Node::Array(items) => !holds_values(items.clone()),
        _ => true,
    };
    visit(&Visited {
        place,
        steps,
        value,
        is_leaf,
    });
    match node {
        Node::Object(members) => {
            for (key, member) in members {
                let dot = if len == 0 { "" } else { "." };
                let _ = write!(place, "{dot}{key}");
                let _ = steps.push(Step::Member(key));
                each_below(member, place, steps, visit);
                steps.pop();
                place.truncate(len);
            }
        }
        Node::Array(items) if !is_leaf => {
            for (index, item) in items.enumerate() {
                let _ = write!(place, "[{index}]");
                let _ = steps.push(Step::Item);
                each_below(item, place, steps, visit);
                steps.pop();
                place.truncate(len);
            }
        }
        _ => {}
    }
}

fn holds_values<'a>(mut items: impl Iterator<Item = Value<'a>>) -> bool {
    items.any(|item| matches!(item.node(), Node::Object(_) | Node::Array(_)))
}
