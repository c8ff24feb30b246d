//! What the kernel promises about the propagation of mounts, as tables of cases, through the
//! functions that berth mounts with.
//!
//! The promises are those of Documentation/filesystems/sharedsubtree.rst and mount_namespaces(7);
//! the numbers `bind01`, `move17` and so on are those of the Linux Test Project's tests of the
//! same. Each case runs in a process and a mount namespace of its own on a filesystem of its own,
//! and prints `case <section>.<name> ok`, or how it failed. What kernels differ in is printed as
//! `kernel <what> <result>`.

mod bind;
mod copies;
mod mounting;
mod moves;
mod namespace;
mod namespaces;
mod pivot;
mod quiz;
mod shape;
mod stage;
mod transitions;

use anyhow::{Context, Result};

use namespace::{MOUNTS, Namespace, in_process};
use shape::{Place, expect};
use stage::{WAYS, Way};

/// A case: its name, and what is done.
struct Case {
    name: String,
    run: Run,
}

/// Whether a case is about mounts that can be made in both ways.
enum Run {
    Both(Box<dyn Fn(Way) -> Result<()>>),
    Once(fn() -> Result<()>),
}

/// A case that is run in both ways.
fn both(name: String, run: impl Fn(Way) -> Result<()> + 'static) -> Case {
    Case {
        name,
        run: Run::Both(Box::new(run)),
    }
}

/// Cases that are functions, in a section.
macro_rules! cases {
    ($section:literal: $($kind:ident $name:literal $function:ident),* $(,)?) => {
        vec![$(crate::subtrees::cases!(@ $kind concat!($section, ".", $name), $function)),*]
    };
    (@ both $name:expr, $function:ident) => { crate::subtrees::both($name.to_owned(), $function) };
    (@ once $name:expr, $function:ident) => {
        crate::subtrees::Case { name: $name.to_owned(), run: crate::subtrees::Run::Once($function) }
    };
}
use cases;

/// Runs those cases whose names begin with one of `prefixes`; without any, all of them.
pub(crate) fn check(prefixes: &[&str]) -> Result<()> {
    let sections = [
        transitions::cases(),
        bind::cases(),
        moves::cases(),
        mounting::cases(),
        namespaces::cases(),
        copies::cases(),
        pivot::cases(),
        quiz::cases(),
    ];
    let is_wanted = |case: &Case| {
        prefixes.is_empty() || prefixes.iter().any(|prefix| case.name.starts_with(prefix))
    };
    for case in sections.into_iter().flatten().filter(is_wanted) {
        match case.run() {
            Ok(()) => println!("case {} ok", case.name),
            Err(error) => println!("case {} failed: {error:#}", case.name),
        }
    }
    Ok(())
}

/// As a container: what its mounts are to those of a namespace nested in it, which mounts appear in
/// each other. `?` is a group that is not to be seen from here, the host's.
pub(crate) fn nest() -> Result<()> {
    std::fs::create_dir_all(stage::STAGE)?;
    std::fs::create_dir("/dev/probe")?;
    let (here, there) = (Namespace::current()?, Namespace::copy(MOUNTS)?);
    let of = |namespace, root, probe, name| Place {
        name,
        root,
        probe,
        namespace: Some(namespace),
    };
    let places = [
        of(&here, "/", "/mnt", 'A'),
        of(&there, "/", "/mnt", 'a'),
        of(&here, "/dev", "/dev/probe", 'D'),
        of(&there, "/dev", "/dev/probe", 'd'),
    ];
    expect(&places, "?>A=a D=d")?;
    println!("nested is a peer");
    Ok(())
}

impl Case {
    fn run(&self) -> Result<()> {
        let on_stage = |body: &dyn Fn() -> Result<()>| {
            in_process(MOUNTS, || stage::set_up().and_then(|()| body()))
        };
        match &self.run {
            Run::Once(run) => on_stage(run),
            Run::Both(run) => WAYS
                .into_iter()
                .try_for_each(|way| on_stage(&|| run(way)).with_context(|| format!("{way:?}"))),
        }
    }
}
