//! What lies on a block device: a filesystem with its names, or what else it is.
//!
//! [`identify`] answers with the type that mount(2) takes, and with the names that `UUID=` and `LABEL=` ask for. A magic
//! number alone proves little: boot code, a partition table, or what an older filesystem left behind can hold one. So a
//! format is only recognised when the numbers around its magic make sense together, and its checksum, where it has one, is
//! right; what does not is not guessed at. What a mount still needs, such as a journal to be replayed, is [`State`].
//!
//! # The order, and why
//!
//! 1. *RAID members*, whose superblock may lie at the end or at 4 KiB and leave the beginning to the filesystem inside: to
//!    mount one member is to corrupt the array.
//! 2. *Filesystems that begin within the first sectors*. Their makers overwrite each other's, or leave the rest as it was:
//!    so one that begins at byte 0 comes before one that begins at 1 KiB (FAT32's reserved sectors may well keep an old
//!    ext superblock; mke2fs clears the boot sector).
//! 3. *Other contents of the first sectors*: LUKS, LVM, swap, a hash tree. mke2fs leaves the mark of an older swap.
//! 4. *ISO 9660*, at 32 KiB: an image may begin with a partition table, which is nothing that could be mounted.
//! 5. *Partition tables.* What partitions do not cover keeps what was there before, an old btrfs for one.
//! 6. *btrfs*, at 64 KiB: mke2fs leaves an old one. And then nothing: all zero, or unknown.
//!
//! # How much is read
//!
//! The first [`EARLY`] bytes, which hold the superblocks of most formats; the kernel needs them for the mount too. Only where they do
//! not decide it, the rest of a window that holds those of all formats but RAID's; of a disk with partitions, the volume descriptor. [`Depth`] says whether more is worth it.
//!
//! The offsets are written as named ranges, as the formats' specifications have them in tables.

use core::fmt;
use core::ops::Range;

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

/// Room that [`identify`] needs, in bytes: it looks at so much from the start of a device. A smaller device gives fewer.
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
    /// How many bytes from the start of the device it takes, of the formats that tell and of which images are made: squashfs,
    /// erofs, ext.
    pub size: Option<u64>,
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
            Self::Swap => "swap",
            Self::VerityTree => "dm-verity hash tree",
            Self::Gpt => "disk with a GPT",
            Self::Mbr => "disk with an MBR",
            Self::Empty => "all zero",
            Self::Unknown => "no filesystem that berth knows",
        })
    }
}

/// How a filesystem was left by its last user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Unmounted in order, as far as its format tells.
    Clean,
    /// Its journal is not empty: even a read-only mount writes to the device.
    NeedsRecovery,
    /// Not unmounted, or errors were found: it should be checked.
    Dirty,
}

/// A name: bytes in whatever encoding its maker used, without padding, at most [`LABEL_MAX`] of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Label(heapless::Vec<u8, LABEL_MAX>);

/// A format's probe of the first [`WINDOW`] bytes.
type Probe = fn(&[u8]) -> Option<Content>;

/// What [`EARLY`] bytes are enough for, usually: most devices are known by them, and the rest need not be read.
const EARLY_PROBES: [Probe; 11] = [
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
];

/// How many bytes those look at, in bytes; what needs more of some format is found with the whole window.
const EARLY: usize = 8 * 1024;

/// The place of ISO 9660's descriptor behind those.
const ISO9660_IN_LATE: Range<usize> = iso9660::AT - EARLY..iso9660::AT - EARLY + iso9660::LEN;

/// Filesystems that begin late, and what has its mark at the end of a page, of whatever size. After those that begin early; see above
/// for the order.
const LATE_PROBES: [Probe; 3] = [containers::swap, iso9660::probe, btrfs::probe];

/// Whether `device` is a member of a RAID array that has its superblock at the end, and the filesystem at its beginning, of `taken`
/// bytes (0: nobody knows), is that of the array. One that takes the superblock's place is not.
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
    if let Some(member) = md::at_start(early) {
        return member;
    }
    if depth == Depth::Everything
        && let Some(member) = md::at_end(device, 0)
    {
        return member;
    }
    let mut found = EARLY_PROBES.iter().find_map(|probe| probe(early));
    let table = partition::kind_of_table(early);
    if found.is_none() && table.is_some() {
        let volume = late.get_mut(ISO9660_IN_LATE);
        let read = volume.and_then(|volume| device.read_at(iso9660::AT as u64, volume));
        found = read.and_then(|()| iso9660::probe(window));
    } else if found.is_none() {
        if !late.is_empty() && device.read_at(EARLY as u64, late).is_none() {
            return Content::of(Kind::Unknown);
        }
        let all = EARLY_PROBES.iter().chain(&LATE_PROBES);
        found = all.into_iter().find_map(|probe| probe(window));
    }
    if let Some(mut found) = found {
        let elsewhere = match found.kind {
            _ if depth == Depth::Superblock => None,
            Kind::Filesystem("vfat") => vfat::root_label(device, window),
            Kind::Filesystem("exfat") => exfat::label(device, window),
            Kind::Filesystem("ntfs3") => ntfs::label(device, window),
            _ => None,
        };
        found.label = elsewhere.or(found.label);
        return found;
    }
    let is_zero = window.iter().all(|byte| *byte == 0);
    Content::of(match table {
        Some(table) => table,
        None if is_zero => Kind::Empty,
        None => Kind::Unknown,
    })
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
    /// Takes a field of fixed width; `None` when nothing but `padding` is in it, or it is longer than [`LABEL_MAX`].
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
mod real;

#[cfg(test)]
mod tests {
    use super::*;

    /// Zeros with captured sectors at their places.
    pub(super) fn window(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; 128 * 1024];
        for (at, part) in parts {
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        bytes
    }

    fn kind(bytes: &[u8]) -> Kind {
        identify(&mut &bytes[..], &mut [0; WINDOW], Depth::Everything).kind
    }

    #[test]
    fn an_empty_disk_and_one_of_noise_are_told_apart() {
        assert_eq!(kind(&[]), Kind::Empty);
        assert_eq!(kind(&window(&[])), Kind::Empty);
        assert_eq!(kind(&window(&[(3, b"x")])), Kind::Unknown);
    }

    #[test]
    fn a_disk_with_partitions_is_no_fat_though_the_boot_sector_of_one_is_left() {
        // One FAT partition from sector 2048, and the jump and signature that a boot loader leaves.
        let entry = b"\x80\x20\x21\x00\x0c\x51\x01\x04\x00\x08\x00\x00\x00\xf8\x00\x00";
        let mbr = [(0, &b"\xeb\x63\x90"[..]), (446, entry), (510, b"\x55\xaa")];
        assert_eq!(kind(&window(&mbr)), Kind::Mbr);
        let boot = include_bytes!("testdata/fat16-boot.bin");
        let mut bytes = window(&[(0, boot)]);
        assert_eq!(kind(&bytes), Kind::Filesystem("vfat"));
        bytes[446..510].fill(0);
        bytes[446..462].copy_from_slice(entry);
        assert_eq!(kind(&bytes), Kind::Mbr);
    }

    #[test]
    fn what_lies_late_on_a_disk_with_partitions_counts_if_it_is_an_image_of_a_disc() {
        // One FAT partition from sector 2048.
        let entry = b"\x80\x20\x21\x00\x0c\x51\x01\x04\x00\x08\x00\x00\x00\xf8\x00\x00";
        let table = [(446, &entry[..]), (510, b"\x55\xaa")];
        let mut iso9660 = [0; iso9660::LEN];
        iso9660[..7].copy_from_slice(b"\x01CD001\x01");
        iso9660[128..130].copy_from_slice(&2048_u16.to_le_bytes());
        let mut btrfs = [0; btrfs::LEN];
        btrfs[48..56].copy_from_slice(&(btrfs::AT as u64).to_le_bytes());
        btrfs[64..72].copy_from_slice(b"_BHRfS_M");
        btrfs[0x90..0x94].copy_from_slice(&4096_u32.to_le_bytes());
        // A checksum that is not looked at.
        btrfs[0xc4] = 1;
        for (fstype, part, with_partitions) in [
            (
                "iso9660",
                (iso9660::AT, &iso9660[..]),
                Kind::Filesystem("iso9660"),
            ),
            ("btrfs", (btrfs::AT, &btrfs[..]), Kind::Mbr),
        ] {
            assert_eq!(kind(&window(&[part])), Kind::Filesystem(fstype));
            let parts = [table[0], table[1], part];
            assert_eq!(kind(&window(&parts)), with_partitions);
        }
    }

    #[test]
    fn fat32_made_over_an_ext_filesystem_is_fat() {
        let boot = include_bytes!("testdata/fat32-boot.bin");
        let ext = include_bytes!("testdata/ext4.bin");
        assert_eq!(
            kind(&window(&[(0, boot), (1024, ext)])),
            Kind::Filesystem("vfat")
        );
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        struct Broken;
        impl ReadAt for Broken {
            fn size(&self) -> u64 {
                1 << 40
            }
            fn read_at(&mut self, _: u64, _: &mut [u8]) -> Option<()> {
                None
            }
        }
        assert_eq!(
            identify(&mut Broken, &mut [0; WINDOW], Depth::Everything).kind,
            Kind::Unknown
        );
    }

    #[test]
    fn two_reads_decide_and_few_more_tell_everything() {
        struct Counting {
            reads: usize,
            bytes: usize,
        }
        impl ReadAt for Counting {
            fn size(&self) -> u64 {
                1 << 40
            }
            fn read_at(&mut self, _: u64, into: &mut [u8]) -> Option<()> {
                self.reads += 1;
                self.bytes += into.len();
                into.fill(0x5a);
                Some(())
            }
        }
        for (depth, reads, bytes) in [
            (Depth::Superblock, 2, WINDOW),
            (Depth::Everything, 4, WINDOW + 512),
        ] {
            let mut device = Counting { reads: 0, bytes: 0 };
            let found = identify(&mut device, &mut [0; WINDOW], depth);
            assert_eq!(found.kind, Kind::Unknown);
            assert_eq!((device.reads, device.bytes), (reads, bytes));
        }
    }

    #[test]
    fn a_label_is_shown_without_control_characters() {
        let label = Label::padded(b"na\xc3\xafve \xef\x1b[2J", b' ').unwrap();
        assert_eq!(label.to_string(), r"naïve \xef\x1b[2J");
        let wide = Label::utf16(b"r\0o\0\xe9\0t\0\0\0x\0").unwrap();
        assert_eq!(wide.to_string(), "roét");
        assert_eq!(Label::utf16(&[0; 8]), None);
        assert_eq!(Label::padded(&[b'x'; LABEL_MAX + 1], b' '), None);
    }
}
