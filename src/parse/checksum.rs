//! The two checksums that formats on disks carry, as the kernel's functions of these names have them: no final inversion
//! (lib/crc32.c). A format that wants one inverts the result.

/// CRC-32 with Castagnoli's polynomial, continued from `crc`: ext4, xfs, btrfs, erofs.
#[must_use]
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    continued(0x82f6_3b78, crc, bytes)
}

/// CRC-32 with IEEE 802.3's polynomial, continued from `crc`: GPT, f2fs.
#[must_use]
pub fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    continued(0xedb8_8320, crc, bytes)
}

/// A block is summed up once in a boot, so this is small rather than fast.
fn continued(polynomial: u32, crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let carry = if crc & 1 == 1 { polynomial } else { 0 };
            (crc >> 1) ^ carry
        })
    })
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
