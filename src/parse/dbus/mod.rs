//! D-Bus messages, as far as systemd is asked by them (D-Bus Specification, "Message Protocol";
//! org.freedesktop.systemd1(5)).
//!
//! Messages are written into room of a fixed size ([`mod@write`]), and are read where they lie
//! ([`read`]); both know the byte order of this machine alone, little endian, in which a bus hands
//! on what programs of the same machine send. [`address`] is how a bus is found, [`variant`] the
//! text form of a value that annotations have.

pub mod address;
pub mod read;
pub mod variant;
pub mod write;

/// The peer's name on the bus.
pub const SYSTEMD: &str = "org.freedesktop.systemd1";
/// The bus itself.
pub const BUS: &str = "org.freedesktop.DBus";

/// The kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A call of a method.
    Call = 1,
    /// What a method returned.
    Return = 2,
    /// Why a method failed.
    Error = 3,
    /// What nobody asked for.
    Signal = 4,
}

/// The fields of a header, by their codes.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;

/// The first byte of a message says in which order the others are.
const LITTLE_ENDIAN: u8 = b'l';

/// The version of the protocol.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests;
