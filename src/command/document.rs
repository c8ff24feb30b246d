//! The configuration of one more process in a container: the container's own, with another `process`.
//!
//! It is written as text and read as any other `config.json`, so that whatever reads `process` there reads it here.

use core::fmt::{self, Write};

use crate::parse::json::{Node, Value};
use crate::text::{Escaped, Json};

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
    /// More groups: numbers.
    pub(super) groups: &'w [&'w str],
    /// More capabilities, with or without `CAP_` in front.
    pub(super) capabilities: &'w [&'w str],
    /// A profile of AppArmor.
    pub(super) apparmor: Option<&'w str>,
    /// A label of SELinux.
    pub(super) label: Option<&'w str>,
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

/// A process has the container's capabilities, profile and label where it says nothing of them, as with runc and crun.
fn write_whole(out: &mut dyn Write, config: Value<'_>, process: Value<'_>) -> fmt::Result {
    let mut separator = '{';
    let of_container = config.member("process");
    let mut kept = heapless::Vec::<&str, { 1 + MODULES.len() }>::new();
    for name in ["capabilities"].into_iter().chain(MODULES) {
        // Sets of capabilities that are empty say that there are none; a label that is empty says nothing.
        let is_said = process
            .member(name)
            .is_some_and(|value| name == "capabilities" || !value.is_empty());
        let Some(value) = of_container.and_then(|container| container.member(name)) else {
            continue;
        };
        if !is_said {
            write!(out, "{separator}\"{name}\":{}", value.as_written())?;
            separator = ',';
            // There are as many places as names.
            let _ = kept.push(name);
        }
    }
    if kept.is_empty() {
        return out.write_str(process.as_written());
    }
    others(out, process, &kept)?;
    out.write_str("}")
}

/// What the machine's security modules know a process by.
const MODULES: [&str; 2] = ["apparmorProfile", "selinuxLabel"];

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
        let mut changed = heapless::Vec::<&str, 12>::new();
        // There are as many places as names.
        let _ = changed.extend_from_slice(&["terminal", "consoleSize", "args", "env"]);
        if let Some(cwd) = self.cwd {
            let _ = changed.push("cwd");
            write!(out, ",\"cwd\":{}", Json(cwd))?;
        }
        if self.user.is_some() || !self.groups.is_empty() {
            let _ = changed.push("user");
            self.write_user(out, config)?;
        }
        if !self.capabilities.is_empty() {
            let _ = changed.push("capabilities");
            self.write_capabilities(out, config)?;
        }
        for (name, value) in MODULES.into_iter().zip([self.apparmor, self.label]) {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                let _ = changed.push(name);
                write!(out, ",\"{name}\":{}", Json(value))?;
            }
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

impl Changes<'_> {
    /// Another user has the groups that are named and none of the container's user.
    fn write_user(&self, out: &mut dyn Write, config: Value<'_>) -> fmt::Result {
        let (uid, gid) = self
            .user
            .map_or((None, None), |(uid, gid)| (Some(uid), gid));
        out.write_str(",\"user\":{")?;
        for (name, path, number) in [
            ("uid", "process.user.uid", uid),
            ("gid", "process.user.gid", gid),
        ] {
            match (number, config.at(path)) {
                (Some(number), _) => write!(out, "\"{name}\":{number},")?,
                (None, Some(number)) => write!(out, "\"{name}\":{},", number.as_written())?,
                (None, None) => write!(out, "\"{name}\":0,")?,
            }
        }
        let before = config.at("process.user.additionalGids");
        out.write_str("\"additionalGids\":")?;
        let mut separator = list_start(out, before.filter(|_| self.user.is_none()))?;
        for group in self.groups {
            write!(out, "{separator}{group}")?;
            separator = ",";
        }
        out.write_str(list_end(separator))?;
        out.write_str("}")
    }

    /// As runc has it: more in what it may have and has, none that others inherit from it.
    fn write_capabilities(&self, out: &mut dyn Write, config: Value<'_>) -> fmt::Result {
        const SETS: [&str; 3] = ["bounding", "effective", "permitted"];
        let before = config.at("process.capabilities");
        for (name, start) in SETS.into_iter().zip([",\"capabilities\":{", ",", ","]) {
            write!(out, "{start}\"{name}\":")?;
            let set = before.and_then(|before| before.member(name));
            let mut separator = list_start(out, set)?;
            for capability in self.capabilities {
                let is_whole = capability
                    .get(..4)
                    .is_some_and(|start| start.eq_ignore_ascii_case("CAP_"));
                let prefix = if is_whole { "" } else { "CAP_" };
                write!(out, "{separator}\"{prefix}")?;
                for c in capability.chars() {
                    write!(
                        out,
                        "{}",
                        Escaped(c.to_ascii_uppercase().encode_utf8(&mut [0; 4]))
                    )?;
                }
                out.write_str("\"")?;
                separator = ",";
            }
            out.write_str(list_end(separator))?;
        }
        if let Some(before) = before {
            others(out, before, &SETS)?;
        }
        out.write_str("}")
    }
}

/// Writes the items that there are; what comes before the next.
fn list_start(out: &mut dyn Write, items: Option<Value<'_>>) -> Result<&'static str, fmt::Error> {
    let mut separator = "[";
    if let Some(Node::Array(items)) = items.map(|items| items.node()) {
        for item in items {
            write!(out, "{separator}{}", item.as_written())?;
            separator = ",";
        }
    }
    Ok(separator)
}

/// What ends a list, by what would come before the next item.
fn list_end(separator: &str) -> &'static str {
    if separator == "[" { "[]" } else { "]" }
}

/// Writes the items that there are, and more.
fn list(out: &mut dyn Write, items: Option<Value<'_>>, more: &[&str]) -> fmt::Result {
    let mut separator = list_start(out, items)?;
    for item in more {
        write!(out, "{separator}{}", Json(item))?;
        separator = ",";
    }
    out.write_str(list_end(separator))
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
            groups: &[],
            capabilities: &[],
            apparmor: None,
            label: None,
            no_new_privileges: true,
            terminal: false,
            console_size: Some([24, 80]),
        };
        assert_eq!(
            written(&Wanted::Changed(changes)),
            r#"{"process":{"terminal":false,"args":["ls","\"x\""],"consoleSize":{"height":24,"width":80},"env":["A=\u0041","B=2"],"user":{"uid":7,"gid":6,"additionalGids":[]},"noNewPrivileges":true,"cwd":"/x","rlimits":[1]},"ociVersion":"1.0.2","root":{"path":"r"}}"#
        );
    }

    #[test]
    fn groups_and_capabilities_are_added_to_those_of_the_container() {
        const CONFIG: &str = r#"{"process":{"args":["sh"],"user":{"uid":5,"gid":6,"additionalGids":[8]},
            "capabilities":{"bounding":["CAP_KILL"],"ambient":["CAP_KILL"]}}}"#;
        let changes = Changes {
            args: &["ls"],
            env: &[],
            cwd: None,
            user: None,
            groups: &["9"],
            capabilities: &["sys_time", "CAP_\"", "cap_chown"],
            apparmor: Some("a\"b"),
            label: Some("l"),
            no_new_privileges: false,
            terminal: false,
            console_size: None,
        };
        let mut text = String::new();
        let config = check(CONFIG.as_bytes()).unwrap();
        write(&mut text, config, &Wanted::Changed(changes)).unwrap();
        check(text.as_bytes()).unwrap();
        const MORE: &str = r#""CAP_SYS_TIME","CAP_\"","CAP_CHOWN""#;
        let expected = [
            r#"{"process":{"terminal":false,"args":["ls"],"env":[],"user":{"uid":5,"gid":6,"additionalGids":[8,9]},"#,
            &format!(
                r#""capabilities":{{"bounding":["CAP_KILL",{MORE}],"effective":[{MORE}],"permitted":[{MORE}],"#
            ),
            r#""ambient":["CAP_KILL"]},"apparmorProfile":"a\"b","selinuxLabel":"l"}}"#,
        ];
        assert_eq!(text, expected.concat());
    }

    #[test]
    fn a_process_is_confined_as_the_container_is_unless_it_says_how() {
        let config =
            check(br#"{"process":{"apparmorProfile":"p","selinuxLabel":"l","cwd":"/"}}"#).unwrap();
        for (process, expected) in [
            (
                r#"{"args":["a"]}"#,
                r#"{"process":{"apparmorProfile":"p","selinuxLabel":"l","args":["a"]}}"#,
            ),
            (
                r#"{"apparmorProfile":"","selinuxLabel":null}"#,
                r#"{"process":{"apparmorProfile":"p","selinuxLabel":"l"}}"#,
            ),
            (
                r#"{"apparmorProfile":"q","cwd":"/x"}"#,
                r#"{"process":{"selinuxLabel":"l","apparmorProfile":"q","cwd":"/x"}}"#,
            ),
        ] {
            let mut text = String::new();
            let process = Wanted::Whole(check(process.as_bytes()).unwrap());
            write(&mut text, config, &process).unwrap();
            assert_eq!(text, expected);
        }
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
