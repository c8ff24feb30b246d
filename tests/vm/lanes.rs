//! Modules that the image lists, on a machine with more than one processor.

use anyhow::{Result, ensure};
use berth_initramfs::{Compression, Spec};
use berth_qemu::vm::Ended;
use berth_tests::{Bundle, Lab, MODULES, Seen, disk};

use crate::provoke::{Reader, provoke};
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere modules_that_do_not_need_each_other_are_loaded_in_lanes,
    once module_that_is_refused_in_a_lane_is_told_of_as_always,
];

const SHOW_MODULES: [&str; 3] = ["/bin/guest", "show", "/proc/modules"];

/// An image that lists what two processors can load side by side, whatever is built in.
fn for_lanes(lab: &Lab) -> Result<Spec> {
    let spec = lab.spec()?.load(MODULES);
    Ok(spec.load(["overlay", "squashfs", "erofs", "loop", "dm_verity"]))
}

fn modules_that_do_not_need_each_other_are_loaded_in_lanes(lab: &Lab) -> Result<()> {
    let name = "modules_that_do_not_need_each_other_are_loaded_in_lanes";
    let image = for_lanes(lab)?.build(Compression::None)?;
    let root = disk::vfat([Bundle::new("any").runs(SHOW_MODULES)])?;
    let boot = |cpus| -> Result<Vec<String>> {
        let outcome = lab
            .machine_with(name, &image)
            .cpus(cpus)
            .append("root=LABEL=BERTH loglevel=7")
            .blk(&root)
            .start()?
            .wait()?;
        outcome.assert(Ended::PowerOff, 0)?;
        let has_lanes = outcome.console.contains("modules were loaded in 2 lanes");
        ensure!(has_lanes == (cpus == 2), "{cpus} processors: {has_lanes}");
        let modules = Seen::new(&outcome, "any").lines();
        let names = modules.filter_map(|line| line.split(' ').next());
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort();
        Ok(names)
    };
    let (one, two) = (boot(1)?, boot(2)?);
    ensure!(one == two && one.len() > 5, "{one:?}, {two:?}");
    Ok(())
}

fn module_that_is_refused_in_a_lane_is_told_of_as_always(lab: &Lab) -> Result<()> {
    let name = "module_that_is_refused_in_a_lane_is_told_of_as_always";
    let file = format!(
        "/lib/modules/{}/kernel/fs/overlayfs/overlay.ko",
        lab.kernel.release
    );
    let image = for_lanes(lab)?.replace(file, "no module at all", 0o644);
    provoke(
        lab,
        name,
        Reader::Everywhere,
        "B012",
        "overlay.ko: ENOEXEC",
        |_, vm| {
            let vm = vm.cpus(2).append("loglevel=7");
            let vm = vm
                .initrd_bytes(image.build(Compression::None)?.bytes)
                .start()?;
            vm.expect_console("modules were loaded in 2 lanes")?;
            Ok(vm)
        },
    )
    .map(drop)
}
