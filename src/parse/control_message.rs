//! Messages that ask for what the words of a command say: see [`super::control`].

use core::fmt;

use super::arguments::{Given, Opt};
use super::control::{EXEC, Verb};
use crate::text::Json;

/// Why words cannot become a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsaid {
    /// Messages have nothing for this option.
    Option(&'static str),
    /// Nor for what stands behind the command.
    Operand,
    /// There is no room for them.
    TooLong,
}

impl fmt::Display for Unsaid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(long) => write!(formatter, "the control does not take --{long}"),
            Self::Operand => formatter.write_str("the control does not take an operand here"),
            Self::TooLong => formatter.write_str("the words are longer than a message may be"),
        }
    }
}

impl Verb {
    /// Writes the message with the number `id` that asks for what was `given`; if it `is_text`, for
    /// lines as people read them. Options that are `others` are left out of the message.
    ///
    /// # Errors
    /// What cannot be asked for.
    #[inline(never)]
    pub fn write(
        &self,
        id: u64,
        given: &Given<'_>,
        others: &dyn Fn(&'static Opt) -> bool,
        is_text: bool,
        to: &mut dyn fmt::Write,
    ) -> Result<(), Unsaid> {
        let name = |option: &Opt| {
            let is_it = |long: &str| long.strip_prefix("--") == Some(option.long);
            self.options.iter().any(|member| is_it(member.option))
        };
        let mut unknown = given.all().map(|(option, _)| option);
        if let Some(option) = unknown.find(|option| !others(option) && !name(option)) {
            return Err(Unsaid::Option(option.long));
        }
        let has_operands = self.container.is_some();
        if !has_operands && !given.operands.is_empty() {
            return Err(Unsaid::Operand);
        }
        self.write_members(id, given, is_text, to)
            .map_err(|fmt::Error| Unsaid::TooLong)
    }

    fn write_members(
        &self,
        id: u64,
        given: &Given<'_>,
        is_text: bool,
        to: &mut dyn fmt::Write,
    ) -> fmt::Result {
        write!(to, "{{\"id\":{id},\"do\":\"{}\"", self.name)?;
        if self.prints && is_text {
            to.write_str(",\"text\":true")?;
        }
        for member in self.options {
            let long = member.option.trim_start_matches('-');
            let mut values = given.values_of(long);
            let Some(first) = values.next() else {
                continue;
            };
            write!(to, ",\"{}\":", member.name)?;
            match (member.is_flag, values.next().is_some()) {
                (true, _) => to.write_str("true")?,
                (false, false) => write!(to, "{}", Json(first))?,
                (false, true) => write_list(to, &mut given.values_of(long))?,
            }
        }
        let mut operands = given.operands.iter().copied();
        if let Some(id) = operands.next() {
            write!(to, ",\"container\":{}", Json(id))?;
        }
        match (self.name, operands.clone().next()) {
            ("kill", Some(signal)) => write!(to, ",\"signal\":{}", Json(signal))?,
            (EXEC, Some(_)) => {
                to.write_str(",\"args\":")?;
                write_list(to, &mut operands)?;
            }
            _ => {}
        }
        to.write_str("}")
    }
}

fn write_list(to: &mut dyn fmt::Write, words: &mut dyn Iterator<Item = &str>) -> fmt::Result {
    let mut separator = "[";
    for word in words {
        write!(to, "{separator}{}", Json(word))?;
        separator = ",";
    }
    // There is at least one.
    to.write_str("]")
}

#[cfg(test)]
mod tests {
    use super::super::control::{Message, What};
    use super::*;

    const fn option(long: &'static str, short: char, value: Option<&'static str>) -> Opt {
        Opt {
            long,
            short: Some(short),
            value,
            about: "",
        }
    }

    const OPTIONS: &[&Opt] = &[
        &option("follow", 'f', None),
        &option("lines", 'n', Some("N")),
        &option("tty", 't', None),
        &option("env", 'e', Some("NAME=VALUE")),
        &option("detach", 'd', None),
        &option("debug", 'D', None),
    ];

    fn written(line: &str, is_text: bool) -> Result<String, Unsaid> {
        let mut words = line.split(' ');
        let verb = Verb::of(words.next().unwrap()).unwrap();
        let mut given = Given::default();
        let raw_from = if verb.name == EXEC { 1 } else { usize::MAX };
        given.read(&mut words, &[OPTIONS], raw_from).unwrap();
        let mut text = String::new();
        let others = |option: &'static Opt| option.long == "debug";
        verb.write(7, &given, &others, is_text, &mut text)?;
        Ok(text)
    }

    /// What a message means is what its words have meant.
    #[test]
    fn words_become_messages_and_these_the_same_words() {
        for (line, is_text, expected) in [
            ("list", true, "list --"),
            ("list --debug", false, "list --json --"),
            ("logs -f web -n 5", true, "logs --follow --lines=5 -- web"),
            ("mounts", true, "mounts --"),
            ("mounts web", true, "mounts -- web"),
            ("restart web", true, "restart -- web"),
            ("kill web", true, "kill -- web"),
            ("kill web HUP", true, "kill -- web HUP"),
            (
                "exec -t -e A=1 -e B=\" web sh -c echo",
                true,
                "exec --tty --env=A=1 --env=B=\" -- web sh -c echo",
            ),
            ("exec -e A=1 web sh", true, "exec --env=A=1 -- web sh"),
            ("poweroff", true, "poweroff --"),
        ] {
            let text = written(line, is_text).unwrap();
            let message = Message::parse(text.as_bytes()).unwrap();
            assert_eq!(message.id, 7);
            let What::Run(run) = message.what else {
                panic!("{text}");
            };
            let mut words = Vec::new();
            let said = message.words(&run, &mut |word| {
                words.push(word.to_string());
                true
            });
            assert_eq!((words.join(" "), said), (expected.to_owned(), Ok(())));
        }
    }

    #[test]
    fn what_a_message_does_not_hold_is_refused() {
        for (line, why) in [
            ("exec -d web sh", Unsaid::Option("detach")),
            ("list -f", Unsaid::Option("follow")),
            ("events web", Unsaid::Operand),
        ] {
            assert_eq!(written(line, true), Err(why), "{line}");
        }
        let mut given = Given::default();
        given.read(&mut ["web"].into_iter(), &[], 1).unwrap();
        let mut small = heapless::String::<16>::new();
        let verb = Verb::of("stop").unwrap();
        let wrong = verb.write(1, &given, &|_| false, true, &mut small);
        assert_eq!(wrong, Err(Unsaid::TooLong));
    }
}
