//! The container's program: its arguments and variables, and where it is.

use core::convert::Infallible;

use rustix::fs::{AtFlags, CWD, FileType, statat};
use rustix::io::Errno;

use crate::error::{During, Fault, Op};
use crate::parse::config::{MAX_SIZE, MAX_STRINGS, Process};
use crate::parse::json::Unescaped;
use crate::sys::process::{self, Environment};
use crate::sys::strings::Strings;

/// Where programs are looked for without a `PATH` in `process.env`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What follows the name of a program that was looked for.
pub(super) const IN_PATH: &str = " in PATH";

/// The permissions to execute, in `st_mode`.
const ANY_EXECUTE: u32 = 0o111;

/// As large as all that a `config.json` can hold.
pub(super) type List = Strings<MAX_SIZE, MAX_STRINGS>;

/// A program that is ready to be executed: that takes no memory and no descriptor any more, of which the limits of
/// `process.rlimits` may leave none.
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
        let lists = [
            (&mut program.arguments, process.args),
            (&mut program.variables, process.env),
        ];
        for (list, strings) in lists {
            for text in strings.iter() {
                list.push(format_args!("{}", Unescaped(text)))
                    .during(Op::Exec, text)?;
            }
        }
        for variable in more {
            let pushed = program.variables.push(format_args!("{variable}"));
            pushed.during(Op::Exec, variable)?;
        }
        Ok(program)
    }

    /// Becomes the program. Returns only what went wrong.
    pub(super) fn execute(&self) -> Result<Infallible, Fault> {
        self.find(&|path| Err(self.try_path(path)))
    }

    /// Sees whether there is a program. That it can be executed by whom it will be, and that its interpreter is there, is not known
    /// before it is.
    ///
    /// # Errors
    /// `ENOENT` and the like, `EACCES` for what is no file or has no permission for anybody to execute it.
    pub(super) fn look(&self) -> Result<(), Fault> {
        self.find(&|path| match statat(CWD, path, AtFlags::empty()) {
            Ok(stat) => {
                let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                let is_executable = stat.st_mode & ANY_EXECUTE != 0;
                (is_file && is_executable)
                    .then_some(())
                    .ok_or(Errno::ACCESS)
            }
            // Root may be who cannot look (on a network's filesystem, or in a user namespace).
            Err(Errno::ACCESS) => Ok(()),
            Err(errno) => Err(errno),
        })
    }

    /// Attempts the path, or those in PATH until one does.
    #[inline(never)]
    fn find<T>(&self, attempt: &dyn Fn(&str) -> Result<T, Errno>) -> Result<T, Fault> {
        let name = first_with("", &self.arguments).unwrap_or_default();
        if name.as_bytes().contains(&b'/') {
            return attempt(name).during(Op::Exec, name);
        }
        let search = first_with("PATH=", &self.variables).unwrap_or(DEFAULT_PATH);
        let mut errno = Errno::NOENT;
        for directory in search.split(':').filter(|part| !part.is_empty()) {
            let path = crate::sys::path::path(format_args!("{directory}/{name}"));
            match path.and_then(|path| attempt(&path)) {
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                // Found, but not executable: worth more than "not found" if nothing better comes (execvp(3)).
                Err(Errno::ACCESS) => errno = Errno::ACCESS,
                other => return other.during(Op::Exec, name),
            }
        }
        Err(errno).during(Op::Exec, format_args!("{name}{IN_PATH}"))
    }

    fn try_path(&self, path: &str) -> Errno {
        self.variables.with_list(|variables| {
            let environment = Environment::from_list(variables);
            self.arguments
                .with_list(|arguments| process::execute(path, arguments, environment))
        })
    }
}

/// What follows `prefix` in the first string that begins so.
#[inline(never)]
pub(super) fn first_with<'l>(prefix: &str, list: &'l List) -> Option<&'l str> {
    let texts = list.iter().filter_map(|text| text.to_str().ok());
    let mut found = texts.filter_map(|text| text.strip_prefix(prefix));
    found.next()
}
