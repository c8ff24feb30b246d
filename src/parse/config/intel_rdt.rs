//! `linux.intelRdt`: a group of the resctrl filesystem, which shares out caches and the bandwidth
//! of memory (`config-linux.md`, "IntelRdt"; Documentation/arch/x86/resctrl.rst).

use super::error::Field;
use super::reader::{Reader, Refused, Use};
use crate::parse::json::{Node, Text, Value};

pub(super) const FIELD: &str = "linux.intelRdt";
const CLOS_ID: &str = "linux.intelRdt.closID";
/// What it has.
pub(super) const MEMBERS: [&str; 5] = [
    "closID",
    "l3CacheSchema",
    "memBwSchema",
    "schemata",
    "enableMonitoring",
];

/// What is asked of resctrl. It stays in the text, and is read there again.
#[derive(Clone, Copy, Debug)]
pub struct IntelRdt<'a>(Value<'a>);

impl<'a> IntelRdt<'a> {
    /// `closID`: a name without `/`, or `/` for the group of all others. `None`: the container's
    /// own, by its id.
    #[must_use]
    pub fn group(&self) -> Option<Text<'a>> {
        text(self.0.member("closID")?)
    }

    /// `enableMonitoring`: a group for its figures, by its id.
    #[must_use]
    pub fn is_monitored(&self) -> bool {
        let value = self.0.member("enableMonitoring");
        value.is_some_and(|value| matches!(value.node(), Node::Bool(true)))
    }

    /// What is to be written to `schemata`, in this order, each one line or several; and whether it
    /// is `l3CacheSchema`, of which lines about memory are not meant.
    pub fn schemata(&self) -> impl Iterator<Item = (Text<'a>, bool)> + use<'a> {
        let members = ["l3CacheSchema", "memBwSchema"].map(|name| self.0.member(name));
        let list = match self.0.member("schemata").map(|list| list.node()) {
            Some(Node::Array(items)) => Some(items),
            _ => None,
        };
        let values = members
            .into_iter()
            .chain(list.into_iter().flatten().map(Some));
        let places = values.enumerate();
        places.filter_map(|(place, value)| Some((text(value?)?, place == 0)))
    }

    /// Sees that it is what the specification says.
    #[inline(never)]
    pub(super) fn read(reader: &Reader<'a>, rdt: Value<'a>) -> Result<Self, Refused> {
        const SCHEMATA: &str = "linux.intelRdt.schemata[]";
        reader.object(rdt, FIELD)?;
        let [group, cache, memory, schemata, is_monitored] = rdt.members(&MEMBERS);
        for (value, field) in [
            (group, CLOS_ID),
            (cache, "linux.intelRdt.l3CacheSchema"),
            (memory, "linux.intelRdt.memBwSchema"),
        ] {
            if let Some(value) = value {
                let text = reader.text_for(value, field.into(), Use::Argument)?;
                let has_slash = text.chars().any(|c| c == '/') && !text.is("/");
                if field == CLOS_ID && (has_slash || text.is(".") || text.is("..")) {
                    return Err(reader.bad(field, text.written(), "a name without /, or / alone"));
                }
            }
        }
        let list = reader.items_if_any(schemata, SCHEMATA.into())?;
        for (index, line) in list.enumerate() {
            reader.text_for(line, Field::item(SCHEMATA, index), Use::Argument)?;
        }
        match is_monitored.map(|value| value.node()) {
            None | Some(Node::Bool(_)) => Ok(Self(rdt)),
            Some(_) => Err(reader.not("linux.intelRdt.enableMonitoring", "true or false")),
        }
    }
}

fn text(value: Value<'_>) -> Option<Text<'_>> {
    match value.node() {
        Node::String(text) => Some(text).filter(|text| !text.is("")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::config::Config;

    /// What is said of a bundle with this group.
    fn with<T>(linux: &str, see: impl FnOnce(Result<Config<'_>, String>) -> T) -> T {
        let file = format!(
            r#"{{"ociVersion":"1.3.0","process":{{"args":["x"],"cwd":"/"}},"root":{{"path":"x"}},
            "linux":{{"namespaces":[{{"type":"mount"}}],"intelRdt":{linux}}}}}"#
        );
        let mut scratch = vec![0; file.len()];
        let config = Config::parse(file.as_bytes(), &mut scratch, &mut []);
        see(config.map_err(|error| error.to_string()))
    }

    #[test]
    fn what_is_no_group_is_refused_by_its_field() {
        for (text, said) in [
            (
                r#"{"closID":"a/b"}"#,
                r#"linux.intelRdt.closID is "a/b"; it takes a name without /, or / alone"#,
            ),
            (
                r#"{"closID":".."}"#,
                r#"linux.intelRdt.closID is ".."; it takes a name without /, or / alone"#,
            ),
            (
                r#"{"schemata":["L3:0=f",7]}"#,
                "linux.intelRdt.schemata[1] is not a string",
            ),
            (
                r#"{"memBwSchema":7}"#,
                "linux.intelRdt.memBwSchema is not a string",
            ),
            (
                r#"{"enableMonitoring":"x"}"#,
                "linux.intelRdt.enableMonitoring is not true or false",
            ),
        ] {
            let found = with(text, |config| config.map(drop));
            assert_eq!(found, Err(said.to_owned()), "{text}");
        }
        for text in [r#"{"closID":"/"}"#, r#"{"closID":"","schemata":[]}"#, "{}"] {
            assert_eq!(with(text, |config| config.map(drop)), Ok(()), "{text}");
        }
    }
}
