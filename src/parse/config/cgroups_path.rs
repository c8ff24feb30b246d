//! `linux.cgroupsPath`: which control group a container is in (config-linux.md, "Cgroups Path").

use super::reader::{Reader, Refused};

/// The longest path, in bytes: below the directory of all groups it is still one that can be put
/// together.
const LENGTH_MAX: usize = 448;

const FIELD: &str = "linux.cgroupsPath";

/// Where a control group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupsPath<'a> {
    /// Its path.
    Path {
        /// Names of directories with `/` between them; not empty, and neither `.` nor `..` is among
        /// them.
        names: &'a str,
        /// Whether it begins at the root of the hierarchy, and not at the group of all of berth's
        /// containers.
        is_absolute: bool,
    },
    /// `slice:prefix:name`: systemd makes it, for the unit `prefix-name.scope`. None of the three
    /// has a `/` in it.
    Unit {
        /// The slice that the unit is in, as `machine.slice`; empty for the one that is so by
        /// default.
        slice: &'a str,
        /// What the unit's name begins with.
        prefix: &'a str,
        /// What follows; not empty.
        name: &'a str,
    },
}

impl<'a> CgroupsPath<'a> {
    #[inline(never)]
    pub(super) fn read(reader: &Reader<'a>, path: &'a str) -> Result<Self, Refused> {
        let is_absolute = path.starts_with('/');
        if !is_absolute && path.as_bytes().contains(&b':') {
            let unit = unit(path).filter(|_| path.len() <= LENGTH_MAX);
            let accepts = "a path, or slice:prefix:name with a slice of systemd, as machine.slice:prefix:name";
            return unit.ok_or_else(|| reader.bad(FIELD, path, accepts));
        }
        let names = path.trim_matches('/');
        let mut each = names.split('/');
        if names.is_empty() || each.any(|name| matches!(name, "" | "." | "..")) {
            let accepts = "a path of names below the root of the hierarchy";
            return Err(reader.bad(FIELD, path, accepts));
        }
        if names.len() > LENGTH_MAX {
            return Err(reader.wrong(FIELD, "it takes at most 448 bytes"));
        }
        Ok(Self::Path { names, is_absolute })
    }
}

fn unit(path: &str) -> Option<CgroupsPath<'_>> {
    let (slice, rest) = path.split_once(':')?;
    let (prefix, name) = rest.split_once(':')?;
    let is_unit = (slice.is_empty() || slice.ends_with(".slice"))
        && !name.is_empty()
        && !name.as_bytes().contains(&b':')
        && !path.as_bytes().contains(&b'/');
    is_unit.then_some(CgroupsPath::Unit {
        slice,
        prefix,
        name,
    })
}
