//! Containers that cannot be set up or executed: one boot with many, each with its code and its
//! text, beside one that is well; and more bundles than can be supervised.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Event, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, disk, field};
use serde_json::json;

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once every_container_that_fails_is_reported_with_code_and_text,
    once advice_about_a_container_is_about_what_has_failed,
    once failed_containers_disturb_no_other,
    once bundles_beyond_the_limit_are_reported_and_the_others_run,
];

static BOOT: Shared = Shared::new(boot);

/// A container that fails, the code, and what the report says.
type Failing = (Bundle, &'static str, &'static str);

/// Programs that cannot be executed, as paths in the rootfs.
const TEXT: &str = "etc/text";
const GARBAGE: &str = "etc/garbage";

fn failing() -> Vec<Failing> {
    let mounting = |id, kind, source, options| Bundle::new(id).mount("/mnt", kind, source, options);
    vec![
        (
            Bundle::new("no-root").set("/root/path", json!("nowhere")),
            "B053",
            "nowhere for no-root: ENOENT",
        ),
        (
            Bundle::new("file-root").set("/root/path", json!("config.json")),
            "B053",
            "config.json for file-root: ENOTDIR",
        ),
        (
            Bundle::new("no-cwd").set("/process/cwd", json!("/bin/guest")),
            "B053",
            "enter directory /bin/guest for no-cwd: ENOTDIR",
        ),
        (
            mounting("no-source", "bind", "/nowhere", &["bind"]),
            "B053",
            "open /nowhere to mount it on /mnt for no-source: ENOENT",
        ),
        (
            mounting("no-type", "nosuchfs", "none", &[]),
            "B053",
            "mount none as nosuchfs on /mnt for no-type: ENODEV",
        ),
        (
            mounting("no-disk", "ext4", "/dev/nowhere", &[]),
            "B053",
            "mount /dev/nowhere as ext4 on /mnt for no-disk: ENOENT",
        ),
        (
            mounting("wrong-disk", "vfat", "/dev/vda1", &[]),
            "B053",
            "mount /dev/vda1 as vfat on /mnt for wrong-disk: ",
        ),
        (
            mounting("no-option", "tmpfs", "tmpfs", &["nonsense=1"]),
            "B053",
            "mount tmpfs as tmpfs on /mnt: nonsense=1 for no-option: EINVAL: tmpfs: Unknown parameter 'nonsense'",
        ),
        (
            Bundle::new("my-id_map").set("/process/cwd", json!("/bin/guest")),
            "B053",
            "enter directory /bin/guest for my-id_map: ENOTDIR",
        ),
        (
            Bundle::new("no-place").mount("/bin/guest", "tmpfs", "tmpfs", &[]),
            "B053",
            "mount /bin/guest for no-place: ENOTDIR",
        ),
        (
            Bundle::new("no-file").mount("/mnt", "bind", "config.json", &["bind"]),
            "B053",
            "mount /mnt for no-file: EISDIR",
        ),
        (
            Bundle::new("no-way").mount("/bin/guest/below", "tmpfs", "tmpfs", &[]),
            "B053",
            "/bin/guest/below for no-way: ENOTDIR",
        ),
        (
            Bundle::new("no-program").runs(["/bin/nothing"]),
            "B054",
            "execute /bin/nothing for no-program: ENOENT",
        ),
        (
            Bundle::new("not-in-path").runs(["nothing"]),
            "B054",
            "execute nothing in PATH for not-in-path: ENOENT",
        ),
        (
            Bundle::new("directory").runs(["/bin"]),
            "B054",
            "execute /bin for directory: EACCES",
        ),
        (
            Bundle::new("text").runs(["/etc/text"]),
            "B054",
            "execute /etc/text for text: EACCES",
        ),
        (
            Bundle::new("garbage").runs(["/etc/garbage"]),
            "B054",
            "execute /etc/garbage for garbage: ENOEXEC",
        ),
    ]
}

fn boot(lab: &Lab) -> Result<Outcome> {
    let bundles = failing().into_iter().map(|(bundle, ..)| bundle);
    let good = Bundle::new("good").runs(["/bin/guest", "work", "20"]);
    let in_rootfs = |id: &str, path: &str| format!("containers/{id}/rootfs/{path}");
    let tree = disk::files(bundles.chain([good]))?
        .file(in_rootfs("text", TEXT), "not executable")
        .executable(in_rootfs("garbage", GARBAGE), "neither ELF nor a script");
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(384))?;
    Ok(lab
        .machine("refused")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?
        .wait()?)
}

fn every_container_that_fails_is_reported_with_code_and_text(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for (bundle, code, text) in failing() {
        Seen::new(&outcome, bundle.id()).failed(code, text)?;
        ensure!(outcome.console.contains(text), "the console lacks {text:?}");
    }
    Ok(())
}

/// What to do about it follows from what has failed, and not from a name; of the root's options
/// nothing is said.
fn advice_about_a_container_is_about_what_has_failed(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let after = |text: &str| {
        let mut lines = outcome.console.lines();
        lines.find(|line| line.contains(text));
        lines.next().unwrap_or_default()
    };
    for (text, hint) in [
        ("for my-id_map: ENOTDIR", "correct config.json, or build"),
        ("for no-option: EINVAL", "correct the options of this mount"),
    ] {
        let line = after(text);
        ensure!(line.contains(hint), "{text}: {line}");
    }
    ensure!(!outcome.console.contains("rootflags"));
    Ok(())
}

fn failed_containers_disturb_no_other(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let good = Seen::new(&outcome, "good");
    good.printed("worked 20")?;
    good.exited(0)?;
    Ok(outcome.assert(Ended::PowerOff, 125)?)
}

/// All share the rootfs of the first, so that the disk stays small.
fn bundles_beyond_the_limit_are_reported_and_the_others_run(lab: &Lab) -> Result<()> {
    const LIMIT: usize = 256;
    const EXCESS: usize = 2;
    let is_end = |event: &Event| field(event, "state") == Some("exited") && event.raw["code"] == 0;
    let first = "c000";
    let others = (1..LIMIT + EXCESS).map(|number| {
        let id = format!("c{number:03}");
        let bundle =
            Bundle::new(&id).set("/root/path", json!(format!("/containers/{first}/rootfs")));
        (id, bundle.config())
    });
    let tree = others.fold(
        disk::files([Bundle::new(first)])?,
        |tree: Tree, (id, config)| tree.file(format!("containers/{id}/config.json"), config),
    );
    let root = Disk::mbr(1)
        .partition(Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, tree))
        .build()?;
    let vm = lab
        .machine("bundles_beyond_the_limit")?
        .append("root=/dev/vda1 berth.on_idle=wait")
        .deadline(Duration::from_secs(300))
        .blk(&root)
        .control()
        .start()?;
    vm.expect_that("all to end", |events| {
        let ended = events.iter().filter(|event| is_end(event)).count();
        (ended == LIMIT).then_some(())
    })?;
    // By request there is no more room either.
    let mut client = vm.control()?;
    let rows = client.ask(json!({ "do": "list" }))?;
    ensure!(rows.len() == LIMIT, "{} are listed", rows.len());
    let mut ids = (0..LIMIT + EXCESS).map(|number| format!("c{number:03}"));
    let left_out = ids.find(|id| !rows.iter().any(|row| row["id"] == **id));
    let left_out = left_out.context("all are listed")?;
    let refusal = client.refused(json!({ "do": "start", "container": left_out }))?;
    ensure!(refusal.code == "B055", "{refusal:?}");
    // Nothing runs that the end would wait for, and the answer may be lost with the machine.
    client.begin(json!({ "do": "poweroff" }))?;
    let outcome = vm.wait()?;
    let failure = outcome
        .events
        .iter()
        .find(|event| event.is_failure("B055"))
        .context("no B055")?;
    let text = field(failure, "text").unwrap_or_default();
    ensure!(
        text.contains(
            "/containers: 2 bundles are not started: there are more than can be supervised"
        ),
        "{text}"
    );
    Ok(outcome.assert(Ended::PowerOff, 125)?)
}
