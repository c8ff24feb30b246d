//! Options of mounts, and mounts that are more than one call: many containers in one boot from an
//! ext4, on every kernel.

use anyhow::{Context, Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, MODULES, Seen, Shared, disk};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere each_word_is_seen_in_the_mount_or_its_filesystem,
    everywhere the_last_of_contradicting_words_wins,
    everywhere tmpfs_has_the_mode_of_what_it_covers,
    everywhere recursive_words_are_for_all_mounts_below_and_others_for_the_top,
    everywhere remount_changes_what_is_named_and_nothing_else,
    everywhere ids_of_a_bind_mount_are_mapped,
    everywhere ids_of_a_filesystem_are_mapped_where_the_kernel_can,
    everywhere ids_are_mapped_in_a_container_with_other_users,
    everywhere tmpfs_begins_with_a_copy_of_what_it_covers,
    everywhere cgroup_mount_is_the_containers_group_or_the_whole_hierarchy,
    everywhere overlay_has_its_layers_on_the_host,
    everywhere devices_are_bound_where_they_cannot_be_made,
    everywhere what_cannot_be_done_is_refused_by_name,
    everywhere every_other_container_ends_well,
];

static BOOT: Shared = Shared::new(boot);

fn facts(id: &str) -> Bundle {
    Bundle::new(id).runs(["/bin/guest", "facts"])
}

/// Layers whose paths are longer together than fsconfig(2) takes.
fn long_layers() -> String {
    let way = "./".repeat(100);
    format!("lowerdir=/data/{way}over:/data/{way}up")
}

/// One word on a tmpfs each: what it is in the mount's own options, and what in the filesystem's.
const WORDS: [(&str, &str, &str); 14] = [
    ("ro", "ro,relatime", "rw"),
    ("nosuid", "rw,nosuid,relatime", "rw"),
    ("nodev", "rw,nodev,relatime", "rw"),
    ("noexec", "rw,noexec,relatime", "rw"),
    ("noatime", "rw,noatime", "rw"),
    ("strictatime", "rw", "rw"),
    ("nodiratime", "rw,nodiratime,relatime", "rw"),
    ("nosymfollow", "rw,relatime,nosymfollow", "rw"),
    ("rro", "ro,relatime", "rw"),
    ("sync", "rw,relatime", "rw,sync"),
    ("dirsync", "rw,relatime", "rw,dirsync"),
    ("lazytime", "rw,relatime", "rw,lazytime"),
    ("defaults", "rw,relatime", "rw"),
    ("nofail", "rw,relatime", "rw"),
];

/// A list of words, and what comes of it.
const CONTRADICTIONS: [(&[&str], &str); 6] = [
    (&["ro", "rw"], "rw,relatime"),
    (&["rw", "ro"], "ro,relatime"),
    (&["noatime", "strictatime", "relatime"], "rw,relatime"),
    (&["relatime", "noatime"], "rw,noatime"),
    (&["nosuid", "noexec", "suid"], "rw,noexec,relatime"),
    (&["rnoexec", "exec"], "rw,relatime"),
];

/// From the ids in the filesystem to those that are seen.
fn maps(inside: u32, outside: u32) -> Value {
    json!([{ "containerID": inside, "hostID": outside, "size": 1 }])
}

/// User and group 0 inside are 100000 outside, and so on.
fn with_users(bundle: Bundle) -> Bundle {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    bundle
        .namespaces(&["mount", "pid", "uts", "ipc", "user"])
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
}

/// The last mount has its ids mapped: users from 0 to 1000, groups from 0 to 2000.
fn mapped(bundle: Bundle) -> Bundle {
    bundle
        .set("/mounts/2/uidMappings", maps(0, 1000))
        .set("/mounts/2/gidMappings", maps(0, 2000))
}

fn bundles() -> Vec<Bundle> {
    let words = WORDS.iter().fold(facts("words"), |bundle, (word, ..)| {
        bundle.mount(&format!("/mnt/{word}"), "tmpfs", "tmpfs", &[word])
    });
    let contradictions = CONTRADICTIONS.iter().enumerate();
    let contradictions = contradictions.fold(facts("contradictions"), |bundle, (n, (words, _))| {
        bundle.mount(&format!("/mnt/{n}"), "tmpfs", "tmpfs", words)
    });
    let inodes = |id: &str, paths: &[&str]| {
        Bundle::new(id).runs(
            ["/bin/guest", "inodes"]
                .into_iter()
                .chain(paths.iter().copied()),
        )
    };
    let copies = ["", "/file", "/deep", "/deep/tool", "/deep/link", "/socket"];
    let copies: Vec<_> = ["/etc/up", "/mnt"]
        .iter()
        .flat_map(|base| copies.map(|path| format!("{base}{path}")))
        .collect();
    let copies: Vec<_> = copies.iter().map(String::as_str).collect();
    vec![
        words,
        contradictions,
        facts("recursive")
            .mount("/mnt/top", "", "/dev", &["rbind", "ro", "nosymfollow"])
            .mount(
                "/mnt/all",
                "",
                "/dev",
                &[
                    "rbind",
                    "rro",
                    "rnoexec",
                    "rnosuid",
                    "rnodev",
                    "rnoatime",
                    "rnosymfollow",
                ],
            )
            .mount(
                "/mnt/none",
                "",
                "/dev",
                &["rbind", "rsuid", "rexec", "rdev", "rstrictatime"],
            )
            .mount("/mnt/but-top", "", "/dev", &["rbind", "rro", "rw"]),
        facts("remounts")
            .mount("/mnt", "", "/data", &["bind", "nosuid"])
            .mount("/mnt", "", "", &["bind", "remount", "ro", "noexec"])
            .mount("/tmp", "tmpfs", "tmpfs", &["size=1m", "ro"])
            .mount("/tmp", "", "", &["remount", "size=2m", "rw", "sync"])
            .mount("/", "", "", &["remount", "bind", "nosuid", "private"]),
        facts("covered")
            .mount("/mnt", "tmpfs", "tmpfs", &["size=1m"])
            .mount("/mnt/new", "tmpfs", "tmpfs", &[])
            .mount("/tmp", "tmpfs", "tmpfs", &["mode=1731"])
            .mount("/tmp", "tmpfs", "tmpfs", &[]),
        mapped(inodes("mapped-bind", &["/mnt/file", "/mnt/other"]).mount(
            "/mnt",
            "",
            "/data",
            &["bind", "idmap"],
        )),
        mapped(inodes("mapped-without-word", &["/mnt/file"]).mount("/mnt", "", "/data", &["bind"])),
        mapped(inodes("mapped-disk", &["/mnt/file"]).mount(
            "/mnt",
            "ext4",
            "/dev/vda2",
            &["ridmap"],
        )),
        // tmpfs has it from Linux 6.3.
        mapped(
            inodes("mapped-tmpfs", &["/mnt", "/mnt/file"])
                .directory("mnt/there")
                .mount("/mnt", "tmpfs", "tmpfs", &["idmap", "tmpcopyup"])
                .set("/root/path", json!("/data/for-tmpfs")),
        ),
        // Root of the disk is root inside, user 10 and group 20 inside, and nobody.
        with_users(inodes("users", &["/mnt/file"]).mount("/mnt", "", "/data", &["bind", "idmap"])),
        with_users(inodes("users-own", &["/mnt/file"]).mount("/mnt", "", "/data", &["bind"]))
            .set("/mounts/2/uidMappings", maps(0, 100_010))
            .set("/mounts/2/gidMappings", maps(0, 100_020)),
        with_users(inodes("users-none", &["/mnt/file"]).mount("/mnt", "", "/data", &["bind"])),
        mapped(facts("mapped-proc").mount("/mnt", "proc", "proc", &["idmap"])),
        inodes("copy", &copies)
            .mount("/mnt", "", "/data/up", &["bind", "ro"])
            .mount("/etc/up", "", "/data/up", &["bind"])
            .mount("/etc/up", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]),
        Bundle::new("copy-written")
            .mount("/mnt", "", "/data/up", &["bind"])
            .mount("/etc/up", "", "/data/up", &["bind", "ro"])
            .mount("/etc/up", "tmpfs", "tmpfs", &["tmpcopyup", "mode=710"])
            .runs([
                "/bin/guest",
                "look-at",
                "/etc/up",
                "/etc/up/deep/tool",
                "/mnt/.written",
            ]),
        Bundle::new("group-own")
            .namespaces(&["mount", "pid", "uts", "cgroup"])
            .mount(
                "/mnt",
                "cgroup",
                "cgroup",
                &["ro", "nosuid", "noexec", "nodev"],
            )
            .runs(["/bin/guest", "show", "/mnt/cgroup.procs"]),
        Bundle::new("group-whole")
            .mount("/mnt", "cgroup", "cgroup", &[])
            .runs([
                "/bin/guest",
                "look-at",
                "/mnt/berth/group-whole/cgroup.procs",
            ]),
        Bundle::new("overlay")
            .mount(
                "/mnt",
                "overlay",
                "overlay",
                &[&long_layers(), "upperdir=/data/upper", "workdir=/data/work"],
            )
            .runs([
                "/bin/guest",
                "look-at",
                "/mnt/file",
                "/mnt/deep/tool",
                "/mnt",
            ]),
        Bundle::new("unprivileged").runs(["/bin/guest", "unprivileged-dev"]),
    ]
}

/// More than the kernel takes in one write.
fn long_map() -> Value {
    (0..340_u32)
        .map(|id| json!({ "containerID": id * 2, "hostID": 1_000_000_000 + id * 2, "size": 1 }))
        .collect()
}

/// A container that fails, the code, and what the report says.
fn failing() -> Vec<(Bundle, &'static str, &'static str)> {
    let mount = |id, kind, source, options| Bundle::new(id).mount("/mnt", kind, source, options);
    vec![
        (
            mount("copy-of-what", "ext4", "/dev/vda2", &["tmpcopyup"]),
            "B051",
            "mounts[2].options needs the type tmpfs for tmpcopyup",
        ),
        (
            mount("no-maps", "", "/data", &["bind", "idmap"]),
            "B051",
            "mounts[2] needs both uidMappings and gidMappings for idmap",
        ),
        (
            mount("half-maps", "", "/data", &["bind", "idmap"])
                .set("/mounts/2/uidMappings", maps(0, 1)),
            "B051",
            "mounts[2] needs both uidMappings and gidMappings for idmap",
        ),
        (
            mount("unmapped", "", "/proc", &["bind", "idmap"])
                .set("/mounts/2/uidMappings", maps(0, 1))
                .set("/mounts/2/gidMappings", maps(0, 1)),
            "B053",
            "mount /mnt with mapped ids, which its filesystem cannot have for unmapped: EINVAL",
        ),
        (
            with_users(mount("users-unmapped", "", "/proc", &["bind", "idmap"])),
            "B053",
            "mount /mnt with mapped ids, which its filesystem cannot have for users-unmapped: EINVAL",
        ),
        (
            with_users(mount("long-maps", "", "/data", &["bind", "idmap"]))
                .set("/mounts/2/uidMappings", long_map())
                .set("/mounts/2/gidMappings", maps(0, 1)),
            "B053",
            "write to uidMappings for long-maps: E2BIG",
        ),
        (
            mount("bad-size", "tmpfs", "tmpfs", &["size=many"]),
            "B053",
            "mount tmpfs as tmpfs on /mnt: size=many for bad-size: EINVAL: tmpfs: Bad value for 'size'",
        ),
        (
            mount("nothing-there", "", "", &["remount", "ro"]),
            "B053",
            "mount /mnt again: nothing is mounted there for nothing-there: EINVAL",
        ),
        (
            mount("remount-size", "tmpfs", "tmpfs", &[]).mount(
                "/mnt",
                "",
                "",
                &["remount", "size=many"],
            ),
            "B053",
            "mount /mnt again: size=many for remount-size: EINVAL: tmpfs: Bad value for 'size'",
        ),
        (
            mount("still-read-only", "ext4", "/dev/vda3", &["ro"]).mount(
                "/mnt",
                "",
                "",
                &["remount", "rw"],
            ),
            "B053",
            "mount /mnt again: rw: the filesystem is read-only for still-read-only: EROFS",
        ),
        (
            Bundle::new("on-root").mount("/mnt/..", "tmpfs", "tmpfs", &[]),
            "B053",
            "mount /mnt/.., which is the root of the container for on-root: EBUSY",
        ),
        (
            mount("too-much", "", "/data/up", &["bind"]).mount(
                "/mnt",
                "tmpfs",
                "tmpfs",
                &["tmpcopyup", "nr_inodes=3"],
            ),
            "B053",
            "to the tmpfs on /mnt for too-much: ENOSPC",
        ),
    ]
}

fn boot(lab: &Lab) -> Result<Outcome> {
    let failing = failing().into_iter().map(|(bundle, ..)| bundle);
    let mut tree = disk::files(bundles().into_iter().chain(failing))?
        .file("data/file", "of root")
        .file("data/other", "of root too")
        .file("data/up/file", vec![b'x'; 70_000])
        .executable("data/up/deep/tool", "a tool")
        .symlink("data/up/deep/link", "/data/file")
        .socket("data/up/socket")
        .file("data/over/file", "above")
        .directory("data/upper")
        .directory("data/work")
        .copy(berth_tests::guest()?, "data/for-tmpfs/bin/guest")
        .file("data/for-tmpfs/mnt/file", "copied");
    for name in ["proc", "dev"] {
        tree = tree.directory(format!("data/for-tmpfs/{name}"));
    }
    let small = |label, uuid| {
        let tree = Tree::new().file("file", "of the ext4");
        Fs::ext4(label, Uuid::from_u128(uuid), tree)
    };
    let root = Disk::mbr(0xb0a7_0001)
        .partition(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(640))
        .partition(small("SECOND", 2))
        .partition(small("THIRD", 3))
        .build()?;
    let image = lab
        .spec()?
        .load(MODULES.into_iter().chain(["overlay"]))
        .build(Compression::Zstd)?;
    let vm = lab
        .machine_with("mount_options", &image)
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?;
    Ok(vm.wait()?)
}

fn each_word_is_seen_in_the_mount_or_its_filesystem(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "words");
    for (word, options, filesystem) in WORDS {
        let mount = seen.mount_at(&format!("/mnt/{word}"))?;
        ensure!(mount.options == options, "{word}: {mount:?}");
        // What tmpfs has to say for itself comes behind.
        let rest = mount.filesystem_options.strip_prefix(filesystem);
        ensure!(
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(",inode")),
            "{word}: {mount:?}"
        );
    }
    Ok(())
}

fn the_last_of_contradicting_words_wins(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for (number, (words, options)) in CONTRADICTIONS.iter().enumerate() {
        let mount = Seen::new(&outcome, "contradictions").mount_at(&format!("/mnt/{number}"))?;
        ensure!(mount.options == *options, "{words:?}: {mount:?}");
    }
    Ok(())
}

fn tmpfs_has_the_mode_of_what_it_covers(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "covered");
    for (point, mode) in [
        ("/mnt", Some("mode=755")),
        ("/mnt/new", None),
        ("/tmp", Some("mode=1731")),
    ] {
        let mut mounts = seen.mounts("mount")?;
        mounts.retain(|mount| mount.point == point);
        let mount = mounts.pop().context(point)?;
        let mut words = mount.filesystem_options.split(',');
        let found = words.find(|word| word.starts_with("mode="));
        ensure!(found == mode, "{point}: {mount:?}");
    }
    Ok(())
}

fn recursive_words_are_for_all_mounts_below_and_others_for_the_top(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "recursive");
    let options = |point: &str| -> Result<String> { Ok(seen.mount_at(point)?.options) };
    for (point, expected) in [
        ("top", "ro,nosuid,relatime,nosymfollow"),
        ("top/shm", "rw,nosuid,nodev,relatime"),
        ("top/pts", "rw,nosuid,noexec,relatime"),
        ("all", "ro,nosuid,nodev,noexec,noatime,nosymfollow"),
        ("all/shm", "ro,nosuid,nodev,noexec,noatime,nosymfollow"),
        ("all/pts", "ro,nosuid,nodev,noexec,noatime,nosymfollow"),
        ("none", "rw"),
        ("none/shm", "rw"),
        ("none/pts", "rw"),
        ("but-top", "rw,nosuid,relatime"),
        ("but-top/shm", "ro,nosuid,nodev,relatime"),
        ("but-top/pts", "ro,nosuid,noexec,relatime"),
    ] {
        let found = options(&format!("/mnt/{point}"))?;
        ensure!(found == expected, "{point}: {found}");
    }
    Ok(())
}

fn remount_changes_what_is_named_and_nothing_else(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "remounts");
    let bound = seen.mount_at("/mnt")?;
    ensure!(bound.options == "ro,nosuid,noexec,relatime", "{bound:?}");
    let tmpfs = seen.mount_at("/tmp")?;
    ensure!(tmpfs.options == "rw,relatime", "{tmpfs:?}");
    let has = |option| tmpfs.filesystem_options.split(',').any(|one| one == option);
    ensure!(has("size=2048k") && has("sync"), "{tmpfs:?}");
    let root = seen.mount_at("/")?;
    ensure!(root.options == "rw,nosuid,relatime", "{root:?}");
    ensure!(root.propagation.is_empty(), "{root:?}");
    seen.printed("root is writable")
}

/// Of each file: who it belongs to.
fn owners(seen: Seen<'_>) -> Vec<String> {
    let facts = seen.facts("inode");
    let owner = |line: &&str| line.split(' ').nth(2).map(str::to_owned);
    facts.iter().filter_map(owner).collect()
}

fn ids_of_a_bind_mount_are_mapped(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let found = owners(Seen::new(&outcome, "mapped-bind"));
    ensure!(found == ["1000:2000"; 2], "{found:?}");
    let found = owners(Seen::new(&outcome, "mapped-without-word"));
    ensure!(found == ["1000:2000"], "{found:?}");
    Ok(())
}

fn ids_of_a_filesystem_are_mapped_where_the_kernel_can(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let found = owners(Seen::new(&outcome, "mapped-disk"));
    ensure!(found == ["1000:2000"], "{found:?}");
    for (id, paths) in [("mapped-tmpfs", 2), ("mapped-proc", 0)] {
        let seen = Seen::new(&outcome, id);
        if seen.state("failed").is_none() {
            let found = owners(seen);
            ensure!(
                found == vec!["1000:2000"; paths] && paths > 0,
                "{id}: {found:?}"
            );
            continue;
        }
        let expected = format!(
            "mount /mnt with mapped ids, which its filesystem cannot have for {id}: EINVAL"
        );
        seen.failed("B053", &expected)?;
    }
    Ok(())
}

fn ids_are_mapped_in_a_container_with_other_users(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for (id, owner) in [
        ("users", "0:0"),
        ("users-own", "10:20"),
        ("users-none", "65534:65534"),
    ] {
        let found = owners(Seen::new(&outcome, id));
        ensure!(found == [owner], "{id}: {found:?}");
    }
    Ok(())
}

fn tmpfs_begins_with_a_copy_of_what_it_covers(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "copy");
    let inodes = seen.facts("inode");
    // Without the path, and without the number of links, which is a directory's own affair.
    let below = |base: &str| -> Vec<Vec<String>> {
        let of_base = inodes.iter().filter_map(|line| line.strip_prefix(base));
        of_base
            .map(|line| {
                let words = line.split(' ').enumerate();
                words
                    .filter(|(n, _)| *n != 4)
                    .map(|(_, word)| word.to_owned())
                    .collect()
            })
            .collect()
    };
    let [copy, original] = [below("/etc/up"), below("/mnt")];
    ensure!(
        copy.len() == 6 && copy == original,
        "{copy:#?}\n{original:#?}"
    );
    let written = Seen::new(&outcome, "copy-written");
    written.printed("at /etc/up directory, is writable")?;
    written.printed("at /etc/up/deep/tool file \"a tool\", is writable")?;
    written.printed("at /mnt/.written nothing")
}

fn cgroup_mount_is_the_containers_group_or_the_whole_hierarchy(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "group-own").printed("1")?;
    let whole = Seen::new(&outcome, "group-whole");
    whole.printed("at /mnt/berth/group-whole/cgroup.procs file \"1\", is writable")
}

fn overlay_has_its_layers_on_the_host(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "overlay");
    seen.printed("at /mnt/file file \"above\", is writable")?;
    seen.printed("at /mnt/deep/tool file \"a tool\", is writable")?;
    seen.printed("at /mnt directory, is writable")
}

fn devices_are_bound_where_they_cannot_be_made(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "unprivileged");
    for (name, number, opens) in [
        ("null", "1:3", "readable"),
        ("zero", "1:5", "readable"),
        ("full", "1:7", "readable"),
        ("random", "1:8", "readable"),
        ("urandom", "1:9", "readable"),
        // There is no terminal.
        ("tty", "5:0", "ENXIO"),
    ] {
        seen.printed(&format!("node /tmp/{name} char {number} {opens}"))?;
        seen.mount_at(&format!("/tmp/{name}"))?;
    }
    seen.printed("points to /proc/self/fd")
}

fn what_cannot_be_done_is_refused_by_name(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for (bundle, code, text) in failing() {
        Seen::new(&outcome, bundle.id()).failed(code, text)?;
    }
    Ok(())
}

fn every_other_container_ends_well(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    // What these can have depends on the kernel.
    let depends = ["mapped-tmpfs", "mapped-proc"];
    for bundle in bundles()
        .iter()
        .filter(|bundle| !depends.contains(&bundle.id()))
    {
        Seen::new(&outcome, bundle.id()).exited(0)?;
    }
    Ok(outcome.assert(Ended::PowerOff, 125)?)
}
