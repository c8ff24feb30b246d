//! Roots that the hypervisor's host shares: 9p and virtiofs.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, DeviceClass};
use berth_qemu::arch::Arch;
use berth_qemu::kernel::Flavour;
use berth_qemu::vm::{Builder, Ended, Event, Outcome};
use berth_tests::{Bundle, Lab, disk, field, line};
use tempfile::TempDir;

use crate::provoke::failed;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere root_over_9p,
    everywhere root_over_virtiofs,
    once tag_that_no_share_has,
    once share_of_a_kind_that_the_image_has_no_driver_for,
];

/// A machine whose image has the drivers of shares, and the host's directory with a container in
/// it. Debian's cloud kernels have no 9p.
fn machine(lab: &Lab, name: &str, root: &str) -> Result<(Builder, TempDir)> {
    let kernel = lab.series.get_flavour(Arch::X86_64, Flavour::Generic)?;
    let spec = lab.spec_for(&kernel)?.for_devices([DeviceClass::Virtio]);
    let spec = spec.for_filesystems(["9p", "virtiofs"]);
    let shared = tempfile::tempdir()?;
    disk::files([Bundle::new("shared")])?.make(shared.path())?;
    let vm = lab
        .machine_with(name, &spec.build(Compression::Zstd)?)
        .kernel(&kernel)
        .append(format!("root={root} rootwait=2"));
    Ok((vm, shared))
}

fn nine_p(vm: Builder, directory: &Path, tag: &str) -> Builder {
    let share = format!(
        "local,id=share,security_model=none,path={}",
        directory.display()
    );
    let device = format!(r#"{{"driver":"virtio-9p-pci","fsdev":"share","mount_tag":"{tag}"}}"#);
    vm.arguments(["-fsdev", &share, "-device", &device])
}

/// Holds the boot to the root, and to the container that ran from it.
fn ran(outcome: &Outcome, asked: &str, fstype: &str) -> Result<()> {
    outcome.assert(Ended::PowerOff, 0)?;
    let is_it = |event: &&Event| event.name() == "root";
    let root = outcome.events.iter().find(is_it).context("no root")?;
    let found = ["device", "fstype", "asked"].map(|name| field(root, name));
    ensure!(
        found == [Some(asked), Some(fstype), Some(asked)],
        "{found:?}"
    );
    ensure!(
        outcome
            .events
            .iter()
            .any(|event| line(event) == Some(("shared", "shared")))
    );
    Ok(())
}

fn root_over_9p(lab: &Lab) -> Result<()> {
    let (vm, shared) = machine(lab, "root_over_9p", "9p:host")?;
    let outcome = nine_p(vm, shared.path(), "host").start()?.wait()?;
    ran(&outcome, "9p:host", "9p")
}

/// The host's end of virtiofs, which ends with the machine.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn root_over_virtiofs(lab: &Lab) -> Result<()> {
    let (vm, shared) = machine(lab, "root_over_virtiofs", "virtiofs:host")?;
    let sockets = tempfile::tempdir()?;
    let socket = sockets.path().join("virtiofs");
    // Debian 12 has it with QEMU, later ones as a package of its own.
    let programs = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];
    let program = programs.iter().find(|program| Path::new(program).exists());
    let daemon = Command::new(program.context("there is no virtiofsd: install it")?)
        .arg(format!("--socket-path={}", socket.display()))
        .arg("-o")
        .arg(format!("source={},sandbox=chroot", shared.path().display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start virtiofsd")?;
    let mut daemon = Daemon(daemon);
    while !socket.exists() {
        if let Some(status) = daemon.0.try_wait()? {
            anyhow::bail!("virtiofsd ended: {status}");
        }
        std::thread::yield_now();
    }
    let vm = vm.arguments([
        "-object",
        "memory-backend-memfd,id=memory,size=512M,share=on",
        "-numa",
        "node,memdev=memory",
        "-chardev",
        &format!("socket,id=virtiofs,path={}", socket.display()),
        "-device",
        r#"{"driver":"vhost-user-fs-pci","chardev":"virtiofs","tag":"host"}"#,
    ]);
    let outcome = vm.start()?.wait()?;
    ran(&outcome, "virtiofs:host", "virtiofs")
}

fn tag_that_no_share_has(lab: &Lab) -> Result<()> {
    let (vm, shared) = machine(lab, "tag_that_no_share_has", "9p:nobody")?;
    let outcome = nine_p(vm, shared.path(), "host").start()?.wait()?;
    failed(
        &outcome,
        "B020",
        "wait for root=9p:nobody: no device has this tag after 2 s",
    )?;
    let mut report = outcome
        .events
        .iter()
        .filter_map(|event| field(event, "line"));
    ensure!(
        report.any(|line| line == "shares: 9p:host"),
        "{:?}",
        outcome.events
    );
    Ok(())
}

fn share_of_a_kind_that_the_image_has_no_driver_for(lab: &Lab) -> Result<()> {
    let name = "share_of_a_kind_that_the_image_has_no_driver_for";
    let outcome = lab.machine(name)?.append("root=9p:host").start()?.wait()?;
    failed(&outcome, "B023", "mount host as 9p: ENODEV")
}
