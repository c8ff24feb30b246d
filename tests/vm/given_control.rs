//! The machine's control in containers that have it by `berth.control`.

use anyhow::{Result, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, disk};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere container_with_the_control_steers_the_others,
    everywhere program_of_exec_has_the_terminal_of_its_caller,
    everywhere control_is_in_no_container_that_does_not_ask_for_it,
    once control_is_for_root_of_the_machine_alone,
    once control_is_read_only_and_needs_nothing_that_can_be_written,
];

static GIVEN: Shared = Shared::new(boot_given);

/// A container without rights of its own whose program is a script of busybox' shell.
fn shell(id: &str, script: &str) -> Bundle {
    let names = "b() { /bin/busybox \"$@\"; }; berth() { /run/berth/berth \"$@\"; }";
    let script = format!("{names}\n{script}");
    Bundle::new(id)
        .confined()
        .runs(["/bin/busybox", "sh", "-c", &script])
}

fn with_control(bundle: Bundle) -> Bundle {
    bundle.annotation("berth.control", "true")
}

/// The script of the container that steers the others. A command that fails says so on standard
/// error, which is printed, too.
const STEERS: &str = r#"
    echo listed $(berth list -q | b sort)
    berth list | b grep -q '^web .*running .*/containers/web/rootfs$' && echo listed for people
    berth list --json | b grep -q '"id":"web","state":"running"' && echo listed for programs
    echo in | berth exec -e A=1 -e B=2 web /bin/busybox sh -c \
        'read x; echo "got $x $A$B in $(busybox hostname)"; echo said >&2; exit 7'
    echo "status $?"
    berth exec web /bin/nothing
    echo "status $?"
    berth logs -n 1 web
    berth stop web && echo stopped
    berth list | b grep -q '^web .*stopped ' && echo listed as stopped
    berth start web && echo started
    berth restart web && echo restarted
    berth kill web KILL && echo killed
    until berth list | b grep -q '^web .*running '; do b sleep 0.1; done
    berth events | b grep -q '"event":"switch"' && echo told what happened
    berth boot | b grep -q '^containers' && echo told of the boot
    berth mounts web | b grep -q /proc && echo told of mounts
    berth stop nobody
    echo "status $?"
    berth exec --detach web /bin/busybox true
    echo "status $?"
    /run/berth/berth exec web /bin/busybox sh -c 'echo here; exec busybox sleep 1000' >/tmp/here &
    until [ -s /tmp/here ]; do b sleep 0.1; done
    kill -TERM $!
    wait $!
    echo "status $?"
    berth poweroff
"#;

fn boot_given(lab: &Lab) -> Result<Outcome> {
    let web = Bundle::new("web")
        .annotation("berth.restart", "always")
        .annotation("berth.stop-timeout", "1")
        .runs(["/bin/guest", "say-and-stay", "here"]);
    let desk = "b stty rows 17 cols 71; berth exec -t web /bin/busybox sh -c \
        'busybox tty; busybox stty size'";
    let none = "[ -e /run/berth ] || echo nothing there";
    let list = "berth list -q; echo status $?";
    let mapping = json!([{ "containerID": 0, "hostID": 0, "size": 1000 }]);
    let bundles = vec![
        web,
        with_control(shell("desk", desk))
            .annotation("berth.console", "true")
            .annotation("berth.requires", "web")
            .annotation("berth.ready", "exited"),
        // Not even the network is the machine's.
        with_control(shell("steers", STEERS))
            .namespaces(&["mount", "pid", "uts", "ipc", "network", "cgroup"])
            .annotation("berth.requires", "desk,without,user,fixed"),
        shell("without", none).annotation("berth.ready", "exited"),
        with_control(shell("user", list))
            .set("/process/user", json!({ "uid": 7, "gid": 7 }))
            .annotation("berth.ready", "exited"),
        with_control(shell("mapped", list))
            .namespaces(&["mount", "pid", "uts", "ipc", "user"])
            .set("/linux/uidMappings", mapping.clone())
            .set("/linux/gidMappings", mapping),
        with_control(shell(
            "fixed",
            &format!("{list}; echo x >/run/berth/berth; true"),
        ))
        .set("/root/readonly", json!(true))
        .directory("run")
        .mount("/run", "tmpfs", "tmpfs", &["mode=755"])
        .annotation("berth.ready", "exited"),
        with_control(shell("made", list)).set("/root/readonly", json!(true)),
        with_control(shell("bare", list))
            .namespaces(&["pid"])
            .set("/hostname", Value::Null)
            .set("/mounts", json!([]))
            .annotation("berth.root-switch", "chroot"),
    ];
    let tree = disk::files_with_busybox(bundles)?;
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(300))?;
    let vm = lab
        .machine("given_control")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?;
    Ok(vm.wait()?)
}

fn container_with_the_control_steers_the_others(lab: &Lab) -> Result<()> {
    let outcome = GIVEN.outcome(lab)?;
    let steers = Seen::new(&outcome, "steers");
    let said: Vec<_> = steers.stream("stdout").collect();
    let expected = [
        "listed bare desk fixed made mapped steers user web without",
        "listed for people",
        "listed for programs",
        "got in 12 in web",
        "status 7",
        "status 127",
        "here",
        "stopped",
        "listed as stopped",
        "started",
        "restarted",
        "killed",
        "told what happened",
        "told of the boot",
        "told of mounts",
        "status 125",
        "status 125",
        "status 143",
    ];
    ensure!(said == expected, "{said:#?}");
    let complaints: Vec<_> = steers.stream("stderr").collect();
    for (complaint, count) in [("said", 1), ("[B054]", 1), ("[B072]", 1), ("[B070]", 1)] {
        let found = complaints.iter().filter(|line| line.contains(complaint));
        ensure!(found.count() == count, "{complaint}: {complaints:#?}");
    }
    // Some could not be started.
    Ok(outcome.assert(Ended::PowerOff, 125)?)
}

fn program_of_exec_has_the_terminal_of_its_caller(lab: &Lab) -> Result<()> {
    let outcome = GIVEN.outcome(lab)?;
    for line in ["/dev/pts/0", "17 71"] {
        ensure!(outcome.console.contains(line), "{line}");
    }
    Ok(())
}

fn control_is_in_no_container_that_does_not_ask_for_it(lab: &Lab) -> Result<()> {
    let outcome = GIVEN.outcome(lab)?;
    Seen::new(&outcome, "without").printed("nothing there")?;
    // Of each that asks, it is said aloud.
    for id in ["desk", "steers", "user", "fixed"] {
        let warning = format!("{id}: CONTROL (berth.control): MAY STOP AND START EVERY CONTAINER");
        ensure!(outcome.console.contains(&warning), "{id}");
    }
    Ok(())
}

fn control_is_for_root_of_the_machine_alone(lab: &Lab) -> Result<()> {
    let outcome = GIVEN.outcome(lab)?;
    let user = Seen::new(&outcome, "user");
    user.printed("status 125")?;
    let complaint = user.stream("stderr").next().unwrap_or_default();
    ensure!(complaint.contains("EACCES"), "{complaint}");
    let refused = "berth.control: the control is for root of the machine, and nobody in a user \
        namespace is that";
    Seen::new(&outcome, "mapped").failed("B052", refused)?;
    let needs = "berth.control needs the type mount without a path";
    Seen::new(&outcome, "bare").failed("B051", needs)
}

fn control_is_read_only_and_needs_nothing_that_can_be_written(lab: &Lab) -> Result<()> {
    let outcome = GIVEN.outcome(lab)?;
    let fixed = Seen::new(&outcome, "fixed");
    fixed.printed("status 0")?;
    let complaint = fixed.stream("stderr").next().unwrap_or_default();
    ensure!(complaint.contains("Read-only file system"), "{complaint}");
    // Its rootfs is on a disk that can be written, so that the directory can be made before it
    // becomes read-only.
    Seen::new(&outcome, "made").printed("status 0")
}
