//! What runs as `rdinit=/prepare`, before berth: it makes block devices out of others, as the
//! initramfs of a distribution may do before it hands over, and becomes `/init`.
//!
//! `/etc/prepare` says what to do, one thing a line: `module <name>`, `loop <device> <offset>`,
//! `linear <device> <offset>`, `old-mounts`, `flood`, `hold`. The offsets are in bytes. All that it
//! mounts is unmounted again.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, anyhow, bail};
use berth::sys::netlink::{Received, UEVENT_MAX, Uevents};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::system::{finit_module, uname};

use crate::hold::{self, What};

/// The program under this name does what this module is for.
pub(crate) const NAME: &str = "/prepare";

/// Follows `/etc/prepare` and becomes `/init` with these arguments.
pub(crate) fn run(words: &[&str]) -> Result<ExitCode> {
    let uevents = Uevents::open().map_err(|fault| anyhow!("listen for uevents: {fault:?}"))?;
    mount("devtmpfs", "/dev", "devtmpfs", MountFlags::empty(), None).context("mount /dev")?;
    for line in fs::read_to_string("/etc/prepare")?.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["module", name] => load(name),
            ["old-mounts"] => forbid_new_mounts(),
            ["flood"] => hold::start(What::Flood),
            ["hold"] => hold::start(What::Removal),
            ["loop", device, offset] => attach_loop(&wait_for(&uevents, device)?, offset.parse()?),
            ["linear", device, offset] => {
                map_linear(&wait_for(&uevents, device)?, device, offset.parse()?)
            }
            _ => bail!("there is no such step: {line}"),
        }
        .with_context(|| line.to_owned())?;
    }
    // A loop device keeps the file that it was made of, and with it what this mounted.
    unmount("/dev", UnmountFlags::DETACH).context("unmount /dev")?;
    Err(Command::new("/init").args(words).exec().into())
}

/// Has the calls of Linux 5.2 for mounts answer ENOSYS, as an older kernel does, for this process
/// and all that it becomes.
fn forbid_new_mounts() -> Result<()> {
    const CALLS: [i64; 5] = [
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
    ];
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    // The number of the call is the first field of `struct seccomp_data`.
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for (call, left) in CALLS.iter().zip((0..5).rev()) {
        let jump = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        // To the last step, behind the one that allows.
        program.push(step(jump, left + 1, 0, u32::try_from(*call)?));
    }
    let answer = libc::BPF_RET | libc::BPF_K;
    program.push(step(answer, 0, 0, libc::SECCOMP_RET_ALLOW));
    program.push(step(
        answer,
        0,
        0,
        libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
    ));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len())?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the filter is a whole program, which the kernel copies.
    let set = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).context("set a filter"),
    }
}

/// Loads the module, with those it needs before it, from the image. One that is not there is built
/// into the kernel.
fn load(name: &str) -> Result<()> {
    let directory = format!("/lib/modules/{}", uname().release().to_str()?);
    let index = fs::read_to_string(format!("{directory}/modules.dep"))?;
    let lines = index.lines().filter_map(|line| line.split_once(':'));
    let is_it = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        let stem = file.split('.').next().unwrap_or(file);
        stem.replace('-', "_") == name
    };
    let Some((path, needed)) = lines.into_iter().find(|(path, _)| is_it(path)) else {
        return Ok(());
    };
    // What is needed most is named last (modules.dep(5)).
    for path in needed.split_whitespace().rev().chain([path]) {
        let file = File::open(format!("{directory}/{path}")).with_context(|| path.to_owned())?;
        match finit_module(file, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).with_context(|| path.to_owned()),
        }
    }
    Ok(())
}

/// Opens the device, when it is there.
fn wait_for(uevents: &Uevents, device: &str) -> Result<File> {
    loop {
        // The socket was open before the first driver was loaded: what comes after this look is
        // heard of.
        if let Ok(file) = File::options().read(true).write(true).open(device) {
            return Ok(file);
        }
        let socket = uevents.as_fd();
        poll(&mut [PollFd::new(&socket, PollFlags::IN)], None)?;
        while !matches!(uevents.next(&mut [0; UEVENT_MAX]), Received::Nothing) {}
    }
}

/// `struct loop_config` of `<linux/loop.h>`.
#[repr(C)]
#[derive(Default)]
struct LoopConfig {
    file: u32,
    block_size: u32,
    device: u64,
    inode: u64,
    node: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    names: [[u64; 8]; 2],
    key: [u64; 4],
    init: [u64; 2],
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopConfig>() == 304);

/// Makes the next loop device of what is behind `offset`, with its partitions if it has any.
fn attach_loop(device: &File, offset: u64) -> Result<()> {
    // Of `<linux/loop.h>`.
    const LOOP_CTL_GET_FREE: u64 = 0x4c82;
    const LOOP_CONFIGURE: u64 = 0x4c0a;
    const LO_FLAGS_PARTSCAN: u32 = 8;
    let control = File::open("/dev/loop-control").context("open /dev/loop-control")?;
    // SAFETY: loop(4): the request has no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    if number < 0 {
        return Err(std::io::Error::last_os_error()).context("find a free loop device");
    }
    let node = File::options()
        .read(true)
        .write(true)
        .open(format!("/dev/loop{number}"))
        .context("open the loop device")?;
    let config = LoopConfig {
        file: u32::try_from(device.as_raw_fd())?,
        offset,
        flags: LO_FLAGS_PARTSCAN,
        ..LoopConfig::default()
    };
    // SAFETY: loop(4): the argument is a configuration, of whose size the kernel reads; it takes a
    // reference to the file.
    match unsafe { libc::ioctl(node.as_raw_fd(), LOOP_CONFIGURE, &raw const config) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).context("set up the loop device"),
    }
}

/// `struct dm_ioctl` of `<linux/dm-ioctl.h>`, with one `struct dm_target_spec` and its parameters
/// behind it.
#[repr(C)]
struct DmRequest {
    version: [u32; 3],
    size: u32,
    data_start: u32,
    targets: u32,
    opened: i32,
    flags: u32,
    event: u32,
    padding: u32,
    device: u64,
    name: [u8; 128],
    uuid: [u8; 136],
    start: u64,
    length: u64,
    status: i32,
    next: u32,
    kind: [u8; 16],
    parameters: [u8; 128],
}

/// The size of `struct dm_ioctl` alone, which is in the numbers of its requests.
const DM_IOCTL: u32 = 312;

const _: () = assert!(size_of::<DmRequest>() == DM_IOCTL as usize + 40 + 128);

/// Makes the next device-mapper device of what is behind `offset` on `device`, whose node is at
/// `path`.
fn map_linear(mut device: &File, path: &str, offset: u64) -> Result<()> {
    const SECTOR: u64 = 512;
    /// `DM_DEV_CREATE`, `DM_TABLE_LOAD` and `DM_DEV_SUSPEND`, which without its flag resumes.
    const STEPS: [u64; 3] = [3, 9, 6];
    let size = device.seek(SeekFrom::End(0))?;
    let control = File::open("/dev/mapper/control").context("open /dev/mapper/control")?;
    for step in STEPS {
        let mut request = DmRequest {
            version: [4, 0, 0],
            size: u32::try_from(size_of::<DmRequest>())?,
            data_start: DM_IOCTL,
            targets: 1,
            opened: 0,
            flags: 0,
            event: 0,
            padding: 0,
            device: 0,
            name: padded(&path.replace('/', "-"))?,
            uuid: [0; 136],
            start: 0,
            length: (size - offset) / SECTOR,
            status: 0,
            next: 0,
            kind: padded("linear")?,
            parameters: padded(&format!("{path} {}", offset / SECTOR))?,
        };
        let number = 3 << 30 | u64::from(DM_IOCTL) << 16 | 0xfd << 8 | step;
        // SAFETY: the kernel reads and writes as much as the request says that it has.
        if unsafe { libc::ioctl(control.as_raw_fd(), number, &raw mut request) } != 0 {
            let error = std::io::Error::last_os_error();
            return Err(error).with_context(|| format!("device-mapper request {step}"));
        }
    }
    Ok(())
}

/// The text with zeros up to the size of its field.
fn padded<const LEN: usize>(text: &str) -> Result<[u8; LEN]> {
    let mut field = [0; LEN];
    let room = field.get_mut(..text.len()).context("it is too long")?;
    room.copy_from_slice(text.as_bytes());
    Ok(field)
}
