//! A seccomp profile: any rules give a program that the kernel takes and that says what a plain
//! reading of them says, or none; any text is read or refused.
#![no_main]

use berth::parse::config::Config;
use berth::parse::seccomp::{ARCHITECTURE, Instruction, MAX_INSTRUCTIONS, Refused, compile};
use libfuzzer_sys::fuzz_target;

#[path = "../../../src/parse/seccomp/model.rs"]
mod model;

use model::{ACTIONS, Action, Call, Compared, OPERATORS, Profile, Rule, assert_valid, run};

/// Calls of x86_64, some of them neighbours.
const CALLS: [(&str, Option<u32>); 12] = [
    ("read", Some(0)),
    ("write", Some(1)),
    ("open", Some(2)),
    ("close", Some(3)),
    ("sendmsg", Some(46)),
    ("execve", Some(59)),
    ("personality", Some(135)),
    ("prlimit64", Some(302)),
    ("clone3", Some(435)),
    ("faccessat2", Some(439)),
    ("file_setattr", Some(469)),
    ("no_such_call", None),
];

type Number = (u8, Option<u8>);
type Comparison = (u8, u8, u64, u64);
type RuleLike = (Vec<u8>, Number, Vec<Comparison>);
/// The default, rules, calls by their numbers and arguments, and a text.
type Input<'a> = (Number, Vec<RuleLike>, Vec<(u32, [u64; 6])>, &'a str);

fuzz_target!(|input: Input<'_>| {
    let (default, rules, calls, text) = input;
    with_program(text, |_| ());

    let profile = Profile {
        architecture: (ARCHITECTURE, Some(0x4000_0000)),
        default: action(default, ACTIONS.len() - 1),
        rules: rules.into_iter().filter_map(rule).collect(),
    };
    with_program(&profile.json(), |program| {
        let Ok(program) = program else {
            return;
        };
        assert_valid(program);
        for (number, args) in calls {
            let known = CALLS.get(number as usize).and_then(|call| call.1);
            let call = Call {
                architecture: ARCHITECTURE,
                number: known.unwrap_or(number),
                args,
            };
            assert_eq!(run(program, &call).0, profile.verdict(&call), "{call:x?}");
        }
    });
});

fn with_program(profile: &str, then: impl FnOnce(Result<&[Instruction], Refused>)) {
    let file = format!(
        r#"{{"ociVersion": "1.2.0", "process": {{"args": ["/a"], "cwd": "/"}}, "root": {{"path": "r"}},
        "linux": {{"namespaces": [{{"type": "mount"}}], "seccomp": {profile}}}}}"#
    );
    let mut scratch = vec![0; file.len()];
    match Config::parse(file.as_bytes(), &mut scratch, &mut []) {
        Ok(config) => {
            if let Some(profile) = config.seccomp {
                then(compile(&profile, &mut vec![[0; 8]; MAX_INSTRUCTIONS]));
            }
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
}

fn action((action, number): Number, count: usize) -> Action {
    Action(usize::from(action) % count, number.map(u16::from))
}

fn rule((calls, fate, args): RuleLike) -> Option<Rule> {
    let call = |call: u8| {
        let (name, number) = CALLS[usize::from(call) % CALLS.len()];
        (name.to_owned(), number)
    };
    let compared = |(index, operator, value, value_two): Comparison| Compared {
        index: usize::from(index) % 6,
        operator: usize::from(operator) % OPERATORS.len(),
        value,
        value_two,
    };
    (!calls.is_empty()).then(|| Rule {
        calls: calls.into_iter().map(call).collect(),
        action: action(fate, ACTIONS.len()),
        args: args.into_iter().map(compared).collect(),
    })
}
