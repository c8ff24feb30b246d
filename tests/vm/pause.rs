//! `berth.break=`: the boot stops for a shell, where the image has one, and goes on when it ends.

use anyhow::{Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::vm::{Ended, Vm};
use berth_tests::{Bundle, Lab, MODULES, disk, field, line};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once break_before_the_root_is_mounted,
    once break_before_the_switch,
    once break_before_the_containers,
    once break_without_a_shell_goes_on_with_a_warning,
];

/// Boots with a shell in the image and sees it come up at that break.
fn stopped(lab: &Lab, name: &str, at: &str) -> Result<(Vm, usize)> {
    let spec = lab.spec()?.load(MODULES).add("/bin/busybox", "/bin/sh");
    let vm = lab
        .machine_with(name, &spec.build(Compression::None)?)
        .append(format!("root=LABEL=BERTH berth.break={at}"))
        .scsi(&disk::vfat([Bundle::new("after")])?)
        .start()?;
    vm.expect("the break", |event| {
        event.name() == "break" && field(event, "before") == Some(at)
    })?;
    let prompt = vm.expect_console("# ")?;
    Ok((vm, prompt))
}

/// Asks the shell, sees its answer, and lets the boot go on.
fn ask(vm: Vm, prompt: usize, question: &str, answer: &str) -> Result<()> {
    vm.send_console(format!("{question}\n").as_bytes())?;
    vm.expect_console_after(prompt, answer)?;
    ensure!(
        !vm.events().iter().any(|event| line(event).is_some()),
        "a container ran during the break"
    );
    vm.send_console(b"exit\n")?;
    vm.expect("the container runs", |event| {
        line(event) == Some(("after", "after"))
    })?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

/// What is asked is spelled so that the echo of the question is not the answer.
const IS_MOUNTED: &str = "s=not; while read d m r; do case $m in */sysroot) s=now;; esac; done </proc/mounts; echo it is $s mounted";

fn break_before_the_root_is_mounted(lab: &Lab) -> Result<()> {
    let (vm, prompt) = stopped(lab, "break_before_the_root_is_mounted", "mount-root")?;
    ask(vm, prompt, IS_MOUNTED, "\nit is not mounted")
}

fn break_before_the_switch(lab: &Lab) -> Result<()> {
    let (vm, prompt) = stopped(lab, "break_before_the_switch", "switch-root")?;
    ask(vm, prompt, IS_MOUNTED, "\nit is now mounted")
}

fn break_before_the_containers(lab: &Lab) -> Result<()> {
    let (vm, prompt) = stopped(lab, "break_before_the_containers", "containers")?;
    let question = "for f in /containers/*; do echo here is'' $f; done";
    ask(vm, prompt, question, "\nhere is /containers/after")
}

fn break_without_a_shell_goes_on_with_a_warning(lab: &Lab) -> Result<()> {
    let outcome = lab
        .machine("break_without_a_shell_goes_on_with_a_warning")?
        .append("root=LABEL=BERTH berth.break=switch-root")
        .scsi(&disk::vfat([Bundle::new("after")])?)
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    ensure!(outcome.events.iter().any(|event| {
        event.name() == "warning"
            && field(event, "text").is_some_and(|text| text.contains("no shell at /bin/sh"))
    }));
    Ok(())
}
