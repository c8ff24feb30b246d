//! Uevents: both forms of the same properties say the same.
#![no_main]

use berth::parse::uevent::{Properties, Uevent};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let _ = Properties::from_sysfs(datagram);
    // A value may hold a line feed in a datagram but not in the file.
    if let Ok(event) = Uevent::parse(datagram)
        && !datagram.contains(&b'\n')
    {
        let body = datagram.splitn(2, |b| *b == 0).nth(1).unwrap();
        let file: Vec<u8> = body
            .iter()
            .map(|b| if *b == 0 { b'\n' } else { *b })
            .collect();
        assert_eq!(Properties::from_sysfs(&file).unwrap(), event.properties);
    }
});
