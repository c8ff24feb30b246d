//! What a bundle can ask for, and whether the container then has it: the program, its namespaces,
//! its output. Many containers in one boot.

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, disk};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once program_gets_its_arguments_variables_and_directory,
    once program_is_found_through_path,
    once hostname_is_the_containers_own,
    once namespaces_are_new_exactly_where_asked_for,
    once cgroup_namespace_begins_at_the_containers_group,
    once loopback_is_up_in_a_new_network_namespace,
    everywhere loopback_is_up_in_the_machine,
    once standard_output_and_error_are_told_apart,
    once output_of_any_bytes_becomes_lines,
    once every_container_ends_well,
];

static BOOT: Shared = Shared::new(boot);

fn facts(id: &str) -> Bundle {
    Bundle::new(id).runs(["/bin/guest", "facts"])
}

fn bundles() -> Vec<Bundle> {
    vec![
        Bundle::new("plain")
            .runs(["guest", "facts", "one", "two words", "\u{e9}\n"])
            .set(
                "/process/env",
                json!(["PATH=/sbin:/bin", "EMPTY=", "QUOTED=a \"b\" = c"]),
            )
            .set("/process/cwd", json!("/mnt"))
            .set("/hostname", json!("a-name-of-its-own")),
        facts("default-path")
            .runs(["guest", "facts"])
            .set("/process/env", json!([])),
        facts("own").namespaces(&["mount", "pid", "uts", "ipc", "network", "cgroup"]),
        facts("few")
            .set("/hostname", Value::Null)
            .namespaces(&["mount"]),
        Bundle::new("network")
            .namespaces(&["mount", "uts", "network"])
            .runs(["/bin/guest", "loopback"]),
        Bundle::new("machine-network").runs(["/bin/guest", "loopback"]),
        Bundle::new("bytes").runs(["/bin/guest", "bytes"]),
    ]
}

fn boot(lab: &Lab) -> Result<Outcome> {
    let tree = disk::files(bundles())?;
    let root = disk::of(Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, tree).mib(128))?;
    Ok(lab
        .machine("containers")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?
        .wait()?)
}

/// The fact of this topic and kind.
fn fact(seen: Seen<'_>, topic: &'static str, kind: &str) -> Result<String> {
    let facts = seen.facts(topic);
    let value = facts
        .iter()
        .find_map(|fact| fact.strip_prefix(kind)?.strip_prefix(' '));
    Ok(value
        .with_context(|| format!("no {topic} {kind} in {facts:?}"))?
        .to_owned())
}

fn program_gets_its_arguments_variables_and_directory(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let plain = Seen::new(&outcome, "plain");
    ensure!(
        plain.facts("argument") == ["one", "two words", "\u{e9}"],
        "{:?}",
        plain.facts("argument")
    );
    let variables = plain.facts("variable");
    ensure!(
        variables == ["PATH=/sbin:/bin", "EMPTY=", "QUOTED=a \"b\" = c", "HOME=/"],
        "{variables:?}"
    );
    plain.printed("directory /mnt")
}

fn program_is_found_through_path(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "plain").exited(0)?;
    let seen = Seen::new(&outcome, "default-path");
    seen.printed("directory /")?;
    ensure!(
        seen.facts("variable") == ["HOME=/"],
        "{:?}",
        seen.facts("variable")
    );
    Ok(())
}

fn hostname_is_the_containers_own(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "plain").printed("hostname a-name-of-its-own")?;
    Seen::new(&outcome, "own").printed("hostname own")?;
    // The host's own name, which nobody has set.
    Seen::new(&outcome, "few").printed("hostname (none)")
}

fn namespaces_are_new_exactly_where_asked_for(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let [own, few] = ["own", "few"].map(|id| Seen::new(&outcome, id));
    for kind in ["pid", "uts", "ipc", "net", "cgroup", "mnt"] {
        let [a, b] = [fact(own, "namespace", kind)?, fact(few, "namespace", kind)?];
        ensure!(a != b, "{kind} is shared");
    }
    let processes = few.facts("process");
    ensure!(
        processes.contains(&"1") && processes.len() > 1,
        "without a PID namespace all are seen: {processes:?}"
    );
    Ok(())
}

fn cgroup_namespace_begins_at_the_containers_group(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "own").printed("cgroup 0::/")?;
    Seen::new(&outcome, "few").printed("cgroup 0::/berth/few")
}

fn loopback_is_up_in_the_machine(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "machine-network").printed("loopback hello")
}

fn loopback_is_up_in_a_new_network_namespace(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "network");
    seen.printed("loopback hello")?;
    ensure!(
        seen.facts("interface") == ["lo"],
        "{:?}",
        seen.facts("interface")
    );
    Ok(())
}

fn standard_output_and_error_are_told_apart(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "bytes");
    ensure!(seen.stream("stderr").eq(["to standard error"]));
    ensure!(seen.stream("stdout").last() == Some("without an end"));
    Ok(())
}

fn output_of_any_bytes_becomes_lines(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let lines: Vec<_> = Seen::new(&outcome, "bytes").stream("stdout").collect();
    ensure!(
        lines
            .first()
            .is_some_and(|line| line.starts_with("bytes ") && line.ends_with(" end")),
        "{lines:?}"
    );
    let lengths: Vec<_> = lines.iter().skip(1).map(|line| line.len()).collect();
    ensure!(
        lengths == [512, 512, 476, "without an end".len()],
        "{lengths:?}"
    );
    ensure!(
        outcome.console.contains("bytes: without an end\n"),
        "the console has it too"
    );
    Ok(())
}

fn every_container_ends_well(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for bundle in bundles() {
        Seen::new(&outcome, bundle.id()).exited(0)?;
    }
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}
