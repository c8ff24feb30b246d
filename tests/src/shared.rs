//! One boot for several tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Result, anyhow};
use berth_qemu::vm::Outcome;

use crate::Lab;

type Once = Arc<OnceLock<Result<Arc<Outcome>, String>>>;

/// A machine that is booted once on each kernel, by the first test that asks for its outcome;
/// others wait for that.
pub struct Shared {
    boot: fn(&Lab) -> Result<Outcome>,
    outcomes: Mutex<BTreeMap<String, Once>>,
}

impl Shared {
    /// The machine that `boot` starts and follows to its end.
    pub const fn new(boot: fn(&Lab) -> Result<Outcome>) -> Self {
        Self {
            boot,
            outcomes: Mutex::new(BTreeMap::new()),
        }
    }

    /// How it ended.
    ///
    /// # Errors
    /// What went wrong with the boot: the same for every test.
    pub fn outcome(&self, lab: &Lab) -> Result<Arc<Outcome>> {
        let once = {
            let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(outcomes.entry(lab.kernel.name.clone()).or_default())
        };
        let outcome = once.get_or_init(|| {
            (self.boot)(lab)
                .map(Arc::new)
                .map_err(|error| format!("{error:#}"))
        });
        outcome.clone().map_err(|error| anyhow!(error))
    }
}
