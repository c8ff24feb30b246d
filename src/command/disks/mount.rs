//! Making a mount of what is on a disk, attached nowhere yet.
//!
//! * *No rights*: `nosuid`, `nodev` and `noexec`, unless a rule says otherwise.
//! * *No say in the machine*: what an ext superblock asks for when there is an error may be a
//!   panic.
//! * *For all*: filesystems without owners belong to everybody who is given the directory, since
//!   containers have users of their own.
//! * *Ready to be pulled out*: FAT is written soon.

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::cause::{Cause, of_filesystem};
use crate::error::Fault;
use crate::parse::automount::Wish;
use crate::sys::mount::{Detached, attributes_to_set, filesystem_flags};
use crate::sys::{btrfs, kmsg};
use crate::text::{Text, contains};

/// What is asked for before the options of a rule, which come later and so count.
const DEFAULTS: &[(&str, &[&str])] = &[
    ("vfat", &["utf8", "flush", "fmask=0111", "dmask=0000"]),
    ("exfat", &["fmask=0111", "dmask=0000"]),
    ("ntfs3", &["fmask=0111", "dmask=0000"]),
    ("ext2", &["errors=remount-ro"]),
    ("ext3", &["errors=remount-ro"]),
    ("ext4", &["errors=remount-ro"]),
];

/// Makes a mount of the device `node`, which the kernel calls `name`; read-only if it has to be, or
/// cannot be otherwise.
///
/// # Errors
/// Those of fsopen(2), fsconfig(2) and fsmount(2), with the kernel's words about this device.
pub(super) fn make(
    (node, name): (&str, &str),
    fstype: &str,
    wish: &Wish<'_>,
    is_read_only: bool,
) -> Result<Detached, Fault> {
    if fstype == "btrfs" {
        // The mount says what is wrong, if this does not work.
        let _ = btrfs::register(node);
    }
    let log = kmsg::LogPosition::here();
    let attributes = attributes_to_set(wish.flags);
    let asks_for_ro = attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY);
    let make = |read_only: bool| {
        let mut attributes = attributes;
        attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, read_only);
        let defaults = DEFAULTS.iter().filter(|(its, _)| *its == fstype);
        let mut options = filesystem_flags(wish.flags)
            .chain(read_only.then_some("ro"))
            .chain(defaults.flat_map(|(_, options)| options.iter().copied()))
            .chain(wish.data());
        Detached::new(fstype, node, &mut options, attributes)
    };
    let made = match make(asks_for_ro || is_read_only) {
        Err(fault) if matches!(fault.errno, Errno::ROFS | Errno::ACCESS) => make(true),
        made => made,
    };
    made.map_err(|mut fault| {
        let (words, cause) = words_of(&log, fstype, name);
        fault.quote(words.as_str(), cause);
        fault
    })
}

/// What the kernel has logged about the device since then. Others are looked at at the same time.
fn words_of(log: &kmsg::LogPosition, fstype: &str, name: &str) -> (Text<192>, Cause) {
    let mut found = (Text::EMPTY, Cause::Unknown);
    log.each_record(&mut |record| {
        let text = Text::<192>::from_bytes(record.text);
        if record.is_complaint() && found.1 == Cause::Unknown && contains(text.as_str(), name) {
            found = (text, of_filesystem(fstype, text.as_str()));
        }
    });
    found
}
