//! The container's program: its arguments and variables, and where it is.

use core::convert::Infallible;

use rustix::io::Errno;

use crate::error::{During, Fault, Op};
use crate::parse::config::{MAX_SIZE, MAX_STRINGS, Process};
use crate::parse::json::Unescaped;
use crate::sys::process::{self, Environment};
use crate::sys::strings::Strings;

/// Where programs are looked for without a `PATH` in `process.env`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// As large as all that a `config.json` can hold.
type List = Strings<MAX_SIZE, MAX_STRINGS>;

/// A program that is ready to be executed: that takes no memory and no descriptor any more, of which the limits of
/// `process.rlimits` may leave none.
pub(super) struct Program {
    arguments: List,
    variables: List,
}

impl Program {
    #[inline(never)]
    pub(super) fn new(process: &Process<'_>) -> Result<Self, Fault> {
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
        Ok(program)
    }

    /// Becomes the program. Returns only what went wrong.
    #[inline(never)]
    pub(super) fn execute(&self) -> Result<Infallible, Fault> {
        let name = first_with("", &self.arguments).unwrap_or_default();
        if name.as_bytes().contains(&b'/') {
            return Err(self.try_path(name)).during(Op::Exec, name);
        }
        let search = first_with("PATH=", &self.variables).unwrap_or(DEFAULT_PATH);
        let mut errno = Errno::NOENT;
        for directory in search.split(':').filter(|part| !part.is_empty()) {
            let path = crate::sys::path::path(format_args!("{directory}/{name}"));
            match path.map_or_else(|errno| errno, |path| self.try_path(&path)) {
                Errno::NOENT | Errno::NOTDIR => {}
                // Found, but not executable: worth more than "not found" if nothing better comes (execvp(3)).
                Errno::ACCESS => errno = Errno::ACCESS,
                other => return Err(other).during(Op::Exec, name),
            }
        }
        Err(errno).during(Op::Exec, format_args!("{name} in PATH"))
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
fn first_with<'l>(prefix: &str, list: &'l List) -> Option<&'l str> {
    let texts = list.iter().filter_map(|text| text.to_str().ok());
    let mut found = texts.filter_map(|text| text.strip_prefix(prefix));
    found.next()
}
