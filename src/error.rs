//! What can go wrong, as one kind of value.
//!
//! A failure gathers its facts on the way up. The system call gives an *errno*; the layer that made
//! the call adds the *operation* and its *subject* and makes a [`Fault`]; the stage that wanted it
//! done adds a stable [`Code`], from which the stage follows, and makes an [`Error`]. The result
//! reads
//!
//! ```text
//! root: mount /dev/sdb1 as vfat: EINVAL: FAT-fs (sdb1): IO charset ascii not found  [B024]
//! ```
//!
//! and is followed by a hint from [`crate::hint`]. All three types are `Copy` and own nothing.
//!
//! What the kernel said stands in a field of its own, and a reason that is known has a [`Cause`].
//! The hint follows from code, cause and error number: never from text, in which anybody may have
//! written anything.

use core::fmt;

use rustix::io::Errno;

use crate::cause::Cause;
use crate::errno;
use crate::text::Text;

/// Room for the subject of a failure: a path, a device, a module, a key and its value.
pub const SUBJECT_MAX: usize = 192;

/// Room for the kernel's own words about a failure.
pub const WORDS_MAX: usize = SUBJECT_MAX;

/// Room for what else is known about a failure.
pub const DETAIL_MAX: usize = 288;

/// Where in the life of the machine something happened: the stages of the event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The first mounts, the console, the kernel command line.
    Early,
    /// Kernel modules.
    Modules,
    /// The root device and its filesystem.
    Root,
    /// The move onto the new root, and `init=`.
    Switch,
    /// Containers.
    Containers,
    /// The orderly end.
    Shutdown,
}

impl Stage {
    /// The name in the log and in the event stream.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::Modules => "modules",
            Self::Root => "root",
            Self::Switch => "switch",
            Self::Containers => "containers",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Declares an enum whose variants each have a text and that survives a trip through one byte.
macro_rules! vocabulary {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every value, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// How it reads in a message.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.text())
            }
        }
    };
}

vocabulary! {
    /// What was tried: the verb of a message, followed by its subject.
    Op {
        /// Becoming another user.
        Become = "become",
        /// Setting up a device.
        Configure = "set up",
        /// Creating a process.
        Clone = "create a process for",
        /// Changing the working directory.
        Chdir = "enter directory",
        /// Changing the root directory.
        Chroot = "make the root directory of",
        /// Copying a file.
        Copy = "copy",
        /// Making a directory, file or node.
        Create = "create",
        /// Giving up capabilities.
        Drop = "give up",
        /// Executing a program.
        Exec = "execute",
        /// Stopping the machine's containers and filesystems.
        Freeze = "freeze",
        /// Running a hook.
        Hook = "run hook",
        /// Entering a namespace that exists.
        Join = "join",
        /// Handing a module to the kernel.
        LoadModule = "load module",
        /// Reading a directory.
        List = "list",
        /// Mapping a file.
        Map = "map",
        /// Mounting a filesystem.
        Mount = "mount",
        /// Moving a mount.
        MoveMount = "move mount",
        /// Opening a file.
        Open = "open",
        /// Parsing what was read.
        Parse = "read",
        /// Making a pipe.
        Pipe = "make a pipe for",
        /// Exchanging the root mount.
        PivotRoot = "pivot_root to",
        /// Changing how a mount propagates.
        Propagation = "set propagation of",
        /// Reading bytes.
        Read = "read from",
        /// Stopping the machine.
        Reboot = "reboot(2)",
        /// Removing files.
        Remove = "remove",
        /// Setting an attribute of a process, or a name.
        Set = "set",
        /// Setting a name of the machine.
        SetHostname = "set hostname",
        /// Sending a signal.
        Signal = "signal",
        /// Opening a socket.
        Socket = "open socket for",
        /// Taking a terminal as the controlling one.
        Terminal = "take as terminal",
        /// Letting them go on.
        Thaw = "thaw",
        /// Unmounting.
        Unmount = "unmount",
        /// Waiting for something to appear.
        Wait = "wait for",
        /// Watching a descriptor.
        Watch = "watch",
        /// Writing bytes.
        Write = "write to",
    }
}

/// A system call that failed: the operation, its subject, the error number; and what the kernel
/// said besides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// What was tried.
    pub op: Op,
    /// Why, where that is known.
    pub cause: Cause,
    /// On what.
    pub subject: Text<SUBJECT_MAX>,
    /// What the kernel answered.
    pub errno: Errno,
    /// The kernel's own words, if it left any.
    pub words: Text<WORDS_MAX>,
}

impl Fault {
    /// Out of line and for any subject: the way of failure is taken once, and stands in many
    /// places.
    #[cold]
    #[inline(never)]
    pub fn new(op: Op, subject: &dyn fmt::Display, errno: Errno) -> Self {
        Self {
            op,
            cause: Cause::Unknown,
            subject: Text::new(subject),
            errno,
            words: Text::EMPTY,
        }
    }

    /// The same with its reason.
    #[must_use = "the fault with the cause is returned, not changed in place"]
    pub const fn because(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// Adds what the kernel said, and the reason that is in it: `cause`, unless there is one
    /// already.
    #[cold]
    #[inline(never)]
    pub fn quote(&mut self, words: &str, cause: Cause) {
        if !words.is_empty() {
            let separator = if self.words.is_empty() { "" } else { ": " };
            self.words.push(format_args!("{separator}{words}"));
        }
        if self.cause == Cause::Unknown {
            self.cause = cause;
        }
    }

    /// Adds under which code it is known.
    #[cold]
    #[inline(never)]
    pub const fn at(self, code: Code) -> Error {
        Error {
            code,
            op: self.op,
            cause: self.cause,
            subject: self.subject,
            errno: Some(self.errno),
            words: self.words,
            detail: Text::EMPTY,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = ["", self.words.as_str()];
        let errno = (Some(self.errno), (|_| None) as Words);
        write_failure(formatter, self.op, &self.subject, errno, texts)
    }
}

/// A failure with the C library's words beside the error's name. PID 1 does without them.
pub struct Explained<'e, T>(pub &'e T);

impl fmt::Display for Explained<'_, Fault> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = self.0;
        let texts = ["", fault.words.as_str()];
        let errno = (Some(fault.errno), errno::words as Words);
        write_failure(formatter, fault.op, &fault.subject, errno, texts)
    }
}

impl fmt::Display for Explained<'_, Error> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_error(formatter, self.0, errno::words)
    }
}

fn write_error(formatter: &mut fmt::Formatter<'_>, error: &Error, words: Words) -> fmt::Result {
    let texts = [error.detail.as_str(), error.words.as_str()];
    let errno = (error.errno, words);
    write_failure(formatter, error.op, &error.subject, errno, texts)?;
    write!(formatter, "  [{}]", error.code)
}

/// What is said about an error besides its name.
type Words = fn(Errno) -> Option<&'static str>;

/// What was tried, on what, the error's name, and what else there is to say.
fn write_failure(
    formatter: &mut fmt::Formatter<'_>,
    op: Op,
    subject: &dyn fmt::Display,
    (errno, words): (Option<Errno>, Words),
    texts: [&str; 2],
) -> fmt::Result {
    write!(formatter, "{op} {subject}")?;
    if let Some(errno) = errno {
        write!(formatter, ": {}", errno::Name(errno))?;
        if let Some(words) = words(errno) {
            write!(formatter, ": {words}")?;
        }
    }
    let mut texts = texts.into_iter().filter(|text| !text.is_empty());
    texts.try_for_each(|text| write!(formatter, ": {text}"))
}

/// Adds operation and subject to a bare error number.
pub trait During<T> {
    /// Names what was tried, and on what.
    ///
    /// # Errors
    /// Those of `self`, as a [`Fault`].
    fn during(self, op: Op, subject: impl fmt::Display) -> Result<T, Fault>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, op: Op, subject: impl fmt::Display) -> Result<T, Fault> {
        match self {
            Ok(value) => Ok(value),
            Err(errno) => Err(Fault::new(op, &subject, errno)),
        }
    }
}

/// Adds a reason to a [`Fault`], or a code.
pub trait At<T> {
    /// Adds the reason.
    ///
    /// # Errors
    /// Those of `self`, with `cause`.
    fn because(self, cause: Cause) -> Result<T, Fault>;

    /// Names the code of this failure.
    ///
    /// # Errors
    /// Those of `self`, as an [`Error`].
    fn at(self, code: Code) -> Result<T, Error>;
}

impl<T> At<T> for Result<T, Fault> {
    fn because(self, cause: Cause) -> Result<T, Fault> {
        self.map_err(|fault| fault.because(cause))
    }

    fn at(self, code: Code) -> Result<T, Error> {
        self.map_err(|fault| fault.at(code))
    }
}

/// Why a stage could not do its work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Error {
    /// The stable code of this kind of failure.
    pub code: Code,
    /// What was tried.
    pub op: Op,
    /// Why, where that is known.
    pub cause: Cause,
    /// On what.
    pub subject: Text<SUBJECT_MAX>,
    /// What the kernel answered, if it was asked.
    pub errno: Option<Errno>,
    /// The kernel's own words, if it left any.
    pub words: Text<WORDS_MAX>,
    /// What else is known: what a parser found, what is there instead.
    pub detail: Text<DETAIL_MAX>,
}

impl Error {
    /// A failure that no system call reported: `detail` says what is wrong with `subject`.
    pub fn new(code: Code, op: Op, subject: impl fmt::Display, detail: impl fmt::Display) -> Self {
        Self::found(code, op, &subject, &detail)
    }

    #[cold]
    #[inline(never)]
    fn found(code: Code, op: Op, subject: &dyn fmt::Display, detail: &dyn fmt::Display) -> Self {
        Self {
            code,
            op,
            cause: Cause::Unknown,
            subject: Text::new(subject),
            errno: None,
            words: Text::EMPTY,
            detail: Text::new(detail),
        }
    }

    /// The same with its reason.
    #[must_use = "the error with the cause is returned, not changed in place"]
    pub const fn because(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// The same with what else is known.
    #[must_use = "the error with the detail is returned, not changed in place"]
    pub fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Text::new(detail);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_error(formatter, self, |_| None)
    }
}

/// Declares the codes, so that the enum, the numbers and the table in `docs/failure-codes.md`
/// cannot disagree.
macro_rules! codes {
    ($($number:literal $variant:ident $meaning:literal,)*) => {
        /// The stable name of a kind of failure: `B` and three digits. Numbers are never used
        /// again.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Code { $(#[doc = $meaning] $variant = $number,)* }

        impl Code {
            /// Every code, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// What it means, in one line.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

codes! {
    1 CommandLine "the kernel command line cannot be read: too long, or not UTF-8",
    2 UnknownKey "the kernel command line has an unknown `berth.` key",
    3 BadValue "a key of the kernel command line has a value that does not parse",
    4 Unsupported "the kernel command line asks for something that this version cannot do",
    5 EarlyMount "one of the first mounts (proc, sysfs, devtmpfs, …) failed",
    6 NotPid1 "`/init` was started, and is not PID 1",
    7 Panic "berth panicked: a defect of its own",
    8 EventLoop "a descriptor that PID 1 waits on could not be made",
    10 ModuleMissing "a module that modules.dep names is not in the image",
    11 ModuleRelease "the modules in the image are of another kernel release",
    12 ModuleRejected "the kernel refused a module",
    13 ModuleIndex "modules.dep, modules.softdep or /etc/berth/modules cannot be read",
    20 RootNotFound "the root device did not appear in time",
    21 RootUnreadable "the root device cannot be opened or read",
    22 RootUnknownType "no known filesystem was recognised on the root device",
    23 RootNoDriver "the kernel does not know the filesystem of the root device",
    24 RootMount "the root filesystem could not be mounted",
    25 RootVerity "dm-verity could not be set up below the root",
    26 RootCorrupt "the root, or its hash tree, is not what the root hash of `berth.verity=` says",
    27 RootArchive "the archive for `root=tmpfs`, /root.cpio, cannot be unpacked",
    28 RootCheck "the check of the root filesystem that `berth.fsck=` asks for has failed, or has left errors",
    30 MountPoints "the new root lacks directories, and is read-only",
    31 NewRoot "the new root cannot become `/`",
    32 Switch "the move onto the new root failed halfway",
    40 InitMissing "the program of `init=` does not exist on the new root",
    41 InitNotExecutable "the program of `init=` is not a regular, executable file",
    42 InitFormat "the program of `init=` cannot run on this machine",
    43 InitInterpreter "the interpreter of the program of `init=` is missing",
    44 InitExec "the kernel refused to execute the program of `init=`",
    50 NoContainers "the directory of bundles cannot be read",
    51 BundleConfig "a bundle's config.json cannot be read",
    52 BundleRefused "a bundle asks for something that this version cannot enforce",
    53 ContainerSetup "a container could not be set up",
    54 ContainerExec "a container's program could not be executed",
    55 ContainerLimit "there are more bundles than can be supervised",
    56 BerthMissing "the program that starts containers is neither in the image nor on the root",
    57 BerthFailed "the program that starts containers ended early, or answered what cannot be understood",
    58 Watchdog "the watchdog that `berth.watchdog=` asks for cannot be armed",
    59 Requirement "what `berth.requires` names is not ready, and cannot become so any more, or is late",
    60 Unmount "a filesystem could not be unmounted at the end",
    61 Unwritten "what was written did not reach the disks at the end",
    62 NoKernel "no kernel is loaded that kexec could start",
    63 LogFiles "what containers print cannot be written to the directory of `berth.log=`",
    64 Seed "the random seed cannot be kept on the root",
    65 AutomountPlace "disks cannot be mounted in the directory of `berth.automount=`",
    66 DiskMount "a disk that appeared could not be mounted",
    67 DiskLost "a disk does not answer, or the program that looks at it has ended early",
    68 NetworkWord "a word of `ip=`, `nameserver=` or `ifname=` cannot be honoured",
    69 Network "a network device, or the machine's name, cannot be set up as it was asked for",
    70 Usage "the words of a command cannot be understood",
    71 InUse "there is a container of this id already",
    72 NoContainer "there is no container of this id",
    73 WrongStatus "the container is not in a state in which this can be done",
    74 State "what is remembered of containers cannot be read or written",
    75 Control "the processes of a container cannot be reached",
    76 Terminal "a terminal could not be set up or handed over",
    77 Output "what a command has to say could not be written",
    78 Freeze "the machine is frozen, or cannot be frozen or thawed",
}

impl Code {
    /// The stage that fails with it. None for what can fail in any: then it is the one that the
    /// machine is in.
    pub const fn stage(self) -> Option<Stage> {
        Some(match self {
            // What is waited on is made by several stages; `root=` may have a form that only its
            // own stage finds to be none; bundles are missed where a candidate for the root is
            // looked at, and where they are to be started.
            Self::Unsupported | Self::Panic | Self::EventLoop | Self::NoContainers => return None,
            Self::CommandLine
            | Self::UnknownKey
            | Self::BadValue
            | Self::EarlyMount
            | Self::NotPid1 => Stage::Early,
            Self::ModuleMissing
            | Self::ModuleRelease
            | Self::ModuleRejected
            | Self::ModuleIndex => Stage::Modules,
            Self::RootNotFound
            | Self::RootUnreadable
            | Self::RootUnknownType
            | Self::RootNoDriver
            | Self::RootMount
            | Self::RootVerity
            | Self::RootCorrupt
            | Self::RootArchive
            | Self::RootCheck => Stage::Root,
            Self::MountPoints
            | Self::NewRoot
            | Self::Switch
            | Self::InitMissing
            | Self::InitNotExecutable
            | Self::InitFormat
            | Self::InitInterpreter
            | Self::InitExec
            | Self::BerthMissing => Stage::Switch,
            Self::BundleConfig
            | Self::BundleRefused
            | Self::ContainerSetup
            | Self::ContainerExec
            | Self::ContainerLimit
            | Self::Watchdog
            | Self::Requirement
            | Self::NetworkWord
            | Self::Network
            | Self::BerthFailed
            | Self::LogFiles
            | Self::Seed
            | Self::Freeze
            | Self::AutomountPlace
            | Self::DiskMount
            | Self::DiskLost
            | Self::Usage
            | Self::InUse
            | Self::NoContainer
            | Self::WrongStatus
            | Self::State
            | Self::Control
            | Self::Terminal
            | Self::Output => Stage::Containers,
            Self::Unmount | Self::Unwritten | Self::NoKernel => Stage::Shutdown,
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "B{:03}", *self as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_one_line() {
        let mut fault = Fault::new(Op::Mount, &"/dev/sdb1 as vfat", Errno::INVAL);
        let words = "FAT-fs (sdb1): IO charset ascii not found";
        fault.quote(words, Cause::Charset);
        let error = fault.at(Code::RootMount);
        assert_eq!(error.cause, Cause::Charset);
        assert_eq!(
            error.to_string(),
            "mount /dev/sdb1 as vfat: EINVAL: FAT-fs (sdb1): IO charset ascii not found  [B024]"
        );
    }

    #[test]
    fn the_c_librarys_words_stand_beside_the_name_where_they_are_asked_for() {
        let mut fault = Fault::new(Op::Open, &"/nowhere", Errno::NOENT);
        assert_eq!(format!("{fault}"), "open /nowhere: ENOENT");
        let shown = "open /nowhere: ENOENT: no such file or directory";
        assert_eq!(Explained(&fault).to_string(), shown);
        fault.quote("nowhere: it is gone", Cause::Unknown);
        let error = fault.at(Code::State).with_detail("look elsewhere");
        let shown = format!("{shown}: look elsewhere: nowhere: it is gone  [B074]");
        assert_eq!(Explained(&error).to_string(), shown);
    }

    #[test]
    fn an_error_without_a_system_call_reads_as_one_line() {
        let error = Error::new(
            Code::BadValue,
            Op::Parse,
            "rootwait=soon",
            "accepted: seconds",
        );
        assert_eq!(
            error.to_string(),
            "read rootwait=soon: accepted: seconds  [B003]"
        );
    }

    #[test]
    fn codes_are_in_order_and_told_apart() {
        assert!(Code::ALL.is_sorted_by(|a, b| (*a as u16) < (*b as u16)));
    }

    #[test]
    fn operations_keep_their_place_in_the_list() {
        for (number, op) in Op::ALL.iter().enumerate() {
            assert_eq!(*op as usize, number);
        }
    }

    #[test]
    fn an_error_stays_small() {
        assert!(size_of::<Error>() <= 128 + SUBJECT_MAX + WORDS_MAX + DETAIL_MAX);
        assert!(size_of::<Fault>() <= 128 + SUBJECT_MAX + WORDS_MAX);
    }
}
