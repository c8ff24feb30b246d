//! The move onto the new root leaves nothing of the initramfs behind, by either way.
//!
//! The measurements are made by a container that joins the host's mount namespace. Each is made
//! twice: after a switch, and on a machine that stays on the same initramfs, where it must say the
//! opposite.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, Image};
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, disk, field, guest, line};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere initramfs_is_gone_after_the_switch,
    once initramfs_is_found_by_the_same_means_where_it_stays,
];

/// A file of that size is in the initramfs, so that its memory cannot be missed, in KiB.
const BALLAST_KIB: u64 = 48 * 1024;

/// Bytes that no compression makes smaller, by the generator xorshift64.
fn ballast() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::new();
    while bytes.len() < BALLAST_KIB as usize * 1024 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

/// A container that can see the host: no PID namespace of its own.
fn witness() -> Bundle {
    Bundle::new("witness")
        .namespaces(&["mount", "uts"])
        .runs(["/bin/guest", "describe-host"])
}

fn image(lab: &Lab, stays: bool) -> Result<Image> {
    let mut spec = lab
        .spec()?
        .load(["virtio_pci", "virtio_console", "virtio_blk"])
        .replace("/ballast", ballast(), 0o644);
    if stays {
        let rootfs = "/containers/witness/rootfs";
        spec = spec.replace("/containers/witness/config.json", witness().config(), 0o644);
        spec = spec.add(guest()?, format!("{rootfs}/bin/guest"));
        for directory in ["proc", "dev"] {
            spec = spec.replace(format!("{rootfs}/{directory}/.keep"), [], 0o644);
        }
    }
    spec.build(Compression::None)
}

/// What the witness has said: lines by their beginning.
struct Testimony(Vec<String>);

impl Testimony {
    fn of(outcome: &Outcome) -> Result<Self> {
        let lines = outcome
            .events
            .iter()
            .filter_map(line)
            .filter(|(id, _)| *id == "witness");
        let lines: Vec<_> = lines.map(|(_, text)| text.to_owned()).collect();
        ensure!(
            lines
                .last()
                .is_some_and(|line| line.starts_with("files in memory")),
            "{lines:#?}"
        );
        Ok(Self(lines))
    }

    fn one<'a>(&'a self, prefix: &'a str) -> Result<&'a str> {
        self.all(prefix)
            .next()
            .with_context(|| format!("nothing is said about {prefix:?}: {:#?}", self.0))
    }

    fn all<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter_map(move |line| line.strip_prefix(prefix))
    }

    /// Device numbers of what PID 1 has open, by what it is.
    fn open_files(&self) -> HashMap<&str, &str> {
        self.all("open ")
            .filter_map(|line| line.rsplit_once(" on "))
            .collect()
    }
}

fn initramfs_is_gone_after_the_switch(lab: &Lab) -> Result<()> {
    let vm = lab
        .machine_with("initramfs_is_gone_after_the_switch", &image(lab, false)?)
        .append(format!("root=UUID={}", disk::EXT4_UUID))
        .blk(&disk::ext4([witness()])?)
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;

    let switch = outcome
        .events
        .iter()
        .find(|event| field(event, "event") == Some("switch"));
    let switch = switch.context("the root was not switched")?;
    // The only place where a test asks for the version: which way the kernel allows is what is
    // tested.
    let method = if lab.kernel.release.starts_with("6.") {
        "move"
    } else {
        "pivot_root"
    };
    ensure!(field(switch, "method") == Some(method), "{}", switch.raw);
    ensure!(switch.raw["removed"].as_u64() > Some(10), "{}", switch.raw);

    let seen = Testimony::of(&outcome)?;
    // `/` of the initramfs has device number 0:2 or thereabouts; the disk has one of virtio-blk's,
    // with a major.
    let root: u64 = seen.one("root on ")?.parse()?;
    ensure!(root >> 8 != 0, "/ is on device {root}, which is no disk");
    for name in ["/init", "/etc", "/lib", "/sysroot"] {
        ensure!(
            seen.one(&format!("{name} "))? == "is gone",
            "{name} is on the new root"
        );
    }
    // The text of the running program is the one file that lives as long as it runs.
    let mapped: Vec<_> = seen.all("mapped ").collect();
    ensure!(!mapped.is_empty());
    for file in &mapped {
        ensure!(
            file.starts_with("/init (deleted) "),
            "PID 1 has mapped {file}"
        );
    }
    for (target, device) in seen.open_files() {
        let is_kernels = ["/dev/", "socket:", "pipe:", "anon_inode:", "/proc", "/sys"]
            .iter()
            .any(|prefix| target.starts_with(prefix));
        // What it starts containers with is on no filesystem. Events and lines are in memory.
        let is_own = target == "/memfd:berth (deleted)" || target.starts_with("/run/berth-boot/");
        ensure!(
            is_kernels || is_own,
            "PID 1 has {target} open, on device {device}"
        );
    }
    let files: u64 = seen.one("files in memory ")?.parse()?;
    ensure!(
        files < BALLAST_KIB / 8,
        "{files} KiB of files are in memory"
    );
    Ok(())
}

fn initramfs_is_found_by_the_same_means_where_it_stays(lab: &Lab) -> Result<()> {
    let vm = lab
        .machine_with(
            "initramfs_is_found_by_the_same_means_where_it_stays",
            &image(lab, true)?,
        )
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let seen = Testimony::of(&outcome)?;
    let root: u64 = seen.one("root on ")?.parse()?;
    ensure!(root >> 8 == 0, "/ is on device {root}");
    ensure!(seen.one("/init ")? == "exists");
    ensure!(!seen.one("mapped ")?.contains("(deleted)"));
    let files: u64 = seen.one("files in memory ")?.parse()?;
    ensure!(files > BALLAST_KIB, "{files} KiB of files are in memory");
    Ok(())
}
