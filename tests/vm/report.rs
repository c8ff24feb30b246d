//! What becomes of a machine whose boot failed: the report on the console, and `berth.on_failure=`.

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, DeviceClass};
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Builder, Drive, Ended, Outcome, Vm, VmFailure};
use berth_tests::{Lab, disk};

use crate::provoke::OWN_FAILURE;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once failure_reboots_unless_something_else_is_asked_for,
    once failure_halts,
    once failure_panics_for_machines_that_collect_dumps,
    once failure_reboots_after_the_seconds_of_panic,
    once failure_rests_with_panic_0,
    once failure_gives_a_shell_where_there_is_one,
    once shell_that_is_missing_is_said_to_be,
    once report_is_on_a_quiet_console_too,
    once image_for_another_kernel_is_told_where_it_asks_for_no_module_by_name,
    once report_with_many_disks_fits_one_screen,
    once machine_without_proc_reports_and_reboots,
];

/// A terminal of the smaller kind.
const COLUMNS: usize = 80;
const LINES: usize = 40;

/// A machine whose root will not be found.
fn rootless(lab: &Lab, name: &str, words: &str) -> Result<Builder> {
    Ok(lab
        .machine(name)?
        .append(format!("root=LABEL=NONE rootwait=0 {words}")))
}

fn action(outcome: &Outcome) -> Option<&str> {
    outcome
        .events
        .iter()
        .find(|event| event.name() == "end")?
        .raw["action"]
        .as_str()
}

/// The kernel's own timeout is 0 here, which would be to hold: only the word `panic=0` asks for
/// that.
fn failure_reboots_unless_something_else_is_asked_for(lab: &Lab) -> Result<()> {
    let name = "failure_reboots_unless_something_else_is_asked_for";
    let waited = seconds_to_reboot(lab, name, "berth.on_failure=reboot")?;
    ensure!((10.0..10.5).contains(&waited), "it took {waited} s");
    Ok(())
}

/// How long a machine that cannot find its root waits before it starts again. Guest time is counted
/// in instructions here, so that a busy host cannot stretch it, and passes at once where the guest
/// waits.
fn seconds_to_reboot(lab: &Lab, name: &str, words: &str) -> Result<f64> {
    let outcome = rootless(lab, name, words)?.counted().start()?.wait()?;
    outcome.assert(Ended::Reboot, OWN_FAILURE)?;
    ensure!(action(&outcome) == Some("reboot"));
    // The kernel's clock on the console: our last line, and the kernel's at the end.
    let stamp = |text: &str| -> Result<f64> {
        let line = outcome
            .console
            .lines()
            .rfind(|line| line.contains(text))
            .with_context(|| text.to_owned())?;
        let time = line
            .split(['[', ']'])
            .nth(1)
            .with_context(|| line.to_owned())?;
        Ok(time.trim().parse()?)
    };
    Ok(stamp("reboot: ")? - stamp("the boot ends here")?)
}

fn failure_halts(lab: &Lab) -> Result<()> {
    let outcome = rootless(lab, "failure_halts", "berth.on_failure=halt")?
        .start()?
        .wait()?;
    outcome.assert(Ended::Halt, OWN_FAILURE)?;
    ensure!(action(&outcome) == Some("halt"));
    Ok(())
}

fn failure_panics_for_machines_that_collect_dumps(lab: &Lab) -> Result<()> {
    let name = "failure_panics_for_machines_that_collect_dumps";
    let vm = rootless(lab, name, "berth.on_failure=panic panic=-1")?.start()?;
    vm.expect("the report", |event| event.is_failure("B020"))?;
    let end = vm.wait().err().context("the kernel did not panic")?;
    ensure!(matches!(end.why, VmFailure::KernelPanic(_)), "{end}");
    Ok(())
}

fn failure_reboots_after_the_seconds_of_panic(lab: &Lab) -> Result<()> {
    let name = "failure_reboots_after_the_seconds_of_panic";
    let waited = seconds_to_reboot(lab, name, "berth.on_failure=reboot panic=3")?;
    ensure!((3.0..3.5).contains(&waited), "panic=3 took {waited} s");
    Ok(())
}

fn failure_rests_with_panic_0(lab: &Lab) -> Result<()> {
    let vm = rootless(
        lab,
        "failure_rests_with_panic_0",
        "loglevel=7 berth.on_failure=reboot panic=0",
    )?
    .start()?;
    vm.expect("the end", |event| event.name() == "end")?;
    rests(vm)
}

/// Sees the machine say that it rests, and switches it off. A kernel may keep the last line of its
/// log from the console until the next one; a disk that is plugged in gives it more to say.
fn rests(mut vm: Vm) -> Result<()> {
    vm.plug(Drive::blk(&Disk::empty(1).build()?))?;
    vm.expect_console("holding, as panic=0 asks")?;
    vm.quit()?;
    Ok(vm.wait()?.assert_ended(Ended::Killed)?)
}

fn failure_gives_a_shell_where_there_is_one(lab: &Lab) -> Result<()> {
    // `berth-qemu setup` has installed it: the demo needs it too.
    let spec = lab
        .spec()?
        .load(["virtio_pci", "virtio_console"])
        .add("/bin/busybox", "/bin/sh");
    let vm = lab
        .machine_with(
            "failure_gives_a_shell_where_there_is_one",
            &spec.build(Compression::None)?,
        )
        .append("root=LABEL=NONE rootwait=0 berth.on_failure=shell panic=-1")
        .start()?;
    let prompt = vm.expect_console("# ")?;
    vm.send_console(b"echo shell is process $$ of $PPID\n")?;
    // The shell echoes what is typed, so the answer is told by what only a shell can fill in.
    vm.expect_console_after(prompt, "of 1\n")?;
    vm.send_console(b"exit\n")?;
    Ok(vm.wait()?.assert(Ended::Reboot, OWN_FAILURE)?)
}

fn shell_that_is_missing_is_said_to_be(lab: &Lab) -> Result<()> {
    let vm = rootless(
        lab,
        "shell_that_is_missing_is_said_to_be",
        "berth.on_failure=shell panic=-1",
    )?;
    let outcome = vm.start()?.wait()?;
    outcome.assert(Ended::Reboot, OWN_FAILURE)?;
    ensure!(
        outcome.console.contains("there is no shell at /bin/sh"),
        "{}",
        outcome.log.display()
    );
    Ok(())
}

/// The lines of the report, as the console shows them.
fn report(outcome: &Outcome) -> Vec<&str> {
    outcome
        .console
        .lines()
        .filter(|line| line.contains("berth: "))
        .collect()
}

/// Without modules there is no event port either, on kernels that have its driver as a module.
fn image_for_another_kernel_is_told_where_it_asks_for_no_module_by_name(lab: &Lab) -> Result<()> {
    let name = "image_for_another_kernel_is_told_where_it_asks_for_no_module_by_name";
    let spec = lab
        .spec()?
        .for_devices([DeviceClass::Virtio])
        .omit(format!("/lib/modules/{}", lab.kernel.release))
        .replace("/lib/modules/5.0.0-none/modules.dep", [], 0o644);
    let outcome = lab
        .machine_with(name, &spec.build(Compression::None)?)
        .append("root=LABEL=BERTH rootwait=0")
        .blk(&disk::vfat([])?)
        .start()?
        .wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    let release = &lab.kernel.release;
    let line = format!("the kernel is {release}, the image has modules of 5.0.0-none");
    let lines = report(&outcome);
    ensure!(
        lines.iter().any(|found| found.contains(&line)),
        "{lines:#?}"
    );
    Ok(())
}

fn report_is_on_a_quiet_console_too(lab: &Lab) -> Result<()> {
    let outcome = rootless(lab, "report_is_on_a_quiet_console_too", "quiet")?
        .blk(&disk::vfat([])?)
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let lines = report(&outcome);
    let expected = [
        "wait for root=LABEL=NONE",
        "compare root= with the devices below",
        "asked for: root=LABEL=NONE",
        "/dev/vda: ",
        "/dev/vda1: ",
        // The machine's IDE controller, which no test uses.
        "no driver, and no module in the image, for 0000:00:01.1 ",
        "the boot ends here",
    ];
    ensure!(lines.len() == expected.len(), "{lines:#?}");
    for (line, text) in lines.iter().zip(expected) {
        ensure!(line.contains(text), "expected {text:?} in {line}");
    }
    Ok(())
}

fn report_with_many_disks_fits_one_screen(lab: &Lab) -> Result<()> {
    let image = Disk::mbr(1)
        .partition(Fs::ext4(disk::LABEL, disk::EXT4_UUID, Tree::new()).mib(4))
        .build()?;
    let vm = rootless(lab, "report_with_many_disks_fits_one_screen", "quiet")?;
    let outcome = (0..14).fold(vm, |vm, _| vm.blk(&image)).start()?.wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let lines = report(&outcome);
    let rows: usize = lines.iter().map(|line| line.len().div_ceil(COLUMNS)).sum();
    ensure!(rows <= LINES, "{rows} rows: {lines:#?}");
    // 28 devices are more than fit; that there are more is said.
    ensure!(
        lines
            .iter()
            .any(|line| line.contains(" more block devices")),
        "{lines:#?}"
    );
    Ok(())
}

/// Without `/proc` there is no command line: what it asks for is not known, and the kernel's
/// `panic=` neither.
fn machine_without_proc_reports_and_reboots(lab: &Lab) -> Result<()> {
    let image = lab
        .spec()?
        .replace("/proc", [], 0o644)
        .build(Compression::None)?;
    let vm = lab
        .machine_with("machine_without_proc_reports_and_reboots", &image)
        .without_events()
        .start()?;
    vm.expect_console("mount proc as proc on /proc: ENOTDIR  [B005]")?;
    // What the command line says cannot be read, and nobody who waits was asked for.
    Ok(vm.wait()?.assert_ended(Ended::Reboot)?)
}
