//! Modules that are nobody else's are not `pub`: one in a folder that no file outside of the folder
//! names, one of the library that no program and no test names.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use proc_macro2::{TokenStream, TokenTree};

use crate::layers::{Named, collect, paths};

/// Where the library's modules may be named.
const SOURCES: [&str; 4] = ["initramfs", "qemu", "src", "tests"];

/// A file, and the paths that are in it.
struct Source {
    place: PathBuf,
    tokens: TokenStream,
    paths: Vec<Named>,
}

/// Reads all sources, and names the modules that are `pub` for nobody.
pub(crate) fn check(workspace: &Path) -> Result<()> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&workspace.join(source), &mut files)?;
    }
    let mut sources = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let tokens: TokenStream = text.parse().map_err(|error| {
            anyhow::anyhow!("{} does not read as Rust: {error}", file.display())
        })?;
        sources.push(Source {
            place: file.strip_prefix(workspace).unwrap_or(file).to_owned(),
            paths: paths(tokens.clone()),
            tokens,
        });
    }
    let found = for_nobody(&sources);
    ensure!(found.is_empty(), "`pub` for nobody: {}", found.join(", "));
    println!("visibility: what is `pub` is named elsewhere");
    Ok(())
}

/// The modules that are `pub`, and named by no file outside.
fn for_nobody(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources
        .iter()
        .filter(|source| source.place.starts_with("src"))
    {
        let is_root = source.place.ends_with("src/lib.rs");
        let folder = match source.place.file_name() {
            Some(name) if name == "mod.rs" => {
                source.place.parent().unwrap_or(&source.place).to_owned()
            }
            _ => source.place.with_extension(""),
        };
        let name = if is_root {
            "berth".to_owned()
        } else {
            folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let is_outside = |other: &&Source| match is_root {
            true => !other.place.starts_with("src") || other.place.starts_with("src/programs"),
            false => !other.place.starts_with(&folder) && other.place != source.place,
        };
        for module in modules(source.tokens.clone()) {
            let names = |path: &Named| {
                path.path
                    .windows(2)
                    .any(|pair| pair == [name.as_str(), &module])
            };
            let mut others = sources.iter().filter(is_outside);
            if !others.any(|other| other.paths.iter().any(names)) {
                found.push(format!("{name}::{module}"));
            }
        }
    }
    found
}

/// The modules with files of their own that are `pub`, to everybody or to some.
fn modules(tokens: TokenStream) -> Vec<String> {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let word = |token: &TokenTree| match token {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    };
    let mut found = Vec::new();
    for (at, four) in tokens.windows(4).enumerate() {
        let rest = match four {
            [public, rest @ ..] if word(public).as_deref() == Some("pub") => rest,
            _ => continue,
        };
        let rest = match rest {
            [TokenTree::Group(_), ..] => tokens.get(at + 2..at + 5),
            rest => Some(rest),
        };
        if let Some([keyword, name, TokenTree::Punct(_)]) = rest
            && word(keyword).as_deref() == Some("mod")
        {
            found.extend(word(name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(place: &str, text: &str) -> Source {
        let tokens: TokenStream = text.parse().unwrap();
        Source {
            place: PathBuf::from(place),
            paths: paths(tokens.clone()),
            tokens,
        }
    }

    #[test]
    fn what_only_its_folder_names_is_for_nobody() {
        let found = for_nobody(&[
            source("src/lib.rs", "pub mod boot; pub mod text; mod docs;"),
            source(
                "src/boot/mod.rs",
                "pub mod early; pub(crate) mod root; mod shell;",
            ),
            source(
                "src/boot/early.rs",
                "use crate::boot::root; pub struct Mod;",
            ),
            source("src/text.rs", "use crate::{boot::{early::Mod}, text};"),
            source("src/programs/init.rs", "use berth::boot::early::X;"),
        ]);
        assert_eq!(found, ["berth::text", "boot::root"]);
    }
}
