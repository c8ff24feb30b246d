//! What tests hold the compiler against: a plain reading of a profile, and a machine that runs
//! programs as the kernel does.
//!
//! The fuzz target takes this file in by its path, so it names nothing of the crate.

/// `struct seccomp_data`, without the instruction pointer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) architecture: u32,
    pub(crate) number: u32,
    pub(crate) args: [u64; 6],
}

/// The fates, as seccomp(2) has them, and their names in profiles. All but the last can be the
/// default.
pub(crate) const ACTIONS: [(&str, u32); 9] = [
    ("SCMP_ACT_KILL_PROCESS", 0x8000_0000),
    ("SCMP_ACT_KILL_THREAD", 0),
    ("SCMP_ACT_KILL", 0),
    ("SCMP_ACT_TRAP", 0x0003_0000),
    ("SCMP_ACT_ERRNO", 0x0005_0000),
    ("SCMP_ACT_TRACE", 0x7ff0_0000),
    ("SCMP_ACT_LOG", 0x7ffc_0000),
    ("SCMP_ACT_ALLOW", 0x7fff_0000),
    ("SCMP_ACT_NOTIFY", 0x7fc0_0000),
];
const KILL_PROCESS: u32 = 0x8000_0000;
const NO_SUCH_CALL: u32 = 0x0005_0000 + 38;

pub(crate) const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];

/// An action by its place in [`ACTIONS`], and the number with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Action(pub(crate) usize, pub(crate) Option<u16>);

#[derive(Clone, Debug)]
pub(crate) struct Compared {
    pub(crate) index: usize,
    pub(crate) operator: usize,
    pub(crate) value: u64,
    pub(crate) value_two: u64,
}

/// Calls by their names, and by the numbers that these are known to have.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) calls: Vec<(String, Option<u32>)>,
    pub(crate) action: Action,
    pub(crate) args: Vec<Compared>,
}

#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// The architecture that it is for, and the number from which on another one's begin.
    pub(crate) architecture: (u32, Option<u32>),
    pub(crate) default: Action,
    pub(crate) rules: Vec<Rule>,
}

impl Action {
    pub(crate) fn verdict(self) -> u32 {
        let (name, action) = ACTIONS[self.0];
        match name {
            "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE" => action | u32::from(self.1.unwrap_or(1)),
            _ => action,
        }
    }

    fn json(self, action: &str, data: &str) -> String {
        let name = ACTIONS[self.0].0;
        let number = match (name, self.1) {
            ("SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE", Some(number)) => {
                format!(", \"{data}\": {number}")
            }
            _ => String::new(),
        };
        format!("\"{action}\": \"{name}\"{number}")
    }
}

impl Compared {
    fn is_true(&self, args: [u64; 6]) -> bool {
        let arg = args[self.index];
        match OPERATORS[self.operator] {
            "NE" => arg != self.value,
            "LT" => arg < self.value,
            "LE" => arg <= self.value,
            "EQ" => arg == self.value,
            "GE" => arg >= self.value,
            "GT" => arg > self.value,
            _ => arg & self.value == self.value_two & self.value,
        }
    }
}

impl Rule {
    fn names(&self, number: u32) -> bool {
        self.calls.iter().any(|(_, known)| *known == Some(number))
    }

    fn matches(&self, args: [u64; 6]) -> bool {
        let mut results = self.args.iter().map(|compared| compared.is_true(args));
        let has_index_twice = (0..6).any(|index| {
            let of_it = self.args.iter().filter(|compared| compared.index == index);
            of_it.count() > 1
        });
        match has_index_twice {
            true => results.any(|is_true| is_true),
            false => results.all(|is_true| is_true),
        }
    }
}

impl Profile {
    /// The call's fate.
    pub(crate) fn verdict(&self, call: &Call) -> u32 {
        let (architecture, foreign) = self.architecture;
        let is_foreign = |first| (first..u32::MAX).contains(&call.number);
        if call.architecture != architecture || foreign.is_some_and(is_foreign) {
            return KILL_PROCESS;
        }
        let default = self.default.verdict();
        let of_call = || {
            let speaks = |rule: &&Rule| rule.action.verdict() != default;
            let rules = self.rules.iter().filter(|rule| rule.names(call.number));
            rules.filter(speaks)
        };
        let plain = of_call().find(|rule| rule.args.is_empty());
        if let Some(rule) = plain.or_else(|| of_call().find(|rule| rule.matches(call.args))) {
            return rule.action.verdict();
        }
        let calls = self.rules.iter().flat_map(|rule| &rule.calls);
        let newest = calls.filter_map(|(_, number)| *number).max();
        let is_lenient = matches!(
            ACTIONS[self.default.0].0,
            "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" | "SCMP_ACT_TRACE"
        );
        match newest.is_some_and(|newest| call.number > newest) && !is_lenient {
            true => NO_SUCH_CALL,
            false => default,
        }
    }

    /// As `linux.seccomp`.
    pub(crate) fn json(&self) -> String {
        let rules = self.rules.iter().map(|rule| {
            let names: Vec<_> = rule.calls.iter().map(|call| &call.0).collect();
            let args = rule.args.iter().map(|one| {
                let operator = OPERATORS[one.operator];
                format!(
                    r#"{{"index": {}, "value": {}, "valueTwo": {}, "op": "SCMP_CMP_{operator}"}}"#,
                    one.index, one.value, one.value_two
                )
            });
            let args = args.collect::<Vec<_>>().join(", ");
            let action = rule.action.json("action", "errnoRet");
            format!(r#"{{"names": {names:?}, {action}, "args": [{args}]}}"#)
        });
        let rules = rules.collect::<Vec<_>>().join(",\n");
        let default = self.default.json("defaultAction", "defaultErrnoRet");
        format!("{{{default}, \"listenerPath\": \"/x\", \"syscalls\": [{rules}]}}")
    }
}

/// Runs a program: what it returns, and after how many instructions. Panics where the kernel would
/// not take the program.
pub(crate) fn run(program: &[[u8; 8]], call: &Call) -> (u32, usize) {
    let mut data = [0; 64];
    data[0..4].copy_from_slice(&call.number.to_ne_bytes());
    data[4..8].copy_from_slice(&call.architecture.to_ne_bytes());
    for (at, arg) in call.args.iter().enumerate() {
        data[16 + 8 * at..][..8].copy_from_slice(&arg.to_ne_bytes());
    }
    let (mut at, mut executed, mut accumulator) = (0, 0, 0);
    loop {
        let [a, b, yes, no, constant @ ..] = program[at];
        let (code, k) = (u16::from_ne_bytes([a, b]), u32::from_ne_bytes(constant));
        at += 1;
        executed += 1;
        let skips = |condition: bool| usize::from(if condition { yes } else { no });
        match code {
            0x20 => {
                assert!(k % 4 == 0, "not a word: {k}");
                let word = &data[k as usize..][..4];
                accumulator = u32::from_ne_bytes(word.try_into().unwrap());
            }
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += skips(accumulator == k),
            0x25 => at += skips(accumulator > k),
            0x35 => at += skips(accumulator >= k),
            0x06 => return (k, executed),
            _ => panic!("there is no instruction {code:#x}"),
        }
    }
}

/// Holds a program to what the kernel demands before it runs one (net/core/filter.c,
/// `bpf_check_classic`): every jump stays inside, and the end is a return.
pub(crate) fn assert_valid(program: &[[u8; 8]]) {
    assert!((1..=4096).contains(&program.len()));
    for (at, [a, b, yes, no, constant @ ..]) in program.iter().enumerate() {
        let inside = |skip: usize| assert!(at + 1 + skip < program.len(), "{at}");
        match u16::from_ne_bytes([*a, *b]) {
            0x06 => {}
            0x05 => inside(u32::from_ne_bytes(*constant) as usize),
            0x15 | 0x25 | 0x35 => [yes, no]
                .into_iter()
                .for_each(|skip| inside(usize::from(*skip))),
            _ => inside(0),
        }
    }
}
