//! Figures repeat, or they are none.

use anyhow::{Result, ensure};

/// How often each is measured.
const RUNS: usize = 5;

/// How far the figures may be apart, as a part of the least.
const SPREAD: f64 = 0.01;

/// Measures several times and returns the least: a host that is busy with other things can only add. Most of the figures
/// must be close to it.
pub(crate) fn least(name: &str, mut measure: impl FnMut() -> Result<u64>) -> Result<u64> {
    let mut counts = (0..RUNS).map(|_| measure()).collect::<Result<Vec<_>>>()?;
    counts.sort_unstable();
    println!("{name}: {counts:?} instructions");
    let (least, median) = (counts[0] as f64, counts[RUNS / 2] as f64);
    ensure!(
        median <= least * (1.0 + SPREAD),
        "{name} does not repeat to within {SPREAD}"
    );
    Ok(counts[0])
}
