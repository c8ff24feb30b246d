//! Fields that the specification has and berth does not act on yet.
//!
//! A field that says nothing (`null`, an empty list, `false`, user 0) asks for what happens anyway
//! and is accepted in either table. One is different: `process.capabilities` with empty sets takes
//! every capability away.

use heapless::Vec;

use super::error::ConfigError;
use crate::parse::json::Value;

/// Without these the container would be less confined than its author believes, or run as another
/// user: refused.
const REFUSED: [&str; 10] = [
    "linux.mountLabel",
    "linux.resources",
    "linux.seccomp",
    "process.apparmorProfile",
    "process.capabilities",
    "process.noNewPrivileges",
    "process.selinuxLabel",
    "process.user",
    "vm",
    "windows",
];

/// The one whose emptiness says something.
const NEVER_EMPTY: &str = "process.capabilities";

/// The container works without these: named in a warning.
const WARNED: [&str; 14] = [
    "domainname",
    "linux.cgroupsPath",
    "linux.intelRdt",
    "linux.memoryPolicy",
    "linux.netDevices",
    "linux.personality",
    "process.execCPUAffinity",
    "process.ioPriority",
    "process.oomScoreAdj",
    "process.rlimits",
    "process.scheduler",
    "solaris",
    "freebsd",
    "zos",
];

/// Paths of the fields that are warned of.
pub type Warnings = Vec<&'static str, { WARNED.len() }>;

pub(super) fn check(config: Value<'_>) -> Result<Warnings, ConfigError<'_>> {
    for path in REFUSED {
        if let Some(value) = config.at(path)
            && (path == NEVER_EMPTY || !value.is_empty())
        {
            return Err(ConfigError::Unsupported(path.into()));
        }
    }
    Ok(WARNED
        .into_iter()
        .filter(|path| config.at(path).is_some_and(|value| !value.is_empty()))
        .collect())
}
