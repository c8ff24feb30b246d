//! `features`: what this runtime can do, for engines (runtime-spec, features.md). It is printed from the tables that
//! configurations are read by.

use core::fmt::Write as _;

use super::output::Output;
use super::{Call, Subcommand, Told};
use crate::parse::config::{HookKind, Kind, SPECIFICATION};
use crate::parse::mount_options::{self, Meaning, WORDS};
use crate::sys::path::path;

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "features",
    operands: "",
    count: (0, 0),
    raw_from: usize::MAX,
    options: &[],
    about: "print what this runtime can do, as the specification has it",
    run,
};

fn run(call: &Call<'_>) -> Result<u8, Told> {
    let mut output = Output::new();
    // Failures of the output are told by `finish`.
    let _ = write!(
        output,
        "{{\"ociVersionMin\":\"1.0.0\",\"ociVersionMax\":\"{SPECIFICATION}\",\"hooks\":"
    );
    list(
        &mut output,
        &mut HookKind::ALL.iter().map(|kind| kind.name()),
    );
    let _ = output.write_str(",\"mountOptions\":");
    mount_options(&mut output);
    let _ = output.write_str(",\"linux\":{\"namespaces\":");
    list(&mut output, &mut Kind::ALL.iter().map(|kind| kind.name()));
    let _ = output.write_str(concat!(
        ",\"cgroup\":{\"v1\":false,\"v2\":true,\"systemd\":false,\"systemdUser\":false}",
        ",\"apparmor\":{\"enabled\":false},\"selinux\":{\"enabled\":false}",
        ",\"intelRdt\":{\"enabled\":false}}}\n"
    ));
    output.finish(call).map(|()| 0)
}

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

/// A list of words. None of ours needs an escape.
fn list(output: &mut Output, words: &mut dyn Iterator<Item = &str>) {
    let mut separator = '[';
    for word in words {
        let _ = write!(output, "{separator}\"{word}\"");
        separator = ',';
    }
    let _ = output.write_str("]");
}
