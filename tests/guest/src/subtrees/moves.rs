//! 4: what a mount is that was moved (sharedsubtree.rst, 5d), and what cannot be.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Result, ensure};
use berth::parse::mount_options::Propagation;
use berth::sys::mount::mount_move;
use rustix::io::Errno;

use super::bind::{Outcome, PLACES_OF_DESTINATION, Row, held_to, pairs, shape_of_destination};
use super::namespace::{MOUNTS, USER_AND_MOUNTS, in_process};
use super::shape::{Place, expect, place};
use super::stage::{CHILD, DESTINATION, Kind, SOURCE, Way, is_mounted, open};
use super::{Case, cases};

/// What A is, with its peer P and its master Z; and what they are when it was moved into B and is
/// C, where B is shared, and where it is not. D and E are copies in B's peer and in B's slave.
///
/// It stays what it was; in a shared mount it is shared too, so what cannot be bound cannot go
/// there.
const ROWS: [Row; 5] = [
    (Kind::Shared, Ok("C=P=D>E"), Ok("C=P")),
    (Kind::Private, Ok("C=D>E"), Ok("C")),
    (Kind::Slave, Ok("Z>C=D>E"), Ok("Z>C")),
    (Kind::Unbindable, Err(Errno::INVAL), Ok("C!")),
    (Kind::SharedSlave, Ok("Z>C=P=D>E"), Ok("Z>C=P")),
];

const PLACES: [Place<'_>; 7] = [
    place('A', "a", "a/d/x"),
    place('P', "p", "p/d/x"),
    place('Z', "z", "z/d/x"),
    place('C', "b/e", "b/e/d/x"),
    place('D', "q/e", "q/e/d/x"),
    place('E', "r/e", "r/e/d/x"),
    place('F', "y/e", "y/e/d/x"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = pairs("4", "move", ROWS, move_into);
    cases.extend(cases!["4":
        both "move17-from-shared" from_shared,
        both "move18-with-shared-inside" with_shared_inside,
        both "move19-with-slave-inside" with_slave_inside,
        both "move20-with-unbindable-inside" with_unbindable_inside,
        both "move21-into-what-is-bound-to-it" into_what_is_bound_to_it,
        both "move22-into-its-peer" into_its_peer,
        both "tree-with-unbindable-to-shared" tree_with_unbindable_to_shared,
        both "into-itself" into_itself,
        both "directory-to-file" directory_to_file,
        once "locked" locked,
        once "no-mount-root" no_mount_root,
        both "other-namespace" other_namespace,
    ]);
    cases
}

fn move_into(way: Way, source: Kind, destination: Kind, outcome: Outcome) -> Result<()> {
    let mount = SOURCE.make(source, way)?;
    DESTINATION.make(destination, way)?;
    held_to(mount.move_to("b/e"), outcome.err())?;
    // Only the unbindable one stays where it is.
    expect(&PLACES, outcome.unwrap_or("A!"))?;
    expect(&PLACES_OF_DESTINATION, shape_of_destination(destination))
}

/// The other side would have to be unmounted, where it may be in use (mount_namespaces(7)).
fn from_shared(way: Way) -> Result<()> {
    way.fresh("s")?.set(Propagation::Shared, false)?;
    let inner = way.fresh("s/e")?;
    way.fresh("b")?;
    held_to(inner.move_to("b/e"), Some(Errno::INVAL))?;
    ensure!(is_mounted("s/e")? && !is_mounted("b/e")?);
    Ok(())
}

fn with_inside(way: Way, child: Kind, shape: &str) -> Result<()> {
    let mount = SOURCE.make_around(Kind::Private, way, || CHILD.make(child, way).map(drop))?;
    DESTINATION.make(Kind::Private, way)?;
    mount.move_to("b/e")?;
    let places = [
        place('A', "a/d/k", "a/d/k/d/x"),
        place('C', "b/e", "b/e/d/x"),
        place('K', "b/e/d/k", "b/e/d/k/d/x"),
        place('I', "i", "i/d/x"),
        place('J', "j", "j/d/x"),
    ];
    expect(&places, shape)
}

fn with_shared_inside(way: Way) -> Result<()> {
    with_inside(way, Kind::Shared, "C K=I")
}

fn with_slave_inside(way: Way) -> Result<()> {
    with_inside(way, Kind::Slave, "C J>K")
}

fn with_unbindable_inside(way: Way) -> Result<()> {
    with_inside(way, Kind::Unbindable, "C K!")
}

fn into_what_is_bound_to_it(way: Way) -> Result<()> {
    let mount = SOURCE.make(Kind::Private, way)?;
    way.bind("a", "b", false)?;
    mount.move_to("b/e")?;
    let places = [
        place('A', "a", "a/d/x"),
        place('B', "b", "b/d/x"),
        place('C', "b/e", "b/e/d/x"),
    ];
    expect(&places, "B C")
}

/// A mount in the peer is one in the moved mount too.
fn into_its_peer(way: Way) -> Result<()> {
    let mount = SOURCE.make(Kind::Shared, way)?;
    mount.move_to("p/e")?;
    let places = [
        place('A', "a", "a/d/x"),
        place('P', "p", "p/d/x"),
        place('C', "p/e", "p/e/d/x"),
        place('D', "p/e/e", "p/e/e/d/x"),
        place('E', "p/e/e/e", "p/e/e/e/d/x"),
    ];
    expect(&places, "P=C=D")
}

fn tree_with_unbindable_to_shared(way: Way) -> Result<()> {
    let mount = SOURCE.make_around(Kind::Private, way, || {
        CHILD.make(Kind::Unbindable, way).map(drop)
    })?;
    DESTINATION.make(Kind::Shared, way)?;
    held_to(mount.move_to("b/e"), Some(Errno::INVAL))?;
    expect(&PLACES, "A")
}

fn into_itself(way: Way) -> Result<()> {
    let mount = way.fresh("a")?;
    way.fresh("a/d")?;
    for target in ["a/e", "a/d/e"] {
        held_to(mount.move_to(target), Some(Errno::LOOP))?;
    }
    expect(&[place('A', "a", "a/e")], "A")
}

fn directory_to_file(way: Way) -> Result<()> {
    let mount = way.fresh("a")?;
    way.fresh("b")?;
    held_to(mount.move_to("b/f"), Some(Errno::INVAL))?;
    let file = way.bind("a/f", "b/f", false)?;
    held_to(file.move_to("b/e"), Some(Errno::INVAL))
}

/// What was inherited from the namespace of a more privileged user stays where it is, or it would
/// uncover what it hides.
fn locked() -> Result<()> {
    Way::Path.fresh("a")?;
    Way::Path.fresh("b")?;
    in_process(USER_AND_MOUNTS, || {
        let refused = mount_move("a", "b/e").map_err(|fault| fault.errno);
        held_to(refused, Some(Errno::INVAL))?;
        Way::Path.fresh("b/d")?;
        Ok(mount_move("b/d", "b/e").map_err(|fault| fault.errno)?)
    })
}

fn no_mount_root() -> Result<()> {
    Way::Path.fresh("a")?;
    fs::create_dir("c")?;
    held_to(
        mount_move("a/d", "c").map_err(|fault| fault.errno),
        Some(Errno::INVAL),
    )
}

/// Neither out of another mount namespace nor into one, whatever the path to it.
fn other_namespace(way: Way) -> Result<()> {
    let mount = way.fresh("a")?;
    // In a copy of the namespace a path means the copy; these stay what they are.
    let [source, target] = [open("a")?, open("a/e")?];
    let link = |file: &OwnedFd| format!("/proc/self/fd/{}", file.as_raw_fd());
    in_process(MOUNTS, || {
        fs::create_dir("m")?;
        if way == Way::Descriptor {
            held_to(mount.move_to("m"), Some(Errno::INVAL))?;
        }
        let refused = |source: &str, target: &str| {
            let found = mount_move(source, target).map_err(|fault| fault.errno);
            held_to(found, Some(Errno::INVAL))
        };
        refused(&link(&source), "m")?;
        way.fresh("c")?;
        refused("c", &link(&target))
    })
}
