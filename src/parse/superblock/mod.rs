//! What lies on a block device: a filesystem with its names, or what else it is.
//!
//! [`identify`] answers with the type that mount(2) takes, and with the names that `UUID=` and
//! `LABEL=` ask for. A magic number alone proves little: boot code, a partition table, or what an
//! older filesystem left behind can hold one. So a format is only recognised when the numbers
//! around its magic make sense together, and its checksum, where it has one, is right; what does
//! not is not guessed at. What a mount still needs, such as a journal to be replayed, is [`State`].
//!
//! # The order, and why
//!
//! 1. *RAID members*, whose superblock may lie at the end or at 4 KiB and leave the beginning to
//!    the filesystem inside: to mount one member is to corrupt the array.
//! 2. *Filesystems that begin within the first sectors*. Their makers overwrite each other's, or
//!    leave the rest as it was: so one that begins at byte 0 comes before one that begins at 1 KiB
//!    (FAT32's reserved sectors may well keep an old ext superblock; mke2fs clears the boot
//!    sector).
//! 3. *Other contents of the first sectors*: LUKS, LVM, swap, a hash tree. mke2fs leaves the mark
//!    of an older swap.
//! 4. *ZFS*, at 16 KiB: its tools leave what is before that. And *ISO 9660*, at 32 KiB: an image
//!    may begin with a partition table, which is nothing that could be mounted.
//! 5. *Partition tables.* What partitions do not cover keeps what was there before, an old btrfs
//!    for one.
//! 6. *btrfs*, at 64 KiB. And then nothing: all zero, or unknown.
//!
//! # Two at once
//!
//! What makes a filesystem removes what was there before. Where two of these are still found, one
//! is left from something else, and nobody but the owner knows which: the order above says what is
//! told first, and [`Content::also`] that there is another. This is so of images without gaps
//! (squashfs, erofs) too: a file in one begins behind its superblock, so that what is in the file
//! is not where it would be on a device.
//!
//! # How much is read
//!
//! The first [`EARLY`] bytes, which hold the superblocks of most formats; the kernel needs them for
//! the mount too. Where something is recognised in them, the three that lie further back; else the
//! rest of a window that holds those of all formats but RAID's; of a disk with partitions, the
//! volume descriptor. [`Depth`] says whether more is worth it.
//!
//! The offsets are written as named ranges, as the formats' specifications have them in tables.

use core::fmt;

use super::bytes;
use super::partition;
use super::read_at::ReadAt;
use super::uuid::Uuid;

mod btrfs;
mod containers;
mod erofs;
mod exfat;
mod ext;
mod f2fs;
mod iso9660;
mod md;
mod ntfs;
mod squashfs;
mod vfat;
mod xfs;

/// Room that [`identify`] needs, in bytes: it looks at so much from the start of a device. A
/// smaller device gives fewer.
pub const WINDOW: usize = btrfs::AT + btrfs::LEN;

/// How far [`identify`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// What the start of the device tells: type, UUID, and the label where it is there.
    Superblock,
    /// The label too where the format has it elsewhere: vfat, exfat, ntfs.
    Label,
    /// Also whether it is a member of a RAID array that has its superblock at the end.
    Everything,
}

/// The longest label: btrfs's.
pub const LABEL_MAX: usize = 255;

/// What lies on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What it is.
    pub kind: Kind,
    /// What `UUID=` asks for. `None` when it was made without.
    pub uuid: Option<Uuid>,
    /// What `LABEL=` asks for. `None` when it has no name.
    pub label: Option<Label>,
    /// How it was left.
    pub state: State,
    /// How many bytes from the start of the device it takes, of the formats that tell and of which
    /// images are made: squashfs, erofs, ext.
    pub size: Option<u64>,
    /// On how many devices it lies: more than one for btrfs only.
    pub devices: u64,
    /// What else is recognised there. It is not known then which of the two counts.
    pub also: Option<Other>,
}

/// The second of two things that are recognised on one device, with its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// What it is.
    pub kind: Kind,
    /// What `UUID=` asks for.
    pub uuid: Option<Uuid>,
    /// What `LABEL=` asks for.
    pub label: Option<Label>,
}

/// What a device holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A filesystem, by its type for mount(2). NTFS is that of Linux 5.15, `ntfs3`.
    Filesystem(&'static str),
    /// An encrypted volume.
    Luks,
    /// A physical volume of LVM.
    Lvm,
    /// A member of a RAID array.
    Md,
    /// A device of a ZFS pool.
    Zfs,
    /// Swap space, perhaps with the image of a hibernated system.
    Swap,
    /// A dm-verity hash tree.
    VerityTree,
    /// A whole disk with a GPT.
    Gpt,
    /// A whole disk with an MBR.
    Mbr,
    /// Zeros, as far as was looked.
    Empty,
    /// Nothing that is known here.
    Unknown,
}

impl Kind {
    /// The type for mount(2), if it is a filesystem.
    #[must_use]
    pub const fn fstype(self) -> Option<&'static str> {
        match self {
            Self::Filesystem(fstype) => Some(fstype),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filesystem(fstype) => fstype,
            Self::Luks => "LUKS (encrypted)",
            Self::Lvm => "LVM physical volume",
            Self::Md => "RAID member (md)",
            Self::Zfs => "device of a ZFS pool",
            Self::Swap => "swap",
            Self::VerityTree => "dm-verity hash tree",
            Self::Gpt => "disk with a GPT",
            Self::Mbr => "disk with an MBR",
            Self::Empty => "all zero",
            Self::Unknown => "no filesystem that berth knows",
        })
    }
}

/// What is on a device, in words: one thing, or the two that were recognised.
pub struct Signatures(pub Kind, pub Option<Kind>);

impl fmt::Display for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        match self.1 {
            Some(kind) => write!(f, ", and also {kind}"),
            None => Ok(()),
        }
    }
}

/// How a filesystem was left by its last user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Unmounted in order, as far as its format tells.
    Clean,
    /// Its journal is not empty: even a read-only mount writes to the device.
    NeedsRecovery,
    /// Not unmounted: it should be checked.
    Dirty,
    /// The kernel has found errors in it: it should be repaired.
    Errors,
}

/// A name: bytes in whatever encoding its maker used, without padding, at most [`LABEL_MAX`] of
/// them.
#[derive(Clone, PartialEq, Eq)]
pub struct Label(heapless::Vec<u8, LABEL_MAX>);

/// A format's probe of the first [`WINDOW`] bytes.
type Probe = fn(&[u8]) -> Option<Content>;

/// What [`EARLY`] bytes are enough for, usually: most devices are known by them, and the rest need
/// not be read.
const EARLY_PROBES: [Probe; 12] = [
    xfs::probe,
    squashfs::probe,
    exfat::probe,
    ntfs::probe,
    vfat::probe,
    ext::probe,
    f2fs::probe,
    erofs::probe,
    containers::luks,
    containers::verity_tree,
    containers::lvm,
    containers::swap,
];

/// How many bytes those look at, in bytes; what needs more of some format is found with the whole
/// window.
const EARLY: usize = 8 * 1024;

/// What begins late, with its place. After those that begin early; see above for the order.
const LATE_PROBES: [(usize, usize, Probe); 3] = [
    (containers::ZFS_AT, containers::ZFS_LEN, containers::zfs),
    (iso9660::AT, iso9660::LEN, iso9660::probe),
    (btrfs::AT, btrfs::LEN, btrfs::probe),
];

/// Whether `device` is a member of a RAID array that has its superblock at the end, and the
/// filesystem at its beginning, of `taken` bytes (0: nobody knows), is that of the array. One that
/// takes the superblock's place is not.
pub fn is_member_by_its_end(device: &mut dyn ReadAt, taken: u64) -> bool {
    md::at_end(device, taken).is_some()
}

/// What lies on `device`. `window` is room for [`WINDOW`] bytes; with less, less is recognised.
///
/// What cannot be read is not recognised; whoever reads knows why.
#[must_use]
pub fn identify(device: &mut dyn ReadAt, window: &mut [u8], depth: Depth) -> Content {
    let size = device.size();
    let len = usize::try_from(size).map_or(window.len(), |size| size.min(window.len()));
    let Some(window) = window.get_mut(..len) else {
        return Content::of(Kind::Unknown);
    };
    let (early, late) = window.split_at_mut(len.min(EARLY));
    if device.read_at(0, early).is_none() {
        return Content::of(Kind::Unknown);
    }
    let member = md::at_start(early).or_else(|| {
        let goes_on = depth == Depth::Everything;
        goes_on.then(|| md::at_end(device, 0)).flatten()
    });
    let table = partition::kind_of_table(early);
    let of_early = EARLY_PROBES.iter().filter_map(|probe| probe(early));
    let mut recognised = member.into_iter().chain(of_early);
    let (mut first, mut second) = (recognised.next(), recognised.next());
    drop(recognised);
    if first.is_none() && table.is_none() {
        if !late.is_empty() && device.read_at(EARLY as u64, late).is_none() {
            return Content::of(Kind::Unknown);
        }
        let of_late = LATE_PROBES.iter().map(|(.., probe)| probe);
        let all = EARLY_PROBES.iter().chain(of_late);
        let mut recognised = all.filter_map(|probe| probe(window));
        (first, second) = (recognised.next(), recognised.next());
    } else {
        for (at, len, probe) in LATE_PROBES {
            // What partitions do not cover keeps what was there before; the image of a disc is
            // there on purpose.
            let is_other = first.is_some() || at == iso9660::AT;
            let end = at.saturating_add(len);
            let place = window.get_mut(at..end).filter(|_| is_other);
            let read = place.and_then(|place| device.read_at(at as u64, place));
            let found = read.and_then(|()| probe(window.get(..end)?));
            let place = if first.is_none() {
                &mut first
            } else {
                &mut second
            };
            *place = place.take().or(found);
        }
    }
    if let Some(mut found) = first {
        let elsewhere = match found.kind {
            _ if depth == Depth::Superblock => None,
            Kind::Filesystem("vfat") => vfat::root_label(device, window),
            Kind::Filesystem("exfat") => exfat::label(device, window),
            Kind::Filesystem("ntfs3") => ntfs::label(device, window),
            _ => None,
        };
        found.label = elsewhere.or(found.label);
        let is_erofs = found.kind == Kind::Filesystem("erofs");
        let torn = || erofs::torn(window).filter(|_| !is_erofs);
        let second = second.or_else(torn);
        found.also = second.map(Other::from);
        return found;
    }
    let is_zero = window.iter().all(|byte| *byte == 0);
    Content::of(match table {
        Some(table) => table,
        None if is_zero => Kind::Empty,
        None => Kind::Unknown,
    })
}

impl From<Content> for Other {
    fn from(content: Content) -> Self {
        let Content {
            kind, uuid, label, ..
        } = content;
        Self { kind, uuid, label }
    }
}

impl Content {
    /// What can be meant by a name: what it is, and the other if there are two.
    pub fn each(&self) -> impl Iterator<Item = (Kind, Option<&Uuid>, Option<&Label>)> {
        let also = self.also.iter();
        let also = also.map(|other| (other.kind, other.uuid.as_ref(), other.label.as_ref()));
        let own = (self.kind, self.uuid.as_ref(), self.label.as_ref());
        core::iter::once(own).chain(also)
    }
}

impl Content {
    /// Something without names.
    pub(super) const fn of(kind: Kind) -> Self {
        Self {
            kind,
            uuid: None,
            label: None,
            state: State::Clean,
            size: None,
            devices: 1,
            also: None,
        }
    }

    /// A filesystem of that type.
    fn filesystem(fstype: &'static str, uuid: Option<Uuid>, label: Option<Label>) -> Self {
        Self {
            uuid,
            label,
            ..Self::of(Kind::Filesystem(fstype))
        }
    }
}

impl Label {
    /// Takes a field of fixed width; `None` when nothing but `padding` is in it, or it is longer
    /// than [`LABEL_MAX`].
    pub(super) fn padded(field: &[u8], padding: u8) -> Option<Self> {
        let length = field.iter().rposition(|b| *b != padding)?;
        heapless::Vec::from_slice(field.get(..=length)?)
            .ok()
            .map(Self)
    }

    /// Takes a field that ends at its first NUL, or is full.
    pub(super) fn terminated(field: &[u8]) -> Option<Self> {
        Self::padded(field.split(|b| *b == 0).next()?, 0)
    }

    /// Takes little-endian UTF-16 up to its first NUL, as UTF-8.
    pub(super) fn utf16(field: &[u8]) -> Option<Self> {
        let units = field
            .chunks_exact(2)
            .map_while(|unit| bytes::le16(unit, 0..2));
        let units = units.take_while(|unit| *unit != 0);
        let mut label = heapless::Vec::new();
        for c in char::decode_utf16(units) {
            let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
            label
                .extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes())
                .ok()?;
        }
        (!label.is_empty()).then_some(Self(label))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether `typed` is this label: byte by byte, or with the escapes of udev's links (`\x20`)
    /// and of fstab(5) (`\040`).
    #[must_use]
    pub fn is(&self, typed: &str) -> bool {
        let typed = typed.as_bytes();
        *self.0 == *typed || unescaped(typed).eq(self.0.iter().copied())
    }
}

/// The bytes that are written with escapes: `\xNN` in hexadecimal, `\NNN` in octal digits.
fn unescaped(mut text: &[u8]) -> impl Iterator<Item = u8> {
    core::iter::from_fn(move || {
        let (first, rest) = text.split_first()?;
        let number = |digits: &[u8], radix| {
            let digits = core::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, radix)
                .ok()
                .filter(|_| !digits.starts_with('+'))
        };
        let escaped = match rest.split_at_checked(3) {
            Some(([b'x', digits @ ..], behind)) => number(digits, 16).zip(Some(behind)),
            Some((digits, behind)) => number(digits, 8).zip(Some(behind)),
            None => None,
        };
        let (byte, behind) = escaped
            .filter(|_| *first == b'\\')
            .unwrap_or((*first, rest));
        text = behind;
        Some(byte)
    })
}

/// As text; a byte that is not printable ASCII or part of UTF-8 is written as `\x1b`.
impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    c if c.is_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    c => fmt::Write::write_char(f, c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod pairs;

#[cfg(test)]
mod real;

#[cfg(test)]
mod tests;
