//! Failures on purpose: a machine is set up so that its boot must fail in one way, and is held to
//! the report.
//!
//! A report has to name the code and say what is wrong, on the console and, where the event port
//! can be reached at all, in the event stream; then the machine does what `berth.on_failure=` asks
//! for and its status is 125.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use berth_qemu::vm::{Builder, Ended, Outcome, Vm, What};
use berth_tests::{Lab, field};

/// The status of a boot that failed.
pub(crate) const OWN_FAILURE: i32 = 125;

/// Where a report can be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// On the console and in the event stream.
    Everywhere,
    /// On the console. What fails is what the port needs, on kernels that have its driver as a
    /// module.
    Console,
}

/// Boots the machine `name` and holds it to a failure with that code, whose text contains `text`.
/// `setup` adds what makes the boot fail, and starts it.
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
    left_in_order(&vm).with_context(|| format!("{}", outcome.log.display()))?;
    Ok(outcome)
}

/// Holds every ext4 and every FAT16 that begins at a MiB of the machine's disks to be as it is
/// after unmounting. One that was never mounted is that too.
pub(crate) fn left_in_order(vm: &Vm) -> Result<()> {
    const MIB: u64 = 1 << 20;
    for disk in vm.disks() {
        let shown = disk.display();
        let image = File::open(&disk).with_context(|| format!("open {shown}"))?;
        for place in (0..image.metadata()?.len()).step_by(MIB as usize) {
            let mut bytes = [0; 2048];
            image.read_at(&mut bytes, place)?;
            // `struct ext4_super_block`, at 1 KiB: the mark, the group that this copy is of, the
            // state, and whether the journal is to be replayed.
            let is_ext = bytes[0x438..0x43a] == [0x53, 0xef] && bytes[0x45a..0x45c] == [0, 0];
            let is_dirty = is_ext && (bytes[0x43a] & 1 == 0 || bytes[0x460] & 4 != 0);
            ensure!(
                !is_dirty,
                "the ext4 at byte {place} of {shown} was not unmounted"
            );
            // The type in the boot sector, and the dirty bit (fs/fat/inode.c, `fat_set_state`).
            let is_dirty = &bytes[0x36..0x3b] == b"FAT16" && bytes[0x25] & 1 == 1;
            ensure!(
                !is_dirty,
                "the vfat at byte {place} of {shown} was not unmounted"
            );
        }
    }
    Ok(())
}

/// Holds a machine that has ended to a failure of the boot with that code, whose text contains
/// `text`.
pub(crate) fn failed(outcome: &Outcome, code: &str, text: &str) -> Result<()> {
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let failure = outcome.events.iter().find(|event| event.is_failure(code));
    let found = failure.and_then(|event| field(event, "text"));
    let found = found.unwrap_or_default();
    ensure!(found.contains(text), "{found:?}");
    Ok(())
}

/// A table of failures: the code, who can read the report, the test's name, a part of the report,
/// and what provokes it.
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
