//! From `/init` to the next init: berth beside the least that can be done, in C.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, Image, ModuleTree, Spec, archive};
use berth_qemu::disk::{Disk, DiskImage, Fs};
use berth_qemu::kernel::Kernel;
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Vm};

use crate::c;
use crate::repeat::least;
use crate::table::{Table, bytes, instructions};

/// The way to a virtio disk with vfat on it.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_blk", "vfat"];

/// The same for both. Waiting must count, so the processor does not halt.
const WORDS: &str = "loglevel=4 idle=poll root=/dev/vda1 init=/next";

/// What a machine reported.
struct Boot {
    /// Guest instructions from one init to the other.
    instructions: u64,
    /// Names of the modules, in the order in which they were loaded.
    modules: Vec<String>,
}

/// Adds the row of both, and of the image.
pub(crate) fn measure(kernel: &Kernel, init: &Path, table: &mut Table) -> Result<()> {
    let disk = disk(&c::compile("next.c")?)?;

    let image = image_of(kernel, init)?;
    let berth = repeated("bench/berth", kernel, &image, &disk)?;
    // The C program is told what berth had to find out.
    write_modules_h(&c::directory()?, &image, &berth.modules)?;
    let image_of_c = image_of(kernel, &c::compile("init.c")?)?;
    let c = repeated("bench/c", kernel, &image_of_c, &disk)?;
    ensure!(
        c.modules == berth.modules,
        "the C program loaded {:?}, berth {:?}",
        c.modules,
        berth.modules
    );

    let ratio = berth.instructions as f64 / c.instructions as f64;
    table.row(
        "image, modules for vfat on virtio-blk, not compressed",
        bytes(image.bytes.len() as u64),
        "",
    );
    table.row(
        format!("`/init` to the next init, {} modules", berth.modules.len()),
        instructions(berth.instructions),
        format!("C program: {}", instructions(c.instructions)),
    );
    table.row(
        "the same, as a ratio",
        format!("{ratio:.3}"),
        "at most 1.01",
    );
    Ok(())
}

/// A disk with one vfat partition and the next init on it.
fn disk(next: &Path) -> Result<DiskImage> {
    let tree = ["dev", "proc", "run", "sys"]
        .into_iter()
        .fold(Tree::new(), Tree::directory);
    Disk::mbr(0xb0a7_0001)
        .partition(Fs::vfat("BERTH", 0xb0a7_0002, tree.copy(next, "next")))
        .build()
}

fn image_of(kernel: &Kernel, init: &Path) -> Result<Image> {
    Spec::new(init)
        .modules(ModuleTree::open(&kernel.modules, Some(&kernel.release))?)
        .load(MODULES)
        .build(Compression::None)
}

/// Tells the C program the modules' files, in the order of these names.
fn write_modules_h(dir: &Path, image: &Image, names: &[String]) -> Result<()> {
    let files = archive::read(&image.bytes)?;
    let mut header = String::from("static const char *const MODULES[] = {\n");
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
fn repeated(name: &str, kernel: &Kernel, image: &Image, disk: &DiskImage) -> Result<Boot> {
    let mut modules = Vec::new();
    let instructions = least(name, || {
        let boot = boot(name, kernel, image, disk)?;
        modules = boot.modules;
        Ok(boot.instructions)
    })?;
    Ok(Boot {
        instructions,
        modules,
    })
}

fn boot(name: &str, kernel: &Kernel, image: &Image, disk: &DiskImage) -> Result<Boot> {
    let vm = Vm::builder(name)
        .kernel(kernel)
        .initrd_bytes(image.bytes.clone())
        .append(WORDS)
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
