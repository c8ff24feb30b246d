//! Answers of DHCP servers, and of ARP: a lease is one that a machine can have; what is wrapped is
//! found again.
#![no_main]

use berth::parse::arp;
use berth::parse::dhcp::{MESSAGE_MAX, ROUTES_MAX, Reply, payload_of, wrap};
use berth::parse::ip_word::{is_hostname, is_machines};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((_, message)) = payload_of(bytes) {
        assert!(message.len() < bytes.len());
        let _ = Reply::parse(message);
    }
    let _ = arp::is_taken(bytes, [2; 6], [192, 0, 2, 7].into());
    let mut room = [0; MESSAGE_MAX + 28];
    if let Some(packet) = wrap(bytes, &mut room) {
        // From a client, so none for a client.
        assert_eq!(payload_of(packet), None);
    }
    let Some(lease) = Reply::parse(bytes).and_then(|reply| reply.lease()) else {
        return;
    };
    assert!(is_machines(lease.address) && (1..=32).contains(&lease.prefix));
    if let Some(seconds) = lease.seconds {
        let (renew, rebind) = lease.renew_rebind;
        assert!(0 < renew && renew < rebind && rebind < seconds);
    }
    assert!(lease.routes.len() <= ROUTES_MAX);
    for route in &lease.routes {
        assert!(route.prefix <= 32);
        let behind = u32::MAX.checked_shr(route.prefix.into()).unwrap_or(0);
        assert_eq!(route.to.to_bits() & behind, 0);
        assert!(route.gateway.is_none_or(is_machines));
    }
    assert!(lease.dns.iter().all(|server| is_machines(*server)));
    // Each becomes a word of a line of a file.
    for name in lease.domains.split(' ').filter(|name| !name.is_empty()) {
        assert!(name.split('.').all(is_hostname));
    }
    assert!(lease.hostname.as_deref().is_none_or(is_hostname));
});
