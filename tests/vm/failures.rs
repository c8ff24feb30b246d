//! Every failure code, provoked, with its text; and what becomes of a machine whose boot failed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, Spec};
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Builder, Ended, Vm};
use berth_tests::{Lab, disk};

use crate::provoke::{Reader, provoke, provoked};
use crate::{
    Case, answers, carry, cases, command, copies, handover, hotplug, log_files, malformed,
};

pub(crate) const CASES: &[Case] = cases![
    once panic_is_reported_and_acted_on,
    everywhere report_reaches_the_event_stream_when_the_command_line_is_bad,
    once every_code_is_provoked,
];

provoked! {
    "B001" Everywhere command_line_that_is_not_text "byte 10 is not UTF-8" =>
        |lab, vm| vm.initrd_bytes(built(lab.spec()?.load(EVENTS).replace("/etc/berth/cmdline", b"root=/dev/\xff\xfe", 0o644))?).start();
    "B001" Everywhere command_line_that_is_too_long "EFBIG" =>
        |lab, vm| vm.initrd_bytes(built(lab.spec()?.load(EVENTS).replace("/etc/berth/cmdline", "word ".repeat(1000), 0o644))?).start();
    "B002" Everywhere unknown_key "there is no key berth.overlai, perhaps berth.overlay" =>
        |_, vm| vm.append("berth.overlai=tmpfs").start();
    "B003" Everywhere value_that_does_not_parse "rootwait=soon is refused; rootwait takes" =>
        |_, vm| vm.append("rootwait=soon").start();
    "B005" Everywhere early_mount_with_a_file_in_its_way "mount tmpfs as tmpfs on /run: ENOTDIR" =>
        |lab, vm| vm.initrd_bytes(built(lab.spec()?.load(EVENTS).replace("/run", [], 0o644))?).start();
    "B008" Everywhere event_loop_without_watches "watch a descriptor: ENOSPC" =>
        |_, vm| vm.append("sysctl.fs.epoll.max_user_watches=0").start();
    "B010" Everywhere module_file_that_is_missing "kernel/fs/fat/vfat.ko: ENOENT" =>
        |lab, vm| vm.initrd_bytes(built(with_vfat(lab)?.omit(vfat(lab)))?).start();
    "B011" Everywhere module_of_another_release "disagrees about version of symbol" =>
        |lab, vm| vm.initrd_bytes(built(with_vfat(lab)?.replace(vfat(lab), of_another_release(lab)?, 0o644))?).start();
    "B011" Console modules_of_another_release_only "the image has modules of 5.0.0-none" =>
        |lab, vm| vm.initrd_bytes(built(with_vfat(lab)?
            .omit(format!("/lib/modules/{}", lab.kernel.release))
            .replace("/lib/modules/5.0.0-none/modules.dep", [], 0o644))?).start();
    "B012" Everywhere module_that_is_garbage "load module /lib/modules/" =>
        |lab, vm| vm.initrd_bytes(built(with_vfat(lab)?.replace(vfat(lab), "no module at all", 0o644))?).start();
    "B013" Console module_index_that_is_garbage "modules.dep" =>
        |lab, vm| vm.initrd_bytes(built(with_vfat(lab)?.replace(index(lab, "modules.dep"), "\0\u{7f}garbage\n", 0o644))?).start();
    "B020" Everywhere root_that_never_comes "wait for root=UUID=1234-5678: no such block device after 0 s" =>
        |_, vm| vm.append("root=UUID=1234-5678 rootwait=0").start();
    "B021" Everywhere root_that_cannot_be_read "read from /dev/vda: EIO" => unreadable_disk;
    "B022" Everywhere root_without_a_filesystem "mount /dev/vda: what is on it: all zero" =>
        |_, vm| vm.append("root=/dev/vda").blk(&Disk::empty(1).build()?).start();
    "B023" Everywhere root_of_a_type_without_a_driver "mount /dev/sda1 as befs: ENODEV" =>
        |_, vm| vm.append("root=/dev/sda1 rootfstype=befs").scsi(&disk::vfat([])?).start();
    "B024" Everywhere vfat_without_its_character_set "IO charset ascii not found" => vfat_without_nls;
    "B024" Everywhere option_that_the_filesystem_refuses "mount /dev/vda1 as ext4: nosuch=1: EINVAL: ext4: Unknown parameter 'nosuch'" =>
        |_, vm| vm.append(EXT4_ROOT).append("rootflags=noatime,nosuch=1").blk(&ext4(Tree::new())?).start();
    "B024" Everywhere word_that_makes_no_sense_for_a_root "mount /dev/vda1 as ext4: rootflags=bind makes no sense for a root" =>
        |_, vm| vm.append(EXT4_ROOT).append("rootflags=bind").blk(&ext4(Tree::new())?).start();
    "B024" Everywhere root_that_cannot_be_written_though_rw_asks_for_it "mount /dev/vda1 as ext4: EACCES: /dev/vda1: Can't open blockdev" =>
        |_, vm| vm.append(EXT4_ROOT).append("rw").drive(berth_qemu::vm::Drive::blk(&ext4(Tree::new())?).read_only()).start();
    "B030" Everywhere read_only_root_without_mount_points "create /dev, /proc, /sys, /run: EROFS" =>
        |_, vm| vm.append(EXT4_ROOT).append("ro").blk(&ext4(Tree::new().directory("containers"))?).start();
    "B030" Everywhere root_with_a_link_for_a_mount_point "create /proc: something that is not a directory is in its place" =>
        |_, vm| vm.append(EXT4_ROOT).blk(&ext4(Tree::new().symlink("proc", "/sys"))?).start();
    "B031" Everywhere root_that_is_root_already "it is on the same filesystem as /" =>
        |lab, vm| vm.append(EXT4_ROOT).append("init=/sbin/init").blk(&ext4(Tree::new().copy(&lab.init, "sbin/init"))?).start();
    "B032" Everywhere switch_that_fails_halfway "ENOSPC" =>
        |_, vm| vm.append("sysctl.fs.mount-max=10").start();
    "B044" Everywhere program_that_the_kernel_refuses "execute init=/sbin/init: ENOEXEC" =>
        |lab, vm| vm.append(EXT4_ROOT).append("init=/sbin/init").blk(&ext4(Tree::new().executable("sbin/init", without_headers(lab)?))?).start();
    "B050" Everywhere directory_of_bundles_that_is_missing "/nowhere: ENOENT" =>
        |_, vm| vm.append("root=LABEL=BERTH berth.containers=/nowhere").scsi(&disk::vfat([])?).start();
    "B058" Everywhere watchdog_that_is_not_there "open /dev/watchdog: ENOENT" =>
        |_, vm| vm.append("root=LABEL=BERTH berth.watchdog=10").scsi(&disk::vfat([])?).start();
}

/// Provoked by tests of their own, here, in `end`, `malformed` and `unclean`.
const PROVOKED_ALONE: &[&str] = &[
    "B007", "B028", "B051", "B052", "B059", "B060", "B061", "B062", "B068", "B069",
];

/// Provoked by the tests of `verity` and of `archive`.
const OF_ROOTS: &[&str] = &["B004", "B025", "B026", "B027"];

/// Provoked by the tests of containers, in `refused`.
const OF_CONTAINERS: &[&str] = &["B053", "B054", "B055"];

/// The way to the event port.
const EVENTS: [&str; 2] = ["virtio_pci", "virtio_console"];

const EXT4_ROOT: &str = "root=UUID=b0a70000-0000-4000-8000-000000000003";

fn built(spec: Spec) -> Result<Vec<u8>> {
    Ok(spec.build(Compression::None)?.bytes)
}

/// An image that loads vfat after the way to the event port, so that what is wrong with vfat is
/// reported there.
fn with_vfat(lab: &Lab) -> Result<Spec> {
    Ok(lab.spec()?.load(EVENTS).load(["vfat"]))
}

fn index(lab: &Lab, name: &str) -> String {
    format!("/lib/modules/{}/{name}", lab.kernel.release)
}

fn vfat(lab: &Lab) -> String {
    index(lab, "kernel/fs/fat/vfat.ko")
}

fn ext4(tree: Tree) -> Result<berth_qemu::disk::DiskImage> {
    disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree))
}

/// vfat as if it were built for another kernel: Debian's compare the checksums of symbols
/// (CONFIG_MODVERSIONS), so one is changed. The signature is made void first; a module with a false
/// one would be refused for that.
fn of_another_release(lab: &Lab) -> Result<Vec<u8>> {
    let entries = berth_initramfs::archive::read(&built(with_vfat(lab)?)?)?;
    let entry = entries
        .get(vfat(lab).trim_start_matches('/'))
        .context("the image has no vfat")?;
    let mut module = entry.data.clone();
    let find = |module: &[u8], text: &[u8]| {
        let found = module.windows(text.len()).position(|window| window == text);
        found.with_context(|| format!("vfat has no {:?}", String::from_utf8_lossy(text)))
    };
    let signature = find(&module, b"~Module signature appended~\n")?;
    module[signature] = b'-';
    // `struct modversion_info`: the checksum, 8 bytes, and the name.
    let name = find(&module, b"module_layout\0")?;
    module[name - 8] ^= 0xff;
    Ok(module)
}

/// A disk on which every read fails.
fn unreadable_disk(_: &Lab, vm: Builder) -> Result<Vm> {
    let errors = r#"[{"event":"none","iotype":"read"}]"#;
    let image = r#"{"driver":"null-co","size":1048576}"#;
    let storage = format!(
        r#"{{"driver":"blkdebug","node-name":"bad","image":{image},"inject-error":{errors}}}"#
    );
    let device = r#"{"driver":"virtio-blk-pci","drive":"bad"}"#;
    vm.append("root=/dev/vda rootwait=1")
        .arguments(["-blockdev", &storage, "-device", device])
        .start()
}

/// The classic: modules.dep does not know that vfat needs them.
fn vfat_without_nls(lab: &Lab, vm: Builder) -> Result<Vm> {
    let names = "virtio_pci\nvirtio_console\nvirtio_blk\nnls_cp437\nvfat\n";
    let spec = lab
        .spec()?
        .load(EVENTS)
        .load(["virtio_blk", "vfat"])
        .replace("/etc/berth/modules", names, 0o644)
        .replace(
            index(lab, "modules.softdep"),
            "softdep vfat pre: nls_cp437\n",
            0o644,
        );
    vm.initrd_bytes(built(spec)?)
        .append("root=LABEL=BERTH")
        .blk(&disk::vfat([])?)
        .start()
}

/// An ELF file without program headers (`e_phnum`, elf(5)).
fn without_headers(lab: &Lab) -> Result<Vec<u8>> {
    let mut program = fs::read(&lab.init)?;
    program[0x38..0x3a].fill(0);
    Ok(program)
}

/// A panic is a defect, and there is none to be had. So the program is built once more with one.
fn panic_is_reported_and_acted_on(lab: &Lab) -> Result<()> {
    let target = berth_qemu::target_dir().join("panic");
    let build = Command::new(env!("CARGO"))
        .args([
            "rustc",
            "--quiet",
            "--release",
            "-p",
            "berth",
            "--bin",
            "init",
            "--target-dir",
        ])
        .arg(&target)
        .args(["--", "--cfg", "provoke_panic"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("start cargo")?;
    ensure!(
        build.status.success(),
        "{}",
        String::from_utf8_lossy(&build.stderr)
    );
    let image = Spec::new(target.join("release/init")).build(Compression::None)?;
    let vm = lab
        .machine_with("panic_is_reported_and_acted_on", &image)
        .without_events()
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    let line = outcome
        .console
        .lines()
        .find(|line| line.contains("[B007]"))
        .unwrap_or_default();
    ensure!(
        line.contains("panic at src/programs/init.rs") && line.contains("provoked"),
        "{line:?}"
    );
    Ok(())
}

/// The port's driver is a module of Linux 6.1, and a bad command line comes before modules are
/// loaded.
fn report_reaches_the_event_stream_when_the_command_line_is_bad(lab: &Lab) -> Result<()> {
    let name = "report_reaches_the_event_stream_when_the_command_line_is_bad";
    provoke(
        lab,
        name,
        Reader::Everywhere,
        "B003",
        "berth.on_idle=sleep is refused",
        |_, vm| vm.append("berth.on_idle=sleep").start(),
    )
    .map(drop)
}

fn every_code_is_provoked(_: &Lab) -> Result<()> {
    // The library cannot be used here: its dependencies would be built with std, and so would PID
    // 1's.
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/error.rs");
    let source = fs::read_to_string(&source).context("read src/error.rs")?;
    let table = source
        .split_once("\ncodes! {\n")
        .and_then(|(_, rest)| rest.split_once("\n}\n"));
    let lines = table
        .context("no table of codes in src/error.rs")?
        .0
        .lines();
    let numbers = lines.map(|line| {
        line.split_whitespace()
            .next()
            .unwrap_or_default()
            .parse::<u16>()
    });
    let codes = numbers
        .map(|number| Ok(format!("B{:03}", number?)))
        .collect::<Result<Vec<_>>>()?;
    ensure!(codes.len() > 30, "{codes:?}");
    let provoked = [
        PROVOKED,
        PROVOKED_ALONE,
        answers::PROVOKED,
        carry::PROVOKED,
        copies::PROVOKED,
        OF_CONTAINERS,
        OF_ROOTS,
        command::PROVOKED,
        handover::PROVOKED,
        hotplug::PROVOKED,
        log_files::PROVOKED,
        malformed::PROVOKED,
    ]
    .concat();
    let missing: Vec<_> = codes
        .iter()
        .filter(|code| !provoked.contains(&code.as_str()))
        .collect();
    ensure!(missing.is_empty(), "no test provokes {missing:?}");
    let gone: Vec<_> = provoked
        .iter()
        .filter(|code| !codes.iter().any(|known| known == *code))
        .collect();
    ensure!(gone.is_empty(), "there are no codes {gone:?}");
    Ok(())
}
