//! How long a line of comment is: what is read in a diff, or in two windows, is not cut.
//!
//! Rustfmt does not break comments on its stable channel. Tables and code in them cannot be broken
//! either, and are left alone.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::layers::collect;

/// The most columns of a line that is a comment.
const COLUMNS: usize = 100;

/// Where the sources are.
const SOURCES: [&str; 5] = ["build.rs", "initramfs", "qemu", "src", "tests"];

/// Looks at all sources, and names the lines that are too long.
pub(crate) fn check(workspace: &Path) -> Result<()> {
    let mut files = Vec::new();
    for source in SOURCES {
        let path = workspace.join(source);
        if path.is_dir() {
            collect(&path, &mut files)?;
        } else {
            files.push(path);
        }
    }
    let mut breaches = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let place = file.strip_prefix(workspace).unwrap_or(file);
        let found = too_long(&text).into_iter();
        breaches.extend(found.map(|line| format!("{}:{line}", place.display())));
    }
    ensure!(
        breaches.is_empty(),
        "comments have more than {COLUMNS} columns:\n  {}",
        breaches.join("\n  ")
    );
    println!("comments: {} files, {COLUMNS} columns", files.len());
    Ok(())
}

/// The numbers of the lines that are too long, from 1.
fn too_long(text: &str) -> Vec<usize> {
    let mut is_code = false;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let comment = line.trim_start().strip_prefix("//");
        let comment = comment.map(|comment| comment.trim_start_matches(['/', '!']).trim_start());
        let Some(comment) = comment else {
            is_code = false;
            continue;
        };
        is_code ^= comment.starts_with("```");
        let can_be_broken = !is_code && !comment.starts_with('|') && comment.contains(' ');
        if can_be_broken && line.chars().count() > COLUMNS {
            found.push(number);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_that_can_be_broken_has_to_be() {
        let long = "word ".repeat(30);
        for text in [
            format!("/// {long}"),
            format!("//! short\n//! {long}"),
            format!("fn f() {{\n    // {long}\n}}"),
            format!("//! ```\n//! {long}\n//! ```\n//! {long}"),
        ] {
            assert_eq!(too_long(&text).len(), 1, "{text}");
        }
        for text in [
            format!("/// | {long} |"),
            format!("//! ```\n//! {long}\n//! ```"),
            format!("fn f() {{ g(\"{long}\") }}"),
            format!("// https://example.org/{}", "x".repeat(100)),
            format!("// {}", "ä".repeat(97)),
        ] {
            assert_eq!(too_long(&text), [0; 0], "{text}");
        }
    }
}
