//! Disks of a machine: there from the start, or plugged into it while it runs.
//!
//! Either way a disk is two objects, the storage and the device in front of it, and both are the
//! same JSON on QEMU's command line and in QMP.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::disk::DiskImage;
use crate::program::{command, run};

/// What a disk is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// The one virtio-scsi controller: `/dev/sda`, `/dev/sdb`, … in the order of the drives.
    Scsi,
    /// A virtio-blk device of its own: `/dev/vda`, …
    Blk,
    /// An NVMe controller of its own: `/dev/nvme0n1`, …
    Nvme,
    /// A port of the one AHCI controller: `/dev/sda`, …
    Sata,
    /// A port of the one xHCI controller, as USB mass storage: `/dev/sda`, …
    Usb,
    /// A SCSI disk behind the one USB Attached SCSI bridge, on a port of the xHCI controller:
    /// `/dev/sda`, …
    Uas,
    /// The card of the one SD host controller: `/dev/mmcblk0`. There can be one.
    Sd,
}

impl Bus {
    /// Its controllers, the first first, which are there when a disk is attached to it.
    /// virtio-scsi's is always there, and some disks bring their own.
    pub(super) fn controllers(self) -> Vec<Value> {
        let xhci = || json!({ "driver": "qemu-xhci", "id": "xhci" });
        match self {
            Self::Scsi | Self::Blk | Self::Nvme => Vec::new(),
            Self::Sata => vec![json!({ "driver": "ahci", "id": "ahci" })],
            Self::Usb => vec![xhci()],
            Self::Uas => vec![
                xhci(),
                json!({ "driver": "usb-uas", "id": "uas", "bus": "xhci.0" }),
            ],
            Self::Sd => vec![json!({ "driver": "sdhci-pci", "id": "sdhci" })],
        }
    }
}

/// A disk image and how it is attached. The machine works on a copy; the image stays as it is.
#[derive(Debug, Clone)]
pub struct Drive {
    pub(crate) image: PathBuf,
    pub(crate) bus: Bus,
    pub(crate) serial: Option<String>,
    pub(crate) read_only: bool,
    /// Whether it is a medium in a CD drive.
    is_cd: bool,
    /// The size of its sectors in bytes, where that is not the usual.
    sectors: Option<u32>,
    /// The name of the throttle group that it is in.
    group: Option<String>,
}

impl Drive {
    /// A disk on the virtio-scsi controller.
    pub fn scsi(image: &(impl AsRef<Path> + ?Sized)) -> Self {
        Self::on(Bus::Scsi, image.as_ref())
    }

    /// A disk on that bus.
    pub fn on_bus(bus: Bus, image: &(impl AsRef<Path> + ?Sized)) -> Self {
        Self::on(bus, image.as_ref())
    }

    /// A virtio-blk disk.
    pub fn blk(image: &(impl AsRef<Path> + ?Sized)) -> Self {
        Self::on(Bus::Blk, image.as_ref())
    }

    /// A medium in a CD drive on that bus, which is SCSI or SATA: `/dev/sr0`, … It is read-only and
    /// has sectors of 2048 bytes.
    pub fn cd(bus: Bus, image: &(impl AsRef<Path> + ?Sized)) -> Self {
        Self {
            is_cd: true,
            ..Self::on(bus, image.as_ref()).read_only()
        }
    }

    fn on(bus: Bus, image: &Path) -> Self {
        Self {
            image: image.to_owned(),
            bus,
            serial: None,
            read_only: false,
            is_cd: false,
            sectors: None,
            group: None,
        }
    }

    /// The device is as slow as that throttle group of the machine's, which an argument makes.
    pub fn throttled(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// The serial number that the guest sees. virtio-blk cuts it at 20 bytes.
    pub fn serial(mut self, serial: impl Into<String>) -> Self {
        self.serial = Some(serial.into());
        self
    }

    /// The device has sectors of so many bytes, and takes nothing smaller.
    pub fn sectors(mut self, bytes: u32) -> Self {
        self.sectors = Some(bytes);
        self
    }

    /// The device refuses writes.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Copies the image, holes and all, to where a machine may write.
    pub(crate) fn copy(&self, to: &Path) -> Result<PathBuf> {
        let mut cp = command("cp");
        cp.args(["--sparse=always", "--reflink=auto"])
            .arg(&self.image)
            .arg(to);
        run(&mut cp).with_context(|| format!("copy the disk {}", self.image.display()))?;
        if self.bus == Bus::Sd {
            // The sizes of cards are powers of two.
            let card = File::options().write(true).open(to)?;
            card.set_len(card.metadata()?.len().next_power_of_two())?;
        }
        Ok(to.to_owned())
    }

    /// Its place on its bus, behind those that came before it.
    pub(crate) fn place(&self, before: &[Self]) -> usize {
        before.iter().filter(|drive| drive.bus == self.bus).count()
    }

    /// QEMU's storage object for the copy of the image at `file`.
    pub(crate) fn storage(&self, node: &str, file: &Path) -> Value {
        let mut storage = json!({
            "driver": "file",
            "filename": file,
            "read-only": self.read_only,
            // The copy dies with the machine: nothing need reach the host's disk.
            "cache": { "no-flush": true },
        });
        if let Some(group) = &self.group {
            storage = json!({ "driver": "throttle", "throttle-group": group, "file": storage });
        }
        storage["node-name"] = node.into();
        storage
    }

    /// QEMU's device object in front of that storage, at that place on its bus.
    pub(crate) fn device(&self, node: &str, place: usize, is_counted: bool) -> Value {
        let (scsi, ide) = if self.is_cd {
            ("scsi-cd", "ide-cd")
        } else {
            ("scsi-hd", "ide-hd")
        };
        let mut device = match self.bus {
            Bus::Scsi => json!({ "driver": scsi, "bus": "scsi.0", "scsi-id": place }),
            Bus::Blk => json!({ "driver": "virtio-blk-pci" }),
            Bus::Nvme => json!({ "driver": "nvme", "serial": node }),
            Bus::Sata => json!({ "driver": ide, "bus": format!("ahci.{place}") }),
            Bus::Usb => json!({ "driver": "usb-storage", "bus": "xhci.0" }),
            Bus::Uas => json!({ "driver": scsi, "bus": "uas.0", "lun": place }),
            Bus::Sd => json!({ "driver": "sd-card" }),
        };
        device["id"] = format!("dev-{node}").into();
        device["drive"] = node.into();
        if let Some(serial) = &self.serial {
            device["serial"] = serial.as_str().into();
        }
        if let Some(bytes) = self.sectors {
            device["logical_block_size"] = bytes.into();
            device["physical_block_size"] = bytes.into();
        }
        if self.bus == Bus::Blk && is_counted {
            device["ioeventfd"] = false.into();
        }
        device
    }
}

/// A disk image is put on the virtio-scsi controller unless it is said otherwise.
impl From<&DiskImage> for Drive {
    fn from(image: &DiskImage) -> Self {
        Self::scsi(image)
    }
}
