//! `berth.landlock.*`: what a container may do with files and ports.

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::vm::Outcome;
use berth_tests::{Bundle, Lab, Seen, Shared, disk};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere files_are_read_executed_and_changed_where_it_is_allowed,
    everywhere ports_are_restricted_or_the_container_is_refused,
    once nothing_is_mounted_under_landlock,
    once path_that_is_not_there_is_named,
    once lists_that_do_not_parse_are_refused,
];

static BOOT: Shared = Shared::new(boot);

/// The first version that knows of ports.
const WITH_PORTS: u32 = 4;

fn bundles() -> Vec<Bundle> {
    let confined = |id, attempts: &[&'static str]| {
        let program = ["/bin/guest", "try-rights"].into_iter();
        Bundle::new(id).runs(program.chain(attempts.iter().copied()))
    };
    let files = [
        "read:/etc/given",
        "append:/etc/given",
        "list:/etc",
        "make:/etc/new",
        "read:/proc/self/status",
        "list:/",
        "make:/tmp/new",
        "append:/tmp/new",
        "list:/tmp",
        "remove:/tmp/new",
        "execute:/bin/guest",
        "execute:/tmp/guest",
    ];
    let ports = ["bind:80", "bind:81", "connect:443", "connect:444"];
    let namespaces = ["mount", "pid", "uts", "network"];
    vec![
        Bundle::new("version").runs(["/bin/guest", "landlock"]),
        confined("files", &files)
            .annotation("berth.landlock.read", "/etc:/dev")
            .annotation("berth.landlock.write", "/tmp")
            .annotation("berth.landlock.execute", "/bin"),
        confined("one-file", &["read:/etc/given", "list:/etc"])
            .annotation("berth.landlock.read", "/etc/given")
            .annotation("berth.landlock.execute", "/bin/guest"),
        confined("ports", &ports)
            .namespaces(&namespaces)
            .annotation("berth.landlock.bind", "80")
            .annotation("berth.landlock.connect", "443"),
        confined("no-ports", &["bind:80", "connect:443", "read:/etc/given"])
            .namespaces(&namespaces)
            .annotation("berth.landlock.connect", ""),
        confined("mounting", &["mount:/mnt"])
            .annotation("berth.landlock.write", "/")
            .annotation("berth.landlock.execute", "/bin"),
        Bundle::new("nowhere").annotation("berth.landlock.read", "/etc:/nowhere"),
        Bundle::new("relative").annotation("berth.landlock.read", "etc"),
        Bundle::new("no-number").annotation("berth.landlock.bind", "http"),
    ]
}

fn boot(lab: &Lab) -> Result<Outcome> {
    let given = |tree: berth_qemu::tree::Tree, id: &str| {
        tree.file(format!("containers/{id}/rootfs/etc/given"), "given")
    };
    let tree = ["files", "one-file", "no-ports"]
        .into_iter()
        .fold(disk::files(bundles())?, given);
    let tree = tree.copy(berth_tests::guest()?, "containers/files/rootfs/tmp/guest");
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(192))?;
    Ok(lab
        .machine("landlock")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?
        .wait()?)
}

fn version(outcome: &Outcome) -> Result<u32> {
    let facts = Seen::new(outcome, "version").facts("landlock");
    let version = facts.first().context("no version")?.parse()?;
    ensure!(version > 0, "the kernel has no Landlock");
    Ok(version)
}

fn attempts(outcome: &Outcome, id: &str, expected: &[&str]) -> Result<()> {
    let found = Seen::new(outcome, id).facts("attempt");
    ensure!(found == expected, "{id}: {found:#?}");
    Ok(())
}

fn files_are_read_executed_and_changed_where_it_is_allowed(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    version(&outcome)?;
    attempts(
        &outcome,
        "files",
        &[
            "read:/etc/given ok",
            "append:/etc/given EACCES",
            "list:/etc ok",
            "make:/etc/new EACCES",
            "read:/proc/self/status EACCES",
            "list:/ EACCES",
            "make:/tmp/new ok",
            "append:/tmp/new ok",
            "list:/tmp ok",
            "remove:/tmp/new ok",
            "execute:/bin/guest ok",
            "execute:/tmp/guest EACCES",
        ],
    )?;
    attempts(
        &outcome,
        "one-file",
        &["read:/etc/given ok", "list:/etc EACCES"],
    )
}

fn ports_are_restricted_or_the_container_is_refused(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    if version(&outcome)? >= WITH_PORTS {
        let expected = [
            "bind:80 ok",
            "bind:81 EACCES",
            "connect:443 ok",
            "connect:444 EACCES",
        ];
        attempts(&outcome, "ports", &expected)?;
        let expected = ["bind:80 ok", "connect:443 EACCES", "read:/etc/given ok"];
        return attempts(&outcome, "no-ports", &expected);
    }
    for (id, key) in [("ports", "bind"), ("no-ports", "connect")] {
        let words =
            format!("set up berth.landlock.{key}, which takes Linux 6.7 for {id}: EOPNOTSUPP");
        Seen::new(&outcome, id).failed("B053", &words)?;
    }
    Ok(())
}

fn nothing_is_mounted_under_landlock(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    attempts(&outcome, "mounting", &["mount:/mnt EPERM"])
}

fn path_that_is_not_there_is_named(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "nowhere").failed("B053", "open /nowhere for nowhere: ENOENT")
}

fn lists_that_do_not_parse_are_refused(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for (id, words) in [
        (
            "relative",
            "berth.landlock.read is \"etc\"; it takes absolute paths",
        ),
        (
            "no-number",
            "berth.landlock.bind is \"http\"; it takes port numbers",
        ),
    ] {
        Seen::new(&outcome, id).failed("B051", words)?;
    }
    Ok(())
}
