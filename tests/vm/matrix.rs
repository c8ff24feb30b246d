//! Any root: every form of its name, every bus, every filesystem, as pairs.
//!
//! The columns of names, buses and filesystems are combined so that every pair of a bus and a
//! filesystem that the kernel has drivers for comes once, and the form of the name moves on from
//! row to row, so that it meets all of both. All filesystems of a bus are in one boot, each as the
//! fallback of those before: that it is given up for its lack of bundles, and for nothing else,
//! proves that it was found, mounted and read. Which one is the last, and has the container that is
//! started, moves on from bus to bus.

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, DeviceClass};
use berth_qemu::arch::Arch;
use berth_qemu::disk::{Disk, Fs, Type};
use berth_qemu::kernel::{Flavour, Kernel};
use berth_qemu::vm::{Bus, Drive, Ended, Event, Outcome, Vm};
use berth_tests::{Bundle, Lab, disk, field, line};
use uuid::Uuid;

use crate::fallback::rejected;
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

    /// The filesystem in the partition with that number, with a container or without.
    fn fs(self, number: usize, bundles: impl IntoIterator<Item = Bundle>) -> Result<Fs> {
        let (label, uuid) = (label(number), uuid(number));
        let tree = disk::files(bundles)?;
        Ok(match self {
            Self::Vfat => Fs::vfat(&label, disk::VFAT_SERIAL, tree),
            Self::Ext4 => Fs::ext4(&label, uuid, tree),
            Self::Other(kind) => Fs::of_type(kind, &label, uuid, tree),
        })
    }
}

fn label(number: usize) -> String {
    format!("ANYROOT{number}")
}

fn uuid(number: usize) -> Uuid {
    Uuid::from_u128(UUID.as_u128() + number as u128)
}

/// The name of the partition with that number, which is on the only disk.
fn name_of(form: Form, kind: Kind, number: usize, node: &str) -> String {
    let part = |number: usize| Uuid::from_u128(DISK_UUID.as_u128() + number as u128);
    match form {
        Form::Path => format!("/dev/{node}{number}"),
        Form::Uuid if kind == Kind::Vfat => "UUID=b0a7-0002".to_owned(),
        Form::Uuid => format!("UUID={}", uuid(number).to_string().to_uppercase()),
        Form::Label => format!("LABEL={}", label(number)),
        Form::PartUuid => format!("PARTUUID={}", part(number)),
        Form::PartUuidWithOffset => format!("PARTUUID={}/PARTNROFF={}", part(1), number - 1),
        Form::PartLabel => format!("PARTLABEL=any{number}"),
    }
}

/// All filesystems on one bus, beginning with that form of the name and that filesystem.
fn any_root(lab: &Lab, bus: Bus, first: usize, node: &str) -> Result<()> {
    let kernel = generic(lab)?;
    let mut kinds = KINDS;
    kinds.rotate_left(first);
    if kinds.last().is_some_and(|last| !last.can_be_filled()) {
        kinds.rotate_left(1);
    }
    // A GPT with something else before the roots.
    let mut disk = Disk::gpt(DISK_UUID).named("first", Fs::empty());
    let mut names = Vec::new();
    for (row, kind) in kinds.into_iter().enumerate() {
        let number = row + 2;
        let forms = (first + row..).map(|number| FORMS[number % FORMS.len()]);
        let form = forms.take(FORMS.len()).find(|form| kind.has(*form));
        let form = form.context("a filesystem has none of the names")?;
        let bundle = (number == kinds.len() + 1).then(|| Bundle::new("any"));
        disk = disk.named(&format!("any{number}"), kind.fs(number, bundle)?);
        names.push(name_of(form, kind, number, node));
    }
    let spec = lab.spec_for(&kernel)?.for_devices(classes(bus));
    let spec = spec.for_filesystems(KINDS.map(Kind::fstype));
    let words = format!(
        "root={} berth.root_fallback={}",
        names[0],
        names[1..].join(",")
    );
    let vm = Vm::builder(&format!("{}/any_root_{bus:?}", kernel.name))
        .kernel(&kernel)
        .initrd_bytes(spec.build(Compression::Zstd)?.bytes)
        .append("loglevel=5 berth.on_failure=poweroff rootwait=30")
        .append(words)
        .drive(Drive::on_bus(bus, &disk.build()?))
        .start()?;
    let outcome = vm.wait()?;
    let (last, given_up) = names.split_last().context("there are no names")?;
    let expected: Vec<_> = given_up.iter().map(|name| (&**name, "B050")).collect();
    ensure!(rejected(&outcome) == expected, "{:#?}", outcome.events);
    let kind = kinds[kinds.len() - 1];
    let device = format!("/dev/{node}{}", kinds.len() + 1);
    took(&outcome, &device, kind.fstype(), last)?;
    outcome.assert(Ended::PowerOff, 0)?;
    let mut lines = outcome.events.iter().filter_map(line);
    ensure!(lines.any(|line| line == ("any", "any")));
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
    any_root(lab, Bus::Blk, 0, "vda")
}

fn any_root_on_virtio_scsi(lab: &Lab) -> Result<()> {
    any_root(lab, Bus::Scsi, 1, "sda")
}

fn any_root_on_nvme(lab: &Lab) -> Result<()> {
    any_root(lab, Bus::Nvme, 2, "nvme0n1p")
}

fn any_root_on_sata(lab: &Lab) -> Result<()> {
    any_root(lab, Bus::Sata, 3, "sda")
}

fn any_root_on_usb(lab: &Lab) -> Result<()> {
    any_root(lab, Bus::Usb, 4, "sda")
}

fn any_root_on_an_sd_card(lab: &Lab) -> Result<()> {
    any_root(lab, Bus::Sd, 5, "mmcblk0p")
}
