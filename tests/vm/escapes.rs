//! The known ways out of a container, tried again from inside: one boot with a container for each,
//! and one in which a renaming process meets the set-up of many others.

use anyhow::{Context, Result, bail, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, disk, field};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once no_capability_is_inheritable,
    everywhere session_keyring_is_new,
    everywhere unmounted_root_has_no_host_below,
    everywhere fresh_procfs_is_refused_where_there_are_masks,
    everywhere node_that_cannot_be_made_is_bound_if_the_host_has_it,
    everywhere working_directory_is_no_descriptor_of_the_set_up,
    everywhere program_of_pid_1_cannot_be_written,
    everywhere sealed_program_cannot_be_written_when_it_has_ended,
    once null_device_of_an_image_is_not_used_for_masks,
    once standard_input_is_not_the_hosts_null_device,
    once console_of_an_image_leads_nowhere,
    once dev_that_is_a_link_leads_nothing_out,
    once container_that_runs_the_binary_itself_does_not_change_it,
    everywhere machine_outlives_all_attempts,
    everywhere renamed_destinations_lead_nothing_out,
];

static BOOT: Shared = Shared::new(boot);

/// Descriptors that PID 1 and the set-up may have open.
const DESCRIPTORS: std::ops::Range<u32> = 3..24;

fn masked(id: &str) -> Bundle {
    Bundle::new(id).set(
        "/linux/maskedPaths",
        json!(["/proc/kcore", "/proc/sys/kernel/core_pattern"]),
    )
}

/// A container whose image has a link out of it in place of `/dev`, where there are nodes and links
/// to be made.
fn dev_link(id: &str) -> Bundle {
    Bundle::new(id)
        .set(
            "/mounts",
            json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]),
        )
        .set(
            "/linux/devices",
            json!([{ "path": "/dev/ours", "type": "c", "major": 1, "minor": 7, "fileMode": 0o600 }]),
        )
        .set("/root/path", json!("image"))
        .runs([
            "/bin/guest",
            "escape",
            "nodes",
            "/escaped/null",
            "/escaped/ours",
        ])
}

fn boot(lab: &Lab) -> Result<Outcome> {
    let tell = |bundle: Bundle| bundle.runs(["/bin/guest", "escape", "tell"]);
    let without_pid = |id: &str| {
        Bundle::new(id)
            .set("/hostname", Value::Null)
            .namespaces(&["mount"])
    };
    let bundles = [
        tell(masked("masked")),
        tell(Bundle::new("open")),
        without_pid("writer").runs(["/bin/guest", "escape", "write-programs"]),
        Bundle::new("sealed").runs(["/bin/guest", "escape", "sealed"]),
        Bundle::new("itself").runs(["/proc/self/exe"]),
        Bundle::new("interpreter").runs(["/bin/script"]),
        // Its image says what /dev and the null device are.
        masked("null-image")
            .set(
                "/mounts",
                json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]),
            )
            .set("/root/path", json!("image"))
            .runs([
                "/bin/guest",
                "escape",
                "masks",
                "/proc/kcore",
                "/proc/sys/kernel/core_pattern",
                "/proc/version",
            ]),
        masked("console-image")
            .annotation("berth.console", "true")
            .set(
                "/mounts",
                json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]),
            )
            .set("/root/path", json!("image"))
            .runs(["/bin/guest", "exit", "0"]),
        Bundle::new("input")
            .mount("/mnt", "bind", "/dev", &["bind", "ro"])
            .runs(["/bin/guest", "chmod-input", "/mnt/null"]),
        Bundle::new("input-image")
            .set("/mounts", json!([]))
            .mount("/mnt", "bind", "/dev", &["bind", "ro"])
            .set("/root/path", json!("image"))
            .runs(["/bin/guest", "chmod-input", "/mnt/null"]),
        dev_link("dev-link"),
        dev_link("dev-link-up"),
        Bundle::new("beside-links")
            .annotation("berth.after", "dev-link,dev-link-up")
            .mount("/mnt", "bind", "/escaped", &["bind"])
            .runs(["/bin/guest", "escape", "masks", "/mnt", "/mnt/ptmx"]),
        Bundle::new("last").runs(["/bin/guest", "work", "5"]),
    ];
    let mut tree = disk::files(bundles)?;
    for number in DESCRIPTORS {
        let id = format!("cwd-{number}");
        let bundle = Bundle::new(&id)
            .set("/root/path", json!("/containers/open/rootfs"))
            .set("/process/cwd", json!(format!("/proc/self/fd/{number}")));
        tree = tree.file(format!("containers/{id}/config.json"), bundle.config());
    }
    let script = "containers/interpreter/rootfs/bin/script";
    tree = tree.executable(script, "#!/proc/self/exe\n");
    for id in ["null-image", "console-image", "input-image"] {
        let image = format!("containers/{id}/image");
        tree = tree
            .copy(berth_tests::guest()?, format!("{image}/bin/guest"))
            .directory(format!("{image}/proc"))
            .directory(format!("{image}/mnt"))
            .directory(format!("{image}/real"))
            .symlink(format!("{image}/dev"), "/real")
            .symlink(format!("{image}/real/null"), "/proc/version")
            .symlink(format!("{image}/real/console"), "/proc/version");
    }
    for (id, target) in [
        ("dev-link", "/escaped"),
        ("dev-link-up", "../../../escaped"),
    ] {
        let image = format!("containers/{id}/image");
        tree = tree
            .copy(berth_tests::guest()?, format!("{image}/bin/guest"))
            .directory(format!("{image}/proc"))
            .directory(format!("{image}/escaped"))
            .symlink(format!("{image}/dev"), target);
    }
    tree = tree.file("escaped/ptmx", "not to be removed");
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(512))?;
    Ok(lab
        .machine("escapes")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?
        .wait()?)
}

fn no_capability_is_inheritable(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "open").printed("inheritable 0000000000000000")
}

fn session_keyring_is_new(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    // PID 1 has none of its own, for which the kernel gives that of its user: `_uid_ses.0`.
    Seen::new(&outcome, "open").printed("keyring _ses")
}

fn unmounted_root_has_no_host_below(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "open").printed("unmounted-root true, found None")
}

fn fresh_procfs_is_refused_where_there_are_masks(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "masked").printed("escape fresh-proc EPERM")?;
    // It is the masks that make the difference.
    Seen::new(&outcome, "open").printed("escape fresh-proc open")
}

fn node_that_cannot_be_made_is_bound_if_the_host_has_it(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "open").printed("nodes EPERM done ENODEV done")
}

fn working_directory_is_no_descriptor_of_the_set_up(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for number in DESCRIPTORS {
        let id = format!("cwd-{number}");
        let failed = Seen::new(&outcome, &id).state("failed");
        let failed = failed.with_context(|| format!("{id} was started"))?;
        let [code, text] = ["failure", "text"].map(|name| field(failed, name).unwrap_or_default());
        // One of them is the pipe through which the failure is told.
        let is_said = ["ENOENT", "ENOTDIR"].iter().any(|errno| {
            text.contains(&format!(
                "enter directory /proc/self/fd/{number} for {id}: {errno}"
            ))
        });
        ensure!(code == "B053" && is_said, "{code} {text}");
    }
    Ok(())
}

fn program_of_pid_1_cannot_be_written(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let writer = Seen::new(&outcome, "writer");
    for way in ["exe", "exe-again", "exe-truncate"] {
        writer.printed(&format!("escape {way} ETXTBSY"))?;
    }
    writer.exited(0)
}

fn sealed_program_cannot_be_written_when_it_has_ended(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let sealed = Seen::new(&outcome, "sealed");
    sealed.printed("sealed /memfd:berth (deleted)")?;
    sealed.printed("escape sealed-running ETXTBSY")?;
    sealed.printed("escape sealed-after EPERM")?;
    sealed.exited(0)
}

fn standard_input_is_not_the_hosts_null_device(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in ["input", "input-image"] {
        let seen = Seen::new(&outcome, id);
        seen.printed("input true, read Ok(0)")?;
        let [host] = seen.facts("inode")[..] else {
            bail!("{id} has not seen the host's");
        };
        ensure!(host.starts_with("/mnt/null 20666 "), "{id}: {host}");
    }
    Ok(())
}

fn null_device_of_an_image_is_not_used_for_masks(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "null-image");
    seen.printed("mask /proc/kcore 1:3, chmod EROFS")?;
    seen.printed("mask /proc/sys/kernel/core_pattern 1:3, chmod EROFS")?;
    seen.exited(0)
}

fn console_of_an_image_leads_nowhere(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "console-image").exited(0)
}

/// What is made in `/dev` was made where the image's link leads on the host, and what lay there as
/// `ptmx` was removed (crun: CVE-2026-47766, runc: CVE-2026-41579).
fn dev_that_is_a_link_leads_nothing_out(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in ["dev-link", "dev-link-up"] {
        let seen = Seen::new(&outcome, id);
        seen.printed("node /escaped/null c 1:3 666 0:0")?;
        seen.printed("node /escaped/ours c 1:7 600 0:0")?;
        seen.exited(0)?;
    }
    let beside = Seen::new(&outcome, "beside-links");
    beside.printed("mask /mnt 1 entries, chmod is done")?;
    beside.printed("mask /mnt/ptmx a file, chmod is done")?;
    beside.exited(0)
}

fn container_that_runs_the_binary_itself_does_not_change_it(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in ["itself", "interpreter"] {
        let ended = Seen::new(&outcome, id)
            .state("exited")
            .with_context(|| format!("{id} runs on"))?;
        ensure!(ended.raw["code"] != 0, "{id}: {:?}", ended.raw);
    }
    Ok(())
}

fn machine_outlives_all_attempts(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in ["masked", "open", "last"] {
        Seen::new(&outcome, id).exited(0)?;
    }
    outcome.assert(Ended::PowerOff, 125).map_err(Into::into)
}

/// A mount destination that is, from one moment to the next, a symbolic link to a directory of the
/// host (CVE-2021-30465), or in which files are to be made (CVE-2024-45310). Whether a container
/// starts is a matter of luck; where its files are made is not.
fn renamed_destinations_lead_nothing_out(lab: &Lab) -> Result<()> {
    const VICTIMS: usize = 40;
    const MOUNTS: usize = 40;
    let attacker = Bundle::new("a-racer")
        .mount("/mnt", "bind", "/shared", &["bind"])
        .mount("/host", "bind", "/outside", &["bind", "ro"])
        .runs([
            "/bin/guest",
            "escape",
            "swap",
            "/mnt/place",
            "/mnt/link",
            "/host",
        ]);
    let mut tree = disk::files([attacker])?
        .directory("outside")
        .directory("shared/place")
        .symlink("shared/link", "/outside");
    let ids: Vec<_> = (0..VICTIMS).map(|number| format!("b{number:02}")).collect();
    for id in &ids {
        let start = Bundle::new(id)
            .set("/root/path", json!("/containers/a-racer/rootfs"))
            .set(
                "/linux/maskedPaths",
                json!(["/mnt/place/f0", "/mnt/place/f1"]),
            )
            .set(
                "/linux/devices",
                json!([{ "path": format!("/mnt/place/{id}"), "type": "p" }]),
            )
            .mount("/mnt", "bind", "/shared", &["bind"]);
        let bundle = (0..MOUNTS).fold(start, |bundle, number| {
            bundle.mount(
                &format!("/mnt/place/{id}-{number}/x"),
                "tmpfs",
                "tmpfs",
                &[],
            )
        });
        tree = tree.file(format!("containers/{id}/config.json"), bundle.config());
    }
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(64))?;
    let vm = lab
        .machine("renamed_destinations_lead_nothing_out")?
        .cpus(2)
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?;
    for id in &ids {
        vm.expect(&format!("{id} to end"), |event| {
            event.is_container(id, "exited") || event.is_container(id, "failed")
        })?;
    }
    vm.ctrl_alt_delete()?;
    let outcome = vm.wait()?;
    let racer = Seen::new(&outcome, "a-racer");
    racer.printed("swapped often")?;
    racer.printed("looked outside")?;
    ensure!(
        racer.facts("outside").is_empty(),
        "{:?}",
        racer.facts("outside")
    );
    racer.exited(0)
}
