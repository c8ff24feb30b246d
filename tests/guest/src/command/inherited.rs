//! What reaches a program of what its caller has: the table of `docs/command.md`, row by row. The
//! caller has everything odd ([`crate::inherited`]).

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::json;

use super::lab::{self, Lab, Running};
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing what_the_caller_has_reaches_programs_as_the_table_says,
    Nothing privileged_container_has_no_inheritable_capabilities_either,
    Nothing what_the_caller_has_reaches_hooks_as_the_table_says,
    Nothing run_ends_and_hands_signals_on_whatever_the_caller_ignores,
];

/// The facts, by their names.
type Facts = BTreeMap<String, String>;

/// What the program has.
#[derive(Clone, Copy, PartialEq)]
enum Row {
    /// What the caller has.
    Kept,
    /// Something else than the caller, which is this.
    Is(&'static str),
    /// All processors.
    Everywhere,
    /// No capability.
    No,
}
use Row::{Everywhere, Is, Kept, No};

const NOTHING: &str = "0000000000000000";

const ROWS: &[(&str, Row)] = &[
    ("SigIgn", Is(NOTHING)),
    ("SigBlk", Is(NOTHING)),
    ("Umask", Is("0022")),
    ("Groups", Is("")),
    ("CapInh", No),
    ("CapAmb", No),
    ("CapBnd", No),
    ("Cpus_allowed_list", Everywhere),
    ("key", Is("none")),
    ("parent-death", Is("0")),
    ("subreaper", Is("0")),
    ("leads-session", Is("true")),
    ("directory", Is("/")),
    ("odd", Is("")),
    ("descriptors", Is("[0, 1, 2, 3]")),
    ("NoNewPrivs", Kept),
    ("oom_score_adj", Kept),
    ("coredump_filter", Kept),
    ("core file size", Kept),
    ("open files", Kept),
    ("nice", Kept),
    ("policy", Kept),
    ("io-priority", Kept),
    ("personality", Kept),
    ("securebits", Kept),
    ("timer-slack", Kept),
    ("huge-pages-off", Kept),
    ("broken-memory", Kept),
    ("memory-policy", Kept),
];

fn facts(text: &str) -> Facts {
    let lines = text.lines().map(|line| match line.strip_prefix("limit ") {
        Some(limit) => limit.split_at(limit.find(|c: char| c.is_ascii_digit()).unwrap_or(0)),
        None => line.split_once(' ').unwrap_or((line, "")),
    });
    let trimmed = lines.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    trimmed.collect()
}

/// What a program has that the odd caller executes itself, and one of a usual caller.
fn of_caller(lab: &Lab) -> Result<Facts> {
    let guest = std::env::current_exe()?;
    let output = Command::new(&guest)
        .arg("be-odd")
        .arg(&guest)
        .arg("inherited")
        .current_dir(&lab.directory)
        .output()?;
    let facts = facts(&said(&output)?);
    for (name, odd) in [
        ("SigBlk", "4000000000014800"),
        ("Umask", "0007"),
        ("CapInh", "0000000000202000"),
        ("CapAmb", "0000000000002000"),
        ("key", "found"),
        ("nice", "5"),
        ("odd", "yes"),
    ] {
        let found = facts.get(name).context(name)?;
        ensure!(found == odd, "the caller is not odd: {name} {found}");
    }
    // The C library may have two more ignored, of its own, by what it starts.
    let ignored = u64::from_str_radix(&facts["SigIgn"], 16)? & !(3 << 31);
    ensure!(
        ignored == 0x8000_0080_0021_5207,
        "the caller is not odd: {ignored:x}"
    );
    Ok(facts)
}

fn said(output: &Output) -> Result<String> {
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    Ok(String::from_utf8(output.stdout.clone())?)
}

fn compare(how: &str, caller: &Facts, found: &Facts) -> Result<()> {
    let everywhere = lab::processors()?;
    for (name, row) in ROWS {
        let callers = caller
            .get(*name)
            .with_context(|| format!("{name} of the caller"))?;
        let value = found
            .get(*name)
            .with_context(|| format!("{how}: {name} in {found:?}"))?;
        let expected = match row {
            Kept => callers.as_str(),
            Is(value) => value,
            Everywhere => &everywhere,
            No => NOTHING,
        };
        ensure!(
            value == expected,
            "{how}: {name} is {value}, not {expected}"
        );
        if matches!(row, Is(_) | No) {
            ensure!(callers != expected, "{name}: the caller is not odd");
        }
    }
    Ok(())
}

fn what_the_caller_has_reaches_programs_as_the_table_says(lab: &Lab) -> Result<()> {
    let caller = of_caller(lab)?;
    lab.bundle("b", &["inherited"])?;
    let odd = |words: &[&str]| lab.command_behind("be-odd", words);
    let run = said(&odd(&["run", "--bundle", "b", "one"])?.output()?)?;
    compare("run", &caller, &facts(&run))?;

    let output = lab.directory.join("output");
    let mut create = odd(&["create", "--bundle", "b", "two"])?;
    let status = create.stdout(fs::File::create(&output)?).status()?;
    ensure!(status.success(), "create: {status}");
    let process = lab.process("two")?;
    said(&odd(&["start", "two"])?.output()?)?;
    process.wait()?;
    compare("start", &caller, &facts(&fs::read_to_string(output)?))?;
    said(&odd(&["delete", "--force", "two"])?.output()?)?;

    lab.bundle("stay", &["stay"])?;
    lab.leaves(&["run", "--detach", "--bundle", "stay", "three"])?;
    let exec = said(&odd(&["exec", "three", "/bin/guest", "inherited"])?.output()?)?;
    compare("exec", &caller, &facts(&exec))
}

fn privileged_container_has_no_inheritable_capabilities_either(lab: &Lab) -> Result<()> {
    let caller = of_caller(lab)?;
    lab.bundle_with("b", &["inherited"], |config| {
        config["annotations"]["berth.privileged"] = json!("true");
    })?;
    let mut run = lab.command_behind("be-odd", ["run", "--bundle", "b", "one"])?;
    let found = facts(&said(&run.output()?)?);
    for (name, expected) in [
        ("CapInh", NOTHING),
        ("CapAmb", NOTHING),
        ("CapEff", caller["CapBnd"].as_str()),
        ("CapBnd", caller["CapBnd"].as_str()),
    ] {
        ensure!(found[name] == expected, "{name} is {}", found[name]);
    }
    Ok(())
}

fn what_the_caller_has_reaches_hooks_as_the_table_says(lab: &Lab) -> Result<()> {
    let guest = std::env::current_exe()?;
    for moment in [
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ] {
        let is_inside = moment == "startContainer";
        lab.bundle_with("b", &["exit", "0"], |config| {
            let path = if is_inside {
                "/bin/guest".into()
            } else {
                guest.clone()
            };
            config["hooks"][moment] = json!([{ "path": path, "args": ["guest", "inherited"] }]);
        })?;
        let mut run = lab.command_behind("be-odd", ["run", "--bundle", "b", "one"])?;
        let found = facts(&said(&run.output()?)?);
        for (name, expected) in [
            ("SigIgn", NOTHING),
            ("SigBlk", NOTHING),
            ("Umask", if is_inside { "0022" } else { "0007" }),
            ("descriptors", "[0, 1, 2, 3]"),
            ("leads-session", "true"),
            ("nice", "5"),
        ] {
            let value = found
                .get(name)
                .with_context(|| format!("{moment}: {found:?}"))?;
            ensure!(value == expected, "{moment}: {name} is {value}");
        }
    }
    Ok(())
}

fn run_ends_and_hands_signals_on_whatever_the_caller_ignores(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["until-asked"])?;
    let mut run = lab.command_behind("be-odd", ["run", "-b", "b", "one"])?;
    let mut running = Running::start(&mut run)?;
    ensure!(running.line()? == "waiting");
    running.signal(Signal::TERM)?;
    ensure!(running.line()? == "asked to end");
    ensure!(running.status()? == Some(5));
    lab.fails(&["state", "one"], 125, &["[B072]"]).map(drop)
}
