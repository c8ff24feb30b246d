//! What routers say of names: servers are addresses of machines, domains words of a line.
#![no_main]

use berth::parse::ip_word::is_hostname;
use berth::parse::router::{List, RouterOption};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Some(option) = RouterOption::parse(body) else {
        return;
    };
    match option.list {
        List::Servers(servers) => {
            for server in servers.iter() {
                assert!(
                    !server.is_multicast() && !server.is_unspecified() && !server.is_loopback()
                );
            }
        }
        List::Domains(domains) => {
            let names = domains.names();
            for name in names.split(' ').filter(|name| !name.is_empty()) {
                assert!(name.split('.').all(is_hostname));
            }
        }
    }
});
