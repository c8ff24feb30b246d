//! KVM where it works, TCG elsewhere.
//!
//! `/dev/kvm` that can be opened proves little: under nested virtualization it may run a boot
//! sector and then hang a kernel at its first instructions, silently and for ever, or most kernels
//! and not all. So the proof is what will be asked of it: a kernel that comes up, finds no root,
//! panics and reboots, which takes about a second, several times in a row. One that takes longer
//! than five seconds is taken for hung, and TCG is used, which always works.
//!
//! The answer is kept in `target/accel`, for as long as the host is up. `BERTH_ACCEL=kvm|tcg`
//! decides without asking.

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::arch::Arch;
use crate::paths::target_dir;
use crate::program::command;

/// How QEMU runs a guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// On the processor.
    Kvm,
    /// Translated.
    Tcg,
}

impl Accel {
    /// QEMU's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// How long a kernel may take to come up and go down.
const PROOF: Duration = Duration::from_secs(5);

/// How many kernels have to.
const PROOFS: usize = 5;

/// The best that works here for guests of that architecture. `kernel` is one to prove KVM with.
///
/// # Errors
/// A value of `BERTH_ACCEL` that is neither, or a file system that cannot be written.
pub fn best(arch: Arch, kernel: &Path) -> Result<Accel> {
    match env::var("BERTH_ACCEL").as_deref() {
        Ok("kvm") => return Ok(Accel::Kvm),
        Ok("tcg") => return Ok(Accel::Tcg),
        Ok(other) => bail!("BERTH_ACCEL={other}: it is `kvm` or `tcg`"),
        Err(_) if !arch.is_host() => return Ok(Accel::Tcg),
        Err(_) => (),
    }
    static BEST: OnceLock<Accel> = OnceLock::new();
    if let Some(accel) = BEST.get() {
        return Ok(*accel);
    }
    let accel = remembered(arch, kernel)?;
    Ok(*BEST.get_or_init(|| accel))
}

/// The answer in `target/accel`, or a new one. The first line is the host's boot, the second the
/// answer.
fn remembered(arch: Arch, kernel: &Path) -> Result<Accel> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read the boot id")?;
    let boot = boot.trim();
    let file = target_dir().join("accel");
    fs::create_dir_all(target_dir()).context("create target/")?;
    // Whoever comes second waits for the first one's proof.
    let lock = File::create(target_dir().join(".accel.lock")).context("lock target/accel")?;
    lock.lock().context("lock target/accel")?;
    let known = fs::read_to_string(&file).unwrap_or_default();
    if let Some((_, accel)) = known
        .trim()
        .split_once('\n')
        .filter(|(known, _)| *known == boot)
    {
        return Ok(if accel == Accel::Kvm.name() {
            Accel::Kvm
        } else {
            Accel::Tcg
        });
    }
    let accel = match works_always(arch, kernel)? {
        true => Accel::Kvm,
        false => Accel::Tcg,
    };
    fs::write(&file, format!("{boot}\n{}\n", accel.name()))
        .with_context(|| format!("write {}", file.display()))?;
    Ok(accel)
}

/// Whether each of some kernels boots under KVM.
fn works_always(arch: Arch, kernel: &Path) -> Result<bool> {
    for _ in 0..PROOFS {
        if !works(arch, kernel)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a kernel boots under KVM.
fn works(arch: Arch, kernel: &Path) -> Result<bool> {
    if File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_err()
    {
        return Ok(false);
    }
    let mut qemu = command(arch.qemu());
    qemu.args([
        "-machine",
        arch.machine(),
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-m",
        "256M",
    ])
    .args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
    ])
    .args(["-append", "panic=-1", "-kernel"])
    .arg(kernel)
    .stdin(Stdio::null())
    .stdout(Stdio::null())
    .stderr(Stdio::null());
    let mut child = qemu.spawn().context("start QEMU: run `berth-qemu setup`")?;
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    let timeout = Timespec::try_from(PROOF)?;
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout))?;
    if ended == 0 {
        child.kill().context("kill QEMU")?;
    }
    let status = child.wait().context("wait for QEMU")?;
    Ok(ended == 1 && status.success())
}
