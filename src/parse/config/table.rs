//! All fields of a `config.json` that berth knows: one row each.
//!
//! The document is gone over once. While it is checked, each key is held against the names that may stand where it does
//! ([`json::tree`]), and where a value begins that a row is about is noted. Then the rows are gone through in their order, so that the
//! first error does not depend on the order in which a file has its fields, and each says what the value has to be and where it goes.
//!
//! A new field is one row here, its use, and its test. Lists, and objects whose members have any name, are read by the module that
//! knows them.

use heapless::Vec;

use super::capabilities::Capabilities;
use super::members::Takes;
use super::reader::{Reader, Refused, Use};
use super::scheduling::Scheduler;
use super::{
    Annotations, CgroupsPath, Config, Hooks, IdMap, IntelRdt, MemoryPolicy, Namespaces, NetDevices,
    Seccomp, affinity, confine, intel_rdt, mounts, net_devices, process, rlimits, scheduling,
    time_offsets, user,
};
use crate::parse::json::{self, Branch, JsonError, Node, Value};
use crate::text::split_last;

/// A field.
pub struct Row {
    /// Where it is: names with `.` in between.
    pub path: &'static str,
    needed: Needed,
    is: Is,
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// It is acted on.
    Acted,
    /// It says something that is not done, and the container works all the same.
    Warned,
    /// Without it the container would be less confined than its author believes.
    Refused,
}

/// When a field has to be there.
enum Needed {
    Never,
    Always,
    /// When the object is that it is in.
    WithObject,
}

/// Higher-ranked, so that one table serves every lifetime of the text.
type Set<T> = for<'s, 'a> fn(&'s mut Config<'a>, T);
type SetText = for<'s, 'a> fn(&'s Reader<'a>, &'s mut Config<'a>, &'a str) -> Result<(), Refused>;
type Read = for<'s, 'a> fn(&'s Reader<'a>, &'s mut Config<'a>, Value<'a>) -> Result<(), Refused>;

/// What a field has to be, and where it goes. An empty text says nothing.
enum Is {
    /// An object, whose members have rows of their own.
    Object(Set<()>),
    /// The same, of which another row's reader sees that it is an object.
    Way,
    Text(Use, SetText),
    Flag(Set<bool>),
    Number(&'static Takes, Set<u64>),
    /// What its module reads.
    Other(Read),
    /// What says nothing (`null`, an empty list, `false`) asks for what happens anyway, and is taken.
    Warned,
    Refused,
}

const fn row(path: &'static str, is: Is) -> Row {
    Row {
        path,
        needed: Needed::Never,
        is,
    }
}

impl Row {
    const fn needed(mut self) -> Self {
        self.needed = Needed::Always;
        self
    }

    const fn needed_with_object(mut self) -> Self {
        self.needed = Needed::WithObject;
        self
    }

    /// What becomes of it.
    #[must_use]
    pub const fn becomes(&self) -> Becomes {
        match self.is {
            Is::Warned => Becomes::Warned,
            Is::Refused => Becomes::Refused,
            _ => Becomes::Acted,
        }
    }
}

/// In the order in which they are looked at: of two that are wrong, the first is told.
pub static FIELDS: [Row; 68] = [
    row("process", Is::Object(|_, ()| {})),
    row("root", Is::Object(|_, ()| {})),
    row("linux", Is::Object(|_, ()| {})),
    row(
        "ociVersion",
        Is::Text(Use::Name, |reader, config, version| {
            config.oci_version = version;
            match version.starts_with("1.") {
                true => Ok(()),
                false => Err(reader.bad("ociVersion", version, "1.x")),
            }
        }),
    )
    .needed(),
    row("vm", Is::Refused),
    row("windows", Is::Refused),
    row("solaris", Is::Warned),
    row("freebsd", Is::Warned),
    row("zos", Is::Warned),
    row(
        "linux.namespaces",
        Is::Other(|reader, config, list| {
            config.namespaces = Namespaces::read(reader, list)?;
            Ok(())
        }),
    ),
    row(
        "hostname",
        Is::Text(Use::Name, |reader, config, name| {
            config.hostname = super::uts_name(reader, "hostname", name, &config.namespaces)?;
            Ok(())
        }),
    ),
    row(
        "domainname",
        Is::Text(Use::Name, |reader, config, name| {
            config.domainname = super::uts_name(reader, "domainname", name, &config.namespaces)?;
            Ok(())
        }),
    ),
    row(
        "annotations",
        Is::Other(|reader, config, all| {
            config.all_annotations = Some(all.as_written());
            config.annotations = Annotations::read(reader, all)?;
            Ok(())
        }),
    ),
    row(
        process::ARGS,
        Is::Other(|reader, config, list| {
            config.process.args = process::args(reader, list)?;
            Ok(())
        }),
    )
    .needed(),
    row(
        "process.env",
        Is::Other(|reader, config, list| {
            config.process.env = process::env(reader, list)?;
            Ok(())
        }),
    ),
    row(
        "process.cwd",
        Is::Text(Use::Name, |reader, config, cwd| {
            config.process.cwd = cwd;
            match cwd.starts_with('/') {
                true => Ok(()),
                false => Err(reader.bad("process.cwd", cwd, "an absolute path")),
            }
        }),
    )
    .needed(),
    row(
        "process.oomScoreAdj",
        Is::Number(
            &Takes::Signed(-1000, 1000, "-1000 to 1000"),
            |config, score| {
                config.process.oom_score_adj = Some(score as i32);
            },
        ),
    ),
    row(
        "process.terminal",
        Is::Flag(|config, is_set| config.process.terminal = is_set),
    ),
    row(
        process::CONSOLE_SIZE,
        Is::Other(|reader, config, size| {
            config.process.console_size = Some(process::console_size(reader, size)?);
            Ok(())
        }),
    ),
    row("process.user", Is::Object(|_, ()| {})),
    row(
        "process.user.uid",
        Is::Number(&user::ID, |config, id| config.process.user.uid = id as u32),
    )
    .needed_with_object(),
    row(
        "process.user.gid",
        Is::Number(&user::ID, |config, id| config.process.user.gid = id as u32),
    )
    .needed_with_object(),
    row(
        "process.user.umask",
        Is::Number(
            &Takes::Number(0o777, "0 to 511, which is octal 777"),
            |config, umask| config.process.user.umask = umask as u32,
        ),
    ),
    row(
        "process.user.additionalGids",
        Is::Other(|reader, config, list| {
            config.process.user.groups = user::Groups::read(reader, list)?;
            Ok(())
        }),
    ),
    row(
        "process.capabilities",
        Is::Other(|reader, config, sets| {
            config.process.capabilities = Some(Capabilities::read(reader, sets)?);
            Ok(())
        }),
    ),
    row(
        "process.apparmorProfile",
        Is::Text(Use::Name, |_, config, profile| {
            config.process.apparmor_profile = Some(profile);
            Ok(())
        }),
    ),
    row(
        "process.selinuxLabel",
        Is::Text(Use::Name, |_, config, label| {
            config.process.selinux_label = Some(label);
            Ok(())
        }),
    ),
    row(
        "process.noNewPrivileges",
        Is::Flag(|config, is_set| config.process.no_new_privileges = is_set),
    ),
    row(
        "process.rlimits",
        Is::Other(|reader, config, list| {
            config.process.rlimits = rlimits::read(reader, list)?;
            Ok(())
        }),
    ),
    row(
        "process.scheduler",
        Is::Object(|config, ()| config.process.scheduler = Some(Scheduler::default())),
    ),
    row(
        "process.scheduler.policy",
        Is::Number(&scheduling::POLICY, |config, policy| {
            scheduler(config).policy = policy as u32;
        }),
    )
    .needed_with_object(),
    row(
        "process.scheduler.nice",
        Is::Number(&Takes::Signed(-20, 19, "-20 to 19"), |config, nice| {
            scheduler(config).nice = nice as i32;
        }),
    ),
    row(
        "process.scheduler.priority",
        Is::Number(&Takes::Number(99, "0 to 99"), |config, priority| {
            scheduler(config).priority = priority as u32;
        }),
    ),
    row(
        "process.scheduler.runtime",
        Is::Number(&scheduling::TIME, |config, time| {
            scheduler(config).runtime = time
        }),
    ),
    row(
        "process.scheduler.deadline",
        Is::Number(&scheduling::TIME, |config, time| {
            scheduler(config).deadline = time
        }),
    ),
    row(
        "process.scheduler.period",
        Is::Number(&scheduling::TIME, |config, time| {
            scheduler(config).period = time
        }),
    ),
    row(
        "process.scheduler.flags",
        Is::Other(|reader, config, list| {
            scheduler(config).flags = scheduling::flags(reader, list)?;
            Ok(())
        }),
    ),
    row("process.ioPriority", Is::Object(|_, ()| {})),
    row(
        "process.ioPriority.class",
        Is::Number(&scheduling::IO_CLASS, |config, class| {
            config.process.io_priority = Some(scheduling::io_class(class));
        }),
    )
    .needed_with_object(),
    row(
        "process.ioPriority.priority",
        Is::Number(&Takes::Number(7, "0 to 7"), |config, priority| {
            let class = config.process.io_priority.unwrap_or_default();
            config.process.io_priority = Some(class | priority as u16);
        }),
    ),
    row("process.execCPUAffinity", Is::Object(|_, ()| {})),
    row(
        affinity::LISTS[0],
        Is::Text(Use::Name, |reader, config, text| {
            let [initial, _] = &mut config.process.exec_affinity;
            *initial = Some(affinity::read(reader, affinity::LISTS[0], text)?);
            Ok(())
        }),
    ),
    row(
        affinity::LISTS[1],
        Is::Text(Use::Name, |reader, config, text| {
            let [_, last] = &mut config.process.exec_affinity;
            *last = Some(affinity::read(reader, affinity::LISTS[1], text)?);
            Ok(())
        }),
    ),
    row("linux.personality", Is::Object(|_, ()| {})),
    row(
        "linux.personality.domain",
        Is::Number(&scheduling::DOMAIN, |config, domain| {
            config.process.personality = Some(scheduling::personality(domain));
        }),
    )
    .needed_with_object(),
    // The specification has none so far.
    row("linux.personality.flags", Is::Refused),
    row(
        "linux.memoryPolicy",
        Is::Other(|reader, config, policy| {
            config.process.memory_policy = MemoryPolicy::read(reader, policy)?;
            Ok(())
        }),
    ),
    row(
        super::UID_MAPPINGS,
        Is::Other(|reader, config, list| {
            config.uid_map = IdMap::read(reader, Some(list), super::UID_MAPPINGS.into())?;
            Ok(())
        }),
    ),
    row(
        super::GID_MAPPINGS,
        Is::Other(|reader, config, list| {
            config.gid_map = IdMap::read(reader, Some(list), super::GID_MAPPINGS.into())?;
            Ok(())
        }),
    ),
    row(
        "linux.seccomp",
        Is::Other(|reader, config, profile| {
            config.seccomp = Some(Seccomp::read(reader, profile)?);
            Ok(())
        }),
    ),
    row(
        "root.path",
        Is::Text(Use::Name, |_, config, path| {
            config.root_path = path;
            Ok(())
        }),
    )
    .needed(),
    row(
        "root.readonly",
        Is::Flag(|config, is_set| config.root_readonly = is_set),
    ),
    row(
        "mounts",
        Is::Other(|reader, config, list| {
            let has_users = config.namespaces.has(super::Kind::User);
            config.mounts = mounts::read(reader, list, has_users)?;
            Ok(())
        }),
    ),
    row(
        "linux.timeOffsets",
        Is::Other(|reader, config, clocks| {
            config.time_offsets = time_offsets::read(reader, clocks, &config.namespaces)?;
            Ok(())
        }),
    ),
    row(
        net_devices::FIELD,
        Is::Other(|_, config, devices| {
            config.net_devices = NetDevices(Some(devices));
            Ok(())
        }),
    ),
    row(
        intel_rdt::FIELD,
        Is::Other(|_, config, rdt| {
            config.intel_rdt = Some(IntelRdt(rdt));
            Ok(())
        }),
    ),
    row(
        "hooks",
        Is::Other(|reader, config, all| {
            config.hooks = Hooks::read(reader, all)?;
            Ok(())
        }),
    ),
    row(
        super::PROPAGATION,
        Is::Text(Use::Name, |reader, config, word| {
            config.rootfs_propagation = Some(super::rootfs_propagation(reader, word)?);
            Ok(())
        }),
    ),
    row(
        "linux.mountLabel",
        Is::Text(Use::Name, |_, config, label| {
            config.mount_label = Some(label);
            Ok(())
        }),
    ),
    row(
        "linux.cgroupsPath",
        Is::Text(Use::Name, |reader, config, path| {
            config.cgroups_path = Some(CgroupsPath::read(reader, path)?);
            Ok(())
        }),
    ),
    row(
        "linux.resources",
        Is::Other(|reader, config, section| {
            config.resources =
                super::Resources::check(Some(section)).map_err(|error| reader.refuse(error))?;
            Ok(())
        }),
    ),
    row("linux.resources.memory", Is::Way),
    row("linux.resources.memory.kernel", Is::Warned),
    row("linux.resources.memory.kernelTCP", Is::Warned),
    row(
        confine::MASKED.0,
        Is::Other(|reader, config, list| {
            config.confinement.masked = Some(confine::paths_of(reader, list, confine::MASKED)?);
            Ok(())
        }),
    ),
    row(
        confine::READ_ONLY.0,
        Is::Other(|reader, config, list| {
            config.confinement.read_only =
                Some(confine::paths_of(reader, list, confine::READ_ONLY)?);
            Ok(())
        }),
    ),
    row(
        confine::DEVICES,
        Is::Other(|reader, config, list| {
            config.confinement.devices = Some(confine::devices_of(reader, list)?);
            Ok(())
        }),
    ),
    row(
        confine::SYSCTL,
        Is::Other(|reader, config, object| {
            let all = reader.object(object, confine::SYSCTL)?;
            config.confinement.sysctl = Some(all);
            let (namespaces, domainname) = (&config.namespaces, config.domainname);
            config
                .confinement
                .check_sysctls(reader, namespaces, domainname)
        }),
    ),
];

fn scheduler<'s>(config: &'s mut Config<'_>) -> &'s mut Scheduler {
    config.process.scheduler.get_or_insert_default()
}

/// As many fields are known.
const COUNT: usize = FIELDS.len();

static TREE: [Branch; COUNT + 1] = json::tree(&paths());

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "it is made when it is compiled"
)]
const fn paths() -> [&'static str; COUNT] {
    let mut paths = [""; COUNT];
    let mut i = 0;
    while i < COUNT {
        paths[i] = FIELDS[i].path;
        i += 1;
    }
    paths
}

/// As many may be warned of, besides one of [`super::seccomp`].
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "it is counted when it is compiled"
)]
const fn warned() -> usize {
    let (mut warned, mut i) = (0, 0);
    while i < COUNT {
        if matches!(FIELDS[i].is, Is::Warned) {
            warned += 1;
        }
        i += 1;
    }
    warned
}

/// Paths of the fields that are warned of.
pub type Warnings = Vec<&'static str, { warned() + 1 }>;

/// What a document has of the [`FIELDS`].
pub(super) struct Found<'a>([Option<Value<'a>>; COUNT]);

impl<'a> Found<'a> {
    /// Goes over the document.
    pub(super) fn read(file: &'a [u8]) -> Result<(Value<'a>, Self), JsonError<'a>> {
        let mut found = Self([None; COUNT]);
        let config = json::check_and_find(file, &TREE, &mut found.0)?;
        Ok((config, found))
    }

    /// The field at `path`, which has a row.
    pub(super) fn at(&self, path: &str) -> Option<Value<'a>> {
        let place = FIELDS.iter().position(|row| row.path == path)?;
        *self.0.get(place)?
    }

    /// Has each row read what is its own.
    #[inline(never)]
    pub(super) fn store(
        &self,
        reader: &Reader<'a>,
        config: &mut Config<'a>,
    ) -> Result<(), Refused> {
        for (row, value) in FIELDS.iter().zip(&self.0) {
            let is_said = match value {
                Some(value) => row.read(reader, config, *value)?,
                None => false,
            };
            let is_needed = match row.needed {
                _ if is_said => false,
                Needed::Never => false,
                Needed::Always => true,
                Needed::WithObject => {
                    let object = split_last(row.path, b'.');
                    object.is_some_and(|(object, _)| self.at(object).is_some())
                }
            };
            if is_needed {
                return Err(reader.missing(row.path));
            }
        }
        Ok(())
    }
}

impl Row {
    /// Whether it says something.
    fn read<'a>(
        &self,
        reader: &Reader<'a>,
        config: &mut Config<'a>,
        value: Value<'a>,
    ) -> Result<bool, Refused> {
        match self.is {
            Is::Way => {}
            Is::Object(set) => {
                reader.object(value, self.path)?;
                set(config, ());
            }
            Is::Text(used, set) => {
                let text = reader.string(value, self.path.into(), used)?;
                if text.is_empty() {
                    return Ok(false);
                }
                set(reader, config, text)?;
            }
            Is::Flag(set) => match value.node() {
                Node::Bool(is_set) => set(config, is_set),
                _ => return Err(reader.not(self.path, "true or false")),
            },
            Is::Number(takes, set) => set(config, takes.read(reader, value, self.path.into())?),
            Is::Other(read) => read(reader, config, value)?,
            Is::Warned if !value.is_empty() => {
                // There is room for each.
                let _ = config.warnings.push(self.path);
            }
            Is::Refused if !value.is_empty() => return Err(reader.unsupported(self.path)),
            Is::Warned | Is::Refused => {}
        }
        Ok(true)
    }
}
