//! What is compared: who is whose peer and whose slave, as mountinfo has it, and who receives whose
//! mounts, as a mount shows.
//!
//! A shape is written as a line. `A=P` are peers, `Z>A` has A as a slave of the group of Z, `C=` is
//! a peer group of one, `U!` cannot be bound, and what stands alone is private: `Z>A Z>C=D>E` has A
//! and the group of C and D as slaves of Z, and E as a slave of C and D. What is not named is not
//! mounted.
//!
//! From the shape follows where each mount appears that is made in one of them; so each is made,
//! looked for everywhere, and taken away again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use berth::parse::mountinfo::Mounts;
use berth::sys::mount::{Flags, mount_new, unmount_detach};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use rustix::io::Errno;

use super::namespace::Namespace;
use super::stage::fault;

/// A place where a mount may be.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    /// Its name in shapes.
    pub(super) name: char,
    /// The directory.
    pub(super) root: &'p str,
    /// A directory in it, on which nothing is mounted.
    pub(super) probe: &'p str,
    /// The mount namespace in which to look, if not the one in which the process is.
    pub(super) namespace: Option<&'p Namespace>,
}

/// In the namespace where the process is: the name, the directory, and the directory in it.
pub(super) const fn place<'p>(name: char, root: &'p str, probe: &'p str) -> Place<'p> {
    Place {
        name,
        root,
        probe,
        namespace: None,
    }
}

impl Place<'_> {
    fn enter(&self) -> Result<()> {
        self.namespace.map_or(Ok(()), Namespace::enter)
    }
}

type Names = BTreeSet<char>;

/// Stands for a group that none of the places is in.
const HIDDEN: char = '?';

/// What one mount is to the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seat {
    /// Those of its peer group, with itself; nobody if it is not shared.
    peers: Names,
    /// Those of the group that it is a slave of.
    masters: Names,
    is_unbindable: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shape(BTreeMap<char, Seat>);

impl Shape {
    fn parse(text: &str) -> Self {
        let mut shape = Self::default();
        for chain in text.split_whitespace() {
            let mut masters = Names::new();
            let mut groups = chain.split('>').peekable();
            while let Some(group) = groups.next() {
                let is_name = |c: &char| c.is_ascii_alphabetic() || *c == HIDDEN;
                let names: Names = group.chars().filter(is_name).collect();
                let is_shared = group.contains('=') || groups.peek().is_some();
                for name in names.iter().filter(|name| **name != HIDDEN) {
                    let seat = shape.0.entry(*name).or_default();
                    seat.is_unbindable = group.ends_with('!');
                    // A group that stands in several lines is shared in all, and has its master in
                    // one.
                    if is_shared {
                        seat.peers = names.clone();
                    }
                    if !masters.is_empty() {
                        seat.masters = masters.clone();
                    }
                }
                masters = names;
            }
        }
        shape
    }

    /// What the kernel says of these places.
    fn read(places: &[Place<'_>]) -> Result<Self> {
        let mut found = BTreeMap::new();
        let mut table = Vec::new();
        for place in places {
            place.enter()?;
            // Each namespace has its own.
            if table.is_empty() || place.namespace.is_some() {
                table = fs::read("/proc/self/mountinfo")?;
            }
            if let Some(id) = mount_id(place.root)? {
                found.insert(place.name, groups_of(id, &table)?);
            }
        }
        let members = |group: Option<u32>| -> Names {
            let is_in = |other: &Groups| group.is_some() && other.shared == group;
            let named = found.iter().filter(|(_, groups)| is_in(groups));
            named.map(|(name, _)| *name).collect()
        };
        let seat = |groups: &Groups| Seat {
            peers: members(groups.shared),
            masters: match groups.master {
                // One that none of the places is in.
                Some(_) if members(groups.master).is_empty() => Names::from([HIDDEN]),
                master => members(master),
            },
            is_unbindable: groups.is_unbindable,
        };
        let seats = found.iter().map(|(name, groups)| (*name, seat(groups)));
        Ok(Self(seats.collect()))
    }

    /// Where a mount appears that is made in `name`, besides there: in its peers, in the slaves of
    /// its group, in the peers of those, and so on.
    fn receivers(&self, name: char) -> Names {
        let mut reached = Names::from([name]);
        let mut groups = Vec::from_iter(self.0.get(&name).map(|seat| &seat.peers));
        while let Some(group) = groups.pop() {
            reached.extend(group);
            let is_slave = |seat: &Seat| !group.is_empty() && seat.masters == *group;
            for (slave, seat) in self.0.iter().filter(|(_, seat)| is_slave(seat)) {
                if reached.insert(*slave) {
                    groups.push(&seat.peers);
                }
            }
        }
        reached.remove(&name);
        reached
    }
}

/// Each mount by itself: `A[AP<Z]` has the peers A and P and the master Z.
impl Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, seat) in &self.0 {
            write!(formatter, "{name}[{}", text(&seat.peers))?;
            if !seat.masters.is_empty() {
                write!(formatter, "<{}", text(&seat.masters))?;
            }
            formatter.write_str(if seat.is_unbindable { "!] " } else { "] " })?;
        }
        Ok(())
    }
}

fn text(names: &Names) -> String {
    names.iter().collect()
}

/// Holds the places to a shape: to what mountinfo says of them, and to who receives mounts from
/// whom.
pub(super) fn expect(places: &[Place<'_>], shape: &str) -> Result<()> {
    let expected = Shape::parse(shape);
    let found = Shape::read(places)?;
    ensure!(
        found == expected,
        "expected {shape}, that is {expected}found {found}"
    );
    let present = || {
        places
            .iter()
            .filter(|place| expected.0.contains_key(&place.name))
    };
    let seen = || -> Result<Names> {
        let mut seen = Names::new();
        for place in present() {
            place.enter()?;
            if mount_id(place.probe)?.is_some() {
                seen.insert(place.name);
            }
        }
        Ok(seen)
    };
    for place in present() {
        let mut receivers = expected.receivers(place.name);
        place.enter()?;
        mount_new("tmpfs", "probe", place.probe, Flags::empty(), c"").map_err(fault)?;
        let mut reached = seen()?;
        ensure!(
            reached.remove(&place.name),
            "a mount in {} is not seen there",
            place.name
        );
        let (asked, got) = (text(&receivers), text(&reached));
        ensure!(
            asked == got,
            "{shape}: a mount in {} is to reach [{asked}], found in [{got}]",
            place.name
        );
        place.enter()?;
        unmount_detach(place.probe).map_err(fault)?;
        receivers = seen()?;
        ensure!(
            receivers.is_empty(),
            "{shape}: unmounted in {}, still in {}",
            place.name,
            text(&receivers)
        );
    }
    Ok(())
}

/// The id of the mount that `path` is the root of; none if it is not, or not there.
pub(super) fn mount_id(path: &str) -> Result<Option<u32>> {
    let found = match statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID) {
        Err(Errno::NOENT) => return Ok(None),
        found => found.with_context(|| path.to_owned())?,
    };
    let is_root = found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    Ok(is_root
        .then(|| u32::try_from(found.stx_mnt_id))
        .transpose()?)
}

struct Groups {
    shared: Option<u32>,
    master: Option<u32>,
    is_unbindable: bool,
}

fn groups_of(id: u32, table: &[u8]) -> Result<Groups> {
    for mount in Mounts::new(table) {
        let mount = mount?;
        if mount.id == id {
            return Ok(Groups {
                shared: mount.shared,
                master: mount.master,
                is_unbindable: mount.unbindable,
            });
        }
    }
    bail!("the mount {id} is not listed")
}
