//! `check`: what berth makes of a bundle, field by field, without making anything.
//!
//! There is no list here of what is known: the parser is asked. A field that it acts on has a type, so when something of
//! another type stands there, the parser must complain; where it does not, the field is ignored. What it refuses it names, and
//! is asked again with a `null` there, which says nothing.

use core::fmt::Write as _;

use rustix::fs::CWD;

use super::document::Writer;
use super::output::Output;
use super::{Call, Subcommand, Tell, Told};
use crate::container::{PRIVILEGED, is_agent_told_early};
use crate::error::{Code, During, Fault, Op};
use crate::parse::config::mount_options;
use crate::parse::config::{Config, ConfigError, MAX_SIZE, MOUNTS_SIZE, OF_PID_1};
use crate::parse::json::{self, Node, Value};
use crate::sys::buffer::{Buffer, Table};
use crate::sys::fs;
use crate::sys::path::path;
use crate::text::{Shown, Text};

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

/// Where the agent of SCMP_ACT_NOTIFY listens, and what is said of one that `create` does not tell.
const LISTENER: &str = "linux.seccomp.listenerPath";
const TOLD_LATE: &str = ": by start, and not by create";

/// Room for a document, with a value in it replaced.
type Document = Buffer<{ MAX_SIZE + 1 }>;

/// The path of a value: `mounts[3].options`.
type Place = heapless::String<256>;

/// What the parser says.
enum Answer {
    /// It takes the document. The text is the list of what it warns of, each path between commas; the container may be
    /// `berth.privileged`; and its agent is perhaps told early.
    Takes(Text<1024>, bool, bool),
    /// It does not.
    Refuses(Text<1024>),
}

/// The parser, and what it works with.
struct Parser {
    trial: Document,
    scratch: Buffer<MAX_SIZE>,
    mounts: Table<MOUNTS_SIZE>,
}

impl Parser {
    /// What it says of `document`, with `by` where `value` is in it.
    #[inline(never)]
    fn ask(&mut self, document: &str, value: &str, by: &str) -> Result<Answer, Fault> {
        let (before, behind) = around(document, value);
        let mut writer = Writer {
            bytes: self.trial.bytes_mut().during(Op::Parse, "the bundle")?,
            len: 0,
        };
        // A document that is too long for it is refused for that.
        let _ = write!(writer, "{before}{by}{behind}");
        let len = writer.len;
        let file = self.trial.bytes().get(..len).unwrap_or_default();
        let scratch = self.scratch.bytes_mut().during(Op::Parse, "the bundle")?;
        let places = self.mounts.places().during(Op::Parse, "the bundle")?;
        Ok(match Config::parse(file, scratch, places) {
            Ok(config) => {
                let mut warnings = Text::new(",");
                for path in &config.warnings {
                    warnings.push(format_args!("{path},"));
                }
                let is_told_early = is_agent_told_early(&config);
                Answer::Takes(warnings, config.annotations.privileged, is_told_early)
            }
            // What else is refused begins with its path.
            Err(error @ ConfigError::UnknownAnnotation { key, .. }) => {
                Answer::Refuses(Text::new(format_args!("annotations.{key}: {error}")))
            }
            Err(error) => Answer::Refuses(Text::new(error)),
        })
    }
}

/// What stands before and behind `part` in `whole`.
fn around<'w>(whole: &'w str, part: &str) -> (&'w str, &'w str) {
    let start = (part.as_ptr().addr()).saturating_sub(whole.as_ptr().addr());
    let end = start.saturating_add(part.len());
    (
        whole.get(..start).unwrap_or_default(),
        whole.get(end..).unwrap_or_default(),
    )
}

fn run(call: &Call<'_>) -> Result<u8, Told> {
    let bundle = call.given.operands.first().copied().unwrap_or(".");
    let mut text = Document::new();
    let file = path(format_args!("{bundle}/config.json"))
        .during(Op::Open, bundle)
        .and_then(|path| fs::open_file(CWD, &path))
        .and_then(|file| text.fill_from(&file).during(Op::Read, bundle))
        .tell(call, Code::BundleConfig)?;
    let mut len = file.len();
    let mut parser = Parser {
        trial: Document::new(),
        scratch: Buffer::new(),
        mounts: Table::new(),
    };
    let mut output = Output::new();
    let mut refused = 0;
    // Failures of the output are told by `finish`.
    loop {
        let document = text.bytes().get(..len).unwrap_or_default();
        let root = json::check(document).map_err(|error| {
            let file = format_args!("{bundle}/config.json");
            call.found(Code::BundleConfig, Op::Parse, &file, &error)
        })?;
        // The whole without a change: nothing, at its end, replaced by nothing.
        let document = core::str::from_utf8(document).unwrap_or_default();
        let end = document.get(document.len()..).unwrap_or_default();
        let answer = parser
            .ask(document, end, "")
            .tell(call, Code::BundleConfig)?;
        let message = match answer {
            Answer::Takes(warnings, is_privileged, is_told_early) => {
                if is_privileged {
                    let _ = writeln!(output, "{PRIVILEGED}");
                }
                let known = (warnings.as_str(), is_told_early);
                let told = tell(&mut output, &mut parser, document, root, known);
                told.tell(call, Code::BundleConfig)?;
                break;
            }
            Answer::Refuses(message) => message,
        };
        let _ = writeln!(output, "refused  {}", Shown(&message));
        refused += 1;
        let Some((start, end)) = culprit(document, root, message.as_str()) else {
            break;
        };
        if refused == REFUSALS_MAX {
            break;
        }
        len = forget(&mut text, len, start, end)
            .during(Op::Parse, bundle)
            .tell(call, Code::BundleConfig)?;
    }
    output.finish(call)?;
    Ok(u8::from(refused > 0))
}

/// Where the value is that `message` begins with the name of: the innermost.
fn culprit(document: &str, root: Value<'_>, message: &str) -> Option<(usize, usize)> {
    let mut found = None;
    each(root, &mut Place::new(), &mut |place, value, _| {
        // Of an annotation, a message has the key alone.
        let key = place.strip_prefix(ANNOTATION).unwrap_or(place);
        let names = [place, key].into_iter().filter(|name| !name.is_empty());
        let rest = names.filter_map(|name| message.strip_prefix(name)).next();
        if rest.is_some_and(|rest| rest.starts_with([' ', ':']))
            && !matches!(value.node(), Node::Null)
        {
            let (before, _) = around(document, value.as_written());
            found = Some((before.len(), before.len() + value.as_written().len()));
        }
        Ok(())
    })
    .ok()?;
    found
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
fn tell(
    output: &mut Output,
    parser: &mut Parser,
    document: &str,
    root: Value<'_>,
    (warnings, is_told_early): (&str, bool),
) -> Result<(), Fault> {
    each(root, &mut Place::new(), &mut |place, value, is_leaf| {
        let other = match value.node() {
            _ if !is_leaf => return Ok(()),
            Node::Null => return Ok(()),
            Node::Number(_) | Node::Bool(_) => "\"x\"",
            _ => "7",
        };
        let is_acted_on = matches!(
            parser.ask(document, value.as_written(), other)?,
            Answer::Refuses(_)
        );
        let is_warned_of = warnings.split(',').any(|path| {
            let rest = place.strip_prefix(path).filter(|_| !path.is_empty());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        });
        let key = place.strip_prefix(ANNOTATION).unwrap_or_default();
        let (word, why) = match (is_warned_of, is_acted_on) {
            (true, _) => ("ignored", ": not supported yet"),
            (false, true) if OF_PID_1.contains(&key) => ("done", ": by PID 1 only"),
            (false, true) if place == LISTENER && !is_told_early => ("done", TOLD_LATE),
            (false, true) => ("done", ""),
            (false, false) => ("ignored", ": not a field for this machine"),
        };
        let _ = writeln!(output, "{word:9}{}{why}", Shown(&place));
        if place.starts_with("mounts[") && place.ends_with("].options") {
            mount_options::each_ignored(value, &mut |option| {
                let what = "for other programs, or beside bind";
                let _ = writeln!(
                    output,
                    "ignored  {}: {}: {what}",
                    Shown(&place),
                    Shown(&option)
                );
            });
        }
        Ok(())
    })
}

/// Calls `visit` with each value, its path, and whether it holds no values that are looked at by themselves: those of a list
/// of words or numbers are not.
fn each(
    value: Value<'_>,
    place: &mut Place,
    visit: &mut dyn FnMut(&str, Value<'_>, bool) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let len = place.len();
    // A path that is too long is shown as far as it fits.
    match value.node() {
        Node::Object(members) if !value.is_empty() || members.clone().next().is_some() => {
            visit(place, value, false)?;
            for (key, member) in members {
                let dot = if len == 0 { "" } else { "." };
                let _ = write!(place, "{dot}{key}");
                each(member, place, visit)?;
                place.truncate(len);
            }
            Ok(())
        }
        Node::Array(items) if holds_values(items.clone()) => {
            visit(place, value, false)?;
            for (index, item) in items.enumerate() {
                let _ = write!(place, "[{index}]");
                each(item, place, visit)?;
                place.truncate(len);
            }
            Ok(())
        }
        _ => visit(place, value, true),
    }
}

fn holds_values<'a>(mut items: impl Iterator<Item = Value<'a>>) -> bool {
    items.any(|item| matches!(item.node(), Node::Object(_) | Node::Array(_)))
}
