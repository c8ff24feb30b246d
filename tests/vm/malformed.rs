//! Input that no sane tool writes: one clear error each, and PID 1 goes on.

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, Spec};
use berth_qemu::disk::{Disk, DiskImage, Fs};
use berth_qemu::vm::{Ended, What};
use berth_tests::{Bundle, Lab, disk, field, line};

use crate::provoke::{OWN_FAILURE, provoked};
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once malformed_configurations_are_refused_one_by_one_and_the_good_one_runs,
    once command_line_of_almost_all_that_the_kernel_takes_is_read,
    once damaged_superblocks_are_survived,
];

provoked! {
    "B002" Everywhere unknown_key_in_the_defaults "/etc/berth/cmdline: there is no key berth.x" =>
        |lab, vm| vm.initrd_bytes(defaults(lab, "quiet berth.x")?).start();
    "B020" Everywhere quote_that_is_never_closed "wait for root=/dev/sda1 berth.on_idle=halt: no such" =>
        |lab, vm| vm.initrd_bytes(defaults(lab, "rootwait=0 \"root=/dev/sda1 berth.on_idle=halt")?).start();
    "B001" Everywhere command_line_with_nul "NUL" =>
        |lab, vm| vm.initrd_bytes(built(events(lab)?.replace("/etc/berth/cmdline", "quiet\0ro", 0o644))?).start();
    "B003" Everywhere control_characters_in_a_value r"\u{7}" =>
        |lab, vm| vm.initrd_bytes(defaults(lab, "berth.containers=\u{7}\u{1b}[2J")?).start();
    "B012" Everywhere module_that_is_truncated "kernel/fs/fat/fat.ko: " =>
        |lab, vm| vm.initrd_bytes(built(damaged_fat(lab, |bytes| bytes.truncate(bytes.len() / 2))?)?).start();
    "B012" Everywhere module_with_flipped_bits "kernel/fs/fat/fat.ko: " =>
        |lab, vm| vm.initrd_bytes(built(damaged_fat(lab, |bytes| flip(bytes, 0x20..0x40))?)?).start();
    "B012" Everywhere module_that_is_empty "kernel/fs/fat/fat.ko: " =>
        |lab, vm| vm.initrd_bytes(built(damaged_fat(lab, Vec::clear)?)?).start();
    "B013" Console module_list_that_is_garbage "/etc/berth/modules" =>
        |lab, vm| vm.initrd_bytes(built(events(lab)?.replace("/etc/berth/modules", "vfat\n\0\u{1}\n", 0o644))?).start();
    "B013" Console module_list_without_end "/etc/berth/modules: EFBIG" =>
        |lab, vm| vm.initrd_bytes(built(events(lab)?.replace("/etc/berth/modules", "vfat\n".repeat(2000), 0o644))?).start();
    "B013" Console module_index_with_nul "modules.dep" =>
        |lab, vm| vm.initrd_bytes(built(index(lab, "modules.dep", "a.ko:\nb.ko\0: a.ko\n")?)?).start();
    "B010" Console module_index_with_a_circle "a.ko: ENOENT" =>
        |lab, vm| vm.initrd_bytes(built(index(lab, "modules.dep", "vfat.ko: a.ko\na.ko: vfat.ko\n")?)?).start();
    "B024" Everywhere ext4_with_flipped_bits "as ext4" =>
        |_, vm| vm.append("root=/dev/vda rootfstype=ext4").blk(&flipped_ext4(0x400..0x430)?).start();
    "B022" Everywhere vfat_with_flipped_bits "what is on it: no filesystem that berth knows" =>
        |_, vm| vm.append("root=/dev/vda").blk(&damaged(&Disk::bare(vfat()?), |bytes| flip(bytes, 0..0x40))?).start();
}

fn built(spec: Spec) -> Result<Vec<u8>> {
    Ok(spec.build(Compression::None)?.bytes)
}

fn events(lab: &Lab) -> Result<Spec> {
    Ok(lab.spec()?.load(["virtio_pci", "virtio_console"]))
}

fn defaults(lab: &Lab, words: &str) -> Result<Vec<u8>> {
    built(events(lab)?.cmdline(words))
}

fn index(lab: &Lab, name: &str, text: &str) -> Result<Spec> {
    let path = format!("/lib/modules/{}/{name}", lab.kernel.release);
    Ok(events(lab)?.load(["vfat"]).replace(path, text, 0o644))
}

/// An image whose `fat` is damaged; it is loaded after the way to the event port.
fn damaged_fat(lab: &Lab, damage: impl FnOnce(&mut Vec<u8>)) -> Result<Spec> {
    let spec = events(lab)?.load(["vfat"]);
    let path = format!("lib/modules/{}/kernel/fs/fat/fat.ko", lab.kernel.release);
    let entries = berth_initramfs::archive::read(&built(spec.clone())?)?;
    let mut module = entries
        .get(&path)
        .context("the image has no fat")?
        .data
        .clone();
    damage(&mut module);
    Ok(spec.replace(format!("/{path}"), module, 0o644))
}

fn flip(bytes: &mut [u8], range: std::ops::Range<usize>) {
    bytes[range].iter_mut().for_each(|byte| *byte ^= 0xff);
}

fn vfat() -> Result<Fs> {
    Ok(Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, disk::files([])?).mib(8))
}

fn ext4() -> Result<Fs> {
    Ok(Fs::ext4(disk::LABEL, disk::EXT4_UUID, disk::files([])?).mib(8))
}

/// The bare disk with its bytes changed.
fn damaged(disk: &Disk, damage: impl FnOnce(&mut Vec<u8>)) -> Result<DiskImage> {
    let mut bytes = std::fs::read(disk.build()?)?;
    damage(&mut bytes);
    Disk::bare(Fs::bytes(bytes)).build()
}

fn flipped_ext4(range: std::ops::Range<usize>) -> Result<DiskImage> {
    damaged(&Disk::bare(ext4()?), |bytes| flip(bytes, range))
}

/// x86 takes 2047 bytes (COMMAND_LINE_SIZE), of which the harness uses some.
fn command_line_of_almost_all_that_the_kernel_takes_is_read(lab: &Lab) -> Result<()> {
    let vm = lab
        .machine("command_line_of_almost_all_that_the_kernel_takes_is_read")?
        .append(" filler=0123456789".repeat(105))
        .append("root=LABEL=BERTH")
        .scsi(&disk::vfat([Bundle::new("good")])?)
        .start()?;
    vm.expect("the container runs", |event| {
        line(event) == Some(("good", "good"))
    })?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

/// Disks of which each is damaged in another place; each is looked at, because none is the one that
/// is wanted.
fn damaged_superblocks_are_survived(lab: &Lab) -> Result<()> {
    let (vfat, ext4) = (Disk::bare(vfat()?), Disk::bare(ext4()?));
    let images = [
        damaged(&vfat, |bytes| bytes[..0x40].fill(0))?,
        damaged(&vfat, |bytes| bytes[..0x40].fill(0xff))?,
        damaged(&vfat, |bytes| flip(bytes, 0x0b..0x0e))?,
        damaged(&vfat, |bytes| flip(bytes, 0x10..0x30))?,
        damaged(&ext4, |bytes| bytes[0x400..0x800].fill(0))?,
        damaged(&ext4, |bytes| bytes[0x400..0x800].fill(0xff))?,
        damaged(&ext4, |bytes| flip(bytes, 0x400..0x438))?,
        damaged(&ext4, |bytes| flip(bytes, 0x440..0x800))?,
        damaged(&ext4, |bytes| bytes.truncate(0x420))?,
    ];
    let vm = lab
        .machine("damaged_superblocks_are_survived")?
        .append("root=LABEL=NONE rootwait=1");
    let outcome = images
        .iter()
        .fold(vm, |vm, image| vm.blk(image))
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    ensure!(outcome.events.iter().any(|event| event.is_failure("B020")));
    for name in ('a'..).take(images.len()) {
        ensure!(
            outcome.console.contains(&format!("/dev/vd{name}: ")),
            "vd{name} is not in the report"
        );
    }
    Ok(())
}

/// A `config.json`, the code and the words that its refusal must have.
struct Malformed {
    id: &'static str,
    text: Vec<u8>,
    code: &'static str,
    words: &'static str,
}

fn malformed(
    id: &'static str,
    text: impl Into<Vec<u8>>,
    code: &'static str,
    words: &'static str,
) -> Malformed {
    Malformed {
        id,
        text: text.into(),
        code,
        words,
    }
}

fn configurations() -> Vec<Malformed> {
    let good = String::from_utf8(Bundle::new("x").config()).unwrap_or_default();
    let with = |old: &str, new: &str| {
        assert!(good.contains(old), "{old} is not in {good}");
        good.replacen(old, new, 1)
    };
    vec![
        malformed("empty", "", "B051", "ends"),
        malformed(
            "truncated",
            &good.as_bytes()[..good.len() / 2],
            "B051",
            "ends",
        ),
        malformed("zeros", vec![0; 4096], "B051", "line 1"),
        malformed(
            "large",
            with("{", &format!("{{\"filler\":\"{}\",", "x".repeat(2 << 20))),
            "B051",
            "bytes",
        ),
        malformed("deep", "[".repeat(10_000), "B051", "deep"),
        malformed("deep-objects", "{\"a\":".repeat(10_000), "B051", "deep"),
        malformed("not-an-object", "[]", "B051", "object"),
        malformed(
            "not-utf8",
            [b"{\"ociVersion\":\"", &[0xff, 0xfe][..], b"\"}"].concat(),
            "B051",
            "UTF-8",
        ),
        malformed(
            "args-number",
            with("[\"/bin/guest\",\"say\",\"x\"]", "17"),
            "B051",
            "process.args",
        ),
        malformed(
            "args-empty",
            with("[\"/bin/guest\",\"say\",\"x\"]", "[]"),
            "B051",
            "process.args",
        ),
        malformed(
            "args-nul",
            with("\"say\"", "\"s\\u0000y\""),
            "B051",
            "process.args",
        ),
        malformed(
            "cwd-relative",
            with("\"cwd\":\"/\"", "\"cwd\":\"tmp\""),
            "B051",
            "process.cwd",
        ),
        malformed(
            "root-object",
            with("\"path\":\"rootfs\"", "\"path\":{}"),
            "B051",
            "root.path",
        ),
        malformed(
            "hostname-list",
            with("\"hostname\":\"x\"", "\"hostname\":[]"),
            "B051",
            "hostname",
        ),
        malformed(
            "twice",
            with(
                "\"hostname\":\"x\"",
                "\"hostname\":\"x\",\"hostname\":\"y\"",
            ),
            "B051",
            "hostname",
        ),
        malformed(
            "mount-string",
            with("\"mounts\":[", "\"mounts\":[\"/proc\","),
            "B051",
            "mounts[0]",
        ),
        malformed(
            "no-namespace",
            with("{\"type\":\"mount\"}", "{\"type\":\"moon\"}"),
            "B051",
            "linux.namespaces",
        ),
        malformed(
            "no-process",
            "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"rootfs\"}}",
            "B051",
            "process",
        ),
        malformed("no-root", with("\"root\":", "\"rot\":"), "B051", "root"),
        malformed("future", with("1.2.0", "7.0.0"), "B051", "ociVersion"),
        malformed(
            "label",
            with(
                "\"root\":",
                "\"vm\":{\"kernel\":{\"path\":\"/x\"}},\"root\":",
            ),
            "B052",
            "vm",
        ),
    ]
}

fn malformed_configurations_are_refused_one_by_one_and_the_good_one_runs(lab: &Lab) -> Result<()> {
    let bad = configurations();
    let tree = bad
        .iter()
        .fold(disk::files([Bundle::new("good")])?, |tree, bad| {
            tree.file(
                format!("containers/{}/config.json", bad.id),
                bad.text.clone(),
            )
        });
    let vm = lab
        .machine("malformed_configurations_are_refused_one_by_one_and_the_good_one_runs")?
        .append("root=LABEL=BERTH")
        .scsi(&disk::of(Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, tree))?)
        .start()?;
    vm.expect("the good container runs", |event| {
        line(event) == Some(("good", "good"))
    })?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let mut wrong = Vec::new();
    for bad in &bad {
        let failed: Vec<_> = outcome
            .events
            .iter()
            .filter(|event| event.is_container(bad.id, "failed"))
            .collect();
        let is_right = matches!(failed[..], [event] if field(event, "failure") == Some(bad.code)
            && field(event, "text").is_some_and(|text| text.contains(bad.words) && text.contains(bad.id)));
        if !is_right {
            let found: Vec<_> = failed.iter().map(|event| event.raw.to_string()).collect();
            wrong.push(format!(
                "{}: expected {} with {:?}, found {found:?}",
                bad.id, bad.code, bad.words
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let failures = outcome
        .events
        .iter()
        .filter(|event| matches!(event.what, What::Failure { .. }));
    ensure!(failures.count() == bad.len(), "other failures than these");
    Ok(())
}
