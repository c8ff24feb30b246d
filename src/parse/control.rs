//! What clients of the machine's control ask for: one JSON object a message (`docs/control.md`).
//!
//! Most requests are a command of `berth` in other words, so that is what becomes of them:
//! [`Message::words`] says which. [`Verb::write`] is the way back.

use super::json::{self, Node, Value};

/// The longest message, in bytes.
pub const MESSAGE_MAX: usize = 8192;

/// The longest answer, in bytes: a line of which every byte is escaped, and what is around it.
pub const REPLY_MAX: usize = 32 * 1024;

/// The largest id: numbers that are larger do not survive every reader of JSON.
const ID_MAX: u64 = 9_007_199_254_740_991;

/// A verb, the command that does it, and which options and operands it takes.
#[derive(Debug)]
pub struct Verb {
    /// In messages.
    pub name: &'static str,
    /// Members that become options, with their values: number, text or flag.
    pub(super) options: &'static [Member],
    /// Whether it is about a container: it must be, may be, is not.
    pub(super) container: Option<bool>,
    /// What is printed can be had as objects.
    pub prints: bool,
}

/// A member of a message, and the option that it becomes.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) option: &'static str,
    pub(super) is_flag: bool,
}

impl Verb {
    /// The verb that does what the command of this name does.
    #[must_use]
    pub fn of(command: &str) -> Option<&'static Self> {
        VERBS.iter().find(|verb| verb.name == command)
    }
}

const fn flag(name: &'static str, option: &'static str) -> Member {
    Member {
        name,
        option,
        is_flag: true,
    }
}

const fn value(name: &'static str, option: &'static str) -> Member {
    Member {
        is_flag: false,
        ..flag(name, option)
    }
}

const fn verb(
    name: &'static str,
    options: &'static [Member],
    container: Option<bool>,
    prints: bool,
) -> Verb {
    Verb {
        name,
        options,
        container,
        prints,
    }
}

/// All verbs that a run of `berth` does, in the order of the manual.
pub const VERBS: &[Verb] = &[
    verb("list", &[], None, true),
    verb("boot", &[], None, true),
    verb("events", &[flag("follow", "--follow")], None, true),
    verb(
        "logs",
        &[
            flag("follow", "--follow"),
            flag("timestamps", "--timestamps"),
            value("lines", "--lines"),
            value("since", "--since"),
        ],
        Some(true),
        true,
    ),
    verb("mounts", &[], Some(false), true),
    verb("start", &[], Some(true), false),
    verb("stop", &[], Some(true), false),
    verb("restart", &[], Some(true), false),
    verb("kill", &[], Some(true), false),
    verb(
        EXEC,
        &[
            flag("tty", "--tty"),
            value("env", "--env"),
            value("cwd", "--cwd"),
            value("user", "--user"),
        ],
        Some(true),
        false,
    ),
    verb("freeze", &[], None, false),
    verb(
        "thaw",
        &[value("time", "--time"), value("entropy", "--entropy")],
        None,
        false,
    ),
    verb("poweroff", &[], None, false),
    verb("reboot", &[], None, false),
    verb("halt", &[], None, false),
    verb("kexec", &[], None, false),
];

/// The verb that runs a program.
pub const EXEC: &str = "exec";

/// A message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    /// The client's number for it.
    pub id: u64,
    value: Value<'m>,
    /// What it asks for.
    pub what: What<'m>,
}

/// What a message asks for.
#[derive(Clone, Copy, Debug)]
pub enum What<'m> {
    /// To run a command.
    Run(Run),
    /// To end the request with this id.
    Cancel(u64),
    /// Bytes for the program that the request with this id runs, in base64; `None` is their end.
    Input(u64, Option<json::Text<'m>>),
    /// The rows and columns of its terminal.
    Resize(u64, [u16; 2]),
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    verb: &'static Verb,
    /// What it prints is wanted as people read it.
    pub is_text: bool,
    /// It gets a terminal.
    pub has_terminal: bool,
    /// The terminal's rows and columns, if they are given.
    pub size: Option<[u16; 2]>,
}

impl Run {
    /// What is asked for.
    #[must_use]
    pub const fn verb(&self) -> &'static Verb {
        self.verb
    }
}

/// Why a message is not understood.
pub type Wrong = &'static str;

impl<'m> Message<'m> {
    /// Reads a message. With an error comes the id, if that could be read, else 0.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline(never)]
    pub fn parse(bytes: &'m [u8]) -> Result<Self, (u64, Wrong)> {
        if bytes.len() > MESSAGE_MAX {
            return Err((0, "it is longer than 8192 bytes"));
        }
        let value = json::check(bytes).map_err(|_| (0, "it is no JSON object"))?;
        let id = number(value, "id").filter(|id| *id <= ID_MAX);
        let id = id.ok_or((0, "its id is no number"))?;
        let what = Self::what(value).map_err(|wrong| (id, wrong))?;
        Ok(Self { id, value, what })
    }

    fn what(value: Value<'m>) -> Result<What<'m>, Wrong> {
        let text = |name| string(value, name);
        let verb = text("do").ok_or("it does not say what to do")?;
        let target = || number(value, "for").ok_or("`for` is no number");
        let size = || {
            let side = |name| u16::try_from(number(value, name)?).ok();
            Some([side("rows")?, side("columns")?])
        };
        if verb.is("cancel") {
            return Ok(What::Cancel(target()?));
        }
        if verb.is("resize") {
            return Ok(What::Resize(target()?, size().ok_or("it has no size")?));
        }
        if verb.is("input") {
            let data = match is_true(value, "end") {
                true => None,
                false => Some(text("data").ok_or("it has no data")?),
            };
            return Ok(What::Input(target()?, data));
        }
        let known = VERBS.iter().find(|known| verb.is(known.name));
        let run = Run {
            verb: known.ok_or("it asks for something that is not known")?,
            is_text: is_true(value, "text"),
            has_terminal: is_true(value, "tty"),
            size: size(),
        };
        Ok(What::Run(run))
    }

    /// Calls `push` with each word of the command behind `berth`, until it refuses one.
    ///
    /// # Errors
    /// What is wrong with the message, or that `push` refused a word.
    #[inline(never)]
    pub fn words(&self, run: &Run, push: &mut dyn FnMut(Word<'_>) -> bool) -> Result<(), Wrong> {
        const TOO_MANY: Wrong = "it has too many words";
        let verb = run.verb();
        let mut push = |word| push(word).then_some(()).ok_or(TOO_MANY);
        push(Word::Plain(verb.name))?;
        if verb.prints && !run.is_text && verb.name != "events" {
            push(Word::Plain("--json"))?;
        }
        for member in verb.options {
            let Some(value) = self.value.member(member.name) else {
                continue;
            };
            match value.node() {
                Node::Bool(true) if member.is_flag => push(Word::Plain(member.option))?,
                Node::Bool(false) if member.is_flag => {}
                Node::Number(digits) if !member.is_flag => {
                    push(Word::Option(member.option, json::Text::of(digits)))?;
                }
                Node::String(text) if !member.is_flag => {
                    push(Word::Option(member.option, text))?;
                }
                Node::Array(items) if !member.is_flag => {
                    for text in items.strings() {
                        let text = text.ok_or("a list has something else than strings")?;
                        push(Word::Option(member.option, text))?;
                    }
                }
                _ => return Err("a member is of another kind"),
            }
        }
        push(Word::Plain("--"))?;
        match (verb.container, string(self.value, "container")) {
            (None, _) | (Some(false), None) => {}
            (Some(_), Some(id)) => push(Word::Text(id))?,
            (Some(true), None) => return Err("it names no container"),
        }
        match (
            verb.name,
            self.value.member("signal"),
            self.value.member("args"),
        ) {
            ("kill", Some(signal), _) => match signal.node() {
                Node::String(name) => push(Word::Text(name))?,
                Node::Number(digits) => push(Word::Plain(digits))?,
                _ => return Err("`signal` is neither a name nor a number"),
            },
            (EXEC, _, Some(args)) => {
                let Node::Array(items) = args.node() else {
                    return Err("`args` is no list");
                };
                for text in items.strings() {
                    push(Word::Text(
                        text.ok_or("`args` has something else than strings")?,
                    ))?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A word of a command.
#[derive(Clone, Copy, Debug)]
pub enum Word<'m> {
    /// As it is.
    Plain(&'m str),
    /// What the text means.
    Text(json::Text<'m>),
    /// An option and its value.
    Option(&'static str, json::Text<'m>),
}

impl core::fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::Plain(word) => f.write_str(word),
            Self::Text(text) => json::Unescaped(text).fmt(f),
            Self::Option(option, text) => write!(f, "{option}={}", json::Unescaped(text)),
        }
    }
}

fn string<'m>(value: Value<'m>, name: &str) -> Option<json::Text<'m>> {
    match value.member(name)?.node() {
        Node::String(text) => Some(text),
        _ => None,
    }
}

fn number(value: Value<'_>, name: &str) -> Option<u64> {
    match value.member(name)?.node() {
        Node::Number(digits) => super::number::number(digits),
        _ => None,
    }
}

fn is_true(value: Value<'_>, name: &str) -> bool {
    let member = value.member(name);
    member.is_some_and(|member| matches!(member.node(), Node::Bool(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of the command that a message asks for.
    fn words(text: &str) -> Result<Vec<String>, Wrong> {
        let message = Message::parse(text.as_bytes()).map_err(|(_, wrong)| wrong)?;
        let What::Run(run) = message.what else {
            panic!("{text}");
        };
        let mut words = Vec::new();
        message.words(&run, &mut |word| {
            words.push(word.to_string());
            words.len() < 12
        })?;
        Ok(words)
    }

    #[test]
    fn requests_become_commands() {
        for (message, expected) in [
            (r#"{"id":1,"do":"list"}"#, "list --json --"),
            (r#"{"id":0,"do":"list","text":true}"#, "list --"),
            (r#"{"id":1,"do":"boot"}"#, "boot --json --"),
            (
                r#"{"id":1,"do":"events","follow":true}"#,
                "events --follow --",
            ),
            (
                r#"{"id":1,"do":"logs","container":"web","lines":7,"since":"5m","follow":false}"#,
                "logs --json --lines=7 --since=5m -- web",
            ),
            (
                r#"{"id":1,"do":"logs","container":"web","timestamps":true,"text":true}"#,
                "logs --timestamps -- web",
            ),
            (r#"{"id":1,"do":"mounts"}"#, "mounts --json --"),
            (
                r#"{"id":1,"do":"mounts","container":"a"}"#,
                "mounts --json -- a",
            ),
            (
                r#"{"id":1,"do":"stop","container":"we\u0062"}"#,
                "stop -- web",
            ),
            (
                r#"{"id":1,"do":"kill","container":"a","signal":"HUP"}"#,
                "kill -- a HUP",
            ),
            (
                r#"{"id":1,"do":"kill","container":"a","signal":9}"#,
                "kill -- a 9",
            ),
            (
                r#"{"id":1,"do":"exec","container":"a","args":["sh","-c","x y"],"tty":true,"env":["A=1","B=\""]}"#,
                r#"exec --tty --env=A=1 --env=B=" -- a sh -c x y"#,
            ),
            (r#"{"id":1,"do":"poweroff"}"#, "poweroff --"),
            (r#"{"id":1,"do":"freeze"}"#, "freeze --"),
            (
                r#"{"id":1,"do":"thaw","time":1793491200000000001,"entropy":"aGk="}"#,
                "thaw --time=1793491200000000001 --entropy=aGk= --",
            ),
        ] {
            let found = words(message).map(|words| words.join(" "));
            assert_eq!(found.as_deref(), Ok(expected), "{message}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_the_id() {
        for (message, id) in [
            ("", 0),
            ("[]", 0),
            ("{}", 0),
            (r#"{"id":-1,"do":"list"}"#, 0),
            (r#"{"id":"1","do":"list"}"#, 0),
            (r#"{"id":9007199254740992,"do":"list"}"#, 0),
            (r#"{"id":7}"#, 7),
            (r#"{"id":7,"do":7}"#, 7),
            (r#"{"id":7,"do":"pid1-start"}"#, 7),
            (r#"{"id":7,"do":"run"}"#, 7),
            (r#"{"id":7,"do":"cancel"}"#, 7),
            (
                r#"{"id":7,"do":"resize","for":1,"rows":70000,"columns":1}"#,
                7,
            ),
            (r#"{"id":7,"do":"input","for":1}"#, 7),
        ] {
            let (found, _) = Message::parse(message.as_bytes()).unwrap_err();
            assert_eq!(found, id, "{message}");
        }
        let long = format!(
            r#"{{"id":1,"do":"list","x":"{}"}}"#,
            "x".repeat(MESSAGE_MAX)
        );
        assert!(Message::parse(long.as_bytes()).is_err());
        for message in [
            r#"{"id":7,"do":"stop"}"#,
            r#"{"id":7,"do":"stop","container":7}"#,
            r#"{"id":7,"do":"logs","container":"a","follow":1}"#,
            r#"{"id":7,"do":"logs","container":"a","lines":true}"#,
            r#"{"id":7,"do":"exec","container":"a","args":"sh"}"#,
            r#"{"id":7,"do":"exec","container":"a","args":[1]}"#,
            r#"{"id":7,"do":"kill","container":"a","signal":[]}"#,
            r#"{"id":7,"do":"exec","container":"a","args":["1","2","3","4","5","6","7","8","9"]}"#,
        ] {
            assert!(words(message).is_err(), "{message}");
        }
    }

    #[test]
    fn what_goes_to_a_program_is_told_apart() {
        let what = |text: &'static str| Message::parse(text.as_bytes()).unwrap().what;
        let input = what(r#"{"id":2,"do":"input","for":1,"data":"aGk="}"#);
        assert!(matches!(input, What::Input(1, Some(data)) if data.is("aGk=")));
        let end = what(r#"{"id":2,"do":"input","for":1,"end":true}"#);
        assert!(matches!(end, What::Input(1, None)));
        let size = what(r#"{"id":2,"do":"resize","for":1,"rows":24,"columns":80}"#);
        assert!(matches!(size, What::Resize(1, [24, 80])));
        assert!(matches!(
            what(r#"{"id":2,"do":"cancel","for":1}"#),
            What::Cancel(1)
        ));
    }
}
