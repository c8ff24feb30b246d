//! The two checksums that formats on disks carry, as the kernel's functions of these names have
//! them: no final inversion (lib/crc32.c). A format that wants one inverts the result.

/// CRC-32 with Castagnoli's polynomial, continued from `crc`: ext4, xfs, btrfs, erofs.
#[must_use]
pub(super) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    const STEPS: Steps = steps(0x82f6_3b78);
    continued(&STEPS, crc, bytes)
}

/// CRC-32 with IEEE 802.3's polynomial, continued from `crc`: GPT, f2fs.
#[must_use]
pub(super) fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    const STEPS: Steps = steps(0xedb8_8320);
    continued(&STEPS, crc, bytes)
}

/// What four bits do to a checksum. A table for eight would take a kilobyte each, for the few
/// blocks that a boot sums up.
type Steps = [u32; 16];

const fn steps(polynomial: u32) -> Steps {
    const fn one(polynomial: u32, crc: u32) -> u32 {
        (crc >> 1) ^ if crc & 1 == 1 { polynomial } else { 0 }
    }
    const fn four(p: u32, bits: u32) -> u32 {
        one(p, one(p, one(p, one(p, bits))))
    }
    let p = polynomial;
    [
        four(p, 0),
        four(p, 1),
        four(p, 2),
        four(p, 3),
        four(p, 4),
        four(p, 5),
        four(p, 6),
        four(p, 7),
        four(p, 8),
        four(p, 9),
        four(p, 10),
        four(p, 11),
        four(p, 12),
        four(p, 13),
        four(p, 14),
        four(p, 15),
    ]
}

fn continued(steps: &Steps, crc: u32, bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 4) ^ steps.get(crc as usize & 15).copied().unwrap_or_default();
    bytes
        .iter()
        .fold(crc, |crc, byte| step(step(crc ^ u32::from(*byte))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_of_both_are_right() {
        assert_eq!(!crc32c(u32::MAX, b"123456789"), 0xe306_9283);
        assert_eq!(!crc32(u32::MAX, b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(crc32(u32::MAX, b"1234"), b"56789"), !0xcbf4_3926);
    }
}
