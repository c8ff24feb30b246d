//! Rules for disks that come, and labels: a line counts or is told by its number, and whatever a
//! label is, its name leads nowhere else.
#![no_main]

use berth::parse::automount::{Bus, Facts, NAME_MAX, Rules, safe_name};
use berth::parse::uuid::Uuid;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // What follows the first line feed is the rules.
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (label, text) = bytes.split_at(end.unwrap_or(bytes.len()));
    if let Some(name) = safe_name(label) {
        assert!(!name.is_empty() && name.len() <= NAME_MAX);
        assert!(!name.contains(|c: char| c == '/' || c.is_control()));
        assert!(!name.starts_with(['.', '-', ' ']));
        assert_eq!(safe_name(name.as_bytes()), Some(name));
    }
    let rules = Rules(text);
    let mut last = 0;
    for rule in rules.each() {
        if let Err(error) = rule {
            assert!(error.line > last);
            last = error.line;
            assert!(!error.to_string().contains(char::is_control));
        }
    }
    let uuid = Uuid::Serial(0x0123_4567);
    for (fstype, bus) in [("vfat", Bus::Usb), ("ext4", Bus::Other)] {
        let facts = Facts {
            uuid: Some(&uuid),
            label: None,
            fstype,
            bus,
        };
        let wish = rules.wish(&facts);
        assert_eq!(wish.flags.set & wish.flags.clear, 0);
        assert!(wish.data().all(|word| !word.is_empty()));
        if let Some(name) = wish.name {
            assert_eq!(safe_name(name.as_bytes()), Some(name));
        }
    }
    let _ = Bus::of(&String::from_utf8_lossy(label));
});
