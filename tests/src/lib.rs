//! What the VM tests share: a [`Lab`] with a kernel and the programs under test, and [`Bundle`]s to
//! put on disks.
//!
//! A test is a function that takes a [`Lab`], boots one machine, looks at its events, and asks how
//! it ended:
//!
//! ```no_run
//! # use berth_tests::{Bundle, Lab, disk};
//! # use berth_qemu::vm::Ended;
//! fn a_container_runs(lab: &Lab) -> anyhow::Result<()> {
//!     let root = disk::vfat([Bundle::new("hello").runs(["/bin/guest", "say", "hello"])])?;
//!     let vm = lab.machine("a_container_runs")?.append("root=/dev/sda1").scsi(&root).start()?;
//!     vm.expect("hello says so", |event| berth_tests::line(event) == Some(("hello", "hello")))?;
//!     Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
//! }
//! ```

mod bundle;
pub mod disk;
mod engine_rows;
mod engines;
mod lab;
mod real;
mod seen;
mod selinux;
mod shared;
mod side_by_side;
mod systemd;

pub use bundle::Bundle;
pub use engines::{busybox, engines};
pub use lab::{Lab, MODULES, berth, guest, init};
pub use real::{QUESTIONS, REAL, Real, real_bundles};
pub use seen::{MountLine, Seen};
pub use selinux::selinux_policy;
pub use shared::Shared;
pub use side_by_side::{Engine, side_by_side};
pub use systemd::systemd;

use berth_qemu::vm::{Event, Outcome};

/// The container and the text of a line of output, if `event` is one.
pub fn line(event: &Event) -> Option<(&str, &str)> {
    let field = |name| event.raw.get(name).and_then(serde_json::Value::as_str);
    (field("event")? == "output").then_some((field("id")?, field("line")?))
}

/// The text field `name` of `event`.
pub fn field<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    event.raw.get(name).and_then(serde_json::Value::as_str)
}

/// The texts of the machine's warnings, in order.
pub fn warnings(outcome: &Outcome) -> Vec<&str> {
    let warnings = outcome
        .events
        .iter()
        .filter(|event| event.name() == "warning");
    warnings.filter_map(|event| field(event, "text")).collect()
}
