//! Commands that start a container: berth beside crun, runc, bubblewrap, unshare, and the same
//! system calls by hand, in C.
//!
//! All are started in one boot, each several times, from a root that is in memory, so that no disk
//! takes part. What they make is the same container, twice: `plain` has namespaces, a root,
//! `/proc`, `/dev` and few rights; `full` has podman's filter of system calls, limits and twenty
//! volumes too. The guest program measures (`tests/guest/src/compare.rs`).
//!
//! bubblewrap makes no control groups, and is given the filter that berth compiled. unshare makes
//! namespaces and mounts `/proc`; it has nothing of `full`, and makes most namespaces before it
//! clones.
//!
//! berth as PID 1 starts it in a boot of its own, for each case, as in [`super::container`]: the
//! container is not alone with `/bin/true` then, but prints what was recorded, for which it has a
//! mount more.

mod bundle;
mod commands;
mod figures;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, Image, Spec};
use berth_qemu::kernel::Kernel;
use berth_qemu::packages::{LIBRARIES, Packages};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Outcome, Vm};
use berth_tests::{berth, guest};
use serde_json::{Value, json};

use crate::c;
use crate::container::{self, BUSYBOX};
use crate::trace::Trace;
use bundle::{PROGRAM, ROOTFS, VOLUMES, inside, outside, text};
use commands::{OTHERS, runs};
use figures::{Figures, table};

/// Idling counts, as it does for whoever waits.
const WORDS: &str = "quiet idle=poll root=tmpfs rootflags=size=80%";

/// How often each is measured; the table has the medians.
const PASSES: usize = 7;

/// Has podman's filter.
const PROFILE_PACKAGE: &str = "golang-github-containers-common";
const PROFILE: &str = "usr/share/containers/seccomp.json";

/// Returns the table.
pub(crate) fn measure(kernel: &Kernel, init: &Path) -> Result<String> {
    let wanted = OTHERS.map(|(package, _)| package);
    let packages = Packages::get("compared", &[&wanted[..], &[PROFILE_PACKAGE]].concat())?;
    let profile = fs::read(packages.root.join(PROFILE)).context("podman's filter")?;
    let profile = bundle::filter_for_this_machine(&serde_json::from_slice(&profile)?)?;

    let bundles = [
        ("plain", bundle::config(None)),
        ("full", bundle::config(Some(profile))),
    ];
    let filter = bundle::compiled(&bundles[1].1)?;
    let header = bundle::header(&filter);
    fs::write(c::directory()?.join("compare.h"), header).context("write compare.h")?;
    let by_hand = c::compile("compare.c")?;
    let root = tempfile::tempdir()?;
    tree(&by_hand, &packages, &bundles, filter)?.make(root.path())?;
    index_libraries(root.path())?;

    let image = Spec::new(init)
        .berth(init.with_file_name("berth"))
        .root_archive(root.path())
        .build(Compression::None)?;
    let mut figures = BTreeMap::new();
    for (case, _) in bundles {
        let name = format!("bench/compare-{case}");
        let words = format!("{} berth.containers=/engine/{case}", container::WORDS);
        let trace = Trace::of(&boot(&name, kernel, &image, &words)?)?;
        let [clone, whole] = [trace.clone_to_program()?, trace.decision_to_program()?];
        figures.insert(
            format!("berth as PID 1 {case}"),
            Figures::of_pid_1(clone, whole),
        );
    }
    let words = "init=/bin/guest -- compare";
    let outcome = boot("bench/compare", kernel, &image, words)?;
    outcome.assert_ended(Ended::PowerOff)?;
    for line in outcome.console.lines() {
        if let Some(line) = line.strip_prefix("compare: ") {
            let of: Value = serde_json::from_str(line)?;
            let name = of["name"].as_str().unwrap_or_default().to_owned();
            figures.insert(name, Figures::of(&of["measured"])?);
        }
    }
    table(&packages, &figures).with_context(|| outcome.log.display().to_string())
}

fn boot(name: &str, kernel: &Kernel, image: &Image, words: &str) -> Result<Outcome> {
    let vm = Vm::builder(name)
        .kernel(kernel)
        .initrd_bytes(image.bytes.clone())
        .append(format!("{WORDS} {words}"))
        .memory(1024)
        .without_events()
        .counted()
        .deadline(Duration::from_secs(1800))
        .silence(Duration::from_secs(600))
        .start()?;
    Ok(vm.wait()?)
}

/// The root of the machine.
fn tree(
    by_hand: &Path,
    packages: &Packages,
    bundles: &[(&str, Value)],
    filter: Vec<u8>,
) -> Result<Tree> {
    let plan = json!({ "program": PROGRAM, "passes": PASSES, "runs": runs() });
    let mut tree = Tree::new()
        .copy(guest()?, "bin/guest")
        .copy(berth()?, "bin/berth")
        .copy(by_hand, "bin/compare")
        .file("filter", filter)
        .file("compare.json", plan.to_string())
        .copy(BUSYBOX, format!("{ROOTFS}{PROGRAM}"))
        .copy(BUSYBOX, format!("{ROOTFS}{BUSYBOX}"));
    for (name, config) in bundles {
        let engine = text(&bundle::printing(config));
        tree = tree
            .file(format!("bundles/{name}/config.json"), text(config))
            .file(format!("engine/{name}/start/config.json"), engine);
    }
    for number in 0..VOLUMES {
        tree = tree
            .directory(outside(number))
            .directory(format!("{ROOTFS}{}", inside(number)));
    }
    for name in ["dev", "proc", "run", "sys", "tmp"] {
        tree = tree.directory(name);
    }
    for name in ["dev", "proc", "trace"] {
        tree = tree.directory(format!("{ROOTFS}/{name}"));
    }
    tree = tree.file("etc/ld.so.conf", format!("/{LIBRARIES}\n"));
    for (_, program) in OTHERS {
        for file in [vec![program.to_owned()], packages.libraries(program)?].concat() {
            tree = tree.copy(fs::canonicalize(packages.root.join(&file))?, file);
        }
    }
    Ok(tree.symlink("lib64", LIBRARIES))
}

/// As where packages are installed: without the index the dynamic linker would look for libraries
/// in many places.
fn index_libraries(root: &Path) -> Result<()> {
    let status = Command::new("/sbin/ldconfig")
        .arg("-r")
        .arg(root)
        .status()
        .context("start ldconfig")?;
    ensure!(status.success(), "ldconfig: {status}");
    Ok(())
}
