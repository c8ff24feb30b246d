//! One document, written in many ways: members in another order, spaces, escapes that nobody needs.

use serde_json::Value;

use crate::choices::Choices;

/// Writes `value` in some way that means the same.
pub(crate) fn spell(value: &Value, choices: &mut Choices<'_>) -> String {
    match choices.below(4) {
        0 => value.to_string(),
        1 => format!("{value:#}\n"),
        _ => {
            let mut text = String::new();
            write(value, choices, &mut text);
            text
        }
    }
}

fn write(value: &Value, choices: &mut Choices<'_>, out: &mut String) {
    space(choices, out);
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            let first = choices.below(members.len().max(1));
            members.rotate_left(first);
            if choices.flag() {
                members.reverse();
            }
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                space(choices, out);
                string(name, choices, out);
                space(choices, out);
                out.push(':');
                write(value, choices, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, choices, out);
            }
            space(choices, out);
            out.push(']');
        }
        Value::String(text) => string(text, choices, out),
        other => out.push_str(&other.to_string()),
    }
    space(choices, out);
}

fn space(choices: &mut Choices<'_>, out: &mut String) {
    out.push_str(choices.of(&["", "", "", " ", "\n\t", "\r\n "]));
}

/// Escapes what has to be, and anything else by chance; above the first plane, as two halves.
fn string(text: &str, choices: &mut Choices<'_>, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        let short = match c {
            '"' => Some("\\\""),
            '\\' => Some("\\\\"),
            '/' => Some("\\/"),
            '\n' => Some("\\n"),
            '\r' => Some("\\r"),
            '\t' => Some("\\t"),
            '\x08' => Some("\\b"),
            '\x0c' => Some("\\f"),
            _ => None,
        };
        let has_to_be = c < ' ' || matches!(c, '"' | '\\');
        match (choices.below(8), short) {
            (0..6, _) if !has_to_be => out.push(c),
            (0..7, Some(short)) => out.push_str(short),
            (how, _) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&match how % 2 {
                        0 => format!("\\u{unit:04x}"),
                        _ => format!("\\u{unit:04X}"),
                    });
                }
            }
        }
    }
    out.push('"');
}
