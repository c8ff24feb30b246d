//! The reading of a `config.json`, beside `serde_json` making a tree of the same bytes.
//!
//! Both are in one program, `tests/guest/src/bin/reading.rs`, and its instructions are counted by
//! valgrind. To read a file ten times more costs ten times what it costs to read it once, whatever
//! else the program does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use berth_qemu::target_dir;

use crate::table::Table;

/// How often a file is read more.
const MORE: u64 = 10;

/// Adds the row.
pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let mut ratios = Vec::new();
    for file in files()? {
        let [ours, theirs] = [count("berth", &file)?, count("serde", &file)?];
        let ratio = ours as f64 / theirs as f64;
        println!(
            "{}: {ours} instructions, serde_json's tree {theirs}: {ratio:.2}",
            file.display()
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (ratios.first(), ratios.last()) else {
        anyhow::bail!("there are no files");
    };
    table.row(
        format!(
            "reading a `config.json` of other tools, {} of them, beside `serde_json` making a tree",
            ratios.len()
        ),
        format!("{least:.2} to {most:.2}"),
        "at most 1.5",
    );
    Ok(())
}

/// What other tools have written.
fn files() -> Result<Vec<PathBuf>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/real");
    let entries = fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Instructions that it takes to read the file once.
fn count(reader: &str, file: &Path) -> Result<u64> {
    let [once, more] = [1, 1 + MORE].map(|times| run(reader, file, times));
    let (once, more) = (once?, more?);
    ensure!(more > once, "{reader}: {more} instructions after {once}");
    Ok((more - once) / MORE)
}

/// Instructions of the whole program.
fn run(reader: &str, file: &Path, times: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(target_dir().join("reading"))
        .arg(reader)
        .arg(file)
        .arg(times.to_string())
        .output()
        .context("start valgrind: install the package")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{reader}: {said}");
    let (_, count) = said
        .split_once("Collected : ")
        .with_context(|| format!("no count in: {said}"))?;
    let digits = count.split_whitespace().next().unwrap_or_default();
    Ok(digits.parse()?)
}
