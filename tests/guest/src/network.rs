//! The other side of a machine's network: a DHCP server that does as it is told, a router, and who
//! looks at what the machine has made of both.

use std::ffi::CString;
use std::fs;
use std::io;
use std::mem::zeroed;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::interfaces;

/// The server's address, and those that it gives: the other when the first was declined.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const GIVEN: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 7);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 8);

/// How many messages make a noise.
const NOISE: u32 = 300;

fn done(result: libc::c_int, what: &str) -> Result<libc::c_int> {
    ensure!(result >= 0, "{what}: {}", io::Error::last_os_error());
    Ok(result)
}

/// A message of a client: whether it was sent to this server alone, and its bytes.
struct Message {
    is_to_me: bool,
    bytes: Vec<u8>,
}

impl Message {
    fn option(&self, wanted: u8) -> Option<&[u8]> {
        let mut rest = self.bytes.get(240..)?;
        loop {
            match rest {
                [0, next @ ..] => rest = next,
                [255, ..] | [] | [_] => return None,
                [code, len, next @ ..] => {
                    let (value, next) = next.split_at_checked(usize::from(*len))?;
                    if *code == wanted {
                        return Some(value);
                    }
                    rest = next;
                }
            }
        }
    }

    fn address(&self, option: u8) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.option(option)?.try_into().ok()?;
        Some(octets.into())
    }

    /// The address that the client says is its own.
    fn own(&self) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.bytes.get(12..16)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets)).filter(|own| !own.is_unspecified())
    }

    /// What the client wants (RFC 2131, table 4).
    fn what(&self) -> String {
        let wish = self.address(50).map(|wish| format!(" {wish}"));
        let wish = wish.unwrap_or_default();
        match (self.option(53), self.own(), self.address(54)) {
            (Some([1]), None, None) => format!("discover{wish}"),
            (Some([3]), None, Some(_)) => format!("select{wish}"),
            (Some([4]), None, Some(_)) => format!("decline{wish}"),
            (Some([3]), None, None) => format!("confirm{wish}"),
            (Some([3]), Some(own), None) if wish.is_empty() => match self.is_to_me {
                true => format!("renew {own}"),
                false => format!("rebind {own}"),
            },
            other => format!("nonsense {other:?}"),
        }
    }
}

/// What the server says about everything else, as words `name=value`.
#[derive(Default)]
struct Terms {
    /// Options, as they stand in a message.
    options: Vec<u8>,
    router: bool,
    stays: bool,
    is_taken: bool,
}

impl Terms {
    fn set(&mut self, word: &str) -> Result<bool> {
        let Some((name, value)) = word.split_once('=') else {
            match word {
                "router" => self.router = true,
                "stay" => self.stays = true,
                "taken" => self.is_taken = true,
                _ => return Ok(false),
            }
            return Ok(true);
        };
        let address = || -> Result<[u8; 4]> { Ok(value.parse::<Ipv4Addr>()?.octets()) };
        let (code, value) = match name {
            "lease" => (51, value.parse::<u32>()?.to_be_bytes().to_vec()),
            "gateway" => (3, address()?.to_vec()),
            "dns" => (6, address()?.to_vec()),
            "hostname" => (12, value.as_bytes().to_vec()),
            "domain" => (15, value.as_bytes().to_vec()),
            "mtu" => (26, value.parse::<u16>()?.to_be_bytes().to_vec()),
            // `10/8` by way of the server, and a network on the link.
            "routes" => (121, vec![8, 10, 10, 9, 0, 1, 24, 192, 0, 2, 0, 0, 0, 0]),
            _ => bail!("there are no terms {name}"),
        };
        self.options.extend([code, value.len() as u8]);
        self.options.extend(value);
        Ok(true)
    }
}

/// An answer of this kind by `server`.
fn answer(to: &Message, kind: u8, server: Ipv4Addr, address: Ipv4Addr, terms: &Terms) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..3].copy_from_slice(&[2, 1, 6]);
    bytes[4..8].copy_from_slice(&to.bytes[4..8]);
    bytes[10..12].copy_from_slice(&to.bytes[10..12]);
    if kind != 6 {
        bytes[16..20].copy_from_slice(&address.octets());
    }
    bytes[28..44].copy_from_slice(&to.bytes[28..44]);
    bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
    bytes.extend([53, 1, kind, 54, 4]);
    bytes.extend(server.octets());
    if kind != 6 {
        bytes.extend([1, 4, 255, 255, 255, 0]);
        bytes.extend(&terms.options);
    }
    bytes.push(255);
    bytes
}

/// A server on `device`, which this process has alone. Each of `words` says something of the terms,
/// or what is done about the next message of a client. With the last one the server ends.
pub(crate) fn serve(device: &str, words: &[&str]) -> Result<()> {
    let mut terms = Terms::default();
    let mut script = Vec::new();
    for word in words {
        if !terms.set(word)? {
            script.push(*word);
        }
    }
    interfaces::set_address(device, SERVER)?;
    if terms.is_taken {
        // It is the address of a machine that the server does not know of.
        interfaces::set_address(&format!("{device}:1"), GIVEN)?;
    }
    if terms.router {
        let socket = router_socket(device)?;
        thread::spawn(move || answer_solicitations(&socket));
    }
    let (sender, messages) = mpsc::channel();
    // Two, by which it is known whom a message was sent to.
    let own = listen(device, SERVER)?;
    let speaker = own.try_clone()?;
    speaker.set_broadcast(true)?;
    for (socket, is_to_me) in [(own, true), (listen(device, Ipv4Addr::BROADCAST)?, false)] {
        let sender = sender.clone();
        thread::spawn(move || hear(&socket, is_to_me, &sender));
    }
    let raw = raw_socket(device)?;
    println!("serving");
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut script = script.into_iter().peekable();
    let mut given = GIVEN;
    for message in messages {
        if message.bytes.len() < 240 {
            continue;
        }
        let what = message.what();
        println!("{what}");
        if what.starts_with("decline") {
            given = OTHER;
            continue;
        }
        let address = message.address(50).or(message.own()).unwrap_or(given);
        let server = message.address(54).unwrap_or(SERVER);
        let usual = if what.starts_with("discover") {
            "offer"
        } else {
            "ack"
        };
        let kind = |step| match step {
            "offer" => 2,
            "ack" => 5,
            _ => 6,
        };
        loop {
            let step = match script.next() {
                Some(step) => step,
                None if terms.stays => usual,
                None => return Ok(()),
            };
            let good = |step| answer(&message, kind(step), server, address, &terms);
            match step {
                "noise" => make_noise(&mut dice, &speaker, &raw, &good(usual))?,
                // Whoever is nearer to the client than its server.
                "foreign" => {
                    let other = Ipv4Addr::new(10, 9, 0, 66);
                    let elsewhere = Ipv4Addr::new(10, 9, 0, 8);
                    for (kind, server, address) in [
                        (6, other, address),
                        (5, other, address),
                        (5, server, elsewhere),
                    ] {
                        say(&speaker, &answer(&message, kind, server, address, &terms))?;
                    }
                }
                "silence" => break,
                "offer" | "ack" | "nak" => {
                    say(&speaker, &good(step))?;
                    break;
                }
                _ => bail!("there is no step {step}"),
            }
        }
        if script.peek().is_none() && !terms.stays {
            println!("served");
            return Ok(());
        }
    }
    Ok(())
}

fn bind_to_device(socket: &impl AsRawFd, device: &str) -> Result<()> {
    // SAFETY: setsockopt(2) reads as many bytes of the name as it has.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            device.as_ptr().cast(),
            device.len() as libc::socklen_t,
        )
    };
    done(result, "SO_BINDTODEVICE").map(drop)
}

fn listen(device: &str, at: Ipv4Addr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddrV4::new(at, 67)).context("bind")?;
    bind_to_device(&socket, device)?;
    Ok(socket)
}

fn hear(socket: &UdpSocket, is_to_me: bool, sender: &mpsc::Sender<Message>) {
    let mut room = [0; 2048];
    while let Ok(len) = socket.recv(&mut room) {
        let bytes = room[..len].to_vec();
        if sender.send(Message { is_to_me, bytes }).is_err() {
            return;
        }
    }
}

fn say(speaker: &UdpSocket, bytes: &[u8]) -> Result<()> {
    speaker
        .send_to(bytes, (Ipv4Addr::BROADCAST, 68))
        .context("say")?;
    Ok(())
}

/// Numbers that look like chance, and are the same each time (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// A socket for whole packets of IPv4.
fn raw_socket(device: &str) -> Result<(OwnedFd, libc::sockaddr_ll)> {
    const IPV4: u16 = 0x0800_u16.to_be();
    // SAFETY: socket(2) takes numbers.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    done(socket, "packet socket")?;
    // SAFETY: it is a new descriptor of this program's; zeros are an address.
    let (socket, mut to) = unsafe { (OwnedFd::from_raw_fd(socket), zeroed::<libc::sockaddr_ll>()) };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_protocol = IPV4;
    to.sll_ifindex = interfaces::index(device)?;
    to.sll_halen = 6;
    to.sll_addr = [0xff; 8];
    Ok((socket, to))
}

/// Says everything but what is right: `good` with some of its bytes changed, its options exchanged
/// for others, cut, and in packets that are none.
fn make_noise(
    dice: &mut Dice,
    speaker: &UdpSocket,
    (raw, to): &(OwnedFd, libc::sockaddr_ll),
    good: &[u8],
) -> Result<()> {
    for _ in 0..NOISE {
        let mut bytes = good.to_vec();
        match dice.roll(4) {
            0 => {
                for _ in 0..1 + dice.roll(8) {
                    let at = dice.roll(bytes.len());
                    bytes[at] = dice.roll(256) as u8;
                }
            }
            1 => {
                bytes.truncate(240);
                for _ in 0..dice.roll(900) {
                    bytes.push(dice.roll(256) as u8);
                }
            }
            2 => {
                // Options with sensible codes and any values.
                bytes.truncate(240);
                let codes = [
                    1, 3, 6, 12, 15, 26, 51, 52, 53, 54, 58, 59, 119, 121, 0, 255,
                ];
                for _ in 0..dice.roll(30) {
                    let len = dice.roll(40);
                    bytes.extend([codes[dice.roll(codes.len())], len as u8]);
                    for _ in 0..len {
                        bytes.push(dice.roll(256) as u8);
                    }
                }
            }
            _ => bytes.truncate(dice.roll(bytes.len())),
        }
        match dice.roll(3) {
            0 => {
                let total = 28 + bytes.len();
                let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
                packet[2..4].copy_from_slice(&(total as u16).to_be_bytes());
                packet.extend(SERVER.octets());
                packet.extend([255; 4]);
                packet.extend([0, 67, 0, 68]);
                packet.extend(((total - 20) as u16).to_be_bytes());
                packet.extend([0, 0]);
                let at = dice.roll(28);
                packet[at] = dice.roll(256) as u8;
                let sum: u32 = packet[..20]
                    .chunks(2)
                    .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])))
                    .sum();
                let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
                packet.extend(&bytes);
                packet.truncate(1500);
                let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                // SAFETY: sendto(2) reads the packet and the address, of these sizes. What the
                // kernel refuses is not sent.
                unsafe {
                    libc::sendto(
                        raw.as_raw_fd(),
                        packet.as_ptr().cast(),
                        packet.len(),
                        0,
                        (&raw const *to).cast(),
                        size,
                    )
                };
            }
            _ => say(speaker, &bytes)?,
        }
        // More at once than the client's socket holds would hide what is right.
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A socket that routers answer by: ICMPv6, on one device, with the hop limit that shows that
/// nothing has come from beyond the link.
fn router_socket(device: &str) -> Result<(OwnedFd, libc::sockaddr_in6)> {
    // SAFETY: socket(2) takes numbers.
    let socket = unsafe {
        libc::socket(
            libc::AF_INET6,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::IPPROTO_ICMPV6,
        )
    };
    done(socket, "socket of ICMPv6")?;
    // SAFETY: it is a new descriptor of this program's; zeros are an address.
    let (socket, mut all) =
        unsafe { (OwnedFd::from_raw_fd(socket), zeroed::<libc::sockaddr_in6>()) };
    bind_to_device(&socket, device)?;
    let index = interfaces::index(device)?;
    let set = |level, option, value: *const libc::c_void, len: usize| {
        // SAFETY: setsockopt(2) reads so many bytes of the value.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                value,
                len as libc::socklen_t,
            )
        };
        done(result, "setsockopt").map(drop)
    };
    let hops: libc::c_int = 255;
    let number = size_of::<libc::c_int>();
    let hops = (&raw const hops).cast();
    set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, hops, number)?;
    // Solicitations go to all routers.
    let routers = libc::ipv6_mreq {
        ipv6mr_multiaddr: libc::in6_addr {
            s6_addr: "ff02::2".parse::<Ipv6Addr>()?.octets(),
        },
        ipv6mr_interface: index as libc::c_uint,
    };
    let size = size_of::<libc::ipv6_mreq>();
    let routers = (&raw const routers).cast();
    set(libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, routers, size)?;
    all.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    all.sin6_addr.s6_addr = "ff02::1".parse::<Ipv6Addr>()?.octets();
    all.sin6_scope_id = index as u32;
    Ok((socket, all))
}

/// Answers those who ask that 2001:db8:9::/64 is on the link, and a name server in it.
fn answer_solicitations((socket, all): &(OwnedFd, libc::sockaddr_in6)) {
    const SOLICITATION: u8 = 133;
    let mut advertisement = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    advertisement.extend([3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 7, 8, 0, 0, 0, 0]);
    advertisement.extend("2001:db8:9::".parse::<Ipv6Addr>().unwrap().octets());
    advertisement.extend([25, 3, 0, 0, 0, 0, 7, 8]);
    advertisement.extend("2001:db8:9::53".parse::<Ipv6Addr>().unwrap().octets());
    let mut room = [0; 1500];
    loop {
        // SAFETY: recv(2) writes into the room, of its size.
        let len =
            unsafe { libc::recv(socket.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0) };
        if len < 0 {
            return;
        }
        if len == 0 || room[0] != SOLICITATION {
            continue;
        }
        let size = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        // SAFETY: sendto(2) reads the message and the address, of these sizes.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                advertisement.as_ptr().cast(),
                advertisement.len(),
                0,
                (&raw const *all).cast(),
                size,
            )
        };
        // While its own address is not sure yet, it says nothing; it is asked again.
        if sent > 0 {
            println!("advertised");
        }
    }
}

/// Waits until the file has this text in it. It is written in place.
fn wait_for_text(path: &Path, text: &str) -> Result<()> {
    // SAFETY: inotify_init1(2) takes a number.
    let watch = done(
        unsafe { libc::inotify_init1(libc::IN_CLOEXEC) },
        "inotify_init1",
    )?;
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path ends with NUL.
    let added = unsafe { libc::inotify_add_watch(watch, name.as_ptr(), libc::IN_MODIFY) };
    done(added, "inotify_add_watch")?;
    let mut room = [0_u8; 4096];
    while !fs::read_to_string(path)?.contains(text) {
        // SAFETY: read(2) writes into the room, of its size.
        let len = unsafe { libc::read(watch, room.as_mut_ptr().cast(), room.len()) };
        ensure!(len > 0, "inotify: {}", io::Error::last_os_error());
    }
    Ok(())
}

/// Waits until `/etc/resolv.conf` has this text in it, and an interface each of these addresses;
/// and says what the machine's network is like.
pub(crate) fn look(text: &str, addresses: &[&str]) -> Result<()> {
    wait_for_text(Path::new("/etc/resolv.conf"), text)?;
    while !addresses
        .iter()
        .all(|one| interfaces::have(one).unwrap_or(false))
    {
        thread::yield_now();
    }
    for line in fs::read_to_string("/etc/resolv.conf")?.lines() {
        println!("resolv {line}");
    }
    let written = fs::write("/etc/resolv.conf", "nameserver 192.0.2.66\n");
    println!("resolv writable {}", written.is_ok());
    interfaces::print()?;
    for line in fs::read_to_string("/proc/net/route")?.lines().skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let address = |place: usize| -> Result<Ipv4Addr> {
            Ok(u32::from_str_radix(fields[place], 16)?.to_ne_bytes().into())
        };
        let prefix = address(7)?.to_bits().count_ones();
        println!(
            "route {}/{prefix} via {} by {}",
            address(1)?,
            address(2)?,
            fields[0]
        );
    }
    let [name, domain] = ["hostname", "domainname"]
        .map(|name| fs::read_to_string(format!("/proc/sys/kernel/{name}")));
    println!("named {} in {}", name?.trim(), domain?.trim());
    if let Ok(mtu) = fs::read_to_string("/sys/class/net/eth0/mtu") {
        println!("mtu {}", mtu.trim());
    }
    Ok(())
}

/// Says how often PID 1 was woken up in so many seconds.
pub(crate) fn count_wake_ups(text: &str, seconds: u64) -> Result<()> {
    wait_for_text(Path::new("/etc/resolv.conf"), text)?;
    let count = || -> Result<u64> {
        let status = fs::read_to_string("/proc/1/status")?;
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        Ok(line.context("no count")?.trim().parse()?)
    };
    // What the configuration has still to say is said by then.
    thread::sleep(Duration::from_secs(5));
    let before = count()?;
    thread::sleep(Duration::from_secs(seconds));
    println!("woken up {} times", count()? - before);
    Ok(())
}
