//! bpf(2), as far as it decides on the devices of a control group (BPF_PROG_TYPE_CGROUP_DEVICE).
//!
//! The structures are those parts of `union bpf_attr` (include/uapi/linux/bpf.h) that a command
//! reads; what is not handed over is zero for the kernel.

use core::mem::{size_of, size_of_val};

use linux_raw_sys::general as linux;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;

use super::arch::syscall5;

/// Commands.
const PROGRAM_LOAD: usize = 5;
const PROGRAM_ATTACH: usize = 8;
const PROGRAM_DETACH: usize = 9;
const PROGRAM_BY_ID: usize = 13;
const INFO: usize = 15;
const PROGRAM_QUERY: usize = 16;

const CGROUP_DEVICE_PROGRAM: u32 = 15;
const CGROUP_DEVICE: u32 = 6;

/// Beside those of the groups above and below, each of which has to allow too.
const ALLOW_MULTI: u32 = 2;

/// The size of an instruction (`struct bpf_insn`).
const INSTRUCTION: usize = 8;

/// Programs that a group can have at once (BPF_CGROUP_MAX_PROGS).
const PROGRAMS_MAX: usize = 64;

#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// By what name the kernel knows berth's programs (`prog_name`).
const NAME: [u8; 16] = *b"berth_devices\0\0\0";

/// `struct bpf_prog_info`, up to its name.
#[repr(C)]
#[derive(Default)]
struct Information {
    others: [u64; 8],
    name: [u8; 16],
}

#[repr(C)]
struct IdRequest {
    program: i32,
    size: u32,
    information: u64,
}

#[repr(C)]
struct Attach {
    target: i32,
    program: i32,
    kind: u32,
    flags: u32,
}

#[repr(C)]
struct Query {
    target: i32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// Makes the call.
///
/// # Safety
/// `attributes` is what `command` takes, and all addresses in it lead to what lives until the call
/// returns and is as large as it says; what the kernel writes there nobody else refers to.
unsafe fn call<T>(command: usize, attributes: &mut T) -> Result<usize, Errno> {
    let size = size_of_val(attributes);
    let address = core::ptr::from_mut(attributes).expose_provenance();
    // SAFETY: `attributes` has the size given and outlives the call; the caller answers for what it
    // holds.
    let result = unsafe { syscall5(linux::__NR_bpf, command, address, size, 0, 0) };
    match result {
        // The kernel returns errors as -4095..=-1 (include/linux/err.h).
        -4095..0 => Err(Errno::from_raw_os_error(-result as i32)),
        result => Ok(result as usize),
    }
}

/// A program that decides on devices.
pub struct DeviceProgram(OwnedFd);

impl DeviceProgram {
    /// Hands the instructions to the kernel, which checks them.
    ///
    /// # Errors
    /// Those of bpf(2): `EINVAL` for a program that its verifier refuses and where it knows no such
    /// programs, `EPERM` without CAP_BPF in the first user namespace.
    pub fn load(instructions: &[u8]) -> Result<Self, Errno> {
        let mut load = Load {
            kind: CGROUP_DEVICE_PROGRAM,
            instruction_count: (instructions.len() / INSTRUCTION) as u32,
            instructions: instructions.as_ptr().expose_provenance() as u64,
            // It calls nothing that asks for another.
            licence: c"MIT".as_ptr().expose_provenance() as u64,
            name: NAME,
            ..Load::default()
        };
        // SAFETY: the instructions and the licence outlive the call, and are only read.
        unsafe { call(PROGRAM_LOAD, &mut load) }.map(Self::from_number)
    }

    fn by_id(id: u32) -> Result<Self, Errno> {
        // SAFETY: the attributes hold no addresses.
        unsafe { call(PROGRAM_BY_ID, &mut [id, 0, 0]) }.map(Self::from_number)
    }

    fn from_number(number: usize) -> Self {
        // SAFETY: the kernel has just made this descriptor for us; nobody else owns it. It closes
        // on exec.
        Self(unsafe { OwnedFd::from_raw_fd(number as i32) })
    }

    /// Attaches it to the group `cgroup`, and detaches those that berth has attached before. In
    /// between both decide, so that nothing is allowed that only one of them allows. Programs of
    /// others, as systemd's of a unit's group, stay, and have to allow an access, too.
    ///
    /// # Errors
    /// Those of bpf(2): `EPERM` below a group whose program admits no other.
    pub fn replace_on(&self, cgroup: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut ids = [0; PROGRAMS_MAX];
        let old = attached(cgroup, &mut ids)?;
        self.call_on(cgroup, PROGRAM_ATTACH, ALLOW_MULTI)?;
        for id in old {
            let program = match Self::by_id(*id) {
                // Another process has detached it.
                Err(Errno::NOENT) => continue,
                program => program?,
            };
            if program.name()? == NAME {
                program.call_on(cgroup, PROGRAM_DETACH, 0)?;
            }
        }
        Ok(())
    }

    fn name(&self) -> Result<[u8; 16], Errno> {
        let mut information = Information::default();
        let mut ask = IdRequest {
            program: self.0.as_raw_fd(),
            size: size_of::<Information>() as u32,
            information: (&raw mut information).expose_provenance() as u64,
        };
        // SAFETY: the information has the size given, outlives the call, and is not looked at
        // meanwhile. It asks for no lists.
        unsafe { call(INFO, &mut ask) }?;
        Ok(information.name)
    }

    fn call_on(&self, cgroup: BorrowedFd<'_>, command: usize, flags: u32) -> Result<(), Errno> {
        let mut attach = Attach {
            target: cgroup.as_raw_fd(),
            program: self.0.as_raw_fd(),
            kind: CGROUP_DEVICE,
            flags,
        };
        // SAFETY: the attributes hold no addresses.
        unsafe { call(command, &mut attach) }.map(drop)
    }
}

/// The numbers of the programs that are attached to the group itself.
fn attached<'i>(
    cgroup: BorrowedFd<'_>,
    ids: &'i mut [u32; PROGRAMS_MAX],
) -> Result<&'i [u32], Errno> {
    let mut query = Query {
        target: cgroup.as_raw_fd(),
        kind: CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr().expose_provenance() as u64,
        count: ids.len() as u32,
        padding: 0,
    };
    // SAFETY: the list has room for as many numbers as it says, outlives the call, and is not
    // looked at meanwhile.
    unsafe { call(PROGRAM_QUERY, &mut query) }?;
    Ok(ids.get(..query.count as usize).unwrap_or_default())
}
