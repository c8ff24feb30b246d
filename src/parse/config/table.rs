//! All fields of a `config.json` that berth knows: one row each.
//!
//! The document is gone over once. While it is checked, each key is held against the names that may
//! stand where it does ([`json::tree`]), and where a value begins that a row is about is noted.
//! Then the rows are gone through in their order, so that the first error does not depend on the
//! order in which a file has its fields, and each says what the value has to be and where it goes.
//!
//! A new field is one row here, its use, and its test. Lists, and objects whose members have any
//! name, are read by the module that knows them.

use heapless::Vec;

use super::capabilities::Capabilities;
use super::members::Takes;
use super::reader::{Reader, Refused, Use};
use super::scheduling::Scheduler;
use super::{
    Annotations, CgroupsPath, Config, Hooks, IdMap, IntelRdt, MemoryPolicy, Namespaces, NetDevices,
    Seccomp, affinity, annotations, capabilities, confine, hooks, id_map, intel_rdt, memory_policy,
    mounts, namespaces, net_devices, process, resources, rlimits, scheduling, seccomp,
    time_offsets, user,
};
use crate::parse::json::{self, Branch, JsonError, Node, Text, Value};
use crate::text::split_last;

/// A field.
pub struct Row {
    /// Where it is: names with `.` in between.
    pub path: &'static str,
    needed: Needed,
    is: Is,
    /// The fields inside of it that its module reads.
    pub inside: &'static [Inside],
}

/// Fields that are read by the module that reads the field around them.
pub struct Inside {
    /// Where the object is that has them, from the field around them on. `[]` is an item of a list,
    /// `*` is a member of any name, and the empty path is the field around them itself.
    pub object: &'static str,
    /// Their names, or paths from that object on.
    pub members: &'static [&'static str],
    /// What becomes of them.
    pub becomes: Becomes,
}

/// One step from a value in a document to another one in it.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// To the member of an object that has this name.
    Member(Text<'a>),
    /// To an item of a list.
    Item,
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
    /// What says nothing (`null`, an empty list, `false`) asks for what happens anyway, and is
    /// taken.
    Warned,
    Refused,
}

const fn row(path: &'static str, is: Is) -> Row {
    Row {
        path,
        needed: Needed::Never,
        is,
        inside: &[],
    }
}

const fn inside(object: &'static str, members: &'static [&'static str]) -> Inside {
    Inside {
        object,
        members,
        becomes: Becomes::Acted,
    }
}

/// The same, of those that are refused.
const fn refused(object: &'static str, members: &'static [&'static str]) -> Inside {
    Inside {
        object,
        members,
        becomes: Becomes::Refused,
    }
}

/// Members of an object that may have any name.
const ANY: &[&str] = &["*"];

impl Row {
    const fn with(mut self, inside: &'static [Inside]) -> Self {
        self.inside = inside;
        self
    }

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

    /// What value it takes, where that is said here and not by its module.
    #[must_use]
    pub const fn takes(&self) -> &'static str {
        match self.is {
            Is::Object(_) | Is::Way => "an object",
            Is::Text(..) => "a string",
            Is::Flag(_) => "true or false",
            Is::Number(takes, _) => takes.accepts(),
            Is::Other(_) | Is::Warned | Is::Refused => "",
        }
    }

    /// What becomes of what these steps lead to, from this field on: of itself or an item of it, or
    /// of a field inside of it.
    fn at(&self, steps: &[Step<'_>]) -> Option<Becomes> {
        let is_end = |steps: &[Step<'_>]| steps.iter().all(|step| matches!(step, Step::Item));
        let is_all_of_it = self.becomes() != Becomes::Acted;
        if is_all_of_it || is_end(steps) {
            return Some(self.becomes());
        }
        let of_one = |inside: &Inside| {
            let rest = follow(steps, inside.object)?;
            let is_it = |member: &&str| match rest.split_first() {
                // The names of annotations have points in them.
                Some((Step::Member(key), behind)) if key.is(member) => is_end(behind),
                _ => follow(rest, member).is_some_and(is_end),
            };
            inside.members.iter().any(is_it).then_some(inside.becomes)
        };
        self.inside.iter().filter_map(of_one).next_back()
    }
}

/// What becomes of the value that these steps lead to, from the document on. `None`: it is no field
/// that berth knows.
#[must_use]
pub fn becomes(steps: &[Step<'_>]) -> Option<Becomes> {
    let rows = FIELDS.iter();
    // Of a field around others, and one of these, the latter comes later.
    rows.filter_map(|row| row.at(follow(steps, row.path)?))
        .next_back()
}

/// The steps behind those that the path names.
fn follow<'s, 'a>(steps: &'s [Step<'a>], path: &str) -> Option<&'s [Step<'a>]> {
    let mut rest = steps;
    for part in path.split('.') {
        let items = part.strip_suffix("[]");
        let name = items.unwrap_or(part);
        if !name.is_empty() {
            let (Step::Member(key), behind) = rest.split_first()? else {
                return None;
            };
            (name == "*" || key.is(name)).then_some(())?;
            rest = behind;
        }
        if items.is_some() {
            let (Step::Item, behind) = rest.split_first()? else {
                return None;
            };
            rest = behind;
        }
    }
    Some(rest)
}

/// Whether berth acts on the field at `path`, which has a row.
#[must_use]
pub fn is_acted_on(path: &str) -> bool {
    let mut rows = FIELDS.iter().filter(|row| row.path == path);
    rows.any(|row| row.becomes() == Becomes::Acted)
}

/// In the order in which they are looked at: of two that are wrong, the first is told.
pub static FIELDS: [Row; 68] = [
    row(PROCESS, Is::Object(|_, ()| {})),
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
    )
    .with(&[inside("[]", &namespaces::MEMBERS)]),
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
    )
    .with(&[inside("", annotations::NAMES)]),
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
    )
    .with(&[inside("", &process::SIZES)]),
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
    )
    .with(&[inside("", &capabilities::SETS)]),
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
    )
    .with(&[inside("[]", &rlimits::NAMES)]),
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
    )
    .with(&[inside("", &memory_policy::MEMBERS)]),
    row(
        super::UID_MAPPINGS,
        Is::Other(|reader, config, list| {
            config.uid_map = IdMap::read(reader, Some(list), super::UID_MAPPINGS.into())?;
            Ok(())
        }),
    )
    .with(&[inside("[]", &id_map::MEMBERS)]),
    row(
        super::GID_MAPPINGS,
        Is::Other(|reader, config, list| {
            config.gid_map = IdMap::read(reader, Some(list), super::GID_MAPPINGS.into())?;
            Ok(())
        }),
    )
    .with(&[inside("[]", &id_map::MEMBERS)]),
    row(
        "linux.seccomp",
        Is::Other(|reader, config, profile| {
            config.seccomp = Some(Seccomp::read(reader, profile)?);
            Ok(())
        }),
    )
    .with(&[
        inside("", &seccomp::MEMBERS),
        inside("syscalls[]", &seccomp::OF_RULE),
        inside("syscalls[].args[]", &seccomp::OF_COMPARISON),
    ]),
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
    )
    .with(&[
        inside("[]", &mounts::MEMBERS),
        inside("[].uidMappings[]", &id_map::MEMBERS),
        inside("[].gidMappings[]", &id_map::MEMBERS),
    ]),
    row(
        "linux.timeOffsets",
        Is::Other(|reader, config, clocks| {
            config.time_offsets = time_offsets::read(reader, clocks, &config.namespaces)?;
            Ok(())
        }),
    )
    .with(&[
        inside("", &time_offsets::CLOCKS),
        inside("*", &time_offsets::MEMBERS),
    ]),
    row(
        net_devices::FIELD,
        Is::Other(|reader, config, devices| {
            config.net_devices = NetDevices::read(reader, devices, &config.namespaces)?;
            Ok(())
        }),
    )
    .with(&[inside("", ANY), inside("*", &net_devices::MEMBERS)]),
    row(
        intel_rdt::FIELD,
        Is::Other(|reader, config, rdt| {
            config.intel_rdt = Some(IntelRdt::read(reader, rdt)?);
            Ok(())
        }),
    )
    .with(&[inside("", &intel_rdt::MEMBERS)]),
    row(
        "hooks",
        Is::Other(|reader, config, all| {
            config.hooks = Hooks::read(reader, all)?;
            Ok(())
        }),
    )
    .with(&[inside("", &hooks::MOMENTS), inside("*[]", &hooks::MEMBERS)]),
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
    )
    .with(&[
        inside("", &resources::PATHS),
        refused("", &resources::OF_VERSION_1),
        inside("devices[]", &resources::OF_DEVICE_RULE),
        inside("blockIO.weightDevice[]", &resources::OF_WEIGHT),
        refused("blockIO.weightDevice[]", &[resources::LEAF_WEIGHT]),
        inside("blockIO.throttleReadBpsDevice[]", &resources::OF_THROTTLE),
        inside("blockIO.throttleWriteBpsDevice[]", &resources::OF_THROTTLE),
        inside("blockIO.throttleReadIOPSDevice[]", &resources::OF_THROTTLE),
        inside("blockIO.throttleWriteIOPSDevice[]", &resources::OF_THROTTLE),
        inside("hugepageLimits[]", &resources::OF_HUGE_PAGES),
        inside("rdma", ANY),
        inside("rdma.*", &resources::OF_RDMA),
        inside("unified", ANY),
    ]),
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
    )
    .with(&[inside("[]", &confine::MEMBERS)]),
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
    )
    .with(&[inside("", ANY)]),
];

fn scheduler<'s>(config: &'s mut Config<'_>) -> &'s mut Scheduler {
    config.process.scheduler.get_or_insert_default()
}

/// What is a document of its own, too.
const PROCESS: &str = "process";

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

    /// Goes over a document that is what `process` is in a configuration.
    pub(super) fn read_process(file: &'a [u8]) -> Result<Self, JsonError<'a>> {
        let mut found = Self([None; COUNT]);
        let process = json::check(file)?;
        let place = FIELDS.iter().position(|row| row.path == PROCESS);
        if let Some(place) = place.and_then(|place| found.0.get_mut(place)) {
            *place = Some(process);
        }
        process.find_from(&TREE, PROCESS, &mut found.0);
        Ok(found)
    }

    /// Has the rows of `process` read what is their own.
    pub(super) fn store_process(
        &self,
        reader: &Reader<'a>,
        config: &mut Config<'a>,
    ) -> Result<(), Refused> {
        self.store_below(PROCESS, reader, config)
    }

    /// The field at `path`, which has a row.
    pub(super) fn at(&self, path: &str) -> Option<Value<'a>> {
        let place = FIELDS.iter().position(|row| row.path == path)?;
        *self.0.get(place)?
    }

    /// Has each row read what is its own.
    pub(super) fn store(
        &self,
        reader: &Reader<'a>,
        config: &mut Config<'a>,
    ) -> Result<(), Refused> {
        self.store_below("", reader, config)
    }

    /// The same, with the rows whose paths begin so.
    #[inline(never)]
    fn store_below(
        &self,
        start: &str,
        reader: &Reader<'a>,
        config: &mut Config<'a>,
    ) -> Result<(), Refused> {
        let rows = FIELDS.iter().zip(&self.0);
        for (row, value) in rows.filter(|(row, _)| row.path.starts_with(start)) {
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

#[cfg(test)]
mod tests {
    use super::super::{MOUNT_PLACES, MountPlace};
    use super::*;

    const EVERY_FIELD: &str = include_str!("../../../tests/fuzz/seeds/config/every-field");

    /// Calls `see` with each value and the steps to it.
    fn each<'a>(
        value: Value<'a>,
        steps: &mut std::vec::Vec<Step<'a>>,
        see: &mut dyn FnMut(Value<'a>, &[Step<'a>]),
    ) {
        see(value, steps);
        let mut go = |step, value| {
            steps.push(step);
            each(value, steps, see);
            steps.pop();
        };
        match value.node() {
            Node::Object(members) => members.for_each(|(key, value)| go(Step::Member(key), value)),
            Node::Array(items) => items.for_each(|value| go(Step::Item, value)),
            _ => {}
        }
    }

    fn parse(text: &str) -> Result<std::vec::Vec<&'static str>, String> {
        let mut scratch = vec![0; text.len()];
        let mut places = [const { MountPlace::uninit() }; MOUNT_PLACES];
        match Config::parse(text.as_bytes(), &mut scratch, &mut places) {
            Ok(config) => Ok(config.warnings.to_vec()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn is_items(steps: &[Step<'_>]) -> bool {
        steps.iter().all(|step| matches!(step, Step::Item))
    }

    /// The parser is asked: of a field that is acted on or refused it must complain when a value of
    /// another type stands there.
    fn check(text: &str) {
        let warnings = parse(text).unwrap();
        let mut seen = 0;
        let root = json::check(text.as_bytes()).unwrap();
        each(root, &mut vec![], &mut |value, steps| {
            let other = match value.node() {
                Node::Null => return,
                Node::Number(_) | Node::Bool(_) => "\"x\"",
                _ => "7",
            };
            let start = value.as_written().as_ptr() as usize - text.as_ptr() as usize;
            let mut changed = text.to_owned();
            changed.replace_range(start..start + value.as_written().len(), other);
            let is_leaf = !matches!(value.node(), Node::Object(members) if members.clone().count() > 0)
                && !is_items(&steps[steps.len().saturating_sub(1)..]);
            if !is_leaf {
                return;
            }
            let is_warned = warnings.iter().any(|path| follow(steps, path).is_some());
            let expected = match (is_warned, parse(&changed)) {
                (true, _) => "warned",
                (false, Ok(_)) => "unknown",
                (false, Err(_)) => "known",
            };
            let found = match becomes(steps) {
                Some(Becomes::Warned) => "warned",
                Some(Becomes::Acted | Becomes::Refused) => "known",
                None => "unknown",
            };
            assert_eq!(found, expected, "{steps:?}");
            seen += 1;
        });
        assert!(seen > 20);
    }

    #[test]
    fn what_the_table_knows_is_what_is_read() {
        check(EVERY_FIELD);
        check(include_str!(
            "../../../tests/config/real/podman-run-options.json"
        ));
        check(include_str!(
            "../../../tests/config/real/ctr-run-seccomp.json"
        ));
    }

    /// Fuzzing begins with a document that has each field, so that each is reached.
    #[test]
    fn every_field_is_in_the_seed() {
        let root = json::check(EVERY_FIELD.as_bytes()).unwrap();
        // It is refused whatever it is.
        const NEVER: [&str; 1] = ["memory.swappiness"];
        let mut wanted = std::vec::Vec::new();
        for row in &FIELDS {
            wanted.push(row.path.to_owned());
            for inside in row.inside {
                let members = inside.members.iter().filter(|name| !NEVER.contains(name));
                let object = match inside.object.strip_prefix("[]") {
                    Some(rest) => format!("{}[]{rest}", row.path),
                    None => format!("{}.{}", row.path, inside.object),
                };
                // The names of annotations have points in them.
                wanted.extend(
                    members
                        .filter(|name| !name.starts_with("berth."))
                        .map(|name| format!("{object}.{name}")),
                );
            }
        }
        each(root, &mut vec![], &mut |_, steps| {
            wanted.retain(|path| !follow(steps, path).is_some_and(|rest| rest.is_empty()));
        });
        assert_eq!(wanted, [""; 0]);
        for name in annotations::NAMES {
            assert!(EVERY_FIELD.contains(&format!("\"{name}\": ")), "{name}");
        }
    }
}
