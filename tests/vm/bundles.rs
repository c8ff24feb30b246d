//! Bundles that standard tools have made, started by PID 1: as they are, and asked what they see.
//! `command` runs the same by the command, and `tests/native` on this machine.

use anyhow::{Result, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::vm::Ended;
use berth_tests::{Lab, QUESTIONS, REAL, Real, Seen, disk, real_bundles};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere bundles_of_standard_tools_run,
];

fn bundles_of_standard_tools_run(lab: &Lab) -> Result<()> {
    let bundles = real_bundles()?;
    let mut tree = disk::files([])?;
    for Real { name, .. } in &REAL {
        let bundle = bundles.join(name);
        let file = std::fs::read(bundle.join("config.json"))?;
        let mut config: Value = serde_json::from_slice(&file)?;
        config["process"]["args"] = json!(["/bin/sh", "-c", QUESTIONS]);
        config["root"]["path"] = json!(format!("/containers/{name}/rootfs"));
        tree = tree.copy(&bundle, format!("containers/{name}")).file(
            format!("containers/{name}-asked/config.json"),
            config.to_string(),
        );
    }
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(256))?;
    let vm = lab
        .machine("bundles_of_standard_tools_run")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    for Real { name, answers } in &REAL {
        // A shell that nobody types into.
        Seen::new(&outcome, name).exited(0)?;
        let asked = format!("{name}-asked");
        let said: Vec<_> = Seen::new(&outcome, &asked).lines().collect();
        ensure!(said == answers, "{name}: {said:?}");
    }
    Ok(())
}
