//! From `/init` to the next init: berth beside the least that can be done, in C.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, Image, ModuleTree, Spec, archive};
use berth_qemu::disk::{Disk, DiskImage, Fs};
use berth_qemu::kernel::Kernel;
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Vm};

use berth_tests::berth;

use crate::c;
use crate::repeat::{OF_A_BOOT, least};
use crate::table::{Table, bytes, instructions};

/// The way to a virtio disk.
const MODULES: [&str; 2] = ["virtio_pci", "virtio_blk"];

/// The same for both. Waiting must count, so the processor does not halt.
const WORDS: &str = "loglevel=4 idle=poll init=/next";

/// A root filesystem, and its UUID.
const ROOTS: [(&str, &str); 2] = [
    ("vfat", "B0A7-0002"),
    ("ext4", "b0a70000-0000-4000-8000-000000000003"),
];

/// The budgets of an image built for speed, beside the C program with the usual image.
const SPEED: [(&str, &str); 2] = [("vfat", "at most 0.50"), ("ext4", "at most 0.62")];

/// What a machine reported.
struct Boot {
    /// Guest instructions from one init to the other.
    instructions: u64,
    /// Names of the modules, in the order in which they were loaded.
    modules: Vec<String>,
}

/// Adds the rows of both, and of the image.
pub(crate) fn measure(kernel: &Kernel, init: &Path, table: &mut Table) -> Result<()> {
    let next = c::compile("next.c")?;
    for (fstype, uuid) in ROOTS {
        let disk = disk(fstype, uuid, &next)?;
        let image = image_of(kernel, init, fstype)?;
        let by_path = repeated(
            &format!("bench/{fstype}"),
            kernel,
            &image,
            &disk,
            "/dev/vda1",
        )?;
        let by_uuid = format!("UUID={uuid}");
        let by_uuid = repeated(
            &format!("bench/{fstype}-uuid"),
            kernel,
            &image,
            &disk,
            &by_uuid,
        )?;
        // The C program is told what berth had to find out.
        write_modules_h(&c::directory()?, &image, &by_path.modules, fstype)?;
        let image_of_c = image_of(kernel, &c::compile("init.c")?, fstype)?;
        let c = repeated(
            &format!("bench/{fstype}-c"),
            kernel,
            &image_of_c,
            &disk,
            "/dev/vda1",
        )?;
        ensure!(
            c.modules == by_path.modules,
            "the C program loaded {:?}, berth {:?}",
            c.modules,
            by_path.modules
        );
        if fstype == "vfat" {
            table.row(
                "image, modules for vfat on virtio-blk, not compressed",
                bytes(image.bytes.len() as u64),
                "",
            );
        }
        let fast = fast_image(kernel, init, fstype)?;
        let fast = repeated(
            &format!("bench/{fstype}-fast"),
            kernel,
            &fast,
            &disk,
            "/dev/vda1",
        )?;
        let budget = SPEED
            .iter()
            .find(|(of, _)| *of == fstype)
            .map(|(_, budget)| *budget);
        for (what, boot, budget) in [
            ("by path", &by_path, "at most 1.01"),
            ("by UUID", &by_uuid, "at most 1.01"),
            ("image built for speed", &fast, budget.unwrap_or_default()),
        ] {
            let ratio = boot.instructions as f64 / c.instructions as f64;
            table.row(
                format!(
                    "`/init` to the next init, {fstype}, {what}, {} modules",
                    boot.modules.len()
                ),
                instructions(boot.instructions),
                format!("C program: {}", instructions(c.instructions)),
            );
            table.row("the same, as a ratio", format!("{ratio:.3}"), budget);
        }
    }
    Ok(())
}

/// A disk with one partition and the next init on it.
fn disk(fstype: &str, uuid: &str, next: &Path) -> Result<DiskImage> {
    let tree = ["dev", "proc", "run", "sys"]
        .into_iter()
        .fold(Tree::new(), Tree::directory);
    let tree = tree.copy(next, "next");
    let fs = match fstype {
        "vfat" => Fs::vfat("BERTH", 0xb0a7_0002, tree),
        _ => Fs::ext4("BERTH", uuid.parse().context("a UUID")?, tree),
    };
    Disk::mbr(0xb0a7_0001).partition(fs).build()
}

fn spec(kernel: &Kernel, init: &Path) -> Result<Spec> {
    let tree = ModuleTree::open(&kernel.modules, Some(&kernel.release))?;
    Ok(Spec::new(init).berth(berth()?).modules(tree))
}

/// All modules are listed.
fn image_of(kernel: &Kernel, init: &Path, fstype: &str) -> Result<Image> {
    spec(kernel, init)?
        .load(MODULES)
        .load([fstype])
        .build(Compression::None)
}

/// Nothing is listed, and no signature has to be checked.
fn fast_image(kernel: &Kernel, init: &Path, fstype: &str) -> Result<Image> {
    spec(kernel, init)?
        .include(MODULES)
        .for_filesystems([fstype])
        .strip_signatures(true)
        .build(Compression::None)
}

/// Tells the C program the modules' files, in the order of these names.
fn write_modules_h(dir: &Path, image: &Image, names: &[String], fstype: &str) -> Result<()> {
    let files = archive::read(&image.bytes)?;
    let mut header =
        format!("#define FSTYPE \"{fstype}\"\nstatic const char *const MODULES[] = {{\n");
    for name in names {
        let is_it = |file: &&String| {
            let file = file.rsplit('/').next().unwrap_or_default();
            file.strip_suffix(".ko")
                .is_some_and(|file| file.replace('-', "_") == *name)
        };
        let file = files.keys().find(is_it);
        let file = file.with_context(|| format!("the image has no {name}.ko"))?;
        header.push_str(&format!("    \"/{file}\",\n"));
    }
    header.push_str("};\n");
    fs::write(dir.join("modules.h"), header).context("write modules.h")
}

/// Boots the image several times. Returns the fewest instructions, and the modules of the last run.
fn repeated(
    name: &str,
    kernel: &Kernel,
    image: &Image,
    disk: &DiskImage,
    root: &str,
) -> Result<Boot> {
    let mut modules = Vec::new();
    let instructions = least(name, OF_A_BOOT, || {
        let boot = boot(name, kernel, image, disk, root)?;
        modules = boot.modules;
        Ok(boot.instructions)
    })?;
    Ok(Boot {
        instructions,
        modules,
    })
}

fn boot(name: &str, kernel: &Kernel, image: &Image, disk: &DiskImage, root: &str) -> Result<Boot> {
    let vm = Vm::builder(name)
        .kernel(kernel)
        .initrd_bytes(image.bytes.clone())
        .append(format!("{WORDS} root={root}"))
        .blk(disk)
        .without_events()
        .counted()
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    let lines = || {
        outcome
            .console
            .lines()
            .filter_map(|line| line.strip_prefix("bench: "))
    };
    let times = lines()
        .find_map(|line| {
            let (begin, end) = line.split_once(' ')?;
            Some((begin.parse::<u64>().ok()?, end.parse::<u64>().ok()?))
        })
        .with_context(|| format!("the next init reported no times: {}", outcome.log.display()))?;
    let mut modules: Vec<String> = lines()
        .filter_map(|line| line.strip_prefix("module "))
        .map(str::to_owned)
        .collect();
    modules.reverse();
    Ok(Boot {
        // One instruction is one ns, and the log's clock counts µs.
        instructions: (times.1 - times.0) * 1000,
        modules,
    })
}
