//! `linux.netDevices`: network devices of the host that become the container's (`config-linux.md`,
//! "Network Devices").

use super::error::Field;
use super::namespaces::{Kind, Namespaces};
use super::reader::{Reader, Refused, Use};
use crate::parse::json::{Node, Text, Value};

/// Bytes that the name of a device may have (`IFNAMSIZ` of `<linux/if.h>`, with its NUL).
pub const NAME_MAX: usize = 15;

/// The name of a network device.
pub type Name = heapless::String<NAME_MAX>;

pub(super) const FIELD: &str = "linux.netDevices";
const NAME: &str = "name";
/// What a device has.
pub(super) const MEMBERS: [&str; 1] = [NAME];

/// All of them. They stay in the text, and are read there again.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetDevices<'a>(Option<Value<'a>>);

impl<'a> NetDevices<'a> {
    /// None.
    pub(super) const NONE: Self = Self(None);

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self.0.map(|devices| devices.node()) {
            None => true,
            Some(Node::Object(mut members)) => members.next().is_none(),
            Some(_) => false,
        }
    }

    /// The names of each, on the host and in the container: there, `%d` stands for the first number
    /// that is free.
    pub fn iter(&self) -> impl Iterator<Item = (Name, Name)> + use<'a> {
        let members = match self.0.map(|devices| devices.node()) {
            Some(Node::Object(members)) => Some(members),
            _ => None,
        };
        // Each was read before.
        members.into_iter().flatten().filter_map(|(key, value)| {
            let outside = name(key)?;
            let inside = match value.member(NAME).map(|value| value.node()) {
                Some(Node::String(text)) if !text.is("") => name(text)?,
                _ => outside.clone(),
            };
            Some((outside, inside))
        })
    }

    /// Sees that it is what the specification says, beside these namespaces.
    #[inline(never)]
    pub(super) fn read(
        reader: &Reader<'a>,
        devices: Value<'a>,
        namespaces: &Namespaces<'_>,
    ) -> Result<Self, Refused> {
        const ITEM: &str = "linux.netDevices[]";
        let read = Self(Some(devices));
        let Node::Object(members) = reader.object(devices, FIELD)?.node() else {
            return Ok(read);
        };
        for (index, (key, value)) in members.enumerate() {
            let field = Field::item(ITEM, index);
            let mut names = [Some(key), None];
            if let Some(value) = reader.object(value, field)?.member(NAME) {
                let text = reader.text_for(value, field, Use::Name)?;
                names = [Some(key), Some(text).filter(|text| !text.is(""))];
            }
            let mut names = names.into_iter().flatten();
            if let Some(wrong) = names.find(|text| name(*text).is_none()) {
                let accepts = "the name of a network device: 1 to 15 bytes without space, / and :";
                return Err(reader.bad(field, wrong.written(), accepts));
            }
        }
        if !read.is_empty() && !namespaces.has(Kind::Network) {
            return Err(reader.needs(FIELD, "a namespace of type network in linux.namespaces"));
        }
        Ok(read)
    }
}

/// A name that the kernel takes (dev_valid_name of net/core/dev.c).
fn name(text: Text<'_>) -> Option<Name> {
    let mut name = Name::new();
    text.chars().try_for_each(|c| name.push(c)).ok()?;
    let is_refused = |c: char| c.is_ascii_whitespace() || c.is_control() || matches!(c, '/' | ':');
    let is_name = !matches!(name.as_str(), "" | "." | "..") && !name.chars().any(is_refused);
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use crate::parse::config::Config;

    /// What is said of a bundle with these devices.
    fn with<T>(linux: &str, see: impl FnOnce(Result<Config<'_>, String>) -> T) -> T {
        let file = format!(
            r#"{{"ociVersion":"1.3.0","process":{{"args":["x"],"cwd":"/"}},"root":{{"path":"x"}},
            "linux":{{"namespaces":[{{"type":"mount"}},{{"type":"network"}}],"netDevices":{linux}}}}}"#
        );
        let mut scratch = vec![0; file.len()];
        let config = Config::parse(file.as_bytes(), &mut scratch, &mut []);
        see(config.map_err(|error| error.to_string()))
    }

    fn devices(text: &str) -> Result<Vec<(String, String)>, String> {
        with(text, |config| {
            let names = config?.net_devices.iter();
            Ok(names.map(|(a, b)| (a.to_string(), b.to_string())).collect())
        })
    }

    #[test]
    fn a_device_keeps_its_name_or_has_another() {
        let pairs = [
            ("eth0", "eth0"),
            ("eth1", "inside"),
            ("eth2", "eth2"),
            ("eth3", "x%d"),
        ];
        let pairs = pairs.map(|(a, b)| (a.to_owned(), b.to_owned()));
        let text =
            r#"{"eth0":{},"eth\u0031":{"name":"inside"},"eth2":{"name":""},"eth3":{"name":"x%d"}}"#;
        assert_eq!(devices(text), Ok(pairs.to_vec()));
        assert_eq!(devices("{}"), Ok(vec![]));
    }

    #[test]
    fn what_is_no_name_of_a_device_is_refused() {
        let takes = "it takes the name of a network device: 1 to 15 bytes without space, / and :";
        for (text, name) in [
            (r#"{"":{}}"#, ""),
            (r#"{".":{}}"#, "."),
            (r#"{"eth0":{"name":".."}}"#, ".."),
            (r#"{"a/b":{}}"#, "a/b"),
            (r#"{"eth0":{"name":"a:b"}}"#, "a:b"),
            (r#"{"eth0":{"name":"a b"}}"#, "a b"),
            (r#"{"sixteen_bytes_it":{}}"#, "sixteen_bytes_it"),
        ] {
            let said = format!("linux.netDevices[0] is {name:?}; {takes}");
            assert_eq!(devices(text), Err(said), "{text}");
        }
        assert_eq!(
            devices(r#"{"eth0":7}"#),
            Err("linux.netDevices[0] is not an object".to_owned())
        );
    }
}
