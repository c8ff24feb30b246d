//! The configuration of one more process in a container: the container's own, with another `process`.
//!
//! It is written as text and read as any other `config.json`, so that whatever reads `process` there reads it here.

use core::fmt::{self, Write};

use crate::parse::json::{Node, Value};
use crate::text::Json;

/// What is said of the process.
pub(super) enum Wanted<'w> {
    /// All of it, as an object.
    Whole(Value<'w>),
    /// What is different from that of the container.
    Changed(Changes<'w>),
}

/// What the command line says.
pub(super) struct Changes<'w> {
    pub(super) args: &'w [&'w str],
    pub(super) env: &'w [&'w str],
    pub(super) cwd: Option<&'w str>,
    /// User, and group if that is said.
    pub(super) user: Option<(u32, Option<u32>)>,
    pub(super) no_new_privileges: bool,
    pub(super) terminal: bool,
    /// Rows and columns.
    pub(super) console_size: Option<[u16; 2]>,
}

/// Text that is written into bytes.
pub(super) struct Writer<'b> {
    pub(super) bytes: &'b mut [u8],
    pub(super) len: usize,
}

impl Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Writes `config` with the process that is wanted.
pub(super) fn write(out: &mut dyn Write, config: Value<'_>, wanted: &Wanted<'_>) -> fmt::Result {
    out.write_str("{\"process\":")?;
    match wanted {
        Wanted::Whole(process) => write_whole(out, config, *process)?,
        Wanted::Changed(changes) => changes.write(out, config)?,
    }
    others(out, config, &["process"])?;
    out.write_str("}")
}

/// A process has the container's capabilities where it says nothing of them, as with runc and crun.
fn write_whole(out: &mut dyn Write, config: Value<'_>, process: Value<'_>) -> fmt::Result {
    match (
        process.member("capabilities"),
        config.at("process.capabilities"),
    ) {
        (None, Some(sets)) => {
            write!(out, "{{\"capabilities\":{}", sets.as_written())?;
            others(out, process, &["capabilities"])?;
            out.write_str("}")
        }
        _ => out.write_str(process.as_written()),
    }
}

/// Writes the members of an object but for those of these names; each with a comma in front.
fn others(out: &mut dyn Write, object: Value<'_>, names: &[&str]) -> fmt::Result {
    let Node::Object(mut members) = object.node() else {
        return Ok(());
    };
    members.try_for_each(|(key, value)| match names.iter().any(|name| key.is(name)) {
        true => Ok(()),
        false => write!(out, ",\"{key}\":{}", value.as_written()),
    })
}

impl Changes<'_> {
    fn write(&self, out: &mut dyn Write, config: Value<'_>) -> fmt::Result {
        write!(out, "{{\"terminal\":{},\"args\":", self.terminal)?;
        list(out, None, self.args)?;
        if let Some([rows, columns]) = self.console_size {
            write!(
                out,
                ",\"consoleSize\":{{\"height\":{rows},\"width\":{columns}}}"
            )?;
        }
        out.write_str(",\"env\":")?;
        list(out, config.at("process.env"), self.env)?;
        let mut changed = heapless::Vec::<&str, 8>::new();
        // There are as many places as names.
        let _ = changed.extend_from_slice(&["terminal", "consoleSize", "args", "env"]);
        if let Some(cwd) = self.cwd {
            let _ = changed.push("cwd");
            write!(out, ",\"cwd\":{}", Json(cwd))?;
        }
        if let Some((uid, gid)) = self.user {
            let _ = changed.push("user");
            write!(out, ",\"user\":{{\"uid\":{uid}")?;
            match (gid, config.at("process.user.gid")) {
                (Some(gid), _) => write!(out, ",\"gid\":{gid}")?,
                (None, Some(gid)) => write!(out, ",\"gid\":{}", gid.as_written())?,
                (None, None) => {}
            }
            out.write_str("}")?;
        }
        if self.no_new_privileges {
            let _ = changed.push("noNewPrivileges");
            out.write_str(",\"noNewPrivileges\":true")?;
        }
        if let Some(process) = config.member("process") {
            others(out, process, &changed)?;
        }
        out.write_str("}")
    }
}

/// Writes the items that there are, and more.
fn list(out: &mut dyn Write, items: Option<Value<'_>>, more: &[&str]) -> fmt::Result {
    let mut separator = "[";
    if let Some(Node::Array(items)) = items.map(|items| items.node()) {
        for item in items {
            write!(out, "{separator}{}", item.as_written())?;
            separator = ",";
        }
    }
    for item in more {
        write!(out, "{separator}{}", Json(item))?;
        separator = ",";
    }
    out.write_str(if separator == "[" { "[]" } else { "]" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::json::check;

    const CONFIG: &str = r#"{"ociVersion":"1.0.2","process":{"terminal":true,"consoleSize":{"height":1,"width":1},
        "args":["sh"],"env":["A=\u0041"],"cwd":"/x","user":{"uid":5,"gid":6},"rlimits":[1]},"root":{"path":"r"}}"#;

    fn written(wanted: &Wanted<'_>) -> String {
        let mut text = String::new();
        write(&mut text, check(CONFIG.as_bytes()).unwrap(), wanted).unwrap();
        check(text.as_bytes()).unwrap();
        text
    }

    #[test]
    fn what_the_command_line_does_not_say_is_the_containers() {
        let changes = Changes {
            args: &["ls", "\"x\""],
            env: &["B=2"],
            cwd: None,
            user: Some((7, None)),
            no_new_privileges: true,
            terminal: false,
            console_size: Some([24, 80]),
        };
        assert_eq!(
            written(&Wanted::Changed(changes)),
            r#"{"process":{"terminal":false,"args":["ls","\"x\""],"consoleSize":{"height":24,"width":80},"env":["A=\u0041","B=2"],"user":{"uid":7,"gid":6},"noNewPrivileges":true,"cwd":"/x","rlimits":[1]},"ociVersion":"1.0.2","root":{"path":"r"}}"#
        );
    }

    #[test]
    fn a_whole_process_takes_the_place_of_the_containers() {
        let process = check(br#" {"args": ["a"], "cwd": "/"} "#).unwrap();
        assert_eq!(
            written(&Wanted::Whole(process)),
            r#"{"process":{"args": ["a"], "cwd": "/"},"ociVersion":"1.0.2","root":{"path":"r"}}"#
        );
    }

    #[test]
    fn a_whole_process_without_capabilities_has_the_containers() {
        let config = check(br#"{"process":{"capabilities":{"bounding":[]},"cwd":"/"}}"#).unwrap();
        for (process, expected) in [
            (
                r#"{"args":["a"]}"#,
                r#"{"process":{"capabilities":{"bounding":[]},"args":["a"]}}"#,
            ),
            (
                r#"{"capabilities":null}"#,
                r#"{"process":{"capabilities":{"bounding":[]}}}"#,
            ),
            (
                r#"{"capabilities":{}}"#,
                r#"{"process":{"capabilities":{}}}"#,
            ),
        ] {
            let mut text = String::new();
            let process = Wanted::Whole(check(process.as_bytes()).unwrap());
            write(&mut text, config, &process).unwrap();
            assert_eq!(text, expected);
        }
    }
}
