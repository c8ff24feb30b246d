//! From the numbers of version 1, in which the specification speaks, to those of version 2.

/// Fixed-point numbers have as many bits behind the point.
const POINT: u32 = 40;
const ONE: u64 = 1 << POINT;

/// log2(10) and ln(2).
const LOG2_10: u64 = 3_652_498_566_964;
const LN_2: u64 = 762_123_384_786;

/// `cpu.weight`, 1 to 10000, for `cpu.shares`, 2 to 262144; what lies outside is as good as the
/// nearest of these.
///
/// The curve through both ends and both defaults (1024 is 100), as runc draws it since 1.3.2 and
/// crun since 1.23: ⌈10^((l² + 125 l) / 612 − 7/34)⌉ with l = log2(shares).
#[expect(
    clippy::arithmetic_side_effects,
    reason = "18 is the largest logarithm, 4 the largest exponent of 10: every number is below 2^52, every product below 2^128"
)]
pub(super) fn cpu_weight(shares: u64) -> u64 {
    let l = log2(shares.clamp(2, 1 << 18));
    let exponent = (multiply(l, l) + 125 * l - 126 * ONE) / 612;
    let exponent = multiply(exponent, LOG2_10);
    let power = exp2(exponent % ONE) << (exponent / ONE);
    // The digits that are cut off must not round the value up to a whole.
    (power - power / (1 << 34)).div_ceil(ONE)
}

/// `io.weight`, 1 to 10000, for `blkio.weight`, 10 to 1000: a straight line, as runc and crun draw
/// it.
pub(super) fn io_weight(weight: u64) -> u64 {
    let above = weight.saturating_sub(10).saturating_mul(9999);
    (above / 990).saturating_add(1)
}

fn multiply(a: u64, b: u64) -> u64 {
    (u128::from(a).saturating_mul(u128::from(b)) >> POINT) as u64
}

/// The logarithm, bit by bit: squaring a number doubles its logarithm.
#[expect(clippy::arithmetic_side_effects, reason = "as above")]
fn log2(number: u64) -> u64 {
    let whole = number.ilog2();
    // From 1 to 2, with 62 bits behind the point.
    let mut rest = number << (62 - whole);
    let mut logarithm = u64::from(whole);
    for _ in 0..POINT {
        let square = (u128::from(rest) * u128::from(rest)) >> 62;
        let is_two = square >> 63;
        rest = (square >> is_two) as u64;
        logarithm = logarithm << 1 | is_two as u64;
    }
    logarithm
}

/// 2^x for x from 0 to 1, as the sum of x^n / n!.
#[expect(clippy::arithmetic_side_effects, reason = "as above")]
fn exp2(x: u64) -> u64 {
    let x = multiply(x, LN_2);
    let mut term = ONE;
    let mut sum = ONE;
    for n in 1..16 {
        term = multiply(term, x) / n;
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_shares_has_the_weight_of_the_formula() {
        for shares in 2..=262_144u32 {
            let l = f64::from(shares).log2();
            let expected = 10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil();
            assert_eq!(cpu_weight(shares.into()), expected as u64, "{shares}");
        }
    }

    #[test]
    fn ends_and_defaults_of_both_versions_meet() {
        for (shares, weight) in [
            (1, 1),
            (2, 1),
            (1024, 100),
            (2000, 170),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(cpu_weight(shares), weight);
        }
        for (weight, expected) in [(10, 1), (500, 4950), (1000, 10_000)] {
            assert_eq!(io_weight(weight), expected);
        }
    }
}
