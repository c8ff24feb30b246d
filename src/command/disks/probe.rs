//! One disk that is new: what is on it, and what is done with that.
//!
//! # Which disks count
//!
//! Not those whose content belongs to something else: a partition table's disk, which has
//! partitions; members of arrays and pools; swap; hash trees. Nor what is in use already, which is
//! how the root, what is above and below it, and what containers have mounted are told from others:
//! who uses a device has it exclusively, and so an exclusive open is refused (open(2), `O_EXCL`).
//! Nobody is told of them.

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::record::{Identity, Record, State};
use super::{Call, Reported, drivers, mount, place, tell};
use crate::cause::Cause;
use crate::error::{At, Code, During, Error, Fault, Op};
use crate::parse::answer::DiskState;
use crate::parse::automount::{Bus, Facts, Name, Rules, safe_name};
use crate::parse::superblock::{Content, Kind, Signatures, State as Left};
use crate::sys::block::{self, Depth, Device, Opened, WINDOW};
use crate::sys::buffer::Buffer;
use crate::text::{Bytes, Text};

/// Looks at a disk, and mounts what is on it.
pub(super) fn probe(call: &Call<'_>, place: &str, identity: &Identity) -> Result<(), Reported> {
    let Some(device) = identity.device() else {
        // Gone again, as is noticed when this process ends.
        return Ok(());
    };
    block::watch_for_media(identity.name());
    let node = identity.node();
    let mut record = Record::default();
    let content = match read(node.as_str()) {
        Ok(Some(content)) => content,
        // There is no medium in it: another has another number.
        Ok(None) if block::is_removable(identity.name()) => return Ok(()),
        // Its size is not known yet.
        Ok(None) => {
            record.state = State::Unready;
            record.keep(identity);
            return Ok(());
        }
        Err(fault) if matches!(fault.errno, Errno::NOENT | Errno::NXIO | Errno::NODEV) => {
            record.state = State::Unready;
            record.keep(identity);
            return Ok(());
        }
        Err(fault) => {
            let error = fault.at(Code::DiskMount);
            fail(call, identity, &mut record, &error);
            return Ok(());
        }
    };
    let is_others = matches!(
        content.kind,
        Kind::Lvm | Kind::Md | Kind::Zfs | Kind::Swap | Kind::VerityTree | Kind::Gpt | Kind::Mbr
    );
    if is_others || block::is_held(node.as_str()) || is_in_use(node.as_str()) {
        return Ok(());
    }
    describe(&content, &mut record);
    record.state = State::Told;
    record.keep(identity);
    let appeared = record.disk(DiskState::Appeared, node.as_str(), "");
    tell(call, &appeared, None);
    if matches!(content.kind, Kind::Empty | Kind::Unknown) {
        return Ok(());
    }
    match mount_it(call, place, &device, identity, &content, &mut record) {
        Ok(true) => {
            let at = Text::<512>::new(format_args!("{place}/{}", record.name));
            let mounted = record.disk(DiskState::Mounted, node.as_str(), at.as_str());
            tell(call, &mounted, None);
        }
        Ok(false) => {}
        Err(error) => fail(call, identity, &mut record, &error),
    }
    Ok(())
}

fn fail(call: &Call<'_>, identity: &Identity, record: &mut Record, error: &Error) {
    record.state = State::Told;
    record.keep(identity);
    let node = identity.node();
    let failed = record.disk(DiskState::Failed, node.as_str(), "");
    tell(call, &failed, Some(error));
}

/// What is on the device; `None` without a medium.
fn read(node: &str) -> Result<Option<Content>, Fault> {
    // Without this, a drive whose tray is open would close it.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match openat(CWD, node, flags, Mode::empty()) {
        Err(Errno::NOMEDIUM) => return Ok(None),
        opened => opened.during(Op::Open, node)?,
    };
    if !block::has_medium(&file) {
        return Ok(None);
    }
    let mut opened = Opened::of(file, node)?;
    if opened.is_empty() {
        return Ok(None);
    }
    let mut window = Buffer::<WINDOW>::new();
    opened.content(&mut window, Depth::Everything).map(Some)
}

/// Whether somebody has it exclusively: a mounted filesystem, an array, swap.
fn is_in_use(node: &str) -> bool {
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(CWD, node, flags, Mode::empty()).err() == Some(Errno::BUSY)
}

/// Keeps the names of what is on the disk. What is too long for its place is left out.
fn describe(content: &Content, record: &mut Record) {
    let kind = match content.kind {
        Kind::Empty | Kind::Unknown => Text::<32>::EMPTY,
        kind => Text::new(kind),
    };
    record.fstype = kind.as_str().try_into().unwrap_or_default();
    if let Some(uuid) = &content.uuid {
        record.uuid = Text::<40>::new(uuid)
            .as_str()
            .try_into()
            .unwrap_or_default();
    }
    if let Some(label) = &content.label {
        let label = Text::<1024>::new(Bytes(label.bytes()));
        record.label = label.as_str().try_into().unwrap_or_default();
    }
}

/// Mounts what is on the disk; `false` if a rule says that it is not to be.
#[inline(never)]
fn mount_it(
    call: &Call<'_>,
    place: &str,
    device: &Device,
    identity: &Identity,
    content: &Content,
    record: &mut Record,
) -> Result<bool, Error> {
    let node = identity.node();
    let node = node.as_str();
    let refused = |cause: Cause, why: &dyn core::fmt::Display| {
        Err(Error::new(Code::DiskMount, Op::Mount, node, why).because(cause))
    };
    if content.kind == Kind::Luks {
        return refused(Cause::Encrypted, &"it is encrypted (LUKS)");
    }
    if let Some(also) = &content.also {
        let found = Signatures(content.kind, Some(also.kind));
        let why = format_args!("what is on it: {found}");
        return refused(Cause::TwoFilesystems, &why);
    }
    let Some(fstype) = content.kind.fstype() else {
        return Ok(false);
    };
    let mut room = Buffer::<{ drivers::RULES_MAX }>::new();
    let rules = drivers::rules(&mut room).unwrap_or_default();
    let facts = Facts {
        uuid: content.uuid.as_ref(),
        label: content.label.as_ref(),
        fstype,
        bus: block::devpath(identity.name())
            .map_or(Bus::Other, |devpath| Bus::of(devpath.as_str())),
    };
    let wish = Rules(rules).wish(&facts);
    if wish.is_refused {
        return Ok(false);
    }
    if content.state == Left::Dirty {
        let text = "was not unmounted cleanly: check it with fsck";
        call.journal.warn(format_args!("{node} {text}"));
    }
    let options = Text::<512>::new(Joined(&wish));
    drivers::load_for_filesystem(call, fstype, options.as_str());
    let is_read_only = block::is_read_only(identity.name());
    let subject = (node, device.name.as_str());
    let made = match mount::make(subject, fstype, &wish, is_read_only) {
        // Its other driver, which Linux 7.1 brought.
        Err(fault) if fstype == "ntfs3" && fault.errno == Errno::NODEV => {
            mount::make(subject, "ntfs", &wish, is_read_only).map_err(|_| fault)
        }
        made => made,
    };
    let made = made.at(Code::DiskMount)?;
    record.is_read_only = made.is_read_only();
    let label = content.label.as_ref();
    let label = label.and_then(|label| safe_name(label.bytes()));
    let uuid = safe_name(record.uuid.as_bytes());
    let names: heapless::Vec<Name, 4> = [
        wish.name.clone(),
        label,
        uuid,
        safe_name(identity.name().as_bytes()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Err(fault) = place::attach(&made, place, &names, (record, identity)) {
        return Err(fault.at(Code::DiskMount));
    }
    Ok(true)
}

/// The options of a rule as a comma list.
struct Joined<'w, 'a>(&'w crate::parse::automount::Wish<'a>);

impl core::fmt::Display for Joined<'_, '_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut words = self.0.data();
        words.try_for_each(|word| write!(f, "{word},"))
    }
}
