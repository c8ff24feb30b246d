//! A kernel, and the programs under test built for it.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, Image, ModuleTree, Spec};
use berth_qemu::arch::Arch;
use berth_qemu::kernel::{Kernel, Series};
use berth_qemu::vm::{Builder, Vm};

/// What every image loads: the way to the disks and to the event port, and vfat.
pub const MODULES: [&str; 6] = [
    "virtio_pci",
    "virtio_console",
    "sd_mod",
    "virtio_scsi",
    "virtio_blk",
    "vfat",
];

/// What is on the command line of every machine: a failure ends it at once.
const WORDS: &str = "loglevel=5 berth.on_failure=poweroff";

/// How long a machine may run, and how long it may be silent. Emulated machines on a loaded host
/// are slow; what is tested has deadlines of its own.
const DEADLINE: Duration = Duration::from_secs(120);

/// A kernel and the programs that are tested on it.
pub struct Lab {
    /// The series of the kernel.
    pub series: Series,
    /// The kernel.
    pub kernel: Kernel,
    /// PID 1.
    pub init: PathBuf,
    /// The command.
    pub berth: PathBuf,
    image: Image,
}

impl Lab {
    /// Gets the kernel and builds the usual image. `make` has built the programs.
    ///
    /// # Errors
    /// The kernel cannot be fetched, or a program is missing.
    pub fn new(series: Series) -> Result<Self> {
        let kernel = series.get(Arch::X86_64)?;
        let (init, berth) = (init()?, berth()?);
        let image = spec(&kernel, &init, &berth)?
            .load(MODULES)
            .build(Compression::Zstd)?;
        Ok(Self {
            series,
            kernel,
            init,
            berth,
            image,
        })
    }

    /// A machine of that name with the usual image, no disks and no `root=`.
    ///
    /// # Errors
    /// None so far; a machine that cannot be set up.
    pub fn machine(&self, name: &str) -> Result<Builder> {
        Ok(self.machine_with(name, &self.image))
    }

    /// A machine with an image of its own.
    pub fn machine_with(&self, name: &str, image: &Image) -> Builder {
        Vm::builder(&format!("{}/{name}", self.kernel.name))
            .kernel(&self.kernel)
            .initrd_bytes(image.bytes.clone())
            .append(WORDS)
            .deadline(DEADLINE)
    }

    /// The beginning of an image of its own: berth, the module tree, no modules chosen.
    ///
    /// # Errors
    /// The kernel's modules cannot be read.
    pub fn spec(&self) -> Result<Spec> {
        self.spec_for(&self.kernel)
    }

    /// The same for another kernel.
    ///
    /// # Errors
    /// The kernel's modules cannot be read.
    pub fn spec_for(&self, kernel: &Kernel) -> Result<Spec> {
        spec(kernel, &self.init, &self.berth)
    }
}

fn spec(kernel: &Kernel, init: &Path, berth: &Path) -> Result<Spec> {
    let tree = ModuleTree::open(&kernel.modules, Some(&kernel.release))?;
    Ok(Spec::new(init).berth(berth).modules(tree))
}

/// The program that is PID 1.
///
/// # Errors
/// It was not built.
pub fn init() -> Result<PathBuf> {
    built("BERTH_INIT", "init", "init")
}

/// The command.
///
/// # Errors
/// It was not built.
pub fn berth() -> Result<PathBuf> {
    built("BERTH_COMMAND", "berth", "init")
}

/// The static program that runs the checks inside a machine.
///
/// # Errors
/// It was not built.
pub fn guest() -> Result<PathBuf> {
    built("BERTH_GUEST", "guest", "guest")
}

/// A program that `make <goal>` leaves in `target/`, unless the environment names another.
fn built(variable: &str, name: &str, goal: &str) -> Result<PathBuf> {
    let path =
        env::var_os(variable).map_or_else(|| berth_qemu::target_dir().join(name), PathBuf::from);
    ensure!(
        path.is_file(),
        "{} is not there: run `make {goal}`",
        path.display()
    );
    path.canonicalize()
        .with_context(|| format!("find {}", path.display()))
}
