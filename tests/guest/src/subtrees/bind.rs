//! 2 and 3: what a bind mount is, without and with the mounts inside (sharedsubtree.rst, 5b and
//! 5c).

use std::fs;

use anyhow::{Result, ensure};
use berth::parse::mount_options::Propagation;
use berth::parse::mountinfo::Mounts;
use rustix::io::Errno;

use super::shape::{Place, expect, place};
use super::stage::{CHILD, DESTINATION, Kind, SOURCE, Way, is_mounted};
use super::{Case, both, cases};

/// What comes of a call: a shape, or the error.
pub(super) type Outcome = Result<&'static str, Errno>;

/// A kind of source, and what comes of it where the destination is shared, and where it is not.
pub(super) type Row = (Kind, Outcome, Outcome);

/// The mount A with its peer P and its master Z; and what they are with C, which is A bound in B,
/// where B is shared, and where it is not. D and E are the copies in B's peer and in B's slave.
///
/// The copy is what the original is; in a shared mount it is shared too, and the copies are to each
/// other what the mounts are that they are in.
const ROWS: [Row; 5] = [
    (Kind::Shared, Ok("A=P=C=D>E"), Ok("A=P=C")),
    (Kind::Private, Ok("A C=D>E"), Ok("A C")),
    (Kind::Slave, Ok("Z>A Z>C=D>E"), Ok("Z>A Z>C")),
    (Kind::Unbindable, Err(Errno::INVAL), Err(Errno::INVAL)),
    (Kind::SharedSlave, Ok("Z>A=P=C=D>E"), Ok("Z>A=P=C")),
];

/// What B can be.
const DESTINATIONS: [Kind; 4] = [Kind::Shared, Kind::Private, Kind::Slave, Kind::Unbindable];

const PLACES: [Place<'_>; 7] = [
    place('A', "a", "a/d/x"),
    place('P', "p", "p/d/x"),
    place('Z', "z", "z/d/x"),
    place('C', "b/e", "b/e/x"),
    place('D', "q/e", "q/e/x"),
    place('E', "r/e", "r/e/x"),
    place('F', "y/e", "y/e/x"),
];

/// The same for what is mounted inside A.
const PLACES_OF_CHILD: [Place<'_>; 7] = [
    place('A', "a/d/k", "a/d/k/d/x"),
    place('P', "i", "i/d/x"),
    place('Z', "j", "j/d/x"),
    place('C', "b/e/k", "b/e/k/d/x"),
    place('D', "q/e/k", "q/e/k/d/x"),
    place('E', "r/e/k", "r/e/k/d/x"),
    place('F', "y/e/k", "y/e/k/d/x"),
];

/// B, with its peer, its slave and its master.
pub(super) const PLACES_OF_DESTINATION: [Place<'_>; 4] = [
    place('B', "b", "b/d/x"),
    place('Q', "q", "q/d/x"),
    place('R', "r", "r/d/x"),
    place('Y', "y", "y/d/x"),
];

/// What B is to those: the same before and after.
pub(super) const fn shape_of_destination(kind: Kind) -> &'static str {
    match kind {
        Kind::Shared => "B=Q>R",
        Kind::SharedSlave => "Y>B=Q>R",
        Kind::Slave => "Y>B",
        Kind::Unbindable => "B!",
        _ => "B",
    }
}

/// What a source is before anything is done with it.
const fn shape_of_source(kind: Kind) -> &'static str {
    match kind {
        Kind::Shared => "A=P",
        Kind::Slave => "Z>A",
        Kind::SharedSlave => "Z>A=P",
        Kind::Unbindable => "A!",
        _ => "A",
    }
}

/// A case for each pair of a kind in the rows of a table and a kind of destination. Those that the
/// Linux Test Project has are called by its numbers.
pub(super) fn pairs(
    section: &str,
    test: &str,
    rows: [Row; 5],
    run: fn(Way, Kind, Kind, Outcome) -> Result<()>,
) -> Vec<Case> {
    let mut cases = Vec::new();
    for (row, (source, in_shared, elsewhere)) in rows.into_iter().enumerate() {
        for (column, destination) in DESTINATIONS.into_iter().enumerate() {
            let number = match source {
                Kind::SharedSlave => String::new(),
                _ => format!("{:02}", row * DESTINATIONS.len() + column + 1),
            };
            let (from, to) = (source.name(), destination.name());
            let outcome = if destination.is_shared() {
                in_shared
            } else {
                elsewhere
            };
            let name = format!("{section}.{test}{number}-{from}-in-{to}");
            cases.push(both(name, move |way| {
                run(way, source, destination, outcome)
            }));
        }
    }
    cases
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = pairs("2", "bind", ROWS, bind);
    cases.extend(pairs("3", "rbind", ROWS, bind_recursively));
    cases.extend(cases!["3":
        both "bind-leaves-what-is-inside" bind_leaves_what_is_inside,
        both "unbindable-tree-is-pruned" unbindable_tree_is_pruned,
        both "rbind34-shared-into-itself" shared_into_itself,
        both "rbind35-private-into-itself" private_into_itself,
        both "rbind36-unbindable-into-itself" unbindable_into_itself,
        both "rbind33-chain-of-slaves" chain_of_slaves,
        both "growth-of-shared" growth_of_shared,
        both "growth-with-unbindable" growth_with_unbindable,
    ]);
    cases
}

/// What came of a call, which was to do this.
pub(super) fn held_to(found: Result<(), Errno>, expected: Option<Errno>) -> Result<()> {
    let found = found.err();
    ensure!(found == expected, "expected {expected:?}, found {found:?}");
    Ok(())
}

fn bind(way: Way, source: Kind, destination: Kind, outcome: Outcome) -> Result<()> {
    SOURCE.make(source, way)?;
    DESTINATION.make(destination, way)?;
    held_to(way.bind("a/d", "b/e", false).map(drop), outcome.err())?;
    expect(&PLACES, outcome.unwrap_or(shape_of_source(source)))?;
    expect(&PLACES_OF_DESTINATION, shape_of_destination(destination))
}

/// With a mount of each kind inside, which goes by the same table (`rbind17` to `rbind32`).
fn bind_recursively(way: Way, source: Kind, destination: Kind, outcome: Outcome) -> Result<()> {
    for (child, in_shared, elsewhere) in ROWS {
        SOURCE.make_around(source, way, || CHILD.make(child, way).map(drop))?;
        DESTINATION.make(destination, way)?;
        held_to(way.bind("a/d", "b/e", true).map(drop), outcome.err())?;
        expect(&PLACES, outcome.unwrap_or(shape_of_source(source)))?;
        // One that cannot be bound is left out, and what holds one is bound without it.
        let of_child = if destination.is_shared() {
            in_shared
        } else {
            elsewhere
        };
        let of_child = outcome.and(of_child).unwrap_or(shape_of_source(child));
        expect(&PLACES_OF_CHILD, of_child)?;
        for path in ["b/e", "a/d/k", "a", "b", "p", "q", "r", "y", "z", "i", "j"] {
            while is_mounted(path)? {
                way.unmount(path)?;
            }
        }
    }
    Ok(())
}

fn bind_leaves_what_is_inside(way: Way) -> Result<()> {
    SOURCE.make_around(Kind::Private, way, || {
        CHILD.make(Kind::Private, way).map(drop)
    })?;
    way.bind("a", "b", false)?;
    ensure!(is_mounted("b")? && !is_mounted("b/d/k")?);
    Ok(())
}

/// An unbindable mount is left out with all that is in it, whatever that is.
fn unbindable_tree_is_pruned(way: Way) -> Result<()> {
    way.fresh("a")?;
    way.fresh("a/e")?;
    let pruned = way.fresh("a/d")?;
    way.fresh("a/d/d")?;
    way.fresh("a/d/e")?.set(Propagation::Shared, false)?;
    pruned.set(Propagation::Unbindable, false)?;
    way.bind("a", "b", true)?;
    for (path, expected) in [
        ("b", true),
        ("b/e", true),
        ("b/d", false),
        ("b/d/d", false),
        ("b/d/e", false),
    ] {
        ensure!(is_mounted(path)? == expected, "{path}");
    }
    Ok(())
}

/// What is bound is bound as it was before: the copies have no copies in them.
fn shared_into_itself(way: Way) -> Result<()> {
    SOURCE.make(Kind::Shared, way)?;
    way.bind("a", "a/e", true)?;
    let places = [
        place('A', "a", "a/d/x"),
        place('P', "p", "p/d/x"),
        place('C', "a/e", "a/e/d/x"),
        place('D', "p/e", "p/e/d/x"),
        place('E', "a/e/e", "a/e/e/d/x"),
        place('F', "p/e/e", "p/e/e/d/x"),
    ];
    expect(&places, "A=P=C=D")
}

fn private_into_itself(way: Way) -> Result<()> {
    SOURCE.make(Kind::Private, way)?;
    way.bind("a", "a/e", true)?;
    let places = [
        place('A', "a", "a/d/x"),
        place('C', "a/e", "a/e/d/x"),
        place('E', "a/e/e", "a/e/e/d/x"),
    ];
    expect(&places, "A C")
}

fn unbindable_into_itself(way: Way) -> Result<()> {
    SOURCE.make(Kind::Unbindable, way)?;
    held_to(way.bind("a", "a/e", true).map(drop), Some(Errno::INVAL))?;
    expect(
        &[place('A', "a", "a/d/x"), place('C', "a/e", "a/e/d/x")],
        "A!",
    )
}

/// Each is a slave of the one before and the master of the next; so is what is bound in them.
fn chain_of_slaves(way: Way) -> Result<()> {
    way.fresh("m1")?.set(Propagation::Shared, false)?;
    for [before, next] in [["m1", "m2"], ["m2", "m3"], ["m3", "m4"]] {
        let slave = way.bind(before, next, true)?;
        slave.set(Propagation::Slave, false)?;
        slave.set(Propagation::Shared, false)?;
    }
    let chain = [
        place('A', "m1", "m1/d/x"),
        place('B', "m2", "m2/d/x"),
        place('C', "m3", "m3/d/x"),
        place('D', "m4", "m4/d/x"),
    ];
    expect(&chain, "A>B>C>D=")?;
    SOURCE.make(Kind::Private, way)?;
    way.bind("a", "m1/e", true)?;
    let copies = [
        place('S', "a", "a/d/x"),
        place('A', "m1/e", "m1/e/d/x"),
        place('B', "m2/e", "m2/e/d/x"),
        place('C', "m3/e", "m3/e/d/x"),
        place('D', "m4/e", "m4/e/d/x"),
    ];
    expect(&copies, "S A>B>C>D=")?;
    expect(&chain, "A>B>C>D=")
}

/// Binds the tree at `a` into itself, three times; how many mounts there are in it, before and
/// after each.
fn growth(way: Way) -> Result<[usize; 4]> {
    let count = || -> Result<usize> {
        let table = fs::read("/proc/self/mountinfo")?;
        let tree = format!("{}/a", super::stage::STAGE);
        let is_in_tree = |path: Vec<u8>| path.starts_with(tree.as_bytes());
        Ok(Mounts::new(&table)
            .filter(|line| line.is_ok_and(|mount| is_in_tree(mount.mount_point.bytes().collect())))
            .count())
    };
    let mut counts = [count()?, 0, 0, 0];
    for (number, target) in ["a/e/m1", "a/e/m2", "a/e/m3"].into_iter().enumerate() {
        fs::create_dir(target)?;
        way.bind("a", target, true)?;
        counts[number + 1] = count()?;
    }
    Ok(counts)
}

/// All mounts in it are peers, so each gets a copy of all: `n` become `n + n * n`.
/// (sharedsubtree.rst has 24 for the last, by a formula that fits the numbers before.)
fn growth_of_shared(way: Way) -> Result<()> {
    way.fresh("a")?.set(Propagation::Shared, false)?;
    let counts = growth(way)?;
    ensure!(counts == [1, 2, 6, 42], "{counts:?}");
    Ok(())
}

/// What shall not be bound with the rest is unbindable: the usual way to have a tree in many places
/// of itself.
fn growth_with_unbindable(way: Way) -> Result<()> {
    let top = way.fresh("a")?;
    let inner = way.bind("a/e", "a/e", false)?;
    top.set(Propagation::Shared, true)?;
    inner.set(Propagation::Unbindable, false)?;
    let counts = growth(way)?;
    ensure!(counts == [2, 3, 4, 5], "{counts:?}");
    Ok(())
}
