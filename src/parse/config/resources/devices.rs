//! `linux.resources.devices`: the rules that become a
//! [`device_policy`](crate::parse::device_policy).

use super::{DEVICES, Pass};
use crate::parse::config::error::{ConfigError, Field};
use crate::parse::device_policy::{Kind, MKNOD, READ, Rule, WRITE};
use crate::parse::json::{Node, Value};

/// The largest numbers of a device (MINORBITS of include/linux/kdev_t.h leaves 12 bits and 20).
pub(super) const MAJOR_MAX: u64 = 0xfff;
pub(super) const MINOR_MAX: u64 = 0xf_ffff;

/// What a rule has.
pub(in crate::parse::config) const MEMBERS: [&str; 5] =
    ["allow", "type", "major", "minor", "access"];

impl<'a> Pass<'a, '_> {
    pub(super) fn devices(&mut self, see: &mut dyn FnMut(&Rule)) -> Option<()> {
        for (index, item) in self.list(DEVICES)?.enumerate() {
            see(&self.rule(item, index)?);
        }
        Some(())
    }

    fn rule(&mut self, item: Value<'a>, index: usize) -> Option<Rule> {
        self.object(item, Field::item(DEVICES, index))?;
        let [allow, kind, major, minor, access] = item.members(&MEMBERS);
        let field = Field::item("linux.resources.devices[].allow", index);
        let allow = match allow {
            Some(value) => self.boolean(value, field)?,
            None => return self.fail(ConfigError::Missing(field)),
        };
        Some(Rule {
            allow,
            kind: self.kind(kind, Field::item("linux.resources.devices[].type", index))?,
            major: self
                .device_number(major, "linux.resources.devices[].major", MAJOR_MAX, index)?
                .map(|major| major as u16),
            minor: self
                .device_number(minor, "linux.resources.devices[].minor", MINOR_MAX, index)?
                .map(|minor| minor as u32),
            access: self.access(
                access,
                Field::item("linux.resources.devices[].access", index),
            )?,
        })
    }

    fn kind(&mut self, value: Option<Value<'a>>, field: Field) -> Option<Option<Kind>> {
        let Some(value) = value else {
            return Some(None);
        };
        let kind = self.text(value, field)?;
        let kinds = [
            ("", None),
            ("a", None),
            ("b", Some(Kind::Block)),
            ("c", Some(Kind::Character)),
        ];
        let known = kinds.iter().find(|(name, _)| kind.is(name));
        match known {
            Some((_, kind)) => Some(*kind),
            None => self.wrong(field, "it takes a, b or c"),
        }
    }

    fn access(&mut self, value: Option<Value<'a>>, field: Field) -> Option<u8> {
        let Some(value) = value else {
            return self.fail(ConfigError::Missing(field));
        };
        let mut access = 0;
        for letter in self.text(value, field)?.chars() {
            access |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => return self.wrong(field, "it takes letters of rwm"),
            };
        }
        match access {
            0 => self.fail(ConfigError::Missing(field)),
            access => Some(access),
        }
    }

    /// Any is no number in the specification, and -1 with those who write in Go.
    fn device_number(
        &mut self,
        value: Option<Value<'a>>,
        path: &'static str,
        max: u64,
        index: usize,
    ) -> Option<Option<u64>> {
        match value {
            Some(value) if !matches!(value.node(), Node::Number("-1")) => {
                self.whole(value, Field::item(path, index), max).map(Some)
            }
            _ => Some(None),
        }
    }
}
