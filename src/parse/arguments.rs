//! The words behind a program's name: options by a table, operands in their order.
//!
//! What is taken is what people and engines type for any OCI runtime: `--bundle DIR`,
//! `--bundle=DIR`, `-b DIR`, `-b=DIR`, flags put together (`-td`), options before and behind
//! operands, `--` as the end of options. A flag takes `=true` and `=false` besides, which is what
//! programs in Go write. An option that is not in the table is refused by its name, with the
//! nearest that is.

use core::fmt;

use heapless::Vec;

use super::nearest::nearest;
use crate::text::Quoted;

/// Options that may be given.
pub const MAX_OPTIONS: usize = 256;
/// Operands that may be given.
pub const MAX_OPERANDS: usize = 1024;

/// One option.
#[derive(Debug, PartialEq, Eq)]
pub struct Opt {
    /// Its name, without `--`.
    pub long: &'static str,
    /// Its letter, if it has one.
    pub short: Option<char>,
    /// What its value is called. `None`: it is a flag.
    pub value: Option<&'static str>,
    /// What it does.
    pub about: &'static str,
}

/// What was given.
#[derive(Default)]
pub struct Given<'a> {
    options: Vec<(&'static Opt, &'a str), MAX_OPTIONS>,
    /// The words that are no options.
    pub operands: Vec<&'a str, MAX_OPERANDS>,
}

/// A set of options; several make up what a command takes.
pub type Options = &'static [&'static Opt];

impl<'a> Given<'a> {
    /// Reads `words` by the options of `sets`. Once there are `raw_from` operands, all words from
    /// the next operand on are operands, whatever they look like: they are a program's.
    ///
    /// # Errors
    /// The first word that cannot be understood.
    pub fn read(
        &mut self,
        words: &mut dyn Iterator<Item = &'a str>,
        sets: &[Options],
        raw_from: usize,
    ) -> Result<(), ArgumentError<'a>> {
        let mut only_operands = false;
        while let Some(word) = words.next() {
            let is_operand = only_operands || word == "-" || !word.starts_with('-');
            if is_operand {
                only_operands |= self.operands.len() >= raw_from;
                let pushed = self.operands.push(word);
                pushed.map_err(|_| ArgumentError::TooMany(word))?;
            } else if word == "--" {
                only_operands = true;
            } else if let Some(long) = word.strip_prefix("--") {
                self.long(word, long, words, sets)?;
            } else {
                self.short(word, words, sets)?;
            }
        }
        Ok(())
    }

    fn long(
        &mut self,
        word: &'a str,
        long: &'a str,
        words: &mut dyn Iterator<Item = &'a str>,
        sets: &[Options],
    ) -> Result<(), ArgumentError<'a>> {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        let option = all(sets).find(|option| option.long == name);
        let option = option.ok_or_else(|| ArgumentError::Unknown {
            word,
            nearest: nearest(name, all(sets).map(|option| option.long)),
        })?;
        self.take(option, value, words)
    }

    /// `-b DIR`, `-b=DIR`, `-bDIR`, `-td`.
    fn short(
        &mut self,
        word: &'a str,
        words: &mut dyn Iterator<Item = &'a str>,
        sets: &[Options],
    ) -> Result<(), ArgumentError<'a>> {
        let mut letters = word.chars();
        letters.next();
        while let Some(letter) = letters.next() {
            let option = all(sets).find(|option| option.short == Some(letter));
            let option = option.ok_or(ArgumentError::Unknown {
                word,
                nearest: None,
            })?;
            if option.value.is_some() {
                let rest = letters.as_str();
                let value = Some(rest.strip_prefix('=').unwrap_or(rest));
                return self.take(option, value.filter(|_| !rest.is_empty()), words);
            }
            self.take(option, None, words)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        option: &'static Opt,
        value: Option<&'a str>,
        words: &mut dyn Iterator<Item = &'a str>,
    ) -> Result<(), ArgumentError<'a>> {
        let value = match (option.value, value) {
            (None, None | Some("true")) => "",
            (None, Some("false")) => {
                self.options.retain(|(given, _)| *given != option);
                return Ok(());
            }
            (None, Some(_)) => return Err(ArgumentError::TakesNone(option)),
            (Some(_), Some(value)) => value,
            (Some(_), None) => words.next().ok_or(ArgumentError::NeedsValue(option))?,
        };
        let pushed = self.options.push((option, value));
        pushed.map_err(|_| ArgumentError::TooMany(option.long))
    }

    /// Whether a flag was given.
    #[must_use]
    pub fn has(&self, option: &Opt) -> bool {
        self.value(option).is_some()
    }

    /// The value of an option; of one that was given several times, the last.
    #[must_use]
    pub fn value(&self, option: &Opt) -> Option<&'a str> {
        self.values(option).last()
    }

    /// All options that were given, with their values, in their order.
    pub fn all(&self) -> impl Iterator<Item = (&'static Opt, &'a str)> {
        self.options.iter().copied()
    }

    /// All values of an option, in their order.
    pub fn values(&self, option: &Opt) -> impl Iterator<Item = &'a str> {
        self.values_of(option.long)
    }

    /// All values of the option of this name, without `--`, in their order.
    pub fn values_of(&self, long: &str) -> impl Iterator<Item = &'a str> {
        let of_it = move |(given, _): &&(&'static Opt, &'a str)| given.long == long;
        self.options.iter().filter(of_it).map(|(_, value)| *value)
    }
}

fn all(sets: &[Options]) -> impl Iterator<Item = &'static Opt> {
    sets.iter().flat_map(|set| set.iter().copied())
}

/// A word that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentError<'a> {
    /// No option of the table.
    Unknown {
        /// What was typed.
        word: &'a str,
        /// What was perhaps meant.
        nearest: Option<&'static str>,
    },
    /// An option without its value.
    NeedsValue(&'static Opt),
    /// A flag with a value other than `true` and `false`.
    TakesNone(&'static Opt),
    /// One more than there is room for.
    TooMany(&'a str),
}

impl fmt::Display for ArgumentError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { word, nearest } => {
                write!(f, "there is no option {}", Quoted(word))?;
                match nearest {
                    Some(name) => write!(f, ", perhaps --{name}"),
                    None => Ok(()),
                }
            }
            Self::NeedsValue(option) => {
                let value = option.value.unwrap_or_default();
                write!(f, "--{} needs a value: --{0} {value}", option.long)
            }
            Self::TakesNone(option) => write!(f, "--{} takes no value", option.long),
            Self::TooMany(word) => write!(f, "{} is one word too many", Quoted(word)),
        }
    }
}

impl core::error::Error for ArgumentError<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    const BUNDLE: Opt = Opt {
        long: "bundle",
        short: Some('b'),
        value: Some("DIR"),
        about: "",
    };
    const DETACH: Opt = Opt {
        long: "detach",
        short: Some('d'),
        value: None,
        about: "",
    };
    const TTY: Opt = Opt {
        long: "tty",
        short: Some('t'),
        value: None,
        about: "",
    };
    static OPTIONS: [&Opt; 3] = [&BUNDLE, &DETACH, &TTY];

    fn read<'a>(words: &[&'a str], raw_from: usize) -> Result<Given<'a>, ArgumentError<'a>> {
        let mut given = Given::default();
        given.read(&mut words.iter().copied(), &[&OPTIONS], raw_from)?;
        Ok(given)
    }

    #[test]
    fn every_way_to_write_a_value_is_the_same() {
        for words in [
            &["--bundle", "/b", "id"][..],
            &["--bundle=/b", "id"],
            &["-b", "/b", "id"],
            &["-b=/b", "id"],
            &["-b/b", "id"],
            &["-db/b", "id"],
            &["id", "--bundle", "/b"],
            &["--bundle", "/a", "id", "-b", "/b"],
            &["-b", "/b", "--", "id"],
        ] {
            let given = read(words, usize::MAX).unwrap();
            assert_eq!(given.value(&BUNDLE), Some("/b"), "{words:?}");
            assert_eq!(given.operands, ["id"], "{words:?}");
        }
    }

    #[test]
    fn flags_can_be_put_together_and_taken_back() {
        let given = read(&["-td"], 9).unwrap();
        assert!(given.has(&TTY) && given.has(&DETACH));
        let given = read(&["--tty", "--tty=false", "--detach=true"], 9).unwrap();
        assert!(!given.has(&TTY) && given.has(&DETACH));
    }

    #[test]
    fn the_words_of_a_program_are_its_own() {
        let given = read(&["-t", "id", "-d", "sh", "-c", "--bundle", "--"], 1).unwrap();
        assert_eq!(given.operands, ["id", "sh", "-c", "--bundle", "--"]);
        assert!(given.has(&DETACH) && !given.has(&BUNDLE));
        assert_eq!(read(&["--", "-d"], 9).unwrap().operands, ["-d"]);
        assert_eq!(read(&["-"], 9).unwrap().operands, ["-"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |words: &[&str]| read(words, 9).err().unwrap().to_string();
        assert_eq!(
            message(&["--bundel=x"]),
            "there is no option \"--bundel=x\", perhaps --bundle"
        );
        assert_eq!(message(&["-tx"]), "there is no option \"-tx\"");
        assert_eq!(
            message(&["id", "-b"]),
            "--bundle needs a value: --bundle DIR"
        );
        assert_eq!(message(&["--tty=maybe"]), "--tty takes no value");
        let many = ["x"; MAX_OPERANDS + 1];
        assert_eq!(message(&many), "\"x\" is one word too many");
    }
}
