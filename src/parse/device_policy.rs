//! Which devices a container may use, as a program for the kernel.
//!
//! Control groups of version 2 have no list of devices. What decides is a program of type
//! BPF_PROG_TYPE_CGROUP_DEVICE, which the kernel runs at each open(2) of a device and each mknod(2)
//! by a process of the group, and whose answer is 1 or 0 (Documentation/admin-guide/cgroup-v2.rst,
//! "Device controller"). It is told the type of the device, its numbers, and what is asked for:
//! read, write and mknod, or several of them.
//!
//! # What rules mean
//!
//! Of each thing that is asked for, the last rule decides that names the device and it; all of them
//! have to be allowed. Before the first rule everything is denied but what every container is given
//! ([`DEFAULTS`]). A rule that denies everything takes that back too, and says so about nothing
//! that is given: it is how every list begins, and the specification promises the default devices
//! all the same. A rule that denies less is obeyed to the letter.
//!
//! # The program
//!
//! One block for each rule, the last rule first. A block looks whether the rule names the device;
//! then one that denies ends the program if it denies something that is still asked for, and one
//! that allows takes what it allows from what is still asked for, and ends the program when nothing
//! is left. There are no loops and only jumps forward, as the kernel's verifier has it. Since the
//! blocks stand in the reverse order of the rules, the program is written from its end.

use heapless::Vec;

/// What can be asked for: BPF_DEVCG_ACC_* (include/uapi/linux/bpf.h).
pub const MKNOD: u8 = 1;
/// Opening for reading.
pub const READ: u8 = 2;
/// Opening for writing.
pub const WRITE: u8 = 4;
/// All that can be asked for.
pub const ALL: u8 = MKNOD | READ | WRITE;

/// As many rules fit.
pub const MAX_RULES: usize = 256;

/// The size of the largest program, in bytes.
pub const MAX_SIZE: usize = SIZE * (PROLOGUE.len() + BLOCK_MAX * (DEFAULTS.len() + MAX_RULES) + 1);

/// The size of an instruction (`struct bpf_insn`).
const SIZE: usize = 8;

/// Instructions of the longest block: three comparisons, and what follows.
const BLOCK_MAX: usize = 7;

/// The kinds of devices: BPF_DEVCG_DEV_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `b`
    Block = 1,
    /// `c`
    Character = 2,
}

/// A rule. What it does not say is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// The kind of device.
    pub kind: Option<Kind>,
    /// The major number.
    pub major: Option<u16>,
    /// The minor number, of which the kernel has 20 bits.
    pub minor: Option<u32>,
    /// [`READ`], [`WRITE`] and [`MKNOD`].
    pub access: u8,
}

impl Rule {
    /// Allows this to devices of a kind, and of these numbers if they are given.
    #[must_use]
    pub const fn allow(kind: Kind, major: Option<u16>, minor: Option<u32>, access: u8) -> Self {
        Self {
            allow: true,
            kind: Some(kind),
            major,
            minor,
            access,
        }
    }

    /// Whether it is about everything.
    fn is_total(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == ALL
    }
}

/// What every container is given: making any node, which opens none, and the devices that the
/// specification has it find (config-linux.md, "Default Devices"): null, zero, full, random,
/// urandom, tty, console, ptmx and pseudo-terminals (Documentation/admin-guide/devices.txt). runc
/// and crun allow the same.
pub const DEFAULTS: [Rule; 11] = {
    const C: Kind = Kind::Character;
    [
        Rule::allow(C, None, None, MKNOD),
        Rule::allow(Kind::Block, None, None, MKNOD),
        Rule::allow(C, Some(1), Some(3), ALL),
        Rule::allow(C, Some(1), Some(5), ALL),
        Rule::allow(C, Some(1), Some(7), ALL),
        Rule::allow(C, Some(1), Some(8), ALL),
        Rule::allow(C, Some(1), Some(9), ALL),
        Rule::allow(C, Some(5), Some(0), ALL),
        Rule::allow(C, Some(5), Some(1), ALL),
        Rule::allow(C, Some(5), Some(2), ALL),
        Rule::allow(C, Some(136), None, ALL),
    ]
};

/// An instruction: operation, destination and source register, jump, constant.
type Instruction = (u8, u8, u8, i16, i32);

/// What the instructions are made of (Documentation/bpf/standardization/instruction-set.rst).
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP: u8 = 0x05;
const JUMP_IF_ANY_BIT: u8 = 0x45;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

/// The answer, the argument, and what the program keeps.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ASKED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Takes `struct bpf_cgroup_dev_ctx` apart: three words, of which the first holds what is asked for
/// above the kind.
const PROLOGUE: [Instruction; 7] = [
    (LOAD_WORD, ASKED, CONTEXT, 0, 0),
    (MOVE_REGISTER, KIND, ASKED, 0, 0),
    (AND, KIND, 0, 0, 0xffff),
    (SHIFT_RIGHT, ASKED, 0, 0, 16),
    (LOAD_WORD, MAJOR, CONTEXT, 4, 0),
    (LOAD_WORD, MINOR, CONTEXT, 8, 0),
    (MOVE, ANSWER, 0, 0, 0),
];

/// A program, while it is written.
pub struct Program<'b> {
    room: &'b mut [u8],
    /// Where what is written begins.
    start: usize,
}

impl<'b> Program<'b> {
    /// A program without rules. [`MAX_SIZE`] bytes are room for [`MAX_RULES`] of them.
    pub fn new(room: &'b mut [u8]) -> Self {
        let mut program = Self { start: 0, room };
        // What does not fit is seen at the end.
        let _ = program.begin(false);
        program
    }

    /// Adds a rule that comes after all others. `None` when it does not fit.
    pub fn push(&mut self, rule: &Rule) -> Option<()> {
        match rule.is_total() {
            // Nothing that stood before decides anything any more.
            true => self.begin(rule.allow),
            false => self.prepend(&block(rule)),
        }
    }

    /// The whole program, as the kernel takes it. `None` when it does not fit.
    pub fn finish(mut self) -> Option<&'b [u8]> {
        self.prepend(&PROLOGUE)?;
        self.room.get(self.start..)
    }

    fn begin(&mut self, allows_all: bool) -> Option<()> {
        self.start = self.room.len();
        if allows_all {
            return self.prepend(&[(MOVE, ANSWER, 0, 0, 1), (EXIT, 0, 0, 0, 0)]);
        }
        self.prepend(&[(EXIT, 0, 0, 0, 0)])?;
        DEFAULTS
            .iter()
            .try_for_each(|rule| self.prepend(&block(rule)))
    }

    /// Once something does not fit, nothing does, so that no rule is missing from a program.
    fn prepend(&mut self, block: &[Instruction]) -> Option<()> {
        let end = core::mem::take(&mut self.start);
        let start = end.checked_sub(block.len().checked_mul(SIZE)?)?;
        let room = self.room.get_mut(start..end)?;
        for (place, instruction) in room.chunks_exact_mut(SIZE).zip(block) {
            place.copy_from_slice(&encode(*instruction));
        }
        self.start = start;
        Some(())
    }
}

/// `struct bpf_insn`; both architectures have its bit fields from the lowest bit on.
fn encode((operation, destination, source, jump, constant): Instruction) -> [u8; SIZE] {
    let [j0, j1] = jump.to_ne_bytes();
    let [c0, c1, c2, c3] = constant.to_ne_bytes();
    let registers = destination | source << 4;
    [operation, registers, j0, j1, c0, c1, c2, c3]
}

fn block(rule: &Rule) -> Vec<Instruction, BLOCK_MAX> {
    let access = i32::from(rule.access);
    let effect: &[Instruction] = match rule.allow {
        true => &[
            (AND, ASKED, 0, 0, !access),
            (JUMP_UNLESS_EQUAL, ASKED, 0, 2, 0),
            (MOVE, ANSWER, 0, 0, 1),
            (EXIT, 0, 0, 0, 0),
        ],
        false => &[
            (JUMP_IF_ANY_BIT, ASKED, 0, 1, access),
            (JUMP, 0, 0, 1, 0),
            (EXIT, 0, 0, 0, 0),
        ],
    };
    // Numbers of devices fit: they have 12 and 20 bits.
    let named = [
        (KIND, rule.kind.map(|kind| kind as i32)),
        (MAJOR, rule.major.map(i32::from)),
        (MINOR, rule.minor.map(|minor| minor as i32)),
    ];
    let comparisons = named
        .iter()
        .filter_map(|(register, value)| Some((*register, (*value)?)));
    let count = comparisons.clone().count();
    let skips = comparisons.enumerate().map(|(at, (register, value))| {
        // Over the comparisons that follow, and over the effect: at most six.
        let rest = count.saturating_sub(at).saturating_sub(1);
        let jump = rest.saturating_add(effect.len()) as i16;
        (JUMP_UNLESS_EQUAL, register, 0, jump, value)
    });
    skips.chain(effect.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a process asks for.
    #[derive(Clone, Copy, Debug)]
    struct Question {
        kind: Kind,
        major: u16,
        minor: u32,
        access: u8,
    }

    fn program(rules: &[Rule]) -> std::vec::Vec<u8> {
        let mut room = vec![0; MAX_SIZE];
        let mut program = Program::new(&mut room);
        for rule in rules {
            program.push(rule).unwrap();
        }
        program.finish().unwrap().to_vec()
    }

    /// Runs a program as the kernel does, with the verifier's rules: it ends, jumps forward only,
    /// and reads nothing that was not written.
    fn run(program: &[u8], question: Question) -> bool {
        let context = [
            u32::from(question.access) << 16 | question.kind as u32,
            question.major.into(),
            question.minor,
        ];
        let mut registers = [None::<u64>; 11];
        registers[1] = Some(0);
        let mut at = 0;
        loop {
            let [operation, pair, j0, j1, c0, c1, c2, c3] =
                program[at * SIZE..][..SIZE].try_into().unwrap();
            let (destination, source) = (usize::from(pair & 15), usize::from(pair >> 4));
            let jump = i16::from_ne_bytes([j0, j1]);
            let constant = i64::from(i32::from_ne_bytes([c0, c1, c2, c3])) as u64;
            at += 1;
            let mut jump_if = |condition: bool| {
                assert!(jump >= 0, "a jump back");
                at += if condition { jump as usize } else { 0 };
            };
            match operation {
                LOAD_WORD => {
                    assert_eq!(registers[source], Some(0), "the context");
                    registers[destination] = Some(context[jump as usize / 4].into());
                }
                MOVE => registers[destination] = Some(constant),
                MOVE_REGISTER => registers[destination] = Some(registers[source].unwrap()),
                AND => registers[destination] = Some(registers[destination].unwrap() & constant),
                SHIFT_RIGHT => {
                    registers[destination] = Some(registers[destination].unwrap() >> constant);
                }
                JUMP => jump_if(true),
                JUMP_IF_ANY_BIT => jump_if(registers[destination].unwrap() & constant != 0),
                JUMP_UNLESS_EQUAL => jump_if(registers[destination].unwrap() != constant),
                EXIT => return registers[0].unwrap() == 1,
                _ => panic!("operation {operation:x}"),
            }
        }
    }

    /// What the rules say, in their own words.
    fn is_allowed(rules: &[Rule], question: Question) -> bool {
        let names = |rule: &Rule, bit: u8| {
            rule.kind.is_none_or(|kind| kind == question.kind)
                && rule.major.is_none_or(|major| major == question.major)
                && rule.minor.is_none_or(|minor| minor == question.minor)
                && rule.access & bit != 0
        };
        [MKNOD, READ, WRITE]
            .into_iter()
            .filter(|bit| question.access & bit != 0)
            .all(|bit| {
                let last = rules.iter().rev().find(|rule| names(rule, bit));
                match last {
                    Some(rule) if rule.allow => true,
                    Some(rule) if !rule.is_total() => false,
                    _ => DEFAULTS.iter().any(|rule| names(rule, bit)),
                }
            })
    }

    /// A sequence without a seed from outside: xorshift64.
    struct Sequence(u64);

    impl Sequence {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % limit
        }

        fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
            (self.below(3) != 0).then(|| value(self))
        }

        /// Few values, so that rules and questions often meet.
        fn kind(&mut self) -> Kind {
            [Kind::Block, Kind::Character][self.below(2) as usize]
        }

        fn major(&mut self) -> u16 {
            [1, 5, 8, 136, 4095][self.below(5) as usize]
        }

        fn minor(&mut self) -> u32 {
            [0, 1, 3, 9, 0xf_ffff][self.below(5) as usize]
        }

        fn access(&mut self) -> u8 {
            1 + self.below(7) as u8
        }

        fn rule(&mut self) -> Rule {
            Rule {
                allow: self.below(2) == 0,
                kind: self.maybe(Self::kind),
                major: self.maybe(Self::major),
                minor: self.maybe(Self::minor),
                access: self.access(),
            }
        }
    }

    #[test]
    fn the_program_decides_as_the_rules_say() {
        let mut sequence = Sequence(0x9e37_79b9_7f4a_7c15);
        let mut allowed = 0;
        for _ in 0..2000 {
            let rules: std::vec::Vec<_> = (0..sequence.below(9)).map(|_| sequence.rule()).collect();
            let program = program(&rules);
            for _ in 0..20 {
                let question = Question {
                    kind: sequence.kind(),
                    major: sequence.major(),
                    minor: sequence.minor(),
                    access: sequence.access(),
                };
                let expected = is_allowed(&rules, question);
                assert_eq!(
                    run(&program, question),
                    expected,
                    "{question:?} by {rules:#?}"
                );
                allowed += usize::from(expected);
            }
        }
        assert!((4_000..36_000).contains(&allowed), "one-sided: {allowed}");
    }

    const DENY_ALL: Rule = Rule {
        allow: false,
        kind: None,
        major: None,
        minor: None,
        access: ALL,
    };

    fn asks(kind: Kind, major: u16, minor: u32, access: u8) -> Question {
        Question {
            kind,
            major,
            minor,
            access,
        }
    }

    #[test]
    fn denying_everything_leaves_what_every_container_is_given() {
        use Kind::{Block, Character};
        for rules in [
            &[][..],
            &[DENY_ALL],
            &[
                Rule {
                    allow: true,
                    ..DENY_ALL
                },
                DENY_ALL,
            ],
        ] {
            let program = program(rules);
            for (major, minor) in [
                (1, 3),
                (1, 5),
                (1, 7),
                (1, 8),
                (1, 9),
                (5, 0),
                (5, 1),
                (5, 2),
                (136, 7),
            ] {
                assert!(run(&program, asks(Character, major, minor, ALL)));
                assert!(!run(&program, asks(Block, major, minor, READ)));
            }
            assert!(run(&program, asks(Block, 8, 1, MKNOD)));
            for access in [READ, WRITE, READ | WRITE, READ | MKNOD] {
                assert!(!run(&program, asks(Block, 8, 1, access)));
                assert!(!run(&program, asks(Character, 1, 1, access)));
            }
        }
    }

    #[test]
    fn what_denies_less_than_everything_takes_from_what_is_given() {
        let no_nodes = Rule {
            access: MKNOD,
            ..DENY_ALL
        };
        let no_null = Rule {
            kind: Some(Kind::Character),
            major: Some(1),
            minor: Some(3),
            ..DENY_ALL
        };
        let program = program(&[DENY_ALL, no_nodes, no_null]);
        assert!(!run(&program, asks(Kind::Block, 8, 1, MKNOD)));
        assert!(!run(&program, asks(Kind::Character, 1, 3, READ)));
        assert!(run(&program, asks(Kind::Character, 1, 5, READ)));
    }

    #[test]
    fn reading_and_writing_may_be_allowed_by_two_rules() {
        let read = Rule {
            allow: true,
            kind: Some(Kind::Block),
            access: READ,
            ..DENY_ALL
        };
        let write = Rule {
            access: WRITE,
            ..read
        };
        let program = program(&[DENY_ALL, read, write]);
        assert!(run(&program, asks(Kind::Block, 8, 1, READ | WRITE)));
        assert!(!run(&program, asks(Kind::Character, 1, 1, READ | WRITE)));
    }

    #[test]
    fn the_longest_list_fits_and_no_longer_one() {
        let rule = Rule {
            allow: true,
            kind: Some(Kind::Block),
            major: Some(8),
            minor: Some(1),
            access: READ,
        };
        assert_eq!(block(&rule).len(), BLOCK_MAX);
        let mut room = vec![0; MAX_SIZE];
        let mut program = Program::new(&mut room);
        while program.push(&rule).is_some() {}
        assert!(
            program.finish().is_none(),
            "nothing was left for the beginning"
        );
        assert!(self::program(&[rule; MAX_RULES]).len() <= MAX_SIZE);
    }
}
