//! Addresses of buses (D-Bus Specification, "Server Addresses"):
//! `unix:path=/run/dbus/system_bus_socket`, several with `;` between them.

use heapless::Vec;

/// Bytes that the name of a socket has at most (unix(7)).
pub const NAME_MAX: usize = 108;

/// The name of a socket as bind(2) takes it: a path, or a zero and a name that is in no filesystem.
pub type SocketName = Vec<u8, NAME_MAX>;

/// The sockets of `address`, in order; others than those of unix(7) are left out.
pub fn sockets(address: &str) -> impl Iterator<Item = SocketName> {
    address.split(';').filter_map(socket)
}

fn socket(address: &str) -> Option<SocketName> {
    let pairs = address.strip_prefix("unix:")?;
    pairs.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let mut name = SocketName::new();
        match key {
            "path" => {}
            "abstract" => name.push(0).ok()?,
            _ => return None,
        }
        let mut bytes = value.bytes();
        while let Some(byte) = bytes.next() {
            let byte = match byte {
                b'%' => {
                    let [high, low] = [bytes.next()?, bytes.next()?].map(digit);
                    high?.checked_mul(16)?.checked_add(low?)?
                }
                byte => byte,
            };
            if byte == 0 {
                return None;
            }
            name.push(byte).ok()?;
        }
        (!value.is_empty()).then_some(name)
    })
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}
