//! The command: berth as an OCI runtime, a program beside PID 1.
//!
//! People type it, and engines call it (podman, containerd), as they call other runtimes: the
//! operations of the runtime specification (runtime.md, "Operations") and what has become usual
//! besides. Each is a file here and a row of [`SUBCOMMANDS`]; the words are read by that table,
//! `--help` and `docs/command.md` are printed from it.
//!
//! # What there is between two calls
//!
//! No process stays behind to remember anything. A container is its processes, its control group,
//! and a directory of [`state`] below `--root`. Whether it runs is asked of the kernel each time.
//!
//! # What is printed
//!
//! On standard output what was asked for, on standard error why it was not done, in the file of
//! `--log` the same for the engine ([`journal`]). The status is 0, or that of the program that was
//! run, or 125 where berth itself failed; and as a shell has it, 127 for a program that is not
//! there and 126 for one that cannot be executed.

use core::fmt;

use rustix::io::Errno;

use crate::error::{Code, During, Error, Fault, Op};
use crate::events::OWN_FAILURE;
use crate::parse::arguments::{ArgumentError, Given, MAX_OPERANDS, Opt, Options};
use crate::parse::config::container_id;
use crate::parse::nearest::nearest;
use crate::parse::request::RECORDS;
use crate::sys::namespace::is_machines_root;
use crate::sys::path::{Path, path};
use crate::sys::process::{Arguments, Environment};
use crate::sys::sealed::become_sealed;
use crate::sys::{console, process, signal};
use crate::text::{Quoted, Text};

mod attend;
mod carry;
mod check;
mod create;
mod delete;
mod descriptors;
mod disks;
mod events;
mod exec;
mod features;
mod freeze;
mod group;
mod help;
mod journal;
mod kill;
mod late_hooks;
mod launch;
mod limits;
mod list;
mod lock;
mod log_files;
mod machine;
mod network;
mod notify;
mod output;
mod outside;
mod path_watch;
mod pause;
mod print_state;
mod ps;
mod readiness;
mod record;
mod relay;
mod resctrl;
mod run;
mod serve;
mod signals;
mod spec;
mod start;
mod state;
mod supervised;
mod systemd;
mod terminal;
mod time;
mod update;

use crate::container::Status;
use journal::Journal;

/// One of the commands.
pub struct Subcommand {
    /// What is typed.
    pub name: &'static str,
    /// Its operands, as the usage shows them.
    pub operands: &'static str,
    /// How many there may be: at least, at most.
    pub count: (usize, usize),
    /// After so many operands the rest of the words is a program's.
    pub raw_from: usize,
    /// Its options.
    pub options: Options,
    /// What it does.
    pub about: &'static str,
    run: fn(&Call<'_>) -> Result<u8, Reported>,
}

/// All of them, in the order of a container's life.
pub const SUBCOMMANDS: &[Subcommand] = &[
    create::COMMAND,
    start::COMMAND,
    run::COMMAND,
    exec::COMMAND,
    print_state::COMMAND,
    kill::COMMAND,
    delete::COMMAND,
    list::COMMAND,
    ps::COMMAND,
    pause::PAUSE,
    pause::RESUME,
    update::COMMAND,
    events::COMMAND,
    features::COMMAND,
    spec::COMMAND,
    check::COMMAND,
    machine::LOGS,
    machine::STOP,
    machine::RESTART,
    machine::BOOT,
    machine::MOUNTS,
    machine::FREEZE,
    machine::THAW,
    machine::POWEROFF,
    machine::REBOOT,
    machine::HALT,
    machine::KEXEC,
];

const ROOT: Opt = Opt {
    long: "root",
    short: None,
    value: Some("DIR"),
    about: "where containers are recorded: /run/berth, or $XDG_RUNTIME_DIR/berth",
};
const LOG: Opt = Opt {
    long: "log",
    short: None,
    value: Some("FILE"),
    about: "append failures and warnings to this file too",
};
const LOG_FORMAT: Opt = Opt {
    long: "log-format",
    short: None,
    value: Some("text|json"),
    about: "the format of that file; default: text",
};
const DEBUG: Opt = Opt {
    long: "debug",
    short: None,
    value: None,
    about: "also report what is ignored, and what berth does without",
};
const CGROUP_MANAGER: Opt = Opt {
    long: "cgroup-manager",
    short: None,
    value: Some("cgroupfs|systemd"),
    about: "who makes control groups: berth itself (cgroupfs), or systemd",
};
const SYSTEMD_CGROUP: Opt = Opt {
    long: "systemd-cgroup",
    short: None,
    value: None,
    about: "have systemd make control groups, as scopes",
};
const VERSION: Opt = Opt {
    long: "version",
    short: Some('v'),
    value: None,
    about: "print the versions of berth and of the specification",
};
const HELP: Opt = Opt {
    long: "help",
    short: Some('h'),
    value: None,
    about: "print this, or what a command takes",
};

const DETACH: Opt = Opt {
    long: "detach",
    short: Some('d'),
    value: None,
    about: "do not wait for the program to end",
};
const QUIET: Opt = Opt {
    long: "quiet",
    short: Some('q'),
    value: None,
    about: "print ids only",
};

/// Options that every command takes.
pub const GLOBAL: Options = &[
    &ROOT,
    &LOG,
    &LOG_FORMAT,
    &DEBUG,
    &CGROUP_MANAGER,
    &SYSTEMD_CGROUP,
    &VERSION,
    &HELP,
];

/// One call of a command.
struct Call<'a> {
    arguments: Arguments<'a>,
    given: Given<'a>,
    environment: Environment<'a>,
    root: Path,
    journal: Journal,
    /// Whether its caller ignores SIGPIPE.
    ignores_pipes: bool,
    /// The command, for messages.
    name: &'static str,
}

/// A failure that was told where it happened; what is left of it is the status for the caller.
/// Functions that can fail in ten places would otherwise move an [`Error`] of 700 bytes in each.
#[derive(Clone, Copy)]
struct Reported(u8);

/// Tells why something failed, at once.
trait OrReport<T> {
    /// Under the code that it is known by.
    ///
    /// # Errors
    /// That there was one.
    fn or_report(self, call: &Call<'_>, code: Code) -> Result<T, Reported>;
}

impl<T> OrReport<T> for Result<T, Fault> {
    fn or_report(self, call: &Call<'_>, code: Code) -> Result<T, Reported> {
        self.map_err(|fault| call.told(&fault, code))
    }
}

/// Does what the words say; the status for the caller.
#[inline(never)]
pub fn main(arguments: Arguments<'_>, environment: Environment<'_>) -> u8 {
    let ignores_pipes = signal::ignore_pipes_only();
    console::fill_standard_descriptors_with(console::open_null());
    let mut call = Call {
        arguments,
        given: Given::default(),
        environment,
        root: Path::new(),
        journal: Journal::default(),
        ignores_pipes,
        name: "command",
    };
    match call.dispatch() {
        Ok(status) | Err(Reported(status)) => status,
    }
}

/// What the panic handler does: the report, and the end.
pub fn panicked(place: fmt::Arguments<'_>) -> ! {
    let error = Error::new(Code::Panic, Op::Exec, "berth", place);
    Journal::default().fail("panic", &error);
    process::exit(status_of(&error).into())
}

/// The status that tells the caller of a failure (POSIX, "Exit Status for Commands", for programs
/// that cannot be executed).
fn status_of(error: &Error) -> u8 {
    match (error.code, error.errno) {
        (Code::ContainerExec, Some(Errno::NOENT)) => 127,
        (Code::ContainerExec, _) => 126,
        _ => OWN_FAILURE,
    }
}

impl<'a> Call<'a> {
    /// Tells of a failure.
    #[cold]
    #[inline(never)]
    fn fail(&self, error: &Error) -> Reported {
        self.journal.fail(self.name, error);
        Reported(status_of(error))
    }

    #[cold]
    #[inline(never)]
    fn told(&self, fault: &Fault, code: Code) -> Reported {
        self.fail(&fault.at(code))
    }

    /// Tells of what no system call reported: `detail` says what is wrong with `subject`.
    #[cold]
    #[inline(never)]
    fn found(
        &self,
        code: Code,
        op: Op,
        subject: &dyn fmt::Display,
        detail: &dyn fmt::Display,
    ) -> Reported {
        self.fail(&Error::new(code, op, subject, detail))
    }

    /// Tells what is wrong with the words.
    fn usage(&self, detail: impl fmt::Display) -> Reported {
        self.found(Code::Usage, Op::Parse, &"the command line", &detail)
    }

    /// Tells that the container is not in a state in which this can be done; in words that engines
    /// know, which are `known` for one that has not stopped.
    fn wrong_status(&self, op: Op, id: &str, status: Status, known: &str) -> Reported {
        let (known, separator) = match (status, known) {
            (Status::Stopped, _) => ("container not running", ": "),
            (_, "") => ("", ""),
            _ => (known, ": "),
        };
        let detail = format_args!("{known}{separator}it is {}", status.name());
        self.found(Code::WrongStatus, op, &id, &detail)
    }

    fn dispatch(&mut self) -> Result<u8, Reported> {
        let mut words = heapless::Vec::<&str, { MAX_OPERANDS + 1 }>::new();
        for word in self.arguments.iter().skip(1) {
            let word = word.map_err(|word| {
                self.usage(format_args!(
                    "{} is not UTF-8",
                    Text::<64>::from_bytes(word.to_bytes())
                ))
            })?;
            words
                .push(word)
                .map_err(|_| self.usage(ArgumentError::TooMany(word)))?;
        }
        let sets = [GLOBAL, supervised::GLOBAL];
        let read = self.given.read(&mut words.into_iter(), &sets, 0);
        read.map_err(|error| self.usage(error))?;
        self.open_journal()?;
        let words = core::mem::take(&mut self.given.operands);
        let Some(typed) = words.first() else {
            return self.without_subcommand();
        };
        let all = SUBCOMMANDS.iter().chain(supervised::SUBCOMMANDS);
        let command = all.into_iter().find(|command| command.name == *typed);
        let command = command.ok_or_else(|| self.unknown(typed))?;
        self.name = command.name;
        let sets = [GLOBAL, supervised::GLOBAL, command.options];
        let mut words = words.into_iter().skip(1);
        let read = self.given.read(&mut words, &sets, command.raw_from);
        read.map_err(|error| self.usage(error))?;
        self.open_journal()?;
        if self.given.has(&HELP) {
            return help::of(self, command);
        }
        self.check_operands(command)?;
        if let Some(done) = machine::forward(self, command) {
            return done;
        }
        systemd::is_asked(self)?;
        self.root = self.root_directory()?;
        (command.run)(self)
    }

    fn open_journal(&mut self) -> Result<(), Reported> {
        let is_json = match self.given.value(&LOG_FORMAT) {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => {
                let value = Quoted(other);
                return Err(self.usage(format_args!("--log-format is text or json, not {value}")));
            }
        };
        let is_debug = self.given.has(&DEBUG);
        let supervisor = core::mem::take(&mut self.journal).into_supervisor();
        let opened = Journal::open(self.given.value(&LOG), is_json, is_debug);
        self.journal = opened.or_report(self, Code::Output)?;
        let connection = self.given.value(&supervised::ANSWERS);
        let connection = connection
            .and_then(|number| crate::sys::descriptors::take_inherited(number.parse().ok()?));
        let supervisor = connection.map(supervised::Supervisor::new).or(supervisor);
        self.journal.tell_to(supervisor);
        Ok(())
    }

    /// `berth`, `berth --help`, `berth --version`.
    fn without_subcommand(&self) -> Result<u8, Reported> {
        if self.given.has(&VERSION) {
            return help::version(self);
        }
        if self.given.has(&HELP) {
            return help::overview(self);
        }
        Err(self.usage("there is no command"))
    }

    fn check_operands(&self, command: &Subcommand) -> Result<(), Reported> {
        let (least, most) = command.count;
        let count = self.given.operands.len();
        if count < least || count > most {
            let wrong = if count < least {
                "an operand is missing"
            } else {
                "there are too many operands"
            };
            let Subcommand { name, operands, .. } = command;
            return Err(self.usage(format_args!("{wrong}: berth {name} {operands}")));
        }
        Ok(())
    }

    fn root_directory(&self) -> Result<Path, Reported> {
        // Root of a user's namespace keeps containers where that user does.
        let own = match is_machines_root() {
            true => None,
            false => self.environment.value("XDG_RUNTIME_DIR"),
        };
        let directory = match (self.given.value(&ROOT), own) {
            (Some(root), _) => path(format_args!("{root}")),
            (None, Some(directory)) => path(format_args!("{directory}/berth")),
            (None, None) if rustix::process::geteuid().is_root() => path(format_args!("{RECORDS}")),
            (None, None) => {
                return Err(self.usage("--root is missing, and $XDG_RUNTIME_DIR is not set"));
            }
        };
        directory
            .during(Op::Open, "--root")
            .or_report(self, Code::State)
    }

    /// Makes sure that what a container can see of this process is no way to the host's file.
    ///
    /// # Errors
    /// [`Code::ContainerSetup`]
    fn seal(&self) -> Result<(), Reported> {
        become_sealed(self.arguments.list(), self.environment).or_report(self, Code::ContainerSetup)
    }

    /// The first operand, as a container's name.
    fn id(&self) -> Result<&'a str, Reported> {
        let typed = self.given.operands.first().copied().unwrap_or_default();
        container_id(typed.as_bytes())
            .map_err(|error| self.usage(format_args!("{error}, not {}", Quoted(typed))))
    }

    fn unknown(&self, typed: &str) -> Reported {
        let names = SUBCOMMANDS.iter().map(|command| command.name);
        let shown = Quoted(typed);
        match nearest(typed, names) {
            Some(name) => self.usage(format_args!("there is no command {shown}, perhaps {name}")),
            None => self.usage(format_args!("there is no command {shown}")),
        }
    }
}
