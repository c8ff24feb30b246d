//! What `berth` answers to PID 1: any packet is an answer that reads the same when it is written
//! again, or none.
#![no_main]

use berth::parse::answer::{ANSWER_MAX, Answer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| {
    let Some(answer) = Answer::parse(packet) else {
        return;
    };
    let mut room = [0; ANSWER_MAX];
    // A packet may be longer than any that fits.
    let Some(again) = answer.encode(&mut room) else {
        return assert!(packet.len() > ANSWER_MAX);
    };
    assert_eq!(Answer::parse(again), Some(answer));
});
