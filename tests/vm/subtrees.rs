//! Mount propagation as the kernel has it, seen through the functions that berth mounts with: a
//! container runs all cases of the guest program's tables in one boot.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use berth_qemu::kernel::Series;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, disk};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere propagation_is_as_the_tables_have_it,
    everywhere no_case_is_missing,
    everywhere kernels_differ_in_what_is_known,
];

/// The sections, and how many cases each has.
const SECTIONS: [(&str, usize); 9] = [
    // Seven kinds of mount made four others; two at once, no mount point, recursively.
    ("1", 7 * 4 + 3),
    // Five kinds bound in four.
    ("2", 5 * 4),
    // With what is inside: none, pruned, into itself as three kinds, a chain, and how it grows in
    // two.
    ("3", 5 * 4 + 8),
    // Five kinds moved into four; the Linux Test Project's six others, and six more errors.
    ("4", 5 * 4 + 12),
    // A new mount in five kinds, and in the master of two.
    ("5", 5 + 2),
    ("6", 8),
    // Six kinds for two users, and what is locked.
    ("7", 6 * 2 + 2),
    // Five things that a copy is told, for it and for all inside; eight about attributes and
    // move_mount(2); twelve about pivot_root(2).
    ("8", 5 * 2 + 8 + 12),
    ("quiz", 3),
];

/// Tests of the Linux Test Project that are the first sixteen of a table.
const NUMBERED: [&str; 3] = ["2.bind", "3.rbind", "4.move"];

/// How long the machine may run: twenty seconds of work where nobody else works.
const DEADLINE: Duration = Duration::from_secs(360);

static BOOT: Shared = Shared::new(boot);

fn boot(lab: &Lab) -> Result<Outcome> {
    let bundle = Bundle::new("tables")
        .mount("/tmp", "tmpfs", "tmpfs", &[])
        .runs(["/bin/guest", "subtrees"]);
    let vm = lab
        .machine("subtrees")?
        .append("root=LABEL=BERTH")
        .deadline(DEADLINE);
    Ok(vm.scsi(&disk::vfat([bundle])?).start()?.wait()?)
}

fn propagation_is_as_the_tables_have_it(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let tables = Seen::new(&outcome, "tables");
    let cases = tables.facts("case");
    let failed: Vec<_> = cases.iter().filter(|case| !case.ends_with(" ok")).collect();
    ensure!(failed.is_empty(), "{failed:#?}");
    tables.exited(0)?;
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

fn no_case_is_missing(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let cases = Seen::new(&outcome, "tables").facts("case");
    let names: BTreeSet<_> = cases
        .iter()
        .filter_map(|case| case.split(' ').next())
        .collect();
    let mut counts = BTreeMap::new();
    for name in &names {
        let section = name.split('.').next().unwrap_or(name);
        *counts.entry(section).or_insert(0) += 1;
    }
    ensure!(counts == BTreeMap::from(SECTIONS), "{counts:?}");
    for test in NUMBERED {
        for number in 1..=16 {
            let prefix = format!("{test}{number:02}-");
            ensure!(
                names.iter().any(|name| name.starts_with(&prefix)),
                "no {prefix} in {names:?}"
            );
        }
    }
    Ok(())
}

/// What the kernels of the matrix do not do alike. Berth relies on none of it.
fn kernels_differ_in_what_is_known(lab: &Lab) -> Result<()> {
    let before_7 = lab.series != Series::V7;
    let either =
        |is_first, [first, second]: [&'static str; 2]| if is_first { first } else { second };
    let expected = BTreeSet::from([
        // MOVE_MOUNT_BENEATH came with 6.5.
        format!(
            "beneath {}",
            either(lab.series == Series::V6_1, ["EINVAL", "works"])
        ),
        // 6.15.
        format!(
            "into-what-is-detached {}",
            either(before_7, ["EINVAL", "works"])
        ),
        // 7.0 has an empty filesystem below the initramfs.
        format!("first-root {}", either(before_7, ["initramfs", "empty"])),
    ]);
    let outcome = BOOT.outcome(lab)?;
    let found = Seen::new(&outcome, "tables").facts("kernel");
    let found: BTreeSet<_> = found.into_iter().map(str::to_owned).collect();
    ensure!(
        found == expected,
        "expected {expected:#?}, found {found:#?}"
    );
    Ok(())
}
