//! The device-mapper: a block device made of others (Documentation/admin-guide/device-mapper/,
//! include/uapi/linux/dm-ioctl.h).
//!
//! A device is made in three steps: it gets a name, then a table, which is one line here, then the
//! table is put to use.

use core::ffi::c_void;
use core::fmt::{self, Write as _};

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mkdir, mknodat, open};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

use crate::cause::Cause;
use crate::error::{At, During, Fault, Op};
use crate::text::BoundedWriter;

const CONTROL: &str = "/dev/mapper/control";

/// MISC_MAJOR and MAPPER_CTRL_MINOR.
const CONTROL_NUMBER: (u32, u32) = (10, 236);

/// The length of `struct dm_ioctl`.
const HEADER: usize = 312;

/// The length of `struct dm_target_spec`.
const TARGET: usize = 40;

/// Room for the parameters of a target: dm-verity's longest, with a digest of 64 bytes and a salt
/// of 256, take less.
const PARAMETERS: usize = 1024;

const REQUEST: usize = HEADER + TARGET + PARAMETERS;

// Offsets in `struct dm_ioctl`.
const VERSION: usize = 0;
const DATA_SIZE: usize = 12;
const DATA_START: usize = 16;
const TARGETS: usize = 20;
const FLAGS: usize = 28;
const DEVICE: usize = 40;
const NAME: usize = 48;
const UUID: usize = 176;

// Offsets in `struct dm_target_spec`.
const LENGTH: usize = HEADER + 8;
const KIND: usize = HEADER + 24;

/// DM_NAME_LEN and DM_UUID_LEN, with the NUL.
const NAME_LEN: usize = 128;
const UUID_LEN: usize = 129;

/// DM_READONLY_FLAG: of a table.
const READ_ONLY: u32 = 1;

/// DM_DEFERRED_REMOVE: of a removal.
const DEFERRED_REMOVE: u32 = 1 << 17;

/// What is done to a device: the number of the command.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Command {
    Create = 3,
    Remove = 4,
    /// With no flag set, this resumes: the loaded table is put to use.
    Suspend = 6,
    LoadTable = 9,
}

impl Command {
    /// `_IOWR(DM_IOCTL, number, struct dm_ioctl)`.
    const fn opcode(self) -> Opcode {
        opcode::read_write::<[u8; HEADER]>(0xfd, self as u8)
    }
}

/// A target that takes the whole of a device.
pub struct Target<'t> {
    /// Its type: `verity`.
    pub kind: &'t str,
    /// The size of the device, in sectors of 512 bytes.
    pub sectors: u64,
    /// What the type wants to know.
    pub parameters: &'t dyn fmt::Display,
}

/// Makes a read-only device and says its number; its node is `/dev/dm-MINOR`.
///
/// # Errors
/// Those of opening the control device, `ENODEV` or `ENXIO` without a device-mapper in the kernel;
/// those of the ioctls, `EINVAL` for a table that the target refuses, which the kernel's log
/// explains. `ENAMETOOLONG` for what does not fit. No device stays then.
#[inline(never)]
pub fn create_read_only(
    name: &str,
    uuid: &dyn fmt::Display,
    target: &Target<'_>,
) -> Result<(u32, u32), Fault> {
    let subject = format_args!("device-mapper device {name}: dm-{}", target.kind);
    let control = open_control()?;
    let mut request = Request::new(name).during(Op::Configure, subject)?;
    request.set_uuid(uuid).during(Op::Configure, subject)?;
    request
        .send(&control, Command::Create)
        .during(Op::Configure, subject)?;
    let number = request.device();
    let activate = || {
        Request::new(name)?
            .with_table(target)?
            .send(&control, Command::LoadTable)?;
        Request::new(name)?.send(&control, Command::Suspend)
    };
    if let Err(errno) = activate() {
        // The first failure is the one that matters.
        let _ = Request::new(name).map(|mut request| request.send(&control, Command::Remove));
        return Err(errno).during(Op::Configure, subject);
    }
    Ok(number)
}

/// Removes a device.
///
/// # Errors
/// Those of opening the control device and of the ioctl: `ENXIO` if there is no such device,
/// `EBUSY` while it is used.
pub fn remove(name: &str) -> Result<(), Fault> {
    let control = open_control()?;
    Request::new(name)
        .and_then(|mut request| request.send(&control, Command::Remove))
        .during(Op::Remove, name)
}

/// Removes a device when its last user is gone.
///
/// # Errors
/// Those of [`remove`] but `EBUSY`.
pub fn remove_when_unused(name: &str) -> Result<(), Fault> {
    let control = open_control()?;
    Request::new(name)
        .and_then(|mut request| {
            request.put(FLAGS, &DEFERRED_REMOVE.to_ne_bytes());
            request.send(&control, Command::Remove)
        })
        .during(Op::Remove, name)
}

fn open_control() -> Result<OwnedFd, Fault> {
    let open = || open(CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    open()
        .or_else(|errno| {
            if errno != Errno::NOENT {
                return Err(errno);
            }
            // Without devtmpfs, or before the driver is loaded. Both may be there; the open tells.
            let _ = mkdir(c"/dev/mapper", Mode::from_raw_mode(0o755));
            let (major, minor) = CONTROL_NUMBER;
            let mode = Mode::from_raw_mode(0o600);
            let number = makedev(major, minor);
            let _ = mknodat(CWD, CONTROL, FileType::CharacterDevice, mode, number);
            open()
        })
        .during(Op::Open, CONTROL)
        .because(Cause::DeviceMapper)
}

/// `struct dm_ioctl` and what follows it, in the machine's byte order.
#[repr(align(8))]
struct Request([u8; REQUEST]);

impl Request {
    fn new(name: &str) -> Result<Self, Errno> {
        let mut request = Self([0; REQUEST]);
        // The kernel takes any minor version of its own major one.
        request.put(VERSION, &4_u32.to_ne_bytes());
        request.put(DATA_SIZE, &(REQUEST as u32).to_ne_bytes());
        request.put(DATA_START, &(HEADER as u32).to_ne_bytes());
        request.text(NAME, NAME_LEN, &name)?;
        Ok(request)
    }

    fn set_uuid(&mut self, uuid: &dyn fmt::Display) -> Result<(), Errno> {
        self.text(UUID, UUID_LEN, uuid)
    }

    fn with_table(mut self, target: &Target<'_>) -> Result<Self, Errno> {
        self.put(TARGETS, &1_u32.to_ne_bytes());
        self.put(FLAGS, &READ_ONLY.to_ne_bytes());
        self.put(LENGTH, &target.sectors.to_ne_bytes());
        self.text(KIND, HEADER + TARGET - KIND, &target.kind)?;
        self.text(HEADER + TARGET, PARAMETERS, target.parameters)?;
        Ok(self)
    }

    /// The places are ours, and inside.
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// Writes a text of less than `room` bytes, which a NUL follows.
    fn text(&mut self, at: usize, room: usize, text: &dyn fmt::Display) -> Result<(), Errno> {
        let place = self.0.get_mut(at..at + room - 1);
        let mut writer = BoundedWriter::new(place.unwrap_or_default(), 0);
        write!(writer, "{text}").map_err(|_| Errno::NAMETOOLONG)
    }

    fn send(&mut self, control: &OwnedFd, command: Command) -> Result<(), Errno> {
        let request = Answer {
            command,
            request: self,
        };
        // SAFETY: the request begins with the structure of the opcode and has the length that it
        // says.
        unsafe { ioctl(control, request) }
    }

    /// The number of the device, in the answer (`huge_encode_dev`, include/linux/kdev_t.h).
    fn device(&self) -> (u32, u32) {
        let bytes = self.0.get(DEVICE..DEVICE + 8);
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        let device = u64::from_ne_bytes(bytes.unwrap_or_default());
        (rustix::fs::major(device), rustix::fs::minor(device))
    }
}

struct Answer<'r> {
    command: Command,
    request: &'r mut Request,
}

// SAFETY: the pointer is to a request of the length that it says, which the kernel reads, and
// writes an answer of at most that length to.
unsafe impl Ioctl for Answer<'_> {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.command.opcode()
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.request.0.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_numbers_of_the_header_file() {
        // As the macros of linux/dm-ioctl.h expand on x86-64 and aarch64.
        for (command, number) in [
            (Command::Create, 0xc138_fd03_u32),
            (Command::Remove, 0xc138_fd04),
            (Command::Suspend, 0xc138_fd06),
            (Command::LoadTable, 0xc138_fd09),
        ] {
            assert_eq!(command.opcode(), number as Opcode);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Request::new(&"n".repeat(127)).is_ok());
        assert_eq!(
            Request::new(&"n".repeat(128)).err(),
            Some(Errno::NAMETOOLONG)
        );
        let table = |len| {
            let target = Target {
                kind: "verity",
                sectors: 8,
                parameters: &"p".repeat(len),
            };
            Request::new("n").and_then(|request| request.with_table(&target))
        };
        assert!(table(PARAMETERS - 1).is_ok());
        assert!(table(PARAMETERS).is_err());
    }
}
