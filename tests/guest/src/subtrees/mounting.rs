//! 5 and 6: what a new mount is, and what is unmounted with a mount (sharedsubtree.rst, 5e and 5f).

use anyhow::{Result, ensure};
use berth::parse::mount_options::Propagation;
use berth::sys::mount::unmount_now;
use rustix::io::Errno;

use super::bind::{PLACES_OF_DESTINATION, held_to, shape_of_destination};
use super::shape::{Place, expect, place};
use super::stage::{DESTINATION, Kind, Way, is_mounted};
use super::{Case, both, cases};

/// What B is, and what a new mount C in it is, with its copies in B's peer, B's slave and, if ever,
/// B's master.
const ROWS: [(Kind, &str); 5] = [
    (Kind::Shared, "C=D>E"),
    (Kind::SharedSlave, "C=D>E"),
    (Kind::Slave, "C"),
    (Kind::Private, "C"),
    (Kind::Unbindable, "C"),
];

/// The same for a new mount F in the master of B.
const ROWS_OF_MASTER: [(Kind, &str); 2] = [(Kind::Slave, "F>C"), (Kind::SharedSlave, "F>C=D>E")];

const PLACES: [Place<'_>; 4] = [
    place('C', "b/e", "b/e/d/x"),
    place('D', "q/e", "q/e/d/x"),
    place('E', "r/e", "r/e/d/x"),
    place('F', "y/e", "y/e/d/x"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, target, word) in [
        (&ROWS[..], "b/e", "in"),
        (&ROWS_OF_MASTER, "y/e", "in-the-master-of"),
    ] {
        for (kind, shape) in rows.iter().copied() {
            cases.push(both(format!("5.new-{word}-{}", kind.name()), move |way| {
                DESTINATION.make(kind, way)?;
                way.fresh(target)?;
                expect(&PLACES, shape)?;
                expect(&PLACES_OF_DESTINATION, shape_of_destination(kind))
            }));
        }
    }
    cases.extend(cases!["6":
        both "reaches-peers-and-slaves" reaches_peers_and_slaves,
        both "reaches-slaves-of-slaves" reaches_slaves_of_slaves,
        both "not-the-master" not_the_master,
        both "spares-what-holds-a-mount" spares_what_holds_a_mount,
        both "busy-with-mounts-inside" busy_with_mounts_inside,
        both "last-first" last_first,
        both "from-below-a-slaves-own" from_below_a_slaves_own,
        once "now-propagates-too" now_propagates_too,
    ]);
    cases
}

/// Where something is mounted, of the places where the copies are.
fn mounted() -> Result<String> {
    let mut names = String::new();
    for place in PLACES {
        if is_mounted(place.root)? {
            names.push(place.name);
        }
    }
    Ok(names)
}

fn mounted_is(expected: &str) -> Result<()> {
    let found = mounted()?;
    ensure!(found == expected, "expected {expected}, found {found}");
    Ok(())
}

fn reaches_peers_and_slaves(way: Way) -> Result<()> {
    DESTINATION.make(Kind::Shared, way)?;
    for target in ["b/e", "q/e"] {
        way.fresh("b/e")?;
        mounted_is("CDE")?;
        way.unmount(target)?;
        mounted_is("")?;
    }
    Ok(())
}

fn reaches_slaves_of_slaves(way: Way) -> Result<()> {
    DESTINATION.make(Kind::SharedSlave, way)?;
    way.fresh("y/e")?;
    mounted_is("CDEF")?;
    way.unmount("y/e")?;
    mounted_is("")
}

fn not_the_master(way: Way) -> Result<()> {
    DESTINATION.make(Kind::SharedSlave, way)?;
    way.fresh("y/e")?;
    way.unmount("r/e")?;
    mounted_is("CDF")?;
    way.unmount("b/e")?;
    mounted_is("F")
}

/// A copy that somebody has mounted something in, there only, stays; the others go.
fn spares_what_holds_a_mount(way: Way) -> Result<()> {
    DESTINATION.make(Kind::Shared, way)?;
    way.fresh("b/e")?;
    berth::sys::mount::set_propagation("q/e", Propagation::Private).map_err(super::stage::fault)?;
    way.fresh("q/e/d")?;
    mounted_is("CDE")?;
    way.unmount("b/e")?;
    mounted_is("D")?;
    ensure!(is_mounted("q/e/d")?);
    Ok(())
}

/// Unless it is detached with them (MNT_DETACH).
fn busy_with_mounts_inside(way: Way) -> Result<()> {
    DESTINATION.make(Kind::Shared, way)?;
    way.fresh("b/e")?;
    way.fresh("b/e/d")?;
    held_to(unmount_now(b"b/e"), Some(Errno::BUSY))?;
    mounted_is("CDE")?;
    way.unmount("b/e")?;
    mounted_is("")
}

/// Of two on one directory the later goes first, everywhere.
fn last_first(way: Way) -> Result<()> {
    DESTINATION.make(Kind::Shared, way)?;
    way.fresh("b/e")?;
    std::fs::write("b/e/first", "")?;
    way.fresh("b/e")?;
    let first_is_seen = || {
        ["b/e/first", "q/e/first", "r/e/first"].map(|path| std::fs::exists(path).unwrap_or(false))
    };
    ensure!(first_is_seen() == [false; 3], "{:?}", first_is_seen());
    way.unmount("q/e")?;
    mounted_is("CDE")?;
    ensure!(first_is_seen() == [true; 3], "{:?}", first_is_seen());
    way.unmount("b/e")?;
    mounted_is("")
}

/// A mount of the master's comes below what the slave has mounted on the directory itself, and goes
/// from there.
fn from_below_a_slaves_own(way: Way) -> Result<()> {
    DESTINATION.make(Kind::Slave, way)?;
    way.fresh("b/e")?;
    std::fs::write("b/e/own", "")?;
    way.fresh("y/e")?;
    std::fs::write("y/e/of-the-master", "")?;
    mounted_is("CF")?;
    ensure!(std::fs::exists("b/e/own")? && !std::fs::exists("b/e/of-the-master")?);
    way.unmount("y/e")?;
    mounted_is("C")?;
    ensure!(std::fs::exists("b/e/own")?);
    way.unmount("b/e")?;
    mounted_is("")
}

fn now_propagates_too() -> Result<()> {
    DESTINATION.make(Kind::Shared, Way::Path)?;
    Way::Path.fresh("b/e")?;
    unmount_now(b"q/e")?;
    mounted_is("")
}
