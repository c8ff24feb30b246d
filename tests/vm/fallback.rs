//! `berth.root_fallback=`: the next root when one does not come or cannot be mounted.

use anyhow::{Result, ensure};
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Event, Outcome};
use berth_tests::{Bundle, Lab, disk, field, guest};
use uuid::Uuid;

use crate::provoke::OWN_FAILURE;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere fallback_is_taken_when_the_root_does_not_come,
    once fallback_is_taken_when_the_root_cannot_be_mounted,
    once fallback_after_a_fallback_is_taken,
    once root_that_comes_is_taken_before_its_fallbacks,
    once boot_without_any_root_fails_as_its_first_candidate_did,
    everywhere root_that_lacks_what_it_needs_is_given_up_for_the_next,
    once root_without_the_program_of_init_is_given_up_for_the_next,
];

/// The candidates that were given up: name, code.
pub(crate) fn rejected(outcome: &Outcome) -> Vec<(&str, &str)> {
    let pair = |event| Some((field(event, "root")?, field(event, "code")?));
    let events = outcome.events.iter();
    let rejected = events.filter(|event| event.name() == "rejected");
    rejected.filter_map(pair).collect()
}

/// Holds the boot to the root that it took: device, type, and the name that was asked for.
fn took(outcome: &Outcome, device: &str, fstype: &str, asked: &str) -> Result<()> {
    outcome.assert(Ended::PowerOff, 0)?;
    let is_it = |event: &&Event| event.name() == "root";
    let root = outcome.events.iter().find(is_it);
    let found = root.map(|event| ["device", "fstype", "asked"].map(|name| field(event, name)));
    ensure!(
        found == Some([Some(device), Some(fstype), Some(asked)]),
        "{found:?}"
    );
    Ok(())
}

fn fallback_is_taken_when_the_root_does_not_come(lab: &Lab) -> Result<()> {
    let outcome = lab
        .machine("fallback_is_taken_when_the_root_does_not_come")?
        .append("root=LABEL=SLOT-A berth.root_fallback=UUID=b0a7-0002 rootwait=0")
        .blk(&disk::vfat([Bundle::new("slot")])?)
        .start()?
        .wait()?;
    took(&outcome, "/dev/vda1", "vfat", "UUID=b0a7-0002")?;
    ensure!(
        rejected(&outcome) == [("LABEL=SLOT-A", "B020")],
        "{:?}",
        rejected(&outcome)
    );
    Ok(())
}

/// A superblock whose checksum is right and whose group descriptors are not: recognised, and
/// refused by the kernel.
fn broken_ext4() -> Result<berth_qemu::disk::DiskImage> {
    let image = disk::of(Fs::ext4("BROKEN", Uuid::from_u128(9), disk::files([])?))?;
    let mut bytes = std::fs::read(&image)?;
    // The partition begins at 1 MiB; with blocks of 1 KiB the group descriptors lie in the third
    // block, with larger ones in the second.
    let superblock = (1 << 20) + 1024;
    let log_block_size = u32::from_le_bytes(bytes[superblock + 0x18..][..4].try_into()?);
    let block_size = 1024_usize << log_block_size;
    let descriptors = (1 << 20) + (1024 / block_size + 1) * block_size;
    bytes[descriptors..descriptors + block_size].fill(0xff);
    Disk::bare(Fs::bytes(bytes)).build()
}

fn fallback_is_taken_when_the_root_cannot_be_mounted(lab: &Lab) -> Result<()> {
    let outcome = lab
        .machine("fallback_is_taken_when_the_root_cannot_be_mounted")?
        .append("root=LABEL=BROKEN berth.root_fallback=LABEL=BERTH")
        .blk(&broken_ext4()?)
        .blk(&disk::vfat([Bundle::new("slot")])?)
        .start()?
        .wait()?;
    took(&outcome, "/dev/vdb1", "vfat", "LABEL=BERTH")?;
    ensure!(
        rejected(&outcome) == [("LABEL=BROKEN", "B024")],
        "{:?}",
        rejected(&outcome)
    );
    Ok(())
}

fn fallback_after_a_fallback_is_taken(lab: &Lab) -> Result<()> {
    let outcome = lab
        .machine("fallback_after_a_fallback_is_taken")?
        .append("root=/dev/sdz1 berth.root_fallback=/dev/vda,/dev/vdb1 rootwait=0")
        .blk(&Disk::empty(1).build()?)
        .blk(&disk::vfat([Bundle::new("slot")])?)
        .start()?
        .wait()?;
    took(&outcome, "/dev/vdb1", "vfat", "/dev/vdb1")?;
    let expected = [("/dev/sdz1", "B020"), ("/dev/vda", "B022")];
    ensure!(rejected(&outcome) == expected, "{:?}", rejected(&outcome));
    Ok(())
}

fn root_that_comes_is_taken_before_its_fallbacks(lab: &Lab) -> Result<()> {
    let outcome = lab
        .machine("root_that_comes_is_taken_before_its_fallbacks")?
        .append("root=UUID=B0A7-0002 berth.root_fallback=/dev/vda1")
        .blk(&disk::ext4([])?)
        .blk(&disk::vfat([Bundle::new("slot")])?)
        .start()?
        .wait()?;
    took(&outcome, "/dev/vdb1", "vfat", "UUID=B0A7-0002")?;
    ensure!(rejected(&outcome).is_empty());
    Ok(())
}

fn boot_without_any_root_fails_as_its_first_candidate_did(lab: &Lab) -> Result<()> {
    let outcome = lab
        .machine("boot_without_any_root_fails_as_its_first_candidate_did")?
        .append("root=/dev/vda berth.root_fallback=LABEL=NONE rootwait=0")
        .blk(&Disk::empty(1).build()?)
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let expected = [("/dev/vda", "B022"), ("LABEL=NONE", "B020")];
    ensure!(rejected(&outcome) == expected, "{:?}", rejected(&outcome));
    ensure!(outcome.events.iter().any(|event| event.is_failure("B022")));
    Ok(())
}

/// Slots without anything, without a bundle, with something in the place of a mount point, with
/// files that a power cut left empty, and with a name that no container can have.
fn root_that_lacks_what_it_needs_is_given_up_for_the_next(lab: &Lab) -> Result<()> {
    let slot = |label: &str, tree: Tree| disk::of(Fs::ext4(label, Uuid::new_v4(), tree));
    let blocked = Tree::new().symlink("proc", "/sys");
    let blocked = Bundle::new("blocked").put(blocked.directory("containers"))?;
    let cut = Bundle::new("cut").text("").put(disk::files([])?)?;
    let unnamed = Bundle::new("no name").put(disk::files([])?)?;
    let outcome = lab
        .machine("root_that_lacks_what_it_needs_is_given_up_for_the_next")?
        .append("root=LABEL=A berth.root_fallback=LABEL=B,LABEL=C,LABEL=D,LABEL=E,LABEL=BERTH rootwait=0")
        .blk(&slot("A", Tree::new())?)
        .blk(&slot("B", disk::files([])?)?)
        .blk(&slot("C", blocked)?)
        .blk(&slot("D", cut)?)
        .blk(&slot("E", unnamed)?)
        .blk(&disk::vfat([Bundle::new("slot")])?)
        .start()?
        .wait()?;
    took(&outcome, "/dev/vdf1", "vfat", "LABEL=BERTH")?;
    let expected = [
        ("LABEL=A", "B050"),
        ("LABEL=B", "B050"),
        ("LABEL=C", "B030"),
        ("LABEL=D", "B050"),
        ("LABEL=E", "B050"),
    ];
    ensure!(rejected(&outcome) == expected, "{:?}", rejected(&outcome));
    let warned = |event: &Event| event.name() == "warning";
    ensure!(!outcome.events.iter().any(warned), "{:#?}", outcome.events);
    Ok(())
}

/// Beside that, the program is on a filesystem of its own on the second slot, which its fstab
/// names.
fn root_without_the_program_of_init_is_given_up_for_the_next(lab: &Lab) -> Result<()> {
    let mount_points = || disk::files([]);
    let empty = Fs::ext4("A", Uuid::new_v4(), mount_points()?.directory("usr"));
    let fstab = "# comment\nLABEL=My\\040Usr /usr/ auto defaults,nofail,x-initrd.mount 0 2\n";
    let root = mount_points()?.directory("usr").file("etc/fstab", fstab);
    let root = root.symlink("sbin", "usr/sbin");
    let usr = Tree::new().copy(guest()?, "sbin/init");
    let outcome = lab
        .machine("root_without_the_program_of_init_is_given_up_for_the_next")?
        .append("root=LABEL=A berth.root_fallback=LABEL=B init=/sbin/init -- facts")
        .blk(&disk::of(empty)?)
        .blk(&disk::of(Fs::ext4("B", Uuid::new_v4(), root))?)
        .blk(&disk::of(Fs::ext4("My Usr", Uuid::new_v4(), usr))?)
        .start()?;
    let seen = outcome.expect_console("/dev/vdc1 is mounted on /usr, ext4, ro, as /etc/fstab says");
    seen?;
    outcome.expect("the second slot", |event| {
        event.name() == "root" && field(event, "device") == Some("/dev/vdb1")
    })?;
    outcome.expect("the switch", |event| event.name() == "switch")?;
    outcome.quit()?;
    Ok(outcome.wait()?.assert_ended(Ended::Killed)?)
}
