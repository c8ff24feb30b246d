//! Files of what containers print (`berth.log=`): what is in them, and what becomes of lines that
//! cannot be written.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use berth_qemu::disk::{Disk, DiskImage, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Outcome, Vm};
use berth_tests::{Bundle, Lab, Seen, disk, warnings};
use serde_json::Value;

use crate::fsck::{extract, partition};
use crate::provoke::left_in_order;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere what_containers_print_is_in_files_after_a_reboot,
    once file_that_is_full_is_kept_beside_the_next,
    everywhere full_ext4_costs_lines_and_nothing_else,
    once full_vfat_costs_lines_and_nothing_else,
    once read_only_root_costs_lines_and_nothing_else,
    once lines_go_on_when_the_disk_is_gone,
    once lines_are_not_written_where_a_link_leads,
    once lines_are_written_once_though_the_one_who_writes_is_killed,
];

/// The codes that are provoked here.
pub(crate) const PROVOKED: &[&str] = &["B063"];

/// Where the files are.
const PLACE: &str = "/var/log/berth";

const WORDS: &str = "root=/dev/vda1 berth.log=/var/log/berth";

/// The container `web`, whose program is a script of busybox' shell.
fn web(script: &str) -> Bundle {
    Bundle::new("web").runs(["/bin/busybox", "sh", "-c", script])
}

fn tree(web: Bundle) -> Result<Tree> {
    disk::files_with_busybox([web])
}

fn ext4(tree: Tree) -> Result<DiskImage> {
    disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(32))
}

/// Boots it, and waits until it has ended well.
fn boot(
    lab: &Lab,
    name: &str,
    root: &(impl AsRef<std::path::Path> + ?Sized),
) -> Result<(Vm, Outcome)> {
    let vm = lab.machine(name)?.append(WORDS).blk(root).start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    left_in_order(&vm)?;
    Ok((vm, outcome))
}

/// A line of a file.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    time: String,
    stream: String,
    text: String,
}

/// The text of a file in the directory.
fn text(vm: &Vm, name: &str) -> Result<String> {
    let image = partition(&vm.disk(0), 0)?;
    let into = image.with_extension(name);
    extract(&image, &format!("{PLACE}/{name}"), &into)?;
    Ok(fs::read_to_string(into)?)
}

fn parse(text: &str) -> Result<Vec<Line>> {
    let harmless = |c: char| c == '\n' || !c.is_control();
    ensure!(
        text.chars().all(harmless) && text.ends_with('\n'),
        "{text:?}"
    );
    let lines = text.lines().map(|line| {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let mut next = || words.next().with_context(|| format!("{line:?}"));
        let line = Line {
            time: next()?,
            stream: next()?,
            text: next()?,
        };
        let is_time =
            line.time.len() == 30 && line.time.starts_with("20") && line.time.ends_with('Z');
        ensure!(is_time, "{line:?}");
        Ok(line)
    });
    lines.collect()
}

/// The texts of one stream.
fn of<'l>(lines: &'l [Line], stream: &str) -> Vec<&'l str> {
    let lines = lines.iter().filter(|line| line.stream == stream);
    lines.map(|line| line.text.as_str()).collect()
}

/// Holds the machine to have said this once.
fn said_once(outcome: &Outcome, expected: &str) -> Result<()> {
    let mut warnings = warnings(outcome);
    warnings.retain(|text| text.contains("[B063]"));
    ensure!(warnings == [format!("{expected}  [B063]")], "{warnings:?}");
    ensure!(
        outcome.console.matches("[B063]").count() == 1,
        "it is on the console once"
    );
    Ok(())
}

fn what_containers_print_is_in_files_after_a_reboot(lab: &Lab) -> Result<()> {
    let script = r"echo begun
        echo to the other stream >&2
        printf 'a\tb\033[2J\rother: forged\n'
        echo 2026-01-01T00:00:00.000000000Z stdout forged
        echo last words";
    let printed = [
        "begun",
        r"a	b\x1b[2J\x0dother: forged",
        "2026-01-01T00:00:00.000000000Z stdout forged",
        "last words",
    ];
    let root = ext4(tree(web(script))?)?;
    let (first, _) = boot(lab, "log_files_first", &root)?;
    let before = text(&first, "web.log")?;
    let (second, outcome) = boot(lab, "log_files_second", &first.disk(0))?;
    let after = text(&second, "web.log")?;
    ensure!(after.starts_with(&before), "{after:?}");
    let lines = parse(&after.replace('\t', "\\t"))?;
    let printed: Vec<_> = printed
        .iter()
        .map(|line| line.replace('\t', "\\t"))
        .collect();
    ensure!(
        of(&lines, "stdout") == [&printed[..], &printed].concat(),
        "{lines:#?}"
    );
    ensure!(
        of(&lines, "stderr") == ["to the other stream"; 2],
        "{lines:#?}"
    );
    ensure!(lines.len() == 10, "{lines:#?}");
    ensure!(lines.is_sorted_by_key(|line| &line.time), "{lines:#?}");
    ensure!(warnings(&outcome).is_empty(), "{:?}", warnings(&outcome));
    Ok(())
}

/// However slow the writer is: memory has room for all that is printed.
fn file_that_is_full_is_kept_beside_the_next(lab: &Lab) -> Result<()> {
    const LINES: usize = 40_000;
    let script = format!("busybox seq 1 {LINES}");
    let bundle = web(&script).annotation("berth.log-size", "8M");
    let (vm, outcome) = boot(lab, "log_files_rotate", &ext4(tree(bundle)?)?)?;
    let (before, now) = (text(&vm, "web.log.1")?, text(&vm, "web.log")?);
    let full = 900 << 10..=1 << 20;
    ensure!(full.contains(&before.len()), "{}", before.len());
    let lines = parse(&(before + &now))?;
    let numbers = of(&lines, "stdout");
    ensure!(
        lines.len() == LINES && numbers.len() == LINES,
        "{}",
        lines.len()
    );
    for (place, number) in numbers.iter().enumerate() {
        ensure!(number.parse() == Ok(place + 1), "{number} at {place}");
    }
    ensure!(warnings(&outcome).is_empty(), "{:?}", warnings(&outcome));
    Ok(())
}

/// Fills the disk it is on, prints more than memory keeps of it, and makes room.
fn hog() -> Bundle {
    let script = r"busybox dd if=/dev/zero of=/fill-0 bs=65536 2>/dev/null
        for n in 1 2 3; do busybox sync; busybox dd if=/dev/zero of=/fill-$n bs=1024 2>/dev/null; done
        busybox seq 1 2000
        until busybox grep -qs ' o 2000' /run/berth-boot/logs/web.log; do busybox sleep 0.2; done
        until busybox grep -q '\[B063\]' /run/berth-boot/events; do busybox sleep 0.2; done
        echo kept $(busybox cat /run/berth-boot/logs/web.log* | busybox wc -c)
        busybox rm /fill-*
        echo after
        until busybox grep -qs 'stdout after' /logs/web.log; do busybox sleep 0.2; done
        echo done";
    web(script)
        .annotation("berth.log-size", "4K")
        .mount("/run", "bind", "/run", &["rbind"])
        .mount("/logs", "bind", PLACE, &["bind"])
        .directory("run")
        .directory("logs")
}

/// Holds the file of a machine with [`hog`] to say what it lacks.
fn lost_lines_are_counted(outcome: &Outcome, lines: &[Line]) -> Result<()> {
    const KEPT_MAX: u64 = 4096 + 640;
    said_once(outcome, "write to /var/log/berth/web.log: ENOSPC")?;
    let kept = Seen::new(outcome, "web").facts("kept");
    let kept: u64 = kept.first().context("it did not look")?.parse()?;
    ensure!((1024..=KEPT_MAX).contains(&kept), "{kept} bytes are kept");
    let (mut last, mut lost) = (0_u64, 0_u64);
    let (mut rest, mut all_lost) = (Vec::new(), 0);
    for line in lines {
        match (line.stream.as_str(), line.text.parse::<u64>()) {
            ("berth", _) => {
                let count = line.text.strip_prefix("lines lost: ");
                lost = count.with_context(|| format!("{line:?}"))?.parse()?;
            }
            ("stdout", Ok(number)) => {
                ensure!(number == last + lost + 1, "{last}, {lost} lost, {number}");
                all_lost += lost;
                (last, lost) = (number, 0);
            }
            ("stdout", Err(_)) => rest.push(line.text.as_str()),
            _ => bail!("{line:?}"),
        }
    }
    ensure!(last == 2000 && lost == 0, "{last}, {lost}");
    ensure!(all_lost > 1000, "{all_lost} lines are lost");
    ensure!(
        rest == [&format!("kept {kept}"), "after", "done"],
        "{rest:?}"
    );
    Ok(())
}

fn full_ext4_costs_lines_and_nothing_else(lab: &Lab) -> Result<()> {
    let root = ext4(tree(hog())?.directory(&PLACE[1..]))?;
    let (vm, outcome) = boot(lab, "log_files_full_ext4", &root)?;
    lost_lines_are_counted(&outcome, &parse(&text(&vm, "web.log")?)?)
}

fn full_vfat_costs_lines_and_nothing_else(lab: &Lab) -> Result<()> {
    let tree = tree(hog())?.directory(&PLACE[1..]);
    let root = disk::of(Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, tree).mib(32))?;
    let (vm, outcome) = boot(lab, "log_files_full_vfat", &root)?;
    let image = partition(&vm.disk(0), 0)?;
    let output = std::process::Command::new("mtype")
        .arg("-i")
        .arg(&image)
        .arg("::/var/log/berth/web.log")
        .output()
        .context("start mtype")?;
    ensure!(output.status.success(), "{output:?}");
    lost_lines_are_counted(&outcome, &parse(&String::from_utf8(output.stdout)?)?)
}

fn read_only_root_costs_lines_and_nothing_else(lab: &Lab) -> Result<()> {
    let root = ext4(tree(web("echo one; echo two"))?)?;
    let vm = lab
        .machine("log_files_read_only")?
        .append(WORDS)
        .append("ro");
    let outcome = vm.blk(&root).start()?.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    Seen::new(&outcome, "web").printed("two")?;
    said_once(&outcome, "create /var/log/berth: EROFS")
}

/// The directory is on a disk of its own for a while, which is made read-only, and then unmounted.
fn lines_go_on_when_the_disk_is_gone(lab: &Lab) -> Result<()> {
    let script = r#"busybox=/containers/web/rootfs/bin/busybox
        host() { busybox nsenter -m -t 1 $busybox "$@"; }
        until host test -d /var/log/berth; do busybox sleep 0.2; done
        host mount -t ext4 /dev/vdb /var/log/berth
        echo one
        until host grep -qs stdout.one /var/log/berth/web.log; do busybox sleep 0.2; done
        host mount -o remount,ro /dev/vdb /var/log/berth
        echo two
        until host grep -q '\[B063\]' /run/berth-boot/events; do busybox sleep 0.2; done
        host umount /var/log/berth
        echo three
        until host grep -qs stdout.three /var/log/berth/web.log; do busybox sleep 0.2; done"#;
    let bundle = web(script)
        .set("/hostname", Value::Null)
        .namespaces(&["mount"]);
    let other = Disk::bare(Fs::ext4("LOGS", disk::EXT4_UUID, Tree::new()).mib(8)).build()?;
    let vm = lab.machine("log_files_gone")?.append(WORDS);
    let vm = vm.blk(&ext4(tree(bundle)?)?).blk(&other).start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    said_once(&outcome, "open /var/log/berth/web.log: EROFS")?;
    // What was written before is on the disk that is gone.
    let lines = parse(&text(&vm, "web.log")?)?;
    ensure!(of(&lines, "stdout") == ["two", "three"], "{lines:#?}");
    ensure!(lines.len() == 2, "none is lost: {lines:#?}");
    Ok(())
}

fn lines_are_not_written_where_a_link_leads(lab: &Lab) -> Result<()> {
    let root = tree(web("echo one"))?
        .directory("etc/berth")
        .symlink("var/log", "/etc");
    let (vm, outcome) = boot(lab, "log_files_link", &ext4(root)?)?;
    said_once(&outcome, "open /var/log/berth: ELOOP")?;
    let image = partition(&vm.disk(0), 0)?;
    let into = image.with_extension("led");
    ensure!(
        extract(&image, "/etc/berth/web.log", &into).is_err(),
        "lines are where the link leads"
    );
    Ok(())
}

/// It sees the machine's processes, and kills the writer: between lines, and at the last.
fn lines_are_written_once_though_the_one_who_writes_is_killed(lab: &Lab) -> Result<()> {
    let script = r"murder() {
            for p in /proc/[0-9]*; do
                busybox grep -qs 'pid1-[l]ogs' $p/cmdline && kill -9 ${p#/proc/}
            done
        }
        for n in 1 2 3; do
            echo line $n
            until busybox grep -qs 0$n /run/berth-boot/log-files/web; do busybox sleep 0.2; done
            murder
        done
        echo line 4";
    let bundle = web(script)
        .set("/hostname", Value::Null)
        .namespaces(&["mount"])
        .mount("/run", "bind", "/run", &["rbind"])
        .directory("run");
    let (vm, outcome) = boot(lab, "log_files_killed", &ext4(tree(bundle)?)?)?;
    let lines = parse(&text(&vm, "web.log")?)?;
    let printed = of(&lines, "stdout");
    ensure!(
        printed == ["line 1", "line 2", "line 3", "line 4"],
        "{lines:#?}"
    );
    ensure!(lines.len() == 4, "{lines:#?}");
    let again = "the log files: the run for that was ended by signal 9, and is started again";
    let warnings = warnings(&outcome);
    // The last death may be heard of when the machine ends already.
    ensure!(
        (2..=3).contains(&warnings.len()) && warnings.iter().all(|text| *text == again),
        "{warnings:?}"
    );
    Ok(())
}
