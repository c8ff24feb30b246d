//! 7: what the mounts of a new mount namespace are to those that they are copies of
//! (sharedsubtree.rst, 5g).
//!
//! Small letters are those of the new namespace. `cloneNS` is the name of the Linux Test Project's
//! tests.

use anyhow::{Result, ensure};
use berth::parse::mount_options::Propagation;
use rustix::io::Errno;

use super::bind::held_to;
use super::namespace::{MOUNTS, Namespace, USER_AND_MOUNTS};
use super::shape::{Place, expect};
use super::stage::{Kind, SOURCE, Way, is_mounted};
use super::{Case, both, cases};

/// What A is, with its peer and its master; and what the copies are, for the same user and for a
/// new user namespace.
///
/// A copy is a peer, and what a bind leaves out is copied too. To a less privileged user nothing of
/// theirs shall come back, so it is a slave instead. (Linux 6.18, which is none of the matrix,
/// forgets that a copy cannot be bound.)
const ROWS: [(Kind, &str, &str); 6] = [
    (Kind::Shared, "A=P=a=p", "A=P>a A=P>p"),
    (Kind::Alone, "A=a", "A>a"),
    (Kind::Slave, "Z=z>A Z=z>a", "Z>A Z>a Z>z"),
    (Kind::SharedSlave, "Z=z>A=P=a=p", "Z>A=P>a A=P>p Z>z"),
    (Kind::Private, "A a", "A a"),
    (Kind::Unbindable, "A! a!", "A! a!"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, same_user, new_user) in ROWS {
        for (namespaces, word, shape) in [
            (MOUNTS, "cloneNS", same_user),
            (USER_AND_MOUNTS, "new-user", new_user),
        ] {
            cases.push(both(format!("7.{word}-{}", kind.name()), move |way| {
                SOURCE.make(kind, way)?;
                let (here, there) = (Namespace::current()?, Namespace::copy(namespaces)?);
                let places = [(&here, ['A', 'P', 'Z']), (&there, ['a', 'p', 'z'])].map(
                    |(namespace, names)| {
                        let paths = [("a", "a/d/x"), ("p", "p/d/x"), ("z", "z/d/x")];
                        std::array::from_fn::<_, 3, _>(|at| Place {
                            name: names[at],
                            root: paths[at].0,
                            probe: paths[at].1,
                            namespace: Some(namespace),
                        })
                    },
                );
                expect(places.as_flattened(), shape)
            }));
        }
    }
    cases.extend(cases!["7":
        both "inherited-mounts-are-locked" inherited_mounts_are_locked,
        both "what-arrives-is-locked-below-its-top" what_arrives_is_locked_below_its_top,
    ]);
    cases
}

/// A user of one's own takes none of the mounts away that one was given, only those that one has
/// made.
fn inherited_mounts_are_locked(way: Way) -> Result<()> {
    way.fresh("a")?;
    Namespace::copy(USER_AND_MOUNTS)?.enter()?;
    held_to(way.unmount("a"), Some(Errno::INVAL))?;
    way.fresh("a/e")?;
    way.unmount("a/e")?;
    ensure!(is_mounted("a")?);
    Ok(())
}

/// Nor the mounts in a tree that arrives later, but that as a whole.
fn what_arrives_is_locked_below_its_top(way: Way) -> Result<()> {
    way.fresh("a")?.set(Propagation::Shared, false)?;
    way.fresh("b")?;
    way.fresh("b/e")?;
    let (here, there) = (Namespace::current()?, Namespace::copy(USER_AND_MOUNTS)?);
    way.bind("b", "a/e", true)?;
    there.enter()?;
    ensure!(
        is_mounted("a/e")? && is_mounted("a/e/e")?,
        "nothing has arrived"
    );
    held_to(way.unmount("a/e/e"), Some(Errno::INVAL))?;
    way.unmount("a/e")?;
    ensure!(!is_mounted("a/e")?);
    here.enter()?;
    ensure!(
        is_mounted("a/e")? && is_mounted("a/e/e")?,
        "it is gone from where it came from"
    );
    Ok(())
}
