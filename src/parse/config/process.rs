//! `process`: the program of a container, and what it is run with.

use heapless::Vec;

use super::error::{ConfigError, Field};
use super::reader::{Reader, Use, boolean, integer};
use super::{MAX_ARGS, MAX_ENV};
use crate::parse::json;

/// The program of a container.
#[derive(Clone, Debug)]
pub struct Process<'a> {
    /// `args`: at least one, and the first is not empty.
    pub args: Vec<&'a str, MAX_ARGS>,
    /// `env`: each `NAME=value`.
    pub env: Vec<&'a str, MAX_ENV>,
    /// `cwd`: an absolute path in the container.
    pub cwd: &'a str,
    /// `terminal`
    pub terminal: bool,
    /// `consoleSize`: rows and columns.
    pub console_size: Option<[u16; 2]>,
}

impl<'a> Process<'a> {
    pub(super) fn read(
        reader: &mut Reader<'a>,
        config: json::Value<'a>,
    ) -> Result<Self, ConfigError<'a>> {
        let args: Vec<_, MAX_ARGS> = reader.strings(config, "process.args[]")?;
        match args.first() {
            None => return Err(ConfigError::Missing("process.args".into())),
            Some(&"") => return Err(ConfigError::bad("process.args", "", "a program first")),
            Some(_) => {}
        }
        let env = reader.strings(config, "process.env[]")?;
        for (index, variable) in env.iter().enumerate() {
            if !matches!(variable.split_once('='), Some((name, _)) if !name.is_empty()) {
                let field = Field::item("process.env[]", index);
                return Err(ConfigError::bad(field, variable, "NAME=value"));
            }
        }
        let cwd = reader.required(config, "process.cwd", Use::Name)?;
        if !cwd.starts_with('/') {
            let accepts = "an absolute path";
            return Err(ConfigError::bad("process.cwd", cwd, accepts));
        }
        Ok(Self {
            args,
            env,
            cwd,
            terminal: boolean(config, "process.terminal")?,
            console_size: console_size(config)?,
        })
    }
}

fn console_size(config: json::Value<'_>) -> Result<Option<[u16; 2]>, ConfigError<'_>> {
    const FIELD: &str = "process.consoleSize";
    let Some(size) = config.at(FIELD) else {
        return Ok(None);
    };
    // What struct winsize holds (ioctl_tty(2)).
    let number = |name| {
        let number = integer(size.member(name)?, 0..=u16::MAX.into())?;
        u16::try_from(number).ok()
    };
    match (number("height"), number("width")) {
        (Some(rows), Some(columns)) => Ok(Some([rows, columns])),
        _ => Err(ConfigError::Type {
            field: FIELD.into(),
            expected: "height and width, each from 0 to 65535",
        }),
    }
}
