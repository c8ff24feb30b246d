//! From a description to a running QEMU.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use anyhow::{Context, Result};
use qapi_qmp::qmp_capabilities;
use serde_json::{Value, json};

use super::Vm;
use super::arrival::{self, Disk};
use super::builder::Builder;
use super::drive::Bus;
use super::process::{self, Process, Sockets};
use super::qmp::Qmp;
use super::watch::{Limits, Watch};
use crate::accel::{self, Accel};
use crate::control;
use crate::program::command;

/// QEMU's arguments, and the sockets that they name.
#[derive(Default)]
struct CommandLine {
    arguments: Vec<String>,
    sockets: Sockets,
}

impl CommandLine {
    fn option(&mut self, option: &str, value: impl Into<String>) {
        self.arguments.extend([option.to_owned(), value.into()]);
    }

    /// A device. All are in JSON, because QEMU makes those behind all plain ones, and some need
    /// another.
    fn device(&mut self, device: &Value) {
        self.option("-device", device.to_string());
    }

    /// A character device that QEMU knows by `id`. Returns our end.
    fn socket(&mut self, id: &str) -> Result<UnixStream> {
        let (ours, fd) = self.sockets.add()?;
        self.option("-chardev", format!("socket,id={id},fd={fd}"));
        Ok(ours)
    }
}

/// Starts the machine; all that it leaves behind goes to `dir`, which is there and empty.
pub(super) fn launch(mut builder: Builder, dir: PathBuf) -> Result<Vm> {
    let mut line = CommandLine::default();
    add_machine(&mut line, &builder)?;
    let qmp = line.socket("qmp")?;
    line.option("-mon", "chardev=qmp,mode=control");
    let console = line.socket("console")?;
    line.option("-serial", "chardev:console");
    let mut ports = Vec::new();
    for (index, name) in builder.ports.iter().enumerate() {
        let id = format!("port{index}");
        ports.push((name.clone(), line.socket(&id)?));
        line.device(&json!({ "driver": "virtserialport", "chardev": id, "name": name }));
    }
    if let Some(socket) = &builder.control {
        let fd = line.sockets.pass(control::listen(socket)?)?;
        line.option(
            "-chardev",
            format!("socket,id=control,fd={fd},server=on,wait=off"),
        );
        line.device(
            &json!({ "driver": "virtserialport", "chardev": "control", "name": control::PORT }),
        );
    }
    let mut controllers = Vec::new();
    for controller in builder
        .drives
        .iter()
        .flat_map(|drive| drive.bus.controllers())
    {
        if !controllers.contains(&controller) {
            line.device(&controller);
            controllers.push(controller);
        }
    }
    let mut arriving = Vec::new();
    for (disk, is_first) in disks(&builder, &dir)? {
        if is_first {
            line.option("-blockdev", disk.storage.to_string());
            line.device(&disk.device);
        } else {
            arriving.push(disk);
        }
    }
    line.arguments.append(&mut builder.arguments);
    if builder.saved.is_some() {
        line.option("-incoming", "defer");
    }

    let create = |name: &str| {
        File::create(dir.join(name)).with_context(|| format!("create {}/{name}", dir.display()))
    };
    let mut qemu = command(builder.arch.qemu());
    qemu.args(&line.arguments);
    writeln!(create("command")?, "{qemu:?}").context("write QEMU's command line")?;

    let events = builder.has_events.then(|| ports.remove(0).1);
    // The console, QMP, and the events.
    let watch = Arc::new(Watch::new(2 + usize::from(events.is_some())));
    let (stopped, stops) = mpsc::channel();
    let (qmp, answers) = Qmp::new(qmp, watch.clone(), stopped)?;
    let qmp = Arc::new(qmp);
    process::follow(answers, watch.clone());
    arrival::follow(arriving, stops, qmp.clone(), watch.clone());
    let (screen, log) = (builder.screen.take(), create("console.log")?);
    process::follow_console(console.try_clone()?, log, screen, watch.clone());
    if let Some(events) = events {
        process::follow_events(events, create("events.jsonl")?, watch.clone());
    }
    let process = Process::start(qemu, line.sockets, &dir.join("qemu.log"), watch.clone())?;
    let Builder {
        name,
        limits,
        is_counted,
        drives,
        control,
        saved,
        ..
    } = builder;
    let vm = Vm {
        name,
        dir,
        limits,
        is_counted,
        watch,
        process,
        qmp,
        console,
        ports,
        control,
        drives,
        plugged: BTreeMap::new(),
    };
    if vm.qmp.execute(qmp_capabilities { enable: None }).is_err() {
        // QEMU is going down; its own words say more than the broken connection.
        let limits = Limits {
            silence: None,
            ..vm.limits
        };
        vm.until(limits, "QEMU to take commands", |_| None::<()>)?;
    }
    if let Some(file) = saved {
        vm.bring_back(&file)?;
    }
    Ok(vm)
}

/// The drives on copies of their images, and whether they are there from the start. Of the SCSI
/// disks that is the first, unless all are wanted at once.
fn disks(builder: &Builder, dir: &Path) -> Result<Vec<(Disk, bool)>> {
    let drives = &builder.drives;
    let mut disks = Vec::new();
    for (index, drive) in drives.iter().enumerate() {
        let node = format!("disk{index}");
        let file = drive.copy(&dir.join(format!("{node}.img")))?;
        let place = drive.place(&drives[..index]);
        let disk = Disk {
            storage: drive.storage(&node, &file),
            device: drive.device(&node, place, builder.is_counted),
        };
        let is_one_by_one = drive.bus == Bus::Scsi && !builder.are_at_once;
        let is_last = !drives[index + 1..]
            .iter()
            .any(|other| other.bus == drive.bus);
        let disk = if is_one_by_one && !is_last {
            disk.with_tripwire()
        } else {
            disk
        };
        disks.push((disk, !is_one_by_one || place == 0));
    }
    Ok(disks)
}

/// The machine without its drives and what is connected to the host.
fn add_machine(line: &mut CommandLine, builder: &Builder) -> Result<()> {
    let kernel = builder
        .kernel
        .as_ref()
        .context("the machine has no kernel")?;
    // Counting instructions is TCG's.
    let accel = match builder.is_counted {
        true => Accel::Tcg,
        false => accel::best(builder.arch, kernel)?,
    };
    line.option("-machine", builder.arch.machine());
    line.option("-accel", accel.name());
    let (cpu, machine_words) = match accel {
        Accel::Kvm => ("host", ""),
        Accel::Tcg => (builder.arch.tcg_cpu(), builder.arch.tcg_words()),
    };
    line.option("-cpu", cpu);
    if builder.is_counted {
        line.option("-icount", "shift=0,sleep=off");
        line.option("-seed", "1");
    }
    line.option("-smp", builder.cpus.to_string());
    line.option("-m", format!("{}M", builder.memory_mib));
    line.option("-display", "none");
    line.arguments
        .extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
    line.option("-kernel", kernel.display().to_string());
    if let Some(initrd) = &builder.initrd {
        line.option("-initrd", initrd.display().to_string());
    }
    let words = builder.words.join(" ");
    line.option(
        "-append",
        format!("console={} {machine_words} {words}", builder.arch.console()),
    );

    // An eventfd wakes QEMU by the host's clock, which no counted machine may depend on.
    let ioeventfd = !builder.is_counted;
    if !builder.ports.is_empty() || builder.control.is_some() {
        line.device(
            &json!({ "driver": "virtio-serial-pci", "id": "ports", "ioeventfd": ioeventfd }),
        );
    }
    // There without drives too: some may be plugged in later.
    line.device(&json!({ "driver": "virtio-scsi-pci", "id": "scsi", "ioeventfd": ioeventfd }));
    Ok(())
}
