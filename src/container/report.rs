//! How the set-up of a container reports its failure.
//!
//! The set-up runs in the new process, inside its namespaces, where it reaches no log. It writes
//! one [`Fault`] into a pipe that is closed by execve(2). The caller reads the fault, or the end of
//! the file: then the program runs, or the process ended without a report, which the kernel knows
//! ([`has_ended_without_a_program`]).
//!
//! [`has_ended_without_a_program`]: crate::sys::process::has_ended_without_a_program

use core::mem::size_of;

use rustix::io::Errno;

use crate::cause::Cause;
use crate::error::{Fault, Op, SUBJECT_MAX, WORDS_MAX};
use crate::text::Text;

/// The operation, the cause, the error number, the length of the subject. The subject and the
/// kernel's words follow.
const HEADER: usize = 2 + size_of::<i32>() + size_of::<u16>();

/// The largest report, in bytes: less than PIPE_BUF, so that it is written whole or not at all
/// (pipe(7)).
pub(super) const REPORT_MAX: usize = HEADER + SUBJECT_MAX + WORDS_MAX;

/// A fault as bytes.
pub(super) fn encode(fault: &Fault) -> heapless::Vec<u8, REPORT_MAX> {
    let mut report = heapless::Vec::new();
    // The capacity is the sum of the parts.
    let _ = report.extend_from_slice(&[fault.op as u8, fault.cause as u8]);
    let _ = report.extend_from_slice(&fault.errno.raw_os_error().to_ne_bytes());
    let [subject, words] = [fault.subject.as_str(), fault.words.as_str()];
    let _ = report.extend_from_slice(&(subject.len() as u16).to_ne_bytes());
    let _ = report.extend_from_slice(subject.as_bytes());
    let _ = report.extend_from_slice(words.as_bytes());
    report
}

/// The fault that `report` holds; `None` if it is none.
pub(super) fn decode(report: &[u8]) -> Option<Fault> {
    let ([op, cause], rest) = report.split_first_chunk()?;
    let (errno, rest) = rest.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let (subject, words) = rest.split_at_checked(u16::from_ne_bytes(*len).into())?;
    Some(Fault {
        op: *Op::ALL.get(usize::from(*op))?,
        cause: *Cause::ALL.get(usize::from(*cause))?,
        subject: Text::from_bytes(subject),
        errno: Errno::from_raw_os_error(i32::from_ne_bytes(*errno)),
        words: Text::from_bytes(words),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_the_pipe() {
        for op in Op::ALL {
            for cause in Cause::ALL {
                let mut fault = Fault::new(*op, &"/proc in /containers/web", Errno::PERM);
                fault.quote("proc: Unknown parameter 'x'", *cause);
                assert_eq!(decode(&encode(&fault)), Some(fault));
            }
        }
    }

    #[test]
    fn the_longest_subject_and_the_longest_words_fit() {
        let mut fault = Fault::new(Op::Mount, &"x".repeat(2 * SUBJECT_MAX), Errno::INVAL);
        fault.quote(&"y".repeat(2 * WORDS_MAX), Cause::Unknown);
        assert_eq!(decode(&encode(&fault)), Some(fault));
    }

    #[test]
    fn what_is_no_report_is_not_taken_for_one() {
        assert_eq!(decode(b""), None);
        assert_eq!(decode(&[0, 1, 2]), None);
        assert_eq!(decode(&[255, 0, 1, 0, 0, 0, 0, 0]), None);
        assert_eq!(decode(&[0, 255, 1, 0, 0, 0, 0, 0]), None);
        // A subject that is longer than what was sent.
        assert_eq!(decode(&[0, 0, 1, 0, 0, 0, 1, 0]), None);
    }
}
