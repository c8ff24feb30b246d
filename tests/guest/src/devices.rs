//! Devices that are made of others, or of files, and left behind: by whom the machine's end has to
//! unmount all the same, or without whom it has to go on.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::ioctl::{IntegerSetter, Opcode, ioctl};
use rustix::mount::{MountFlags, mount};

use crate::host;

/// `LOOP_SET_FD` of `<linux/loop.h>`.
const LOOP_SET_FD: Opcode = 0x4c00;

/// Commands of `<linux/dm-ioctl.h>`, as the macros expand.
const DM_DEV_CREATE: libc::Ioctl = 0xc138_fd03;
const DM_DEV_SUSPEND: libc::Ioctl = 0xc138_fd06;
const DM_TABLE_LOAD: libc::Ioctl = 0xc138_fd09;

/// Flags there: suspend, without freezing the filesystem, without waiting for what is under way.
const DM_SUSPEND: u32 = 1 << 1 | 1 << 10 | 1 << 11;

/// The length of `struct dm_ioctl`, and of `struct dm_target_spec`.
const HEADER: usize = 312;
const TARGET: usize = 40;

fn open(path: &str) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("open {path}"))
}

/// Makes a loop device of the file.
fn attach(device: &str, file: &str) -> Result<()> {
    let (device, file) = (open(device)?, open(file)?);
    // SAFETY: loop(4): the argument is an open descriptor, of which the kernel takes a reference.
    unsafe {
        let request = IntegerSetter::<LOOP_SET_FD>::new_usize(file.as_raw_fd() as usize);
        ioctl(&device, request).context("attach the loop device")
    }
}

/// Sends a command about the device `name`; `table` are its sectors, and what it is made of.
fn map(command: libc::Ioctl, name: &str, flags: u32, table: Option<(u64, &str)>) -> Result<()> {
    let mut request = [0_u8; HEADER + TARGET + 256];
    let length = request.len() as u32;
    let mut put = |at: usize, bytes: &[u8]| request[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &4_u32.to_ne_bytes());
    put(12, &length.to_ne_bytes());
    put(16, &(HEADER as u32).to_ne_bytes());
    put(28, &flags.to_ne_bytes());
    put(48, name.as_bytes());
    if let Some((sectors, source)) = table {
        put(20, &1_u32.to_ne_bytes());
        put(HEADER + 8, &sectors.to_ne_bytes());
        put(HEADER + 24, b"linear");
        put(HEADER + TARGET, format!("{source} 0").as_bytes());
    }
    let control = open("/dev/mapper/control")?;
    // SAFETY: the request has the length that it says.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), command, request.as_mut_ptr()) };
    ensure!(result == 0, "{name}: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Makes the device `name` above another.
fn make(name: &str, source: &str) -> Result<()> {
    let shown = source.trim_start_matches("/dev/");
    let sectors = fs::read_to_string(format!("/sys/block/{shown}/size"))?;
    map(DM_DEV_CREATE, name, 0, None)?;
    map(
        DM_TABLE_LOAD,
        name,
        0,
        Some((sectors.trim().parse()?, source)),
    )?;
    map(DM_DEV_SUSPEND, name, 0, None)
}

/// On the host: a mount of `disk` with a file in it that is swapped to, and one that a loop device
/// is made of, of which in turn another device is made, with a filesystem on it that is mounted.
pub(crate) fn leave(disk: &str, image: &str) -> Result<()> {
    const SWAP: usize = 64 * 4096;
    host::join()?;
    let none = MountFlags::empty();
    fs::create_dir("/held")?;
    mount(disk, "/held", "ext4", none, None).context("mount the disk")?;
    fs::copy(image, "/held/image").context("copy the image")?;
    attach("/dev/loop0", "/held/image")?;
    make("left", "/dev/loop0")?;
    fs::create_dir("/held/inner")?;
    mount("/dev/dm-0", "/held/inner", "ext4", none, None).context("mount the device")?;
    fs::write("/held/inner/file", "written")?;
    // The header of swap space (include/linux/swap.h): version, last page, and the mark.
    let mut swap = vec![0_u8; SWAP];
    swap[1024..1028].copy_from_slice(&1_u32.to_ne_bytes());
    swap[1028..1032].copy_from_slice(&(SWAP as u32 / 4096 - 1).to_ne_bytes());
    swap[4086..4096].copy_from_slice(b"SWAPSPACE2");
    let mut file = File::create("/held/swap file")?;
    file.write_all(&swap)?;
    file.sync_all()?;
    // SAFETY: the path ends in a NUL.
    let result = unsafe { libc::swapon(c"/held/swap file".as_ptr(), 0) };
    ensure!(result == 0, "swapon: {}", std::io::Error::last_os_error());
    println!("left");
    Ok(())
}

/// On the host: mounts a device and has it answer no more, while a process waits for it to write.
pub(crate) fn stall(image: &str) -> Result<()> {
    host::join()?;
    attach("/dev/loop0", image)?;
    make("dead", "/dev/loop0")?;
    fs::create_dir("/held")?;
    mount("/dev/dm-0", "/held", "ext4", MountFlags::empty(), None).context("mount the device")?;
    let mut file = File::create("/held/file")?;
    file.sync_all()?;
    file.write_all(&[1; 1 << 20])?;
    map(DM_DEV_SUSPEND, "dead", DM_SUSPEND, None)?;
    // SAFETY: there is one thread; the child only waits for the disk.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let _ = file.sync_all();
    }
    let status = format!("/proc/{child}/stat");
    while !fs::read_to_string(&status)?.contains(") D ") {
        std::thread::yield_now();
    }
    ensure!(Path::new("/held/file").exists(), "the file is gone");
    println!("stalled");
    Ok(())
}

/// On the host: mounts an ext4 in which the kernel finds an error, and a vfat of which the tables
/// are wiped out while a file is in use.
pub(crate) fn lose(ext4: &str, vfat: &str) -> Result<()> {
    host::join()?;
    let none = MountFlags::empty();
    fs::create_dir("/held")?;
    mount(ext4, "/held", "ext4", none, Some(c"errors=remount-ro")).context("mount the ext4")?;
    let name = ext4.trim_start_matches("/dev/");
    fs::write(
        format!("/sys/fs/ext4/{name}/trigger_fs_error"),
        "on purpose",
    )?;
    fs::create_dir("/fat")?;
    mount(vfat, "/fat", "vfat", none, None).context("mount the vfat")?;
    let mut file = File::create("/fat/file")?;
    file.write_all(&vec![1; 1 << 20])?;
    file.sync_all()?;
    drop(file);
    let disk = open(vfat)?;
    let mut boot = [0; 512];
    disk.read_exact_at(&mut boot, 0)?;
    let field = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
    let (begin, len) = (
        field(14) * field(11),
        u64::from(boot[16]) * field(22) * field(11),
    );
    // All but the first two entries, of the first table, and the other tables.
    disk.write_all_at(&vec![0; len as usize - 4], begin + 4)?;
    disk.sync_all()?;
    // The kernel frees clusters that are free.
    let _ = fs::remove_file("/fat/file");
    println!("lost");
    Ok(())
}

/// On the host: loads a kernel that kexec can start (kexec_file_load(2)).
pub(crate) fn load_kernel(kernel: &str, initramfs: &str, words: &[&str]) -> Result<()> {
    host::join()?;
    let (kernel, initramfs) = (File::open(kernel)?, File::open(initramfs)?);
    let line = std::ffi::CString::new(words.join(" "))?;
    let length = line.as_bytes_with_nul().len();
    // SAFETY: the descriptors are open, and the line has the length that is said, with its NUL.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initramfs.as_raw_fd(),
            length,
            line.as_ptr(),
            0,
        )
    };
    ensure!(
        result == 0,
        "kexec_file_load: {}",
        std::io::Error::last_os_error()
    );
    println!("loaded");
    Ok(())
}

/// Writes files into the directories without end, one after the other, and some of it to the disk.
pub(crate) fn write_on(directories: &[&str]) -> Result<()> {
    crate::hostile::ignore(libc::SIGTERM);
    for round in 0_u64.. {
        for directory in directories {
            let place = format!("{directory}/{}", round % 7);
            let mut file = File::create(&place).with_context(|| place.clone())?;
            file.write_all(&vec![round as u8; 9973 * (1 + round as usize % 5)])?;
            if round % 3 == 0 {
                file.sync_all()?;
            }
            fs::rename(&place, format!("{directory}/last"))?;
        }
        if round == 20 {
            println!("writing");
        }
    }
    Ok(())
}
