//! Mount tables: every line is a mount or an error with its number, and fields decode.
#![no_main]

use berth::parse::mountinfo::Mounts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let mut buffer = vec![0; file.len()];
    let mut lines = 0;
    for mount in Mounts::new(file) {
        lines += 1;
        match mount {
            Ok(mount) => {
                let decoded = mount.mount_point.decode(&mut buffer).unwrap();
                assert!(mount.mount_point.is(decoded));
                assert!(!mount.source.to_string().contains(char::is_control));
            }
            Err(error) => assert_eq!(error.line, lines),
        }
    }
});
