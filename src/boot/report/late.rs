//! A root device that comes after the deadline. The machine still waits for it until it reboots,
//! because "it takes 13 seconds" is the whole answer to "root not found".

use core::time::Duration;

use crate::boot::Machine;
use crate::boot::root::{Search, sleep_until};
use crate::error::Stage;
use crate::parse::device::DeviceRef;
use crate::sys::clock::{self, Moment};
use crate::sys::kmsg;

/// Waits until `until`, or for ever, and says when the device of `root=` appears.
pub(in crate::boot) fn watch(machine: &mut Machine, until: Option<Moment>) {
    let request = machine.root_request;
    let Ok(wanted) = DeviceRef::parse(request.root.as_str()) else {
        return;
    };
    let gave_up = clock::now();
    if let Ok(mut search) = Search::new(wanted)
        && let Ok(Some(device)) = search.wait_after_failure(machine, until)
    {
        let late = Duration::from_micros(clock::now() - gave_up)
            .as_secs()
            .saturating_add(1);
        let waited = request.rootwait.unwrap_or_default().as_secs();
        kmsg::error(
            Stage::Root,
            format_args!(
                "{} has appeared, less than {late} s after the deadline: boot with rootwait={}",
                device.node,
                enough(waited.saturating_add(late)),
            ),
        );
    }
    // Without `until`, the caller waits for ever.
    if let Some(until) = until {
        sleep_until(until);
    }
}

/// What to wait at most if it took `seconds` once: half as much again, as a round number.
fn enough(seconds: u64) -> u64 {
    seconds.saturating_add(seconds / 2).next_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::enough;

    #[test]
    fn enough_is_more_than_it_took() {
        for (took, proposed) in [(1, 10), (7, 10), (13, 20), (20, 30), (60, 90)] {
            assert_eq!(enough(took), proposed);
        }
    }
}
