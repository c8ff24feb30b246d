//! Who makes a container, or works on it, is killed or stopped in the midst of it: at each call
//! that changes something outside of it, so that no moment is left to luck.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libc::c_int;
use serde_json::json;

use super::lab::{GROUPS, Lab, Running, has_groups};
use super::traced::{Fate, Traced};
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing killed_create_leaves_nothing,
    Nothing killed_run_and_exec_leave_nothing,
    Nothing stopped_maker_keeps_nobody_waiting,
    Nothing maker_that_hangs_is_named_and_ended_by_force,
    Nothing broken_record_hides_no_container,
];

/// Names that no other case has: its control groups may be there at the same time.
const ONE: &str = "killed-one";
const TWO: &str = "killed-two";

/// A control group in others that are not there either.
const NESTED: &str = "killed-above";

/// Says that of the calls only every so many is tried: an emulated machine takes minutes for all.
pub(crate) const STRIDE: &str = "BERTH_TEST_STRIDE";

/// The calls that are tried: all, where nothing else is said.
fn calls() -> Result<impl Iterator<Item = usize>> {
    let stride = match env::var(STRIDE) {
        Ok(stride) => stride.parse().context(STRIDE)?,
        Err(_) => 1,
    };
    Ok((1..).step_by(stride))
}

/// For as long as it is there, orphans become children of this process.
#[must_use = "it ends with the value"]
struct Adoption;

impl Adoption {
    fn begin() -> Result<Self> {
        Self::set(1)?;
        Ok(Self)
    }

    fn set(value: libc::c_ulong) -> Result<()> {
        // SAFETY: prctl(2) takes numbers.
        let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, value, 0, 0, 0) };
        ensure!(result == 0, "prctl: {}", std::io::Error::last_os_error());
        Ok(())
    }
}

impl Drop for Adoption {
    // Nobody would collect the orphans of later cases, and a container whose process is not
    // collected does not end.
    fn drop(&mut self) {
        let _ = Self::set(0);
    }
}

/// The children of this process, that have ended too.
fn children() -> Result<Vec<c_int>> {
    let list = fs::read_to_string("/proc/thread-self/children")?;
    let numbers = list.split_whitespace().map(str::parse);
    Ok(numbers.collect::<Result<_, _>>()?)
}

/// Waits until all children have ended but those `left`, also what others have left behind.
fn all_end_but(left: usize) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        // SAFETY: waitpid(2) may be told that no status is wanted.
        while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
        if children()?.len() <= left {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "a process was left behind");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn all_end() -> Result<()> {
    all_end_but(0)
}

/// Nothing of it exists that has a name.
fn is_gone(lab: &Lab, id: &str) -> Result<()> {
    let listed = lab.ok(&["list"])?;
    ensure!(!listed.contains(id), "it is listed: {listed}");
    ensure!(!lab.root().join(id).exists(), "it has a directory");
    for group in [format!("berth/{id}"), NESTED.to_owned()] {
        let group = Path::new(GROUPS).join(group);
        ensure!(!group.exists(), "it has a control group");
    }
    Ok(())
}

/// Has `words` meet its fate at each of the calls in turn, and deletes what is left.
fn at_each_call(lab: &Lab, fate: Fate, words: &[&str]) -> Result<usize> {
    for number in calls()? {
        let traced = Traced::start(lab.command(words))?;
        let is_met = traced.meets(fate, number)?;
        let checked = is_met.then(|| check(lab, fate, number)).transpose();
        checked.with_context(|| format!("{words:?} at call {number}"))?;
        if !is_met {
            return Ok(number);
        }
    }
    bail!("there is no end to it")
}

fn check(lab: &Lab, fate: Fate, number: usize) -> Result<()> {
    let is_there = lab.root().join(ONE).exists();
    let listed = lab.ok(&["list"])?;
    ensure!(
        fate == Fate::Stopped || is_there == listed.contains(ONE),
        "it is not listed: {listed}"
    );
    serde_json::from_str::<serde_json::Value>(&lab.ok(&["list", "-f", "json"])?)?;
    // The next that wants the name may have it, if it was not made.
    let record = fs::read_to_string(lab.root().join(ONE).join("state.json"));
    let is_made = record.is_ok_and(|record| record.contains(r#""creating":false"#));
    if fate == Fate::Killed && number.is_multiple_of(2) && !is_made {
        lab.leaves(&["create", "--bundle", "b", ONE])?;
        ensure!(lab.status(ONE)? == "created");
    }
    lab.ok(&["delete", "--force", ONE])?;
    is_gone(lab, ONE)?;
    match fate {
        Fate::Killed => all_end(),
        Fate::Stopped => Ok(()),
    }
}

fn killed_create_leaves_nothing(lab: &Lab) -> Result<()> {
    let _adoption = Adoption::begin()?;
    lab.bundle("b", &["stay"])?;
    let calls = at_each_call(lab, Fate::Killed, &["create", "--bundle", "b", ONE])?;
    ensure!(calls > 10, "{calls} calls");
    lab.ok(&["delete", "--force", ONE])?;
    // With a process that makes it, and control groups on the way to its own.
    let hook = json!([{ "path": std::env::current_exe()?, "args": ["guest", "exit", "0"] }]);
    lab.bundle_with("b", &["stay"], |config| {
        config["hooks"] = json!({ "createRuntime": hook });
        config["linux"]["cgroupsPath"] = json!(format!("/{NESTED}/more/one"));
    })?;
    at_each_call(lab, Fate::Killed, &["create", "--bundle", "b", ONE])?;
    lab.ok(&["delete", "--force", ONE])?;
    all_end()
}

fn killed_run_and_exec_leave_nothing(lab: &Lab) -> Result<()> {
    let _adoption = Adoption::begin()?;
    lab.bundle("b", &["exit", "0"])?;
    let words = ["run", "--bundle", "b", "--pid-file", "pid", ONE];
    at_each_call(lab, Fate::Killed, &words)?;
    lab.bundle("stays", &["stay"])?;
    lab.leaves(&["run", "-d", "--bundle", "stays", TWO])?;
    let words = ["exec", TWO, "/bin/guest", "exit", "0"];
    for number in calls()? {
        let traced = Traced::start(lab.command(words))?;
        if !traced.meets(Fate::Killed, number)? {
            break;
        }
        // This is the parent of the container's own by now.
        all_end_but(1).with_context(|| format!("{words:?} at call {number}"))?;
    }
    ensure!(lab.status(TWO)? == "running");
    lab.ok(&["delete", "--force", TWO])?;
    all_end()
}

fn stopped_maker_keeps_nobody_waiting(lab: &Lab) -> Result<()> {
    let _adoption = Adoption::begin()?;
    lab.bundle("b", &["stay"])?;
    lab.bundle("short", &["exit", "0"])?;
    for words in [
        &["create", "--bundle", "b", ONE][..],
        &["run", "--bundle", "short", ONE],
    ] {
        // One that has not begun yet does so when it goes on.
        for number in [4, 8, 12, 16, 20] {
            let traced = Traced::start(lab.command(words))?;
            if !traced.meets(Fate::Stopped, number)? {
                break;
            }
            let before = Instant::now();
            let checked = check(lab, Fate::Stopped, number);
            // SAFETY: kill(2) takes numbers; it is a child that nobody has collected.
            unsafe { libc::kill(traced.0, libc::SIGKILL) };
            let checked = checked.and_then(|()| all_end());
            checked.with_context(|| format!("{words:?} at call {number}"))?;
            ensure!(
                before.elapsed() < Duration::from_secs(60),
                "it waits too long"
            );
        }
    }
    lab.ok(&["delete", "--force", ONE]).map(drop)
}

fn maker_that_hangs_is_named_and_ended_by_force(lab: &Lab) -> Result<()> {
    let _adoption = Adoption::begin()?;
    let hook = json!([{ "path": std::env::current_exe()?, "args": ["guest", "stay"] }]);
    lab.bundle_with("b", &["stay"], |config| {
        config["hooks"] = json!({ "createRuntime": hook });
    })?;
    let mut command = lab.command(["create", "--bundle", "b", ONE]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    while !lab.ok(&["list"])?.contains("creating") {
        std::thread::sleep(Duration::from_millis(5));
    }
    ensure!(lab.status(ONE)? == "creating");
    lab.fails(&["delete", ONE], 125, &["it is creating", "[B073]"])?;
    lab.fails(&["kill", ONE], 125, &["it is creating", "[B073]"])?;
    lab.fails(
        &["create", "--bundle", "b", ONE],
        125,
        &["already exists", "[B071]"],
    )?;
    lab.ok(&["delete", "--force", ONE])?;
    ensure!(!child.wait()?.success());
    is_gone(lab, ONE)?;
    // The hook is the host's, and nobody's any more.
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut is_killed = false;
    while !is_killed && Instant::now() < deadline {
        for pid in children()? {
            if fs::read(format!("/proc/{pid}/cmdline"))? == b"guest\0stay\0" {
                // SAFETY: kill(2) takes numbers; it is a child of this process, which nobody has
                // collected.
                unsafe { libc::kill(pid, libc::SIGKILL) };
                is_killed = true;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    all_end()
}

/// What becomes of a record.
type Break = fn(&[u8]) -> Vec<u8>;

fn broken_record_hides_no_container(lab: &Lab) -> Result<()> {
    let _adoption = Adoption::begin()?;
    lab.bundle("b", &["until-asked"])?;
    let half = |text: &[u8]| text[..text.len() / 2].to_vec();
    let breaks: [Break; 4] = [
        |_| Vec::new(),
        |_| b"garbage\n".to_vec(),
        |_| b"{\"pid\":\"one\"}".to_vec(),
        |text| text.repeat(20_000),
    ];
    for (number, change) in breaks.iter().copied().chain([half as Break]).enumerate() {
        // The record alone, and everything that there is of it.
        for names in [&["state.json"][..], &["state.json", "state.copy"]] {
            if names.len() > 1 && !has_groups() {
                // Nothing tells which process it is.
                continue;
            }
            lab.leaves(&["create", "--bundle", "b", ONE])?;
            let process = lab.process(ONE)?;
            for name in names {
                let file = lab.root().join(ONE).join(name);
                fs::write(&file, change(&fs::read(&file)?))?;
            }
            let what = || format!("break {number} of {names:?}");
            let status = match names {
                [_] => "created",
                _ => "unknown",
            };
            let listed = lab.ok(&["list"])?;
            ensure!(
                listed.contains(ONE) && listed.contains(status),
                "{}: {listed}",
                what()
            );
            let listed: serde_json::Value =
                serde_json::from_str(&lab.ok(&["list", "-f", "json"])?)?;
            ensure!(
                listed[0]["id"] == ONE && listed[0]["status"] == status,
                "{listed}"
            );
            if names.len() > 1 {
                lab.fails(&["delete", ONE], 125, &["EBADMSG", "[B074]"])
                    .or_else(|_| lab.fails(&["delete", ONE], 125, &["EFBIG", "[B074]"]))?;
                lab.fails(
                    &["create", "--bundle", "b", ONE],
                    125,
                    &["unknown", "[B071]"],
                )?;
            }
            lab.ok(&["delete", "--force", ONE]).with_context(what)?;
            is_gone(lab, ONE).with_context(what)?;
            process.wait()?;
        }
    }
    // Lost, and something else of that name.
    for name in ["state.json", "config.json", "lock"] {
        lab.leaves(&["create", "--bundle", "b", ONE])?;
        let process = lab.process(ONE)?;
        fs::remove_file(lab.root().join(ONE).join(name))?;
        if name == "state.json" {
            fs::create_dir(lab.root().join(ONE).join(name))?;
        }
        lab.ok(&["delete", "--force", ONE])?;
        is_gone(lab, ONE)?;
        process.wait()?;
    }
    fs::create_dir(lab.root().join(ONE))?;
    ensure!(lab.ok(&["list"])?.contains(ONE));
    lab.ok(&["delete", ONE])?;
    is_gone(lab, ONE)?;
    // And a container that runs in the foreground.
    let mut running = Running::start(&mut lab.command(["run", "--bundle", "b", TWO]))?;
    ensure!(running.line()? == "waiting");
    fs::write(lab.root().join("killed-two/state.json"), "")?;
    lab.ok(&["delete", "--force", TWO])?;
    ensure!(running.status()? == Some(137));
    is_gone(lab, TWO)?;
    all_end()
}
