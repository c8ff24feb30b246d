//! 1: what becomes of a mount that is made shared, slave, private or unbindable (sharedsubtree.rst,
//! 5a).

use anyhow::{Result, ensure};
use berth::parse::mount_options::Propagation;
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};

use super::shape::{expect, place};
use super::stage::{CHILD, Kind, SOURCE, Way};
use super::{Case, both, cases};

const COMMANDS: [(&str, Propagation); 4] = [
    ("shared", Propagation::Shared),
    ("slave", Propagation::Slave),
    ("private", Propagation::Private),
    ("unbindable", Propagation::Unbindable),
];

/// What the mount A is, with its peer P and its master Z; and what it becomes by each of the
/// commands.
///
/// Who leaves a group becomes a slave of it, if anybody is left in it, else of its master, if it
/// has one; else there is nobody to follow, and it is private.
const BECOMES: [(Kind, [&str; 4]); 7] = [
    (Kind::Shared, ["A=P", "P>A", "A P=", "A! P="]),
    (Kind::Alone, ["A=", "A", "A", "A!"]),
    (Kind::Slave, ["Z>A=", "Z>A", "A Z=", "A! Z="]),
    (Kind::SharedSlave, ["Z>A=P", "Z>P>A", "A Z>P=", "A! Z>P="]),
    (Kind::SlaveAlone, ["Z>A=", "Z>A", "A Z=", "A! Z="]),
    (Kind::Private, ["A=", "A", "A", "A!"]),
    (Kind::Unbindable, ["A=", "A!", "A", "A!"]),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = cases!["1":
        once "two-at-once" two_at_once,
        both "no-mount-point" no_mount_point,
        both "recursive" recursive,
    ];
    for (kind, shapes) in BECOMES {
        for ((word, propagation), shape) in COMMANDS.into_iter().zip(shapes) {
            cases.push(both(format!("1.{}-made-{word}", kind.name()), move |way| {
                let mount = SOURCE.make(kind, way)?;
                mount.set(propagation, false)?;
                let places = [
                    place('A', "a", "a/d/x"),
                    place('P', "p", "p/d/x"),
                    place('Z', "z", "z/d/x"),
                ];
                expect(&places, shape)
            }));
        }
    }
    cases
}

fn two_at_once() -> Result<()> {
    Way::Path.fresh("a")?;
    let two = MountPropagationFlags::SHARED | MountPropagationFlags::PRIVATE;
    ensure!(mount_change("a", two) == Err(Errno::INVAL));
    expect(&[place('A', "a", "a/d/x")], "A")
}

fn no_mount_point(way: Way) -> Result<()> {
    way.fresh("a")?;
    for (word, propagation) in COMMANDS {
        let found = berth::sys::mount::set_propagation("a/d", propagation);
        ensure!(
            found.is_err_and(|fault| fault.errno == Errno::INVAL),
            "{word}"
        );
    }
    expect(&[place('A', "a", "a/d/x")], "A")
}

/// All below become what the top does, whatever they were; what is mounted elsewhere does not.
fn recursive(way: Way) -> Result<()> {
    let places = [
        place('A', "a", "a/d/x"),
        place('K', "a/d/k", "a/d/k/d/x"),
        place('L', "a/d/k/e", "a/d/k/e/d/x"),
        place('I', "i", "i/d/x"),
    ];
    let mount = SOURCE.make_around(Kind::Private, way, || {
        let inner = || way.fresh("a/d/k/e").map(drop);
        CHILD.make_around(Kind::Shared, way, inner).map(drop)
    })?;
    let shapes = ["A= K=I L=", "I>K A L", "A K I= L", "A! K! I= L!"];
    for ((_, propagation), shape) in COMMANDS.into_iter().zip(shapes) {
        mount.set(propagation, true)?;
        expect(&places, shape)?;
    }
    Ok(())
}
