//! The order of block devices: by their names, as the kernel gives them.
//!
//! sysfs lists devices in no order that could be relied on. The kernel counts disks in letters
//! (`sda`, …, `sdz`, `sdaa`) or in numbers (`nvme0n1`), and partitions in numbers.

use core::cmp::Ordering;

/// Which of two names comes first: the disk with the lower letters or numbers, then the disk before
/// its partitions, then the partition with the lower number.
#[must_use]
pub fn device_order(mut a: &str, mut b: &str) -> Ordering {
    loop {
        let (x, y) = (run(&mut a), run(&mut b));
        // Of two numbers, and of two rows of letters, the longer one is the higher.
        let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
        if order.is_ne() || x.is_empty() {
            return order;
        }
    }
}

/// Takes the digits, or what is none, that `rest` begins with.
fn run<'a>(rest: &mut &'a str) -> &'a str {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let bytes = rest.as_bytes();
    let starts_with_digit = bytes.first().is_some_and(is_digit);
    let ends = |byte: &u8| is_digit(byte) != starts_with_digit;
    let len = bytes.iter().position(ends).unwrap_or(bytes.len());
    let (run, behind) = rest.split_at_checked(len).unwrap_or((rest, ""));
    *rest = behind;
    run
}

#[cfg(test)]
mod tests {
    use super::device_order;

    #[test]
    fn disks_and_partitions_come_as_the_kernel_counts_them() {
        let disks = [
            "sda", "sda1", "sda2", "sda10", "sdb", "sdb1", "sdz1", "sdaa", "sdaa1", "sdab",
        ];
        let numbered = [
            "nvme0n1",
            "nvme0n1p2",
            "nvme0n1p10",
            "nvme0n2",
            "nvme1n1",
            "nvme10n1",
            "mmcblk0",
            "mmcblk0p1",
            "mmcblk1",
        ];
        for in_order in [&disks[..], &numbered[..]] {
            for (place, a) in in_order.iter().enumerate() {
                for (other, b) in in_order.iter().enumerate() {
                    assert_eq!(device_order(a, b), place.cmp(&other), "{a} {b}");
                }
            }
        }
    }
}
