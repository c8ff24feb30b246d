//! `berth-qemu`: sets up the host, gets kernels, and boots the demo on the terminal. The work is
//! the library's.

use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::{env, io};

use anyhow::{Context, Result};
use berth_qemu::arch::Arch;
use berth_qemu::ctl::{self, Ctl};
use berth_qemu::kernel::{self, Kernel, Series};
use berth_qemu::terminal::{self, RawMode};
use berth_qemu::vm::{Ended, Vm};
use berth_qemu::{control, demo, setup, target_dir};
use clap::{Args, Parser, Subcommand};

/// Kernels, disks and virtual machines to boot berth in.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the packages that are missing on this machine
    Setup {
        /// The architecture of the guests
        #[arg(long, default_value = "x86_64")]
        arch: Arch,
    },
    /// Get a kernel, and print its image and its modules
    Kernel {
        /// The series; this machine's own, or BERTH_KERNEL=, unless named
        series: Option<Series>,
        /// The architecture of the guest
        #[arg(long, default_value = "x86_64")]
        arch: Arch,
    },
    /// Build the demo's initramfs
    Image {
        #[command(flatten)]
        inputs: Inputs,
        /// Where to leave it [default: target/initramfs.cpio]
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Boot the demo on this terminal
    Run {
        #[command(flatten)]
        inputs: Inputs,
        /// Memory in MiB
        #[arg(long, default_value_t = 512)]
        memory: u32,
        /// Processors
        #[arg(long, default_value_t = 1)]
        cpus: u32,
        /// More words for the kernel command line
        #[arg(long, default_value = "", allow_hyphen_values = true)]
        append: String,
        /// Where the socket of the control port is while it runs [default: target/control.sock]
        #[arg(long, value_name = "SOCKET")]
        control: Option<PathBuf>,
    },
    /// Look into a running machine, and steer it
    Ctl(Ctl),
}

#[derive(Args)]
struct Inputs {
    /// The kernel's series; this machine's own, or BERTH_KERNEL=, unless named
    #[arg(long)]
    kernel: Option<Series>,
    /// The program that becomes /init [default: target/init]
    #[arg(long)]
    init: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut arguments: Vec<_> = env::args_os().collect();
    let is = |name: &str| arguments.get(1).is_some_and(|word| word == name);
    let (is_run, is_ctl) = (is("run"), is("ctl"));
    if is_run {
        // QEMU's own options have one dash, and hands know them so.
        for word in arguments.iter_mut().filter(|word| *word == "-append") {
            *word = "--append".into();
        }
    }
    let cli = Cli::try_parse_from(arguments).unwrap_or_else(|error| {
        if is_ctl && error.use_stderr() {
            let _ = error.print();
            // The usual 2 could be the status of a program that `ctl exec` has run.
            process::exit(ctl::FAILED.into());
        }
        error.exit()
    });
    run(cli.command).unwrap_or_else(|error| {
        eprintln!("berth-qemu: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup { arch } => setup::ensure_programs(arch)?,
        Command::Kernel { series, arch } => {
            let kernel = get(series, arch)?;
            println!("{}\n{}", kernel.image.display(), kernel.modules.display());
        }
        Command::Image { inputs, output } => {
            let kernel = get(inputs.kernel, Arch::X86_64)?;
            let output = output.unwrap_or_else(|| target_dir().join("initramfs.cpio"));
            image(&kernel, inputs.init, &output)?;
        }
        Command::Run {
            inputs,
            memory,
            cpus,
            append,
            control,
        } => {
            let control = control.unwrap_or_else(ctl::default_socket);
            return boot(inputs, memory, cpus, &append, &control);
        }
        Command::Ctl(ctl) => return Ok(ctl::run(&ctl)),
    }
    Ok(ExitCode::SUCCESS)
}

fn get(series: Option<Series>, arch: Arch) -> Result<Kernel> {
    match series {
        Some(series) => series.get(arch),
        None => kernel::default(arch),
    }
}

/// Builds the demo's initramfs and says so.
fn image(kernel: &Kernel, init: Option<PathBuf>, output: &Path) -> Result<()> {
    let init = init.unwrap_or_else(|| target_dir().join("init"));
    let image = demo::image(kernel, &init).context("build the initramfs")?;
    image.write(output)?;
    let kib = image.bytes.len() / 1024;
    eprintln!(
        "image:  {}, {kib} KiB: {} and its modules",
        output.display(),
        init.display()
    );
    Ok(())
}

/// Boots the demo. The exit status is the guest's, or 1 where the machine failed.
fn boot(inputs: Inputs, memory: u32, cpus: u32, append: &str, socket: &Path) -> Result<ExitCode> {
    setup::ensure_programs(Arch::X86_64)?;
    let kernel = get(inputs.kernel, Arch::X86_64)?;
    eprintln!("kernel: {} ({})", kernel.release, kernel.image.display());
    let initramfs = target_dir().join("initramfs.cpio");
    image(&kernel, inputs.init, &initramfs)?;
    let [empty, root] = demo::disks()?;
    eprintln!("disks:  sda, empty; sdb, MBR, with sdb1, vfat: /containers/{{hello,clock,shell}}");
    let words = format!("{} {append}", demo::WORDS);
    eprintln!("words:  {}", words.trim());

    let vm = Vm::builder("run")
        .kernel(&kernel)
        .initrd(initramfs)
        .append(words.trim())
        .memory(memory)
        .cpus(cpus)
        .scsi(&empty)
        .scsi(&root)
        .control_at(socket)
        .patient()
        .screen(io::stdout())
        .start()?;
    eprintln!(
        "boot:   log in {}; Ctrl-A x switches the machine off",
        vm.console_log().display()
    );
    let option = match *socket == ctl::default_socket() {
        true => String::new(),
        false => format!("--socket {} ", socket.display()),
    };
    eprintln!("ctl:    `cargo ctl {option}list` in another terminal looks into it\n");
    let vm = Arc::new(vm);
    let raw = RawMode::new()?;
    terminal::pass_input(vm.clone(), demo::PROMPT);
    let outcome = vm.wait();
    drop(raw);
    // The thread that reads the terminal holds the machine; one that failed or halted still runs.
    let _ = vm.quit();
    control::remove(socket);
    let outcome = outcome?;
    if outcome.ended == Ended::Killed {
        eprintln!("\nended:  switched off from outside");
        return Ok(ExitCode::FAILURE);
    }
    let status = outcome
        .status()
        .context("the guest ended and did not report it")?;
    eprintln!("\nended:  {:?}, status {status}", outcome.ended);
    Ok(match (outcome.ended, u8::try_from(status)) {
        (Ended::PowerOff, Ok(status)) => ExitCode::from(status),
        _ => ExitCode::FAILURE,
    })
}
