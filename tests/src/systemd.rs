//! A root with Debian's systemd as PID 1, a system bus, and what loads profiles of AppArmor.

use anyhow::{Context, Result};
use berth_qemu::packages::{LIBRARIES, Packages};
use berth_qemu::tree::Tree;

use crate::{busybox, guest};

const PACKAGES: [&str; 3] = ["systemd", "dbus", "apparmor"];

const PROGRAMS: [&str; 5] = [
    "usr/lib/systemd/systemd",
    "usr/lib/systemd/systemd-executor",
    "usr/bin/systemctl",
    "usr/bin/dbus-daemon",
    "usr/sbin/apparmor_parser",
];

/// Settings of the system bus, and who may ask systemd.
const SETTINGS: [&str; 2] = [
    "usr/share/dbus-1/system.conf",
    "usr/share/dbus-1/system.d/org.freedesktop.systemd1.conf",
];

const DIRECTORIES: [&str; 8] = ["dev", "etc", "proc", "root", "run", "sys", "tmp", "var/tmp"];

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nmessagebus:x:100:100::/:/bin/false\nuser:x:1000:1000::/tmp:/bin/sh\n";
const GROUP: &str = "root:x:0:\nmessagebus:x:100:\nuser:x:1000:\n";

/// Units without the hundred others of a distribution: the bus, the manager of user 1000, and the
/// script.
const UNITS: [(&str, &str); 5] = [
    (
        "default.target",
        "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket script.service user.service\n",
    ),
    (
        "dbus.socket",
        "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
    ),
    (
        "dbus.service",
        "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nType=notify\n\
         ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile\n",
    ),
    (
        "script.service",
        "[Unit]\nDefaultDependencies=no\nAfter=dbus.socket user.service\n[Service]\nType=exec\n\
         ExecStart=/bin/guest report /bin/sh /script\nEnvironment=PATH=/usr/bin:/usr/sbin:/bin\n",
    ),
    (
        "user.service",
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=notify\nUser=1000\nSlice=user-1000.slice\nDelegate=yes\n\
         RuntimeDirectory=user/1000\nEnvironment=XDG_RUNTIME_DIR=/run/user/1000\n\
         ExecStart=/usr/lib/systemd/systemd --user\n",
    ),
];

/// Adds all of it to the root, with this script, which is run when the bus is there: what it prints
/// is seen as the output of `init`, and its end is the machine's.
///
/// # Errors
/// What cannot be fetched.
pub fn systemd(mut tree: Tree, script: &str) -> Result<Tree> {
    let packages = Packages::get("systemd", &PACKAGES)?;
    for directory in DIRECTORIES {
        tree = tree.directory(directory);
    }
    let mut files = Vec::from(PROGRAMS.map(str::to_owned));
    for program in PROGRAMS {
        files.extend(packages.libraries(program)?);
    }
    files.extend(SETTINGS.map(str::to_owned));
    files.sort_unstable();
    files.dedup();
    for file in files {
        // A library is a link to its version.
        let real = packages.root.join(&file).canonicalize();
        tree = tree.copy(real.with_context(|| file.clone())?, file);
    }
    for (name, unit) in UNITS {
        tree = tree.file(format!("etc/systemd/system/{name}"), unit);
    }
    let tree = tree
        .file("etc/passwd", PASSWD)
        .file("etc/group", GROUP)
        .file("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        .file(
            "etc/systemd/user/default.target",
            "[Unit]\nDefaultDependencies=no\n",
        )
        .file("script", script)
        .copy(guest()?, "bin/guest")
        .symlink("lib64", LIBRARIES)
        .symlink("lib", "usr/lib");
    busybox(tree, "")
}
