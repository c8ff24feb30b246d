//! What programs of systemd and the reference bus sent, byte by byte.

use super::read::{Message, size};
use super::write::{Method, Writer};
use super::{Kind, SYSTEMD, address, variant};

/// What busctl 252 sends for `call org.freedesktop.systemd1 /org/freedesktop/systemd1
/// org.freedesktop.systemd1.Manager StartTransientUnit "ssa(sv)a(sa(sv))" libpod-x.scope fail 6
/// Slice s machine.slice …`.
const OF_BUSCTL: &[u8] = b"\
    l\x01\x04\x01\xf8\0\0\0\x02\0\0\0\xb6\0\0\0\x01\x01o\0\x19\0\0\0/org/freedesktop/sys\
    temd1\0\0\0\0\0\0\0\x03\x01s\0\x12\0\0\0StartTransientUnit\0\0\0\0\0\0\x02\x01s\0 \0\
    \0\0org.freedesktop.systemd1.Manager\0\0\0\0\0\0\0\0\x06\x01s\0\x18\0\0\0org.freedes\
    ktop.systemd1\0\0\0\0\0\0\0\0\x08\x01g\0\x10ssa(sv)a(sa(sv))\0\0\0\x0e\0\0\0libpod-x\
    .scope\0\0\x04\0\0\0fail\0\0\0\0\xca\0\0\0\0\0\0\0\x05\0\0\0Slice\0\x01s\0\0\0\0\x0d\
    \0\0\0machine.slice\0\0\0\0\0\0\0\x08\0\0\0Delegate\0\x01b\0\x01\0\0\0\0\0\0\0\x04\0\
    \0\0PIDs\0\x02au\0\0\0\0\x04\0\0\0g\x12\0\0\x09\0\0\0MemoryMax\0\x01t\0\0\0\0\0\0\0\
    \0\0\0\0\x04\0\0\0\0\x0b\0\0\0AllowedCPUs\0\x02ay\0\x02\0\0\0\x03\x80\0\0\0\0\0\0\
    \x05\0\0\0Wants\0\x02as\0\0\0\x1e\0\0\0\x09\0\0\0a.service\0\0\0\x09\0\0\0b.service\
    \0\0\0\0\0\0\0";

/// What dbus-daemon 1.14 answers to `Hello`, and what it sends then; and what to a call of who is
/// not there.
const REPLY: &[u8] = b"\
    l\x02\x01\x01\x09\0\0\0\x01\0\0\0=\0\0\0\x06\x01s\0\x04\0\0\0:1.0\0\0\0\0\x05\x01u\0\
    \x01\0\0\0\x08\x01g\0\x01s\0\0\x07\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0\x04\
    \0\0\0:1.0\0";
const SIGNAL: &[u8] = b"\
    l\x04\x01\x01\x09\0\0\0\x02\0\0\0\x8d\0\0\0\x01\x01o\0\x15\0\0\0/org/freedesktop/DBu\
    s\0\0\0\x02\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0\x03\x01s\0\x0c\0\0\0NameAcq\
    uired\0\0\0\0\x06\x01s\0\x04\0\0\0:1.0\0\0\0\0\x08\x01g\0\x01s\0\0\x07\x01s\0\x14\0\
    \0\0org.freedesktop.DBus\0\0\0\0\x04\0\0\0:1.0\0";
const ERROR: &[u8] = b"\
    l\x03\x01\x01M\0\0\0\x03\0\0\0u\0\0\0\x06\x01s\0\x04\0\0\0:1.0\0\0\0\0\x04\x01s\0)\0\
    \0\0org.freedesktop.DBus.Error.ServiceUnknown\0\0\0\0\0\0\0\x05\x01u\0\x02\0\0\0\x08\
    \x01g\0\x01s\0\0\x07\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0H\0\0\0The name org\
    .freedesktop.systemd1 was not provided by any .service files\0";

const START: Method<'_> = Method {
    destination: SYSTEMD,
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    member: "StartTransientUnit",
    signature: "ssa(sv)a(sa(sv))",
};

fn start(writer: &mut Writer<'_>) {
    writer.string("libpod-x.scope");
    writer.string("fail");
    writer.array(8, &mut |writer| {
        writer.property("Slice", "s", &mut |writer| writer.string("machine.slice"));
        writer.property("Delegate", "b", &mut |writer| writer.boolean(true));
        writer.property("PIDs", "au", &mut |writer| {
            writer.array(4, &mut |writer| writer.u32(4711));
        });
        writer.property("MemoryMax", "t", &mut |writer| writer.u64(64 << 20));
        writer.property("AllowedCPUs", "ay", &mut |writer| {
            writer.array(1, &mut |writer| writer.put(&[3, 128]));
        });
        variant::write(writer, "Wants", "['a.service', \"b.service\"]").unwrap();
    });
    writer.array(8, &mut |_| {});
}

#[test]
fn a_call_is_what_busctl_sends() {
    let mut room = [0xee; 1024];
    let written = Writer::call(&mut room, 2, &START, &mut start).unwrap();
    let mut expected = OF_BUSCTL.to_vec();
    // busctl sets the flag that allows a question for a password.
    expected[2] = 0;
    assert_eq!(written, expected);
}

#[test]
fn a_call_that_does_not_fit_is_none() {
    for len in 0..OF_BUSCTL.len() {
        let mut room = vec![0; len];
        assert!(
            Writer::call(&mut room, 2, &START, &mut start).is_none(),
            "{len}"
        );
    }
    let mut room = [0; 256];
    let nul = Writer::call(&mut room, 1, &START, &mut |writer| writer.string("a\0b"));
    assert!(nul.is_none());
}

#[test]
fn what_a_bus_sends_is_understood() {
    let start = OF_BUSCTL.first_chunk().unwrap();
    assert_eq!(size(start), Some(OF_BUSCTL.len()));
    let call = Message::parse(OF_BUSCTL).unwrap();
    assert_eq!((call.kind, call.path), (Kind::Call, START.path));
    assert_eq!(
        (call.interface, call.member),
        (START.interface, START.member)
    );
    assert_eq!((call.signature, call.reply_to), (START.signature, 0));
    let mut body = call.body;
    assert_eq!(body.string(), Some("libpod-x.scope"));
    assert_eq!(body.string(), Some("fail"));

    let reply = Message::parse(REPLY).unwrap();
    assert_eq!((reply.kind, reply.reply_to), (Kind::Return, 1));
    let mut body = reply.body;
    assert_eq!(body.string(), Some(":1.0"));
    assert_eq!(body.string(), None);

    let signal = Message::parse(SIGNAL).unwrap();
    assert_eq!((signal.kind, signal.member), (Kind::Signal, "NameAcquired"));
    assert_eq!(signal.path, "/org/freedesktop/DBus");

    let error = Message::parse(ERROR).unwrap();
    assert_eq!((error.kind, error.reply_to), (Kind::Error, 2));
    assert_eq!(error.error, "org.freedesktop.DBus.Error.ServiceUnknown");
    let mut body = error.body;
    let text = "The name org.freedesktop.systemd1 was not provided by any .service files";
    assert_eq!(body.string(), Some(text));
}

#[test]
fn what_is_no_message_is_refused() {
    let is_refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = ERROR.to_vec();
        change(&mut bytes);
        Message::parse(&bytes).is_none()
    };
    assert!(!is_refused(&|_| {}));
    // The other byte order, another version, no kind, a body or fields that are longer than they
    // are.
    for (at, byte) in [(0, b'B'), (3, 2), (1, 0), (4, 0x4e), (12, 0x85), (7, 0xff)] {
        assert!(is_refused(&|bytes| bytes[at] = byte), "{at}");
    }
    assert!(is_refused(&|bytes| bytes.truncate(20)));
    assert!(is_refused(&|bytes| bytes.push(0)));
    // A field of another type, text that is none, text that goes on.
    assert!(is_refused(&|bytes| bytes[0x22] = b'u'));
    assert!(is_refused(&|bytes| bytes[0x28] = 0xff));
    assert!(is_refused(&|bytes| bytes[0x24] = 0x2a));
    let large = [
        b'l', 2, 0, 1, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
    ];
    assert_eq!(size(&large), None);
}

#[test]
fn addresses_are_those_of_sockets() {
    let names = |address| -> Vec<Vec<u8>> {
        address::sockets(address)
            .map(|name| name.to_vec())
            .collect()
    };
    assert_eq!(
        names("unix:path=/run/dbus/system_bus_socket"),
        [b"/run/dbus/system_bus_socket"]
    );
    assert_eq!(
        names("tcp:host=x;unix:abstract=/tmp/a%2db,guid=0f;unix:guid=1,path=/x%20y"),
        [&b"\0/tmp/a-b"[..], b"/x y"]
    );
    let long = format!("unix:path=/{}", "x".repeat(108));
    for none in [
        "",
        "unix:",
        "unix:path=",
        "unix:path=/a%0",
        "unix:path=/a%zz",
        "unix:path=/a%00b",
        "autolaunch:",
        &long,
    ] {
        assert_eq!(names(none).len(), 0, "{none}");
    }
}

/// The signature and the value that a text becomes, behind the name `Some`.
fn value(name: &str, text: &str) -> Option<Vec<u8>> {
    let mut room = [0; 512];
    let method = Method {
        signature: "",
        ..START
    };
    let mut is_some = false;
    let empty = Writer::call(&mut [0; 512], 1, &method, &mut |_| {})
        .unwrap()
        .len();
    let message = Writer::call(&mut room, 1, &method, &mut |writer| {
        is_some = variant::write(writer, name, text).is_some();
    });
    assert!(is_some || message.is_none());
    Some(message?[empty..].to_vec())
}

#[test]
fn properties_are_written_as_text() {
    let of = |text| value("Some", text).map(|bytes| bytes[9..].to_vec());
    for (text, expected) in [
        ("true", &b"\x01b\0\x01\0\0\0"[..]),
        ("boolean false", b"\x01b\0\0\0\0\0"),
        (" 5 ", b"\x01i\0\x05\0\0\0"),
        ("-1", b"\x01i\0\xff\xff\xff\xff"),
        ("uint32 0x10", b"\x01u\0\x10\0\0\0"),
        ("@t 7", b"\x01t\0\0\0\0\0\x07\0\0\0\0\0\0\0"),
        (
            "uint64 18446744073709551615",
            b"\x01t\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
        ),
        (
            "int64 -2",
            b"\x01x\0\0\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff",
        ),
        ("byte 9", b"\x01y\0\x09"),
        ("'a b'", b"\x01s\0\x03\0\0\0a b\0"),
        (r#""it\'s \"""#, b"\x01s\0\x06\0\0\0it's \"\0"),
        ("@as []", b"\x02as\0\0\0\0\0\0\0\0"),
        ("[byte 1, 2]", b"\x02ay\0\0\0\0\x02\0\0\0\x01\x02"),
        ("@au [1,2]", b"\x02au\0\0\0\0\x08\0\0\0\x01\0\0\0\x02\0\0\0"),
    ] {
        let of = of(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(of, expected, "{text}");
    }
    // What a setting says in seconds is a property in microseconds.
    let seconds = value("TimeoutStopSec", "1.5").unwrap();
    let expected = b"\x0f\0\0\0TimeoutStopUSec\0\x01t\0\0\x60\xe3\x16\0\0\0\0\0";
    assert_eq!(seconds, expected);
    assert_eq!(
        value("TimeoutStopSec", "uint64 1"),
        value("TimeoutStopUSec", "uint64 1000000")
    );
}

#[test]
fn text_that_is_no_property_is_refused() {
    for text in [
        "",
        "yes",
        "5 6",
        "'a",
        "'a' b",
        "uint32 -1",
        "uint32 4294967296",
        "int32 2147483648",
        "byte 256",
        "[]",
        "[1",
        "[1,]",
        "[1 2]",
        "['a', 2]",
        "[1, uint64 2]",
        "@as 'a'",
        "@s ['a']",
        "uint64 [1]",
        "1.5",
        "uint64",
        "@z 1",
        "('a', 'b')",
        "{'a': 1}",
        "'a\0b'",
        "true false",
        "[[1]]",
        "0x",
        "--1",
    ] {
        assert_eq!(value("Some", text), None, "{text}");
    }
    for name in ["", "ab", "With Space", "Dot.ted", "N\u{e4}me", "Num1"] {
        assert_eq!(value(name, "true"), None, "{name}");
    }
    for text in ["-1", "'1'", "1.1234567", "1.x", "99999999999999999999"] {
        assert_eq!(value("TimeoutStopSec", text), None, "{text}");
    }
}
