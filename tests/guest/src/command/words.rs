//! The words: how they are understood, and what is said of those that are not.

use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::lab::Lab;
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing options_may_stand_before_and_behind_the_id,
    Nothing word_that_is_not_understood_is_named,
    Nothing names_and_keys_do_nothing_to_a_terminal,
    Nothing without_a_command_it_says_what_it_is_for,
    Nothing help_and_version_are_printed,
    Nothing output_that_cannot_be_written_is_a_failure,
    Nothing root_that_cannot_be_a_directory_is_named,
    Nothing check_tells_of_every_field_what_becomes_of_it,
    Group configuration_to_begin_with_is_one_that_runs,
];

fn options_may_stand_before_and_behind_the_id(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["say", "hello"])?;
    for words in [
        &["run", "--bundle", "b", "one"][..],
        &["run", "--bundle=b", "one"],
        &["run", "-b", "b", "one"],
        &["run", "-b=b", "one"],
        &["run", "one", "--bundle", "b"],
        &["run", "one", "-bb"],
        &["run", "--debug=false", "--bundle", "b", "--", "one"],
    ] {
        ensure!(lab.ok(words)? == "hello\n", "{words:?}");
    }
    // The working directory is the bundle where none is named.
    let output = lab
        .command(["run", "one"])
        .current_dir(lab.directory.join("b"))
        .output()?;
    ensure!(
        output.stdout == b"hello\n" && output.status.success(),
        "{output:?}"
    );
    Ok(())
}

fn names_and_keys_do_nothing_to_a_terminal(lab: &Lab) -> Result<()> {
    const TRICKS: &str = "a\r\u{1b}[2J\n\u{9b}1m\u{202e}z";
    lab.bundle_with("b", &["say", "hello"], |config| {
        config[TRICKS] = json!(1);
        config["annotations"] = json!({ TRICKS: TRICKS });
    })?;
    let told = lab.ok(&["check", "b"])?;
    // A key is shown as it is written, and the writer of this JSON leaves this character alone.
    ensure!(told.contains("\\u{202e}z: not a field"), "{told:?}");
    let tricks = |told: &str| told.contains(['\r', '\u{1b}', '\u{9b}', '\u{202e}']);
    ensure!(!tricks(&told), "{told:?}");
    for words in [
        &["check", TRICKS][..],
        &["run", "--bundle", TRICKS, "one"],
        &["state", TRICKS],
        &[TRICKS],
        &["run", TRICKS],
        &["--log", TRICKS, "run", "--bundle", "b", "one"],
    ] {
        let output = lab.call(words)?;
        let told = String::from_utf8(output.stderr)?;
        ensure!(!tricks(&told), "{words:?} {told:?}");
        // A failure and its advice.
        ensure!(told.lines().count() <= 2, "{words:?} {told:?}");
    }
    Ok(())
}

fn word_that_is_not_understood_is_named(lab: &Lab) -> Result<()> {
    for (words, says) in [
        (
            &["creat", "one"][..],
            "there is no command \"creat\", perhaps create",
        ),
        (&["frobnicate"], "there is no command \"frobnicate\""),
        (
            &["run", "--bundel", "b", "one"],
            "no option \"--bundel\", perhaps --bundle",
        ),
        (&["state", "--bundle", "b", "one"], "no option \"--bundle\""),
        (&["run", "-x", "one"], "no option \"-x\""),
        (&["run", "one", "--bundle"], "--bundle needs a value"),
        (&["run", "--detach=maybe", "one"], "--detach takes no value"),
        (&["state"], "an operand is missing: berth state ID"),
        (
            &["state", "one", "two"],
            "there are too many operands: berth state ID",
        ),
        (&["state", "../one"], "1 to 255 letters"),
        (
            &["kill", "one", "NOTHING"],
            "there is no signal \"NOTHING\"",
        ),
        (&["list", "--format", "yaml"], "table or json"),
    ] {
        let errors = lab.fails(words, 125, &[says, "[B070]"])?;
        ensure!(
            errors.lines().count() == 2,
            "a failure and what to do: {errors}"
        );
    }
    Ok(())
}

fn without_a_command_it_says_what_it_is_for(lab: &Lab) -> Result<()> {
    lab.fails(&[], 125, &["there is no command", "[B070]", "berth --help"])
        .map(drop)
}

fn help_and_version_are_printed(lab: &Lab) -> Result<()> {
    let help = lab.ok(&["--help"])?;
    ensure!(
        help.starts_with("usage: berth ") && help.contains("\n  create ID "),
        "{help}"
    );
    let help = lab.ok(&["exec", "-h"])?;
    ensure!(
        help.contains("  -e, --env NAME=VALUE") && help.contains("--root DIR"),
        "{help}"
    );
    ensure!(help.lines().all(|line| line.len() <= 120), "{help}");
    let version = lab.ok(&["--version"])?;
    ensure!(
        version.starts_with("berth version ") && version.contains("\nspec: 1."),
        "{version}"
    );
    Ok(())
}

fn output_that_cannot_be_written_is_a_failure(lab: &Lab) -> Result<()> {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .context("open /dev/full")?;
    let output = lab
        .command(["list"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(125), "{output:?}");
    ensure!(
        errors.contains("standard output: ENOSPC") && errors.contains("[B077]"),
        "{errors}"
    );
    Ok(())
}

fn root_that_cannot_be_a_directory_is_named(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["say", "hello"])?;
    // The last of several is meant.
    for words in [
        &["--root", "b/config.json", "list"][..],
        &["--root", "b/config.json/x", "run", "--bundle", "b", "one"],
        &["--root", "b/config.json/x", "state", "one"],
    ] {
        lab.fails(words, 125, &["b/config.json", "ENOTDIR", "[B074]"])?;
    }
    Ok(())
}

fn check_tells_of_every_field_what_becomes_of_it(lab: &Lab) -> Result<()> {
    lab.bundle_with("b", &["say", "hello"], |config| {
        config["solaris"] = json!({ "milestone": "x" });
        config["process"]["unheard"] = json!({ "of": 1 });
    })?;
    let told = lab.ok(&["check", "b"])?;
    for line in [
        "done     ociVersion",
        "done     process.args",
        "done     mounts[2].options",
        "done     linux.namespaces[0].type",
        "ignored  solaris.milestone: not supported yet",
        "ignored  process.unheard.of: not a field for this machine",
    ] {
        ensure!(
            told.lines().any(|told| told == line),
            "{line:?} is not in {told}"
        );
    }
    ensure!(!told.contains("refused"), "{told}");
    // All that is refused is named, not the first only; and the rest is told of all the same.
    lab.bundle_with("b", &["say", "hello"], |config| {
        config["vm"] = json!({ "kernel": { "path": "/x" } });
        config["annotations"]["berth.consol"] = json!("true");
        config["annotations"]["berth.restart"] = json!("never");
        config["process"]["cwd"] = json!("relative");
    })?;
    let output = lab.call(&["check", "b"])?;
    let told = String::from_utf8(output.stdout)?;
    for start in [
        "refused  vm",
        "refused  annotations.berth.consol: there is no annotation berth.consol, perhaps berth.console",
        "refused  berth.restart is \"never\"",
        "refused  process.cwd is \"relative\"",
    ] {
        ensure!(
            told.lines().any(|told| told.starts_with(start)),
            "{start:?} is not in {told}"
        );
    }
    ensure!(
        output.status.code() == Some(1) && output.stderr.is_empty(),
        "{told}"
    );
    lab.fails(
        &["check", "nothing"],
        125,
        &["nothing/config.json: ENOENT", "[B051]"],
    )
    .map(drop)
}

fn configuration_to_begin_with_is_one_that_runs(lab: &Lab) -> Result<()> {
    let bundle = lab.bundle("b", &[])?;
    let file = bundle.join("config.json");
    fs::remove_file(&file)?;
    ensure!(lab.ok(&["spec", "--bundle", "b"])?.is_empty());
    lab.fails(
        &["spec", "--bundle", "b"],
        125,
        &["config.json: EEXIST", "[B077]"],
    )?;
    let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
    ensure!(
        !lab.ok(&["check", "b"])?.contains("ignored"),
        "a field is ignored"
    );
    config["process"]["args"] = json!(["/bin/guest", "facts"]);
    config["process"]["terminal"] = json!(false);
    fs::write(&file, config.to_string())?;
    let facts = lab.ok(&["run", "--bundle", "b", "one"])?;
    for line in [
        "hostname berth",
        "cgroup 0::/",
        "root EROFS",
        "capabilities 0000000020000420",
    ] {
        ensure!(
            facts.lines().any(|fact| fact == line),
            "{line:?} is not in {facts}"
        );
    }
    fs::remove_file(&file)?;
    lab.ok(&["spec", "--rootless", "-b", "b"])?;
    ensure!(fs::read_to_string(&file)?.contains("\"type\": \"user\""));
    Ok(())
}
