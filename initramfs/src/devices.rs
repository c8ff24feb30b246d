//! Which modules a machine's devices and filesystems may need: by class, or of the machine that
//! this runs on.
//!
//! These go into the image without being listed in `/etc/berth/modules`: PID 1 loads what a device
//! or a filesystem asks for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::ValueEnum;

use crate::index::{Found, Index};

/// A class of devices that a machine may need before its root is there, or without any root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceClass {
    /// Disks, ports, consoles and network cards of QEMU, Firecracker and clouds, with the sources
    /// of entropy, the balloon and the sockets of their hypervisors.
    Virtio,
    /// Network cards, real and virtual.
    Net,
    /// NVMe.
    Nvme,
    /// SATA and the older IDE.
    Sata,
    /// Disks on USB.
    Usb,
    /// SD cards and eMMC.
    Sd,
    /// SCSI, SAS and RAID controllers.
    Scsi,
    /// Disks of VMware.
    Vmware,
    /// Disks of Hyper-V.
    Hyperv,
    /// Disks of Xen.
    Xen,
    /// The power button, which hypervisors press to have a guest shut down. It comes with every
    /// other class.
    Power,
    /// Watchdogs of machines, and the kernel's own.
    Watchdog,
    /// The device-mapper with dm-verity, loop devices and overlayfs, which no device asks for.
    Layers,
}

impl DeviceClass {
    /// Its modules. Not every kernel has them all, as modules or at all.
    fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Virtio => &[
                "virtio_pci",
                "virtio_mmio",
                "virtio_blk",
                "virtio_scsi",
                "virtio_console",
                "9pnet_virtio",
                "virtiofs",
                "virtio_net",
                "virtio_rng",
                "virtio_balloon",
                "vmw_vsock_virtio_transport",
                "sd_mod",
                "af_packet",
                "ipv6",
            ],
            Self::Net => &[
                "virtio_net",
                "e1000",
                "e1000e",
                "igb",
                "igc",
                "ixgbe",
                "ixgbevf",
                "i40e",
                "iavf",
                "ice",
                "r8169",
                "tg3",
                "bnx2",
                "bnx2x",
                "bnxt_en",
                "mlx4_en",
                "mlx5_core",
                "8139cp",
                "8139too",
                "pcnet32",
                "forcedeth",
                "sky2",
                "atlantic",
                "ena",
                "gve",
                "vmxnet3",
                "hv_netvsc",
                "xen_netfront",
                "af_packet",
                "ipv6",
            ],
            Self::Nvme => &["nvme"],
            Self::Sata => &[
                "ahci",
                "ata_piix",
                "ata_generic",
                "sata_nv",
                "sata_via",
                "sd_mod",
                "sr_mod",
            ],
            Self::Usb => &[
                "xhci_pci",
                "ehci_pci",
                "ohci_pci",
                "uhci_hcd",
                "usb_storage",
                "uas",
                "sd_mod",
            ],
            Self::Sd => &["sdhci_pci", "sdhci_acpi", "mmc_block"],
            Self::Scsi => &[
                "aacraid",
                "hpsa",
                "lpfc",
                "megaraid_sas",
                "mpi3mr",
                "mpt3sas",
                "mptsas",
                "mptspi",
                "qla2xxx",
                "smartpqi",
                "sym53c8xx",
                "sd_mod",
                "sr_mod",
            ],
            Self::Vmware => &["vmw_pvscsi", "mptspi", "sd_mod"],
            Self::Hyperv => &["hv_vmbus", "hv_storvsc", "sd_mod"],
            Self::Xen => &["xen_blkfront"],
            Self::Power => &["button"],
            Self::Watchdog => &["i6300esb", "iTCO_wdt", "sp5100_tco", "wdat_wdt", "softdog"],
            Self::Layers => &["dm_mod", "dm_verity", "loop", "overlay"],
        }
    }
}

/// The modules of these classes that the kernel has.
pub(crate) fn of_classes(index: &Index, classes: &[DeviceClass]) -> BTreeSet<String> {
    let power = classes.first().map(|_| &DeviceClass::Power);
    let names = classes
        .iter()
        .chain(power)
        .flat_map(|class| class.modules());
    names.flat_map(|name| modules(index, name)).collect()
}

/// Where the drivers of what leads to a disk lie among the modules.
const DRIVERS: &[&str] = &[
    "ata",
    "block",
    "char",
    "dax",
    "firmware",
    "hv",
    "message",
    "mmc",
    "nvdimm",
    "nvme",
    "pci",
    "scsi",
    "ufs",
    "usb/host",
    "usb/storage",
    "virtio",
    "xen",
];

/// The modules that the devices of the machine with this `/sys` ask for, as far as they lead to
/// disks, and the driver of the power button.
pub(crate) fn of_machine(index: &Index, sys: &Path) -> BTreeSet<String> {
    let mut aliases = BTreeSet::new();
    collect(&sys.join("devices"), &mut aliases);
    let found = aliases.iter().flat_map(|alias| modules(index, alias));
    let leads_to_disks = |name: &String| {
        let path = &index.modules[name].path;
        DRIVERS
            .iter()
            .any(|drivers| path.starts_with(&format!("kernel/drivers/{drivers}/")))
    };
    let power = of_classes(index, &[DeviceClass::Power]);
    found.filter(leads_to_disks).chain(power).collect()
}

/// The types of the filesystems on block devices that are mounted, of the machine with this
/// `/proc`.
pub(crate) fn mounted_types(proc: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(proc.join("self/mounts")).unwrap_or_default();
    let mounts = text.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let is_block = fields.next()?.starts_with("/dev/");
        fields.nth(1).filter(|_| is_block)
    });
    mounts.map(str::to_owned).collect()
}

fn modules(index: &Index, name: &str) -> Vec<String> {
    match index.find(name) {
        Found::Modules(modules) => modules,
        Found::Builtin | Found::Nowhere => Vec::new(),
    }
}

/// The contents of all files named `modalias` below `dir`. What cannot be read asks for nothing.
fn collect(dir: &Path, aliases: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        // Links in /sys/devices lead to other places of the same tree.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), aliases);
        } else if entry.file_name() == "modalias" {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            aliases.extend(Some(text.trim().to_owned()).filter(|text| !text.is_empty()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModuleTree;
    use crate::testing::{Module, write_tree};

    #[test]
    fn a_machine_gets_the_drivers_of_its_own_disks_and_of_the_power_button() {
        let root = tempfile::tempdir().unwrap();
        let tree = [
            (
                "kernel/drivers/block/virtio_blk.ko",
                Module::new("virtio_blk").alias("virtio:d00000002v*"),
            ),
            (
                "kernel/drivers/net/virtio_net.ko",
                Module::new("virtio_net").alias("virtio:d00000001v*"),
            ),
            (
                "kernel/drivers/nvme/host/nvme.ko",
                Module::new("nvme").alias("pci:v*bc01sc08i02*"),
            ),
            ("kernel/drivers/acpi/button.ko", Module::new("button")),
        ];
        let dir = write_tree(root.path(), &tree, Some(""));
        let index = ModuleTree::open(&dir, None).unwrap().index;
        let sys = root.path().join("sys");
        for (device, alias) in [
            ("a", "virtio:d00000002v00001AF4"),
            ("b/c", "virtio:d00000001v00001AF4"),
        ] {
            let device = sys.join("devices").join(device);
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("modalias"), format!("{alias}\n")).unwrap();
        }
        assert_eq!(
            Vec::from_iter(of_machine(&index, &sys)),
            ["button", "virtio_blk"]
        );
        assert_eq!(
            Vec::from_iter(of_classes(&index, &[DeviceClass::Nvme, DeviceClass::Sd])),
            ["button", "nvme"]
        );
        assert_eq!(of_classes(&index, &[]).len(), 0);
    }

    #[test]
    fn types_are_those_of_block_devices() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("self")).unwrap();
        let mounts =
            "proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw 0 0\n/dev/sda2 /boot vfat rw 0 0\n";
        fs::write(root.path().join("self/mounts"), mounts).unwrap();
        assert_eq!(Vec::from_iter(mounted_types(root.path())), ["ext4", "vfat"]);
    }
}
