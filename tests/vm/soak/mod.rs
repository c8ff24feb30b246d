//! What takes long: months of a machine ([`months`]), and power cuts ([`cuts`]).
//!
//! `BERTH_SOAK` is the share of it that is run: 1 is all, as `make qemu-soak` has it. Without the
//! variable it is a share that takes seconds, and shows that the long run would work.

mod chart;
pub(crate) mod cuts;
pub(crate) mod months;

use std::env;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

/// What is run without the variable.
const SMALL: f64 = 1.0 / 1000.0;

/// How much of all is run.
fn share() -> Result<f64> {
    const VARIABLE: &str = "BERTH_SOAK";
    let Ok(text) = env::var(VARIABLE) else {
        return Ok(SMALL);
    };
    let share: f64 = text.parse().context(VARIABLE)?;
    ensure!(share > 0.0, "{VARIABLE}={text} is no share");
    Ok(share)
}

/// That share of a number; not nothing.
fn of(share: f64, all: u32) -> u32 {
    (f64::from(all) * share).round().max(1.0) as u32
}

/// Where figures and charts are left.
fn directory() -> Result<PathBuf> {
    let dir = berth_qemu::target_dir().join("soak");
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    Ok(dir)
}

/// Numbers that look like chance, and are the same for the same seed (xorshift64).
struct Random(u64);

impl Random {
    /// The seed: that of `BERTH_SOAK_SEED`, else another one each time.
    fn seed() -> Result<u64> {
        const VARIABLE: &str = "BERTH_SOAK_SEED";
        match env::var(VARIABLE) {
            Ok(text) => text.parse().context(VARIABLE),
            Err(_) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
                Ok(now.as_nanos() as u64 | 1)
            }
        }
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
