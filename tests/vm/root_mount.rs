//! How the root is mounted: the words of `rootflags=`, `ro` and `rw`, and what the kernel says
//! about them.

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, DeviceClass};
use berth_qemu::disk::{Disk, Fs, Type};
use berth_qemu::vm::{Drive, Ended, Outcome};
use berth_tests::{Bundle, Lab, MODULES, Seen, disk, field, guest, line};
use uuid::Uuid;

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere words_of_rootflags_go_where_they_belong,
    everywhere root_that_cannot_be_written_is_mounted_read_only_with_a_warning,
    once words_of_the_command_line_count_before_rootflags,
    everywhere kernel_without_the_new_calls_gets_the_old_one,
    once what_the_filesystem_has_to_say_of_a_mount_that_works_is_in_the_log,
];

const EXT4_ROOT: &str = "root=UUID=b0a70000-0000-4000-8000-000000000003";

/// Boots from an ext4, on a disk that may be write-protected, with a container that shows its
/// mounts.
fn boot(lab: &Lab, name: &str, words: &str, is_protected: bool) -> Result<Outcome> {
    let bundle = Bundle::new("viewer").runs(["/bin/guest", "facts"]);
    let image = disk::ext4([bundle])?;
    let drive = match is_protected {
        true => Drive::blk(&image).read_only(),
        false => Drive::blk(&image),
    };
    let vm = lab
        .machine(name)?
        .append(format!("{EXT4_ROOT} {words}"))
        .drive(drive)
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    Ok(outcome)
}

/// Whether the event says that the root is read-only.
fn is_read_only(outcome: &Outcome) -> Result<bool> {
    let root = outcome.events.iter().find(|event| event.name() == "root");
    let ro = root.and_then(|event| event.raw["ro"].as_bool());
    ro.context("no event says how the root was mounted")
}

fn words_of_rootflags_go_where_they_belong(lab: &Lab) -> Result<()> {
    let name = "words_of_rootflags_go_where_they_belong";
    let words = "rootflags=defaults,noatime,nosuid,sync,nofail,x-initrd.mount,errors=remount-ro";
    let outcome = boot(lab, name, words, false)?;
    // The container's root is a copy of the mount, with its attributes.
    let root = Seen::new(&outcome, "viewer").mount_at("/")?;
    ensure!(
        root.has_option("noatime") && root.has_option("nosuid"),
        "{root:?}"
    );
    let of_filesystem: Vec<_> = root.filesystem_options.split(',').collect();
    ensure!(
        of_filesystem.contains(&"sync") && of_filesystem.contains(&"errors=remount-ro"),
        "{root:?}"
    );
    ensure!(!is_read_only(&outcome)?);
    Ok(())
}

fn root_that_cannot_be_written_is_mounted_read_only_with_a_warning(lab: &Lab) -> Result<()> {
    let name = "root_that_cannot_be_written_is_mounted_read_only_with_a_warning";
    let outcome = boot(lab, name, "", true)?;
    ensure!(is_read_only(&outcome)?);
    let warned = outcome.events.iter().any(|event| {
        event.name() == "warning"
            && field(event, "text") == Some("/dev/vda1 cannot be written: it is mounted read-only")
    });
    ensure!(warned, "{:#?}", outcome.events);
    Ok(())
}

fn words_of_the_command_line_count_before_rootflags(lab: &Lab) -> Result<()> {
    for (words, expected) in [
        ("rootflags=ro", true),
        ("rw rootflags=ro", false),
        ("ro rootflags=rw", true),
        ("rootflags=ro,rw", false),
    ] {
        let name = "words_of_the_command_line_count_before_rootflags";
        let outcome = boot(lab, name, words, false)?;
        ensure!(is_read_only(&outcome)? == expected, "{words}");
    }
    Ok(())
}

/// A disk of QEMU's is no memory that could be mapped. Later kernels say it in their log.
fn what_the_filesystem_has_to_say_of_a_mount_that_works_is_in_the_log(lab: &Lab) -> Result<()> {
    let name = "what_the_filesystem_has_to_say_of_a_mount_that_works_is_in_the_log";
    let files = disk::files([Bundle::new("any")])?;
    let image = Disk::bare(Fs::of_type(Type::Erofs, "", Uuid::nil(), files)).build()?;
    let spec = lab.spec()?.for_devices([DeviceClass::Virtio]);
    let spec = spec.for_filesystems(["erofs"]);
    let outcome = lab
        .machine_with(name, &spec.build(Compression::Zstd)?)
        .append("root=/dev/vda rootflags=dax=always loglevel=7")
        .blk(&image)
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    ensure!(
        outcome
            .console
            .contains("berth: root: mounted, but erofs: DAX")
    );
    Ok(())
}

/// The calls of Linux 5.2 answer as on an older kernel, to berth and to the init that it becomes.
fn kernel_without_the_new_calls_gets_the_old_one(lab: &Lab) -> Result<()> {
    let name = "kernel_without_the_new_calls_gets_the_old_one";
    let tree = disk::files([])?.copy(guest()?, "bin/guest");
    let image = disk::of(Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, tree))?;
    let spec = lab.spec()?.load(MODULES).add(guest()?, "/prepare").replace(
        "/etc/prepare",
        "old-mounts\n",
        0o644,
    );
    let initramfs = spec.build(Compression::Zstd)?;
    for (is_protected, options) in [(false, "rootflags=noatime,umask=027"), (true, "")] {
        let drive = match is_protected {
            true => Drive::blk(&image).read_only(),
            false => Drive::blk(&image),
        };
        let outcome = lab
            .machine_with(name, &initramfs)
            .append(format!("rdinit=/prepare root=LABEL=BERTH {options}"))
            .append("init=/bin/guest -- init")
            .drive(drive)
            .start()?
            .wait()?;
        outcome.assert_ended(Ended::PowerOff)?;
        ensure!(is_read_only(&outcome)? == is_protected);
        let mut lines = outcome.events.iter().filter_map(line);
        ensure!(
            lines.any(|line| line == ("init", "done")),
            "{:?}",
            outcome.events
        );
        let mounts = outcome.events.iter().filter_map(line);
        let mut mounts = mounts.filter_map(|(_, text)| text.strip_prefix("mount "));
        // What is mounted there later lies on top.
        let root = mounts.rfind(|mount| mount.split(' ').nth(4) == Some("/"));
        let root = root.context("init shows no root")?;
        ensure!(root.contains("vfat"), "{root}");
        ensure!(
            is_protected || root.contains("noatime") && root.contains("fmask=0027"),
            "{root}"
        );
    }
    Ok(())
}
