//! What `/proc/meminfo` says is unwritten: a sum, or nothing.
#![no_main]

use berth::parse::meminfo::unwritten;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Some(sum) = unwritten(text) {
        // A line more does not change what the first ones say.
        let longer = [text, b"\nDirty: 7 kB\nWriteback: 7 kB\n"].concat();
        assert_eq!(unwritten(&longer), Some(sum));
    }
});
