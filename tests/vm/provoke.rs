//! Failures on purpose: a machine is set up so that its boot must fail in one way, and is held to the report.
//!
//! A report has to name the code and say what is wrong, on the console and, where the event port can be reached at all, in
//! the event stream; then the machine does what `berth.on_failure=` asks for and its status is 125.

use anyhow::{Result, ensure};
use berth_qemu::vm::{Builder, Ended, Outcome, Vm, What};
use berth_tests::{Lab, field};

/// The status of a boot that failed.
pub(crate) const OWN_FAILURE: i32 = 125;

/// Where a report can be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// On the console and in the event stream.
    Everywhere,
    /// On the console. What fails is what the port needs, on kernels that have its driver as a module.
    Console,
}

/// Boots the machine `name` and holds it to a failure with that code, whose text contains `text`. `setup` adds what makes the
/// boot fail, and starts it.
pub(crate) fn provoke(
    lab: &Lab,
    name: &str,
    reader: Reader,
    code: &str,
    text: &str,
    setup: impl FnOnce(&Lab, Builder) -> Result<Vm>,
) -> Result<Outcome> {
    let vm = setup(lab, lab.machine(name)?)?;
    let outcome = vm.wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    let failures = outcome.events.iter().filter_map(|event| match &event.what {
        What::Failure { code, text, .. } => Some((code.as_str(), text.as_str())),
        _ => None,
    });
    let failures: Vec<_> = failures.collect();
    if reader == Reader::Everywhere || !failures.is_empty() {
        outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
        ensure!(
            matches!(failures[..], [(found, line)] if found == code && line.contains(text)),
            "expected {code} with {text:?} as the only failure, found {failures:#?}"
        );
    }
    let line = outcome
        .console
        .lines()
        .find(|line| line.contains(&format!("[{code}]")));
    ensure!(
        line.is_some_and(|line| line.contains(text)),
        "expected a line with {text:?} and [{code}] on the console: {}",
        outcome.log.display()
    );
    Ok(outcome)
}

/// Holds a machine that has ended to a failure of the boot with that code, whose text contains `text`.
pub(crate) fn failed(outcome: &Outcome, code: &str, text: &str) -> Result<()> {
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let failure = outcome.events.iter().find(|event| event.is_failure(code));
    let found = failure.and_then(|event| field(event, "text"));
    let found = found.unwrap_or_default();
    ensure!(found.contains(text), "{found:?}");
    Ok(())
}

/// A table of failures: the code, who can read the report, the test's name, a part of the report, and what provokes it.
macro_rules! provoked {
    ($($code:literal $reader:ident $name:ident $text:literal => $setup:expr;)*) => {
        /// The codes that the table provokes.
        pub(crate) const PROVOKED: &[&str] = &[$($code),*];

        $(fn $name(lab: &berth_tests::Lab) -> anyhow::Result<()> {
            let reader = crate::provoke::Reader::$reader;
            crate::provoke::provoke(lab, stringify!($name), reader, $code, $text, $setup).map(drop)
        })*

        /// A test for each line of the table.
        pub(crate) const TABLE: &[crate::Case] = crate::cases![$(once $name),*];
    };
}
pub(crate) use provoked;
