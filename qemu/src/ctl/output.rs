//! What a machine says, on the host's terminal. A machine may be anybody's: nothing that it says
//! does more to the terminal than to be seen, unless a program has that terminal.

use std::fmt::Write as _;
use std::io::{self, Write};

use anyhow::{Context, Result};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::control::bytes_of;

/// Characters beside control characters that are not to be seen, or turn others around.
const UNSEEN: [(char, char); 8] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// How the parts of an answer are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they come.
    Json,
    /// Lines of text.
    Lines,
    /// The bytes of a program.
    Bytes,
}

/// Writes a part of an answer.
///
/// # Errors
/// Nobody reads any more, or it is not what was asked for.
pub(super) fn write(form: Form, more: &RawValue) -> Result<()> {
    let mut stdout = io::stdout().lock();
    if form == Form::Json {
        writeln!(stdout, "{}", json(more.get()))?;
        return Ok(stdout.flush()?);
    }
    let more: Value = serde_json::from_str(more.get())?;
    if form == Form::Lines {
        let text = more["text"]
            .as_str()
            .context("the machine sends no lines")?;
        writeln!(stdout, "{}", shown(text))?;
        return Ok(stdout.flush()?);
    }
    stdout.write_all(&bytes_of(&more, "stdout")?)?;
    stdout.flush()?;
    io::stderr().write_all(&bytes_of(&more, "stderr")?)?;
    Ok(())
}

/// Says on standard error what is wrong, and what to do.
pub(super) fn complain(text: &str, hint: &str) {
    let mut lines = format!("berth-qemu: {}\n", shown(text));
    for line in hint.lines() {
        let _ = writeln!(lines, "  {}", shown(line));
    }
    // Nobody may read it, and then nobody misses it.
    let _ = io::stderr().write_all(lines.as_bytes());
}

fn is_harmless(c: char) -> bool {
    c == '\t'
        || !(c.is_control()
            || UNSEEN
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&c)))
}

/// The text with what is not harmless as `\u{NN}`.
fn shown(text: &str) -> String {
    text.chars().fold(String::new(), |mut shown, c| {
        match is_harmless(c) {
            true => shown.push(c),
            false => shown.extend(c.escape_unicode()),
        }
        shown
    })
}

/// The same JSON with what is not harmless as JSON itself escapes it. Between the strings, where it
/// could not be escaped, JSON has no such characters but ends of lines, and these are spaces as
/// well.
fn json(text: &str) -> String {
    text.chars().fold(String::new(), |mut json, c| {
        match c {
            '\n' | '\r' => json.push(' '),
            _ if is_harmless(c) => json.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(json, "\\u{unit:04x}");
                }
            }
        }
        json
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_but_what_is_seen() {
        assert_eq!(shown("a\tb \u{e4}\u{1f6a2}"), "a\tb \u{e4}\u{1f6a2}");
        assert_eq!(
            shown("\x1b[2J\r\u{9b}\u{202e}\u{e0041}"),
            "\\u{1b}[2J\\u{d}\\u{9b}\\u{202e}\\u{e0041}"
        );
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let text = "{\"a\":\r\n\t\"\u{7f}\u{9b}\u{202e}\u{e0041}\u{e4}\"}";
        let written = json(text);
        assert_eq!(
            written,
            "{\"a\":  \t\"\\u007f\\u009b\\u202e\\udb40\\udc41\u{e4}\"}"
        );
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(value(&written), value(text));
    }
}
