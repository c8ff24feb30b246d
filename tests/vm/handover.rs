//! `init=`: what the next PID 1 finds, and what is refused before anything was destroyed.

use anyhow::{Context, Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::{Disk, DiskImage, Fs, Type};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Builder, Ended, Vm};
use berth_tests::{Lab, MODULES, disk, field, guest, line};
use uuid::Uuid;

use crate::provoke::{Reader, provoke};
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere next_init_may_be_a_script_and_gets_arguments_environment_and_a_clean_process,
    everywhere bad_init_is_refused_before_anything_was_destroyed,
    once usr_may_be_a_part_of_the_roots_own_filesystem,
];

/// A root with the guest program, and these files besides.
fn root(more: impl FnOnce(Tree) -> Tree) -> Result<Tree> {
    Ok(more(disk::files([])?.copy(guest()?, "bin/guest")))
}

/// Boots and gives what the next PID 1 reports.
fn report(vm: Builder) -> Result<Vec<String>> {
    let vm = vm.start()?;
    vm.expect("the next PID 1 reports", |event| {
        line(event) == Some(("init", "done"))
    })?;
    let outcome = vm.wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    let lines = outcome
        .events
        .iter()
        .filter_map(line)
        .filter(|(id, _)| *id == "init");
    Ok(lines.map(|(_, text)| text.to_owned()).collect())
}

fn all<'a>(lines: &'a [String], prefix: &'a str) -> Vec<&'a str> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix(prefix))
        .collect()
}

fn next_init_may_be_a_script_and_gets_arguments_environment_and_a_clean_process(
    lab: &Lab,
) -> Result<()> {
    let tree = root(|tree| tree.executable("sbin/boot", "#!/bin/guest init\n"))?;
    let image = disk::of(Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, tree))?;
    let vm = lab
        .machine("next_init_may_be_a_script_and_gets_arguments_environment_and_a_clean_process")?
        .append("auto root=LABEL=BERTH init=/sbin/boot single ro some.thing fruit=\"red apple\" 3 rootwait=30 -- one \"two words\" --three=x -- four")
        .scsi(&image);
    let lines = report(vm)?;
    ensure!(all(&lines, "process ") == ["1"], "{lines:#?}");
    ensure!(
        all(&lines, "argument ")
            == [
                "0 /sbin/boot",
                "1 single",
                "2 3",
                "3 one",
                "4 two words",
                "5 --three=x",
                "6 --",
                "7 four"
            ],
        "{lines:#?}"
    );
    // The first two are the kernel's own (init/main.c), the third is a word that it does not know.
    for variable in ["HOME=/", "TERM=linux", "fruit=red apple"] {
        ensure!(all(&lines, "variable ").contains(&variable), "{lines:#?}");
    }
    // Linux 6.1 does not know `rootwait` with a value, and berth does.
    let is_passed_on = |line: &&str| line.starts_with("rootwait");
    ensure!(
        !all(&lines, "variable ").iter().any(is_passed_on),
        "{lines:#?}"
    );
    ensure!(all(&lines, "directory ") == ["/"], "{lines:#?}");
    for mask in ["SigBlk ", "SigCgt "] {
        let signals = all(&lines, mask)
            .first()
            .and_then(|mask| u64::from_str_radix(mask, 16).ok());
        // The guest program's runtime catches SIGSEGV and SIGBUS for itself.
        let own = if mask == "SigCgt " {
            1 << 10 | 1 << 6
        } else {
            0
        };
        ensure!(
            signals.context("a mask is missing")? & !own == 0,
            "{mask}: {lines:#?}"
        );
    }
    let mut open = all(&lines, "descriptor ");
    open.sort_unstable();
    ensure!(
        open == ["0 /dev/console", "1 /dev/console", "2 /dev/console"],
        "{lines:#?}"
    );
    let is_root = |line: &&str| line.contains(" / / ") && line.contains(" - vfat ");
    ensure!(all(&lines, "mount ").iter().any(is_root), "{lines:#?}");
    for moved in ["/proc", "/sys", "/dev", "/run"] {
        let is_there = |line: &&str| line.contains(&format!(" / {moved} "));
        ensure!(
            all(&lines, "mount ").iter().any(is_there),
            "{moved}: {lines:#?}"
        );
    }
    Ok(())
}

/// A part of a btrfs: mkfs.btrfs makes none, so that it is the whole here, which holds the program
/// as `bin/guest`.
fn usr_may_be_a_part_of_the_roots_own_filesystem(lab: &Lab) -> Result<()> {
    let uuid = disk::EXT4_UUID;
    let fstab = format!("UUID={uuid} / btrfs defaults 0 0\nUUID={uuid} /usr btrfs subvol=/ 0 0\n");
    let tree = root(|tree| tree.directory("usr").file("etc/fstab", fstab))?;
    let image = disk::of(Fs::of_type(Type::Btrfs, disk::LABEL, uuid, tree))?;
    let spec = lab.spec()?.load(MODULES).for_filesystems(["btrfs"]);
    let initramfs = spec.build(Compression::Zstd)?;
    // Other filesystems can be written, or not, by all their mounts.
    let vm = lab
        .machine_with("usr_may_be_a_part_of_the_roots_own_filesystem", &initramfs)
        .append("root=LABEL=BERTH rw init=/usr/bin/guest -- init")
        .scsi(&image);
    let lines = report(vm)?;
    for (point, access) in [("/", "rw"), ("/usr", "ro")] {
        let is_it = |line: &&str| {
            let fields: Vec<_> = line.split(' ').collect();
            fields[4] == point && fields[5].split(',').any(|option| option == access)
        };
        ensure!(
            all(&lines, "mount ").iter().any(is_it),
            "{point}: {lines:#?}"
        );
    }
    Ok(())
}

/// A bad program, the code and the words that its refusal must have.
struct Bad {
    program: &'static str,
    code: &'static str,
    text: &'static str,
}

const fn bad(program: &'static str, code: &'static str, text: &'static str) -> Bad {
    Bad {
        program,
        code,
        text,
    }
}

const BAD: &[Bad] = &[
    bad("/bin/none", "B040", "ENOENT: it is not on the new root"),
    bad("/bin", "B041", "it is not a regular file"),
    bad("/bin/locked", "B041", "with a permission to execute it"),
    bad("/bin/text", "B042", "neither a script (#!) nor an ELF file"),
    bad("/bin/empty", "B042", "the file is empty"),
    bad("/bin/foreign", "B042", "it is for machine 243 of elf(5)"),
    bad("/bin/head", "B042", "its ELF program headers are damaged"),
    bad("/bin/half", "B042", " that its headers tell of"),
    bad("/bin/script", "B043", "(interpreter /bin/nosh): ENOENT"),
    bad(
        "/bin/dynamic",
        "B043",
        "(interpreter /lib64/ld-linux-x86-64.so.2): ENOENT",
    ),
];

/// The codes that the table provokes.
pub(crate) const PROVOKED: &[&str] = &["B040", "B041", "B042", "B043"];

/// An ext4 for each of them, by its place in the table, with `/sbin/init` a link to it.
fn bad_programs() -> Result<DiskImage> {
    let program = std::fs::read(guest()?)?;
    // `e_machine` of elf(5), 243 is RISC-V.
    let mut foreign = program.clone();
    foreign[0x12..0x14].copy_from_slice(&243_u16.to_le_bytes());
    let tree = disk::files([])?
        .file("bin/locked", "#!/bin/sh\n")
        .executable("bin/text", "echo hello\n")
        .executable("bin/empty", "")
        .executable("bin/foreign", &foreign[..0x1000])
        .executable("bin/head", &program[..0x48])
        .executable("bin/half", &program[..program.len() / 8])
        .executable("bin/script", "#!/bin/nosh\n")
        .copy("/bin/true", "bin/dynamic");
    let disk = BAD.iter().enumerate().fold(
        Disk::gpt(Uuid::from_u128(0xb0a7_0000)),
        |disk, (number, bad)| {
            let tree = tree.clone().symlink("sbin/init", bad.program);
            disk.partition(
                Fs::ext4(
                    &format!("BAD{number}"),
                    Uuid::from_u128(disk::EXT4_UUID.as_u128() + number as u128),
                    tree,
                )
                .mib(16),
            )
        },
    );
    disk.build()
}

/// Each is on a root of its own, which is given up for the next, until there is none; that is the
/// end of the boot.
fn bad_init_is_refused_before_anything_was_destroyed(lab: &Lab) -> Result<()> {
    let first = BAD.first().context("the table is empty")?;
    let labels: Vec<_> = (1..BAD.len())
        .map(|number| format!("LABEL=BAD{number}"))
        .collect();
    let name = "bad_init_is_refused_before_anything_was_destroyed";
    let setup = |_: &Lab, vm: Builder| -> Result<Vm> {
        let words = format!(
            "root=LABEL=BAD0 init=/sbin/init berth.root_fallback={}",
            labels.join(",")
        );
        vm.append(words).blk(&bad_programs()?).start()
    };
    let outcome = provoke(lab, name, Reader::Everywhere, first.code, first.text, setup)?;
    ensure!(!outcome.events.iter().any(|event| event.name() == "switch"));
    let rejected = outcome
        .events
        .iter()
        .filter(|event| event.name() == "rejected");
    let rejected: Vec<_> = rejected
        .map(|event| {
            (
                field(event, "root"),
                field(event, "code"),
                field(event, "text").unwrap_or_default(),
            )
        })
        .collect();
    ensure!(rejected.len() == BAD.len(), "{rejected:#?}");
    for (number, (bad, (root, code, text))) in BAD.iter().zip(&rejected).enumerate() {
        let is_it = *root == Some(&*format!("LABEL=BAD{number}"))
            && *code == Some(bad.code)
            && text.contains(bad.text);
        ensure!(is_it, "{}: {rejected:#?}", bad.program);
    }
    Ok(())
}
