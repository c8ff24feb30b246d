//! What was measured, and the table of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use berth_qemu::packages::Packages;
use serde_json::Value;

use super::commands::OTHERS;

/// What was measured of one.
pub(super) struct Figures {
    /// Instructions.
    clone: f64,
    /// Instructions.
    whole: Option<f64>,
    calls: Option<f64>,
    /// Bytes.
    memory: Option<f64>,
}

impl Figures {
    /// Of PID 1, which is no command: `whole` begins with its decision.
    pub(super) fn of_pid_1(clone: u64, whole: u64) -> Self {
        Self {
            clone: clone as f64,
            whole: Some(whole as f64),
            calls: None,
            memory: None,
        }
    }

    /// The medians.
    pub(super) fn of(measured: &Value) -> Result<Self> {
        let times = measured["times"].as_array().context("no times")?;
        let median = |name: &str| -> Result<f64> {
            let mut all: Vec<f64> = times
                .iter()
                .filter_map(|pass| pass[name].as_f64())
                .collect();
            all.sort_unstable_by(f64::total_cmp);
            all.get(all.len() / 2)
                .copied()
                .with_context(|| format!("no {name}"))
        };
        Ok(Self {
            // One instruction is one ns, and these are µs.
            clone: median("clone")? * 1e3,
            whole: Some(median("whole")? * 1e3),
            calls: Some(measured["calls"].as_f64().context("no calls")?),
            memory: Some(median("memory")?),
        })
    }
}

/// A row for each that was measured, with the C program's figures as the measure.
pub(super) fn table(packages: &Packages, figures: &BTreeMap<String, Figures>) -> Result<String> {
    let mut text = String::from(
        "| container | by | clone to program | own start to program | system calls | memory at most |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    let others = OTHERS.map(|(package, _)| package);
    for case in ["plain", "full"] {
        let floor = figures
            .get(&format!("C {case}"))
            .context("nothing beside the C program")?;
        for name in [&["C", "berth as PID 1", "berth"][..], &others].concat() {
            let version = packages.version(name).unwrap_or_default();
            // Without the distribution's own part.
            let version = version.split('-').next().unwrap_or_default();
            let shown = format!("{name} {version}");
            let row = match figures.get(&format!("{name} {case}")) {
                Some(of) => cells(of, floor).join(" | "),
                None => ["-"; 4].join(" | "),
            };
            let _ = writeln!(text, "| {case} | {} | {row} |", shown.trim_end());
        }
    }
    Ok(text)
}

fn cells(of: &Figures, floor: &Figures) -> [String; 4] {
    let cell = |of: Option<f64>, floor: Option<f64>, unit: f64, digits: usize, name: &str| {
        let (Some(of), Some(floor)) = (of, floor) else {
            return "-".to_owned();
        };
        format!("{:.digits$}{name}, × {:.1}", of / unit, of / floor)
    };
    [
        cell(Some(of.clone), Some(floor.clone), 1e6, 2, " million"),
        cell(of.whole, floor.whole, 1e6, 2, " million"),
        cell(of.calls, floor.calls, 1.0, 0, ""),
        cell(of.memory, floor.memory, 1024.0, 0, " KiB"),
    ]
}
