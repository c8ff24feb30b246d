//! `linux.intelRdt` on a resctrl filesystem of the kernel's. No emulated processor has what that is
//! for; but Linux 7 believes in it when it is told (`setcpuid=`), and QEMU takes writes to
//! registers that it does not have. Of groups there is then one, as the processor says nothing of
//! more: their number is changed in the kernel's memory, by way of QEMU's port for debuggers. Older
//! kernels have nothing mounted, and refuse.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, bail, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::Fs;
use berth_qemu::kernel::Series;
use berth_qemu::vm::{Ended, Outcome, Vm};
use berth_tests::{Bundle, Lab, MODULES, busybox, disk, field, line};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] =
    cases![matrix groups_of_resctrl_are_made_joined_and_removed_where_the_kernel_has_it];

/// Mounts it until there are groups enough, and has berth run each bundle.
const SCRIPT: &str = r#"
rdt=/sys/fs/resctrl
if [ "$1" = with ]; then
    echo address $(grep ' rdt_resources_all$' /proc/kallsyms)
    until mount -t resctrl resctrl $rdt && [ "$(cat $rdt/info/L3/num_closids)" = 2 ]; do
        umount $rdt
        sleep 1
    done
fi
berth create -b /bundles/own held </dev/null >/dev/null 2>&1
echo "held is" $(cat $rdt/held/tasks | wc -l)
berth delete --force held
echo "held leaves" $(cd $rdt && ls -d held 2>/dev/null)
for id in own wrong unknown gold again other absent top figures full; do
    echo "$id says" $(berth run -b /bundles/$id $id 2>&1 | head -n 2)
    echo "$id leaves" $(cd $rdt && ls -d */ | grep -v info | tr -d /)
done
"#;

/// Bundles, what they ask for, what is said (behind `berth: error: run: `, if it is no success),
/// and which groups are there afterwards.
fn table() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    vec![
        ("own", json!({ "schemata": ["L3:0=1"] }), "res:own mon:", ""),
        (
            "wrong",
            json!({ "schemata": ["L3:0=fffff"] }),
            "write to /sys/fs/resctrl/wrong/schemata: Mask out of range for wrong: EINVAL",
            "",
        ),
        (
            "unknown",
            json!({ "schemata": ["L9:0=1"] }),
            "write to /sys/fs/resctrl/unknown/schemata: Unknown or unsupported resource name 'L9' for unknown: EINVAL",
            "",
        ),
        (
            "gold",
            json!({ "closID": "gold", "l3CacheSchema": "L3:0=3" }),
            "res:gold mon:",
            "gold",
        ),
        (
            "again",
            json!({ "closID": "gold" }),
            "res:gold mon:",
            "gold",
        ),
        (
            "other",
            json!({ "closID": "gold", "schemata": ["L3:0=1"] }),
            "set up linux.intelRdt: /sys/fs/resctrl/gold exists and lacks L3:0=1 for other: EINVAL",
            "gold",
        ),
        (
            "absent",
            json!({ "closID": "tin" }),
            "open /sys/fs/resctrl/tin for absent: ENOENT",
            "gold",
        ),
        ("top", json!({ "closID": "/" }), "res:/ mon:", "gold"),
        // The kernel is not told that there are figures.
        (
            "figures",
            json!({ "closID": "gold", "enableMonitoring": true }),
            "create /sys/fs/resctrl/gold/mon_groups/figures",
            "gold",
        ),
        (
            "full",
            json!({ "schemata": ["L3:0=1"] }),
            "create /sys/fs/resctrl/full: Out of CLOSIDs for full: ENOSPC",
            "gold",
        ),
    ]
}

fn start(lab: &Lab, word: &str, arguments: &[&str]) -> Result<Vm> {
    let mut tree = disk::files([])?
        .copy(lab.berth.clone(), "bin/berth")
        .copy(berth_tests::guest()?, "bin/guest")
        .file("try", SCRIPT);
    for (id, rdt, ..) in table() {
        let bundle = Bundle::new(id)
            .runs(["/bin/sh", "-c", "cat /proc/self/cpu_resctrl_groups"])
            .set("/root/path", json!("/box"))
            .set("/linux/intelRdt", rdt);
        tree = tree.file(format!("bundles/{id}/config.json"), bundle.config());
    }
    let mut tree = busybox(busybox(tree, "")?, "box")?;
    for directory in ["box/dev", "box/proc", "box/sys", "tmp"] {
        tree = tree.directory(directory);
    }
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(64))?;
    let image = lab.spec()?.load(MODULES).build(Compression::Zstd)?;
    lab
        .machine_with("resctrl", &image)
        .append(format!(
            "root=LABEL=BERTH nopti setcpuid=rdt_a,cat_l3 init=/bin/guest -- report /bin/sh /try {word}"
        ))
        .arguments(arguments.iter().copied())
        .blk(&root)
        .start()
}

fn groups_of_resctrl_are_made_joined_and_removed_where_the_kernel_has_it(lab: &Lab) -> Result<()> {
    if lab.series != Series::V7 {
        let outcome = start(lab, "without", &[])?.wait()?;
        let needed = "set up linux.intelRdt, without a resctrl filesystem at /sys/fs/resctrl";
        for (id, ..) in table() {
            says(&outcome, id, needed, "")?;
        }
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("debugger");
    let port = format!("unix:{},server=on,wait=off", socket.display());
    let vm = start(
        lab,
        "with",
        &["-cpu", "Icelake-Server,l3-cache=on", "-gdb", &port],
    )?;
    let told = vm.expect("where the kernel has its resources", |event| {
        line(event).is_some_and(|(_, line)| line.starts_with("address "))
    })?;
    let told = field(&told, "line").unwrap_or_default();
    let address = told.split(' ').nth(1).context("no address")?;
    allow_groups(&socket, u64::from_str_radix(address, 16)?)?;
    let outcome = vm.wait()?;
    for (id, _, said, left) in table() {
        says(&outcome, id, said, left)?;
    }
    let lines: Vec<_> = outcome.events.iter().filter_map(line).collect();
    for expected in ["held is 1", "held leaves"] {
        ensure!(lines.contains(&("init", expected)), "{lines:#?}");
    }
    Ok(())
}

fn says(outcome: &Outcome, id: &str, said: &str, left: &str) -> Result<()> {
    outcome.assert_ended(Ended::PowerOff)?;
    let lines: Vec<_> = outcome.events.iter().filter_map(line).collect();
    let find = |topic: &str| {
        let found = lines.iter().find_map(|(_, line)| line.strip_prefix(topic));
        found
            .map(str::trim)
            .with_context(|| format!("no {topic:?} in {lines:#?}"))
    };
    let found = find(&format!("{id} says"))?;
    let found = found.strip_prefix("berth: error: run: ").unwrap_or(found);
    ensure!(found.starts_with(said), "{id}: {found:?}, not {said:?}");
    let found = find(&format!("{id} leaves"))?;
    ensure!(found == left, "{id} leaves {found:?}, not {left:?}");
    Ok(())
}

/// `MSR_IA32_L3_CBM_BASE` (arch/x86/include/asm/msr-index.h), which stands behind the number of
/// groups in `struct rdt_hw_resource` (arch/x86/kernel/cpu/resctrl/internal.h).
const L3_MASKS: u32 = 0xc90;

/// Has the L3 cache two groups, not one: the memory for the masks of one has room for both.
fn allow_groups(socket: &std::path::Path, resources: u64) -> Result<()> {
    let mut debugger = Debugger(UnixStream::connect(socket)?, Vec::new());
    debugger.ask("?")?;
    let text = debugger.ask(&format!("m{resources:x},200"))?;
    let words: Vec<_> = text
        .as_bytes()
        .chunks(8)
        .map(|word| {
            let bytes = u32::from_str_radix(std::str::from_utf8(word)?, 16)?;
            Ok(bytes.swap_bytes())
        })
        .collect::<Result<_>>()?;
    let place = words
        .windows(2)
        .position(|pair| pair == [1, L3_MASKS])
        .context("no L3 cache")?;
    let answer = debugger.ask(&format!("M{:x},4:02000000", resources + 4 * place as u64))?;
    ensure!(answer == "OK", "{answer}");
    debugger.ask("D").map(drop)
}

/// A connection to QEMU's port for debuggers (the "GDB Remote Serial Protocol"), and what came and
/// was not read yet. The machine stands still until it is left.
struct Debugger(UnixStream, Vec<u8>);

impl Debugger {
    fn ask(&mut self, question: &str) -> Result<String> {
        let sum = question.bytes().fold(0_u8, u8::wrapping_add);
        write!(self.0, "${question}#{sum:02x}")?;
        loop {
            let Self(stream, come) = self;
            let end = come.iter().position(|byte| *byte == b'#');
            if let Some(end) = end.filter(|end| come.len() > end + 2) {
                let packet: Vec<_> = come.drain(..end + 3).collect();
                let text = String::from_utf8_lossy(&packet[..end]).into_owned();
                let (_, answer) = text.split_once('$').context("no packet")?;
                stream.write_all(b"+")?;
                // That the machine stands still is said once more.
                if !answer.starts_with('T') || question == "?" {
                    return Ok(answer.to_owned());
                }
                continue;
            }
            let mut more = [0; 2048];
            match stream.read(&mut more)? {
                0 => bail!("QEMU has gone"),
                len => come.extend_from_slice(&more[..len]),
            }
        }
    }
}
