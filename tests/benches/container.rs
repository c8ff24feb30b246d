//! The start of a container, from clone(2) to its program: berth beside the same system calls by hand, in C.
//!
//! The kernel's own trace events tell both moments, `sched_process_fork` and `sched_process_exec`, by the clock that counts
//! instructions. The container's program prints them. It stands in the initramfs: a disk answers by the host's time.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use berth_initramfs::{Compression, Image, Spec};
use berth_qemu::kernel::Kernel;
use berth_qemu::vm::{Ended, Outcome, Vm};
use serde_json::json;

use crate::c;
use crate::repeat::{OF_A_CONTAINER, least};
use crate::table::{Table, instructions};

/// The kernel records forks and executions from its start on.
pub(crate) const WORDS: &str = "quiet idle=poll \
    trace_event=sched:sched_process_fork,sched:sched_process_exec";

pub(crate) const BUSYBOX: &str = "/bin/busybox";

/// What the container does: it prints what was recorded.
pub(crate) const SCRIPT: &str = "/bin/busybox grep -E 'sched_process_(fork|exec)' /trace/trace";

/// Adds the row.
pub(crate) fn measure(kernel: &Kernel, init: &Path, table: &mut Table) -> Result<()> {
    let dir = c::directory()?;
    fs::write(
        dir.join("script.h"),
        format!("static const char SCRIPT[] = \"{SCRIPT}\";\n"),
    )?;
    let image = image(init, &c::compile("container.c")?)?;
    let berth = least("bench/container", OF_A_CONTAINER, || {
        start("bench/container", kernel, &image, "")
    })?;
    let by_hand = least("bench/container-c", OF_A_CONTAINER, || {
        start("bench/container-c", kernel, &image, "init=/container")
    })?;
    table.row(
        "start of a container, clone to program",
        instructions(berth),
        format!("C program: {}", instructions(by_hand)),
    );
    let ratio = berth as f64 / by_hand as f64;
    table.row(
        "the same, as a ratio",
        format!("{ratio:.3}"),
        "at most 1.25",
    );
    Ok(())
}

/// An initramfs with the bundle, and with the C program that starts the same container.
fn image(init: &Path, by_hand: &Path) -> Result<Image> {
    let config = json!({
        "ociVersion": "1.2.0",
        "process": { "args": [BUSYBOX, "sh", "-c", SCRIPT], "cwd": "/" },
        "root": { "path": "rootfs" },
        "hostname": "start",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
            { "destination": "/trace", "type": "tracefs", "source": "tracefs" },
        ],
        "linux": { "namespaces": [
            { "type": "mount" }, { "type": "pid" }, { "type": "uts" }, { "type": "ipc" },
        ] },
        // The C program takes nothing away either.
        "annotations": { "berth.privileged": "true" },
    });
    let rootfs = "/containers/start/rootfs";
    let spec = Spec::new(init)
        .berth(init.with_file_name("berth"))
        .add(by_hand, "/container")
        .add(BUSYBOX, format!("{rootfs}{BUSYBOX}"))
        .replace("/containers/start/config.json", config.to_string(), 0o644);
    ["proc", "dev", "trace"]
        .into_iter()
        .fold(spec, |spec, name| {
            spec.replace(format!("{rootfs}/{name}/.keep"), [], 0o644)
        })
        .build(Compression::None)
}

/// Guest instructions from the container's clone to its execution.
fn start(name: &str, kernel: &Kernel, image: &Image, words: &str) -> Result<u64> {
    let vm = Vm::builder(name)
        .kernel(kernel)
        .initrd_bytes(image.bytes.clone())
        .append(format!("{WORDS} {words}"))
        .without_events()
        .counted()
        .start()?;
    let outcome = vm.wait()?;
    clone_to_program(&outcome)
}

/// Guest instructions from the clone to the execution that a container printed, of a machine that has ended well.
pub(crate) fn clone_to_program(outcome: &Outcome) -> Result<u64> {
    outcome.assert_ended(Ended::PowerOff)?;
    let program = format!("filename={BUSYBOX} ");
    let executed = outcome
        .console
        .lines()
        .find(|line| line.contains(&program))
        .with_context(|| format!("no execution was recorded: {}", outcome.log.display()))?;
    let pid = executed
        .split_once(" pid=")
        .and_then(|(_, rest)| rest.split(' ').next());
    let child = format!("child_pid={}", pid.context("the execution has no pid")?);
    let forked = outcome
        .console
        .lines()
        .find(|line| line.split_whitespace().any(|word| word == child))
        .context("the clone was not recorded")?;
    Ok((time(executed)? - time(forked)?) * 1000)
}

/// The time of a recorded event in µs: `sh-80 [000] ..... 1.234567: sched_process_exec: …`.
fn time(line: &str) -> Result<u64> {
    let words = line
        .split_whitespace()
        .filter_map(|word| word.strip_suffix(':'));
    let seconds = words.filter_map(|word| word.split_once('.')).next();
    let (seconds, fraction) = seconds.with_context(|| format!("no time in: {line}"))?;
    Ok(seconds.parse::<u64>()? * 1_000_000 + fraction.parse::<u64>()?)
}
