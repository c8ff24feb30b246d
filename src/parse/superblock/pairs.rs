//! Every two of the formats on one device, made of what the real tools write, and held against
//! blkid(8).

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use super::real::{Image, in_blkids_words, made};
use super::*;
use crate::parse::checksum::crc32;

/// As much of an image is put onto a device: all that any format is recognised by.
const LEN: usize = 160 << 10;

/// One of the formats.
struct Format {
    name: &'static str,
    /// Its bytes, from the start of a device.
    bytes: Vec<u8>,
    /// Those that it is recognised by: where each range of them begins and ends.
    marks: Vec<(usize, usize)>,
}

impl Format {
    /// As the real tool makes it.
    fn real(name: &'static str, marks: &[(usize, usize)]) -> Self {
        let mut bytes = Vec::new();
        let image = made(name);
        let file = File::open(image.path()).unwrap();
        file.take(LEN as u64).read_to_end(&mut bytes).unwrap();
        bytes.resize(LEN, 0);
        Self {
            name,
            bytes,
            marks: marks.to_vec(),
        }
    }

    /// Of those that need a kernel to be made, or tools that no test here has.
    fn of_marks(name: &'static str, marks: &[(usize, &[u8])]) -> Self {
        let mut bytes = vec![0; LEN];
        for (at, mark) in marks {
            bytes[*at..][..mark.len()].copy_from_slice(mark);
        }
        let marks = marks.iter().map(|(at, mark)| (*at, *at + mark.len()));
        Self {
            name,
            bytes,
            marks: marks.collect(),
        }
    }

    fn identify(&self) -> Content {
        identify(&self.bytes)
    }

    /// Whether both can be recognised on one device.
    fn can_lie_beside(&self, other: &Self) -> bool {
        let is_apart =
            |one: &(usize, usize), other: &(usize, usize)| one.1 <= other.0 || other.1 <= one.0;
        let mut marks = self.marks.iter();
        marks.all(|mark| other.marks.iter().all(|other| is_apart(mark, other)))
    }

    /// What is on a device of which this was written last, and no more of it than it is recognised
    /// by.
    fn over(&self, below: &Self) -> Vec<u8> {
        let mut bytes = below.bytes.clone();
        for (start, end) in &self.marks {
            bytes[*start..*end].copy_from_slice(&self.bytes[*start..*end]);
        }
        bytes
    }
}

fn identify(bytes: &[u8]) -> Content {
    super::identify(&mut &bytes[..], &mut [0; WINDOW], Depth::Superblock)
}

/// What pvcreate(8) writes into the second sector.
fn lvm() -> Format {
    let mut label = [0; 512];
    label[..8].copy_from_slice(b"LABELONE");
    label[8] = 1;
    label[20] = 32;
    label[24..32].copy_from_slice(b"LVM2 001");
    label[32..64].copy_from_slice(b"0123456789abcdefghijklmnopqrstuv");
    let sum = crc32(0xf597_a6cf, &label[20..]);
    label[16..20].copy_from_slice(&sum.to_le_bytes());
    Format::of_marks("lvm", &[(512, &label)])
}

/// A superblock of md's version 1, without devices.
fn md(name: &'static str, at: usize) -> Format {
    let mut block = [0; 256];
    block[..4].copy_from_slice(&0xa92b_4efc_u32.to_le_bytes());
    block[4] = 1;
    block[16..32].copy_from_slice(b"berth's array 01");
    block[144..152].copy_from_slice(&(at as u64 / 512).to_le_bytes());
    let words = block
        .chunks(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let sum: u64 = words.map(u64::from).sum();
    let sum = (sum as u32).wrapping_add((sum >> 32) as u32);
    block[216..220].copy_from_slice(&sum.to_le_bytes());
    Format::of_marks(name, &[(at, &block)])
}

/// The list of a pool's device, and the uberblocks that blkid counts.
fn zfs() -> Format {
    let uberblock = 0x00ba_b10c_u64.to_le_bytes();
    let place = |number: usize| (128 << 10) + (number << 10);
    let uberblocks = [0, 1, 2, 3].map(|number| (place(number), &uberblock[..]));
    let list = [(containers::ZFS_AT, &super::tests::ZFS[..])];
    Format::of_marks("zfs", &[&list[..], &uberblocks].concat())
}

fn all() -> Vec<Format> {
    const SECTOR: (usize, usize) = (0, 512);
    let swap = [(1024, 1068), (4086, 4096)];
    vec![
        md("md 1.1", 0),
        md("md 1.2", 4096),
        Format::real("xfs", &[SECTOR]),
        Format::real("squashfs", &[(0, 96)]),
        Format::real("exfat", &[(0, 12 * 512)]),
        Format::real("ntfs", &[SECTOR]),
        Format::real("fat16", &[SECTOR]),
        Format::real("fat32", &[(0, 1024)]),
        Format::real("ext2", &[(1024, 2048)]),
        Format::real("ext4", &[(1024, 2048)]),
        Format::real("f2fs", &[(1024, 2172)]),
        Format::real("f2fs with checksum", &[(1024, 4096)]),
        Format::real("erofs", &[(1024, 4096)]),
        Format {
            name: "erofs's superblock",
            bytes: Format::real("erofs", &[]).bytes,
            marks: vec![(1024, 1152)],
        },
        Format::real("luks1", &[SECTOR]),
        Format::real("luks2", &[SECTOR]),
        Format::real("verity", &[SECTOR]),
        lvm(),
        Format::real("swap", &swap),
        zfs(),
        Format::real("iso9660", &[(iso9660::AT, iso9660::AT + iso9660::LEN)]),
        Format::real("btrfs", &[(btrfs::AT, btrfs::AT + btrfs::LEN)]),
    ]
}

fn name_of(content: &Content) -> String {
    let [kind, ..] = in_blkids_words(content);
    kind
}

/// The type that blkid(8) tells. `None` when it says that the result is ambivalent.
fn blkid(path: &Path) -> Option<String> {
    const AMBIVALENT: i32 = 8;
    let output = Command::new("/usr/sbin/blkid")
        .args(["-p", "-o", "value", "-s", "TYPE"])
        .arg(path)
        .output()
        .unwrap();
    let kind = String::from_utf8(output.stdout).unwrap();
    (output.status.code() != Some(AMBIVALENT)).then(|| kind.trim().to_owned())
}

/// Both orders of every pair: where the second was written over the first, and the other way round.
#[test]
fn of_any_two_on_one_device_both_are_told() {
    let formats = all();
    let image = Image::made("pairs", 320, "true");
    let (mut pairs, mut doubts) = (0, 0);
    for below in &formats {
        for above in formats.iter().filter(|above| above.can_lie_beside(below)) {
            let name = format!("{} over {}", above.name, below.name);
            let bytes = above.over(below);
            let both = [below.identify(), above.identify()];
            let found = identify(&bytes);
            let told: Vec<_> = found.each().map(|(kind, uuid, _)| (kind, uuid)).collect();
            for one in &both {
                let has_one = told.contains(&(one.kind, one.uuid.as_ref()));
                // Two superblocks of one array are the same thing.
                assert!(
                    has_one || both.iter().all(|one| one.kind == Kind::Md),
                    "{name}: {found:?}"
                );
            }
            image.write(&bytes);
            let says = blkid(image.path());
            match &says {
                None => doubts += 1,
                // It goes by the mirrored file table too, which is not written here.
                Some(kind) if above.name == "ntfs" => {
                    assert_eq!(*kind, name_of(&both[0]), "{name}")
                }
                // What a volume or an array is made of counts there before what may be in it.
                Some(kind) => {
                    let mut layers = both.iter().filter(|one| one.kind.fstype().is_none());
                    assert!(layers.any(|one| *kind == name_of(one)), "{name}: {kind}");
                }
            }
            pairs += 1;
        }
    }
    // A table that lost its rows would pass the rest.
    assert!(
        (pairs, doubts) >= (230, 120),
        "{pairs} pairs, {doubts} of them in doubt"
    );
}
