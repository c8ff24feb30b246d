//! Programs, run.

use super::model::{ACTIONS, Action, Call, Compared, OPERATORS, Profile, Rule, assert_valid, run};
use super::*;
use crate::parse::config::Config;

const FOREIGN: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(X32)
} else {
    None
};
const ALLOW: Action = Action(7, None);
const EPERM: Action = Action(4, None);
const NOTIFY: Action = Action(8, None);

/// Compiles a profile, and hands the program out.
fn compiled<T>(profile: &str, then: impl FnOnce(Result<&[Instruction], Refused>) -> T) -> T {
    let file = format!(
        r#"{{"ociVersion": "1.2.0", "process": {{"args": ["/a"], "cwd": "/"}}, "root": {{"path": "r"}},
        "linux": {{"namespaces": [{{"type": "mount"}}], "seccomp": {profile}}}}}"#
    );
    let mut scratch = vec![0; file.len()];
    let config = Config::parse(file.as_bytes(), &mut scratch, &mut []).unwrap();
    let mut room = vec![[0xff; 8]; MAX_INSTRUCTIONS];
    then(compile(&config.seccomp.unwrap(), &mut room))
}

fn profile(default: Action, rules: Vec<Rule>) -> Profile {
    let architecture = (ARCHITECTURE, FOREIGN);
    Profile {
        architecture,
        default,
        rules,
    }
}

fn rule(names: &[&str], action: Action, args: &[Compared]) -> Rule {
    let call = |name: &&str| ((*name).to_owned(), syscalls::number(name.chars()));
    Rule {
        calls: names.iter().map(call).collect(),
        action,
        args: args.to_vec(),
    }
}

fn arg(index: usize, operator: &str, value: u64, value_two: u64) -> Compared {
    Compared {
        index,
        operator: OPERATORS.iter().position(|name| *name == operator).unwrap(),
        value,
        value_two,
    }
}

fn call(name: &str, args: [u64; 6]) -> Call {
    Call {
        architecture: ARCHITECTURE,
        number: syscalls::number(name.chars()).unwrap(),
        args,
    }
}

/// The profile that Docker starts containers with, in its shape: nearly everything is allowed by
/// name, a few calls by their arguments.
fn like_docker() -> Profile {
    const NOT_ALLOWED: [&str; 45] = [
        "_sysctl",
        "acct",
        "add_key",
        "bpf",
        "clock_adjtime",
        "clock_settime",
        "clone",
        "clone3",
        "create_module",
        "delete_module",
        "fanotify_init",
        "finit_module",
        "fsconfig",
        "fsmount",
        "fsopen",
        "fspick",
        "get_kernel_syms",
        "init_module",
        "ioperm",
        "iopl",
        "kexec_file_load",
        "kexec_load",
        "keyctl",
        "lookup_dcookie",
        "mount",
        "mount_setattr",
        "move_mount",
        "open_tree",
        "perf_event_open",
        "personality",
        "pivot_root",
        "query_module",
        "quotactl",
        "reboot",
        "request_key",
        "setdomainname",
        "sethostname",
        "setns",
        "settimeofday",
        "socket",
        "swapoff",
        "swapon",
        "umount2",
        "unshare",
        "userfaultfd",
    ];
    let allowed = syscalls::all().map(|(name, _)| name);
    let allowed: Vec<_> = allowed.filter(|name| !NOT_ALLOWED.contains(name)).collect();
    let mut rules = vec![
        rule(&allowed, ALLOW, &[]),
        rule(&["_llseek", "stat64", "socketcall"], ALLOW, &[]),
        rule(&["clone"], ALLOW, &[arg(0, "MASKED_EQ", 0x7e02_0000, 0)]),
        rule(&["clone3"], Action(4, Some(38)), &[]),
        rule(&["socket"], ALLOW, &[arg(0, "NE", 40, 0)]),
    ];
    for persona in [0, 8, 0x20000, 0x20008, 0xffff_ffff] {
        rules.push(rule(&["personality"], ALLOW, &[arg(0, "EQ", persona, 0)]));
    }
    profile(Action(4, Some(1)), rules)
}

#[test]
fn profile_like_dockers_is_short_and_quick() {
    let profile = like_docker();
    let (length, read) = compiled(&profile.json(), |program| {
        let program = program.unwrap();
        assert_valid(program);
        for (name, _) in syscalls::all() {
            let call = call(name, [8, 0, 0, 0, 0, 0]);
            assert_eq!(run(program, &call).0, profile.verdict(&call), "{name}");
        }
        let executed = |name| run(program, &call(name, [0; 6])).1;
        let most = syscalls::all()
            .map(|(name, _)| executed(name))
            .max()
            .unwrap();
        assert!(most <= 24, "{most}");
        (program.len(), executed("read"))
    });
    // A chain of comparisons, one for each name, takes more than 300 and on the average half of
    // them.
    assert!(length < 200, "{length}");
    assert!(read <= 12, "{read}");
}

#[test]
fn every_comparison_is_of_64_bits_without_sign() {
    let edges = [
        0,
        1,
        2,
        u32::MAX.into(),
        1 << 32,
        (1 << 32) + 1,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ];
    for operator in OPERATORS {
        for (value, two) in edges.iter().flat_map(|one| edges.map(|two| (*one, two))) {
            let rules = vec![
                rule(&["execve"], ALLOW, &[]),
                rule(&["read"], ALLOW, &[arg(5, operator, value, two)]),
            ];
            let profile = profile(EPERM, rules);
            compiled(&profile.json(), |program| {
                let program = program.unwrap();
                for given in edges {
                    let call = call("read", [0, 0, 0, 0, 0, given]);
                    let (expected, found) = (profile.verdict(&call), run(program, &call).0);
                    assert_eq!(found, expected, "{given} {operator} {value} {two}");
                }
            });
        }
    }
}

#[test]
fn foreign_calls_are_killed_whatever_the_profile_says() {
    let profile = profile(ALLOW, vec![]);
    compiled(&profile.json(), |program| {
        let program = program.unwrap();
        let fate = |architecture, number| {
            let args = [0; 6];
            run(
                program,
                &Call {
                    architecture,
                    number,
                    args,
                },
            )
            .0
        };
        // i386, and ARM.
        for architecture in [0x4000_0003, 0x4000_0028, 0] {
            assert_eq!(fate(architecture, 1), Verdict::KILL_PROCESS.0);
        }
        assert_eq!(fate(ARCHITECTURE, 1), Verdict::ALLOW.0);
        assert_eq!(fate(ARCHITECTURE, u32::MAX), Verdict::ALLOW.0);
        if let Some(first) = FOREIGN {
            assert_eq!(fate(ARCHITECTURE, first - 1), Verdict::ALLOW.0);
            assert_eq!(fate(ARCHITECTURE, first), Verdict::KILL_PROCESS.0);
            assert_eq!(fate(ARCHITECTURE, u32::MAX - 1), Verdict::KILL_PROCESS.0);
        }
    });
}

#[test]
fn call_that_the_profile_is_too_old_for_does_not_exist() {
    let newest = |default| {
        let profile = profile(default, vec![rule(&["execve", "openat2"], ALLOW, &[])]);
        compiled(&profile.json(), |program| {
            run(program.unwrap(), &call("mount_setattr", [0; 6])).0
        })
    };
    assert_eq!(newest(EPERM), Verdict::ERRNO.0 | 38);
    assert_eq!(newest(Action(0, None)), Verdict::ERRNO.0 | 38);
    assert_eq!(newest(Action(6, None)), Verdict::LOG.0);
}

#[test]
fn profile_that_no_program_starts_under_is_refused() {
    let refusal = |profile: Profile| compiled(&profile.json(), |program| program.err());
    let denied = Some(Refused::DeniesExecve);
    assert_eq!(
        refusal(profile(EPERM, vec![rule(&["read"], ALLOW, &[])])),
        denied
    );
    let kill = rule(&["execve"], Action(0, None), &[]);
    assert_eq!(refusal(profile(ALLOW, vec![kill])), denied);
    // A rule on the arguments of the call may allow it.
    let some = rule(&["execve"], ALLOW, &[arg(0, "NE", 0, 0)]);
    assert_eq!(refusal(profile(EPERM, vec![some])), None);
    let asks = rule(&["execve"], NOTIFY, &[]);
    assert_eq!(refusal(profile(ALLOW, vec![asks])), None);
}

#[test]
fn profile_whose_agent_could_not_be_told_is_refused() {
    let refusal = |profile: Profile| compiled(&profile.json(), |program| program.err());
    let keeps = Some(Refused::KeepsFromAgent);
    let asks = |names| rule(names, NOTIFY, &[]);
    // What berth calls between the filter and its agent; and what it calls later, which the agent
    // can answer.
    assert_eq!(refusal(profile(ALLOW, vec![asks(&["sendmsg"])])), keeps);
    assert_eq!(refusal(profile(ALLOW, vec![asks(&["close"])])), keeps);
    let later = asks(&["write", "execveat", "setresuid", "chdir", "exit_group"]);
    assert_eq!(refusal(profile(ALLOW, vec![later])), None);
    // Whatever keeps it from that, and be it by arguments.
    let mkdir = || asks(&["mkdir"]);
    let denies = rule(&["sendmsg"], EPERM, &[]);
    assert_eq!(refusal(profile(ALLOW, vec![mkdir(), denies])), keeps);
    let some = rule(&["close"], NOTIFY, &[arg(0, "EQ", 77, 0)]);
    assert_eq!(refusal(profile(ALLOW, vec![some])), keeps);
    let few = |names: &[&str]| profile(EPERM, vec![mkdir(), rule(names, ALLOW, &[])]);
    assert_eq!(refusal(few(&["execve", "sendmsg"])), keeps);
    assert_eq!(refusal(few(&["execve", "sendmsg", "close"])), None);
    let logs = rule(&["sendmsg"], Action(6, None), &[]);
    assert_eq!(refusal(profile(ALLOW, vec![mkdir(), logs])), None);
    // Without an agent all this is nothing.
    let denies = rule(&["sendmsg", "close"], EPERM, &[]);
    assert_eq!(refusal(profile(ALLOW, vec![denies])), None);
}

#[test]
fn profile_that_is_too_long_is_refused() {
    let of = |count: usize, names: &[&str]| {
        let mut rules = vec![rule(&["execve"], ALLOW, &[])];
        for value in 0..count {
            let edge = |index| arg(index, "GT", (value as u64) << 32 | 7, 0);
            rules.push(rule(names, ALLOW, &[edge(0), edge(1)]));
        }
        compiled(&profile(EPERM, rules).json(), |program| program.err())
    };
    assert_eq!(of(MAX_RULES, &["read"]), None);
    assert_eq!(of(MAX_RULES + 1, &["read"]), Some(Refused::TooLong));
    assert_eq!(of(100, &["read", "write", "openat", "close"]), None);
    assert_eq!(
        of(100, &["read", "write", "openat", "close", "mmap"]),
        Some(Refused::TooLong)
    );
}

/// Numbers that look random, and are the same each time (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Few, and close to each other, so that comparisons meet them.
    fn value(&mut self) -> u64 {
        let edges = [
            0,
            1,
            7,
            8,
            0xffff_ffff,
            0x1_0000_0000,
            0x8000_0000_0000_0000,
            u64::MAX,
        ];
        edges[self.below(edges.len())] ^ (self.next() % 2)
    }

    /// One of so many.
    fn action(&mut self, count: usize) -> Action {
        let number = self.below(3) as u16;
        Action(self.below(count), (number > 0).then_some(number * 30))
    }
}

/// The programs of many profiles, at many calls, against a plain reading of the profile.
#[test]
fn program_says_what_the_profile_says() {
    let names: Vec<_> = syscalls::all()
        .map(|(name, _)| name)
        .chain(["no_such_call"])
        .collect();
    for seed in 1..=80 {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ seed);
        let needed = rule(&["execve", "sendmsg", "close"], ALLOW, &[]);
        let mut profile = profile(numbers.action(ACTIONS.len() - 1), vec![needed]);
        // From a few calls with many rules to all with some.
        let variety = [3, 20, names.len()][numbers.below(3)];
        for _ in 0..numbers.below(25) {
            let some: Vec<_> = (0..=numbers.below(5))
                .map(|_| names[numbers.below(variety)])
                .collect();
            let args: Vec<_> = (0..numbers.below(4))
                .map(|_| {
                    let operator = OPERATORS[numbers.below(OPERATORS.len())];
                    arg(numbers.below(6), operator, numbers.value(), numbers.value())
                })
                .collect();
            profile
                .rules
                .push(rule(&some, numbers.action(ACTIONS.len()), &args));
        }
        compiled(&profile.json(), |program| {
            let Ok(program) = program else {
                let denies = [Refused::DeniesExecve, Refused::KeepsFromAgent];
                assert!(program.is_err_and(|error| denies.contains(&error)));
                assert_eq!(profile.default, ALLOW);
                return;
            };
            assert_valid(program);
            for _ in 0..300 {
                let number = match numbers.below(10) {
                    0 => numbers.next() as u32,
                    1 => numbers.below(600) as u32,
                    _ => {
                        syscalls::number(names[numbers.below(variety.min(names.len() - 1))].chars())
                            .unwrap()
                    }
                };
                let architecture = if numbers.below(50) == 0 {
                    0x4000_0003
                } else {
                    ARCHITECTURE
                };
                let args = core::array::from_fn(|_| numbers.value());
                let call = Call {
                    architecture,
                    number,
                    args,
                };
                let (expected, found) = (profile.verdict(&call), run(program, &call).0);
                assert_eq!(
                    found,
                    expected,
                    "seed {seed}: {call:x?}\n{}",
                    profile.json()
                );
            }
        });
    }
}
