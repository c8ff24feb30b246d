//! `berth.image`: a file of the bundle that holds the container's root filesystem, and
//! `berth.verity`, its root hash.
//!
//! The new process does all of it, in its own mount namespace. The devices have no owner but their
//! user: a loop device is given up with the mount on it (LO_FLAGS_AUTOCLEAR), and so is a checked
//! one (DM_DEFERRED_REMOVE), so that nothing is left to do when the container ends.
//!
//! # Without a device
//!
//! erofs reads a file itself (Linux 6.12, CONFIG_EROFS_FS_BACKED_BY_FILE) when its source is none
//! of a block device. Then there is one page cache less, and no driver that is needed. Its source
//! is the descriptor's name in `/proc`, so that what is mounted is what was opened, beneath the
//! bundle. The kernel says ENOTBLK where it cannot, and so does erofs of a file on a filesystem
//! from which it cannot read, such as a tmpfs.
//!
//! # Types
//!
//! Which filesystem it is, is read here, and only those are mounted that are made for images: to
//! have the kernel try all that it has on a file of unknown origin is to try all their bugs.

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::mount::MountAttrFlags;

use crate::cause::of_filesystem;
use crate::error::{During, Fault, Op, SUBJECT_MAX};
use crate::parse::superblock::Kind;
use crate::parse::verity::tree::HashTree;
use crate::parse::verity::{Tree, Verity, behind};
use crate::sys::block::{self, Content, Depth, Opened, WINDOW};
use crate::sys::buffer::Buffer;
use crate::sys::fs::open_directory;
use crate::sys::loop_device::LoopDevice;
use crate::sys::mount::Detached;
use crate::sys::path::path;
use crate::sys::verity::{self, Place};
use crate::sys::{device_mapper, kmsg};
use crate::text::{Text, find, split_last};

/// LOOP_MAJOR (include/uapi/linux/major.h).
const LOOP_MAJOR: u32 = 7;

/// What an image may be, and whether it can be written.
const TYPES: &[(&str, bool)] = &[
    ("squashfs", false),
    ("erofs", false),
    ("ext2", true),
    ("ext3", true),
    ("ext4", true),
];

/// What is asked for.
pub(super) struct Image<'a> {
    pub(super) bundle: &'a str,
    /// Beneath the bundle.
    pub(super) path: &'a str,
    pub(super) verity: Option<&'a Verity<'a>>,
    pub(super) is_read_only: bool,
    /// The option that labels its files.
    pub(super) label: Option<&'a str>,
}

/// Makes the filesystem in the file of the bundle, mounted nowhere yet.
///
/// # Errors
/// Those of opening the file beneath the bundle and through no link, of the loop device and of
/// dm-verity, `EOPNOTSUPP` for another type of filesystem, those of mounting it; with the kernel's
/// words, if it left any.
#[inline(never)]
pub(super) fn make(image: &Image<'_>) -> Result<Detached, Fault> {
    let access = if image.can_be_written() {
        OFlags::RDWR
    } else {
        OFlags::RDONLY
    };
    let bundle = open_directory(CWD, image.bundle)?;
    let file = openat2(
        bundle.as_fd(),
        image.path,
        access | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )
    .during(Op::Open, image.path)?;
    match image.verity {
        Some(verity) => on_device(&file, image, "", &|node| mount_checked(node, image, verity)),
        None => mount_unchecked(&file, image),
    }
}

impl Image<'_> {
    const fn can_be_written(&self) -> bool {
        !self.is_read_only && self.verity.is_none()
    }
}

/// Mounts the filesystem in the file, without a device where that is possible.
#[inline(never)]
fn mount_unchecked(file: &OwnedFd, image: &Image<'_>) -> Result<Detached, Fault> {
    let copy = fcntl_dupfd_cloexec(file, 0).during(Op::Open, image.path)?;
    let kind = Opened::of(copy, image.path)?
        .content(&mut Buffer::new(), Depth::Superblock)?
        .kind;
    if kind.fstype() == Some("erofs") {
        let source = path(format_args!("/proc/self/fd/{}", file.as_raw_fd()));
        let source = source.during(Op::Open, image.path)?;
        // If it could not, the attempt with a device tells why, with the kernel's words.
        if let Ok(mounted) = mount(kind, &source, image) {
            return Ok(mounted);
        }
    }
    let fstype = kind.fstype().unwrap_or_default();
    on_device(file, image, fstype, &|node| mount(kind, node, image))
}

/// Puts a loop device on the file, and calls `mount` with its node. It holds a filesystem of the
/// type `fstype`, or one that is checked first.
fn on_device(
    file: &OwnedFd,
    image: &Image<'_>,
    fstype: &str,
    mount: &dyn Fn(&str) -> Result<Detached, Fault>,
) -> Result<Detached, Fault> {
    let mark = kmsg::LogPosition::here();
    let device = LoopDevice::new(file.as_fd(), !image.can_be_written(), image.path)?;
    mount(&device.node).map_err(|mut fault| {
        quote(&mut fault, fstype, &mark, &device.node);
        fault
    })
}

/// Adds the first complaint of the kernel about the loop device at `node` to `fault`. Other
/// containers have loop devices at the same time.
fn quote(fault: &mut Fault, fstype: &str, mark: &kmsg::LogPosition, node: &str) {
    let number = node.strip_prefix("/dev/loop").unwrap_or_default();
    // Filesystems call it by its name, dm-verity by its number.
    let [name, device] = [
        Text::<16>::new(format_args!("loop{number}")),
        Text::<16>::new(format_args!("{LOOP_MAJOR}:{number}:")),
    ];
    let is_about = |text: &[u8], words: &str| {
        let after = find(text, words.as_bytes()).and_then(|at| text.get(at + words.len()));
        after.is_some_and(|after| !after.is_ascii_digit())
    };
    let mut is_first = true;
    mark.each_record(&mut |record| {
        let is_ours =
            is_about(record.text, name.as_str()) || is_about(record.text, device.as_str());
        if record.is_complaint() && is_ours && is_first {
            is_first = false;
            let words = Text::<SUBJECT_MAX>::from_bytes(record.text);
            fault.quote(words.as_str(), of_filesystem(fstype, words.as_str()));
        }
    });
}

/// Mounts the filesystem on the device at `node`, with a device between them that checks it
/// (dm-verity).
#[inline(never)]
fn mount_checked(node: &str, image: &Image<'_>, verity: &Verity<'_>) -> Result<Detached, Fault> {
    let bundle = image.bundle;
    let name = split_last(bundle, b'/').map_or(bundle, |(_, id)| id);
    let name = path(format_args!("berth-{name}")).during(Op::Configure, name)?;
    let minor = check(node, &name, image.path, verity)?;
    let mounted = path(format_args!("/dev/dm-{minor}"))
        .during(Op::Open, image.path)
        .and_then(|node| mount(content(&node)?.kind, &node, image));
    // From now on the device lives as long as the mount.
    device_mapper::remove_when_unused(&name)?;
    mounted
}

/// Makes the checked device above the one at `node`, and returns its minor number.
fn check(node: &str, name: &str, image: &str, verity: &Verity<'_>) -> Result<u32, Fault> {
    let refused = |why: &dyn core::fmt::Display| {
        Err(Errno::INVAL).during(Op::Configure, format_args!("dm-verity for {image}: {why}"))
    };
    let offset = match verity.tree {
        Tree::Offset(offset) => Some(offset),
        _ => behind(content(node)?.size),
    };
    let Some(offset) = offset else {
        return refused(&"where its filesystem ends is not known");
    };
    let place = Place { node, offset };
    let superblock = verity::read(&place)?;
    match HashTree::parse(&superblock) {
        Ok(tree) => {
            let number = verity::create(name, node, &tree, &place, verity.root_hash)?;
            Ok(number.1)
        }
        Err(reason) => refused(&reason),
    }
}

fn content(node: &str) -> Result<Content, Fault> {
    block::content(node, &mut Buffer::<WINDOW>::new(), Depth::Superblock)
}

/// Mounts the filesystem on the device, or in the file, at `node`.
fn mount(kind: Kind, node: &str, image: &Image<'_>) -> Result<Detached, Fault> {
    let known = TYPES.iter().find(|(name, _)| kind.fstype() == Some(name));
    let (fstype, is_writable) = known.ok_or(Errno::OPNOTSUPP).during(
        Op::Mount,
        format_args!("{}, which holds {kind}", image.path),
    )?;
    let is_read_only = !(image.can_be_written() && *is_writable);
    let mut options = is_read_only.then_some("ro").into_iter().chain(image.label);
    let mut attributes = MountAttrFlags::empty();
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, is_read_only);
    Detached::new(fstype, node, &mut options, attributes)
}
