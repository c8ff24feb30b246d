//! `ip=` and `nameserver=`: what is taken can be set up.
#![no_main]

use berth::parse::ip_word::{IpWord, is_hostname, nameserver};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    let _ = nameserver(text);
    let Ok(word) = IpWord::parse(text) else {
        return;
    };
    if let Some((address, prefix)) = word.address {
        assert!(prefix > 0 && prefix <= if address.is_ipv4() { 32 } else { 128 });
        assert!(
            word.gateway
                .is_none_or(|other| other.is_ipv4() == address.is_ipv4())
        );
    }
    assert!(
        word.device
            .is_none_or(|name| name.len() <= 15 && !name.contains('/'))
    );
    if let Some((name, domain)) = word.hostname {
        assert!(is_hostname(name) && (domain.is_empty() || is_hostname(domain)));
    }
});
