//! Programs that decide on the devices of a control group (bpf(2)): berth's own, and those that
//! others have attached there, as systemd does to a unit's group.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::lab::{GROUPS, Lab};
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Group programs_of_others_decide_on_devices_as_before,
];

const PROG_LOAD: i64 = 5;
const PROG_ATTACH: i64 = 8;
const PROG_QUERY: i64 = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// Makes the call; `attributes` is that part of `union bpf_attr` which the command takes.
fn bpf<T>(command: i64, attributes: &mut T) -> io::Result<i32> {
    let size = size_of::<T>();
    // SAFETY: the attributes have that size and outlive the call, as does what the callers have
    // them lead to.
    match unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result as i32),
    }
}

/// Attaches a program that allows everything.
fn attach(group: &fs::File) -> io::Result<OwnedFd> {
    /// `r0 = 1; exit`
    static INSTRUCTIONS: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        licence: u64,
        rest: [u32; 6],
        name: [u8; 16],
    }
    let mut load = Load {
        kind: TYPE_CGROUP_DEVICE,
        count: 2,
        instructions: (&raw const INSTRUCTIONS).expose_provenance() as u64,
        licence: c"GPL".as_ptr().expose_provenance() as u64,
        rest: [0; 6],
        name: *b"sd_devices\0\0\0\0\0\0",
    };
    let number = bpf(PROG_LOAD, &mut load)?;
    // SAFETY: the kernel has just made it for us.
    let program = unsafe { OwnedFd::from_raw_fd(number) };
    let target = group.as_raw_fd() as u32;
    let mut attach = [target, number as u32, CGROUP_DEVICE, ALLOW_MULTI];
    bpf(PROG_ATTACH, &mut attach).map(|_| program)
}

/// The numbers of those that are attached to the group.
fn attached(group: impl AsFd) -> io::Result<Vec<u32>> {
    #[repr(C)]
    struct Query {
        target: i32,
        kind: u32,
        flags: [u32; 2],
        ids: u64,
        count: u32,
        rest: u32,
    }
    let mut ids = [0u32; 64];
    let mut query = Query {
        target: group.as_fd().as_raw_fd(),
        kind: CGROUP_DEVICE,
        flags: [0; 2],
        ids: (&raw mut ids).expose_provenance() as u64,
        count: 64,
        rest: 0,
    };
    bpf(PROG_QUERY, &mut query)?;
    Ok(ids[..query.count as usize].to_vec())
}

/// A group that goes with this.
struct Made(PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn programs_of_others_decide_on_devices_as_before(lab: &Lab) -> Result<()> {
    let place = Path::new(GROUPS).join("berth-tests-devices");
    let _ = fs::remove_dir(&place);
    fs::create_dir(&place)?;
    let made = Made(place);
    let group = fs::File::open(&made.0)?;
    let _theirs = attach(&group).context("attach a program")?;
    let theirs = attached(&group)?;
    ensure!(theirs.len() == 1, "{theirs:?}");
    lab.bundle_with("b", &["stay"], |config| {
        config["linux"]["cgroupsPath"] = json!("/berth-tests-devices");
        config["process"]["capabilities"] = json!({ "bounding": ["CAP_MKNOD"] });
    })?;
    lab.leaves(&["create", "--bundle", "b", "one"])?;
    lab.leaves(&["start", "one"])?;
    let mut ours = Vec::new();
    // Each process that comes in has berth's attached anew, in place of the one before.
    for _ in 0..3 {
        let all = attached(&group)?;
        ensure!(
            all.len() == 2 && all.contains(&theirs[0]),
            "{theirs:?}, then {all:?}"
        );
        let own = all
            .into_iter()
            .find(|id| *id != theirs[0])
            .context("none")?;
        ensure!(!ours.contains(&own), "{own} is one of {ours:?}");
        ours.push(own);
        lab.ok(&[
            "exec",
            "--cap",
            "CAP_MKNOD",
            "one",
            "/bin/guest",
            "exit",
            "0",
        ])?;
    }
    lab.ok(&["delete", "--force", "one"])?;
    drop(made);
    Ok(())
}
