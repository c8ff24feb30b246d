//! Mounting and unmounting by descriptor, in a real kernel.

use anyhow::{Result, ensure};
use berth_qemu::vm::Ended;
use berth_tests::{Bundle, Lab, Seen, disk};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] =
    cases![everywhere mounts_come_and_go_by_descriptor_whatever_the_parents_propagation];

fn mounts_come_and_go_by_descriptor_whatever_the_parents_propagation(lab: &Lab) -> Result<()> {
    let bundle = Bundle::new("mounter")
        .mount("/tmp", "tmpfs", "tmpfs", &[])
        .runs(["/bin/guest", "mountat"]);
    let name = "mounts_come_and_go_by_descriptor_whatever_the_parents_propagation";
    let vm = lab.machine(name)?.cpus(2).append("root=LABEL=BERTH");
    let outcome = vm.scsi(&disk::vfat([bundle])?).start()?.wait()?;
    let mounter = Seen::new(&outcome, "mounter");
    let mut expected = Vec::new();
    for parent in ["shared", "private", "slave"] {
        expected.extend([
            format!("{parent} with procfs, again EINVAL"),
            format!("{parent} without procfs, again EINVAL"),
            format!("{parent} file without procfs ENOTDIR"),
            format!("{parent} link ELOOP"),
            format!("{parent} way out EXDEV"),
            format!("{parent} raced"),
        ]);
    }
    expected.push("directory /".to_owned());
    let lines: Vec<_> = mounter.lines().collect();
    ensure!(lines == expected, "{lines:#?}");
    mounter.exited(0)?;
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}
