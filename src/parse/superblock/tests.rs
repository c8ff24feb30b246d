//! The order of the formats, and what is told of two.

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
    let btrfs = btrfs_of(1);
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
fn of_two_that_are_recognised_both_are_told() {
    let fat = (0, &include_bytes!("testdata/fat32-boot.bin")[..]);
    let ext = (1024, &include_bytes!("testdata/ext4.bin")[..]);
    let mut luks = [0; 592];
    luks[..8].copy_from_slice(b"LUKS\xba\xbe\0\x01");
    let mut iso9660 = [0; iso9660::LEN];
    iso9660[..7].copy_from_slice(b"\x01CD001\x01");
    iso9660[128..130].copy_from_slice(&2048_u16.to_le_bytes());
    let iso9660 = (iso9660::AT, &iso9660[..]);
    let btrfs = btrfs_of(1);
    let btrfs = (btrfs::AT, &btrfs[..]);
    let squashfs = |size: u64| {
        let mut block = [0; 96];
        block[..4].copy_from_slice(b"hsqs");
        block[4] = 1;
        block[12..16].copy_from_slice(&0x2_0000_u32.to_le_bytes());
        block[22..24].copy_from_slice(&17_u16.to_le_bytes());
        block[28] = 4;
        block[40..48].copy_from_slice(&size.to_le_bytes());
        block
    };
    let [small, large] = [squashfs(4096), squashfs(1 << 20)];
    let zfs = (containers::ZFS_AT, &ZFS[..]);
    let fs = |fstype| Kind::Filesystem(fstype);
    for (parts, first, second) in [
        ([fat, ext], fs("vfat"), Some(fs("ext4"))),
        ([(0, &luks), btrfs], Kind::Luks, Some(fs("btrfs"))),
        ([ext, iso9660], fs("ext4"), Some(fs("iso9660"))),
        // zpool(8) leaves the first 8 KiB as they are.
        ([ext, zfs], fs("ext4"), Some(Kind::Zfs)),
        ([zfs, btrfs], Kind::Zfs, Some(fs("btrfs"))),
        // And a squashfs before that.
        ([(0, &large), zfs], fs("squashfs"), Some(Kind::Zfs)),
        ([zfs, zfs], Kind::Zfs, None),
        ([iso9660, btrfs], fs("iso9660"), Some(fs("btrfs"))),
        ([(0, &small), btrfs], fs("squashfs"), Some(fs("btrfs"))),
        ([(0, &large), btrfs], fs("squashfs"), Some(fs("btrfs"))),
        ([(0, &large), iso9660], fs("squashfs"), Some(fs("iso9660"))),
        ([(0, &large), ext], fs("squashfs"), Some(fs("ext4"))),
        ([ext, ext], fs("ext4"), None),
    ] {
        let bytes = window(&parts);
        // What another device has left in the window is not this one's.
        let mut window = [0x5a; WINDOW];
        let last = btrfs.1;
        window[btrfs::AT..].copy_from_slice(last);
        let found = identify(&mut &bytes[..], &mut window, Depth::Superblock);
        assert_eq!(
            (found.kind, found.also.map(|other| other.kind)),
            (first, second)
        );
    }
}

/// How the list of a pool's device begins: its encoding, version 0, names that are unique, and the
/// first of them with its length.
pub(super) const ZFS: [u8; 40] =
    *b"\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\0\0\x24\0\0\0\x20\0\0\0\x07version\0\0\0\0\x08\0\0\0\x01";

#[test]
fn a_partition_table_counts_before_what_an_older_pool_left() {
    let entry = b"\x80\x20\x21\x00\x0c\x51\x01\x04\x00\x08\x00\x00\x00\xf8\x00\x00";
    let table = [(446, &entry[..]), (510, b"\x55\xaa")];
    assert_eq!(
        kind(&window(&[table[0], table[1], (containers::ZFS_AT, &ZFS)])),
        Kind::Mbr
    );
}

/// A superblock with a checksum that is not looked at, of a filesystem on so many devices.
fn btrfs_of(devices: u64) -> [u8; btrfs::LEN] {
    let mut btrfs = [0; btrfs::LEN];
    btrfs[48..56].copy_from_slice(&(btrfs::AT as u64).to_le_bytes());
    btrfs[64..72].copy_from_slice(b"_BHRfS_M");
    btrfs[0x88..0x90].copy_from_slice(&devices.to_le_bytes());
    btrfs[0x90..0x94].copy_from_slice(&4096_u32.to_le_bytes());
    btrfs[0xc4] = 1;
    btrfs
}

#[test]
fn a_btrfs_tells_on_how_many_devices_it_lies() {
    for devices in [1, 3] {
        let bytes = window(&[(btrfs::AT, &btrfs_of(devices))]);
        let found = identify(&mut &bytes[..], &mut [0; WINDOW], Depth::Superblock);
        assert_eq!(found.devices, devices);
    }
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
fn a_label_is_compared_with_and_without_escapes() {
    let label = |bytes: &[u8]| Label::terminated(bytes).unwrap();
    for (bytes, typed) in [
        (&b"My Root"[..], "My Root"),
        (b"My Root", r"My\x20Root"),
        (b"My Root", r"My\040Root"),
        (b"a/b", r"a\x2fb"),
        (b"a\\b", r"a\b"),
        (b"a\\b", r"a\x5cb"),
        ("r\u{f6}ot".as_bytes(), r"r\xc3\xb6ot"),
        (br"My\x20Root", r"My\x20Root"),
    ] {
        assert!(label(bytes).is(typed), "{typed}");
    }
    for typed in ["My\\x2", r"My\x2gRoot", r"My\x+fRoot", "my root", ""] {
        assert!(!label(b"My Root").is(typed), "{typed}");
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
