//! The commands that container engines are tried with, and what their outputs are compared as:
//! `tests/engines/commands`.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

const COMMANDS: &str = include_str!("../engines/commands");

/// A command of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// A letter for each engine that has it.
    engines: &'static str,
    /// Letters of those for which it is one of the few that are tried always.
    telling: &'static str,
    /// What a shell of the guest is told.
    pub(crate) command: &'static str,
    /// Why its outputs may differ: engines and reason, as often as there are reasons.
    differs: Vec<(&'static str, &'static str)>,
}

impl Row {
    /// Why outputs of this engine's may differ.
    pub(crate) fn reason(&self, engine: char) -> Option<&'static str> {
        let mut differs = self.differs.iter();
        let (_, reason) = differs.find(|(engines, _)| engines.contains(engine))?;
        Some(reason)
    }
}

/// The rows of an engine; of all, or of the telling ones.
///
/// # Errors
/// A line of the table that is neither a command nor a reason.
pub(crate) fn rows(engine: char, is_all: bool) -> Result<Vec<Row>> {
    let rows = read(COMMANDS)?.into_iter();
    let has = |row: &Row| match is_all {
        true => row.engines.contains(engine),
        false => row.telling.contains(engine),
    };
    Ok(rows.filter(has).collect())
}

fn read(text: &'static str) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (first, rest) = line.split_once(' ').context(line)?;
        let rest = rest.trim_start();
        match first {
            "#" => {}
            "=" => {
                let differs = rest.split_once(' ').context(line)?;
                rows.last_mut().context(line)?.differs.push(differs);
            }
            _ => {
                let (engines, telling) = first.split_once('/').unwrap_or((first, ""));
                ensure!(telling.chars().all(|c| engines.contains(c)), "{line}");
                rows.push(Row {
                    engines,
                    telling,
                    command: rest,
                    differs: Vec::new(),
                });
            }
        }
    }
    Ok(rows)
}

/// What came of a command by one runtime.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    /// The engine.
    pub(crate) engine: String,
    /// The runtime.
    pub(crate) runtime: String,
    /// The number of the row, from 1; 0 is the import of the image, and what precedes it is
    /// `start`.
    pub(crate) row: String,
    /// The exit status, and the output without what differs from run to run.
    pub(crate) text: String,
    /// Seconds that it took.
    pub(crate) seconds: f64,
}

/// Reads what the guest's `tests/engines/start.sh` writes, up to its end.
///
/// # Errors
/// The guest did not get to its end.
pub(crate) fn read_said(text: &str) -> Result<Vec<Said>> {
    let (text, _) = text
        .split_once("@@ end\n")
        .with_context(|| format!("the guest did not come to its end:\n{text}"))?;
    let blocks = text.split("@@ ").filter(|block| !block.trim().is_empty());
    blocks
        .map(|block| {
            let (head, output) = block.split_once('\n').context("an output without a line")?;
            let [engine, runtime, row, status, seconds] = head
                .split(' ')
                .collect::<Vec<_>>()
                .try_into()
                .ok()
                .with_context(|| head.to_owned())?;
            Ok(Said {
                engine: engine.to_owned(),
                runtime: runtime.to_owned(),
                row: row.to_owned(),
                text: format!("status {status}\n{}", usual(output.trim_end())),
                seconds: seconds.parse().unwrap_or_default(),
            })
        })
        .collect()
}

/// Ids and the times of logs, which are others each time, become words.
fn usual(output: &str) -> String {
    let mut text = String::new();
    for line in output.lines() {
        let line = match line
            .strip_prefix("time=\"")
            .and_then(|l| l.split_once("\" "))
        {
            Some((_, rest)) => rest,
            None => line,
        };
        let mut word = String::new();
        for c in line.chars().chain(['\n']) {
            if c.is_ascii_alphanumeric() {
                word.push(c);
                continue;
            }
            let is_id = [12, 32, 64].contains(&word.len())
                && word.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
            text.push_str(if is_id { "<id>" } else { &word });
            word.clear();
            text.push(c);
        }
    }
    text
}

/// A table of the rows whose outcomes differ, with the reasons that are known. All that was said is
/// of one engine.
///
/// # Errors
/// A row differs without a reason, or one of the runtimes has not run it; with the table.
pub(crate) fn compare(
    engine: char,
    rows: &[Row],
    said: &[Said],
    runtimes: [&str; 2],
) -> Result<String> {
    let (mut table, mut unknown) = (String::new(), 0);
    for (index, row) in rows.iter().enumerate() {
        let number = (index + 1).to_string();
        let of = |runtime: &str| {
            let mut all = said.iter();
            all.find(|said| said.runtime == runtime && said.row == number)
        };
        let [first, second] = runtimes.map(of);
        let first = first.with_context(|| format!("{} has not run {row:?}", runtimes[0]))?;
        let second = second.with_context(|| format!("{} has not run {row:?}", runtimes[1]))?;
        if first.text == second.text {
            continue;
        }
        let reason = row.reason(engine);
        unknown += usize::from(reason.is_none());
        let _ = writeln!(table, "{}", row.command);
        let _ = writeln!(table, "  why: {}", reason.unwrap_or("?"));
        let lines = |said: &Said, other: &Said| -> String {
            let other: Vec<&str> = other.text.lines().collect();
            let own = said.text.lines().filter(|line| !other.contains(line));
            own.map(|line| format!("  {}: {line}\n", said.runtime))
                .collect()
        };
        table.push_str(&lines(first, second));
        table.push_str(&lines(second, first));
    }
    ensure!(unknown == 0, "{unknown} rows differ:\n{table}");
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# engines and commands\nPD/D one 1\n= D they are made so\nP   two  2\n";

    #[test]
    fn table_has_commands_and_reasons() {
        let rows = read(TABLE).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].command, rows[0].telling), ("one 1", "D"));
        assert_eq!(rows[0].reason('D'), Some("they are made so"));
        assert_eq!(rows[0].reason('P'), None);
        assert_eq!((rows[1].command, rows[1].telling), ("two  2", ""));
    }

    #[test]
    fn whole_table_is_read() {
        for engine in ['P', 'R', 'D'] {
            assert!(rows(engine, true).unwrap().len() > rows(engine, false).unwrap().len());
        }
        for engine in ['S', 'B', 'U', 'C'] {
            assert!(rows(engine, true).unwrap().len() > 20);
        }
    }

    #[test]
    fn only_what_differs_from_run_to_run_is_replaced() {
        let output = "time=\"2026-01-01T00:00:00Z\" level=error\nid 0123456789ab, 00ff00";
        assert_eq!(usual(output), "level=error\nid <id>, 00ff00\n");
    }

    #[test]
    fn difference_without_a_reason_is_an_error() {
        let rows = read(TABLE).unwrap();
        let text = "@@ e a 1 0 0.1\nx\n\n@@ e a 2 0 0.1\n\n@@ e b 1 1 0.1\nx\n\n@@ e b 2 0 0.1\n\n@@ end\n";
        let said = read_said(text).unwrap();
        let known = compare('D', &rows, &said, ["a", "b"]).unwrap();
        assert!(known.contains("they are made so"), "{known}");
        let error = compare('P', &rows, &said, ["a", "b"]).unwrap_err();
        assert!(error.to_string().contains("  b: status 1"), "{error}");
        assert!(compare('D', &rows, &said, ["a", "c"]).is_err());
    }
}
