//! `linux.resources`: the controllers that they need, and the limits themselves.

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use super::{Group, SUBTREE};
use crate::error::{During, Fault, Op};
use crate::parse::config::resources::{LINE_MAX, Missing, Resources, Setting};
use crate::sys::fs;

/// Names of controllers as `cgroup.subtree_control` takes them: `+cpu +io`.
pub(super) type Controllers = heapless::String<CONTROLLERS_MAX>;

/// Room for the names of controllers: Linux 7 has 9 of them, 60 bytes.
const CONTROLLERS_MAX: usize = 128;

const AVAILABLE: &str = "cgroup.controllers";

/// The controllers that `resources` need, all of which `root` has.
pub(super) fn controllers(
    root: BorrowedFd<'_>,
    resources: &Resources<'_>,
) -> Result<Controllers, Fault> {
    let mut needed = Controllers::new();
    each(resources, &mut |setting| {
        let name = setting.controller().unwrap_or_default();
        let is_known = needed
            .split(' ')
            .any(|word| word.strip_prefix('+') == Some(name));
        if name.is_empty() || is_known {
            return Ok(());
        }
        let parts = ["+", name, " "];
        let added = parts.iter().try_for_each(|part| needed.push_str(part));
        added
            .map_err(|_| Errno::NAMETOOLONG)
            .during(Op::Configure, setting.field)
    })?;
    if needed.is_empty() {
        return Ok(needed);
    }
    let mut buffer = [0; CONTROLLERS_MAX];
    let available = fs::read_file(root, AVAILABLE, &mut buffer)?;
    each(resources, &mut |setting| match setting.controller() {
        Some(name) if !has(available, name) => Err(Errno::OPNOTSUPP).during(
            Op::Configure,
            format_args!("{}, which needs the controller {name}", setting.field),
        ),
        _ => Ok(()),
    })?;
    Ok(needed)
}

/// Enables the controllers `needed` for `below`, a group in `parent`.
pub(super) fn enable(
    parent: BorrowedFd<'_>,
    below: BorrowedFd<'_>,
    needed: &Controllers,
) -> Result<(), Fault> {
    if needed.is_empty() {
        return Ok(());
    }
    let mut buffer = [0; CONTROLLERS_MAX];
    let available = fs::read_file(below, AVAILABLE, &mut buffer)?;
    let mut names = needed.split(' ').filter_map(|word| word.strip_prefix('+'));
    // Where others have enabled them, this process may not be allowed to.
    if names.all(|name| has(available, name)) {
        return Ok(());
    }
    let written = fs::write_file(parent, SUBTREE, needed.as_bytes());
    written.map_err(|fault| fault.errno).during(
        Op::Write,
        format_args!("{SUBTREE} the controllers {}", needed.trim_end()),
    )
}

/// Enables all controllers of `group` for the groups below it, as far as that is possible.
pub(super) fn enable_all(group: BorrowedFd<'_>) {
    let mut buffer = [0; CONTROLLERS_MAX];
    let available = fs::read_file(group, AVAILABLE, &mut buffer).unwrap_or_default();
    let available = core::str::from_utf8(available).unwrap_or_default();
    for name in available.split_ascii_whitespace() {
        if let Ok(word) = crate::sys::path::path(format_args!("+{name}")) {
            let _ = fs::write_file(group, SUBTREE, word.as_bytes());
        }
    }
}

fn has(available: &[u8], name: &str) -> bool {
    let mut words = available.split(|byte| byte.is_ascii_whitespace());
    words.any(|word| word == name.as_bytes())
}

/// Calls `act` with each setting until one fails.
fn each(
    resources: &Resources<'_>,
    act: &mut dyn FnMut(&Setting<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut result = Ok(());
    let checked = resources.each_setting(&mut |setting| {
        if result.is_ok() {
            result = act(setting);
        }
    });
    // It was checked when it was read.
    checked
        .map_err(|_| Errno::INVAL)
        .during(Op::Parse, "linux.resources")?;
    result
}

impl Group {
    /// Puts the limits of `resources` in force. What they do not mention stays as it is.
    ///
    /// # Errors
    /// Those of openat(2) and write(2), with the file, the value and the field; `EBUSY` for a limit
    /// of memory that is to be checked first, when more is in use.
    #[inline(never)]
    pub fn apply(&self, resources: &Resources<'_>) -> Result<(), Fault> {
        if let Some(limit) = resources.limit_to_check() {
            self.check_memory(limit)?;
        }
        each(resources, &mut |setting| self.put(setting))
    }

    fn put(&self, setting: &Setting<'_>) -> Result<(), Fault> {
        let Setting {
            field,
            file,
            line,
            missing,
        } = *setting;
        let mut written = self.write(file, line);
        if written == Err(Errno::NOENT) {
            written = match missing {
                Missing::Refuse => written,
                Missing::Fine => Ok(()),
                Missing::Instead(file, line) => self.write(file, line),
            };
        }
        written.during(
            Op::Write,
            format_args!("{file} the value \"{line}\" of {field}"),
        )
    }

    fn write(&self, file: &str, line: &str) -> Result<(), Errno> {
        let mut whole = heapless::String::<LINE_MAX>::new();
        if line.starts_with(' ') {
            let mut buffer = [0; 64];
            let found = fs::read_file(self, file, &mut buffer).map_err(|fault| fault.errno)?;
            let first = found.split(|byte| *byte == b' ').next().unwrap_or_default();
            let first = core::str::from_utf8(first).unwrap_or_default();
            let pushed = [first, line]
                .iter()
                .try_for_each(|part| whole.push_str(part));
            pushed.map_err(|_| Errno::NAMETOOLONG)?;
        }
        let line = if whole.is_empty() { line } else { &whole };
        fs::write_file(self, file, line.as_bytes()).map_err(|fault| fault.errno)
    }

    /// Refuses a limit below what is in use: the kernel would take it, and kill processes.
    fn check_memory(&self, limit: u64) -> Result<(), Fault> {
        let mut buffer = [0; 32];
        let used = fs::read_file(self, "memory.current", &mut buffer)?;
        let used = core::str::from_utf8(used.trim_ascii()).ok();
        let used = used.and_then(|used| used.parse().ok()).unwrap_or(0);
        match limit < used {
            true => Err(Errno::BUSY).during(
                Op::Write,
                format_args!("memory.max the value \"{limit}\": {used} bytes are in use"),
            ),
            false => Ok(()),
        }
    }
}
