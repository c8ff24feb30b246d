//! Numbers that others do not foresee (getrandom(2)).

use rustix::rand::{GetRandomFlags, getrandom};

/// A number. It is taken from what the kernel has, also in the first moments of a machine, in which
/// it would have others wait (GRND_INSECURE): no secret may be made of it.
#[must_use]
pub fn number() -> u32 {
    let mut bytes = [0; 4];
    // Kernels before 5.6 do not know the flag; a number that is foreseen is good enough there.
    let _ = getrandom(&mut bytes, GetRandomFlags::INSECURE);
    u32::from_ne_bytes(bytes)
}
