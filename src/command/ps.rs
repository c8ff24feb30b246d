//! `ps`: which processes a container has, by the numbers that they have here.
//!
//! With options for ps(1) behind the container, the host's `ps` is asked with them, and of what it
//! prints are shown the first line and those of the container's processes.

use core::convert::Infallible;
use core::fmt::Write as _;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::dup2_stdout;

use super::list::{self, FORMAT};
use super::output::Output;
use super::state::Directory;
use super::{Call, OrReport, Reported, Subcommand, group};
use crate::error::{Code, During, Fault, Op};
use crate::parse::arguments::MAX_OPERANDS;
use crate::sys::buffer::Buffer;
use crate::sys::path::path;
use crate::sys::process::{self, Forked, Status};
use crate::sys::strings::Strings;

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "ps",
    operands: "ID [OPTION OF ps(1)]…",
    count: (1, usize::MAX),
    raw_from: 0,
    options: &[&FORMAT],
    about: "print the processes of a container, with the PIDs that the caller sees",
    run,
};

/// Processes that there may be on a machine (PID_MAX_LIMIT of include/linux/threads.h).
const PIDS: usize = 4 << 20;

/// A bit for each process.
type Set = Buffer<{ PIDS / 8 }>;

/// Bytes that the host's `ps` may print.
const PRINTED: usize = 16 << 20;

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    let (id, is_json) = (call.id()?, list::is_json(call)?);
    let record = Directory::open(call, id)?.record(call)?;
    let group = group::of(call, &record, id)?;
    let options = call.given.operands.get(1..).unwrap_or_default();
    let mut output = Output::new();
    if !is_json && !options.is_empty() {
        let mut set = Set::new();
        let bits = set.bytes_mut().during(Op::List, id);
        let bits = bits.or_report(call, Code::Control)?;
        let visited = group.each_process(&mut |pid| {
            if let Some(byte) = bits.get_mut(pid as usize / 8) {
                *byte |= 1 << (pid % 8);
            }
        });
        visited.or_report(call, Code::Control)?;
        let mut printed = Buffer::new();
        let text = ask_host(call, options, &mut printed)?;
        if !show(&mut output, text, bits) {
            let detail = "it has no column PID: add it to the options";
            return Err(call.found(Code::Control, Op::Parse, &"what ps prints", &detail));
        }
        return output.finish(call).map(|()| 0);
    }
    let mut is_first = true;
    let _ = output.write_str(if is_json { "[" } else { "PID\n" });
    let visited = group.each_process(&mut |pid| {
        let _ = match (is_json, core::mem::take(&mut is_first)) {
            (true, true) => write!(output, "{pid}"),
            (true, false) => write!(output, ",{pid}"),
            (false, _) => writeln!(output, "{pid}"),
        };
    });
    visited.or_report(call, Code::Control)?;
    let _ = output.write_str(if is_json { "]\n" } else { "" });
    output.finish(call).map(|()| 0)
}

/// What the host's `ps` prints with these options.
fn ask_host<'b>(
    call: &Call<'_>,
    options: &[&str],
    printed: &'b mut Buffer<PRINTED>,
) -> Result<&'b [u8], Reported> {
    let ask = || -> Result<(OwnedFd, rustix::process::Pid), Errno> {
        let (from, to) = pipe_with(PipeFlags::CLOEXEC)?;
        match process::fork(0, None)? {
            Forked::Child => {
                let Err(errno) = execute(call, options, to);
                process::exit(if errno == Errno::NOENT { 127 } else { 126 })
            }
            Forked::Parent(pid) => Ok((from, pid)),
        }
    };
    let (from, pid) = ask()
        .during(Op::Clone, "ps")
        .or_report(call, Code::Control)?;
    let text = printed.fill_from(&from).during(Op::Read, "ps");
    let text = text.or_report(call, Code::Control)?;
    // What does not fit is not read, and a writer without a reader ends.
    drop(from);
    let ended = process::wait_no_longer_than(pid, None).during(Op::Wait, "ps");
    match ended.or_report(call, Code::Control)? {
        Status::Exited(0) => Ok(text),
        Status::Exited(127) => {
            let fault: Result<_, Fault> = Err(Errno::NOENT).during(Op::Exec, "ps in PATH");
            fault.or_report(call, Code::Control)
        }
        status => Err(call.found(Code::Control, Op::Exec, &"ps", &format_args!("it {status}"))),
    }
}

fn execute(call: &Call<'_>, options: &[&str], output: OwnedFd) -> Result<Infallible, Errno> {
    dup2_stdout(output)?;
    let mut arguments = Strings::<{ 64 * 1024 }, { MAX_OPERANDS + 1 }>::new();
    arguments.push(format_args!("ps"))?;
    for option in options {
        arguments.push(format_args!("{option}"))?;
    }
    let search = call.environment.value("PATH");
    let search = search.unwrap_or("/usr/local/bin:/usr/bin:/bin");
    let mut errno = Errno::NOENT;
    for directory in search.split(':').filter(|directory| !directory.is_empty()) {
        let program = path(format_args!("{directory}/ps"))?;
        errno = arguments.with_list(|list| process::execute(&program, list, call.environment));
        if errno != Errno::NOENT {
            break;
        }
    }
    Err(errno)
}

/// Prints the first line of `text`, and those whose PID is in the set; `false` if there is no such
/// column.
fn show(output: &mut dyn core::fmt::Write, text: &[u8], bits: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n');
    let title = lines.next().unwrap_or_default();
    let fields = |line: &'_ [u8], number: usize| -> Option<u32> {
        let mut fields = line.split(|byte| byte.is_ascii_whitespace());
        let field = fields
            .by_ref()
            .filter(|field| !field.is_empty())
            .nth(number)?;
        core::str::from_utf8(field).ok()?.parse().ok()
    };
    let mut titles = title.split(|byte| byte.is_ascii_whitespace());
    let column = titles
        .by_ref()
        .filter(|title| !title.is_empty())
        .position(|title| title == b"PID");
    let Some(column) = column else { return false };
    let is_of_it = |line: &&[u8]| {
        fields(line, column).is_some_and(|pid| {
            let byte = bits.get(pid as usize / 8).copied().unwrap_or(0);
            byte & (1 << (pid % 8)) != 0
        })
    };
    for line in [title].into_iter().chain(lines.filter(is_of_it)) {
        for chunk in line.utf8_chunks() {
            let _ = output.write_str(chunk.valid());
            for byte in chunk.invalid() {
                let _ = write!(output, "\\x{byte:02x}");
            }
        }
        let _ = output.write_str("\n");
    }
    true
}

#[cfg(test)]
mod tests {
    use super::show;

    #[test]
    fn lines_of_other_processes_are_left_out() {
        let mut bits = [0; 8];
        bits[1] = 1 << 4;
        let mut shown = String::new();
        let text = b"USER   PID COMMAND\nroot     1 init\nnobody  12 a 1 \xff\nroot   120 b 12\n";
        assert!(show(&mut shown, text, &bits));
        assert_eq!(shown, "USER   PID COMMAND\nnobody  12 a 1 \\xff\n");
        assert!(!show(&mut shown, b"COMMAND\ninit\n", &bits));
        assert!(!show(&mut shown, b"", &bits));
    }
}
