//! What a machine is made of, until it is started.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::drive::Drive;
use super::watch::Limits;
use super::{Vm, launch};
use crate::arch::Arch;
use crate::kernel::Kernel;
use crate::paths::vm_dir;

/// The port that berth writes its events to.
const EVENTS: &str = "org.berth.events";

/// Enough for a boot under TCG on a busy host; a guest that works at all needs a few seconds.
const DEADLINE: Duration = Duration::from_secs(120);

/// Longer than any quiet moment of a guest that is well.
const SILENCE: Duration = Duration::from_secs(60);

/// A machine to be. Made by [`Vm::builder`], turned into a running [`Vm`] by [`Builder::start`].
pub struct Builder {
    pub(crate) name: String,
    pub(crate) arch: Arch,
    pub(crate) limits: Limits,
    pub(crate) drives: Vec<Drive>,
    /// Names of virtio-serial ports, the one for events first where there is one.
    pub(crate) ports: Vec<String>,
    /// Where the control port's socket is to be; empty for beside the machine's logs.
    pub(crate) control: Option<PathBuf>,
    pub(crate) screen: Option<Box<dyn Write + Send>>,
    pub(crate) is_counted: bool,
    pub(crate) are_at_once: bool,
    pub(crate) has_events: bool,
    pub(crate) kernel: Option<PathBuf>,
    pub(crate) initrd: Option<PathBuf>,
    initrd_bytes: Option<Vec<u8>>,
    pub(crate) words: Vec<String>,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
    pub(crate) arguments: Vec<String>,
    pub(crate) saved: Option<PathBuf>,
}

impl Builder {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            arch: Arch::default(),
            limits: Limits {
                deadline: Some(DEADLINE),
                silence: Some(SILENCE),
            },
            drives: Vec::new(),
            ports: Vec::new(),
            control: None,
            screen: None,
            is_counted: false,
            are_at_once: false,
            has_events: true,
            kernel: None,
            initrd: None,
            initrd_bytes: None,
            words: Vec::new(),
            memory_mib: 512,
            cpus: 1,
            arguments: Vec::new(),
            saved: None,
        }
    }

    /// The architecture; x86_64 unless said.
    pub fn arch(mut self, arch: Arch) -> Self {
        self.arch = arch;
        self
    }

    /// The kernel to boot.
    pub fn kernel(self, kernel: &Kernel) -> Self {
        self.kernel_image(&kernel.image)
    }

    /// The kernel to boot, by its image.
    pub fn kernel_image(mut self, image: impl Into<PathBuf>) -> Self {
        self.kernel = Some(image.into());
        self
    }

    /// The initramfs.
    pub fn initrd(mut self, image: impl Into<PathBuf>) -> Self {
        self.initrd = Some(image.into());
        self
    }

    /// The initramfs, by its content.
    pub fn initrd_bytes(mut self, image: impl Into<Vec<u8>>) -> Self {
        self.initrd_bytes = Some(image.into());
        self
    }

    /// More words for the kernel command line, which begins with `console=` for the serial port.
    pub fn append(mut self, words: impl Into<String>) -> Self {
        self.words.push(words.into());
        self
    }

    /// Memory in MiB; 512 unless said.
    pub fn memory(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// Processors; 1 unless said.
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    /// A disk.
    pub fn drive(mut self, drive: impl Into<Drive>) -> Self {
        self.drives.push(drive.into());
        self
    }

    /// A disk on the virtio-scsi controller. The first is `sda`, the second `sdb`, on every kernel:
    /// each appears when the guest has read from the one before.
    pub fn scsi(self, image: &(impl AsRef<Path> + ?Sized)) -> Self {
        self.drive(Drive::scsi(image))
    }

    /// All SCSI disks are there from the start, and any of them may become `sda`.
    pub fn at_once(mut self) -> Self {
        self.are_at_once = true;
        self
    }

    /// A virtio-blk disk.
    pub fn blk(self, image: &(impl AsRef<Path> + ?Sized)) -> Self {
        self.drive(Drive::blk(image))
    }

    /// One more virtio-serial port of this name; [`Vm::port`] is the host's end.
    pub fn port(mut self, name: impl Into<String>) -> Self {
        self.ports.push(name.into());
        self
    }

    /// The control port; [`Vm::control`] connects to it.
    pub fn control(self) -> Self {
        self.control_at(PathBuf::new())
    }

    /// The control port, with its socket there.
    pub fn control_at(mut self, socket: impl Into<PathBuf>) -> Self {
        self.control = Some(socket.into());
        self
    }

    /// No event port.
    pub fn without_events(mut self) -> Self {
        self.has_events = false;
        self
    }

    /// Copies the console's output to `screen` as it comes.
    pub fn screen(mut self, screen: impl Write + Send + 'static) -> Self {
        self.screen = Some(Box::new(screen));
        self
    }

    /// How long the machine may live before whoever waits for it gets a failure; 120 s unless said.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = Some(deadline);
        self
    }

    /// How long the guest may say nothing at all; 60 s unless said.
    pub fn silence(mut self, silence: Duration) -> Self {
        self.limits.silence = Some(silence);
        self
    }

    /// Neither deadline nor watchdog: somebody is sitting in front of it.
    pub fn patient(mut self) -> Self {
        self.limits = Limits {
            deadline: None,
            silence: None,
        };
        self
    }

    /// One guest instruction is one ns of guest time, and idle time is skipped: figures repeat to
    /// within a percent. TCG with one processor; put `idle=poll` on the command line where idling
    /// must count too.
    pub fn counted(mut self) -> Self {
        self.is_counted = true;
        self
    }

    /// More arguments for QEMU.
    pub fn arguments<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Goes on from what [`Vm::save`] has written. All else has to be as with the machine that was
    /// saved; its disks are [`Vm::disk`].
    pub fn saved(mut self, file: impl Into<PathBuf>) -> Self {
        self.saved = Some(file.into());
        self
    }

    /// Starts the machine.
    ///
    /// # Errors
    /// A [`Failure`](super::Failure) when QEMU does not start, else what could not be prepared.
    pub fn start(mut self) -> Result<Vm> {
        let dir = vm_dir(&self.name);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("clear {}", dir.display()))?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        if let Some(bytes) = self.initrd_bytes.take() {
            let file = dir.join("initramfs");
            fs::write(&file, bytes).with_context(|| format!("write {}", file.display()))?;
            self.initrd = Some(file);
        }
        if self
            .control
            .as_ref()
            .is_some_and(|socket| socket.as_os_str().is_empty())
        {
            self.control = Some(dir.join("control.sock"));
        }
        if self.has_events {
            self.ports.insert(0, EVENTS.to_owned());
        }
        launch::launch(self, dir)
    }
}
