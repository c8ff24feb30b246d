//! The figures as a table of Markdown.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Rows of figures.
pub(crate) struct Table {
    kernel: String,
    rows: Vec<[String; 3]>,
}

impl Table {
    /// A table of figures that hold for this kernel.
    pub(crate) fn new(kernel: &str) -> Self {
        Self {
            kernel: kernel.to_owned(),
            rows: Vec::new(),
        }
    }

    /// Adds what was measured, the figure, and the budget or what stands beside it.
    pub(crate) fn row(
        &mut self,
        what: impl Into<String>,
        figure: impl Into<String>,
        beside: impl Into<String>,
    ) {
        self.rows.push([what.into(), figure.into(), beside.into()]);
    }

    /// Adds the size of a program.
    pub(crate) fn program(&mut self, path: &Path, goal: &str) -> Result<()> {
        let size = fs::metadata(path)
            .with_context(|| format!("{}: `make init` builds it", path.display()))?
            .len();
        let name = path.file_name().unwrap_or_default().display();
        self.row(format!("program `{name}`"), bytes(size), goal);
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "Linux {}, x86_64, one processor, QEMU's TCG.\n",
            self.kernel
        )?;
        writeln!(
            formatter,
            "| what | measured | budget, or beside it |\n| --- | --- | --- |"
        )?;
        self.rows.iter().try_for_each(|[what, figure, beside]| {
            writeln!(formatter, "| {what} | {figure} | {beside} |")
        })?;
        let missed = self
            .rows
            .iter()
            .enumerate()
            .filter(|(_, row)| is_missed(row));
        let names: Vec<_> = missed.map(|(at, _)| self.name(at)).collect();
        match names.as_slice() {
            [] => writeln!(formatter, "\nAll budgets and goals are met."),
            names => writeln!(formatter, "\nNot met yet: {}.", names.join("; ")),
        }
    }
}

impl Table {
    /// What the figure of a row is of; "the same" is what the row before says.
    fn name(&self, at: usize) -> &str {
        let mut rows = self.rows.iter().take(at + 1).rev();
        let named = rows.find(|[what, ..]| !what.starts_with("the same"));
        named.map_or("", |[what, ..]| what)
    }
}

/// Whether the figure is above what stands beside it: `at most 1.01`, `goal 208 KiB`, `300 KiB`.
fn is_missed([_, figure, beside]: &[String; 3]) -> bool {
    let limit = beside
        .strip_prefix("at most ")
        .or_else(|| beside.strip_prefix("goal "))
        .unwrap_or(beside);
    let limit = limit.strip_suffix(" KiB").unwrap_or(limit);
    // The last number: `254016 bytes (248 KiB)`, `0.62 to 1.43`.
    let numbers = figure
        .split([' ', '('])
        .filter_map(|word| word.parse::<f64>().ok());
    let mut numbers = numbers.rev();
    let is_above = |limit: f64| numbers.next().is_some_and(|figure| figure > limit);
    limit.parse().is_ok_and(is_above)
}

/// A size, for people.
pub(crate) fn bytes(bytes: u64) -> String {
    format!("{bytes} bytes ({:.0} KiB)", bytes as f64 / 1024.0)
}

/// A number of instructions, for people.
pub(crate) fn instructions(count: u64) -> String {
    format!("{:.2} million instructions", count as f64 / 1e6)
}
