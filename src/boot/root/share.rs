//! A root that the hypervisor's host shares: virtiofs (Documentation/filesystems/virtiofs.rst) and
//! 9p over virtio (Documentation/filesystems/9p.rst), both asked for by the tag of their device.
//!
//! Not every kernel lists the tags. So the device is looked for by a detached mount, which is tried
//! again when a device has appeared.

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::mount::{Mounted, attach, options, place, refused, wants_read_only};
use crate::boot::Machine;
use crate::error::{Code, Error, Fault, Op};
use crate::events::Event;
use crate::parse::device::DeviceRef;
use crate::parse::mount_options::RootOptions;
use crate::plan::Plan;
use crate::sys::clock;
use crate::sys::kmsg;
use crate::sys::mount::{Detached, attributes_to_set, filesystem_flags};

/// A kind of share.
struct Kind {
    fstype: &'static str,
    /// Options that it needs; later ones of `rootflags=` win.
    options: &'static [&'static str],
    /// What the kernel answers for a tag that no device has.
    absent: Errno,
}

/// virtio_fs_get_tree(), fs/fuse/virtio_fs.c.
const VIRTIOFS: Kind = Kind {
    fstype: "virtiofs",
    options: &[],
    absent: Errno::INVAL,
};

/// p9_virtio_create(), net/9p/trans_virtio.c.
const NINE_P: Kind = Kind {
    fstype: "9p",
    options: &["trans=virtio", "version=9p2000.L"],
    absent: Errno::NOENT,
};

/// A share that is mounted, but nowhere yet.
pub(super) struct Share {
    mount: Detached,
    fstype: &'static str,
}

impl Share {
    /// Attaches it as the root.
    pub(super) fn mount(&self, plan: &Plan<'_>) -> Result<Mounted<'static>, Error> {
        attach(&self.mount, place(plan))?;
        Ok(Mounted {
            fstype: self.fstype,
            is_read_only: self.mount.is_read_only(),
        })
    }
}

/// Waits for the share `wanted` and mounts it detached. `None` if it is the name of something else.
///
/// # Errors
/// [`Code::RootNotFound`] after the deadline of `rootwait`, [`Code::RootNoDriver`],
/// [`Code::RootMount`], [`Code::EventLoop`].
pub(super) fn find(
    machine: &mut Machine,
    plan: &Plan<'_>,
    wanted: DeviceRef<'_>,
) -> Result<Option<Share>, Error> {
    let (kind, tag) = match wanted {
        DeviceRef::Virtiofs(tag) => (VIRTIOFS, tag),
        DeviceRef::NineP(tag) => (NINE_P, tag),
        _ => return Ok(None),
    };
    let options = options(plan, tag, kind.fstype)?;
    let deadline = plan.rootwait.limit().map(|limit| clock::now() + limit);
    machine.load_for_filesystem(plan, kind.fstype, "");
    let mut has_said_so = false;
    loop {
        let mark = kmsg::LogPosition::here();
        let fault = match make(&kind, tag, plan, &options) {
            Ok(mount) => {
                let fstype = kind.fstype;
                return Ok(Some(Share { mount, fstype }));
            }
            Err(fault) => fault,
        };
        if fault.errno != kind.absent {
            return Err(refused(fault, kind.fstype, &mark));
        }
        if !has_said_so {
            let root = wanted;
            machine.journal.events.emit(Event::Waiting { root });
            has_said_so = true;
        }
        if !machine.wait_for_device(plan, deadline)? {
            return Err(not_found(plan, wanted, &fault, &mark));
        }
    }
}

fn make(
    kind: &Kind,
    tag: &str,
    plan: &Plan<'_>,
    options: &RootOptions<'_>,
) -> Result<Detached, Fault> {
    let read_only = wants_read_only(plan, options);
    let mut attributes = attributes_to_set(options.flags);
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, read_only);
    let mut data = kind
        .options
        .iter()
        .copied()
        .chain(filesystem_flags(options.flags))
        .chain(read_only.then_some("ro"))
        .chain(options.data());
    Detached::new(kind.fstype, tag, &mut data, attributes)
}

fn not_found(
    plan: &Plan<'_>,
    wanted: DeviceRef<'_>,
    fault: &Fault,
    mark: &kmsg::LogPosition,
) -> Error {
    let seconds = plan.rootwait.limit().unwrap_or_default().as_secs();
    let words = mark.last_complaint();
    Error::new(
        Code::RootNotFound,
        Op::Wait,
        format_args!("root={wanted}"),
        format_args!("no device has this tag after {seconds} s: {fault} {words}"),
    )
}
