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
        })
    }
}

/// A size, for people.
pub(crate) fn bytes(bytes: u64) -> String {
    format!("{bytes} bytes ({:.0} KiB)", bytes as f64 / 1024.0)
}

/// A number of instructions, for people.
pub(crate) fn instructions(count: u64) -> String {
    format!("{:.2} million instructions", count as f64 / 1e6)
}
