//! `events`: what a container uses, once or again and again, and that it ran out of memory. As
//! JSON, an object a line, by the names that runc has for it; from the files of its control group
//! (cgroup-v2.rst).

use core::fmt::{self, Write};
use core::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::output::Output;
use super::state::Directory;
use super::{Call, OrReport, Reported, Subcommand, group, machine};
use crate::container::{Group, Status};
use crate::error::{Code, During, Fault, Op};
use crate::parse::arguments::Opt;
use crate::sys::clock;
use crate::sys::fs;
use crate::text::{Json, Quoted};

const STATS: Opt = Opt {
    long: "stats",
    short: None,
    value: None,
    about: "print what the container uses once, and exit",
};
const INTERVAL: Opt = Opt {
    long: "interval",
    short: None,
    value: Some("TIME"),
    about: "the time between two prints, such as 500ms or 1m; default: 5s",
};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "events",
    operands: "[ID]",
    count: (0, 1),
    raw_from: usize::MAX,
    options: &[&STATS, &INTERVAL, &machine::FOLLOW],
    about: "print what a container uses, and when it runs out of memory; or what happened in the machine",
    run,
};

/// What runc takes for no limit.
const NO_LIMIT: u64 = u64::MAX;

/// What version 1 of control groups has besides, as runc prints it on a machine of version 2.
const ONLY_VERSION_1: &str = "\"cpuset\":{\"cpu_exclusive\":0,\"mem_hardwall\":0,\"mem_exclusive\":0,\"memory_migrate\":0,\
    \"memory_spread_page\":0,\"memory_spread_slab\":0,\"memory_pressure\":0,\"sched_load_balance\":0,\
    \"sched_relax_domain_level\":0}";

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    if call.given.operands.is_empty() {
        return machine::print_events(call);
    }
    let id = call.id()?;
    let interval = call.given.value(&INTERVAL).unwrap_or("5s");
    let interval = duration(interval).ok_or_else(|| {
        call.usage(format_args!(
            "--interval is a time above 0, as 500ms or 5s, not {}",
            Quoted(interval)
        ))
    })?;
    let directory = Directory::open(call, id)?;
    let record = directory.record(call)?;
    let status = directory.status(&record).or_report(call, Code::State)?;
    if status == Status::Stopped {
        return Err(call.wrong_status(Op::Read, id, status, ""));
    }
    let group = group::of(call, &record, id)?;
    if call.given.has(&STATS) {
        return print_stats(call, &group, id).map(|()| 0);
    }
    follow(call, &group, id, interval)
}

/// Prints until nothing of the container is left.
fn follow(call: &Call<'_>, group: &Group, id: &str, interval: Duration) -> Result<u8, Reported> {
    let watch = |name| fs::open_file(group, name).or_report(call, Code::Control);
    let (memory, processes) = (watch("memory.events"), watch("cgroup.events")?);
    // Without the controller there is nothing to run out of.
    let memory = memory.unwrap_or(
        rustix::io::fcntl_dupfd_cloexec(&processes, 3)
            .during(Op::Open, "cgroup.events")
            .or_report(call, Code::Control)?,
    );
    let mut killed = count_of(&memory, b"oom_kill");
    let mut next = clock::now() + interval;
    loop {
        let mut watched = [&memory, &processes].map(|file| PollFd::new(file, PollFlags::PRI));
        let timeout = next.from_now();
        let is_time = match poll(&mut watched, Some(&timeout)) {
            Ok(count) => count == 0,
            Err(Errno::INTR) => false,
            Err(errno) => {
                return Err(errno)
                    .during(Op::Wait, id)
                    .or_report(call, Code::Control);
            }
        };
        let now = count_of(&memory, b"oom_kill");
        if now > killed {
            let mut output = Output::new();
            let _ = writeln!(output, "{{\"type\":\"oom\",\"id\":{}}}", Json(id));
            output.finish(call)?;
        }
        killed = now;
        if count_of(&processes, b"populated") == 0 {
            return Ok(0);
        }
        if is_time {
            print_stats(call, group, id)?;
            next = clock::now() + interval;
        }
    }
}

/// A number of a file that has a name and a number a line, and is read from its start again.
fn count_of(file: &OwnedFd, name: &[u8]) -> u64 {
    let mut buffer = [0; 512];
    let read = seek(file, SeekFrom::Start(0)).and_then(|_| fs::read_up_to(file, &mut buffer));
    member(buffer.get(..read.unwrap_or(0)).unwrap_or_default(), name).unwrap_or(0)
}

fn print_stats(call: &Call<'_>, group: &Group, id: &str) -> Result<(), Reported> {
    let mut output = Output::new();
    // Failures of the output are told by `finish`.
    let _ = write!(
        output,
        "{{\"type\":\"stats\",\"id\":{},\"data\":{{",
        Json(id)
    );
    let files = Files(group);
    let _ = files.write(&mut output);
    let written = files.write_huge_pages(&mut output);
    written.or_report(call, Code::Control)?;
    let _ = output.write_str(",\"intel_rdt\":{},\"network_interfaces\":null}}\n");
    output.finish(call)
}

/// The files of a control group. Those of a controller that it does not have say 0.
struct Files<'g>(&'g Group);

/// Room for the longest: `memory.stat`, and `io.stat` of some thirty disks.
const FILE: usize = 8192;

impl Files<'_> {
    fn read<'b>(&self, name: &str, buffer: &'b mut [u8; FILE]) -> &'b [u8] {
        fs::read_file(self.0, name, buffer).unwrap_or_default()
    }

    /// The one number of a file; `max` is [`NO_LIMIT`].
    fn number(&self, name: &str) -> u64 {
        let mut buffer = [0; 32];
        let text = fs::read_file(self.0, name, &mut buffer).unwrap_or_default();
        match text.trim_ascii() {
            b"max" => NO_LIMIT,
            digits => number(digits).unwrap_or(0),
        }
    }

    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        let mut buffer = [0; FILE];
        let cpu = self.read("cpu.stat", &mut buffer);
        let of_cpu = |name: &str| member(cpu, name.as_bytes()).unwrap_or(0);
        // In nanoseconds there, and microseconds here.
        let [total, kernel, user, throttled] =
            ["usage_usec", "system_usec", "user_usec", "throttled_usec"]
                .map(|name| of_cpu(name).saturating_mul(1000));
        write!(
            out,
            "\"cpu\":{{\"usage\":{{\"total\":{total},\"kernel\":{kernel},\"user\":{user}}},\"throttling\":{{\"periods\":{},\"throttledPeriods\":{},\"throttledTime\":{throttled}}}",
            of_cpu("nr_periods"),
            of_cpu("nr_throttled"),
        )?;
        self.write_pressure(out, "cpu.pressure")?;
        write!(out, "}},{ONLY_VERSION_1},\"memory\":{{")?;
        self.write_memory(out)?;
        let limit = match self.number("pids.max") {
            NO_LIMIT => 0,
            limit => limit,
        };
        let current = self.number("pids.current");
        write!(
            out,
            "}},\"pids\":{{\"current\":{current},\"limit\":{limit}}},\"blkio\":{{"
        )?;
        let text = self.read("io.stat", &mut buffer);
        for (name, keys) in [
            ("ioServiceBytesRecursive", ["rbytes", "wbytes"]),
            ("ioServicedRecursive", ["rios", "wios"]),
        ] {
            write!(out, "\"{name}\":[")?;
            write_disks(out, text, keys)?;
            out.write_str("],")?;
        }
        out.write_str("\"ioQueueRecursive\":[]")?;
        self.write_pressure(out, "io.pressure")?;
        out.write_str("}")
    }

    fn write_memory(&self, out: &mut dyn Write) -> fmt::Result {
        let mut buffer = [0; FILE];
        let stat = self.read("memory.stat", &mut buffer);
        let cache = member(stat, b"file").unwrap_or(0);
        write!(out, "\"cache\":{cache}")?;
        let [current, peak, limit, swap, most_swap] = [
            "memory.current",
            "memory.peak",
            "memory.max",
            "memory.swap.current",
            "memory.swap.max",
        ]
        .map(|name| self.number(name));
        // As version 1 has it: swap is memory and swap together.
        let both = |a: u64, b: u64| {
            if b == NO_LIMIT {
                b
            } else {
                a.saturating_add(b)
            }
        };
        for (name, limit, usage, peak) in [
            ("usage", limit, current, peak),
            ("swap", both(limit, most_swap), both(current, swap), 0),
            ("kernel", 0, 0, 0),
            ("kernelTCP", 0, 0, 0),
        ] {
            write!(
                out,
                ",\"{name}\":{{\"limit\":{limit},\"usage\":{usage},\"max\":{peak},\"failcnt\":0}}"
            )?;
        }
        out.write_str(",\"raw\":")?;
        write_members(out, stat)?;
        self.write_pressure(out, "memory.pressure")?;
        out.write_str(",\"event_count\":")?;
        write_members(out, self.read("memory.events", &mut [0; FILE]))
    }

    /// Pressure stall information, where the kernel counts it (accounting/psi.rst).
    fn write_pressure(&self, out: &mut dyn Write, file: &str) -> fmt::Result {
        let mut buffer = [0; FILE];
        let text = self.read(file, &mut buffer);
        if text.is_empty() {
            return Ok(());
        }
        let mut separator = ",\"psi\":{";
        for line in lines(text) {
            let mut words = line.split(' ');
            write!(out, "{separator}\"{}\":", words.next().unwrap_or_default())?;
            let mut start = "{";
            for (key, value) in words.filter_map(|word| word.split_once('=')) {
                write!(out, "{start}\"{key}\":{value}")?;
                start = ",";
            }
            out.write_str("}")?;
            separator = ",";
        }
        out.write_str("}")
    }

    /// A member for each size of pages that the machine has: `hugetlb.2MB.current` and its
    /// neighbours.
    fn write_huge_pages(&self, out: &mut dyn Write) -> Result<(), Fault> {
        let _ = out.write_str(",\"hugetlb\":{");
        let mut separator = "";
        // Each reading begins where the last one of this descriptor ended.
        let again = fs::open_directory(self.0, ".")?;
        let listed = fs::each_entry(again.as_fd(), |name, _| {
            let size = name.to_str().ok().and_then(|name| {
                let size = name.strip_prefix("hugetlb.")?.strip_suffix(".current")?;
                (!size.contains('.')).then_some(size)
            });
            if let Some(size) = size {
                let mut file = heapless::String::<64>::new();
                let mut number = |what: &str| {
                    file.clear();
                    let _ = write!(file, "hugetlb.{size}.{what}");
                    self.number(&file)
                };
                let (current, limit) = (number("current"), number("max"));
                file.clear();
                let _ = write!(file, "hugetlb.{size}.events");
                let failed = member(self.read(&file, &mut [0; FILE]), b"max").unwrap_or(0);
                let limit = if limit == NO_LIMIT { 0 } else { limit };
                let _ = write!(
                    out,
                    "{separator}\"{size}\":{{\"usage\":{current},\"max\":{limit},\"failcnt\":{failed}}}"
                );
                separator = ",";
            }
            true
        });
        let _ = out.write_str("}");
        listed.during(Op::List, "a control group")
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &str> {
    let text = core::str::from_utf8(text).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty())
}

fn number(digits: &[u8]) -> Option<u64> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

/// The number behind `name` in a file that has one a line.
fn member(text: &[u8], name: &[u8]) -> Option<u64> {
    let mut lines = text.split(|byte| *byte == b'\n');
    lines.find_map(|line| number(line.strip_prefix(name)?.strip_prefix(b" ")?))
}

/// All lines of such a file, as an object.
fn write_members(out: &mut dyn Write, text: &[u8]) -> fmt::Result {
    let mut separator = "{";
    for (name, value) in lines(text).filter_map(|line| line.split_once(' ')) {
        write!(out, "{separator}\"{name}\":{value}")?;
        separator = ",";
    }
    out.write_str(if separator == "{" { "{}" } else { "}" })
}

/// What is read and written, of each disk of `io.stat`: `8:0 rbytes=1 wbytes=2`.
fn write_disks(out: &mut dyn Write, text: &[u8], [read, written]: [&str; 2]) -> fmt::Result {
    let mut separator = "";
    for line in lines(text) {
        let mut words = line.split(' ');
        let Some((major, minor)) = words.next().and_then(|disk| disk.split_once(':')) else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let operation = match key {
                key if key == read => "Read",
                key if key == written => "Write",
                _ => continue,
            };
            write!(
                out,
                "{separator}{{\"major\":{major},\"minor\":{minor},\"op\":\"{operation}\",\"value\":{value}}}"
            )?;
            separator = ",";
        }
    }
    Ok(())
}

/// A time as Go writes it, of one unit: `500ms`, `5s`, `1m`, `1h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(end)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let milliseconds = digits.parse::<u64>().ok()?.checked_mul(milliseconds)?;
    let is_time = (1..=u64::from(u32::MAX)).contains(&milliseconds);
    is_time.then(|| Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_go() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("5s", Some(5000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("0s", None),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("99999999999999h", None),
        ] {
            assert_eq!(
                duration(text),
                expected.map(Duration::from_millis),
                "{text}"
            );
        }
    }

    #[test]
    fn files_of_a_group_become_json() {
        let mut text = String::new();
        write_members(&mut text, b"low 0\noom_kill 3\n").unwrap();
        write_members(&mut text, b"").unwrap();
        assert_eq!(text, r#"{"low":0,"oom_kill":3}{}"#);
        assert_eq!(member(b"oom 1\noom_kill 3\n", b"oom_kill"), Some(3));
        text.clear();
        let stat = b"8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5\n254:1 \n";
        write_disks(&mut text, stat, ["rbytes", "wbytes"]).unwrap();
        assert_eq!(
            text,
            r#"{"major":8,"minor":0,"op":"Read","value":1},{"major":8,"minor":0,"op":"Write","value":2}"#
        );
    }
}
