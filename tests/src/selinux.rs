//! A policy of SELinux with two types of processes and one of files that only the first may read.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use berth_qemu::packages::{LIBRARIES, Packages};

/// What the kernel gives labels to before there are files, by the order of their numbers
/// (security/selinux/include/initial_sid_to_string.h).
const INITIAL: [&str; 27] = [
    "kernel",
    "security",
    "unlabeled",
    "fs",
    "file",
    "file_labels",
    "init",
    "any_socket",
    "port",
    "netif",
    "netmsg",
    "node",
    "igmp_packet",
    "icmp_socket",
    "tcp_socket",
    "sysctl_modprobe",
    "sysctl",
    "sysctl_fs",
    "sysctl_kernel",
    "sysctl_net",
    "sysctl_net_unix",
    "sysctl_vm",
    "sysctl_dev",
    "kmod",
    "policy",
    "scmp_packet",
    "devnull",
];

/// What it does not name is allowed. Processes are `u:r:all_t`, and `u:r:box_t` may not read files
/// that are `u:r:secret_t`.
const RULES: &str = "
class process { transition dyntransition setexec setkeycreate }
class file { read }
class dir { reparent }
type all_t;
type box_t;
type secret_t;
role r;
role r types { all_t box_t secret_t };
allow all_t { all_t box_t secret_t }:file *;
allow box_t { all_t box_t }:file *;
allow { all_t box_t } { all_t box_t secret_t }:dir *;
allow { all_t box_t } { all_t box_t }:process *;
user u roles r;
";

/// The policy as the kernel takes it.
///
/// # Errors
/// What cannot be fetched, or compiled.
pub fn selinux_policy() -> Result<Vec<u8>> {
    let packages = Packages::get("selinux", &["checkpolicy"])?;
    let mut text = "class process\nclass file\nclass dir\n".to_owned();
    for name in INITIAL {
        text.push_str(&format!("sid {name}\n"));
    }
    text.push_str(RULES);
    for name in INITIAL {
        text.push_str(&format!("sid {name} u:r:all_t\n"));
    }
    for fstype in ["tmpfs", "mqueue", "devpts"] {
        text.push_str(&format!("fs_use_trans {fstype} u:r:all_t;\n"));
    }
    let directory = tempfile::tempdir()?;
    let [source, policy] = ["source", "policy"].map(|name| directory.path().join(name));
    fs::write(&source, text)?;
    let libraries = packages.root.join(LIBRARIES);
    let compiled = Command::new(libraries.join("ld-linux-x86-64.so.2"))
        .arg("--library-path")
        .arg(&libraries)
        .arg(packages.root.join("usr/bin/checkpolicy"))
        // The oldest kernel here knows this version.
        .args(["-U", "allow", "-c", "30", "-o"])
        .args([&policy, &source])
        .output()?;
    ensure!(compiled.status.success(), "{compiled:?}");
    Ok(fs::read(policy)?)
}
