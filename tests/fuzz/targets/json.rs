//! JSON: what we take, serde_json takes and reads the same; what is not JSON for us, is not for it.
#![no_main]

use berth::parse::json::{JsonFault, Node, Value, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let theirs: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
    match check(bytes) {
        Ok(value) => same(value, &theirs.unwrap()),
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control));
            let ours_alone = matches!(
                error.fault,
                JsonFault::TooDeep | JsonFault::Duplicate(_) | JsonFault::TooManyKeys
            );
            assert!(ours_alone || theirs.is_err(), "{error}");
        }
    }
});

fn same(ours: Value<'_>, theirs: &serde_json::Value) {
    use serde_json::Value as Theirs;
    match (ours.node(), theirs) {
        (Node::Null, Theirs::Null) | (Node::Number(_), Theirs::Number(_)) => {}
        (Node::Bool(a), Theirs::Bool(b)) => assert_eq!(a, *b),
        (Node::String(a), Theirs::String(b)) => assert!(a.is(b)),
        (Node::Array(a), Theirs::Array(b)) => {
            assert_eq!(a.clone().count(), b.len());
            a.zip(b).for_each(|(a, b)| same(a, b));
        }
        (Node::Object(a), Theirs::Object(b)) => {
            assert_eq!(a.clone().count(), b.len());
            a.for_each(|(key, a)| same(a, &b[&key.chars().collect::<String>()]));
        }
        (a, b) => panic!("{a:?} is not {b}"),
    }
}
