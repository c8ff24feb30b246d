//! What clients of the control send, and what `berth` and PID 1 send each other for them.

#![no_main]

use berth::parse::base64::{Base64, decode};
use berth::parse::control::{Message, What};
use berth::parse::log::Line;
use berth::parse::request::{REPLY_MAX, REQUEST_MAX, Reply, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::parse(bytes)
        && let What::Run(run) = message.what
    {
        let mut count = 0;
        let _ = message.words(&run, &mut |word| {
            let _ = word.to_string();
            count += 1;
            count < 512
        });
    }
    if let Some(request) = Request::parse(bytes) {
        let mut room = [0; REQUEST_MAX];
        assert_eq!(request.encode(&mut room), Some(bytes));
    }
    if let Some(reply) = Reply::parse(bytes) {
        let mut room = [0; REPLY_MAX];
        let packet = reply.encode(&mut room).expect("it fits where it came from");
        assert_eq!(Reply::parse(packet), Some(reply));
    }
    let _ = Line::parse(bytes);
    let text = Base64(bytes).to_string();
    let mut room = vec![0; bytes.len()];
    assert_eq!(decode(&text, &mut room), Some(bytes));
    if let Ok(text) = core::str::from_utf8(bytes) {
        let mut room = vec![0; bytes.len()];
        if let Some(decoded) = decode(text, &mut room) {
            assert_eq!(Base64(decoded).to_string(), text);
        }
    }
});
