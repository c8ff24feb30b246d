//! `linux.namespaces`: what a container does not share with the host.

use super::error::{ConfigError, Field};
use super::reader::{Reader, Use, list, object, text};
use crate::parse::json::Value;

/// The namespaces that are made new. The mount namespace always is: it is what berth is about, and
/// a list without it is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// `pid`
    pub pid: bool,
    /// `network`
    pub network: bool,
    /// `ipc`
    pub ipc: bool,
    /// `uts`
    pub uts: bool,
    /// `cgroup`
    pub cgroup: bool,
}

const LIST: &str = "linux.namespaces";
const TYPE: &str = "linux.namespaces[].type";
const PATH: &str = "linux.namespaces[].path";

impl Namespaces {
    pub(super) fn read<'a>(
        reader: &mut Reader<'a>,
        config: Value<'a>,
    ) -> Result<Self, ConfigError<'a>> {
        let mut namespaces = Self::default();
        let mut mount = false;
        for (index, item) in list(config, LIST, LIST.into())?.enumerate() {
            let item = object(item, Field::item("linux.namespaces[]", index))?;
            let field = Field::item(TYPE, index);
            let Some(value) = item.member("type") else {
                return Err(ConfigError::Missing(field));
            };
            let kind = reader.string(value, field, Use::Name)?;
            let flag = match kind {
                "mount" => &mut mount,
                "pid" => &mut namespaces.pid,
                "network" => &mut namespaces.network,
                "ipc" => &mut namespaces.ipc,
                "uts" => &mut namespaces.uts,
                "cgroup" => &mut namespaces.cgroup,
                "user" | "time" => {
                    return Err(ConfigError::UnsupportedValue { field, value: kind });
                }
                _ => {
                    let accepts = "mount, pid, network, ipc, uts or cgroup";
                    return Err(ConfigError::bad(field, kind, accepts));
                }
            };
            if core::mem::replace(flag, true) {
                return Err(ConfigError::bad(field, kind, "each type once"));
            }
            // Joining another's namespace.
            let field = Field::item(PATH, index);
            if let Some(path) = item.member("path")
                && !text(path, field)?.is("")
            {
                return Err(ConfigError::Unsupported(field));
            }
        }
        match mount {
            true => Ok(namespaces),
            false => Err(ConfigError::Needs {
                field: LIST.into(),
                needs: "the type mount: a container has a mount namespace of its own",
            }),
        }
    }
}
