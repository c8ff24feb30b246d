//! `berth-initramfs`: build, list and verify the initramfs on the command line. See the library for
//! what it does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use berth_initramfs::{Compression, DeviceClass, ModuleTree, Spec, kernel, list, verify};
use clap::{Args, Parser, Subcommand};

/// Builds, lists and verifies the initramfs that berth boots from.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build an image; the same inputs give the same bytes.
    Build(Box<Build>),
    /// List an image's files, and what is in its /etc/berth.
    List {
        /// The image: cpio, plain or compressed, or several one behind the other.
        image: PathBuf,
    },
    /// Print what would fail at boot, one line each; exit with 1 if there is anything.
    Verify {
        /// The image: cpio, plain or compressed, or several one behind the other.
        image: PathBuf,
        /// Release of the kernel that the image is for, as `uname -r` prints it.
        #[arg(long, value_name = "RELEASE")]
        kernel_release: Option<String>,
        /// The kernel that the image is for; its release is read from it.
        #[arg(long, value_name = "FILE", conflicts_with = "kernel_release")]
        kernel: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Build {
    /// The program that becomes /init.
    #[arg(long, value_name = "FILE")]
    init: PathBuf,
    /// The program that PID 1 starts containers with [default: the file `berth` beside that of
    /// --init].
    #[arg(long, value_name = "FILE")]
    berth: Option<PathBuf>,
    /// Leave that program out: the image is for `init=`, or the root has it in /usr/lib/berth.
    #[arg(long, conflicts_with = "berth")]
    no_containers: bool,
    /// Where the kernel's modules are: a root with lib/modules, the directory of the releases, or
    /// that of the release.
    #[arg(long, value_name = "DIR")]
    modules_dir: Option<PathBuf>,
    /// Which kernel's modules; may be left out if there is one only.
    #[arg(long, value_name = "RELEASE", requires = "modules_dir")]
    kernel_release: Option<String>,
    /// The kernel's configuration, if it is not in boot/ beside the modules.
    #[arg(long, value_name = "FILE", requires = "modules_dir")]
    kernel_config: Option<PathBuf>,
    /// Modules to load at boot, by name or alias, in this order; what they need comes along.
    #[arg(long, value_name = "NAME", num_args = 1.., requires = "modules_dir")]
    module: Vec<String>,
    /// Modules to have in the image for devices that ask for them, by name or alias.
    #[arg(long, value_name = "NAME", num_args = 1.., requires = "modules_dir")]
    include: Vec<String>,
    /// The drivers of these classes of devices, for devices that ask for them.
    #[arg(
        long,
        value_name = "CLASS",
        value_enum,
        value_delimiter = ',',
        requires = "modules_dir"
    )]
    for_devices: Vec<DeviceClass>,
    /// The drivers of these types of filesystems, and what they need, for a root that has one of
    /// them.
    #[arg(
        long,
        value_name = "TYPE",
        value_delimiter = ',',
        requires = "modules_dir"
    )]
    for_filesystems: Vec<String>,
    /// The drivers of this machine's disks, and of the filesystems that are mounted from them.
    #[arg(long, requires = "modules_dir")]
    from_running_system: bool,
    /// Store modules without signatures: they load in half the time, and taint the kernel.
    #[arg(long, requires = "modules_dir")]
    strip_signatures: bool,
    /// A file or directory to put in, and where.
    #[arg(long, value_name = "SRC:DST", num_args = 1.., value_parser = source_and_destination)]
    add: Vec<(PathBuf, PathBuf)>,
    /// The checks of these types of filesystems, for berth.fsck=: this machine's fsck.TYPE, with
    /// its libraries.
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    fsck: Vec<String>,
    /// What root=tmpfs is filled with: a directory, or a newc archive, plain or compressed.
    #[arg(long, value_name = "SRC")]
    root_archive: Option<PathBuf>,
    /// Defaults for the kernel command line.
    #[arg(long, value_name = "WORDS")]
    cmdline: Option<String>,
    /// Store modules compressed as they are, if the kernel can load them so.
    #[arg(long)]
    keep_compressed: bool,
    /// [default: what the suffix of the output says: .zst, .gz, .lz4, else none]
    #[arg(long, value_enum)]
    compression: Option<Compression>,
    /// Time of all files, in seconds since 1970.
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SOURCE_DATE_EPOCH",
        default_value_t = 0
    )]
    mtime: u32,
    /// The image to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

fn source_and_destination(text: &str) -> Result<(PathBuf, PathBuf), String> {
    let (src, dst) = text.rsplit_once(':').ok_or("expected SRC:DST")?;
    if src.is_empty() || dst.is_empty() {
        return Err("expected SRC:DST, neither of them empty".into());
    }
    Ok((src.into(), dst.into()))
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("berth-initramfs: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build(arguments) => build(*arguments)?,
        Command::List { image } => {
            let text = list(&read(&image)?).with_context(|| format!("list {}", image.display()))?;
            print!("{text}");
        }
        Command::Verify {
            image,
            kernel_release,
            kernel,
        } => {
            let release = kernel
                .map(|path| kernel::release_of(&path))
                .transpose()?
                .or(kernel_release);
            let defects = verify(&read(&image)?, release.as_deref());
            for defect in &defects {
                println!("{}: {defect}", image.display());
            }
            if !defects.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn build(arguments: Build) -> Result<()> {
    let mut spec = Spec::new(&arguments.init)
        .mtime(arguments.mtime)
        .keep_compressed(arguments.keep_compressed);
    if !arguments.no_containers {
        let beside = || arguments.init.with_file_name("berth");
        let berth = arguments.berth.unwrap_or_else(beside);
        ensure!(
            berth.is_file() || !arguments.init.is_file(),
            "{} is not there: it starts containers. Name it with --berth, or leave it out with --no-containers",
            berth.display()
        );
        spec = spec.berth(berth);
    }
    if let Some(dir) = &arguments.modules_dir {
        let mut tree = ModuleTree::open(dir, arguments.kernel_release.as_deref())?;
        if let Some(path) = &arguments.kernel_config {
            tree = tree.with_config(path)?;
        }
        eprintln!(
            "berth-initramfs: modules of kernel {} from {}",
            tree.release(),
            tree.dir().display()
        );
        spec = spec.modules(tree);
    } else if arguments.keep_compressed {
        bail!("--keep-compressed is about modules: give --modules-dir");
    }
    spec = spec
        .load(arguments.module)
        .include(arguments.include)
        .for_devices(arguments.for_devices)
        .for_filesystems(arguments.for_filesystems)
        .fsck(arguments.fsck)
        .strip_signatures(arguments.strip_signatures);
    if arguments.from_running_system {
        spec = spec.from_running_system();
    }
    for (src, dst) in arguments.add {
        spec = spec.add(src, dst);
    }
    if let Some(src) = arguments.root_archive {
        spec = spec.root_archive(src);
    }
    if let Some(words) = arguments.cmdline {
        spec = spec.cmdline(words);
    }
    let image = spec.build(
        arguments
            .compression
            .unwrap_or_else(|| Compression::of_suffix(&arguments.output)),
    )?;
    for note in &image.report.notes {
        eprintln!("berth-initramfs: {note}");
    }
    image.write(&arguments.output)?;
    eprintln!("berth-initramfs: wrote {}", arguments.output.display());
    print!("{}", image.report);
    Ok(())
}

fn read(image: &Path) -> Result<Vec<u8>> {
    fs::read(image).with_context(|| format!("read {}", image.display()))
}
