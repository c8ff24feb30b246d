//! An archive: any bytes are files that lie in it, in their order, or end in one error.
#![no_main]

use berth::parse::cpio::Archive;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let archive = Archive::new(bytes);
    let mut rest = bytes.len();
    let mut is_over = false;
    for entry in archive {
        assert!(!is_over);
        let Ok(entry) = entry else {
            is_over = true;
            continue;
        };
        // Each has a header and a name before its data, so there cannot be more than that.
        rest = rest
            .checked_sub(110 + entry.name.to_bytes().len() + entry.data.len())
            .unwrap();
        let name = entry.name.to_bytes();
        assert!(!name.starts_with(b"/") && !name.ends_with(b"/"));
        assert!(name.rsplit(|byte| *byte == b'/').next() != Some(b".."));
        if let Some(first) = archive.first_link(&entry) {
            assert_eq!(first.inode, entry.inode);
        }
    }
});
