//! `init=`: the machine is handed to another program, which becomes PID 1 in our place.
//!
//! The program is checked before the switch, while the initramfs and its shell are still there. It
//! has to exist on the new root and to be a regular file that may be executed: a script whose
//! interpreter exists, or an ELF file (elf(5)) of this machine whose dynamic loader exists. Paths
//! are resolved inside the new root, as they will be after the switch.

use core::fmt;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use super::journal::Journal;
use crate::error::{At, Code, During, Error, Fault, Op};
use crate::parse::executable::{Executable, ExecutableError};
use crate::plan::{Plan, is_for_this_program};
use crate::sys::arch;
use crate::sys::fs::{self, read_up_to};
use crate::sys::process::{Arguments, Environment};
use crate::sys::strings::Strings;
use crate::sys::{process, signal};
use crate::text::Text;

/// How much of a program is read to recognise it: what the kernel reads for a script
/// (BINPRM_BUF_SIZE), and enough for the program headers of an ELF file, which linkers put first.
const HEAD: usize = 4096;

/// How many scripts may name another script as interpreter (the kernel's limit, exec_binprm()).
const DEPTH: usize = 5;

/// Arguments, or variables: the kernel keeps 32 of each, from a command line of at most 4 KiB.
type List = Strings<8192, 64>;

/// The next PID 1, proven to be executable.
pub(super) struct Successor {
    program: heapless::String<255>,
}

/// Proves that `program` on the root filesystem at `new_root` can be executed.
///
/// # Errors
/// [`Code::InitMissing`], [`Code::InitNotExecutable`], [`Code::InitFormat`],
/// [`Code::InitInterpreter`].
#[inline(never)]
pub(super) fn check(new_root: &str, program: &str) -> Result<Successor, Error> {
    let root = fs::open_directory(CWD, new_root).at(Code::NewRoot)?;
    let too_long = || {
        Err(Errno::NAMETOOLONG)
            .during(Op::Exec, format_args!("init={program}"))
            .at(Code::InitMissing)
    };
    let Ok(name) = heapless::String::try_from(program) else {
        return too_long();
    };
    let mut interpreter = Text::<255>::new(program);
    for depth in 0..DEPTH {
        let subject = Subject {
            program,
            interpreter: interpreter.as_str(),
        };
        let mut head = [0; HEAD];
        let (len, size) = read_head(root.as_fd(), interpreter.as_str(), &mut head)
            .map_err(|(code, errno)| subject.failed(code, depth, errno))?;
        let head = head.get(..len).unwrap_or_default();
        let executable = Executable::parse(head).map_err(|error| subject.unfit(error))?;
        match executable {
            Executable::Elf { machine, .. } if machine != arch::ELF_MACHINE => {
                return Err(subject.unfit(format_args!(
                    "it is for machine {machine} of elf(5), this one is {} ({})",
                    arch::ELF_MACHINE,
                    arch::NAME
                )));
            }
            Executable::Elf { end, .. } if end > size => {
                return Err(subject.unfit(format_args!(
                    "the file has {size} bytes of the {end} that its headers tell of"
                )));
            }
            Executable::Elf {
                interpreter: None, ..
            } => return Ok(Successor { program: name }),
            Executable::Elf {
                interpreter: Some(loader),
                ..
            } => {
                let loader = Text::<255>::new(loader);
                let subject = Subject {
                    program,
                    interpreter: loader.as_str(),
                };
                read_head(root.as_fd(), loader.as_str(), &mut [0; HEAD])
                    .map_err(|(code, errno)| subject.failed(code, 1, errno))?;
                return Ok(Successor { program: name });
            }
            Executable::Script { interpreter: next } => interpreter = Text::new(next),
        }
    }
    Err(Subject {
        program,
        interpreter: interpreter.as_str(),
    }
    .unfit("scripts name each other as interpreters, more than five deep"))
}

/// What is being proven: the program, or what it needs.
#[derive(Clone, Copy)]
struct Subject<'a> {
    program: &'a str,
    interpreter: &'a str,
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "init={}", self.program)?;
        if self.interpreter != self.program {
            write!(formatter, " (interpreter {})", self.interpreter)?;
        }
        Ok(())
    }
}

impl Subject<'_> {
    fn failed(&self, code: Code, depth: usize, errno: Errno) -> Error {
        let code = if depth > 0 {
            Code::InitInterpreter
        } else {
            code
        };
        let fault = Fault::new(Op::Exec, self, errno);
        let detail = match errno {
            Errno::NOENT => "it is not on the new root",
            Errno::ACCESS => "it is not a regular file with a permission to execute it",
            _ => "",
        };
        fault.at(code).with_detail(detail)
    }

    fn unfit(&self, reason: impl fmt::Display) -> Error {
        Error::new(Code::InitFormat, Op::Exec, self, reason)
    }
}

impl From<ExecutableError> for Text<64> {
    fn from(error: ExecutableError) -> Self {
        Self::new(error)
    }
}

/// Reads the beginning of the regular, executable file that `path` names inside `root`; the bytes
/// that were read, and the size of the file.
fn read_head(
    root: BorrowedFd<'_>,
    path: &str,
    head: &mut [u8; HEAD],
) -> Result<(usize, u64), (Code, Errno)> {
    let missing = |errno| (Code::InitMissing, errno);
    let unfit = |errno| (Code::InitNotExecutable, errno);
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // Opening a FIFO or a device could block or act; O_PATH does neither.
    let place: OwnedFd = openat2(
        root,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    )
    .map_err(missing)?;
    let stat = fstat(&place).map_err(missing)?;
    let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_regular || stat.st_mode & 0o111 == 0 {
        return Err(unfit(Errno::ACCESS));
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat2(root, path, flags, Mode::empty(), resolve).map_err(unfit)?;
    let len = read_up_to(&file, head).map_err(unfit)?;
    Ok((len, stat.st_size.cast_unsigned()))
}

impl Successor {
    /// Executes the program, with arguments and variables as the kernel would: the words that
    /// neither it nor berth knows, and those after `--` (`unknown_bootoption()` in init/main.c).
    /// Returns only if that fails.
    pub(super) fn execute(
        &self,
        journal: &mut Journal,
        plan: &Plan<'_>,
        (given, environment): (Arguments<'_>, Environment<'_>),
    ) -> Error {
        let failed = |errno| {
            let subject = format_args!("init={}", self.program);
            Fault::new(Op::Exec, &subject, errno).at(Code::InitExec)
        };
        let mut arguments = List::new();
        let mut variables = List::new();
        let given = given.iter().skip(1).filter_map(Result::ok);
        let mut push = |word: &dyn fmt::Display| arguments.push(format_args!("{word}"));
        let pushed = push(&self.program)
            .and_then(|()| plan.unknown_words(given).try_for_each(|word| push(&word)))
            .and_then(|()| plan.init_args.clone().try_for_each(|word| push(&word)))
            .and_then(|()| {
                let mut theirs = environment.iter().filter(|word| !is_for_this_program(word));
                theirs.try_for_each(|word| variables.push(format_args!("{word}")))
            });
        if let Err(errno) = pushed {
            return failed(errno);
        }
        journal.events.flush();
        signal::reset();
        let errno = variables.with_list(|variables| {
            let environment = Environment::from_list(variables);
            arguments.with_list(|list| process::execute(&self.program, list, environment))
        });
        failed(errno)
    }
}
