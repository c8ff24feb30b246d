//! Hundreds of containers in one boot, and all that PID 1 takes besides: nothing of them is left,
//! on the machine and in PID 1.
//!
//! PID 1 itself starts what is in its directory of bundles, and that is 256 at most; all others are
//! started by the command, whose orphans PID 1 inherits and collects.

use std::collections::BTreeMap;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::{Disk, DiskImage, Fs, Type};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, MODULES, Seen, Shared, disk, guest};
use serde_json::json;
use uuid::Uuid;

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere hundreds_of_containers_of_the_command_leave_nothing_behind,
    once every_bundle_that_pid_1_takes_leaves_nothing_behind,
];

/// By the command. What one of them leaves behind is seen in 100 of them; the matrix has ten times
/// as many.
const COUNT: usize = 100;

/// Says another number of them.
const COUNT_VARIABLE: &str = "BERTH_TEST_CONTAINERS";

/// Of each kind, by PID 1.
const EACH: usize = 9;

/// An emulated machine runs three or four containers a second.
const DEADLINE: Duration = Duration::from_secs(900);

static MANY: Shared = Shared::new(|lab| boot(lab, "many", EACH, count()?));
static FEW: Shared = Shared::new(|lab| boot(lab, "few", 1, 0));

fn count() -> Result<usize> {
    match env::var(COUNT_VARIABLE) {
        Ok(count) => count.parse().context(COUNT_VARIABLE),
        Err(_) => Ok(COUNT),
    }
}

fn image() -> Result<DiskImage> {
    let tree = ["dev", "proc", "sys", "tmp"].into_iter();
    let tree = tree.fold(Tree::new(), Tree::directory);
    let tree = tree.copy(guest()?, "bin/guest");
    Disk::bare(Fs::of_type(Type::Squashfs, "", Uuid::nil(), tree)).build()
}

/// The kinds that PID 1 starts, and the status that each ends with; `None` for those that do not
/// begin.
fn kinds() -> [(&'static str, Option<i64>, Bundle); 7] {
    let bundle = |name: &str| Bundle::new(name).runs(["/bin/guest", "exit", "0"]);
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["keyctl"], "action": "SCMP_ACT_ERRNO" }],
    });
    let mounts = bundle("mounts")
        .mount("/tmp", "tmpfs", "tmpfs", &["size=1m"])
        .mount("/mnt", "", "/bin", &["rbind", "rro"])
        .set("/linux/maskedPaths", json!(["/proc/kcore", "/proc/keys"]));
    let confined = bundle("confined")
        .set("/linux/seccomp", filter)
        .set("/linux/resources", json!({ "pids": { "limit": 20 } }));
    let user = json!([{ "containerID": 0, "hostID": 0, "size": 1000 }]);
    let mapped = bundle("user")
        .set("/linux/namespaces/-", json!({ "type": "user" }))
        .set("/linux/uidMappings", user.clone())
        .set("/linux/gidMappings", user);
    [
        ("plain", Some(0), bundle("plain")),
        ("mounts", Some(0), mounts),
        ("confined", Some(0), confined),
        (
            "image",
            Some(0),
            bundle("image").annotation("berth.image", "app.img"),
        ),
        ("user", Some(0), mapped),
        (
            "no-program",
            None,
            bundle("no-program").runs(["/bin/nothing"]),
        ),
        (
            "bad-mount",
            None,
            bundle("bad-mount").mount("/mnt", "", "/nowhere", &["bind"]),
        ),
    ]
}

fn boot(lab: &Lab, name: &str, each: usize, count: usize) -> Result<Outcome> {
    let image = fs::read(image()?)?;
    let driver = Bundle::new("driver").namespaces(&["mount", "uts"]).runs([
        "/bin/guest",
        "many",
        "/bin/berth",
        "/app.img",
        &count.to_string(),
    ]);
    let mut bundles = vec![driver];
    for (name, _, bundle) in kinds() {
        bundles.extend((0..each).map(|number| bundle.clone().named(&format!("{name}-{number}"))));
    }
    let mut tree = disk::files(bundles)?
        .copy(lab.berth.clone(), "bin/berth")
        .copy(guest()?, "bin/guest")
        .file("app.img", &image[..])
        .directory("many");
    for number in 0..each {
        tree = tree.file(format!("containers/image-{number}/app.img"), &image[..]);
    }
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(900))?;
    let spec = lab.spec()?.load(MODULES).load(["loop", "squashfs"]);
    let image = spec.build(Compression::Zstd)?;
    let vm = lab
        .machine_with(name, &image)
        .append("root=/dev/vda1")
        .blk(&root)
        .deadline(DEADLINE)
        .start()?;
    Ok(vm.wait()?)
}

/// What the driver has said of that time, by name.
fn account(outcome: &Outcome, when: &str) -> Result<BTreeMap<String, u64>> {
    let lines: Vec<_> = Seen::new(outcome, "driver").lines().collect();
    let mut found = BTreeMap::new();
    for line in lines.iter().filter_map(|line| line.strip_prefix(when)) {
        let (number, name) = line.trim_start().split_once(' ').context("a number")?;
        found.insert(name.to_owned(), number.parse()?);
    }
    ensure!(found.len() > 10, "{lines:#?}");
    Ok(found)
}

fn hundreds_of_containers_of_the_command_leave_nothing_behind(lab: &Lab) -> Result<()> {
    let outcome = MANY.outcome(lab)?;
    outcome.assert_ended(Ended::PowerOff)?;
    let driver = Seen::new(&outcome, "driver");
    driver.printed(&format!("many {} were run", count()?))?;
    driver.exited(0)?;
    let (before, after) = (account(&outcome, "before")?, account(&outcome, "after")?);
    ensure!(before == after, "before {before:#?}\nafter {after:#?}");
    Ok(())
}

/// Memory is not compared, but that nothing was mapped: what PID 1 knows of a container has its
/// place from the beginning, and is in memory once it was used.
fn every_bundle_that_pid_1_takes_leaves_nothing_behind(lab: &Lab) -> Result<()> {
    let (many, few) = (MANY.outcome(lab)?, FEW.outcome(lab)?);
    for (outcome, each) in [(&many, EACH), (&few, 1)] {
        outcome.assert_ended(Ended::PowerOff)?;
        for (name, status, _) in kinds() {
            for number in 0..each {
                let id = format!("{name}-{number}");
                let seen = Seen::new(outcome, &id);
                match status {
                    Some(status) => seen.exited(status)?,
                    None => {
                        seen.state("failed").with_context(|| format!("{id} ran"))?;
                    }
                }
            }
        }
    }
    let counted = |outcome| {
        let mut account = account(outcome, "others")?;
        account.retain(|name, _| !name.starts_with("KiB"));
        Ok::<_, anyhow::Error>(account)
    };
    let (many, few) = (counted(&many)?, counted(&few)?);
    ensure!(many == few, "many {many:#?}\nfew {few:#?}");
    Ok(())
}
