//! Names of devices: what is read is written back, and reads the same again.
#![no_main]

use berth::parse::device::DeviceRef;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match DeviceRef::parse(text) {
        Ok(device) => {
            let written = device.to_string();
            // Quotes are read once: a label may itself look quoted.
            if !text.contains('"') {
                assert_eq!(DeviceRef::parse(&written), Ok(device));
            }
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
});
