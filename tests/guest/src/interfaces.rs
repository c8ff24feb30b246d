//! Network interfaces: what a container sees of them, and taps that a host has for it.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_short};
use std::fs::OpenOptions;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::{io, ptr};

use anyhow::{Context, Result, ensure};

/// `struct ifreq` (netdevice(7)).
#[repr(C)]
struct Request {
    name: [c_char; libc::IFNAMSIZ],
    value: [u8; 24],
}

/// `struct in6_ifreq` (`<linux/ipv6.h>`).
#[repr(C)]
struct Request6 {
    address: [u8; 16],
    prefix: u32,
    index: c_int,
}

fn request(name: &str) -> Request {
    let mut request = Request {
        name: [0; libc::IFNAMSIZ],
        value: [0; 24],
    };
    for (to, from) in request.name.iter_mut().zip(name.bytes()) {
        *to = from as c_char;
    }
    request
}

fn done(result: c_int, what: &str) -> Result<()> {
    ensure!(result >= 0, "{what}: {}", io::Error::last_os_error());
    Ok(())
}

fn socket(family: c_int) -> Result<OwnedFd> {
    // SAFETY: socket(2) takes numbers.
    let socket = unsafe { libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    done(socket, "socket")?;
    // SAFETY: it is a new descriptor of this program's.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// Has the tap of this name, made if it is not there, stay without a program that has it open, or
/// not (tun.rst).
fn set_tap(name: &str, stays: bool) -> Result<()> {
    const IFF_TAP_NO_PI: u16 = 0x1002;
    /// `_IOW('T', 202, int)` and `_IOW('T', 203, int)`.
    const TUNSETIFF: u64 = 0x4004_54ca;
    const TUNSETPERSIST: u64 = 0x4004_54cb;
    let tun = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun");
    let tun = tun.context("/dev/net/tun")?;
    let mut ask = request(name);
    ask.value[..2].copy_from_slice(&IFF_TAP_NO_PI.to_ne_bytes());
    // SAFETY: TUNSETIFF takes a `struct ifreq`, TUNSETPERSIST a number.
    unsafe {
        done(
            libc::ioctl(tun.as_raw_fd(), TUNSETIFF as _, &raw mut ask),
            "TUNSETIFF",
        )?;
        done(
            libc::ioctl(tun.as_raw_fd(), TUNSETPERSIST as _, c_int::from(stays)),
            "TUNSETPERSIST",
        )
    }
}

/// Gives an interface an address in a network of 256.
pub(crate) fn set_address(name: &str, v4: Ipv4Addr) -> Result<()> {
    let set = |command: libc::c_ulong, address: Ipv4Addr| {
        let mut ask = request(name);
        ask.value[..2].copy_from_slice(&(libc::AF_INET as c_short).to_ne_bytes());
        ask.value[4..8].copy_from_slice(&address.octets());
        let socket = socket(libc::AF_INET)?;
        // SAFETY: both commands take a `struct ifreq` with a `struct sockaddr_in`.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), command as _, &raw mut ask) };
        done(result, "SIOCSIFADDR")
    };
    set(libc::SIOCSIFADDR as _, v4)?;
    set(libc::SIOCSIFNETMASK as _, Ipv4Addr::new(255, 255, 255, 0))
}

/// Makes a tap that stays, with these addresses; another of this name is given up.
pub(crate) fn make_tap(name: &str, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<()> {
    set_tap(name, true)?;
    set_address(name, v4)?;
    let ask = Request6 {
        address: v6.octets(),
        prefix: 64,
        index: index(name)?,
    };
    let socket = socket(libc::AF_INET6)?;
    // SAFETY: of such a socket, the command takes a `struct in6_ifreq`.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR as _, &raw const ask) };
    done(result, "SIOCSIFADDR")
}

/// The number of an interface here.
pub(crate) fn index(name: &str) -> Result<c_int> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    // SAFETY: the name ends with NUL.
    let index = unsafe { libc::if_nametoindex(bytes.as_ptr().cast()) };
    ensure!(index != 0, "there is no {name}");
    Ok(index as c_int)
}

/// Makes an interface that [`make_tap`] has made go, if it is still here.
pub(crate) fn remove_tap(name: &str) -> Result<()> {
    match index(name) {
        Ok(_) => set_tap(name, false),
        Err(_) => Ok(()),
    }
}

/// Prints each interface but `lo`: whether it is up, and its addresses but those of the link,
/// `inside up 192.0.2.7/24`.
pub(crate) fn print() -> Result<()> {
    for (name, (is_up, addresses)) in all()? {
        println!(
            "{name} {} {}",
            if is_up { "up" } else { "down" },
            addresses.join(" ")
        );
    }
    Ok(())
}

/// Whether an interface has this address.
pub(crate) fn have(address: &str) -> Result<bool> {
    let all = all()?;
    let mut addresses = all.values().flat_map(|(_, addresses)| addresses);
    Ok(addresses.any(|one| one == address))
}

/// Each interface but `lo`.
fn all() -> Result<BTreeMap<String, (bool, Vec<String>)>> {
    let mut first = ptr::null_mut();
    // SAFETY: getifaddrs(3) makes a list and puts its start there.
    done(unsafe { libc::getifaddrs(&raw mut first) }, "getifaddrs")?;
    let mut found = BTreeMap::<String, (bool, Vec<String>)>::new();
    let mut next = first;
    // SAFETY: the list's items are valid until it is freed, below; so are what they point
    // to.
    while let Some(item) = unsafe { next.as_ref() } {
        next = item.ifa_next;
        // SAFETY: as above.
        let name = unsafe { CStr::from_ptr(item.ifa_name) }
            .to_str()?
            .to_owned();
        let entry = found.entry(name).or_default();
        entry.0 = item.ifa_flags & libc::IFF_UP as u32 != 0;
        let address = |address: *mut libc::sockaddr| {
            // SAFETY: as above; its family says which kind it is.
            match unsafe { address.as_ref() }.map(|address| c_int::from(address.sa_family)) {
                Some(libc::AF_INET) => {
                    // SAFETY: as above.
                    let four = unsafe { &*address.cast::<libc::sockaddr_in>() };
                    Some(IpAddr::from(four.sin_addr.s_addr.to_ne_bytes()))
                }
                Some(libc::AF_INET6) => {
                    // SAFETY: as above.
                    let six = unsafe { &*address.cast::<libc::sockaddr_in6>() };
                    Some(IpAddr::from(six.sin6_addr.s6_addr))
                }
                _ => None,
            }
        };
        let (Some(ip), Some(mask)) = (address(item.ifa_addr), address(item.ifa_netmask)) else {
            continue;
        };
        let ones = match mask {
            IpAddr::V4(mask) => mask.to_bits().count_ones(),
            IpAddr::V6(mask) => mask.to_bits().count_ones(),
        };
        if !matches!(ip, IpAddr::V6(six) if six.is_unicast_link_local()) {
            entry.1.push(format!("{ip}/{ones}"));
        }
    }
    // SAFETY: nobody looks at it any more.
    unsafe { libc::freeifaddrs(first) };
    found.remove("lo");
    Ok(found)
}
