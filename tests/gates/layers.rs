//! The layers of `src/`: a module names its own layer and those below it; and no files of the
//! engine name each other in a circle.
//!
//! The sources are read as Rust's own tokens, so that comments and texts may name what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The modules of the library, from the lowest layer to the highest.
const LAYERS: [&[&str]; 8] = [
    &["cause", "errno", "error", "hint", "log", "text"],
    &["parse", "plan"],
    &["sys"],
    &["events"],
    &["container"],
    &["boot"],
    &["supervise"],
    &["command"],
];

/// The directory, from `src/`, whose files and folders must not name each other in a circle.
const WITHOUT_CIRCLES: &str = "container";

/// What only `berth` has, and what only `/init` has: neither names the other's.
const OF_BERTH: &str = "command";
const OF_INIT: [&str; 2] = ["boot", "supervise"];

/// The files that may say `unsafe`, from `src/`.
const MAY_BE_UNSAFE: [&str; 4] = [
    "sys",
    "programs/rt.rs",
    "programs/boot_code.rs",
    "container/exposure.rs",
];

/// Layers below this one do no I/O: of `rustix` they know the error numbers.
const FIRST_WITH_IO: usize = 2;

/// What layers without I/O may name in `rustix`.
const ERRNO: [&str; 2] = ["io", "Errno"];

/// Reads all sources below `src` and names what breaks the rules.
pub(crate) fn check(src: &Path) -> Result<()> {
    let mut files = Vec::new();
    collect(src, &mut files)?;
    let mut breaches = Vec::new();
    let mut parts = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let place = file.strip_prefix(src).unwrap_or(file);
        let found = breaches_in(place, &text)
            .with_context(|| format!("{} does not read as Rust", file.display()))?;
        breaches.extend(found);
        if let Ok(inner) = place.strip_prefix(WITHOUT_CIRCLES) {
            parts.push((inner.to_owned(), text));
        }
    }
    breaches.extend(circle_in(&parts)?.map(|circle| format!("{WITHOUT_CIRCLES}: {circle}")));
    ensure!(
        breaches.is_empty(),
        "the layers are not kept:\n  {}",
        breaches.join("\n  ")
    );
    println!("layers: {} files keep to their layers", files.len());
    Ok(())
}

/// All files of Rust below the directory.
pub(crate) fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name == "target") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

/// What is wrong in the file at `place` below `src/`.
fn breaches_in(place: &Path, text: &str) -> Result<Vec<String>> {
    let tokens: TokenStream = text.parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut breaches = Vec::new();
    let may_be_unsafe = MAY_BE_UNSAFE.iter().any(|safe| place.starts_with(safe));
    if !may_be_unsafe {
        each_ident(tokens.clone(), &mut |name, line| {
            if name == "unsafe" {
                breaches.push(format!("{}:{line}: unsafe", place.display()));
            }
        });
    }
    // The crate's own root, and the binary, are above all layers.
    let Some(module) = module_of(place) else {
        return Ok(breaches);
    };
    let Some(layer) = layer_of(&module) else {
        breaches.push(format!("{}: `{module}` has no layer", place.display()));
        return Ok(breaches);
    };
    for Named { path, line } in paths(tokens) {
        let below = match path.as_slice() {
            path if let Some(named) = below_root(place, path) => {
                let is_of_init = OF_INIT.contains(&named);
                let is_foreign = module == OF_BERTH && is_of_init;
                !is_foreign && layer_of(named).is_none_or(|its| its <= layer)
            }
            [root, rest @ ..] if root == "rustix" && layer < FIRST_WITH_IO => rest == ERRNO,
            _ => true,
        };
        if !below {
            let path = path.join("::");
            breaches.push(format!(
                "{}:{line}: `{module}` names {path}",
                place.display()
            ));
        }
    }
    Ok(breaches)
}

/// The module of the library that the path begins with, where it begins at the crate's root:
/// `crate`, or as many times `super` as the file at `place` is deep.
fn below_root<'p>(place: &Path, path: &'p [String]) -> Option<&'p str> {
    let supers = path.iter().take_while(|word| *word == "super").count();
    let is_folder = place.file_name().is_some_and(|name| name == "mod.rs");
    let depth = place.components().count() - usize::from(is_folder);
    let rest = match path {
        [root, rest @ ..] if root == "crate" => rest,
        _ if supers == depth => &path[supers..],
        _ => return None,
    };
    rest.first().map(String::as_str)
}

/// A circle in which files of one directory name each other, if there is one. The files of a folder
/// are one module; the directory's own `mod.rs`, which names all, is none.
fn circle_in(files: &[(PathBuf, String)]) -> Result<Option<String>> {
    let mut names = BTreeMap::<String, BTreeSet<String>>::new();
    for (place, text) in files {
        let Some(module) = module_of(place).filter(|module| module != "mod") else {
            continue;
        };
        let tokens: TokenStream = text.parse().map_err(|error| anyhow::anyhow!("{error}"))?;
        // What is `super` for a file of a folder is the folder.
        let is_in_folder = place.components().count() > 1;
        let named = paths(tokens).into_iter().filter_map(|Named { path, .. }| {
            let of_directory = match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["super", named, ..] if !is_in_folder => named,
                ["super", "super", named, ..] if is_in_folder => named,
                ["crate", WITHOUT_CIRCLES, named, ..] => named,
                _ => return None,
            };
            Some(of_directory.to_owned())
        });
        let named = named.filter(|named| *named != module).collect::<Vec<_>>();
        names.entry(module).or_default().extend(named);
    }
    // Whoever names nobody that is left is in no circle.
    loop {
        let left = names.keys().cloned().collect::<BTreeSet<_>>();
        let before = names.len();
        names.retain(|_, named| !named.is_disjoint(&left));
        if names.len() == before {
            break;
        }
    }
    let Some(first) = names.keys().next() else {
        return Ok(None);
    };
    let mut way = vec![first];
    loop {
        let last = way[way.len() - 1];
        let Some(next) = names.keys().find(|name| names[last].contains(*name)) else {
            return Ok(None);
        };
        if let Some(begin) = way.iter().position(|name| *name == next) {
            way.push(next);
            let circle = way[begin..].iter().map(|name| name.as_str());
            return Ok(Some(circle.collect::<Vec<_>>().join(" names ")));
        }
        way.push(next);
    }
}

/// The module of the library that a file belongs to.
fn module_of(place: &Path) -> Option<String> {
    let first = place.iter().next()?.to_str()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (!["lib", "programs"].contains(&module)).then(|| module.to_owned())
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn each_ident(tokens: TokenStream, see: &mut impl FnMut(&str, usize)) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => each_ident(group.stream(), see),
            TokenTree::Ident(ident) => see(&ident.to_string(), ident.span().start().line),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// A path as it is written somewhere.
#[derive(Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) path: Vec<String>,
    line: usize,
}

/// All paths in the tokens. A group of a `use`, `a::{b, c}`, is the paths `a::b` and `a::c`.
pub(crate) fn paths(tokens: TokenStream) -> Vec<Named> {
    let mut found = Vec::new();
    follow(tokens, &[], &mut found);
    found
}

fn follow(tokens: TokenStream, prefix: &[String], found: &mut Vec<Named>) {
    let mut reading: Option<Named> = None;
    let mut colons = 0;
    for token in tokens {
        if matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ':') {
            colons += 1;
            continue;
        }
        let goes_on = colons == 2;
        colons = 0;
        match token {
            TokenTree::Ident(ident) => {
                let word = ident.to_string();
                let line = ident.span().start().line;
                match &mut reading {
                    Some(named) if goes_on => named.path.push(word),
                    _ => {
                        let path = [prefix, &[word]].concat();
                        found.extend(reading.replace(Named { path, line }));
                    }
                }
            }
            TokenTree::Group(group) => {
                let outer = reading.take();
                let is_tree = goes_on && group.delimiter() == Delimiter::Brace;
                match outer {
                    Some(outer) if is_tree => follow(group.stream(), &outer.path, found),
                    outer => {
                        found.extend(outer);
                        follow(group.stream(), &[], found);
                    }
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => found.extend(reading.take()),
        }
    }
    found.extend(reading);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(place: &str, text: &str) -> Vec<String> {
        breaches_in(Path::new(place), text).unwrap()
    }

    #[test]
    fn a_higher_layer_is_not_named() {
        assert_eq!(
            breaches("parse/list.rs", "use crate::sys::fs;"),
            ["parse/list.rs:1: `parse` names crate::sys::fs"]
        );
        assert_eq!(
            breaches("sys/fs.rs", "\nfn f() { crate::boot::early::x(1) }").len(),
            1
        );
        assert_eq!(breaches("boot/early.rs", "use crate::sys::fs;"), [""; 0]);
        for (place, named, is_allowed) in [
            ("container/setup.rs", "events", true),
            ("events/queue.rs", "container", false),
            ("container/setup.rs", "boot", false),
            ("boot/switch.rs", "supervise", false),
            ("supervise/mod.rs", "boot", true),
            ("supervise/mod.rs", "command", false),
            ("command/run.rs", "container", true),
            // They are parts of two programs.
            ("command/run.rs", "supervise", false),
            ("command/run.rs", "boot", false),
        ] {
            for root in ["crate", "super::super"] {
                let found = breaches(place, &format!("use {root}::{named}::X;"));
                let is_allowed = is_allowed || root != "crate" && place.ends_with("mod.rs");
                assert_eq!(found.is_empty(), is_allowed, "{place}: {named}");
            }
        }
    }

    #[test]
    fn a_group_is_seen_through() {
        let found = breaches(
            "sys/fs.rs",
            "use crate::{error::Op, events::{Event, queue}};",
        );
        assert_eq!(
            found,
            [
                "sys/fs.rs:1: `sys` names crate::events::Event",
                "sys/fs.rs:1: `sys` names crate::events::queue"
            ]
        );
    }

    #[test]
    fn comments_and_texts_may_name_anything() {
        let text =
            "//! See [`crate::boot`].\n/// unsafe\nfn f() -> &'static str { \"crate::boot\" }";
        assert_eq!(breaches("parse/list.rs", text), [""; 0]);
    }

    #[test]
    fn unsafe_has_its_places() {
        let text = "fn f() { unsafe { g() } }";
        assert_eq!(breaches("boot/early.rs", text), ["boot/early.rs:1: unsafe"]);
        assert_eq!(breaches("sys/raw.rs", text), [""; 0]);
        assert_eq!(breaches("programs/rt.rs", text), [""; 0]);
    }

    #[test]
    fn low_layers_do_no_io() {
        assert_eq!(breaches("error.rs", "use rustix::io::Errno;"), [""; 0]);
        assert_eq!(
            breaches("plan.rs", "use rustix::io::{Errno, write};"),
            ["plan.rs:1: `plan` names rustix::io::write"]
        );
        assert_eq!(breaches("sys/fs.rs", "use rustix::io::write;"), [""; 0]);
    }

    #[test]
    fn files_of_the_engine_do_not_name_each_other_in_a_circle() {
        let circle = |files: &[(&str, &str)]| {
            let files = files.iter().map(|(place, text)| {
                let place = PathBuf::from(place);
                (place, (*text).to_owned())
            });
            circle_in(&files.collect::<Vec<_>>()).unwrap()
        };
        let straight = [
            ("mod.rs", "mod a; pub use a::A; use super::b;"),
            ("a.rs", "use super::b::B; use super::c;"),
            ("b.rs", "use super::c::C; mod tests { use super::*; }"),
            ("c/mod.rs", "mod inner; fn f() { inner::g() }"),
            ("c/inner.rs", "use super::a;"),
        ];
        assert_eq!(circle(&straight), None);
        let [module, a, b, c, _] = straight;
        let inner = ("c/inner.rs", "fn g() { crate::container::a::h() }");
        assert_eq!(
            circle(&[module, a, b, c, inner]).as_deref(),
            Some("a names b names c names a")
        );
        assert_eq!(
            circle(&[("x.rs", "use super::y;"), ("y.rs", "use super::{x, z};")]).as_deref(),
            Some("x names y names x")
        );
    }

    #[test]
    fn a_new_module_needs_a_layer() {
        assert_eq!(
            breaches("net/mod.rs", ""),
            ["net/mod.rs: `net` has no layer"]
        );
        assert_eq!(breaches("lib.rs", "pub mod net;"), [""; 0]);
    }
}
