//! Container engines in a whole Debian, with one runtime and with another: each runs the same commands twice.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::kernel::Series;
use berth_qemu::system::system;
use berth_qemu::tree::Tree;
use berth_qemu::vm::Ended;
use uuid::Uuid;

use crate::Lab;
use crate::engine_rows::{Said, compare, read_said, rows};

const PACKAGES: [&str; 18] = [
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
    "runc",
    "slirp4netns",
    "tini",
    "uidmap",
];

const START: &str = include_str!("../engines/start.sh");

const PORT: &str = "org.berth.tests";

/// How long a command of the guest may take: it is emulated, on a machine that may be busy.
const LIMIT: u32 = 120;

/// A kernel that an emulated processor leads astray says so at once, and does not go on in its ruins.
const WORDS: &str = "root=/dev/vda init=/sbin/init systemd.show_status=0 oops=panic";

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
    /// Buildah.
    pub const BUILDAH: Self = engine("buildah", 'B', "crun");
    /// containerd, by its own command.
    pub const CTR: Self = engine("ctr", 'C', "runc");
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::PODMAN,
        Self::ROOTLESS,
        Self::DOCKER,
        Self::BUILDAH,
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

/// Has an engine run its commands, all or the telling ones, on Debian 13's kernel, by its usual runtime and by berth, and compares what came of them.
/// The table of the differences that are known is printed.
///
/// # Errors
/// A difference without a reason; a guest that does not come up.
pub fn side_by_side(engine: Engine, is_all: bool) -> Result<()> {
    let lab = Lab::new(Series::V6_12)?;
    let rows = rows(engine.letter, is_all)?;
    let commands: Vec<&str> = rows.iter().map(|row| row.command).collect();
    let settings = format!(
        "ENGINE={}\nFIRST={}\nSECOND=berth\nLIMIT={LIMIT}\n",
        engine.name, engine.usual
    );
    let tree = Tree::new()
        .file("start", START)
        .file("settings", settings)
        .file("commands", commands.join("\n") + "\n")
        .copy(lab.berth.clone(), "berth")
        .file("box.tar", image()?)
        .directory("empty");
    let tests = Fs::ext4("TESTS", Uuid::from_u128(4), tree).mib(32);
    let name = format!("engines_{}", engine.name);
    let vm = lab
        .machine(&name)?
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
    let said = read_said(&said)?;
    for runtime in [engine.usual, "berth"] {
        let ran = |said: &Said| said.runtime == runtime && said.text.starts_with(RAN);
        ensure!(said.iter().any(ran), "{} runs nothing", engine.name);
    }
    let known = compare(engine.letter, &rows, &said, [engine.usual, "berth"])?;
    eprintln!(
        "{}: {} commands; what differs:\n{known}",
        engine.name,
        rows.len()
    );
    Ok(())
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
