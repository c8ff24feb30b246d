//! `linux.sysctl`: parameters of the kernel that belong to a namespace.
//!
//! Most of `/proc/sys` is the machine's, and a container that sets it sets it for everybody. What
//! each namespace has a copy of is in one table, from ipc_namespaces(7), uts_namespaces(7) and
//! network_namespaces(7); the rest is refused.

use super::error::{ConfigError, Field};
use super::namespaces::{Kind, Namespaces};
use super::reader::{Reader, Refused, Use};
use crate::parse::json::{Text, Value};

/// Bytes that a path below `/proc/sys` may have.
const MAX_PATH: usize = 200;
/// Bytes that a value may have.
const MAX_VALUE: usize = 1024;

/// A path below `/proc/sys`: `net/ipv4/ip_forward`.
pub(super) type Path = heapless::String<MAX_PATH>;
/// What is written there.
pub(super) type Setting = heapless::String<MAX_VALUE>;

/// A parameter, or all below a directory if it ends in `/`; whether the container has the namespace
/// that it is of; else why it is refused.
type Rule = (&'static str, fn(&Namespaces<'_>) -> bool, &'static str);

const NEEDS_IPC: &str = "needs a namespace of type ipc in linux.namespaces";
const NEEDS_NETWORK: &str = "needs a namespace of type network in linux.namespaces";
const NEEDS_UTS: &str = "needs a namespace of type uts in linux.namespaces";

const RULES: [Rule; 12] = [
    ("kernel/msgmax", |own| own.has(Kind::Ipc), NEEDS_IPC),
    ("kernel/msgmnb", |own| own.has(Kind::Ipc), NEEDS_IPC),
    ("kernel/msgmni", |own| own.has(Kind::Ipc), NEEDS_IPC),
    ("kernel/sem", |own| own.has(Kind::Ipc), NEEDS_IPC),
    ("kernel/shmall", |own| own.has(Kind::Ipc), NEEDS_IPC),
    ("kernel/shmmax", |own| own.has(Kind::Ipc), NEEDS_IPC),
    ("kernel/shmmni", |own| own.has(Kind::Ipc), NEEDS_IPC),
    (
        "kernel/shm_rmid_forced",
        |own| own.has(Kind::Ipc),
        NEEDS_IPC,
    ),
    ("fs/mqueue/", |own| own.has(Kind::Ipc), NEEDS_IPC),
    ("net/", |own| own.has(Kind::Network), NEEDS_NETWORK),
    ("kernel/domainname", |own| own.has(Kind::Uts), NEEDS_UTS),
    ("kernel/hostname", |_| false, "is the field hostname"),
];

#[inline(never)]
pub(super) fn check<'a>(
    reader: &Reader<'a>,
    key: Text<'a>,
    value: Value<'a>,
    namespaces: &Namespaces<'_>,
    domainname: Option<&str>,
) -> Result<(), Refused> {
    const FIELD: &str = "linux.sysctl";
    let field = Field::from(FIELD);
    let name = reader.store(key)?;
    let path = path(key).ok_or_else(|| reader.bad(field, name, "names with . or / in between"))?;
    let is_of = |rule: &&Rule| match rule.0.ends_with('/') {
        true => path.starts_with(rule.0),
        false => path == rule.0,
    };
    let refusal = match RULES.iter().find(is_of) {
        None => Some("is of the whole machine, not of a namespace"),
        Some((_, is_given, reason)) => (!is_given(namespaces)).then_some(*reason),
    };
    if let Some(reason) = refusal {
        return Err(reader.refuse(ConfigError::Refused {
            field,
            value: name,
            reason,
        }));
    }
    let value = reader.string(value, field, Use::Argument)?;
    if path == "kernel/domainname" && domainname.is_some_and(|domainname| domainname != value) {
        return Err(reader.bad(field, value, "for kernel.domainname what domainname is"));
    }
    match value.len() <= MAX_VALUE {
        true => Ok(()),
        false => Err(reader.bad(field, name, "at most 1024 bytes")),
    }
}

/// The path that a key stands for. Whether `.` or `/` separates is what comes first; the other one
/// is then a dot in a name, as in that of an interface (sysctl.d(5)). `None` if it is no path, or
/// leads elsewhere.
#[inline(never)]
pub(super) fn path(key: Text<'_>) -> Option<Path> {
    let first = key.chars().find(|c| matches!(c, '.' | '/'))?;
    let mut path = Path::new();
    for c in key.chars() {
        let c = match (first, c) {
            ('.', '.') => '/',
            ('.', '/') => '.',
            (_, c) => c,
        };
        path.push(c).ok()?;
    }
    let is_name = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    path.split('/').all(is_name).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_name_the_same_parameter() {
        for (key, expected) in [
            ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
            ("net/ipv4/ip_forward", Some("net/ipv4/ip_forward")),
            (
                "net.ipv4.conf.eth0/100.forwarding",
                Some("net/ipv4/conf/eth0.100/forwarding"),
            ),
            (
                "net/ipv4/conf/eth0.100/forwarding",
                Some("net/ipv4/conf/eth0.100/forwarding"),
            ),
            (r"net\u002eipv4.tcp_rmem", Some("net/ipv4/tcp_rmem")),
            ("net/../kernel/panic", None),
            ("net.//.kernel.panic", None),
            ("net..ipv4", None),
            ("/net/ipv4", None),
            ("net.", None),
            ("net", None),
            ("", None),
            (r"net.a\nb", None),
        ] {
            let document = format!("\"{key}\"");
            let value = crate::parse::json::check(document.as_bytes()).unwrap();
            let crate::parse::json::Node::String(text) = value.node() else {
                panic!("{key}")
            };
            assert_eq!(path(text).as_deref(), expected, "{key}");
        }
    }
}
