//! Volumes with mapped ids in containers that have other users than the host: whose files are
//! whose, seen from both sides.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use serde_json::{Value, json};

use super::lab::{Lab, USER};
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    MappedIds owners_are_the_same_inside_and_on_the_hosts_disk,
    MappedIds mounts_own_maps_lead_to_the_ids_of_the_host,
    MappedIds volume_that_is_tied_to_the_host_is_mapped,
    MappedIds what_is_mounted_below_is_mapped_if_that_is_asked_for,
    MappedIds what_the_host_has_read_only_stays_so_inside,
    MappedIds new_filesystem_has_the_ids_of_the_container_or_its_own,
    MappedIds what_cannot_be_mapped_is_named,
    MappedIds nothing_is_left_of_what_maps_ids,
    UserNamespaces user_without_rights_cannot_have_ids_mapped,
    MappedIds joined_namespace_has_the_maps_that_are_asked_for,
    MappedIds what_only_the_hosts_root_may_go_to_is_the_containers_all_the_same,
];

/// User 0 is another one outside.
const FIRST: u32 = 100_000;

const ONE: [&str; 4] = ["run", "--bundle", "b", "one"];

fn map(inside: u32, outside: u32, size: u32) -> Value {
    json!([{ "containerID": inside, "hostID": outside, "size": size }])
}

fn set_maps(of: &mut Value, maps: &Value) {
    of["uidMappings"] = maps.clone();
    of["gidMappings"] = maps.clone();
}

fn push(list: &mut Value, item: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    }
}

/// A user namespace of its own, and this mounted on `/mnt`.
fn with_users(config: &mut Value, mount: Value) {
    push(
        &mut config["linux"]["namespaces"],
        json!({ "type": "user" }),
    );
    set_maps(&mut config["linux"], &map(0, FIRST, 65536));
    push(&mut config["mounts"], mount);
}

fn bind(source: &Path, options: &[&str]) -> Value {
    json!({ "destination": "/mnt", "source": source, "options": options })
}

/// A directory with files of the users 0 and 1000.
fn volume(lab: &Lab, name: &str) -> Result<PathBuf> {
    let directory = lab.directory.join(name);
    fs::create_dir(&directory)?;
    for id in [0, 1000] {
        let file = directory.join(format!("of-{id}"));
        fs::write(&file, "")?;
        chown(&file, Some(id), Some(id))?;
    }
    Ok(directory)
}

/// Writes the bundle `b`, which makes a file for user 0 and one for user 1000 on `/mnt` and tells
/// whose all are.
fn bundle(lab: &Lab, change: impl FnOnce(&mut Value)) -> Result<()> {
    lab.bundle_with("b", &["own", "/mnt"], |config| {
        // It gives files away.
        config["annotations"]["berth.privileged"] = json!("true");
        change(config);
    })
    .map(drop)
}

/// As engines have it: rootfs and volumes in directories that are closed to others, users of the
/// container included.
fn what_only_the_hosts_root_may_go_to_is_the_containers_all_the_same(lab: &Lab) -> Result<()> {
    let closed = lab.directory.join("closed");
    let open = closed.join("open");
    fs::create_dir_all(&open)?;
    fs::write(open.join("text"), "told")?;
    for options in [
        &["bind"][..],
        &["rbind", "ro"],
        &["bind", "idmap"],
        &["bind", "rprivate"],
    ] {
        lab.bundle_with("closed/b", &["show", "/mnt/text"], |config| {
            with_users(config, bind(&open, options));
        })?;
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700))?;
        // Of the host's root, of a user that is none of the container's, and of one of those.
        for owner in [0, 1234, FIRST + 1] {
            chown(&closed, Some(owner), Some(owner))?;
            let said = lab.ok(&["run", "--bundle", "closed/b", "one"])?;
            ensure!(said == "told", "{options:?} {owner}: {said}");
        }
        chown(&closed, Some(0), Some(0))?;
    }
    lab.bundle_with("closed/b", &["show", "/mnt/text"], |config| {
        with_users(config, bind(&closed.join("nothing"), &["bind"]));
    })?;
    chown(&closed, Some(1234), Some(1234))?;
    let says = ["closed/nothing", "ENOENT", "[B053]"];
    lab.fails(&["run", "--bundle", "closed/b", "one"], 125, &says)?;
    Ok(())
}

/// What it says of these files.
fn says(said: &str, files: &[(&str, &str)]) -> Result<()> {
    for (name, owner) in files {
        let line = format!("owner /mnt/{name} {owner}");
        ensure!(said.lines().any(|one| one == line), "no {line:?} in {said}");
    }
    Ok(())
}

/// Whose a file is on the disk.
fn is_on_disk(file: &Path, id: u32) -> Result<()> {
    let found = fs::metadata(file).with_context(|| file.display().to_string())?;
    let owners = [found.uid(), found.gid()];
    ensure!(owners == [id; 2], "{}: {owners:?}", file.display());
    Ok(())
}

fn owners_are_the_same_inside_and_on_the_hosts_disk(lab: &Lab) -> Result<()> {
    let maps = map(0, FIRST, 65536);
    for (name, word, maps) in [("a", "idmap", None), ("b", "nosuid", Some(&maps))] {
        let data = volume(lab, &format!("data-{name}"))?;
        bundle(lab, |config| {
            let mut mount = bind(&data, &["bind", word]);
            if let Some(maps) = maps {
                set_maps(&mut mount, maps);
            }
            with_users(config, mount);
            // Who waits for the builder, waits for the hooks behind that.
            config["hooks"] = json!({ "createRuntime": [{
                "path": std::env::current_exe().unwrap_or_default(),
                "args": ["guest", "append", data.join("hook"), "ran"],
            }] });
        })?;
        says(
            &lab.ok(&ONE)?,
            &[
                ("of-0", "0:0"),
                ("of-1000", "1000:1000"),
                ("made", "0:0"),
                ("made-1000", "1000:1000"),
                ("hook", "0:0"),
            ],
        )?;
        is_on_disk(&data.join("made"), 0)?;
        is_on_disk(&data.join("made-1000"), 1000)?;
    }
    Ok(())
}

fn mounts_own_maps_lead_to_the_ids_of_the_host(lab: &Lab) -> Result<()> {
    let data = volume(lab, "data")?;
    chown(&data, Some(1000), Some(1000))?;
    bundle(lab, |config| {
        let mut mount = bind(&data, &["bind", "idmap"]);
        // The user 1000 of the disk is root inside, and 2000 is 1000.
        let range = |inside: u32, outside: u32| json!({ "containerID": inside, "hostID": outside, "size": 1 });
        set_maps(
            &mut mount,
            &json!([range(1000, FIRST), range(2000, FIRST + 1000)]),
        );
        with_users(config, mount);
    })?;
    says(
        &lab.ok(&ONE)?,
        &[
            ("of-0", "65534:65534"),
            ("of-1000", "0:0"),
            ("made", "0:0"),
            ("made-1000", "1000:1000"),
        ],
    )?;
    is_on_disk(&data.join("made"), 1000)?;
    is_on_disk(&data.join("made-1000"), 2000)
}

/// Its copy is made earlier than the others.
fn volume_that_is_tied_to_the_host_is_mapped(lab: &Lab) -> Result<()> {
    let data = volume(lab, "data")?;
    bundle(lab, |config| {
        with_users(config, bind(&data, &["rbind", "ridmap", "slave"]));
        config["linux"]["rootfsPropagation"] = json!("private");
    })?;
    says(&lab.ok(&ONE)?, &[("of-0", "0:0"), ("made", "0:0")])?;
    is_on_disk(&data.join("made"), 0)
}

/// Runs `action` while `what` is mounted on `place`.
fn while_bound<T>(what: &Path, place: &Path, action: impl FnOnce() -> Result<T>) -> Result<T> {
    mount_bind(what, place)?;
    let result = action();
    unmount(place, UnmountFlags::DETACH)?;
    result
}

fn what_is_mounted_below_is_mapped_if_that_is_asked_for(lab: &Lab) -> Result<()> {
    let data = volume(lab, "data")?;
    let other = volume(lab, "other")?;
    let below = data.join("below");
    fs::create_dir(&below)?;
    while_bound(&other, &below, || {
        for (word, owner) in [("idmap", "65534:65534"), ("ridmap", "1000:1000")] {
            bundle(lab, |config| {
                with_users(config, bind(&data, &["rbind", word]));
            })?;
            says(
                &lab.ok(&ONE)?,
                &[("of-1000", "1000:1000"), ("below/of-1000", owner)],
            )?;
        }
        Ok(())
    })
}

/// As in every mount that a user namespace has of the host's, its attributes are locked
/// (mount_namespaces(7)).
fn what_the_host_has_read_only_stays_so_inside(lab: &Lab) -> Result<()> {
    let data = volume(lab, "data")?;
    while_bound(&data, &data, || {
        rustix::mount::mount_remount(
            &data,
            rustix::mount::MountFlags::BIND | rustix::mount::MountFlags::RDONLY,
            c"",
        )?;
        lab.bundle_with("b", &["make-writable", "/mnt"], |config| {
            with_users(config, bind(&data, &["bind", "idmap"]));
        })?;
        let said = lab.ok(&ONE)?;
        ensure!(said == "make /mnt writable: EPERM\n", "{said}");
        Ok(())
    })
}

fn new_filesystem_has_the_ids_of_the_container_or_its_own(lab: &Lab) -> Result<()> {
    let tmpfs = || json!({ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["idmap"] });
    bundle(lab, |config| with_users(config, tmpfs()))?;
    let owners = [("made", "0:0"), ("made-1000", "1000:1000")];
    says(&lab.ok(&ONE)?, &owners)?;
    // User 0 of the container is 1000 of that filesystem, to whom root's directory in it belongs.
    bundle(lab, |config| {
        let mut tmpfs = tmpfs();
        tmpfs["options"] = json!(["uid=1000", "gid=1000"]);
        set_maps(&mut tmpfs, &map(1000, FIRST, 1001));
        with_users(config, tmpfs);
    })?;
    // Linux 6.3 has it.
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let numbers: Vec<u32> = release.split('.').map_while(|it| it.parse().ok()).collect();
    if numbers >= vec![6, 3] {
        return says(&lab.ok(&ONE)?, &owners);
    }
    let why = "mount /mnt with mapped ids, which its filesystem cannot have for one: EINVAL";
    lab.fails(&ONE, 125, &[why, "[B053]"]).map(drop)
}

fn what_cannot_be_mapped_is_named(lab: &Lab) -> Result<()> {
    let why = "mount /mnt with mapped ids, which its filesystem cannot have for one: EINVAL";
    for source in ["/proc", "/sys"] {
        bundle(lab, |config| {
            with_users(config, bind(Path::new(source), &["rbind", "idmap"]));
        })?;
        lab.fails(&ONE, 125, &[why, "tmpfs from Linux 6.3", "[B053]"])?;
    }
    Ok(())
}

/// What there is of the case on the host: mounts, and processes that were started in its directory.
fn traces(lab: &Lab) -> Result<Vec<String>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let directory = lab.directory.to_str().context("a path")?;
    let mounts = mounts.lines().filter(|line| line.contains(directory));
    let processes = fs::read_dir("/proc")?.filter_map(|entry| {
        let path = entry.ok()?.path();
        let is_here = fs::read_link(path.join("cwd")).ok()? == lab.directory;
        is_here.then(|| path.display().to_string())
    });
    Ok(mounts.map(str::to_owned).chain(processes).collect())
}

fn nothing_is_left_of_what_maps_ids(lab: &Lab) -> Result<()> {
    let data = volume(lab, "data")?;
    let mut descriptors = Vec::new();
    for options in [&["bind"][..], &["bind", "idmap"]] {
        lab.bundle_with("b", &["facts"], |config| {
            let mut maps = bind(&data, options);
            if options.len() > 1 {
                set_maps(&mut maps, &map(0, FIRST, 1));
            }
            with_users(config, maps);
        })?;
        let said = lab.ok(&ONE)?;
        let open = said.lines().filter(|line| line.starts_with("descriptor "));
        let open: Vec<_> = open.map(str::to_owned).collect();
        ensure!(!open.is_empty(), "{said}");
        descriptors.push(open);
    }
    ensure!(descriptors[0] == descriptors[1], "{descriptors:?}");
    // Also if the second of two fails, when a helper has been there and the first is mapped.
    bundle(lab, |config| {
        let mut mount = bind(&data, &["bind", "idmap"]);
        set_maps(&mut mount, &map(0, FIRST, 1));
        with_users(config, mount.clone());
        mount["source"] = json!("/proc");
        push(&mut config["mounts"], mount);
    })?;
    lab.fails(&ONE, 125, &["which its filesystem cannot have"])?;
    let left = traces(lab)?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

fn user_without_rights_cannot_have_ids_mapped(lab: &Lab) -> Result<()> {
    let bundle = lab.bundle("b", &["own", "/mnt"])?;
    chown(&bundle, Some(USER), Some(USER))?;
    let file = bundle.join("config.json");
    fs::remove_file(&file)?;
    lab.become_user()?;
    lab.ok(&["spec", "--rootless", "--bundle", "b"])?;
    let written: Value = serde_json::from_slice(&fs::read(&file)?)?;
    // It is all the same whose ids they would be.
    for maps in [None, Some(map(0, USER, 1)), Some(map(0, 0, 2))] {
        let mut config = written.clone();
        config["process"]["terminal"] = json!(false);
        let mut mount = bind(&lab.directory, &["bind", "idmap"]);
        if let Some(maps) = maps {
            set_maps(&mut mount, &maps);
        }
        push(&mut config["mounts"], mount);
        fs::write(&file, config.to_string())?;
        let why = "mount /mnt with mapped ids for one: EPERM";
        lab.fails(
            &ONE,
            125,
            &[
                why,
                "CAP_SYS_ADMIN and CAP_SYS_PTRACE on the host",
                "[B053]",
            ],
        )?;
    }
    Ok(())
}

fn joined_namespace_has_the_maps_that_are_asked_for(lab: &Lab) -> Result<()> {
    let data = volume(lab, "data")?;
    lab.bundle_with("h", &["stay"], |config| {
        with_users(config, bind(&data, &["bind"]));
    })?;
    lab.leaves(&["run", "--detach", "--bundle", "h", "holder"])?;
    let path = format!("/proc/{}/ns/user", lab.state("holder")?["pid"]);
    let joining = |maps: Option<[&Value; 2]>, mount: Value| {
        bundle(lab, |config| {
            let user = json!({ "type": "user", "path": path });
            push(&mut config["linux"]["namespaces"], user);
            if let Some([users, groups]) = maps {
                config["linux"]["uidMappings"] = users.clone();
                config["linux"]["gidMappings"] = groups.clone();
            }
            push(&mut config["mounts"], mount);
        })
    };
    let whole = map(0, FIRST, 65536);
    // The same, cut and turned round.
    let cut = json!([
        { "containerID": 1000, "hostID": FIRST + 1000, "size": 64536 },
        { "containerID": 0, "hostID": FIRST, "size": 1000 },
    ]);
    for (number, maps) in [None, Some([&whole, &cut])].into_iter().enumerate() {
        let data = volume(lab, &format!("data-{number}"))?;
        joining(maps, bind(&data, &["bind", "idmap"]))?;
        says(
            &lab.ok(&ONE)?,
            &[("of-0", "0:0"), ("made-1000", "1000:1000")],
        )?;
        is_on_disk(&data.join("made-1000"), 1000)?;
    }
    for other in [
        map(0, FIRST, 65535),
        map(0, FIRST + 1, 65536),
        map(1, FIRST, 65536),
        map(0, FIRST, 65537),
    ] {
        let [inside, outside, size] =
            ["containerID", "hostID", "size"].map(|name| other[0][name].clone());
        for (maps, field) in [
            ([&other, &whole], "linux.uidMappings"),
            ([&whole, &other], "linux.gidMappings"),
        ] {
            joining(Some(maps), bind(&data, &["bind"]))?;
            let why = format!(
                "join the user namespace: it has [0 100000 65536], but {field} is [{inside} {outside} {size}] for one: EINVAL"
            );
            lab.fails(&ONE, 125, &[&why, "correct config.json", "[B053]"])?;
        }
    }
    Ok(())
}
