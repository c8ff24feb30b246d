//! Images that the real tools make, held against what blkid(8) says of them. `make test` installs
//! the tools.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// A file that goes away with the value.
pub(super) struct Image(PathBuf);

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl ReadAt for Image {
    fn size(&self) -> u64 {
        fs::metadata(&self.0).unwrap().len()
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Option<()> {
        let mut file = File::open(&self.0).ok()?;
        file.seek(SeekFrom::Start(offset)).ok()?;
        file.read_exact(into).ok()
    }
}

impl Image {
    /// A sparse file on which `command` is run in a shell, with `$F` as its name.
    pub(super) fn made(name: &str, mib: u64, command: &str) -> Self {
        let path = std::env::temp_dir().join(format!(
            "berth-{}-{}",
            std::process::id(),
            name.replace(' ', "-")
        ));
        let image = Self(path);
        File::create(&image.0).unwrap().set_len(mib << 20).unwrap();
        image.run(command);
        image
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes them at its beginning.
    pub(super) fn write(&self, bytes: &[u8]) {
        let mut file = File::options().write(true).open(&self.0).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn run(&self, command: &str) {
        let output = Command::new("sh")
            .args(["-euc", command])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("F", &self.0)
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }

    fn identify(&mut self) -> Content {
        super::identify(self, &mut [0; WINDOW], Depth::Everything)
    }
}

/// What blkid says: type, UUID, label.
fn blkid(path: &Path) -> [String; 3] {
    let output = Command::new("/usr/sbin/blkid")
        .args(["-p", "-o", "export"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ["TYPE=", "UUID=", "LABEL="].map(|key| {
        let value = text.lines().find_map(|line| line.strip_prefix(key));
        value.unwrap_or_default().replace('\\', "")
    })
}

/// What we say, in blkid's words.
pub(super) fn in_blkids_words(found: &Content) -> [String; 3] {
    let kind = match found.kind {
        Kind::Filesystem("ntfs3") => "ntfs",
        Kind::Filesystem(fstype) => fstype,
        Kind::Luks => "crypto_LUKS",
        Kind::Md => "linux_raid_member",
        Kind::Swap => "swap",
        Kind::VerityTree => "DM_verity_hash",
        Kind::Lvm => "LVM2_member",
        Kind::Zfs => "zfs_member",
        Kind::Gpt | Kind::Mbr | Kind::Empty | Kind::Unknown => "",
    };
    [
        kind.to_owned(),
        found.uuid.map(|uuid| uuid.to_string()).unwrap_or_default(),
        found
            .label
            .as_ref()
            .map(Label::to_string)
            .unwrap_or_default(),
    ]
}

/// Every format: its name, the size in MiB, and the command.
const MADE: &[(&str, u64, &str)] = &[
    ("fat12", 2, "mkfs.vfat -F 12 -n 'FAT 12' $F"),
    ("fat16", 16, "mkfs.vfat -F 16 -n ROOT $F"),
    ("fat32", 64, "mkfs.vfat -F 32 -n 'MY DISK' $F"),
    (
        "fat32-relabelled",
        64,
        "mkfs.vfat -F 32 -n OLD $F; fatlabel $F NEW",
    ),
    ("fat-4096", 64, "mkfs.vfat -S 4096 -n BIG $F"),
    ("exfat", 16, "mkfs.exfat -L 'exfat lbl' $F"),
    ("exfat-nameless", 16, "mkfs.exfat $F"),
    ("ext2", 8, "mke2fs -q -t ext2 -L one $F"),
    ("ext3", 16, "mke2fs -q -t ext3 -L two $F"),
    ("ext4", 16, "mke2fs -q -t ext4 -L three $F"),
    (
        "ext4-64k",
        64,
        "mke2fs -q -t ext4 -b 65536 -F -L big $F 2>/dev/null",
    ),
    ("xfs", 320, "mkfs.xfs -q -L xfslabel $F"),
    ("xfs-v4", 320, "mkfs.xfs -q -m crc=0 -L old $F"),
    ("xfs-4k", 320, "mkfs.xfs -q -s size=4096 $F"),
    ("btrfs", 128, "mkfs.btrfs -q -L 'b t r f s' $F"),
    ("btrfs-xxhash", 128, "mkfs.btrfs -q --csum xxhash $F"),
    (
        "squashfs",
        0,
        "mkdir $F.d; mksquashfs $F.d $F -noappend -quiet -no-progress; rmdir $F.d",
    ),
    (
        "erofs",
        0,
        "mkdir $F.d; mkfs.erofs -U 00112233-4455-6677-8899-aabbccddeeff $F $F.d; rmdir $F.d",
    ),
    ("f2fs", 64, "mkfs.f2fs -q -l flash $F"),
    (
        "f2fs with checksum",
        64,
        "mkfs.f2fs -q -O extra_attr,sb_checksum -l flash $F",
    ),
    (
        "iso9660",
        0,
        "mkdir $F.d; genisoimage -quiet -V 'CD ROM' -o $F $F.d; rmdir $F.d",
    ),
    ("ntfs", 16, "mkntfs -q -F -Q -L 'Win dows' $F"),
    (
        "luks1",
        8,
        "printf x | cryptsetup -q luksFormat --type luks1 --iter-time 1 $F -",
    ),
    (
        "luks2",
        32,
        "printf x | cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --iter-time 1 --label crypt $F -",
    ),
    ("swap", 4, "mkswap -q -L swapping $F"),
    (
        "verity",
        4,
        "head -c 1M /dev/zero >$F.data; veritysetup format $F.data $F; rm $F.data",
    ),
];

/// The image with this name.
pub(super) fn made(name: &str) -> Image {
    let made = MADE.iter().find(|(of, ..)| *of == name);
    let (_, mib, command) = made.unwrap();
    Image::made(&format!("{name}-bytes"), *mib, command)
}

#[test]
fn what_the_real_tools_make_is_recognised_as_blkid_does() {
    for (name, mib, command) in MADE {
        let mut image = Image::made(name, *mib, command);
        let found = image.identify();
        assert_eq!(in_blkids_words(&found), blkid(&image.0), "{name}");
        assert_ne!(found.kind, Kind::Unknown, "{name}");
        assert_eq!(found.state, State::Clean, "{name}");
        assert_eq!(found.also, None, "{name}");
    }
}

/// What is made over something else is what it is now.
#[test]
fn the_filesystem_that_was_made_last_is_found() {
    let steps = [
        "mkfs.btrfs -q $F",
        "mke2fs -q -F -t ext4 $F",
        "mkswap -q $F",
        "mkfs.vfat $F",
        "mkfs.xfs -q -f $F",
        "mkfs.f2fs -q -f $F",
        "mkntfs -q -F -Q $F",
        "mkfs.exfat $F",
        "mke2fs -q -F -t ext2 $F",
        "printf x | cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --iter-time 1 $F -",
        "mkfs.vfat -F 16 $F",
    ];
    let kinds = [
        "btrfs",
        "ext4",
        "swap",
        "vfat",
        "xfs",
        "f2fs",
        "ntfs",
        "exfat",
        "ext2",
        "crypto_LUKS",
        "vfat",
    ];
    let mut image = Image::made("layers", 320, "true");
    for (step, kind) in steps.into_iter().zip(kinds) {
        image.run(step);
        let found = image.identify();
        assert_eq!(in_blkids_words(&found)[0], kind, "{step}");
        assert_eq!(found.also, None, "{step}");
    }
}

#[test]
fn partitions_are_named_as_blkid_names_them() {
    let tables = [
        (
            "gpt",
            "label: gpt\nsize=1MiB, name=\"röot 1\"\nsize=1MiB\n",
            &[1, 2][..],
        ),
        (
            "mbr",
            "label: dos\nlabel-id: 0xb0a70001\nsize=1MiB\nsize=8MiB,type=5\nstart=6MiB,size=1MiB\nstart=8MiB,size=1MiB\n",
            &[1, 5, 6],
        ),
    ];
    for (name, script, numbers) in tables {
        let mut image = Image::made(name, 16, "true");
        let table = Image::made(&format!("{name}.script"), 0, "true");
        File::create(&table.0)
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        image.run(&format!("sfdisk -q $F <{}", table.0.display()));
        for number in numbers {
            let entry = partition::entry(&mut image, 512, *number).unwrap();
            let sfdisk = |what: &str| {
                let output = Command::new("/usr/sbin/sfdisk")
                    .args([what, image.0.to_str().unwrap(), &number.to_string()])
                    .output()
                    .unwrap();
                String::from_utf8_lossy(&output.stdout)
                    .trim()
                    .to_lowercase()
            };
            if name == "gpt" {
                assert_eq!(entry.partuuid.to_string(), sfdisk("--part-uuid"));
                let label = entry.name.map(|name| name.to_string()).unwrap_or_default();
                assert_eq!(label, sfdisk("--part-label"));
            } else {
                assert_eq!(entry.partuuid.to_string(), format!("b0a70001-{number:02x}"));
            }
        }
        assert_eq!(partition::entry(&mut image, 512, 9), None);
        let kind = if name == "gpt" { Kind::Gpt } else { Kind::Mbr };
        assert_eq!(image.identify().kind, kind);
        if name == "gpt" {
            image.run("dd if=/dev/zero of=$F bs=512 seek=1 count=1 conv=notrunc status=none");
            assert!(partition::entry(&mut image, 512, 1).is_some());
        }
    }
}

/// Every bit of the first 4 KiB, and of the superblocks further back: an answer each time, and
/// where there is a checksum, not the same filesystem with a wrong name.
#[test]
fn a_flipped_bit_is_an_answer_too() {
    for (name, mib, command) in MADE.iter().filter(|(name, ..)| !name.contains('-')) {
        let image = Image::made(&format!("flip-{name}"), *mib, command);
        let mut bytes = Vec::new();
        File::open(&image.0)
            .unwrap()
            .take(80 << 10)
            .read_to_end(&mut bytes)
            .unwrap();
        let whole = super::identify(&mut &bytes[..], &mut [0; WINDOW], Depth::Everything);
        let checked = ["ext4", "xfs", "btrfs", "f2fs with checksum", "erofs"].contains(name);
        let places = (0..bytes.len().min(4096))
            .chain(0x8000..0x8400)
            .chain(0x1_0000..0x1_0400);
        let len = bytes.len();
        for at in places.filter(|at| *at < len) {
            let bit = 1 << (at % 8);
            bytes[at] ^= bit;
            let found = super::identify(&mut &bytes[..], &mut [0; WINDOW], Depth::Everything);
            bytes[at] ^= bit;
            if checked && found.kind == whole.kind {
                assert_eq!(
                    (found.uuid, &found.label),
                    (whole.uuid, &whole.label),
                    "{name}: {at:#x}"
                );
            }
        }
    }
}
