//! Records of the kernel's log: what is said of one follows from its parts.
#![no_main]

use berth::parse::kmsg::Record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(record) = Record::parse(bytes) else {
        return;
    };
    assert!(record.level < 8);
    assert!(!record.text.contains(&b'\n'));
    if record.bears_on_the_root() {
        assert!(record.is_complaint() && record.is_kernels);
    }
    if record.tells_of_a_lost_filesystem() {
        assert!(record.is_kernels);
    }
    if let Some(reason) = record.unpacking_failure() {
        assert!(record.text.ends_with(reason));
    }
});
