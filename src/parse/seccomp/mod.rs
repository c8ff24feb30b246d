//! `linux.seccomp` as a program for the kernel (seccomp(2)).
//!
//! The kernel runs the program at each call, with the call's number, the architecture whose numbers
//! these are, and six arguments of 64 bits (`struct seccomp_data`); what it returns is the call's
//! fate, a [`Verdict`].
//!
//! # What a profile means
//!
//! As runc and crun with libseccomp have it, because profiles are written for these:
//!
//! * A rule without arguments decides about its calls whatever other rules say of them; the first
//!   one, if there are several.
//! * Otherwise the first rule whose arguments all compare true decides. A rule that names one
//!   argument twice is as many rules as it has comparisons.
//! * A rule that says what the profile says by default anyway is no rule.
//! * Names that this architecture does not have are ignored: profiles name the calls of all.
//! * A call whose number is larger than that of all calls in the profile is one that its author did
//!   not know. Unless the default lets it through, it fails with `ENOSYS`, which is what programs
//!   expect of a call that is too new, and not with the default's `EPERM`, which they do not.
//!
//! # Other architectures
//!
//! A kernel for x86_64 also takes the calls of i386, by numbers of their own, and perhaps those of
//! x32, by numbers with a bit of their own; one for aarch64 those of ARM. None of them goes past
//! the filter: a process that makes one is killed, as libseccomp does for architectures that are
//! not listed. Here it is so for listed ones too. There is one table of numbers.
//!
//! # The program
//!
//! Calls are a line of numbers, cut where the fate changes: Docker's profile, of more than 300
//! names, has some 60 pieces. The program searches the line by halving it, so an ordinary call
//! takes a dozen instructions. x32 is a piece of the line like any other. Arguments are compared in
//! halves of 32 bits, for that is all that BPF loads.

use linux_raw_sys::general as linux;

use crate::parse::config::seccomp::{Comparison, Operator, Rule, Seccomp};

mod program;
mod syscalls;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use program::{Full, Instruction, MAX_INSTRUCTIONS};
pub use syscalls::{ARCHITECTURE, NAME as ARCHITECTURE_NAME};

use program::{If, Label, Program};
use syscalls::NUMBERS;

/// A call's fate, as a filter returns it: `SECCOMP_RET_*` of seccomp(2), with its data in the lower
/// half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict(pub u32);

impl Verdict {
    /// The process is killed, by SIGSYS.
    pub const KILL_PROCESS: Self = Self(0x8000_0000);
    /// The thread is killed.
    pub const KILL_THREAD: Self = Self(0);
    /// The thread gets a SIGSYS, which it may handle.
    pub const TRAP: Self = Self(0x0003_0000);
    /// The call fails; the error number is added.
    pub const ERRNO: Self = Self(0x0005_0000);
    /// A tracer is asked; with no tracer the call fails with `ENOSYS`. A word for it is added.
    pub const TRACE: Self = Self(0x7ff0_0000);
    /// An agent is asked; with none there any more the call fails with `ENOSYS`.
    pub const NOTIFY: Self = Self(0x7fc0_0000);
    /// The call is made, and logged.
    pub const LOG: Self = Self(0x7ffc_0000);
    /// The call is made.
    pub const ALLOW: Self = Self(0x7fff_0000);

    /// `ENOSYS`.
    const NO_SUCH_CALL: Self = Self(Self::ERRNO.0 | linux_raw_sys::errno::ENOSYS);

    /// Without the data.
    fn action(self) -> Self {
        Self(self.0 & 0xffff_0000)
    }

    /// Whether the call is made.
    fn is_made(self) -> bool {
        matches!(self.action(), Self::ALLOW | Self::LOG)
    }
}

/// Offsets in `struct seccomp_data` (include/uapi/linux/seccomp.h).
mod offset {
    pub(super) const NUMBER: u32 = 0;
    pub(super) const ARCHITECTURE: u32 = 4;
    pub(super) const ARGUMENTS: u32 = 16;
}

/// From here on x86_64 has the numbers of x32 (`__X32_SYSCALL_BIT`), up to the last, which is no
/// call's.
const X32: u32 = 0x4000_0000;
const NO_CALL: u32 = u32::MAX;

/// The calls between the filter and its agent: one sends, and one ends the connection, which some
/// agents wait for.
const TELLING: [u32; 2] = [linux::__NR_sendmsg, linux::__NR_close];

/// Rules that one call may have whose arguments decide.
const MAX_RULES: usize = 256;

/// Why there is no program for a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It would have more than [`MAX_INSTRUCTIONS`], or a call has more rules than are looked at.
    TooLong,
    /// It denies execve(2), by which a container's program starts.
    DeniesExecve,
    /// It does not let a call through, whatever its arguments, by which its agent is told of it:
    /// the agent would be asked about that before it can answer.
    KeepsFromAgent,
}

impl From<Full> for Refused {
    fn from(_: Full) -> Self {
        Self::TooLong
    }
}

/// What is known of a number's fate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// No rule names it.
    Unnamed,
    /// It is this.
    Fixed(Verdict),
    /// The arguments decide.
    ByArguments,
}

/// A piece of the line of numbers, up to the next.
#[derive(Clone, Copy)]
struct Piece {
    start: u32,
    fate: Fate,
}

/// All fates may change at every number, and four times behind the last.
type Line = heapless::Vec<Piece, { NUMBERS + 4 }>;

/// Writes the program into `room`, of which it takes the end.
///
/// # Errors
/// [`Refused`].
pub fn compile<'b>(
    profile: &Seccomp<'_>,
    room: &'b mut [Instruction],
) -> Result<&'b [Instruction], Refused> {
    let line = line(profile)?;
    let mut program = Program::new(room);
    search(&mut program, profile, &line)?;
    let native = program.load(offset::NUMBER)?;
    let foreign = program.ret(Verdict::KILL_PROCESS.0)?;
    program.branch(If::Equal, ARCHITECTURE, native, foreign)?;
    program.load(offset::ARCHITECTURE)?;
    Ok(program.finish())
}

/// Whether the profile lets all of these calls through, whatever their arguments.
#[must_use]
pub fn lets_through(profile: &Seccomp<'_>, calls: &[u32]) -> bool {
    Fates::of(profile).let_through(calls)
}

/// What is known of all numbers that a profile names.
struct Fates {
    list: [Fate; NUMBERS],
    /// Behind the last of them.
    end: u32,
    default: Verdict,
}

impl Fates {
    #[inline(never)]
    fn of(profile: &Seccomp<'_>) -> Self {
        let mut fates = Self {
            list: [Fate::Unnamed; NUMBERS],
            end: 0,
            default: profile.default,
        };
        for rule in profile.rules() {
            let verdict = rule.verdict();
            let has_args = rule.has_args();
            for number in rule
                .names()
                .filter_map(|name| syscalls::number(name.chars()))
            {
                fates.end = number.saturating_add(1).max(fates.end);
                let Some(fate) = fates.list.get_mut(number as usize) else {
                    continue;
                };
                *fate = match *fate {
                    fate if verdict == profile.default || matches!(fate, Fate::Fixed(_)) => fate,
                    _ if has_args => Fate::ByArguments,
                    _ => Fate::Fixed(verdict),
                };
            }
        }
        fates
    }

    /// `None` where the arguments decide.
    fn verdict(&self, number: u32) -> Option<Verdict> {
        match self.list.get(number as usize) {
            Some(Fate::Fixed(verdict)) => Some(*verdict),
            Some(Fate::ByArguments) => None,
            _ => Some(self.default),
        }
    }

    fn let_through(&self, calls: &[u32]) -> bool {
        let is_made = |number: &u32| self.verdict(*number).is_some_and(Verdict::is_made);
        calls.iter().all(is_made)
    }
}

/// The line of all numbers.
#[inline(never)]
fn line(profile: &Seccomp<'_>) -> Result<Line, Refused> {
    let fates = Fates::of(profile);
    let is_denied = |verdict: Verdict| !verdict.is_made() && verdict != Verdict::NOTIFY;
    if fates.verdict(linux::__NR_execve).is_some_and(is_denied) {
        return Err(Refused::DeniesExecve);
    }
    if profile.agent.is_some() && !fates.let_through(&TELLING) {
        return Err(Refused::KeepsFromAgent);
    }

    let Fates { list, end, .. } = fates;
    let newer = match profile.default.action() {
        _ if end == 0 => profile.default,
        Verdict::ALLOW | Verdict::LOG | Verdict::TRACE => profile.default,
        _ => Verdict::NO_SUCH_CALL,
    };
    let mut line = Line::new();
    let mut add = |start, fate| {
        // Where the arguments decide, each number is a piece of its own.
        let goes_on = |last: &Piece| last.fate == fate && fate != Fate::ByArguments;
        if !line.last().is_some_and(goes_on) {
            // There is room for a piece at each place.
            let _ = line.push(Piece { start, fate });
        }
    };
    for (number, fate) in (0..end).zip(list) {
        add(
            number,
            match fate {
                Fate::Unnamed => Fate::Fixed(profile.default),
                fate => fate,
            },
        );
    }
    add(end, Fate::Fixed(newer));
    if cfg!(target_arch = "x86_64") {
        add(X32, Fate::Fixed(Verdict::KILL_PROCESS));
        add(NO_CALL, Fate::Fixed(newer));
    }
    Ok(line)
}

/// Finds the piece that the number in the accumulator is in. As deep as there are bits in the
/// number of pieces.
fn search(
    program: &mut Program<'_>,
    profile: &Seccomp<'_>,
    line: &[Piece],
) -> Result<Label, Refused> {
    let (below, from) = line.split_at_checked(line.len() / 2).unwrap_or_default();
    match (below, from) {
        ([], [piece, ..]) => match piece.fate {
            Fate::Fixed(verdict) => Ok(program.ret(verdict.0)?),
            Fate::ByArguments => rules(program, profile, piece.start),
            Fate::Unnamed => Ok(program.ret(profile.default.0)?),
        },
        (below, [piece, ..]) => {
            let yes = search(program, profile, from)?;
            let no = search(program, profile, below)?;
            Ok(program.branch(If::GreaterOrEqual, piece.start, yes, no)?)
        }
        _ => Ok(program.ret(profile.default.0)?),
    }
}

/// Tries the rules of the call of this number in turn.
#[inline(never)]
fn rules(program: &mut Program<'_>, profile: &Seccomp<'_>, number: u32) -> Result<Label, Refused> {
    let mut rules = heapless::Vec::<Rule<'_>, MAX_RULES>::new();
    for rule in profile.rules() {
        let is_it =
            |name: crate::parse::json::Text<'_>| syscalls::number(name.chars()) == Some(number);
        if rule.has_args() && rule.verdict() != profile.default && rule.names().any(is_it) {
            rules.push(rule).map_err(|_| Refused::TooLong)?;
        }
    }
    let mut next = program.ret(profile.default.0)?;
    for rule in rules.iter().rev() {
        let matched = program.ret(rule.verdict().0)?;
        next = if rule.compares_twice() {
            rule.comparisons()
                .try_fold(next, |next, one| compare(program, one, matched, next))?
        } else {
            rule.comparisons()
                .try_fold(matched, |yes, one| compare(program, one, yes, next))?
        };
    }
    Ok(next)
}

/// Goes to `yes` if the comparison is true, else to `no`.
fn compare(
    program: &mut Program<'_>,
    comparison: Comparison,
    yes: Label,
    no: Label,
) -> Result<Label, Full> {
    let offset = offset::ARGUMENTS.saturating_add(u32::from(comparison.index).saturating_mul(8));
    // Both architectures are little-endian: the lower half comes first.
    let (low_half, high_half) = (offset, offset.saturating_add(4));
    let halves = |value: u64| (value as u32, (value >> 32) as u32);
    let (low, high) = halves(comparison.value);
    let (condition, yes, no) = match comparison.operator {
        Operator::Equal => return equal(program, offset, comparison.value, u64::MAX, yes, no),
        Operator::NotEqual => return equal(program, offset, comparison.value, u64::MAX, no, yes),
        Operator::MaskedEqual => {
            // What the mask leaves out is not compared, as libseccomp has it.
            let (mask, value) = (comparison.value, comparison.value_two & comparison.value);
            return equal(program, offset, value, mask, yes, no);
        }
        Operator::Greater => (If::Greater, yes, no),
        Operator::GreaterOrEqual => (If::GreaterOrEqual, yes, no),
        Operator::Less => (If::GreaterOrEqual, no, yes),
        Operator::LessOrEqual => (If::Greater, no, yes),
    };
    program.branch(condition, low, yes, no)?;
    let same = program.load(low_half)?;
    let not_greater = program.branch(If::Equal, high, same, no)?;
    program.branch(If::Greater, high, yes, not_greater)?;
    program.load(high_half)
}

/// Goes to `yes` if the argument at `offset` is `value` where the mask has bits, else to `no`.
fn equal(
    program: &mut Program<'_>,
    offset: u32,
    value: u64,
    mask: u64,
    yes: Label,
    no: Label,
) -> Result<Label, Full> {
    let mut yes = yes;
    for (offset, shift) in [(offset, 0), (offset.saturating_add(4), 32)] {
        let (value, mask) = ((value >> shift) as u32, (mask >> shift) as u32);
        if mask == 0 {
            continue;
        }
        program.branch(If::Equal, value, yes, no)?;
        if mask != u32::MAX {
            program.and(mask)?;
        }
        yes = program.load(offset)?;
    }
    Ok(yes)
}
