//! The harness itself, against a guest that does exactly what each test tells it: a shell script as
//! `/init`.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, ModuleTree, Spec};
use berth_qemu::arch::Arch;
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::kernel::{self, Kernel, Series};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Builder, Drive, Ended, Failure, Vm, VmFailure};
use serde_json::json;

/// What every guest does first: it leaves `$EVENTS` as the event port.
const PROLOGUE: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in virtio_pci virtio_console sd_mod virtio_scsi virtio_blk nls_cp437 nls_ascii vfat
do modprobe $module; done
port() { for port in /sys/class/virtio-ports/*; do
    grep -qx "$1" $port/name && echo /dev/${port##*/}
done; }
EVENTS=$(port org.berth.events)
end() { echo '{"t":3,"event":"end","status":0,"action":"poweroff"}' > $EVENTS; poweroff -f; }
"#;

/// A machine whose PID 1 is this script, behind the prologue.
fn guest(name: &str, script: &str) -> Result<Builder> {
    guest_of(&kernel::default(Arch::X86_64)?, name, script)
}

fn guest_of(kernel: &Kernel, name: &str, script: &str) -> Result<Builder> {
    let image = Spec::new("/bin/busybox")
        .modules(ModuleTree::open(&kernel.modules, None)?)
        .load([
            "virtio_pci",
            "virtio_console",
            "sd_mod",
            "virtio_scsi",
            "virtio_blk",
            "vfat",
        ])
        .add("/bin/busybox", "/bin/busybox")
        .replace("/init", format!("{PROLOGUE}{script}"), 0o755)
        .build(Compression::None)?;
    Ok(Vm::builder(name).kernel(kernel).initrd_bytes(image.bytes))
}

fn why<T>(result: Result<T, Failure>) -> Result<VmFailure> {
    Ok(result.err().context("the machine did not fail")?.why)
}

#[test]
fn events_come_in_order_and_the_end_is_known() -> Result<()> {
    let script = r#"echo '{"t":1,"event":"stage","stage":"root","us":7}' > $EVENTS; end"#;
    let vm = guest("events_come_in_order", script)?.start()?;
    vm.expect("the stage root", |event| event.is_stage("root"))?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let names: Vec<&str> = outcome.events.iter().map(|event| event.name()).collect();
    ensure!(names == ["stage", "end"], "{names:?}");
    Ok(())
}

#[test]
fn panic_is_a_kernel_panic() -> Result<()> {
    let vm = guest("panic_is_a_kernel_panic", "exit 1")?.start()?;
    let VmFailure::KernelPanic(line) = why(vm.wait())? else {
        anyhow::bail!("no panic")
    };
    ensure!(line.contains("Attempted to kill init"), "{line}");
    Ok(())
}

#[test]
fn silent_guest_hangs() -> Result<()> {
    let silence = Duration::from_secs(5);
    let vm = guest("silent_guest_hangs", "sleep 1000")?
        .silence(silence)
        .start()?;
    let failure = why(vm.expect_event("end"))?;
    ensure!(matches!(&failure, VmFailure::Hang { .. }), "{failure}");
    Ok(())
}

#[test]
fn busy_guest_meets_its_deadline() -> Result<()> {
    let deadline = Duration::from_secs(8);
    let script = "while sleep 1; do echo busy; done";
    let vm = guest("busy_guest_meets_its_deadline", script)?
        .deadline(deadline)
        .start()?;
    let failure = why(vm.expect_event("end"))?;
    ensure!(matches!(&failure, VmFailure::Deadline { .. }), "{failure}");
    Ok(())
}

#[test]
fn machine_without_a_kernel_fails_to_start() -> Result<()> {
    let name = "machine_without_a_kernel_fails_to_start";
    let Err(error) = guest(name, "")?
        .arguments(["-kernel", "/no/such/kernel"])
        .start()
    else {
        anyhow::bail!("the machine started");
    };
    let VmFailure::FailedToStart(text) = error.downcast::<Failure>()?.why else {
        anyhow::bail!("another failure")
    };
    ensure!(text.contains("/no/such/kernel"), "{text}");
    Ok(())
}

#[test]
fn end_before_the_awaited_event_is_an_assertion() -> Result<()> {
    let vm = guest("end_before_the_awaited_event", "end")?.start()?;
    let failure = why(vm.expect_event("container"))?.to_string();
    ensure!(
        failure.contains("expected an event `container`"),
        "{failure}"
    );
    ensure!(failure.contains("guest_shutdown"), "{failure}");
    Ok(())
}

#[test]
fn line_that_is_no_event_is_an_assertion() -> Result<()> {
    let vm = guest("line_that_is_no_event", "echo hello > $EVENTS; end")?.start()?;
    let failure = why(vm.wait())?.to_string();
    ensure!(failure.contains(r#""hello""#), "{failure}");
    Ok(())
}

#[test]
fn reboot_and_halt_are_told_apart() -> Result<()> {
    guest("reboot_is_told", "reboot -f")?
        .start()?
        .wait()?
        .assert_ended(Ended::Reboot)?;
    guest("halt_is_told", "halt -f")?
        .start()?
        .wait()?
        .assert_ended(Ended::Halt)?;
    Ok(())
}

#[test]
fn keys_reach_the_guest() -> Result<()> {
    let vm = guest("keys_reach_the_guest", "echo re'ady'; sleep 1000")?.start()?;
    vm.expect_console("ready")?;
    vm.ctrl_alt_delete()?;
    vm.wait()?.assert_ended(Ended::Reboot)?;
    Ok(())
}

#[test]
fn what_is_typed_reaches_the_guest() -> Result<()> {
    let vm = guest(
        "what_is_typed",
        "echo re'ady'; read word; echo got $word; end",
    )?
    .start()?;
    let offset = vm.expect_console("ready")?;
    vm.send_console(b"berth\n")?;
    vm.expect_console_after(offset, "got berth")?;
    vm.wait()?.assert(Ended::PowerOff, 0)?;
    Ok(())
}

#[test]
fn port_of_ones_own_is_connected() -> Result<()> {
    let script = "echo hello > $(port org.berth.test); end";
    let vm = guest("port_of_ones_own", script)?
        .port("org.berth.test")
        .start()?;
    let mut line = String::new();
    let port = vm.port("org.berth.test").context("no such port")?;
    BufReader::new(port).read_line(&mut line)?;
    ensure!(line == "hello\n", "{line:?}");
    vm.wait()?.assert(Ended::PowerOff, 0)?;
    Ok(())
}

#[test]
fn control_port_is_connected_for_one_after_the_other() -> Result<()> {
    // One that is closed in between loses what has come: the port stays open.
    let script = r#"
        exec 3<>$(port org.berth.control)
        while sleep 0.1; do
            while read -r line <&3; do
                [ "$line" ] || continue
                id=${line##*'"id":'}
                echo "{\"id\":${id%%[,\}]*},\"ok\":{\"status\":7}}" >&3
            done
        done"#;
    let vm = guest("control_port_is_connected", script)?
        .control()
        .start()?;
    for _ in 0..2 {
        let mut client = vm.control()?;
        let answer = client.request(json!({ "do": "list" }))?;
        ensure!(answer.end == Ok(json!({ "status": 7 })), "{answer:?}");
    }
    Ok(())
}

#[test]
fn disk_is_plugged_in_and_pulled_out() -> Result<()> {
    let script = "
        echo re'ady'
        until [ -b /dev/sda ]; do sleep 0.1; done; echo 'disk came:' $(cat /sys/block/sda/size)
        while [ -b /dev/sda ]; do sleep 0.1; done; echo 'disk left'; end";
    let mut vm = guest("disk_is_plugged_in_and_pulled_out", script)?.start()?;
    vm.expect_console("ready")?;
    let disk = vm.plug(&Disk::empty(3).build()?)?;
    vm.expect_console("disk came: 6144")?;
    vm.unplug(&disk)?;
    vm.expect_console("disk left")?;
    vm.wait()?.assert(Ended::PowerOff, 0)?;
    Ok(())
}

#[test]
fn disks_are_read_by_the_guest_as_they_were_made() -> Result<()> {
    let tree = || Tree::new().file("containers/web/config.json", "the config\n");
    let uuid = uuid::Uuid::from_u128(0xb0a7);
    let vfat = Disk::mbr(0xb0a7_0001)
        .partition(Fs::vfat("BERTH", 0xb0a7_0002, tree()))
        .build()?;
    let ext4 = Disk::gpt(uuid)
        .partition(Fs::empty())
        .named(
            "data",
            Fs::ext4(
                "DATA",
                uuid,
                tree().symlink("link", "containers/web/config.json"),
            ),
        )
        .build()?;
    let script = "
        mkdir /a /b; until [ -b /dev/sdb1 ]; do sleep 0.1; done
        mount -t vfat /dev/sdb1 /a && cat /a/containers/web/config.json
        mount -t ext4 /dev/vda2 /b && cat /b/link
        cat /sys/class/block/vda/serial; echo
        grep PARTNAME /sys/class/block/vda2/uevent; end";
    let vm = guest("disks_are_read", script)?
        .scsi(&Disk::empty(1).build()?)
        .scsi(&vfat)
        .drive(Drive::blk(&ext4).serial("berth-serial"))
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    ensure!(
        outcome.console.matches("the config").count() == 2,
        "{}",
        outcome.console
    );
    for text in ["berth-serial", "PARTNAME=data"] {
        ensure!(
            outcome.console.contains(text),
            "no {text} in {}",
            outcome.console
        );
    }
    Ok(())
}

#[test]
fn scsi_disks_are_named_in_order_on_every_kernel() -> Result<()> {
    let script = "
        until [ -b /dev/sdc ]; do sleep 0.1; done
        echo sizes: $(cat /sys/block/sda/size /sys/block/sdb/size /sys/block/sdc/size); end";
    for series in Series::ALL {
        let name = format!("scsi_disks_are_named_in_order_on_{}", series.name());
        let vm = guest_of(&series.get(Arch::X86_64)?, &name, script)?
            .scsi(&Disk::empty(1).build()?)
            .scsi(&Disk::empty(2).build()?)
            .scsi(&Disk::empty(3).build()?)
            .start()?;
        let outcome = vm.wait()?;
        outcome.assert(Ended::PowerOff, 0)?;
        ensure!(
            outcome.console.contains("sizes: 2048 4096 6144"),
            "{}",
            outcome.console
        );
        ensure!(
            !outcome.console.contains("I/O error"),
            "{}",
            outcome.console
        );
    }
    Ok(())
}

#[test]
fn what_the_guest_writes_stays_in_its_copy() -> Result<()> {
    let image = Disk::empty(1).build()?;
    let script = "echo written > /dev/sda; sync; end";
    let vm = guest("what_the_guest_writes", script)?
        .scsi(&image)
        .start()?;
    vm.wait()?.assert(Ended::PowerOff, 0)?;
    ensure!(std::fs::read(vm.disk(0))?.starts_with(b"written\n"));
    ensure!(
        std::fs::read(&image)?.iter().all(|byte| *byte == 0),
        "the image was changed"
    );
    Ok(())
}

#[test]
fn counted_machine_repeats_to_within_a_percent() -> Result<()> {
    let uptime = || -> Result<f64> {
        let script = "echo up: $(cut -d' ' -f1 /proc/uptime) s; end";
        let vm = guest("counted_machine", script)?
            .counted()
            .append("idle=poll")
            .start()?;
        let console = vm.wait()?.console;
        let (_, rest) = console.split_once("up: ").context("no uptime")?;
        Ok(rest.split_once(" s").context("no uptime")?.0.parse()?)
    };
    let (first, second) = (uptime()?, uptime()?);
    ensure!(
        (first - second).abs() <= 0.01 * first,
        "{first} and {second}"
    );
    Ok(())
}
