//! The superblock of a hash tree: any bytes are refused, or give one line for the device-mapper.
#![no_main]

use berth::parse::verity::tree::HashTree;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &[u8])| {
    let (offset, bytes) = input;
    // Past the magic, which would have to be guessed.
    for block in [bytes.to_vec(), [b"verity\0\0\x01\0\0\0", bytes].concat()] {
        let Ok(tree) = HashTree::parse(&block) else {
            continue;
        };
        assert!(tree.data_size > 0);
        let line = tree.parameters((8, 1), (254, 0), offset, "00").to_string();
        let fields: Vec<_> = line.split(' ').collect();
        assert_eq!(fields.len(), 10, "{line}");
        assert!(line.is_ascii() && line.len() < 1024 - 128);
        assert!(fields.iter().all(|field| !field.is_empty()));
    }
});
