//! Virtual machines for tests: boot one, follow it, say how it ended.
//!
//! A machine has one serial console, one virtio-scsi controller for its disks, and a virtio-serial
//! port on which berth reports what it does ([`Event`]). Tests wait for events, or for words on the
//! console where it is the console that is under test. All waiting ends at the machine's deadline
//! at the latest, and earlier when the awaited thing can no longer come: the five ways in which a
//! machine can fail are [`VmFailure`].
//!
//! Disks are copied before the machine sees them, so that tests may share images. What a machine
//! leaves behind, the console's log, the events, QEMU's command line and messages, and the disks as
//! they became, is in `target/vm/<name>/` until a machine of that name starts again. So names are
//! unique: a test uses its own.
//!
//! ```no_run
//! # fn test(image: &berth_qemu::disk::DiskImage, kernel: &berth_qemu::kernel::Kernel) -> anyhow::Result<()> {
//! use berth_qemu::vm::{Ended, Vm};
//! let vm = Vm::builder("web_is_started").kernel(kernel).initrd("target/initramfs.cpio").scsi(image).start()?;
//! vm.expect("web to start", |event| event.is_container("web", "started"))?;
//! vm.ctrl_alt_delete()?;
//! vm.wait()?.assert(Ended::Reboot, 0)?;
//! # Ok(()) }
//! ```

mod arrival;
mod builder;
mod drive;
mod event;
mod failure;
mod launch;
mod outcome;
mod process;
mod qmp;
mod seen;
mod watch;

pub use builder::Builder;
pub use drive::{Bus, Drive};
pub use event::{Event, What};
pub use failure::{Failure, VmFailure};
pub use outcome::{Ended, Outcome};

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use qapi_qmp::{
    MigrationCapability, MigrationCapabilityStatus, MigrationStatus, QKeyCode, blockdev_close_tray,
    blockdev_insert_medium, blockdev_open_tray, cont, device_del, eject, migrate, migrate_incoming,
    migrate_set_capabilities, qom_set, quit, send_key, stop, system_powerdown,
};
use serde_json::{Value, json};

use crate::control::{self, Client};

use process::Process;
use qmp::Qmp;
use seen::Seen;
use watch::{Limits, Watch};

/// A running machine. Dropped, it is killed.
pub struct Vm {
    name: String,
    dir: PathBuf,
    limits: Limits,
    is_counted: bool,
    watch: Arc<Watch>,
    process: Process,
    qmp: Arc<Qmp>,
    console: UnixStream,
    ports: Vec<(String, UnixStream)>,
    control: Option<PathBuf>,
    drives: Vec<Drive>,
    /// The devices that were plugged in, by name.
    plugged: BTreeMap<String, Value>,
}

impl Vm {
    /// Begins the description of a machine. The name is that of its directory below `target/vm/`.
    pub fn builder(name: &str) -> Builder {
        Builder::new(name)
    }

    /// Waits for an event, which may have come already. `what` says in words which: `"web to
    /// start"`.
    ///
    /// # Errors
    /// The machine's failure, or that it ended otherwise.
    pub fn expect(
        &self,
        what: &str,
        mut is_it: impl FnMut(&Event) -> bool,
    ) -> Result<Event, Failure> {
        self.expect_that(what, |events| {
            events.iter().find(|event| is_it(event)).cloned()
        })
    }

    /// Waits for the first event of that name.
    ///
    /// # Errors
    /// As [`Vm::expect`].
    pub fn expect_event(&self, name: &str) -> Result<Event, Failure> {
        self.expect(&format!("an event `{name}`"), |event| event.name() == name)
    }

    /// Waits until something can be found in the events so far: two restarts, one thing before
    /// another.
    ///
    /// # Errors
    /// As [`Vm::expect`].
    pub fn expect_that<T>(
        &self,
        what: &str,
        mut find: impl FnMut(&[Event]) -> Option<T>,
    ) -> Result<T, Failure> {
        self.until(self.limits, what, |seen| find(&seen.events))
    }

    /// Waits for a text on the console, which may have come already. Returns the offset of its end.
    ///
    /// # Errors
    /// As [`Vm::expect`].
    pub fn expect_console(&self, text: &str) -> Result<usize, Failure> {
        self.expect_console_after(0, text)
    }

    /// Waits for a text on the console behind `offset`, where an earlier one ended. Returns the
    /// offset of its end.
    ///
    /// # Errors
    /// As [`Vm::expect`].
    pub fn expect_console_after(&self, offset: usize, text: &str) -> Result<usize, Failure> {
        self.until(self.limits, &format!("{text:?} on the console"), |seen| {
            let found = seen.console.get(offset..)?.find(text)?;
            Some(offset + found + text.len())
        })
    }

    /// Waits for the machine's end.
    ///
    /// # Errors
    /// The machine's failure. A kernel that panics has failed, even when it reboots afterwards.
    pub fn wait(&self) -> Result<Outcome, Failure> {
        let ended = self.until(self.limits, "the machine's end", Seen::ended)?;
        let seen = self.watch.look();
        Ok(Outcome {
            machine: self.name.clone(),
            ended,
            events: seen.events.clone(),
            console: seen.console.clone(),
            log: self.console_log(),
        })
    }

    /// The events so far.
    pub fn events(&self) -> Vec<Event> {
        self.watch.look().events.clone()
    }

    /// Takes the events out up to the first that is the last of them, or all if none is. Nobody
    /// finds them later, and a machine that runs for long does not fill the host's memory.
    pub fn take_events(&self, is_last: impl FnMut(&Event) -> bool) -> Vec<Event> {
        let events = &mut self.watch.look().events;
        let last = events.iter().position(is_last);
        let end = last.map_or(events.len(), |last| last + 1);
        events.drain(..end).collect()
    }

    /// The console's output so far, without carriage returns.
    pub fn console(&self) -> String {
        self.watch.look().console.clone()
    }

    /// Types on the console.
    ///
    /// # Errors
    /// QEMU is gone.
    pub fn send_console(&self, bytes: &[u8]) -> Result<()> {
        (&self.console)
            .write_all(bytes)
            .context("write to the console")
    }

    /// The host's end of a port that was added with [`Builder::port`].
    pub fn port(&self, name: &str) -> Option<&UnixStream> {
        self.ports
            .iter()
            .find(|(port, _)| port == name)
            .map(|(_, stream)| stream)
    }

    /// Connects to the control port, which [`Builder::control`] has given it. QEMU lets one client
    /// in at a time: the next one waits until the one before is dropped.
    ///
    /// # Errors
    /// It has none, or QEMU is gone.
    pub fn control(&self) -> Result<Client> {
        let socket = self.control.as_ref().context("it has no control port")?;
        Client::connect(socket)
    }

    /// The copy of the drive that the machine works on, in the order in which drives were added.
    pub fn disk(&self, index: usize) -> PathBuf {
        self.dir.join(format!("disk{index}.img"))
    }

    /// All of them.
    pub fn disks(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.drives.len()).map(|index| self.disk(index))
    }

    /// Plugs a disk in. Returns the name that [`Vm::unplug`] takes.
    ///
    /// A bridge of USB Attached SCSI comes with each disk on one, and the machine has to have an
    /// xHCI controller.
    ///
    /// # Errors
    /// QEMU's refusal.
    pub fn plug(&mut self, drive: impl Into<Drive>) -> Result<String> {
        let drive = drive.into();
        let (node, storage) = self.storage(&drive)?;
        let place = drive.place(&self.drives);
        let mut device = drive.device(&node, place, self.is_counted);
        let bridge = format!("uas-{node}");
        let is_bridged = drive.bus == Bus::Uas;
        if is_bridged {
            // The guest looks for disks behind it once, when it is attached.
            self.qmp.plug_device(json!({
                "driver": "usb-uas", "id": bridge, "bus": "xhci.0", "attached": false,
            }))?;
            device["bus"] = format!("{bridge}.0").into();
            device["lun"] = 0.into();
        }
        let name = device["id"].as_str().unwrap_or_default().to_owned();
        self.qmp.plug(storage, device.clone())?;
        self.plugged.insert(name.clone(), device);
        self.drives.push(drive);
        if is_bridged {
            self.qmp.execute(qom_set {
                path: format!("/machine/peripheral/{bridge}"),
                property: "attached".to_owned(),
                value: true.into(),
            })?;
            return Ok(bridge);
        }
        Ok(name)
    }

    /// Puts a medium into the drive `device`, which has a tray, and which the machine was given by
    /// an argument.
    ///
    /// # Errors
    /// QEMU's refusal.
    pub fn insert(&mut self, device: &str, medium: impl Into<Drive>) -> Result<()> {
        let medium = medium.into();
        let (node_name, storage) = self.storage(&medium)?;
        self.qmp.add_storage(storage)?;
        self.drives.push(medium);
        let open: blockdev_open_tray = of_device(device)?;
        self.qmp.execute(open)?;
        self.qmp.execute(blockdev_insert_medium {
            id: device.to_owned(),
            node_name,
        })?;
        let close: blockdev_close_tray = of_device(device)?;
        self.qmp.execute(close)?;
        Ok(())
    }

    /// Takes the medium out of the drive `device`, whoever uses it.
    ///
    /// # Errors
    /// QEMU's refusal.
    pub fn eject(&self, device: &str) -> Result<()> {
        let by_force: eject = serde_json::from_value(json!({ "id": device, "force": true }))?;
        self.qmp.execute(by_force)?;
        Ok(())
    }

    /// The storage of a drive that comes, on a copy of its image, and its name.
    fn storage(&self, drive: &Drive) -> Result<(String, Value)> {
        let node = format!("disk{}", self.drives.len());
        let file = drive.copy(&self.disk(self.drives.len()))?;
        let storage = drive.storage(&node, &file);
        Ok((node, storage))
    }

    /// Plugs any other device in, by QMP's form of it.
    ///
    /// # Errors
    /// QEMU's refusal.
    pub fn plug_device(&self, device: Value) -> Result<()> {
        self.qmp.plug_device(device)
    }

    /// Pulls a device out. A virtio-blk disk goes when the guest has let go of it, a SCSI disk at
    /// once.
    ///
    /// # Errors
    /// QEMU's refusal.
    pub fn unplug(&self, name: &str) -> Result<()> {
        self.qmp.execute(device_del {
            id: name.to_owned(),
        })?;
        Ok(())
    }

    /// Plugs a disk that was pulled out in again, once QEMU has let go of it. What was written to
    /// it is still there.
    ///
    /// # Errors
    /// It was never plugged in, or is behind a bridge; QEMU's refusal.
    pub fn replug(&self, name: &str) -> Result<()> {
        let device = self.plugged.get(name);
        let device = device.with_context(|| format!("{name} was not plugged in"))?;
        self.until(self.limits, &format!("QEMU to let go of {name}"), |seen| {
            seen.gone.contains(name).then_some(())
        })?;
        self.watch.look().gone.remove(name);
        self.qmp.plug_device(device.clone())
    }

    /// Presses the power button (ACPI).
    ///
    /// # Errors
    /// QEMU's refusal.
    pub fn power_button(&self) -> Result<()> {
        self.qmp.execute(system_powerdown {})?;
        Ok(())
    }

    /// Presses Ctrl-Alt-Delete: SIGINT for PID 1, where the kernel was told so, else a reboot.
    ///
    /// # Errors
    /// QEMU's refusal.
    pub fn ctrl_alt_delete(&self) -> Result<()> {
        let keys = [QKeyCode::ctrl, QKeyCode::alt, QKeyCode::delete];
        let keys = keys.map(|key| qapi_qmp::KeyValue::qcode(key.into())).into();
        self.qmp.execute(send_key {
            hold_time: None,
            keys,
        })?;
        Ok(())
    }

    /// Stops the machine, and writes its memory and devices to `file`, for [`Builder::saved`]. It
    /// stays stopped.
    ///
    /// # Errors
    /// QEMU's refusal, or what it could not write.
    pub fn save(&self, file: &Path) -> Result<()> {
        self.qmp.execute(stop {})?;
        let uri = format!("exec:cat > '{}'", file.display());
        self.migrate("the machine to be saved", || {
            self.qmp.execute(migrate {
                uri: Some(uri),
                channels: None,
                detach: None,
                resume: None,
            })
        })
    }

    /// Reads what [`Vm::save`] has written, and goes on from there.
    fn bring_back(&self, file: &Path) -> Result<()> {
        let uri = format!("exec:cat '{}'", file.display());
        self.migrate("the machine to be brought back", || {
            self.qmp.execute(migrate_incoming {
                uri: Some(uri),
                channels: None,
                exit_on_error: None,
            })
        })?;
        // It is stopped, as it was when it was saved.
        self.qmp.execute(cont {})?;
        Ok(())
    }

    /// Begins to write or read the machine's state, and waits until that is done.
    fn migrate<T>(&self, what: &str, begin: impl FnOnce() -> Result<T>) -> Result<()> {
        let capability = MigrationCapability::events;
        let state = true;
        self.qmp.execute(migrate_set_capabilities {
            capabilities: vec![MigrationCapabilityStatus { capability, state }],
        })?;
        begin()?;
        let status = self.until(self.limits, what, |seen| {
            let is_over = |status: &MigrationStatus| {
                use MigrationStatus::{cancelled, completed, failed};
                matches!(status, completed | failed | cancelled)
            };
            seen.migration.filter(is_over)
        })?;
        ensure!(
            matches!(status, MigrationStatus::completed),
            "waited for {what}: {status:?}"
        );
        Ok(())
    }

    /// Switches the machine off on the host's side.
    ///
    /// # Errors
    /// QEMU is gone already.
    pub fn quit(&self) -> Result<()> {
        self.qmp.execute(quit {})?;
        Ok(())
    }

    /// A failure of the caller's making: the machine did something else than expected.
    pub fn failure(&self, expected: impl Into<String>, found: impl Into<String>) -> Failure {
        self.fail(VmFailure::Assertion {
            expected: expected.into(),
            found: found.into(),
        })
    }

    /// Where the console's output is kept.
    pub fn console_log(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    fn until<T>(
        &self,
        limits: Limits,
        what: &str,
        find: impl FnMut(&Seen) -> Option<T>,
    ) -> Result<T, Failure> {
        self.watch
            .wait_for(limits, what, find)
            .map_err(|why| self.fail(why))
    }

    fn fail(&self, why: VmFailure) -> Failure {
        Failure {
            machine: self.name.clone(),
            why,
            console: self.console(),
            log: self.console_log(),
        }
    }
}

/// A command about the drive `device`, whose older way to name one is not to be used any more.
fn of_device<C: serde::de::DeserializeOwned>(device: &str) -> Result<C> {
    Ok(serde_json::from_value(json!({ "id": device }))?)
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.process.kill();
        self.watch.wait_until_over();
        if let Some(socket) = &self.control {
            control::remove(socket);
        }
    }
}
