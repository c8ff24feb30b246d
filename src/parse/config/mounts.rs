//! `mounts`: what is mounted in a container besides its root, in order.

use heapless::Vec;

use super::MAX_MOUNTS;
use super::error::{ConfigError, Field};
use super::mount_options::MountOptions;
use super::reader::{Reader, Use, list, object, push};
use crate::parse::json::Value;

/// One item of `mounts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// A path in the container, not empty. Early versions of the specification allow one without a
    /// leading `/`; it starts at the container's root all the same.
    pub destination: &'a str,
    /// The filesystem's type. `None` only for a bind mount, whose type means nothing.
    pub fstype: Option<&'a str>,
    /// What to mount; always there for a bind mount, and then relative to the bundle unless it begins
    /// with `/`.
    pub source: Option<&'a str>,
    /// The options, understood.
    pub options: MountOptions<'a>,
}

pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    config: Value<'a>,
) -> Result<Vec<Mount<'a>, MAX_MOUNTS>, ConfigError<'a>> {
    let mut mounts = Vec::new();
    for (index, item) in list(config, "mounts", "mounts".into())?.enumerate() {
        push(&mut mounts, Mount::read(reader, item, index)?, "mounts")?;
    }
    Ok(mounts)
}

impl<'a> Mount<'a> {
    fn read(
        reader: &mut Reader<'a>,
        item: Value<'a>,
        index: usize,
    ) -> Result<Self, ConfigError<'a>> {
        let item = object(item, Field::item("mounts[]", index))?;
        let mut string = |name, path| {
            let field = Field::item(path, index);
            let text = match item.member(name) {
                Some(value) => reader.string(value, field, Use::Name)?,
                None => "",
            };
            Ok((field, Some(text).filter(|text| !text.is_empty())))
        };
        let (field, destination) = string("destination", "mounts[].destination")?;
        let destination = destination.ok_or(ConfigError::Missing(field))?;
        let (type_field, fstype) = string("type", "mounts[].type")?;
        let (source_field, source) = string("source", "mounts[].source")?;
        let options = MountOptions::read(reader, item, index)?;
        if options.is_bind() && source.is_none() {
            return Err(ConfigError::Missing(source_field));
        }
        if !options.is_bind() && fstype.is_none() {
            return Err(ConfigError::Missing(type_field));
        }
        Ok(Self {
            destination,
            fstype,
            source,
            options,
        })
    }
}
