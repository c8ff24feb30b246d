use super::*;

const OWN: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

fn four(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// An answer with these options, each its code and value.
fn reply(address: &str, options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut message = vec![0; OPTIONS];
    message[..3].copy_from_slice(&ANSWER);
    message[XID].copy_from_slice(&0x1122_3344_u32.to_be_bytes());
    message[YIADDR].copy_from_slice(&four(address).octets());
    message[CHADDR].copy_from_slice(&OWN);
    message[MAGIC].copy_from_slice(&COOKIE);
    for (code, value) in options {
        message.extend([*code, value.len() as u8]);
        message.extend(*value);
    }
    message.push(option::END);
    message
}

fn lease_of(options: &[(u8, &[u8])]) -> Lease {
    let message = reply("192.0.2.7", options);
    Reply::parse(&message).unwrap().lease().unwrap()
}

fn lease_at(address: &str, mask: [u8; 4]) -> Option<Lease> {
    let message = reply(address, &[(53, &[2]), (1, &mask)]);
    Reply::parse(&message).unwrap().lease()
}

#[test]
fn what_is_declined_has_an_address_and_a_server_and_asks_for_nothing() {
    let mut room = [0xff; MESSAGE_MAX];
    let request = Request {
        kind: Kind::Decline,
        xid: 1,
        seconds: 0,
        hardware: OWN,
        own: None,
        wish: Some(four("192.0.2.7")),
        server: Some(four("192.0.2.1")),
        client_id: None,
        hostname: Some("web"),
    };
    let message = request.encode(&mut room).unwrap();
    let options: Vec<_> = Options(&message[OPTIONS..]).collect();
    let expected: &[(u8, &[u8])] = &[
        (53, &[4]),
        (61, &[1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]),
        (50, &[192, 0, 2, 7]),
        (54, &[192, 0, 2, 1]),
    ];
    assert_eq!(options, expected);
}

#[test]
fn a_discover_says_who_asks_and_for_what() {
    let mut room = [0xff; MESSAGE_MAX];
    let request = Request {
        kind: Kind::Discover,
        xid: 0x0102_0304,
        seconds: 258,
        hardware: OWN,
        own: None,
        wish: Some(four("192.0.2.7")),
        server: None,
        client_id: None,
        hostname: Some("web"),
    };
    let message = request.encode(&mut room).unwrap();
    assert_eq!(message.len(), MESSAGE_MIN);
    assert_eq!(
        message[..12],
        [1, 1, 6, 0, 1, 2, 3, 4, 1, 2, 0x80, 0],
        "it asks for an answer to all"
    );
    assert_eq!(message[12..28], [0; 16]);
    let options: Vec<_> = Options(&message[OPTIONS..]).collect();
    let expected: &[(u8, &[u8])] = &[
        (53, &[1]),
        (61, &[1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]),
        (50, &[192, 0, 2, 7]),
        (57, &[5, 192]),
        (55, &[1, 121, 3, 6, 12, 15, 119, 26, 51, 54, 58, 59]),
        (12, b"web"),
    ];
    assert_eq!(options, expected);
}

#[test]
fn a_request_for_more_time_comes_from_the_address_itself() {
    let mut room = [0; MESSAGE_MAX];
    let request = Request {
        kind: Kind::Request,
        xid: 1,
        seconds: 0,
        hardware: OWN,
        own: Some(four("192.0.2.7")),
        wish: None,
        server: None,
        client_id: Some((0, "operator")),
        hostname: None,
    };
    let message = request.encode(&mut room).unwrap();
    assert_eq!(message[FLAGS], [0, 0]);
    assert_eq!(message[CIADDR], [192, 0, 2, 7]);
    let options: Vec<_> = Options(&message[OPTIONS..]).map(|(code, _)| code).collect();
    assert_eq!(options, [53, 61, 57, 55]);
    assert_eq!(request.encode(&mut [0; 200]), None);
}

#[test]
fn an_answer_gives_all_that_the_machine_can_use() {
    let message = reply(
        "192.0.2.7",
        &[
            (53, &[5]),
            (54, &[192, 0, 2, 2]),
            (51, &3600_u32.to_be_bytes()),
            (1, &[255, 255, 255, 0]),
            (3, &[192, 0, 2, 1, 192, 0, 2, 9]),
            (6, &[192, 0, 2, 53, 0, 0, 0, 0, 192, 0, 2, 54]),
            (12, b"web"),
            (15, b"example.org"),
            (26, &[5, 120]),
        ],
    );
    let reply = Reply::parse(&message).unwrap();
    assert_eq!(reply.kind, Some(Kind::Ack));
    assert_eq!((reply.xid, reply.hardware), (0x1122_3344, OWN));
    let lease = reply.lease().unwrap();
    assert_eq!(lease.address, four("192.0.2.7"));
    assert_eq!((lease.prefix, lease.mtu), (24, Some(1400)));
    assert_eq!(lease.server, Some(four("192.0.2.2")));
    assert_eq!(
        (lease.seconds, lease.renew_rebind),
        (Some(3600), (1800, 3150))
    );
    let default = Route {
        to: Ipv4Addr::UNSPECIFIED,
        prefix: 0,
        gateway: Some(four("192.0.2.1")),
    };
    assert_eq!(lease.routes, [default]);
    assert_eq!(lease.dns, [four("192.0.2.53"), four("192.0.2.54")]);
    assert_eq!(lease.domains, "example.org");
    assert_eq!(lease.hostname.as_deref(), Some("web"));
    assert!(!lease.lacks_routes);
}

#[test]
fn times_are_those_of_the_server_where_they_make_sense() {
    for (lease, renew, rebind, expected) in [
        (3600, 600, 1200, (Some(3600), (600, 1200))),
        (3600, 1200, 600, (Some(3600), (1800, 3150))),
        (3600, 0, 600, (Some(3600), (1800, 3150))),
        (3600, 600, 3600, (Some(3600), (1800, 3150))),
        (3600, 600, u32::MAX, (Some(3600), (1800, 3150))),
        (1, 0, 0, (Some(16), (8, 14))),
        (0, 1, 2, (Some(16), (1, 2))),
        (u32::MAX, 600, 1200, (None, (600, 1200))),
    ] {
        let found = lease_of(&[
            (53, &[5]),
            (51, &u32::to_be_bytes(lease)),
            (58, &u32::to_be_bytes(renew)),
            (59, &u32::to_be_bytes(rebind)),
        ]);
        assert_eq!(
            (found.seconds, found.renew_rebind),
            expected,
            "{lease} {renew} {rebind}"
        );
    }
    assert_eq!(lease_of(&[(53, &[5])]).seconds, Some(3600));
    assert_eq!(lease_of(&[]).seconds, None, "BOOTP has no leases");
}

#[test]
fn routes_stand_in_the_place_of_routers() {
    let routes = [
        &[32, 192, 0, 2, 1, 0, 0, 0, 0][..],
        &[0, 192, 0, 2, 1],
        &[12, 172, 31, 192, 0, 2, 3],
    ]
    .concat();
    let lease = lease_of(&[(53, &[5]), (3, &[192, 0, 2, 9]), (121, &routes)]);
    let route = |to, prefix, gateway: &str| Route {
        to: four(to),
        prefix,
        gateway: gateway.parse().ok(),
    };
    assert_eq!(
        lease.routes,
        [
            route("192.0.2.1", 32, ""),
            route("0.0.0.0", 0, "192.0.2.1"),
            route("172.16.0.0", 12, "192.0.2.3"),
        ]
    );
    // What cannot be read costs what follows; what cannot be used, itself.
    for broken in [
        &[33, 1, 2, 3, 4, 5, 192, 0, 2, 1][..],
        &[0, 127, 0, 0, 1],
        &[0, 192, 0, 2, 7],
        &[8, 127, 192, 0, 2, 1],
        &[8, 10, 192, 0, 2],
    ] {
        let lease = lease_of(&[(53, &[5]), (3, &[192, 0, 2, 9]), (121, broken)]);
        assert_eq!(lease.routes, [route("0.0.0.0", 0, "192.0.2.9")]);
        assert!(lease.lacks_routes, "{broken:?}");
    }
    let many = [8, 10, 192, 0, 2, 1].repeat(ROUTES_MAX + 1);
    let lease = lease_of(&[(53, &[5]), (121, &many)]);
    assert_eq!((lease.routes.len(), lease.lacks_routes), (ROUTES_MAX, true));
}

#[test]
fn addresses_that_no_machine_can_have_are_no_leases() {
    for (address, mask) in [
        ("0.0.0.0", [255, 255, 255, 0]),
        ("127.0.0.1", [255, 255, 255, 0]),
        ("224.0.0.1", [255, 255, 255, 0]),
        ("255.255.255.255", [255, 255, 255, 0]),
        ("192.0.2.0", [255, 255, 255, 0]),
        ("192.0.2.255", [255, 255, 255, 0]),
        ("192.0.2.7", [0, 0, 0, 0]),
    ] {
        assert_eq!(lease_at(address, mask), None, "{address}");
    }
    for (mask, prefix) in [
        ([255, 255, 255, 255], 32),
        ([255, 255, 255, 254], 31),
        ([255, 0, 255, 0], 24),
    ] {
        assert_eq!(lease_at("192.0.2.7", mask).unwrap().prefix, prefix);
    }
}

#[test]
fn an_option_may_come_in_pieces_and_lie_in_other_fields() {
    let mut message = reply(
        "192.0.2.7",
        &[(53, &[5]), (52, &[3]), (15, b"exam"), (15, b"ple.")],
    );
    message[FILE][..6].copy_from_slice(&[15, 2, b'o', b'r', 0, 0]);
    message[FILE][6] = option::END;
    message[SNAME][..3].copy_from_slice(&[15, 1, b'g']);
    let lease = Reply::parse(&message).unwrap().lease().unwrap();
    assert_eq!(lease.domains, "example.org");
}

#[test]
fn names_that_could_be_more_than_names_are_left_out() {
    for (sent, expected) in [
        (&b"web"[..], Some("web")),
        (b"web\0", Some("web")),
        (b"web.example.org", Some("web.example.org")),
        (b"localhost", None),
        (b"web\nx", None),
        (b"../etc", None),
        (b"", None),
        (b"\xff", None),
    ] {
        let lease = lease_of(&[(53, &[5]), (12, sent)]);
        assert_eq!(lease.hostname.as_deref(), expected, "{sent:?}");
    }
    let long = format!("web.{}", "x".repeat(70));
    let lease = lease_of(&[(53, &[5]), (12, long.as_bytes())]);
    assert_eq!(lease.hostname.as_deref(), Some("web"));
    for mtu in [&[0, 68][..], &[2, 63], &[5], &[0, 0, 5, 120]] {
        assert_eq!(lease_of(&[(53, &[5]), (26, mtu)]).mtu, None);
    }
}

#[test]
fn what_is_no_answer_is_not_taken_for_one() {
    let good = reply("192.0.2.7", &[(53, &[2])]);
    assert!(Reply::parse(&good).is_some());
    for len in 0..OPTIONS {
        assert!(Reply::parse(&good[..len]).is_none(), "{len}");
    }
    for (at, byte) in [(0, 1), (1, 6), (2, 16), (236, 98), (242, 1), (242, 9)] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert!(Reply::parse(&bad).is_none(), "{at}");
    }
    // An option that is longer than the message ends it.
    let cut = reply("192.0.2.7", &[(53, &[2]), (15, b"example")]);
    let cut = &cut[..cut.len() - 3];
    let lease = Reply::parse(cut).unwrap().lease().unwrap();
    assert_eq!(lease.domains, "");
}
