//! `process`: the program of a container, and what it is run with.

use heapless::Vec;

use super::error::{ConfigError, Field};
use super::reader::{Reader, Use, boolean};
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
        })
    }
}
