//! Messages of D-Bus, addresses of buses and values of properties: what is read is inside the
//! message, what is written is read again.
#![no_main]

use berth::parse::dbus::read::{Message, START, size};
use berth::parse::dbus::write::{Method, Writer};
use berth::parse::dbus::{address, variant};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(message) = Message::parse(bytes) {
        assert_eq!(
            bytes.first_chunk::<START>().and_then(size),
            Some(bytes.len())
        );
        let mut body = message.body;
        while let Some(text) = body.string() {
            assert!(text.len() < bytes.len());
        }
        let mut body = message.body;
        while body.u32().is_some() {}
    }
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    for name in address::sockets(text) {
        assert!(!name.is_empty() && name.len() < text.len());
    }
    let (name, value) = text.split_once('=').unwrap_or(("Some", text));
    let method = Method {
        destination: "a.b",
        path: "/a",
        interface: "a.b",
        member: "c",
        signature: "a(sv)",
    };
    let mut room = [0; 512];
    let mut is_some = false;
    let written = Writer::call(&mut room, 1, &method, &mut |writer| {
        writer.array(8, &mut |writer| {
            is_some = variant::write(writer, name, value).is_some()
        });
    });
    if let Some(written) = written {
        assert!(is_some);
        let message = Message::parse(written).unwrap();
        assert_eq!((message.member, message.signature), ("c", "a(sv)"));
    }
});
