//! The document with the figures: `<!-- measured: NAME -->` begins a table in it, and
//! `<!-- end -->` ends it. Nobody copies a number by hand.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const DOCUMENT: &str = "docs/figures.md";
const END: &str = "<!-- end -->";

/// Writes the tables, by their names.
pub(crate) fn write(tables: &[(&str, String)]) -> Result<()> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = tests
        .parent()
        .context("the tests are in no workspace")?
        .join(DOCUMENT);
    let mut document =
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    for (name, table) in tables {
        let begin = format!("<!-- measured: {name} -->\n");
        let (before, rest) = document
            .split_once(&begin)
            .with_context(|| format!("{DOCUMENT} lacks {begin}"))?;
        let (_, after) = rest
            .split_once(END)
            .with_context(|| format!("{DOCUMENT}: the table {name} lacks {END}"))?;
        document = format!("{before}{begin}{}\n{END}{after}", table.trim_end());
        println!("{table}");
    }
    fs::write(&path, &document).with_context(|| format!("write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}
