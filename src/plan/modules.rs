//! Parameters and blacklists of modules on the command line, by the conventions of the kernel and
//! of modprobe(8).

use core::fmt;

use super::Plan;
use crate::parse::cmdline::{Cmdline, Word, same_key};

/// A parameter of a module, `name=value` or `name`, as finit_module(2) takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

impl<'a> Plan<'a> {
    /// What the kernel command line says about modules, and nothing else of it; nothing if it is no
    /// text.
    #[must_use]
    pub fn of_modules(cmdline: &'a [u8]) -> Self {
        Self {
            lines: [
                Cmdline::default(),
                Cmdline::new(cmdline).unwrap_or_default(),
            ],
            ..Self::empty()
        }
    }

    /// The parameters for `module`: the words `module.name=value`, in order
    /// (Documentation/admin-guide/kernel-parameters.rst). `-` and `_` are the same in the module's
    /// name.
    pub fn module_parameters<'n>(
        &self,
        module: &'n str,
    ) -> impl Iterator<Item = Parameter<'a>> + use<'a, 'n> {
        self.words().filter_map(move |word| {
            let (its, name) = word.key.split_once('.')?;
            same_key(its, module).then_some(Parameter {
                name,
                value: word.value,
            })
        })
    }

    /// Whether `modprobe.blacklist=` keeps devices from loading `module`. A module that is listed
    /// by its name is loaded all the same (modprobe.d(5), "blacklist").
    #[must_use]
    pub fn is_blacklisted(&self, module: &str) -> bool {
        let lists = self.words().filter(|word| word.key == "modprobe.blacklist");
        lists
            .filter_map(|word| word.value)
            .flat_map(|list| list.split(','))
            .any(|name| same_key(name, module))
    }

    fn words(&self) -> impl Iterator<Item = Word<'a>> + use<'a> {
        self.lines.into_iter().flat_map(|line| line.options())
    }
}

/// A value with a space is quoted, as the kernel's parser of parameters wants it (`next_arg()`).
/// To that a byte 0xa0 is a space too, whatever character it is a part of (lib/ctype.c).
impl fmt::Display for Parameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match self.value {
            Some(value) if value.bytes().any(is_space) => write!(f, "=\"{value}\""),
            Some(value) => write!(f, "={value}"),
            None => Ok(()),
        }
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_from_both_lines_in_order() {
        let plan = Plan::new(
            b"loop.max_loop=8",
            "loop.hw_queue_depth=\"a b\" loop.x sd_mod.y=1 sd_mod.z=\u{e0}".as_bytes(),
        )
        .unwrap();
        let of = |module: &str| {
            let parameters = plan.module_parameters(module).map(|word| word.to_string());
            parameters.collect::<Vec<_>>()
        };
        assert_eq!(of("loop"), ["max_loop=8", "hw_queue_depth=\"a b\"", "x"]);
        assert_eq!(of("sd-mod"), ["y=1", "z=\"\u{e0}\""]);
        assert_eq!(of("sd"), [""; 0]);
    }

    #[test]
    fn every_blacklist_counts() {
        let plan = Plan::new(b"", b"modprobe.blacklist=a-b,c modprobe.blacklist=d").unwrap();
        for (module, expected) in [("a_b", true), ("c", true), ("d", true), ("a", false)] {
            assert_eq!(plan.is_blacklisted(module), expected, "{module}");
        }
    }
}
