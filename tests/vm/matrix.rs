//! Any root: every form of its name, every bus, every filesystem, as pairs.
//!
//! Each row is one boot. The columns of names, buses and filesystems are combined so that every pair of a bus and a filesystem
//! that the kernel has drivers for comes once, and the form of the name moves on from row to row, so that it meets all of
//! both. A container that was started from that root proves it; a filesystem that no tool fills is proved by the switch.

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, DeviceClass};
use berth_qemu::arch::Arch;
use berth_qemu::disk::{Disk, DiskImage, Fs, Type};
use berth_qemu::kernel::{Flavour, Kernel};
use berth_qemu::vm::{Bus, Drive, Ended, Event, Outcome, Vm};
use berth_tests::{Bundle, Lab, disk, field, line};
use uuid::Uuid;

use crate::provoke::OWN_FAILURE;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere any_root_on_virtio_blk,
    everywhere any_root_on_virtio_scsi,
    everywhere any_root_on_nvme,
    everywhere any_root_on_sata,
    everywhere any_root_on_usb,
    everywhere any_root_on_an_sd_card,
];

/// How the root is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Path,
    Uuid,
    Label,
    PartUuid,
    PartUuidWithOffset,
    PartLabel,
}

const FORMS: [Form; 6] = [
    Form::Path,
    Form::Uuid,
    Form::Label,
    Form::PartUuid,
    Form::PartUuidWithOffset,
    Form::PartLabel,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Vfat,
    Ext4,
    Other(Type),
}

const KINDS: [Kind; 9] = [
    Kind::Vfat,
    Kind::Ext4,
    Kind::Other(Type::Exfat),
    Kind::Other(Type::Xfs),
    Kind::Other(Type::Btrfs),
    Kind::Other(Type::Squashfs),
    Kind::Other(Type::Erofs),
    Kind::Other(Type::F2fs),
    Kind::Other(Type::Iso9660),
];

const UUID: Uuid = Uuid::from_u128(0xb0a70000_0000_4000_8000_0000000000aa);
const DISK_UUID: Uuid = Uuid::from_u128(0xb0a7_0000);

impl Kind {
    fn fstype(self) -> &'static str {
        match self {
            Self::Vfat => "vfat",
            Self::Ext4 => "ext4",
            Self::Other(kind) => kind.name(),
        }
    }

    /// Whether the format carries what the form asks for, chosen by us.
    fn has(self, form: Form) -> bool {
        !matches!(
            (self, form),
            (Self::Other(Type::Squashfs), Form::Uuid | Form::Label)
                | (Self::Other(Type::Erofs), Form::Label)
                | (Self::Other(Type::Exfat | Type::Iso9660), Form::Uuid)
        )
    }

    fn can_be_filled(self) -> bool {
        self != Self::Other(Type::Exfat)
    }

    fn fs(self) -> Result<Fs> {
        let tree = disk::files([Bundle::new("any")])?;
        Ok(match self {
            Self::Vfat => Fs::vfat("ANYROOT", disk::VFAT_SERIAL, tree),
            Self::Ext4 => Fs::ext4("ANYROOT", UUID, tree),
            Self::Other(kind) => Fs::of_type(kind, "ANYROOT", UUID, tree),
        })
    }
}

/// A GPT with something else before the root.
fn disk_of(kind: Kind) -> Result<DiskImage> {
    let disk = Disk::gpt(DISK_UUID).named("first", Fs::empty());
    disk.named("anyroot", kind.fs()?).build()
}

/// The root's name: the second partition of the only disk.
fn name_of(form: Form, kind: Kind, node: &str) -> String {
    let part = |number: u128| Uuid::from_u128(DISK_UUID.as_u128() + number);
    match form {
        Form::Path => format!("/dev/{node}"),
        Form::Uuid if kind == Kind::Vfat => "UUID=b0a7-0002".to_owned(),
        Form::Uuid => format!("UUID={}", UUID.to_string().to_uppercase()),
        Form::Label => "LABEL=ANYROOT".to_owned(),
        Form::PartUuid => format!("PARTUUID={}", part(2)),
        Form::PartUuidWithOffset => format!("PARTUUID={}/PARTNROFF=1", part(1)),
        Form::PartLabel => "PARTLABEL=anyroot".to_owned(),
    }
}

/// All filesystems on one bus, beginning with that form of the name.
fn any_root(lab: &Lab, bus: Bus, first: usize, node: &str) -> Result<()> {
    let kernel = generic(lab)?;
    let mut failures = Vec::new();
    for (row, kind) in KINDS.into_iter().enumerate() {
        let forms = (first + row..).map(|number| FORMS[number % FORMS.len()]);
        let form = forms.take(FORMS.len()).find(|form| kind.has(*form));
        let form = form.context("a filesystem has none of the names")?;
        if let Err(error) = boot(lab, &kernel, bus, kind, form, node) {
            failures.push(format!("{bus:?}, {}, {form:?}: {error:#}", kind.fstype()));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// The kernel for any machine, which has all drivers.
pub(crate) fn generic(lab: &Lab) -> Result<Kernel> {
    lab.series.get_flavour(Arch::X86_64, Flavour::Generic)
}

/// The drivers of the event port and of disks on that bus.
pub(crate) fn classes(bus: Bus) -> [DeviceClass; 2] {
    [
        DeviceClass::Virtio,
        match bus {
            Bus::Blk | Bus::Scsi => DeviceClass::Virtio,
            Bus::Nvme => DeviceClass::Nvme,
            Bus::Sata => DeviceClass::Sata,
            Bus::Usb | Bus::Uas => DeviceClass::Usb,
            Bus::Sd => DeviceClass::Sd,
        },
    ]
}

fn boot(lab: &Lab, kernel: &Kernel, bus: Bus, kind: Kind, form: Form, node: &str) -> Result<()> {
    let spec = lab.spec_for(kernel)?.for_devices(classes(bus));
    let spec = spec.for_filesystems([kind.fstype()]);
    let root = name_of(form, kind, node);
    let image = disk_of(kind)?;
    let vm = Vm::builder(&format!(
        "{}/any_root_{bus:?}_{}",
        kernel.name,
        kind.fstype()
    ))
    .kernel(kernel)
    .initrd_bytes(spec.build(Compression::Zstd)?.bytes)
    .append(format!(
        "loglevel=5 berth.on_failure=poweroff rootwait=30 root={root}"
    ))
    .drive(Drive::on_bus(bus, &image))
    .start()?;
    let outcome = vm.wait()?;
    took(&outcome, &format!("/dev/{node}"), kind.fstype(), &root)?;
    if !kind.can_be_filled() {
        // Nothing is on it, so there are no containers either.
        outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
        ensure!(outcome.events.iter().any(|event| event.is_failure("B050")));
        return Ok(());
    }
    outcome.assert(Ended::PowerOff, 0)?;
    ensure!(
        outcome
            .events
            .iter()
            .any(|event| line(event) == Some(("any", "any")))
    );
    Ok(())
}

/// Holds a boot to the root that it took.
pub(crate) fn took(outcome: &Outcome, device: &str, fstype: &str, asked: &str) -> Result<()> {
    let is_it = |event: &&Event| event.name() == "root";
    let root = outcome.events.iter().find(is_it);
    let failure = || outcome.events.iter().find_map(|event| field(event, "text"));
    let root = root.with_context(|| format!("no root: {:?}", failure()))?;
    let found = ["device", "fstype", "asked"].map(|name| field(root, name).unwrap_or_default());
    ensure!(found == [device, fstype, asked], "{found:?}");
    Ok(())
}

fn any_root_on_virtio_blk(lab: &Lab) -> Result<()> {
    any_root(lab, Bus::Blk, 0, "vda2")
}

fn any_root_on_virtio_scsi(lab: &Lab) -> Result<()> {
    any_root(lab, Bus::Scsi, 1, "sda2")
}

fn any_root_on_nvme(lab: &Lab) -> Result<()> {
    any_root(lab, Bus::Nvme, 2, "nvme0n1p2")
}

fn any_root_on_sata(lab: &Lab) -> Result<()> {
    any_root(lab, Bus::Sata, 3, "sda2")
}

fn any_root_on_usb(lab: &Lab) -> Result<()> {
    any_root(lab, Bus::Usb, 4, "sda2")
}

fn any_root_on_an_sd_card(lab: &Lab) -> Result<()> {
    any_root(lab, Bus::Sd, 5, "mmcblk0p2")
}
