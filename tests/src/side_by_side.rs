//! Container engines in a whole Debian, with one runtime and with another: each runs the same
//! commands twice.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::kernel::Series;
use berth_qemu::system::system;
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Failure, VmFailure};
use uuid::Uuid;

use crate::Lab;
use crate::engine_rows::{Said, compare, read_said, rows};

const PACKAGES: [&str; 19] = [
    "aardvark-dns",
    "apparmor",
    "buildah",
    "catatonit",
    "containerd",
    "crun",
    "docker-cli",
    "docker.io",
    "fuse-overlayfs",
    "iptables",
    "netavark",
    "nftables",
    "passt",
    "podman",
    "rootlesskit",
    "runc",
    "slirp4netns",
    "tini",
    "uidmap",
];

const START: &str = include_str!("../engines/start.sh");

const PORT: &str = "org.berth.tests";

/// How long a command of the guest may take: it is emulated, on a machine that may be busy.
const LIMIT: u32 = 120;

/// A kernel that an emulated processor leads astray says so at once, and does not go on in its
/// ruins. An emulated one gives nothing away by speculation, and is slower where it guards against
/// that.
const WORDS: &str =
    "root=/dev/vda init=/sbin/init systemd.show_status=0 oops=panic mitigations=off";

/// How often a machine is started where the emulator leads its kernel astray.
const BOOTS: usize = 3;

/// How a kernel's report begins.
const OOPSES: [&str; 4] = [
    "BUG: ",
    "Oops: ",
    "kernel BUG at",
    "general protection fault",
];

/// What is in the report where the kernel changed its own code, or met the breakpoint that it puts
/// there meanwhile.
const PATCHING: [&str; 5] = [
    "int3",
    "text_poke",
    "jump_label",
    "static_key",
    "bpf_prog_pack",
];

/// How long the telling commands may take, and how long all may.
const DEADLINES: [Duration; 2] = [Duration::from_secs(20 * 60), Duration::from_secs(5 * 3600)];

/// What comes of a row that each engine has, where it runs programs at all.
const RAN: &str = "status 7\nout\nerror\n";

/// An engine and the runtime that it usually has.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    /// What the guest's script calls it.
    pub name: &'static str,
    letter: char,
    usual: &'static str,
}

impl Engine {
    /// Podman of root's.
    pub const PODMAN: Self = engine("podman", 'P', "crun");
    /// Podman of a user's, in the session that systemd makes for the user.
    pub const ROOTLESS: Self = engine("rootless", 'R', "crun");
    /// Docker, whose default runtime is set.
    pub const DOCKER: Self = engine("docker", 'D', "runc");
    /// Docker of a user's, which rootlesskit starts.
    pub const DOCKER_ROOTLESS: Self = engine("docker-rootless", 'S', "runc");
    /// Buildah.
    pub const BUILDAH: Self = engine("buildah", 'B', "crun");
    /// Buildah of a user's.
    pub const BUILDAH_ROOTLESS: Self = engine("buildah-rootless", 'U', "crun");
    /// containerd, by its own command.
    pub const CTR: Self = engine("ctr", 'C', "runc");
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::PODMAN,
        Self::ROOTLESS,
        Self::DOCKER,
        Self::DOCKER_ROOTLESS,
        Self::BUILDAH,
        Self::BUILDAH_ROOTLESS,
        Self::CTR,
    ];
}

const fn engine(name: &'static str, letter: char, usual: &'static str) -> Engine {
    Engine {
        name,
        letter,
        usual,
    }
}

/// Has engines run their commands, all or the telling ones, one after the other in one machine, on
/// Debian 13's kernel, by their usual runtime and by berth, and compares what came of them. The
/// table of the differences that are known is printed.
///
/// # Errors
/// A difference without a reason; a guest that does not come up.
pub fn side_by_side(engines: &[Engine], is_all: bool) -> Result<()> {
    let lab = Lab::new(Series::V6_12)?;
    let said = run_again(&lab, engines, is_all)?;
    let (mut table, mut unknown) = (times(&said), Vec::new());
    for engine in engines {
        let rows = rows(engine.letter, is_all)?;
        let own: Vec<Said> = said
            .iter()
            .filter(|said| said.engine == engine.name)
            .cloned()
            .collect();
        for runtime in [engine.usual, "berth"] {
            let ran = |said: &Said| said.runtime == runtime && said.text.starts_with(RAN);
            ensure!(own.iter().any(ran), "{} runs nothing", engine.name);
        }
        match compare(engine.letter, &rows, &own, [engine.usual, "berth"]) {
            Ok(known) => {
                let count = rows.len();
                let _ = writeln!(
                    table,
                    "{}: {count} commands; what differs:\n{known}",
                    engine.name
                );
            }
            Err(error) => unknown.push(format!("{}: {error:#}", engine.name)),
        }
    }
    eprint!("{table}");
    ensure!(unknown.is_empty(), "{}", unknown.join("\n"));
    Ok(())
}

/// [`run`], and once or twice more where the emulator led the guest's kernel astray.
fn run_again(lab: &Lab, engines: &[Engine], is_all: bool) -> Result<Vec<Said>> {
    for _ in 1..BOOTS {
        match run(lab, engines, is_all) {
            Err(error) if error.downcast_ref().is_some_and(is_emulators) => {
                eprintln!(
                    "the emulator led the kernel astray, and the machine is started again: {error:#}"
                );
            }
            result => return result,
        }
    }
    run(lab, engines, is_all)
}

/// Whether the kernel gave up while it changed code of its own, or ran into such code: QEMU's
/// translator may run what was there before. On a real processor no program can do that to a
/// kernel. Any other oops is a failure.
fn is_emulators(failure: &Failure) -> bool {
    let VmFailure::KernelPanic(_) = failure.why else {
        return false;
    };
    // From the first oops to its registers' end and its trace: what follows may be the ruins.
    let mut lines = failure.console.lines();
    let oops = lines
        .by_ref()
        .find(|line| OOPSES.iter().any(|oops| line.contains(oops)));
    let Some(oops) = oops else {
        return false;
    };
    let trace = lines.take_while(|line| !line.contains("---[ end"));
    std::iter::once(oops)
        .chain(trace)
        .any(|line| PATCHING.iter().any(|word| line.contains(word)))
}

/// What all rows of the engines came to, in a machine of their own.
fn run(lab: &Lab, engines: &[Engine], is_all: bool) -> Result<Vec<Said>> {
    let mut tree = Tree::new()
        .file("start", START)
        .copy(lab.berth.clone(), "berth")
        .file("box.tar", image()?)
        .directory("empty");
    let (mut runs, mut names) = (Vec::new(), Vec::new());
    for Engine {
        name,
        letter,
        usual,
    } in engines
    {
        let rows = rows(*letter, is_all)?;
        let commands: Vec<&str> = rows.iter().map(|row| row.command).collect();
        tree = tree.file(format!("commands.{name}"), commands.join("\n") + "\n");
        runs.extend([format!("{name}:{usual}"), format!("{name}:berth")]);
        names.push(*name);
    }
    let quick = if is_all { "" } else { "yes" };
    let settings = format!("RUNS='{}'\nLIMIT={LIMIT}\nQUICK={quick}\n", runs.join(" "));
    let tests = Fs::ext4("TESTS", Uuid::from_u128(4), tree.file("settings", settings)).mib(32);
    let vm = lab
        .machine(&format!("engines_{}", names.join("_")))?
        .append(WORDS)
        .memory(2048)
        // With two, an emulated kernel may run into code of its own that the other is changing.
        .cpus(1)
        .deadline(DEADLINES[usize::from(is_all)])
        // What the guest says goes to a port of its own.
        .silence(DEADLINES[usize::from(is_all)])
        .port(PORT)
        .blk(&system("engines", &PACKAGES, &lab.kernel)?)
        .blk(&Disk::bare(tests).build()?)
        .start()?;
    let mut port = vm.port(PORT).context("no port")?.try_clone()?;
    let file = vm.console_log().with_file_name("said");
    let mut copy = File::create(&file)?;
    let reader = std::thread::spawn(move || std::io::copy(&mut port, &mut copy));
    let outcome = vm.wait()?;
    drop(vm);
    reader.join().ok().context("the port's reader")??;
    let said = String::from_utf8_lossy(&fs::read(&file)?).replace('\r', "");
    outcome.assert_ended(Ended::PowerOff)?;
    read_said(&said)
}

/// A line for each engine and runtime: the seconds that its start and its rows took.
fn times(said: &[Said]) -> String {
    let mut times: Vec<(String, f64)> = Vec::new();
    for said in said {
        let name = match said.row.as_str() {
            "start" => format!("{} with {}, start", said.engine, said.runtime),
            _ => format!("{} with {}", said.engine, said.runtime),
        };
        match times.iter_mut().find(|(other, _)| *other == name) {
            Some((_, seconds)) => *seconds += said.seconds,
            None => times.push((name, said.seconds)),
        }
    }
    let lines = times.iter();
    lines
        .map(|(name, seconds)| format!("{seconds:6.1} s  {name}\n"))
        .collect()
}

/// The root filesystem of an image as an archive: busybox with all its commands.
fn image() -> Result<Vec<u8>> {
    let busybox = berth_qemu::busybox()?;
    let applets = output(Command::new(&busybox).arg("--list"))?;
    let applets = String::from_utf8(applets).context("busybox --list")?;
    let mut tree = Tree::new()
        .file(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n",
        )
        .file("etc/group", "root:x:0:\naudio:x:29:user\nuser:x:1000:\n")
        .copy(busybox, "bin/busybox");
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        tree = tree.symlink(format!("bin/{applet}"), "busybox");
    }
    for directory in [
        "dev", "home", "mnt", "proc", "root", "run", "sys", "tmp", "var",
    ] {
        tree = tree.directory(directory);
    }
    let root = tempfile::tempdir()?;
    tree.make(root.path())?;
    fs::set_permissions(root.path(), Permissions::from_mode(0o755))?;
    fs::set_permissions(root.path().join("tmp"), Permissions::from_mode(0o1777))?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--owner=0", "--group=0", "--directory"]);
    output(tar.arg(root.path()).arg("."))
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn panicked(console: &str) -> Failure {
        Failure {
            machine: "engines".into(),
            why: VmFailure::KernelPanic("Kernel panic - not syncing: Fatal exception".into()),
            console: console.into(),
            log: PathBuf::new(),
        }
    }

    #[test]
    fn kernel_that_trips_over_its_own_patching_is_the_emulators() {
        let oops =
            "up\n[1.0] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\n[1.0] RIP: 0010:schedule+0x1\n";
        assert!(is_emulators(&panicked(oops)));
        let trace = "[1.0] BUG: unable to handle page fault for address: 0\n[1.0]  __text_poke+0x29c/0x400\n";
        assert!(is_emulators(&panicked(trace)));
    }

    #[test]
    fn no_other_failure_is_the_emulators() {
        let other = "[1.0] BUG: kernel NULL pointer dereference\n[1.0]  cgroup_migrate+0x1\n[1.0] ---[ end trace 0 ]---\n[1.1] int3\n";
        assert!(!is_emulators(&panicked(other)));
        assert!(!is_emulators(&panicked("text_poke\n")));
        let why = VmFailure::BrokeDown("int3".into());
        let console = "Oops: int3\n".into();
        let failure = Failure {
            why,
            console,
            ..panicked("")
        };
        assert!(!is_emulators(&failure));
    }
}
