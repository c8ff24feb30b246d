//! What a container's program has of what PID 1 was executed with: the table of docs/command.md,
//! row by row. The kernel executes `/init` as a new process; an init that comes before it may have
//! made everything odd.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::vm::{Builder, Ended};
use berth_tests::{Bundle, Lab, MODULES, Seen, disk, guest};
use serde_json::json;

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere what_the_kernel_gives_pid_1_reaches_containers_as_the_table_says,
    everywhere what_an_odd_init_gives_pid_1_reaches_containers_as_the_table_says,
];

/// A row: its name, what a program has whose PID 1 was executed by the kernel, and what one has
/// whose PID 1 has everything odd.
type Row = (&'static str, &'static str, &'static str);

const NOTHING: &str = "0000000000000000";

const ROWS: &[Row] = &[
    // Never what PID 1 has.
    ("SigIgn", NOTHING, NOTHING),
    ("SigBlk", NOTHING, NOTHING),
    ("SigPnd", NOTHING, NOTHING),
    ("Umask", "0022", "0022"),
    ("Groups", "", ""),
    ("CapInh", NOTHING, NOTHING),
    ("CapPrm", NOTHING, NOTHING),
    ("CapEff", NOTHING, NOTHING),
    ("CapBnd", NOTHING, NOTHING),
    ("CapAmb", NOTHING, NOTHING),
    ("Cpus_allowed_list", "0-1", "0-1"),
    ("key", "none", "none"),
    ("parent-death", "0", "0"),
    ("subreaper", "0", "0"),
    ("dumpable", "1", "1"),
    ("leads-session", "true", "true"),
    ("terminal", "false", "false"),
    ("directory", "/", "/"),
    ("odd", "", ""),
    ("descriptors", "[0, 1, 2, 3]", "[0, 1, 2, 3]"),
    // What PID 1 has.
    ("NoNewPrivs", "0", "1"),
    ("oom_score_adj", "0", "123"),
    ("coredump_filter", "00000033", "00000001"),
    ("core file size", "0 unlimited", "4096 8192"),
    ("open files", "1024 4096", "200 400"),
    ("nice", "0", "5"),
    ("policy", "0", "3"),
    ("io-priority", "0", "16390"),
    ("personality", "0", "262144"),
    ("securebits", "0", "4"),
    ("timer-slack", "50000", "1234567"),
    ("huge-pages-off", "0", "1"),
    ("broken-memory", "2", "1"),
    ("memory-policy", "0", "3"),
];

fn container(id: &str) -> Bundle {
    Bundle::new(id).confined().runs(["/bin/guest", "inherited"])
}

/// A machine with that `/init`, and what the container shows there.
fn hold_to(lab: &Lab, builder: Builder, column: impl Fn(&Row) -> &'static str) -> Result<()> {
    // A container whose control group has limits is in another one than PID 1.
    let limited = container("limited").set("/linux/resources", json!({ "pids": { "limit": 20 } }));
    let root = disk::vfat([container("shown"), limited])?;
    let outcome = builder
        .append("root=LABEL=BERTH")
        .cpus(2)
        .scsi(&root)
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    for id in ["shown", "limited"] {
        let seen = Seen::new(&outcome, id);
        seen.exited(0)?;
        let found: BTreeMap<_, _> = seen
            .lines()
            .map(|line| match line.strip_prefix("limit ") {
                Some(limit) => limit.split_at(
                    limit
                        .find(|c: char| c.is_ascii_digit() || c == 'u')
                        .unwrap_or(0),
                ),
                None => line.split_once(' ').unwrap_or((line, "")),
            })
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect();
        let mut wrong = Vec::new();
        for row in ROWS {
            let value = found
                .get(row.0)
                .with_context(|| format!("{id}: no {} in {found:?}", row.0))?;
            if *value != column(row) {
                wrong.push(format!("{} is {value}, not {}", row.0, column(row)));
            }
        }
        ensure!(wrong.is_empty(), "{} {id}: {wrong:#?}", lab.kernel.release);
    }
    Ok(())
}

fn what_the_kernel_gives_pid_1_reaches_containers_as_the_table_says(lab: &Lab) -> Result<()> {
    hold_to(lab, lab.machine("inherited_from_the_kernel")?, |row| row.1)
}

/// An init that makes everything odd, and executes berth.
const ODD_INIT: &str = "#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
exec /guest be-odd /berth
";

fn what_an_odd_init_gives_pid_1_reaches_containers_as_the_table_says(lab: &Lab) -> Result<()> {
    let image = lab
        .spec()?
        .load(MODULES)
        .add(&lab.init, "/berth")
        .add(guest()?, "/guest")
        .add(berth_qemu::busybox()?, "/bin/busybox")
        .replace("/init", ODD_INIT, 0o755)
        .build(Compression::Zstd)?;
    hold_to(
        lab,
        lab.machine_with("inherited_from_an_odd_init", &image),
        |row| row.2,
    )
}
