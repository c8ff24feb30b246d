//! The container's program: its arguments and variables, and where it is.

use core::convert::Infallible;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use crate::cause::Cause;
use crate::error::{At, During, Fault, Op};
use crate::parse::config::{MAX_SIZE, MAX_STRINGS, Process};
use crate::parse::json::Unescaped;
use crate::parse::passwd;
use crate::sys::buffer::Buffer;
use crate::sys::path::{LongPath, long_path};
use crate::sys::process::{self, Environment};
use crate::sys::strings::Strings;

/// Where programs are looked for without a `PATH` in `process.env`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The permissions to execute, in `st_mode`.
const ANY_EXECUTE: u32 = 0o111;

/// As large as all that a `config.json` can hold, and variables that are added to that.
pub(super) type List = Strings<{ MAX_SIZE + PASSWD_MAX }, { MAX_STRINGS + 4 }>;

/// Where the container has its users (passwd(5)), and how much of that is read.
const PASSWD: &str = "/etc/passwd";
const PASSWD_MAX: usize = 256 * 1024;

/// A program that is ready to be executed. From then on that takes no memory and no descriptor, of
/// which the limits of `process.rlimits` may leave none.
pub(super) struct Program {
    arguments: List,
    variables: List,
}

impl Program {
    #[inline(never)]
    pub(super) fn new(process: &Process<'_>, more: &[&str]) -> Result<Self, Fault> {
        let mut program = Self {
            arguments: List::new(),
            variables: List::new(),
        };
        for text in process.args.iter() {
            let pushed = program.arguments.push(format_args!("{}", Unescaped(text)));
            pushed.during(Op::Exec, text)?;
        }
        for text in process.env.iter() {
            let set = program.variables.set(format_args!("{}", Unescaped(text)));
            set.during(Op::Exec, text)?;
        }
        // An empty HOME counts as none: Docker relies on that.
        if value_after("HOME=", &program.variables).is_none_or(str::is_empty) {
            program.set_home(process.user.uid)?;
        }
        for variable in more {
            let set = program.variables.set(format_args!("{variable}"));
            set.during(Op::Exec, variable)?;
        }
        Ok(program)
    }

    /// Sets HOME to the directory that the container's passwd(5) has for the user, or to `/`, as
    /// runc and crun do. The root is the container's by now, and what an image has by that name is
    /// opened only if it is a file.
    #[inline(never)]
    fn set_home(&mut self, uid: u32) -> Result<(), Fault> {
        let mut room = Buffer::<PASSWD_MAX>::new();
        let users = open_passwd().and_then(|file| room.fill_from(&file));
        let home = passwd::home(users.unwrap_or_default(), uid).unwrap_or("/");
        self.variables
            .set(format_args!("HOME={home}"))
            .during(Op::Exec, "HOME")
    }

    /// Becomes the program. Returns only what went wrong.
    pub(super) fn execute(&self) -> Result<Infallible, Fault> {
        self.find(&|path| Err(self.try_path(path)))?;
        // execve(2) returned, so it has not executed the program.
        Err(Errno::NOEXEC).during(Op::Exec, "")
    }

    /// Checks that there is a program. Whether the user of the program may execute it, and whether
    /// its interpreter is there, is known only when it is executed.
    ///
    /// # Errors
    /// `ENOENT` and the like, `EACCES` for what is no file or has no permission for anybody to
    /// execute it.
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.find(&|path| match statat(CWD, path, AtFlags::empty()) {
            Ok(stat) => {
                let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                let is_executable = stat.st_mode & ANY_EXECUTE != 0;
                (is_file && is_executable)
                    .then_some(())
                    .ok_or(Errno::ACCESS)
            }
            // Root may not be allowed to look (on a network's filesystem, or in a user namespace).
            Err(Errno::ACCESS) => Ok(()),
            Err(errno) => Err(errno),
        })
    }

    /// Attempts the path, or those in PATH until one does.
    #[inline(never)]
    fn find(&self, attempt: &dyn Fn(&str) -> Result<(), Errno>) -> Result<(), Fault> {
        let name = value_after("", &self.arguments).unwrap_or_default();
        if name.as_bytes().contains(&b'/') {
            return attempt(name).during(Op::Exec, name);
        }
        let search = value_after("PATH=", &self.variables).unwrap_or(DEFAULT_PATH);
        let mut errno = Errno::NOENT;
        let mut room = LongPath::new();
        for directory in search.split(':').filter(|part| !part.is_empty()) {
            let path = long_path(&mut room, format_args!("{directory}/{name}"));
            match path.and_then(attempt) {
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                // Found, but not executable: worth more than "not found" if nothing better comes
                // (execvp(3)).
                Err(Errno::ACCESS) => errno = Errno::ACCESS,
                other => return other.during(Op::Exec, name),
            }
        }
        Err(errno)
            .during(Op::Exec, format_args!("{name} in PATH"))
            .because(Cause::NotInPath)
    }

    fn try_path(&self, path: &str) -> Errno {
        self.variables.with_list(|variables| {
            let environment = Environment::from_list(variables);
            self.arguments
                .with_list(|arguments| process::execute(path, arguments, environment))
        })
    }
}

fn open_passwd() -> Result<OwnedFd, Errno> {
    let found = statat(CWD, PASSWD, AtFlags::empty())?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(Errno::NOENT);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(CWD, PASSWD, flags, Mode::empty())
}

/// What follows `prefix` in the first string that begins so.
#[inline(never)]
pub(super) fn value_after<'l>(prefix: &str, list: &'l List) -> Option<&'l str> {
    let texts = list.iter().filter_map(|text| text.to_str().ok());
    let mut found = texts.filter_map(|text| text.strip_prefix(prefix));
    found.next()
}
