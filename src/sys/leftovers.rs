//! What has to go before filesystems can be unmounted: swap space, loop devices, devices of the
//! device-mapper. The processes that made them are gone by then.

use linux_raw_sys::general as linux;
use rustix::fs::{Access, Mode, OFlags, access, open};
use rustix::io::Errno;
use rustix::ioctl::{NoArg, Opcode, ioctl};

use super::path::path;
use super::raw::call;
use super::{device_mapper, fs};
use crate::parse::mountinfo::Escaped;
use crate::text::Text;

/// include/uapi/linux/loop.h.
const LOOP_CLR_FD: Opcode = 0x4c01;

/// Room for the list of swap space: 32 entries at most (include/linux/swap.h), and seldom one.
const SWAPS_MAX: usize = 4096;

/// The longest path, with its NUL (PATH_MAX of include/uapi/linux/limits.h).
const PATH_MAX: usize = linux::PATH_MAX as usize;

/// A block device that is made of another, or of a file, by its name in /sys/block.
pub struct Leftover {
    name: Text<32>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Loop,
    Mapped,
}

/// Calls `visit` with all that there are.
#[inline(never)]
pub fn each(visit: &mut dyn FnMut(&Leftover)) {
    // Without sysfs none is known.
    let _ = fs::each_name("/sys/block", |name| {
        let kinds = [("loop", Kind::Loop), ("dm-", Kind::Mapped)];
        let kind = kinds.iter().find(|(start, _)| name.starts_with(start));
        if let Some((_, kind)) = kind {
            let leftover = Leftover {
                name: Text::new(name),
                kind: *kind,
            };
            if leftover.is_there() {
                visit(&leftover);
            }
        }
        true
    });
}

impl Leftover {
    /// Whether it is in use still.
    pub fn is_there(&self) -> bool {
        let name = self.name.as_str();
        let attribute = match self.kind {
            Kind::Loop => path(format_args!("/sys/block/{name}/loop")),
            Kind::Mapped => path(format_args!("/sys/block/{name}/dm")),
        };
        attribute.is_ok_and(|attribute| access(attribute.as_str(), Access::EXISTS).is_ok())
    }

    /// Takes it from what it is made of.
    ///
    /// # Errors
    /// Those of open(2) and of the ioctls: `EBUSY` while it is used. A loop device that is used
    /// goes when it is not used any more, and that is none.
    pub fn remove(&self) -> Result<(), Errno> {
        let name = self.name.as_str();
        match self.kind {
            Kind::Loop => {
                let node = path(format_args!("/dev/{name}"))?;
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let device = open(node.as_str(), flags, Mode::empty())?;
                // SAFETY: the request takes no argument.
                unsafe { ioctl(&device, NoArg::<LOOP_CLR_FD>::new()) }
            }
            Kind::Mapped => {
                let mut room = [0; 256];
                let name = fs::read_attribute(format_args!("/sys/block/{name}/dm/name"), &mut room);
                let name = core::str::from_utf8(name.ok_or(Errno::NOENT)?.trim_ascii_end());
                let name = name.map_err(|_| Errno::ILSEQ)?;
                device_mapper::remove(name).map_err(|fault| fault.errno)
            }
        }
    }
}

/// Calls `visit` with the path of each device or file that is swapped to (proc_swaps(5)), with a
/// NUL behind it.
#[inline(never)]
pub fn each_swap(visit: &mut dyn FnMut(&[u8])) {
    let mut text = [0; SWAPS_MAX];
    // A kernel without swap has no such file.
    let text = fs::read_attribute(format_args!("/proc/swaps"), &mut text).unwrap_or_default();
    let lines = text.split(|byte| *byte == b'\n').skip(1);
    for line in lines.filter(|line| !line.is_empty()) {
        let field = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        let mut path = [0; PATH_MAX];
        let room = path.get_mut(..PATH_MAX - 1).unwrap_or_default();
        let len = Escaped::new(field).decode(room).map(<[u8]>::len);
        if let Some(path) = len.and_then(|len| path.get(..=len)) {
            visit(path);
        }
    }
}

/// Swaps to this path no longer: swapoff(2).
///
/// # Errors
/// Those of swapoff(2); `ENOMEM` if what is swapped out does not fit into memory.
pub fn stop_swapping(path: &[u8]) -> Result<(), Errno> {
    if path.last() != Some(&0) {
        return Err(Errno::INVAL);
    }
    let arguments = [path.as_ptr().expose_provenance(), 0, 0, 0, 0];
    // SAFETY: the path ends in a NUL, and outlives the call.
    unsafe { call(linux::__NR_swapoff, arguments) }.map(drop)
}
