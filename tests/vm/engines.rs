//! Container engines that have berth as their runtime: Debian's podman and containerd, in a
//! container of PID 1's that is in the host's PID namespace, so that PID 1 inherits what they leave
//! behind. Outside of the matrix `side_by_side` runs the engines.

use std::time::Duration;

use anyhow::Result;
use berth_initramfs::Compression;
use berth_qemu::disk::Fs;
use berth_qemu::vm::Ended;
use berth_tests::{Bundle, Lab, MODULES, Seen, busybox, disk, engines};
use serde_json::json;

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    matrix podman_runs_its_containers_by_berth,
    matrix containerd_runs_its_containers_by_berth,
];

/// The programs are large, and interpreted instruction by instruction.
const DEADLINE: Duration = Duration::from_secs(600);

/// What podman is told; with each step the status that it ends with.
const PODMAN: &str = r#"
podman() {
    /usr/bin/podman --runtime /bin/berth --cgroup-manager cgroupfs --storage-driver vfs --events-backend file "$@"
}
quiet() { "$@" >/dev/null; }
step() { "$@"; echo "status $?"; }
step podman run --rm --network none --hostname inside --rootfs /box /bin/sh -c 'hostname; id -u; exit 7'
step podman run --network none --rootfs /box /bin/nothing 2>/dev/null
step podman run --network none --rootfs /box nothing 2>&1 | grep -o 'executable file not found in $PATH'
for program in nothing /etc; do step quiet podman run --network none --rootfs /box $program 2>/dev/null; done
step quiet podman run --detach --name two --memory 64m --pids-limit 50 --network none --rootfs /box /bin/sh -c 'trap "exit 3" TERM; sleep 1000 & wait'
step podman exec two /bin/cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max
step podman exec two /bin/sh -c 'exit 9'
step podman pause two
step podman ps --all --filter name=two --format '{{.State}}'
step podman unpause two
step quiet podman update --memory 100m two
step podman exec --tty --user 5 two /bin/sh -c 'id -u; test -t 0; cat /sys/fs/cgroup/memory.max'
step podman stop two
step podman inspect --format '{{.State.Status}} {{.State.ExitCode}}' two
step podman rm two
box() { step podman run --rm --network none "$@" 2>&1; }
echo typed | box --interactive --rootfs /box /bin/cat
box --memory 20m --rootfs /box /bin/sh -c 'x=aaaaaaaaaaaaaaaaaaaaaaaaaaa; while :; do x=$x$x; done'
box --read-only --tmpfs /tmp --rootfs /box /bin/sh -c 'touch /x; touch /tmp/y && echo made'
box --cap-drop all --cap-add net_bind_service --user 1000:1000 --rootfs /box \
    /bin/sh -c 'id; grep CapEff /proc/self/status'
box --device /dev/zero:/dev/other:r --ulimit nofile=100:200 --oom-score-adj 500 --rootfs /box \
    /bin/sh -c 'head -c 3 /dev/other | wc -c; ulimit -n; cat /proc/self/oom_score_adj'
step podman run --rm --network host --ipc host --pid host --uts host --cgroupns host --rootfs /box /bin/cat /proc/self/comm
mkdir /data /box/data && touch /data/file /box/etc/hosts /box/etc/hostname /box/etc/resolv.conf /box/run/.containerenv
mapped() {
    podman run --rm --network none --uidmap 0:100000:1000 --gidmap 0:100000:1000 --volume "$1" --rootfs /box \
        /bin/sh -c 'cat /proc/self/uid_map; stat -c %u:%g /data/file; touch /data/made' 2>&1
}
step mapped /data:/data
step mapped /data:/data:idmap
stat -c %u:%g /data/made
"#;

const PODMAN_SAYS: &[&str] = &[
    "inside",
    "0",
    "status 7",
    "status 127",
    "executable file not found in $PATH",
    "status 127",
    "status 126",
    "status 0",
    "67108864",
    "50",
    "status 0",
    "status 9",
    "two",
    "status 0",
    "paused",
    "status 0",
    "two",
    "status 0",
    "status 0",
    "5",
    "104857600",
    "status 0",
    "two",
    "status 0",
    "exited 3",
    "status 0",
    "two",
    "status 0",
    "typed",
    "status 0",
    "status 137",
    "touch: /x: Read-only file system",
    "made",
    "status 0",
    "uid=1000 gid=1000 groups=1000",
    "CapEff:\t0000000000000400",
    "status 0",
    "3",
    "100",
    "500",
    "status 0",
    "cat",
    "status 0",
    "         0     100000       1000",
    "65534:65534",
    "touch: /data/made: Permission denied",
    "status 1",
    "         0     100000       1000",
    "0:0",
    "status 0",
    "0:0",
];

/// Without the part that Kubernetes calls, which wants a network.
const CONTAINERD_SETTINGS: &str = r#"version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
"#;

/// What containerd's own command is told.
const CONTAINERD: &str = r#"
containerd --config /etc/containerd.toml 2>/run/containerd.log &
ctr --connect-timeout 120s version >/dev/null || cat /run/containerd.log
step() { "$@"; echo "status $?"; }
ctr() { /usr/bin/ctr "$@" 2>/run/ctr.log; }
step ctr run --runc-binary /bin/berth --rm --rootfs /box first /bin/sh -c 'id -u; exit 7'
step ctr run --runc-binary /bin/berth --detach --memory-limit 67108864 --rootfs /box two /bin/sleep 1000
cat /sys/fs/cgroup/default/two/memory.max
step ctr task exec --exec-id again two /bin/sh -c 'id -u; exit 9'
step ctr task pause two
ctr task ls | grep -c PAUSED
step ctr task resume two
step ctr task kill --signal SIGKILL two
step ctr task rm two
step ctr container rm two
"#;

const CONTAINERD_SAYS: &[&str] = &[
    "0", "status 7", "status 0", "67108864", "0", "status 9", "status 0", "1", "status 0",
    "status 0", "status 0", "status 0",
];

fn run(lab: &Lab, name: &str, script: &str, says: &[&str]) -> Result<()> {
    let engine = Bundle::new("engine")
        .set("/root/path", json!("/engines"))
        .set(
            "/process/env",
            json!(["PATH=/usr/sbin:/usr/bin:/bin", "HOME=/root"]),
        )
        .runs(["/bin/sh", "-c", script])
        .namespaces(&["mount", "uts", "ipc"])
        .mount("/sys", "sysfs", "sysfs", &[])
        .mount("/sys/fs/cgroup", "cgroup2", "cgroup2", &[])
        .mount("/run", "tmpfs", "tmpfs", &[])
        .mount("/tmp", "tmpfs", "tmpfs", &[]);
    let tree = engines(disk::files([engine])?, "engines")?
        .copy(lab.berth.clone(), "engines/bin/berth")
        .file("engines/etc/containerd.toml", CONTAINERD_SETTINGS);
    let mut tree = busybox(tree, "engines/box")?;
    for directory in ["dev", "etc", "proc", "run", "sys", "tmp"] {
        tree = tree.directory(format!("engines/box/{directory}"));
    }
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(600))?;
    let spec = lab.spec()?.load(MODULES);
    let vm = lab
        .machine_with(name, &spec.build(Compression::Zstd)?)
        .append("root=/dev/vda1")
        .memory(1024)
        .cpus(2)
        .deadline(DEADLINE)
        .blk(&root)
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    let said: Vec<_> = Seen::new(&outcome, "engine").lines().collect();
    anyhow::ensure!(said == says, "{said:#?}");
    Ok(())
}

fn podman_runs_its_containers_by_berth(lab: &Lab) -> Result<()> {
    run(
        lab,
        "podman_runs_its_containers_by_berth",
        PODMAN,
        PODMAN_SAYS,
    )
}

fn containerd_runs_its_containers_by_berth(lab: &Lab) -> Result<()> {
    run(
        lab,
        "containerd_runs_its_containers_by_berth",
        CONTAINERD,
        CONTAINERD_SAYS,
    )
}
