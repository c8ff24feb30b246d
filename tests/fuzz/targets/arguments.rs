//! The words of a command, one a line: they are understood by its own tables, or refused by name.
//! And `/proc/<pid>/stat`.
#![no_main]

use berth::command::{GLOBAL, SUBCOMMANDS};
use berth::parse::arguments::Given;
use berth::parse::stat::Stat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Stat::parse(text.as_bytes());
    for command in SUBCOMMANDS {
        let mut given = Given::default();
        let sets = [GLOBAL, command.options];
        match given.read(&mut text.lines(), &sets, command.raw_from) {
            Ok(()) => {
                assert!(given.operands.iter().all(|word| text.contains(word)));
                for option in command.options {
                    let value = given.value(option);
                    assert_eq!(given.has(option), value.is_some());
                    assert!(value.is_none_or(|value| text.contains(value)));
                }
            }
            Err(error) => assert!(!error.to_string().contains(char::is_control)),
        }
    }
});
