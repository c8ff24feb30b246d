//! `mounts`: what is mounted in a container besides its root, in order.

use core::iter::successors;
use core::mem::MaybeUninit;

use super::MAX_MOUNTS;
use super::error::Field;
use super::id_map::IdMap;
use super::mount_options::MountOptions;
use super::reader::{Reader, Refused, Use};
use crate::parse::json::Value;
use crate::parse::mount_options::Recursive;

/// One item of `mounts`.
#[derive(Clone, Copy, Debug)]
pub struct Mount<'a> {
    /// A path in the container, not empty. Early versions of the specification allow one without a
    /// leading `/`; it starts at the container's root all the same.
    pub destination: &'a str,
    /// The filesystem's type. `None` only for a bind mount, whose type means nothing, and for a
    /// remount.
    pub fstype: Option<&'a str>,
    /// What to mount; always there for a bind mount that is none of the same, and then relative to
    /// the bundle unless it begins with `/`.
    pub source: Option<&'a str>,
    /// The options, understood.
    pub options: MountOptions<'a>,
    /// How ids are mapped, if they are.
    pub ids: Option<MappedIds<'a>>,
}

/// How the ids of a mount are mapped. A file that belongs to an inner id is seen as one of the
/// outer, which is the host's.
#[derive(Clone, Copy, Debug)]
pub struct MappedIds<'a> {
    /// `uidMappings` and `gidMappings`. `None`: those of the container's user namespace, which has
    /// one then.
    pub maps: Option<[IdMap<'a>; 2]>,
    /// Whether the mounts below it have the same.
    pub recursive: Recursive,
}

/// The items of `mounts`, in the order in which they are made. They are linked, since few bundles
/// have many and some have hundreds: so only as much memory is touched as there are mounts.
#[derive(Clone, Copy, Debug, Default)]
pub struct MountList<'a> {
    first: Option<&'a Listed<'a>>,
    added: Option<&'a Mount<'a>>,
}

/// A mount, and those behind it.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    mount: Mount<'a>,
    behind: Option<&'a Listed<'a>>,
}

/// Where one item of a list can be kept.
pub type MountPlace<'a> = MaybeUninit<Listed<'a>>;

/// The places that a bundle's mounts may take: two for each, as they are read from the first to the
/// last and linked from the last to the first.
pub const MOUNT_PLACES: usize = 2 * MAX_MOUNTS;

/// The bytes of as many places.
pub const MOUNTS_SIZE: usize = MOUNT_PLACES * size_of::<MountPlace<'static>>();

impl<'a> MountList<'a> {
    /// Nothing.
    pub(super) const NONE: Self = Self {
        first: None,
        added: None,
    };

    /// Those in the list, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a Mount<'a>> + Clone + use<'a> {
        let read = successors(self.first, |one| one.behind).map(|one| &one.mount);
        read.chain(self.added)
    }

    /// Has one more behind those of the bundle, instead of what was added before.
    pub const fn add(&mut self, mount: &'a Mount<'a>) {
        self.added = Some(mount);
    }

    /// The list with this one before it; `None` without a place.
    fn with(self, mount: Mount<'a>, place: Option<&'a mut MountPlace<'a>>) -> Option<Self> {
        let behind = self.first;
        let first = place?.write(Listed { mount, behind });
        Some(Self {
            first: Some(first),
            ..self
        })
    }
}

/// What an item has.
pub(super) const MEMBERS: [&str; 6] = [
    "destination",
    "type",
    "source",
    "options",
    "uidMappings",
    "gidMappings",
];

/// Reads them into the reader's places, of which there should be [`MOUNT_PLACES`].
#[inline(never)]
pub(super) fn read<'a>(
    reader: &Reader<'a>,
    list: Value<'a>,
    has_users: bool,
) -> Result<MountList<'a>, Refused> {
    let too_many = || reader.too_many("mounts", MAX_MOUNTS);
    let mut places = reader.places.take().iter_mut();
    let mut backwards = MountList::default();
    let mut items = reader.items(list, "mounts".into())?;
    let mut index = 0usize;
    while let Some(item) = items.next() {
        reader.object(item, Field::item("mounts[]", index))?;
        let members = items.members(item, &MEMBERS);
        let mount = Mount::read(reader, members, index, has_users)?;
        let place = places.next().filter(|_| index < MAX_MOUNTS);
        backwards = backwards.with(mount, place).ok_or_else(too_many)?;
        index = index.saturating_add(1);
    }
    let mut mounts = MountList::default();
    for mount in backwards.iter() {
        mounts = mounts.with(*mount, places.next()).ok_or_else(too_many)?;
    }
    Ok(mounts)
}

impl<'a> Mount<'a> {
    fn read(
        reader: &Reader<'a>,
        [destination, fstype, source, options, users, groups]: [Option<Value<'a>>; MEMBERS.len()],
        index: usize,
        has_users: bool,
    ) -> Result<Self, Refused> {
        let string = |value, path| {
            let field = Field::item(path, index);
            Ok((field, reader.optional(value, field, Use::Name)?))
        };
        let (field, destination) = string(destination, "mounts[].destination")?;
        let destination = destination.ok_or_else(|| reader.missing(field))?;
        let (type_field, fstype) = string(fstype, "mounts[].type")?;
        let (source_field, source) = string(source, "mounts[].source")?;
        let options = MountOptions::read(reader, options, index)?;
        let ids = MappedIds::read(reader, [users, groups], index, options.map_ids, has_users)?;
        let needs = |needs| {
            let field = Field::item("mounts[].options", index);
            Err(reader.needs(field, needs))
        };
        if options.is_remount() {
            if ids.is_some() || options.copy_up {
                return needs("a new mount for idmap and tmpcopyup, not remount");
            }
        } else if options.is_bind() {
            source.ok_or_else(|| reader.missing(source_field))?;
        } else {
            fstype.ok_or_else(|| reader.missing(type_field))?;
        }
        if options.copy_up && (options.is_bind() || fstype != Some("tmpfs")) {
            return needs("the type tmpfs for tmpcopyup");
        }
        Ok(Self {
            destination,
            fstype,
            source,
            // A filesystem that is made in a user namespace has the ids of that as its own: they
            // are mapped as they are to be, and the kernel maps none to themselves (can_idmap_mount
            // of fs/namespace.c, EINVAL). A control group may be the host's.
            ids: ids.filter(|ids| {
                let is_made =
                    !options.is_bind() && !fstype.unwrap_or_default().starts_with("cgroup");
                ids.maps.is_some() || !is_made
            }),
            options,
        })
    }

    /// Whether it is mounted on `path`, which is relative to the root of the container. Where a
    /// link would lead is not known here.
    #[must_use]
    pub fn is_at(&self, path: &str) -> bool {
        parts(self.destination).eq(parts(path))
    }

    /// Whether it is mounted on `path` or somewhere below it.
    #[must_use]
    pub fn is_at_or_below(&self, path: &str) -> bool {
        let mut destination = parts(self.destination);
        parts(path).all(|part| destination.next() == Some(part))
    }
}

/// By bytes: to split text costs several times as much, and each default is compared with each
/// mount.
fn parts(path: &str) -> impl Iterator<Item = &[u8]> {
    path.as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
}

impl<'a> MappedIds<'a> {
    /// Maps without either of the words are for the one mount; the words without maps mean those of
    /// the container's user namespace (config.md, "Linux mount options", `idmap`).
    fn read(
        reader: &Reader<'a>,
        [users, groups]: [Option<Value<'a>>; 2],
        index: usize,
        asked: Option<Recursive>,
        has_users: bool,
    ) -> Result<Option<Self>, Refused> {
        let map = |list, path| IdMap::read(reader, list, Field::item(path, index));
        let users = map(users, "mounts[].uidMappings")?;
        let groups = map(groups, "mounts[].gidMappings")?;
        let maps = match (users, groups, asked) {
            (None, None, None) => return Ok(None),
            (None, None, Some(_)) if has_users => None,
            (Some(users), Some(groups), _) => Some([users, groups]),
            _ => {
                let needs = "both uidMappings and gidMappings for idmap";
                let field = Field::item("mounts[]", index);
                return Err(reader.needs(field, needs));
            }
        };
        let recursive = asked.unwrap_or(Recursive::No);
        Ok(Some(Self { maps, recursive }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::ConfigError;
    use super::*;
    use crate::parse::json;

    fn with<T>(file: &str, check: impl FnOnce(Result<Mount<'_>, ConfigError<'_>>) -> T) -> T {
        read_with(file, false, check)
    }

    fn read_with<T>(
        file: &str,
        has_users: bool,
        check: impl FnOnce(Result<Mount<'_>, ConfigError<'_>>) -> T,
    ) -> T {
        let mut scratch = [0; 256];
        let config = json::check(file.as_bytes()).unwrap();
        let mut places = [const { MountPlace::uninit() }; 4];
        let reader = Reader::new(&mut scratch);
        reader.places.set(&mut places);
        let mounts = read(&reader, config.member("mounts").unwrap(), has_users);
        let mounts = mounts.map_err(|refused| reader.error(refused));
        check(mounts.map(|mounts| *mounts.iter().next().unwrap()))
    }

    fn mount(members: &str) -> String {
        format!(r#"{{"mounts": [{{"destination": "/mnt", {members}}}]}}"#)
    }

    fn refusal(members: &str) -> String {
        with(&mount(members), |result| result.unwrap_err().to_string())
    }

    #[test]
    fn the_destination_is_compared_by_its_parts() {
        with(
            r#"{"mounts": [{"destination": "//dev/./shm/", "type": "tmpfs"}]}"#,
            |mount| {
                let mount = mount.unwrap();
                assert!(mount.is_at("dev/shm") && !mount.is_at("dev"));
                assert!(mount.is_at_or_below("dev") && mount.is_at_or_below("dev/shm"));
                assert!(!mount.is_at_or_below("dev/shm/x") && !mount.is_at_or_below("de"));
            },
        );
    }

    #[test]
    fn ids_are_mapped_by_both_maps_or_not_at_all() {
        let map = |name, id: u32| {
            format!(r#", "{name}": [{{"containerID": 0, "hostID": {id}, "size": 10}}]"#)
        };
        let [users, groups] = [map("uidMappings", 5), map("gidMappings", 6)];
        let bind = |options: &str, members: &str| {
            mount(&format!(
                r#""source": "/x", "options": ["bind"{options}]{members}"#
            ))
        };
        let outside = |file: &str| {
            with(file, |mount| {
                mount.unwrap().ids.map(|ids| {
                    let first = |map: IdMap<'_>| map.ranges().next().unwrap().outside;
                    let [users, groups] = ids.maps.unwrap().map(first);
                    (users, groups, ids.recursive)
                })
            })
        };
        let both = format!("{users}{groups}");
        assert_eq!(outside(&bind("", "")), None);
        assert_eq!(outside(&bind("", &both)), Some((5, 6, Recursive::No)));
        assert_eq!(
            outside(&bind(r#", "ridmap""#, &both)),
            Some((5, 6, Recursive::Yes))
        );
        for (options, members) in [
            (r#", "idmap""#, ""),
            (r#", "idmap""#, &users),
            ("", &groups),
        ] {
            with(&bind(options, members), |mount| {
                let refusal = mount.unwrap_err().to_string();
                assert_eq!(
                    refusal,
                    "mounts[0] needs both uidMappings and gidMappings for idmap"
                );
            });
        }
        // In a user namespace there are others to take.
        let of_container = |file: &str| {
            read_with(file, true, |mount| {
                mount
                    .unwrap()
                    .ids
                    .map(|ids| (ids.maps.is_none(), ids.recursive))
            })
        };
        let word = |word| bind(word, "");
        assert_eq!(of_container(&word("")), None);
        let idmap = Some((true, Recursive::No));
        assert_eq!(of_container(&word(r#", "idmap""#)), idmap);
        let ridmap = Some((true, Recursive::Yes));
        assert_eq!(of_container(&word(r#", "ridmap""#)), ridmap);
        let own = Some((false, Recursive::No));
        assert_eq!(of_container(&bind("", &both)), own);
        read_with(&bind(r#", "idmap""#, &users), true, |mount| {
            assert!(mount.is_err(), "half of the maps");
        });
        // A filesystem of its own has them already.
        let tmpfs = |members: &str| {
            mount(&format!(
                r#""type": "tmpfs", "options": ["idmap"]{members}"#
            ))
        };
        assert_eq!(of_container(&tmpfs("")), None);
        assert_eq!(of_container(&tmpfs("").replace("tmpfs", "cgroup")), idmap);
        assert_eq!(of_container(&tmpfs(&both)), own);
    }

    #[test]
    fn maps_that_no_kernel_would_take_are_refused_by_name() {
        let list = |list: &str| refusal(&format!(r#""type": "tmpfs", "uidMappings": {list}"#));
        let range = |inside: u64, outside: u64, size: u64| {
            format!(r#"{{"containerID": {inside}, "hostID": {outside}, "size": {size}}}"#)
        };
        let what = "a list of containerID, hostID and size, with a size above 0 and no number above 4294967294";
        for bad in [
            "[{}]".to_owned(),
            "[7]".to_owned(),
            format!("[{}]", range(0, 0, 0)),
            format!("[{}]", range(1, 0, u32::MAX.into())),
            format!("[{}]", range(0, 1 << 32, 1)),
        ] {
            assert_eq!(list(&bad), format!("mounts[0].uidMappings is not {what}"));
        }
        assert_eq!(list("{}"), "mounts[0].uidMappings is not a list");
        let apart = format!("[{}, {}]", range(0, 100, 10), range(50, 109, 1));
        assert!(
            list(&apart).ends_with("apart from each other"),
            "{}",
            list(&apart)
        );
        let many: Vec<String> = (0..341).map(|id| range(id, id, 1)).collect();
        assert_eq!(
            list(&format!("[{}]", many.join(","))),
            "mounts[0].uidMappings has more than 340 items"
        );
    }

    #[test]
    fn what_an_option_needs_is_said() {
        assert_eq!(
            refusal(r#""type": "ext4", "options": ["tmpcopyup"]"#),
            "mounts[0].options needs the type tmpfs for tmpcopyup"
        );
        assert_eq!(
            refusal(r#""type": "tmpfs", "options": ["tmpcopyup", "remount"]"#),
            "mounts[0].options needs a new mount for idmap and tmpcopyup, not remount"
        );
        with(&mount(r#""options": ["remount", "bind", "ro"]"#), |mount| {
            assert!(mount.unwrap().options.is_remount());
        });
    }
}
