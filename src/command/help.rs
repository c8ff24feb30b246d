//! `--help` and `--version`, from the tables that words are read by.

use core::fmt::{self, Write as _};

use super::output::Output;
use super::{Call, GLOBAL, Reported, SUBCOMMANDS, Subcommand};
use crate::parse::arguments::{Opt, Options};
use crate::parse::config::SPECIFICATION;

/// Where the second column begins.
const COLUMN: usize = 30;

/// What `berth --help` prints.
pub(super) fn overview(call: &Call<'_>) -> Result<u8, Reported> {
    print(
        call,
        &format_args!(
            "usage: berth [OPTION]… COMMAND [OPTION]… [OPERAND]…\n\
         berth is an OCI runtime.\n\n\
         commands:\n{}\noptions of all commands:\n{}",
            Commands,
            List(GLOBAL)
        ),
    )
}

/// What `berth COMMAND --help` prints.
pub(super) fn of(call: &Call<'_>, command: &Subcommand) -> Result<u8, Reported> {
    let Subcommand {
        name,
        operands,
        about,
        options,
        ..
    } = command;
    print(
        call,
        &format_args!(
            "usage: berth {name} [OPTION]… {operands}\n{about}\n\noptions:\n{}\noptions of all commands:\n{}",
            List(options),
            List(GLOBAL)
        ),
    )
}

/// What `berth --version` prints. Engines read the first line, and show the rest.
pub(super) fn version(call: &Call<'_>) -> Result<u8, Reported> {
    print(
        call,
        &format_args!(
            "berth version {}\nspec: {SPECIFICATION}\n",
            env!("CARGO_PKG_VERSION")
        ),
    )
}

fn print(call: &Call<'_>, text: &dyn fmt::Display) -> Result<u8, Reported> {
    let mut output = Output::new();
    // Failures are told by `finish`.
    let _ = write!(output, "{text}");
    output.finish(call).map(|()| 0)
}

struct Commands;

impl fmt::Display for Commands {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for command in SUBCOMMANDS {
            let name = command.name;
            let room = COLUMN.saturating_sub(name.len() + 4);
            let operands = command.operands;
            writeln!(formatter, "  {name} {operands:room$} {}", command.about)?;
        }
        Ok(())
    }
}

struct List(Options);

impl fmt::Display for List {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for option in self.0 {
            let Opt { long, about, .. } = option;
            let value = option.value.unwrap_or_default();
            let room = COLUMN.saturating_sub(long.len() + 10);
            match option.short {
                Some(letter) => write!(formatter, "  -{letter}, ")?,
                None => write!(formatter, "      ")?,
            }
            writeln!(formatter, "--{long} {value:room$} {about}")?;
        }
        Ok(())
    }
}
