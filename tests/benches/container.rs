//! The start of a container, from clone(2) to its program: berth beside the same system calls by
//! hand, in C.
//!
//! The kernel's own trace events tell both moments, `sched_process_fork` and `sched_process_exec`,
//! by the clock that counts instructions. The container's program prints them. It stands in the
//! initramfs: a disk answers by the host's time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use berth_initramfs::{Compression, Image, Spec};
use berth_qemu::kernel::Kernel;
use berth_qemu::vm::Vm;
use serde_json::json;

use crate::c;
use crate::repeat::{OF_A_CONTAINER, least};
use crate::table::{Table, instructions};
use crate::trace::Trace;

/// The kernel records forks and executions from its start on.
pub(crate) const WORDS: &str = "quiet idle=poll \
    trace_event=sched:sched_process_fork,sched:sched_process_exec";

pub(crate) const BUSYBOX: &str = "/bin/busybox";

/// Where the root directory of all bundles is.
const ROOTFS: &str = "/rootfs";

/// What the container does: it prints what was recorded.
pub(crate) const SCRIPT: &str = "/bin/busybox grep -E 'sched_process_(fork|exec)' /trace/trace";

/// How long a machine may take, in seconds of the host.
const LIMIT: Duration = Duration::from_secs(900);

/// Few containers and many, whose starts are compared.
const COUNTS: [usize; 2] = [20, 200];

/// Adds the rows.
pub(crate) fn measure(kernel: &Kernel, init: &Path, table: &mut Table) -> Result<()> {
    let dir = c::directory()?;
    fs::write(
        dir.join("script.h"),
        format!("static const char SCRIPT[] = \"{SCRIPT}\";\n"),
    )?;
    let image = image(init, &c::compile("container.c")?)?;
    let run = |name: &str, words: &str| trace(name, kernel, &image, words);
    let berth = least("bench/container", OF_A_CONTAINER, || {
        run("bench/container", "")?.clone_to_program()
    })?;
    let decided = least("bench/container-decided", OF_A_CONTAINER, || {
        run("bench/container-decided", "")?.decision_to_program()
    })?;
    let by_hand = least("bench/container-c", OF_A_CONTAINER, || {
        run("bench/container-c", "init=/container")?.clone_to_program()
    })?;
    let beside = |table: &mut Table, what: &str, count: u64, budget: &str| {
        table.row(
            format!("start of a container, {what} to program"),
            instructions(count),
            format!("C program: {}", instructions(by_hand)),
        );
        let ratio = count as f64 / by_hand as f64;
        table.row("the same, as a ratio", format!("{ratio:.3}"), budget);
    };
    beside(table, "clone", berth, "at most 1.25");
    beside(table, "PID 1's decision", decided, "at most 2.0");
    let [few, many] = COUNTS.map(|count| {
        let name = format!("bench/container-{count}");
        let image = crowd(init, count)?;
        let all = trace(&name, kernel, &image, "")?.all(count)?;
        anyhow::Ok(all / count as u64)
    });
    let [few_count, many_count] = COUNTS;
    table.row(
        format!("each of {many_count} containers that start together"),
        instructions(many?),
        format!("of {few_count}: {}", instructions(few?)),
    );
    Ok(())
}

/// An initramfs with the bundle, and with the C program that starts the same container.
fn image(init: &Path, by_hand: &Path) -> Result<Image> {
    let spec = spec(init).add(by_hand, "/container");
    bundle(spec, "start", SCRIPT, "").build(Compression::None)
}

/// An initramfs with so many bundles of the same kind, and one that prints what was recorded of
/// them.
fn crowd(init: &Path, count: usize) -> Result<Image> {
    let ids: Vec<String> = (0..count).map(|number| format!("c{number:03}")).collect();
    let spec = ids
        .iter()
        .fold(spec(init), |spec, id| bundle(spec, id, "exit 0", ""));
    bundle(spec, "last", SCRIPT, &ids.join(",")).build(Compression::None)
}

/// Adds a bundle whose program is a shell that runs `script`.
fn bundle(spec: Spec, id: &str, script: &str, after: &str) -> Spec {
    let mut annotations = BTreeMap::from([
        // The C program takes nothing away either.
        ("berth.privileged", "true"),
    ]);
    if !after.is_empty() {
        annotations.insert("berth.after", after);
    }
    let config = json!({
        "ociVersion": "1.2.0",
        "process": { "args": [BUSYBOX, "sh", "-c", script], "cwd": "/" },
        "root": { "path": ROOTFS },
        "hostname": "start",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
            { "destination": "/trace", "type": "tracefs", "source": "tracefs" },
        ],
        "linux": { "namespaces": [
            { "type": "mount" }, { "type": "pid" }, { "type": "uts" }, { "type": "ipc" },
        ] },
        "annotations": annotations,
    });
    let path = format!("/containers/{id}/config.json");
    spec.replace(path, config.to_string(), 0o644)
}

/// An initramfs with the root directory of all bundles.
fn spec(init: &Path) -> Spec {
    let spec = Spec::new(init)
        .berth(init.with_file_name("berth"))
        .add(BUSYBOX, format!("{ROOTFS}{BUSYBOX}"));
    ["proc", "dev", "trace"]
        .into_iter()
        .fold(spec, |spec, name| {
            spec.replace(format!("{ROOTFS}/{name}/.keep"), [], 0o644)
        })
}

/// What is recorded while the containers of the image start.
fn trace(name: &str, kernel: &Kernel, image: &Image, words: &str) -> Result<Trace> {
    let vm = Vm::builder(name)
        .kernel(kernel)
        .initrd_bytes(image.bytes.clone())
        .append(format!("{WORDS} {words}"))
        .without_events()
        .counted()
        // Two hundred containers say nothing for minutes.
        .silence(LIMIT)
        .deadline(LIMIT)
        .start()?;
    Trace::of(&vm.wait()?)
}
