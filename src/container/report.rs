//! How a container's set-up tells PID 1 that it failed.
//!
//! The set-up runs in the new process, inside its namespaces, where no log can be reached any more. It writes one
//! [`Fault`] into a pipe that closes on exec: what PID 1 reads is either the fault or the end of the file. Then the
//! program runs; or the process ended without a word, which the kernel knows ([`has_ended_without_a_program`]).
//!
//! [`has_ended_without_a_program`]: crate::sys::process::has_ended_without_a_program

use core::mem::size_of;

use rustix::io::Errno;

use crate::error::{Fault, Op, SUBJECT_MAX};
use crate::text::Text;

/// The operation, the error number, the subject.
const HEADER: usize = 1 + size_of::<i32>();

/// The largest report, in bytes: less than PIPE_BUF, so that it is written whole or not at all (pipe(7)).
pub const REPORT_MAX: usize = HEADER + SUBJECT_MAX;

/// A fault as bytes.
pub fn encode(fault: &Fault) -> heapless::Vec<u8, REPORT_MAX> {
    let mut report = heapless::Vec::new();
    // The capacity is the sum of the parts.
    let _ = report.push(fault.op as u8);
    let _ = report.extend_from_slice(&fault.errno.raw_os_error().to_ne_bytes());
    let _ = report.extend_from_slice(fault.subject.as_str().as_bytes());
    report
}

/// The fault that `report` holds; `None` if it is none.
pub fn decode(report: &[u8]) -> Option<Fault> {
    let (op, rest) = report.split_first()?;
    let (errno, subject) = rest.split_first_chunk()?;
    Some(Fault {
        op: *Op::ALL.get(usize::from(*op))?,
        subject: Text::from_bytes(subject),
        errno: Errno::from_raw_os_error(i32::from_ne_bytes(*errno)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_the_pipe() {
        for op in Op::ALL {
            let fault = Fault {
                op: *op,
                subject: Text::new("/proc in /containers/web"),
                errno: Errno::PERM,
            };
            assert_eq!(decode(&encode(&fault)), Some(fault));
        }
    }

    #[test]
    fn the_longest_subject_fits() {
        let subject = Text::new("x".repeat(2 * SUBJECT_MAX));
        let fault = Fault {
            op: Op::Mount,
            subject,
            errno: Errno::INVAL,
        };
        assert_eq!(decode(&encode(&fault)), Some(fault));
    }

    #[test]
    fn what_is_no_report_is_not_taken_for_one() {
        assert_eq!(decode(b""), None);
        assert_eq!(decode(&[0, 1, 2]), None);
        assert_eq!(decode(&[255, 1, 0, 0, 0]), None);
    }
}
