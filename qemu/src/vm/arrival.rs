//! SCSI disks that arrive one by one, so that `sda` is always the first.
//!
//! Linux probes SCSI disks side by side and names them as they come, so that of two disks either
//! may become `sda`. Here a disk does not exist until the guest has read from the one before. It
//! does so when it looks for a partition table, and by then it has given that disk its name.
//!
//! The read is noticed by a tripwire in the disk's storage: QEMU's blkdebug fails it once, and the
//! device is told to stop the machine rather than to report the failure (`rerror=stop`). While the
//! machine stands still the next disk is plugged in; then it goes on, and QEMU repeats the read.
//! All that the guest sees is a disk that comes a moment later.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;

use anyhow::Result;
use qapi_qmp::cont;
use serde_json::{Value, json};

use super::qmp::Qmp;
use super::watch::Watch;

/// A disk as QEMU's two objects.
pub(super) struct Disk {
    pub(super) storage: Value,
    pub(super) device: Value,
}

impl Disk {
    /// The same disk, at whose first read the machine stops.
    pub(super) fn with_tripwire(mut self) -> Self {
        let node = self.storage["node-name"].take();
        let image = self.storage;
        // QEMU itself and the firmware look at sector 0 alone. Linux reads whole pages.
        let first_read = json!({ "event": "none", "iotype": "read", "sector": 1, "once": true });
        self.storage = json!({
            "driver": "blkdebug",
            "node-name": node,
            "image": without_name(image),
            "inject-error": [first_read],
        });
        self.device["rerror"] = "stop".into();
        self
    }
}

/// The storage below another one is not referred to.
fn without_name(mut storage: Value) -> Value {
    if let Some(fields) = storage.as_object_mut() {
        fields.remove("node-name");
    }
    storage
}

/// Plugs in one disk each time the machine has stopped, and lets it go on.
pub(super) fn follow(disks: Vec<Disk>, stops: Receiver<()>, qmp: Arc<Qmp>, watch: Arc<Watch>) {
    thread::spawn(move || {
        for disk in disks {
            // No more stops: the machine has ended.
            if stops.recv().is_err() {
                return;
            }
            if let Err(e) = arrive(disk, &qmp) {
                watch.add(|seen| seen.set_broken(format!("{e:#}")));
            }
        }
    });
}

fn arrive(disk: Disk, qmp: &Qmp) -> Result<()> {
    qmp.plug(disk.storage, disk.device)?;
    qmp.execute(cont {})?;
    Ok(())
}
