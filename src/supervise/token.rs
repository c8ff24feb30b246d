//! What a descriptor that epoll watches is for.

use super::workers::WORKERS_MAX;
use crate::container::BUNDLES_MAX;
use crate::events::Stream;

/// What is watched. A container is named by the index of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The signals of PID 1.
    Signals,
    /// The uevent socket.
    Uevents,
    /// The event device, for room.
    EventDevice,
    /// The console, for room.
    Console,
    /// The answers of the `berth` that starts a container or clears it away.
    Answers(usize),
    /// What a container prints.
    Output(usize, Stream),
    /// The kernel's log.
    KernelLog,
    /// The events of ACPI.
    PowerButton,
    /// The answers of a run of `berth` that is of no container.
    Worker(usize),
    /// What the machine's root asks of PID 1.
    Requests,
    /// The socket of the control.
    Listener,
    /// The virtio port of the control.
    ControlPort,
    /// The client that has asked for a freeze: its end is watched.
    FreezeClient,
}

/// The kind is in the upper half of the number, the index in the lower.
const INDEX_BITS: u32 = u32::BITS;

const _: () = assert!(BUNDLES_MAX <= u32::MAX as usize);

impl Token {
    /// The number that epoll keeps with the descriptor.
    pub(super) const fn encode(self) -> u64 {
        let (kind, index) = match self {
            Self::Signals => (0, 0),
            Self::Uevents => (1, 0),
            Self::EventDevice => (2, 0),
            Self::Console => (3, 0),
            Self::Answers(index) => (4, index),
            Self::Output(index, Stream::Stdout) => (5, index),
            Self::Output(index, Stream::Stderr) => (6, index),
            Self::PowerButton => (7, 0),
            Self::Worker(place) => (8, place),
            Self::Requests => (9, 0),
            Self::Listener => (10, 0),
            Self::ControlPort => (11, 0),
            Self::KernelLog => (12, 0),
            Self::FreezeClient => (13, 0),
        };
        kind << INDEX_BITS | index as u64
    }

    /// The token that `number` stands for; `None` for a number that none has.
    pub(super) const fn decode(number: u64) -> Option<Self> {
        let index = (number & u32::MAX as u64) as usize;
        let is_slot = index < BUNDLES_MAX;
        Some(match (number >> INDEX_BITS, index) {
            (0, 0) => Self::Signals,
            (1, 0) => Self::Uevents,
            (2, 0) => Self::EventDevice,
            (3, 0) => Self::Console,
            (4, _) if is_slot => Self::Answers(index),
            (5, _) if is_slot => Self::Output(index, Stream::Stdout),
            (6, _) if is_slot => Self::Output(index, Stream::Stderr),
            (7, 0) => Self::PowerButton,
            (8, place) if place < WORKERS_MAX => Self::Worker(place),
            (9, 0) => Self::Requests,
            (10, 0) => Self::Listener,
            (11, 0) => Self::ControlPort,
            (12, 0) => Self::KernelLog,
            (13, 0) => Self::FreezeClient,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Token> {
        let slots = (0..BUNDLES_MAX).flat_map(|index| {
            [
                Token::Answers(index),
                Token::Output(index, Stream::Stdout),
                Token::Output(index, Stream::Stderr),
            ]
        });
        let single = [
            Token::Signals,
            Token::Uevents,
            Token::EventDevice,
            Token::Console,
            Token::PowerButton,
            Token::Requests,
            Token::Listener,
            Token::ControlPort,
            Token::KernelLog,
            Token::FreezeClient,
        ];
        let workers = (0..WORKERS_MAX).map(Token::Worker);
        single.into_iter().chain(slots).chain(workers).collect()
    }

    #[test]
    fn every_token_survives_the_kernel_and_has_a_number_of_its_own() {
        let tokens = all();
        let numbers: std::collections::BTreeSet<_> =
            tokens.iter().map(|token| token.encode()).collect();
        assert_eq!(numbers.len(), tokens.len());
        for token in tokens {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
    }

    #[test]
    fn a_number_that_no_token_has_stands_for_none() {
        let last = Token::Answers(BUNDLES_MAX - 1).encode();
        for number in [1, last + 1, u64::MAX, 3 << INDEX_BITS | 1, 99 << INDEX_BITS] {
            assert_eq!(Token::decode(number), None, "{number:#x}");
        }
    }
}
