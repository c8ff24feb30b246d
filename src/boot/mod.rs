//! What happens from the first instruction to the supervisor, in order: one stage a file.
//!
//! A stage is a method that consumes what the stage before it returned, so that they cannot be
//! called in another order:
//!
//! ```compile_fail
//! # use berth::boot::{Loaded, Machine};
//! # use berth::plan::Plan;
//! fn skips_the_search<'m>(loaded: Loaded<'m>, plan: &Plan<'_>) {
//!     let _ = loaded.mount_root(plan); // no such method: `find_root` comes first
//! }
//! ```
//!
//! or twice:
//!
//! ```compile_fail
//! # use berth::boot::Found;
//! # use berth::plan::Plan;
//! fn mounts_twice(found: Found<'_>, plan: &Plan<'_>) {
//!     let _ = found.mount_root(plan);
//!     let _ = found.mount_root(plan); // use of moved value
//! }
//! ```
//!
//! while the right order does:
//!
//! ```
//! # use berth::boot::{Loaded, Switched};
//! # use berth::error::Error;
//! # use berth::plan::Plan;
//! fn in_order<'m>(loaded: Loaded<'m>, plan: &Plan<'_>) -> Result<Switched<'m>, Error> {
//!     loaded.find_root(plan)?.mount_root(plan)?.switch_root(plan)
//! }
//! ```

/// Where the writable layer of `berth.overlay=` is mounted.
pub(crate) const UPPER_LAYER: &str = "/run/berth-boot/upper";

mod berth;
mod devices;
mod early;
pub mod failure;
mod failure_policy;
mod handover;
mod holders;
mod journal;
mod machine;
mod modules;
pub(crate) mod patience;
mod report;
mod root;
mod shell;
mod switch;
pub(crate) mod unmount;

pub(crate) use devices::Change;
pub use early::{CommandLine, Early, Pid1};
pub(crate) use journal::{Journal, Millis};
pub use machine::Machine;
pub use modules::Loaded;
pub use root::{Found, Rooted};
pub use switch::Switched;
