//! `features`: what this runtime can do, for engines (runtime-spec, features.md). It is printed
//! from the tables that configurations are read by.

use core::fmt::Write as _;

use super::output::Output;
use super::{Call, Reported, Subcommand};
use crate::parse::config::capabilities::{self, NAMES};
use crate::parse::config::memory_policy;
use crate::parse::config::seccomp::{ACTIONS, FLAGS, OPERATORS, Words};
use crate::parse::config::table::is_acted_on;
use crate::parse::config::{HookKind, Kind, SPECIFICATION};
use crate::parse::mount_options::{self, Meaning, WORDS};
use crate::parse::seccomp::ARCHITECTURE_NAME;
use crate::sys::path::path;
use crate::sys::seccomp::has_flag;

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "features",
    operands: "",
    count: (0, 0),
    raw_from: usize::MAX,
    options: &[],
    about: "print the features of this runtime",
    run,
};

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    let mut output = Output::new();
    // Failures of the output are told by `finish`.
    let _ = write!(
        output,
        "{{\"ociVersionMin\":\"1.0.0\",\"ociVersionMax\":\"{SPECIFICATION}\""
    );
    let hooks = &mut HookKind::ALL.iter().map(|kind| kind.name());
    list(&mut output, "hooks", "", hooks);
    let _ = output.write_str(",\"mountOptions\":");
    mount_options(&mut output);
    let _ = output.write_str(concat!(
        ",\"annotations\":{\"berth.version\":\"",
        env!("CARGO_PKG_VERSION"),
        "\"},\"potentiallyUnsafeConfigAnnotations\":[\"berth.\",\"org.systemd.property.\"]",
        ",\"linux\":{\"cgroup\":{\"v1\":false,\"v2\":true,\"systemd\":true,\"systemdUser\":true,\"rdma\":true}",
        ",\"mountExtensions\":{\"idmap\":{\"enabled\":true}}",
    ));
    for (name, field, more) in OF_FIELDS {
        let is_enabled = is_acted_on(field);
        let _ = write!(output, ",\"{name}\":{{\"enabled\":{is_enabled}{more}}}");
    }
    let _ = output.write_str(",\"memoryPolicy\":{");
    let [of_modes, of_flags] = memory_policy::PREFIXES;
    let modes = &mut memory_policy::MODES.into_iter();
    items(&mut output, "modes", of_modes, modes);
    let flags = &mut memory_policy::FLAGS.into_iter();
    list(&mut output, "flags", of_flags, flags);
    let _ = output.write_str("}");
    let namespaces = &mut Kind::ALL.iter().map(|kind| kind.name());
    list(&mut output, "namespaces", "", namespaces);
    let names = &mut NAMES.iter().copied();
    list(&mut output, "capabilities", capabilities::PREFIX, names);
    let _ = output.write_str(",\"seccomp\":{\"enabled\":true");
    for (name, words) in SECCOMP {
        let words = match (name, words.0) {
            // Every kernel that can start a container has the others.
            (SUPPORTED, [others @ .., (_, flag)]) if !has_flag(*flag) => others,
            (_, words) => words,
        };
        list(
            &mut output,
            name,
            "",
            &mut words.iter().map(|(word, _)| *word),
        );
    }
    let archs = &mut [ARCHITECTURE_NAME].into_iter();
    list(&mut output, "archs", "", archs);
    let _ = output.write_str("}}}\n");
    output.finish(call).map(|()| 0)
}

/// What is enabled because a field is acted on: its name here, the field, and what else is said of
/// it.
const OF_FIELDS: [(&str, &str, &str); 4] = [
    ("apparmor", "process.apparmorProfile", ""),
    ("selinux", "process.selinuxLabel", ""),
    (
        "intelRdt",
        "linux.intelRdt",
        ",\"schemata\":true,\"monitoring\":true",
    ),
    ("netDevices", "linux.netDevices", ""),
];

const SECCOMP: [(&str, Words); 4] = [
    ("actions", ACTIONS),
    ("operators", OPERATORS),
    ("knownFlags", FLAGS),
    (SUPPORTED, FLAGS),
];

/// Of the flags, those that this kernel has.
const SUPPORTED: &str = "supportedFlags";

/// All words of mounts that this runtime acts on, and those that mean all mounts below.
fn mount_options(output: &mut Output) {
    let mut separator = '[';
    for (word, meaning) in WORDS {
        if matches!(meaning, Meaning::UserSpace) {
            continue;
        }
        let _ = write!(output, "{separator}\"{word}\"");
        separator = ',';
        // `rbind` is a row of its own.
        let of_all_below = path(format_args!("r{word}"));
        if let Ok(below) = of_all_below
            && *word != "bind"
            && mount_options::meaning(&below).is_some()
        {
            let _ = write!(output, ",\"{below}\"");
        }
    }
    let _ = output.write_str("]");
}

/// One more member, a list of words with `prefix` before each. None of ours needs an escape.
#[inline(never)]
fn list(output: &mut Output, name: &str, prefix: &str, words: &mut dyn Iterator<Item = &str>) {
    let _ = output.write_str(",");
    items(output, name, prefix, words);
}

/// The same, as the first member.
fn items(output: &mut Output, name: &str, prefix: &str, words: &mut dyn Iterator<Item = &str>) {
    let _ = write!(output, "\"{name}\":");
    let mut separator = '[';
    for word in words {
        let _ = write!(output, "{separator}\"{prefix}{word}\"");
        separator = ',';
    }
    let _ = output.write_str("]");
}
