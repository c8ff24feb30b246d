//! Figures repeat, or they are none.

use anyhow::{Result, ensure};

/// How often each is measured.
const RUNS: usize = 5;

/// How far the figures of a boot may be apart, as a part of the least.
pub(crate) const OF_A_BOOT: f64 = 0.01;

/// Those of a container's start: it is short, and one of the kernel's own threads that wakes up in
/// it, or does not, is a percent or two.
pub(crate) const OF_A_CONTAINER: f64 = 0.03;

/// Measures several times and returns the least: a host that is busy with other things can only
/// add. Most of the figures must be close to it: not more than `spread` above.
pub(crate) fn least(
    name: &str,
    spread: f64,
    mut measure: impl FnMut() -> Result<u64>,
) -> Result<u64> {
    let mut counts = (0..RUNS).map(|_| measure()).collect::<Result<Vec<_>>>()?;
    counts.sort_unstable();
    println!("{name}: {counts:?} instructions");
    let (least, median) = (counts[0] as f64, counts[RUNS / 2] as f64);
    ensure!(
        median <= least * (1.0 + spread),
        "{name} does not repeat to within {spread}"
    );
    Ok(counts[0])
}
