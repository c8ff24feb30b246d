//! An OCI bundle's `config.json` (runtime-spec 1.x, `config.md` and `config-linux.md`).
//!
//! Three things can be with a field. What berth acts on is in [`Config`], validated as far as the
//! text alone allows. What the specification knows and berth does not yet act on is refused by name
//! where a container would be less confined than its author believes, otherwise named in
//! [`Config::warnings`]. Which of the three becomes of a field is in one table: [`table::FIELDS`].
//! What the specification does not know is ignored, as it demands; except for annotations that
//! begin with `berth.`, which are ours.
//!
//! Text is borrowed from the file, or from a scratch buffer where it was escaped. Lists are
//! bounded, and one that is longer is refused, never cut.

pub mod affinity;
mod annotations;
pub mod capabilities;
mod cgroups_path;
mod confine;
mod device_access;
mod error;
mod exec_process;
mod hooks;
pub mod id;
pub mod id_map;
mod intel_rdt;
pub mod landlock;
mod members;
pub mod memory_policy;
pub mod mount_options;
mod mounts;
mod namespaces;
pub mod net_devices;
mod process;
mod reader;
pub mod resources;
mod rlimits;
pub mod scheduling;
pub mod seccomp;
mod strings;
mod sysctl;
pub mod table;
mod time_offsets;
pub mod user;

pub(in crate::parse) use annotations::containers;
pub use annotations::{
    Annotations, OF_PID_1, OnExit, Overlay, READY_PATH_MAX, Ready, Restart, RootSwitch,
};
pub use cgroups_path::CgroupsPath;
pub use confine::{Confinement, Device, NodeKind};
pub use device_access::DeviceAccess;
pub use error::{ConfigError, Field};
pub use exec_process::ProcessChanges;
pub use hooks::{Hook, HookKind, Hooks};
pub use id::{IdError, container_id};
pub use id_map::{IdMap, IdRange};
pub use intel_rdt::IntelRdt;
pub use landlock::Landlock;
pub use mount_options::MountOptions;

use crate::parse::mount_options::Propagation;
pub use memory_policy::MemoryPolicy;
pub use mounts::{MOUNT_PLACES, MOUNTS_SIZE, MappedIds, Mount, MountList, MountPlace};
pub use namespaces::{Kind, Namespace, Namespaces};
pub use net_devices::NetDevices;
pub use process::Process;
pub use resources::Resources;
pub use seccomp::Seccomp;
pub use time_offsets::{CLOCKS, TimeOffsets};

use crate::parse::json;
use reader::{Reader, Refused};
use table::Found;

/// The version of the specification that this follows.
pub const SPECIFICATION: &str = "1.3.0";
/// Bytes that a `config.json` may have. Those of engines have some 10 KiB, up to 100 with a system
/// call filter, and those with thousands of variables or annotations a MiB.
pub const MAX_SIZE: usize = 2 * 1024 * 1024;
/// Items that `process.args` may have, and `process.env`.
pub const MAX_STRINGS: usize = 4096;
/// Items that `mounts` may have: an engine that may make no nodes lists a host's devices one by
/// one.
pub const MAX_MOUNTS: usize = 512;

/// The kernel's limit for the names of a host and of a domain (`__NEW_UTS_LEN`).
const MAX_HOSTNAME: usize = 64;

/// What a bundle asks for. About 2 KiB.
#[derive(Clone, Debug)]
pub struct Config<'a> {
    /// `ociVersion`: 1.x.
    pub oci_version: &'a str,
    /// `process`
    pub process: Process<'a>,
    /// `root.path`: relative to the bundle unless it begins with `/`. Not empty.
    pub root_path: &'a str,
    /// `root.readonly`
    pub root_readonly: bool,
    /// `hostname`: at most 64 bytes, and only with a UTS namespace.
    pub hostname: Option<&'a str>,
    /// `domainname`: the same.
    pub domainname: Option<&'a str>,
    /// `mounts`, in the order in which they are made.
    pub mounts: MountList<'a>,
    /// `linux.namespaces`
    pub namespaces: Namespaces<'a>,
    /// `linux.uidMappings`: there if a user namespace is made, and perhaps if one is joined, which
    /// is to have it then.
    pub uid_map: Option<IdMap<'a>>,
    /// `linux.gidMappings`: as well.
    pub gid_map: Option<IdMap<'a>>,
    /// `linux.timeOffsets`: only with a time namespace that is made.
    pub time_offsets: TimeOffsets,
    /// `linux.netDevices`: only with a network namespace.
    pub net_devices: NetDevices<'a>,
    /// `linux.intelRdt`
    pub intel_rdt: Option<IntelRdt<'a>>,
    /// `hooks`
    pub hooks: Hooks<'a>,
    /// `linux.rootfsPropagation`. `None`: a slave of the host and a peer group of its own.
    pub rootfs_propagation: Option<Propagation>,
    /// `linux.mountLabel`: what SELinux labels the files of new filesystems with.
    pub mount_label: Option<&'a str>,
    /// `linux.maskedPaths`, `linux.readonlyPaths`, `linux.devices`, `linux.sysctl`
    pub confinement: Confinement<'a>,
    /// `linux.cgroupsPath`
    pub cgroups_path: Option<CgroupsPath<'a>>,
    /// `linux.resources`
    pub resources: Resources<'a>,
    /// `linux.seccomp`: which system calls its processes may make.
    pub seccomp: Option<Seccomp<'a>>,
    /// Those that begin with `berth.`
    pub annotations: Annotations<'a>,
    /// All annotations, as they are written; an object.
    pub all_annotations: Option<&'a str>,
    /// Fields that are known, not acted on, and no matter of security.
    pub warnings: table::Warnings,
    /// The container is made by an unprivileged user of the machine: only that user's rights decide
    /// which devices it may use. The caller sets this; no field of the file does.
    pub is_of_user: bool,
}

impl<'a> Config<'a> {
    /// Reads a whole `config.json`.
    ///
    /// `scratch` takes strings that were escaped; as many bytes as the file has suffice always.
    /// `places` take what is to be mounted; [`MOUNT_PLACES`] suffice always.
    ///
    /// # Errors
    /// The first thing that is wrong, by its place in the text or by its field.
    #[inline(never)]
    pub fn parse(
        file: &'a [u8],
        scratch: &'a mut [u8],
        places: &'a mut [MountPlace<'a>],
    ) -> Result<Self, ConfigError<'a>> {
        if file.len() > MAX_SIZE {
            return Err(ConfigError::TooLarge { size: file.len() });
        }
        let (document, found) = Found::read(file).map_err(ConfigError::Json)?;
        let reader = Reader::new(scratch);
        reader.places.set(places);
        let mut config = Self::nothing();
        match config.read(&reader, document, &found) {
            Ok(()) => Ok(config),
            Err(refused) => Err(reader.error(refused)),
        }
    }

    /// Before anything is said.
    fn nothing() -> Self {
        Self {
            oci_version: "",
            process: Process::nothing(),
            root_path: "",
            root_readonly: false,
            hostname: None,
            domainname: None,
            mounts: MountList::NONE,
            namespaces: Namespaces::NONE,
            uid_map: None,
            gid_map: None,
            time_offsets: [None; CLOCKS.len()],
            net_devices: NetDevices::NONE,
            intel_rdt: None,
            hooks: Hooks::NONE,
            rootfs_propagation: None,
            mount_label: None,
            confinement: Confinement::NONE,
            cgroups_path: None,
            resources: Resources::NONE,
            seccomp: None,
            annotations: Annotations::NONE,
            all_annotations: None,
            warnings: table::Warnings::new(),
            is_of_user: false,
        }
    }

    /// Reads the fields one by one, and then sees that they fit together.
    fn read(
        &mut self,
        reader: &Reader<'a>,
        document: json::Value<'a>,
        found: &Found<'a>,
    ) -> Result<(), Refused> {
        reader.object(document, "config.json")?;
        found.store(reader, self)?;
        self.check_capabilities(reader)?;
        self.namespaces
            .check_mounts(reader, found, &self.annotations)?;
        self.namespaces.check_control(reader, &self.annotations)?;
        check_id_maps(reader, self)?;
        if self.seccomp.is_some_and(|seccomp| seccomp.has_foreign) {
            // There is room for each.
            let _ = self.warnings.push(seccomp::ARCHITECTURES);
        }
        Ok(())
    }
}

impl<'a> Config<'a> {
    /// Without the field there are none, unless the container is `berth.privileged`; and none leads
    /// back to the host.
    fn check_capabilities(&mut self, reader: &Reader<'a>) -> Result<(), Refused> {
        if !self.annotations.privileged {
            self.process.capabilities.get_or_insert_default();
        }
        match &self.process.capabilities {
            Some(sets) => sets.check(reader, self.annotations.root_switch),
            None => Ok(()),
        }
    }
}

/// A name that belongs to the UTS namespace, which must then be the container's own.
fn uts_name<'a>(
    reader: &Reader<'a>,
    field: &'static str,
    name: &'a str,
    namespaces: &Namespaces<'_>,
) -> Result<Option<&'a str>, Refused> {
    if name.len() > MAX_HOSTNAME {
        return Err(reader.bad(field, name, "at most 64 bytes"));
    }
    if !namespaces.has(Kind::Uts) {
        return Err(reader.needs(field, "a namespace of type uts in linux.namespaces"));
    }
    Ok(Some(name))
}

const UID_MAPPINGS: &str = "linux.uidMappings";
const GID_MAPPINGS: &str = "linux.gidMappings";

/// A user namespace without a map has no user 0 and can do nothing; a map without one is nobody's.
/// One that is joined has its own, which engines write all the same.
fn check_id_maps<'a>(reader: &Reader<'a>, config: &Config<'a>) -> Result<(), Refused> {
    for (path, map) in [
        (UID_MAPPINGS, config.uid_map),
        (GID_MAPPINGS, config.gid_map),
    ] {
        let needs = match (map.is_some(), config.namespaces.get(Kind::User)) {
            (true, Namespace::Host) => "a namespace of type user in linux.namespaces",
            (false, Namespace::New) => "at least one range, for the namespace of type user",
            _ => continue,
        };
        return Err(reader.needs(path, needs));
    }
    Ok(())
}

const PROPAGATION: &str = "linux.rootfsPropagation";

fn rootfs_propagation<'a>(reader: &Reader<'a>, word: &'a str) -> Result<Propagation, Refused> {
    Propagation::parse(word)
        .ok_or_else(|| reader.bad(PROPAGATION, word, "slave, private, shared or unbindable"))
}

#[cfg(test)]
mod tests;
