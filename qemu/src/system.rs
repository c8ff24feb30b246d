//! A whole Debian 13 with systemd as its init, on a disk: some packages and what they depend on.
//!
//! No script of the packages is run. What those of a real installation would do, and these packages
//! need, is done here: accounts, PAM, the links of alternatives, a machine id. It boots without
//! udev, a network, or a login, and when it is up, its last service runs `/tests/start` of the
//! second disk.
//!
//! The disk is made once for each kernel, whose modules are on it, and for each list of packages,
//! and kept in `target/systems/`. Remove it to get newer packages.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::apt::{Archive, Mirror};
use crate::arch::Arch;
use crate::kernel::{Kernel, codename};
use crate::packages::{LIBRARIES, SUITES};
use crate::paths::target_dir;
use crate::program::{command, run};
use crate::rootfs;
use crate::whole;

/// What any system has.
const PACKAGES: [&str; 18] = [
    "bash",
    "coreutils",
    "dbus",
    "dbus-user-session",
    "findutils",
    "grep",
    "iproute2",
    "kmod",
    "libpam-systemd",
    "login",
    "mount",
    "passwd",
    "procps",
    "sed",
    "systemd",
    "systemd-sysv",
    "tar",
    "util-linux",
];

/// What nobody reads in there.
const LEFT_OUT: [&str; 8] = [
    "usr/share/bash-completion",
    "usr/share/doc",
    "usr/share/i18n",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/zoneinfo",
];

const DIRECTORIES: [&str; 9] = [
    "dev", "home", "proc", "root", "run", "sys", "tests", "tmp", "var/tmp",
];

/// The user beside root: name, and number as user and group.
pub const USER: (&str, u32) = ("user", 1000);

/// Accounts besides those that every Debian has: name, number, home.
const ACCOUNTS: [(&str, u32, &str); 4] = [
    ("systemd-network", 998, "/"),
    ("messagebus", 997, "/nonexistent"),
    ("docker", 996, "/nonexistent"),
    (USER.0, USER.1, "/home/user"),
];

/// PAM's common parts. Nobody is asked for a password, and systemd is told of sessions.
const PAM: [(&str, &str); 5] = [
    ("account", "account required pam_permit.so\n"),
    ("auth", "auth required pam_permit.so\n"),
    ("password", "password required pam_permit.so\n"),
    ("session", SESSION),
    ("session-noninteractive", SESSION),
];

const SESSION: &str = "session required pam_permit.so\nsession optional pam_systemd.so\n";

/// Units that nothing here needs, each of which takes an emulated machine its time: nobody logs in,
/// the linker finds all libraries where it looks first, and there is neither a screen nor a TPM.
const MASKED: [&str; 14] = [
    "dev-hugepages.mount",
    "getty.target",
    "ldconfig.service",
    "modprobe@configfs.service",
    "modprobe@drm.service",
    "proc-sys-fs-binfmt_misc.automount",
    "serial-getty@ttyS0.service",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-random-seed.service",
    "systemd-tpm2-setup-early.service",
    "systemd-tpm2-setup.service",
];

/// Alternatives, as the packages' scripts choose them.
const LINKS: [(&str, &str); 10] = [
    ("usr/bin/awk", "mawk"),
    ("usr/lib/systemd/system/default.target", "multi-user.target"),
    ("usr/sbin/iptables", "xtables-nft-multi"),
    ("usr/sbin/iptables-restore", "xtables-nft-multi"),
    ("usr/sbin/iptables-save", "xtables-nft-multi"),
    ("usr/sbin/ip6tables", "xtables-nft-multi"),
    ("usr/sbin/ip6tables-restore", "xtables-nft-multi"),
    ("usr/sbin/ip6tables-save", "xtables-nft-multi"),
    ("var/lock", "/run/lock"),
    ("var/run", "/run"),
];

const FILES: [(&str, &str); 7] = [
    ("etc/hostname", "debian\n"),
    ("etc/hosts", "127.0.0.1 localhost debian\n"),
    ("etc/machine-id", "b0a70000000040008000000000000004\n"),
    ("etc/resolv.conf", ""),
    // So that what systemd does after an update is not done at each boot.
    ("etc/.updated", ""),
    ("var/.updated", ""),
    ("etc/systemd/system/tests.service", SERVICE),
];

const SERVICE: &str = "[Unit]
After=multi-user.target
[Service]
ExecStartPre=/bin/mount /dev/vdb /tests
ExecStart=/bin/bash /tests/start
ExecStopPost=/bin/systemctl poweroff --force --force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
";

/// The size of the disk, most of which is a hole in its file.
const SIZE: u64 = 4 << 30;

/// The disk with these packages besides; `name` is that of the directory in `target/systems/`.
///
/// # Errors
/// What cannot be fetched; a caller who is not root, since the files belong to several users.
pub fn system(name: &str, packages: &[&str], kernel: &Kernel) -> Result<PathBuf> {
    let dir = target_dir()
        .join("systems")
        .join(format!("{name}-{}", kernel.name));
    whole::described(&dir, &packages.join(" "), |new| make(new, packages, kernel))
        .with_context(|| format!("the system {name}"))?;
    Ok(dir.join("disk.img"))
}

fn make(dir: &Path, packages: &[&str], kernel: &Kernel) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "its files belong to several users: making it takes root"
    );
    let mirror = Mirror::of_machine(&codename()?)?;
    let lists = target_dir().join("apt").join("system");
    let archive = Archive::open(&lists, &mirror, &SUITES, Arch::X86_64)?;
    let root = dir.join("root");
    fs::create_dir(&root)?;
    rootfs::install(&archive, &[&PACKAGES, packages].concat(), &root)?;
    for left_out in LEFT_OUT {
        let path = root.join(left_out);
        if path.exists() {
            fs::remove_dir_all(path)?;
        }
    }
    configure(&root)?;
    add_modules(&root, kernel)?;
    let image = dir.join("disk.img");
    fs::File::create(&image)?.set_len(SIZE)?;
    let mut mkfs = command("mke2fs");
    mkfs.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d"]);
    run(mkfs.args([&root, &image])).context("make the disk")?;
    fs::remove_dir_all(&root).context("remove what the disk was made of")
}

/// What the packages' scripts would do.
fn configure(root: &Path) -> Result<()> {
    for directory in DIRECTORIES {
        fs::create_dir_all(root.join(directory))?;
    }
    for (mode, directory) in [(0o1777, "tmp"), (0o1777, "var/tmp"), (0o700, "root")] {
        fs::set_permissions(root.join(directory), fs::Permissions::from_mode(mode))?;
    }
    accounts(root)?;
    for (part, text) in PAM {
        fs::write(root.join(format!("etc/pam.d/common-{part}")), text)?;
    }
    let masked = MASKED.map(|unit| (format!("etc/systemd/system/{unit}"), "/dev/null"));
    let links = LINKS.map(|(link, target)| (link.to_owned(), target));
    for (link, target) in links.into_iter().chain(masked) {
        let link = root.join(link);
        match link.symlink_metadata() {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&link)?,
            Ok(_) => fs::remove_file(&link)?,
            Err(_) => {}
        }
        symlink(target, link)?;
    }
    for (file, text) in FILES {
        fs::write(root.join(file), text).with_context(|| format!("write {file}"))?;
    }
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    symlink("../tests.service", wants.join("tests.service"))?;
    Ok(())
}

/// passwd(5), group(5), shadow(5), subuid(5).
fn accounts(root: &Path) -> Result<()> {
    let master = |name: &str| {
        let path = root.join(format!("usr/share/base-passwd/{name}.master"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string());
        text.map(|text| text.replace(":*:", ":x:"))
    };
    let (mut users, mut groups) = (master("passwd")?, master("group")?);
    groups.push_str("systemd-journal:x:999:\n");
    for (name, id, home) in ACCOUNTS {
        users.push_str(&format!("{name}:x:{id}:{id}::{home}:/bin/bash\n"));
        groups.push_str(&format!("{name}:x:{id}:\n"));
    }
    let locked = |table: &str, rest: &str| {
        let names = table.lines().filter_map(|line| line.split(':').next());
        names.map(|name| format!("{name}:*:{rest}\n")).collect()
    };
    let (shadow, gshadow): (String, String) =
        (locked(&users, "20000:0:99999:7:::"), locked(&groups, ":"));
    let subordinate = format!("{}:100000:65536\n", USER.0);
    for (file, text, mode) in [
        ("passwd", &users, 0o644),
        ("group", &groups, 0o644),
        ("shadow", &shadow, 0o600),
        ("gshadow", &gshadow, 0o600),
        ("subuid", &subordinate, 0o644),
        ("subgid", &subordinate, 0o644),
    ] {
        let path = root.join("etc").join(file);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    let home = root.join("home").join(USER.0);
    fs::create_dir_all(&home)?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
    chown(&home, Some(USER.1), Some(USER.1)).context("give the user a home")
}

/// The kernel's modules, with the index that the system's own kmod reads; made by that kmod, with
/// the libraries beside it.
fn add_modules(root: &Path, kernel: &Kernel) -> Result<()> {
    let modules = root.join("usr/lib/modules");
    fs::create_dir_all(&modules)?;
    run(command("cp")
        .args(["--archive", "--no-preserve=ownership"])
        .arg(&kernel.modules)
        .arg(&modules))?;
    let libraries = root.join(LIBRARIES);
    let mut depmod = command(&libraries.join("ld-linux-x86-64.so.2").display().to_string());
    depmod.arg("--library-path").arg(&libraries);
    depmod
        .args(["--argv0", "depmod"])
        .arg(root.join("usr/bin/kmod"));
    run(depmod.arg("--basedir").arg(root).arg(&kernel.release)).context("index the modules")?;
    Ok(())
}
