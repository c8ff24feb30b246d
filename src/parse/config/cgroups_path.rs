//! `linux.cgroupsPath`: which control group a container is in (config-linux.md, "Cgroups Path").

use super::reader::{Reader, Refused, Use};
use crate::parse::json::Value;

/// The longest path, in bytes: below the directory of all groups it is still one that can be put together.
const LENGTH_MAX: usize = 192;

const FIELD: &str = "linux.cgroupsPath";

/// The path of a control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupsPath<'a> {
    /// Names of directories with `/` between them; not empty, and neither `.` nor `..` is among them.
    pub names: &'a str,
    /// Whether it begins at the root of the hierarchy, and not at the group of all of berth's containers.
    pub is_absolute: bool,
}

impl<'a> CgroupsPath<'a> {
    #[inline(never)]
    pub(super) fn read(reader: &Reader<'a>, config: Value<'a>) -> Result<Option<Self>, Refused> {
        let Some(path) = reader.optional(config, FIELD, Use::Name)? else {
            return Ok(None);
        };
        let is_absolute = path.starts_with('/');
        if !is_absolute && path.as_bytes().contains(&b':') {
            let why = "slice:prefix:name is for systemd, which makes no groups here; give a path";
            return Err(reader.impossible(FIELD, why));
        }
        let names = path.trim_matches('/');
        let mut each = names.split('/');
        if names.is_empty() || each.any(|name| matches!(name, "" | "." | "..")) {
            let accepts = "a path of names below the root of the hierarchy";
            return Err(reader.bad(FIELD, path, accepts));
        }
        if names.len() > LENGTH_MAX {
            return Err(reader.wrong(FIELD, "it takes at most 192 bytes"));
        }
        Ok(Some(Self { names, is_absolute }))
    }
}
