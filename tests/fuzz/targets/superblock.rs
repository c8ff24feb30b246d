//! The start of a disk: any bytes are a filesystem or none.
#![no_main]

use berth::parse::superblock::probe;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|window: &[u8]| {
    if let Some(found) = probe(window) {
        assert!(matches!(found.fstype, "vfat" | "ext2" | "ext3" | "ext4"));
        if let Some(uuid) = found.uuid {
            assert!(uuid.matches(&uuid.to_string()));
        }
        if let Some(label) = found.label {
            assert!(!label.bytes().is_empty());
            assert!(!label.to_string().contains(char::is_control));
        }
    }
});
