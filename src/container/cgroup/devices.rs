//! Which devices a container may use: a program of the kernel's, attached to its group.

use rustix::fd::AsFd;
use rustix::io::Errno;

use super::Group;
use crate::error::{During, Fault, Op};
use crate::parse::config::{Config, DeviceAccess};
use crate::parse::device_policy::{MAX_SIZE, Program};
use crate::sys::bpf::DeviceProgram;
use crate::sys::buffer::Buffer;

const SUBJECT: &str = "linux.resources.devices";

impl Group {
    /// Allows the devices that the configuration lists and those that every container has, and no
    /// others, where that takes a program ([`DeviceAccess`]).
    ///
    /// The container's set-up calls it last: mounting a block device, or making a loop device of an
    /// image, opens a device that the program need not be allowed.
    ///
    /// # Errors
    /// Those of bpf(2): `EINVAL` and `ENOSYS` where the kernel lacks CONFIG_CGROUP_BPF, `EPERM` in
    /// another user namespace than the first.
    #[inline(never)]
    pub fn confine_devices(&self, config: &Config<'_>) -> Result<(), Fault> {
        if config.device_access() != DeviceAccess::Program {
            return Ok(());
        }
        let mut room = Buffer::<MAX_SIZE>::new();
        let mut program = Program::new(room.bytes_mut().during(Op::Configure, SUBJECT)?);
        // Whether all rules fit is checked at the end.
        config.each_device_rule(&mut |rule| {
            let _ = program.push(rule);
        });
        program
            .finish()
            .ok_or(Errno::FBIG)
            .and_then(DeviceProgram::load)
            .and_then(|program| program.replace_on(self.as_fd()))
            .during(Op::Configure, SUBJECT)
    }
}
