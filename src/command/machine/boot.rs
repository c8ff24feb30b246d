//! `boot`: how long each stage of the boot took.

use core::fmt::Write as _;

use rustix::fs::CWD;

use super::super::output::Output;
use super::super::{Call, OrReport, Reported, Subcommand};
use super::JSON;
use crate::error::{Code, During, Op};
use crate::events::DIRECTORY;
use crate::parse::json::{self, Node};
use crate::sys::fs;
use crate::sys::path::path;

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "boot",
    operands: "",
    count: (0, 0),
    raw_from: usize::MAX,
    options: &[&JSON],
    about: "print how long each stage of the boot took",
    run: boot,
};

/// The longest bar, in characters.
const BAR: u64 = 40;

fn boot(call: &Call<'_>) -> Result<u8, Reported> {
    let mut room = [0; 512];
    let file = path(format_args!("{DIRECTORY}/boot.json")).during(Op::Open, DIRECTORY);
    let text = file.and_then(|file| fs::read_file(CWD, &file, &mut room));
    let text = text.or_report(call, Code::Control)?;
    let mut output = Output::new();
    if call.given.has(&JSON) {
        output.bytes(text.trim_ascii_end());
        return output.finish(call).map(|()| 0);
    }
    // It is PID 1's own.
    let Ok(Node::Object(members)) = json::check(text).map(|value| value.node()) else {
        return Ok(0);
    };
    let number = |node: Node<'_>| match node {
        Node::Number(digits) => digits.parse::<u64>().unwrap_or(0),
        _ => 0,
    };
    let longest = members.clone().filter(|(name, _)| !name.is("total"));
    let longest = longest.map(|(_, value)| number(value.node())).max();
    for (name, value) in members {
        let us = number(value.node());
        let (ms, tenth) = (us / 1000, us % 1000 / 100);
        // Failures of the output are told by `finish`.
        let _ = write!(output, "{:11}{ms:>7}.{tenth} ms  ", name.written());
        if !name.is("total") {
            let length = us * BAR / longest.unwrap_or(1).max(1);
            let _ = (0..length.max(1)).try_for_each(|_| output.write_str("#"));
        }
        let _ = output.write_str("\n");
    }
    output.finish(call).map(|()| 0)
}
