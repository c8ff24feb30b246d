//! `root=tmpfs`: a root in memory, made of the archive that the image brings along.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, Spec};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Builder, Ended, Event, Outcome};
use berth_tests::{Bundle, Lab, Seen, disk, field};

use crate::provoke::failed;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere root_is_unpacked_into_memory,
    once root_in_memory_is_the_fallback_of_one_that_does_not_come,
    once root_in_memory_can_be_read_only,
    once archive_of_cpio_keeps_owners_modes_times_and_links,
    once image_without_an_archive_is_told_what_to_add,
    once archive_that_is_damaged_is_named,
    once archive_that_does_not_fit_is_named,
];

/// A root filesystem as a directory of the host.
fn tree(bundles: impl IntoIterator<Item = Bundle>) -> Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    disk::files(bundles)?.make(dir.path())?;
    Ok(dir)
}

fn spec(lab: &Lab) -> Result<Spec> {
    Ok(lab.spec()?.load(["virtio_pci", "virtio_console"]))
}

fn machine(lab: &Lab, name: &str, root: &Path) -> Result<Builder> {
    let image = spec(lab)?.root_archive(root).build(Compression::Zstd)?;
    Ok(lab.machine_with(name, &image))
}

fn root(outcome: &Outcome) -> Result<&Event> {
    let is_it = |event: &&Event| event.name() == "root";
    outcome.events.iter().find(is_it).context("no root")
}

/// Nothing of the initramfs stays: not the archive either.
fn root_is_unpacked_into_memory(lab: &Lab) -> Result<()> {
    let looker = Bundle::new("looker").runs(["/bin/guest", "say", "from memory"]);
    let outcome = machine(lab, "root_is_unpacked_into_memory", tree([looker])?.path())?
        .append("root=tmpfs rootflags=size=50%")
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let found = ["device", "fstype", "asked"].map(|name| field(root(&outcome).unwrap(), name));
    ensure!(found == [Some("tmpfs"); 3], "{found:?}");
    let switch = outcome.events.iter().find(|event| event.name() == "switch");
    ensure!(switch.and_then(|event| field(event, "method")) != Some("bind"));
    Seen::new(&outcome, "looker").printed("from memory")
}

fn root_in_memory_is_the_fallback_of_one_that_does_not_come(lab: &Lab) -> Result<()> {
    let name = "root_in_memory_is_the_fallback_of_one_that_does_not_come";
    let outcome = machine(lab, name, tree([Bundle::new("rescue")])?.path())?
        .append("root=LABEL=GONE rootwait=0 berth.root_fallback=tmpfs")
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    ensure!(field(root(&outcome)?, "asked") == Some("tmpfs"));
    Seen::new(&outcome, "rescue").exited(0)
}

fn root_in_memory_can_be_read_only(lab: &Lab) -> Result<()> {
    let writer = Bundle::new("writer").runs(["/bin/guest", "leave", "/tmp/left", "text"]);
    let name = "root_in_memory_can_be_read_only";
    let outcome = machine(lab, name, tree([writer])?.path())?
        .append("root=tmpfs ro")
        .start()?
        .wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    ensure!(root(&outcome)?.raw["ro"] == true);
    let writer = Seen::new(&outcome, "writer");
    let lines: Vec<_> = writer.lines().collect();
    ensure!(
        lines.iter().any(|line| line.contains("os error 30")),
        "{lines:?}"
    );
    Ok(())
}

/// GNU cpio gives the content of several links to the last of them.
fn archive_of_cpio_keeps_owners_modes_times_and_links(lab: &Lab) -> Result<()> {
    let files = [
        "/files/su",
        "/files/link",
        "/files/a",
        "/files/b",
        "/files/fifo",
    ];
    let looker = Bundle::new("looker").runs(["/bin/guest", "inodes"].into_iter().chain(files));
    let shower = Bundle::new("shower").runs(["/bin/guest", "show", "/files/a"]);
    let dir = tree([looker, shower])?;
    let files = dir.path().join("containers/looker/rootfs/files");
    fs::create_dir(&files)?;
    let script = "printf program >su; chown 7:9 su; chmod 4751 su; touch -d @1000000000 su; \
        ln -s su link; printf shared >a; ln a b; touch -hd @5 a link; mkfifo -m 600 fifo; touch -d @6 fifo; \
        mkdir ../../../shower/rootfs/files; ln a ../../../shower/rootfs/files; cd ../../../..; \
        find . | sort | cpio --quiet -o -H newc";
    let output = Command::new("sh")
        .args(["-ec", script])
        .current_dir(&files)
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    let archive = tempfile::NamedTempFile::new()?;
    fs::write(archive.path(), output.stdout)?;
    let name = "archive_of_cpio_keeps_owners_modes_times_and_links";
    let outcome = machine(lab, name, archive.path())?
        .append("root=tmpfs")
        .start()?
        .wait()?;
    let looker = Seen::new(&outcome, "looker");
    let lines: Vec<_> = looker.lines().collect();
    let expected = [
        "inode /files/su 104751 7:9 1000000000 1 ",
        "inode /files/link 120777 0:0 5 1 su",
        "inode /files/a 100644 0:0 5 3 ",
        "inode /files/b 100644 0:0 5 3 ",
        "inode /files/fifo 10600 0:0 6 1 ",
    ];
    ensure!(lines == expected, "{lines:#?}");
    Seen::new(&outcome, "shower").printed("shared")?;
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

fn image_without_an_archive_is_told_what_to_add(lab: &Lab) -> Result<()> {
    let name = "image_without_an_archive_is_told_what_to_add";
    let outcome = lab.machine(name)?.append("root=tmpfs").start()?.wait()?;
    failed(&outcome, "B027", "open /root.cpio: ENOENT")?;
    ensure!(outcome.console.contains("--root-archive"));
    Ok(())
}

fn archive_that_is_damaged_is_named(lab: &Lab) -> Result<()> {
    let name = "archive_that_is_damaged_is_named";
    let whole = tree([Bundle::new("any")])?;
    let image = spec(lab)?
        .root_archive(whole.path())
        .build(Compression::None)?;
    let entries = berth_initramfs::archive::read(&image.bytes)?;
    let archive = &entries["root.cpio"].data;
    for (archive, text) in [
        (
            &archive[..archive.len() / 2],
            "read /root.cpio: it is cut off, at byte ",
        ),
        (b"\x28\xb5\x2f\xfd".as_slice(), "it is cut off"),
        (
            &[&b"\x28\xb5\x2f\xfd"[..], archive].concat(),
            "it is compressed (zstd)",
        ),
    ] {
        let image = spec(lab)?.replace("/root.cpio", archive, 0o644);
        let outcome = lab
            .machine_with(name, &image.build(Compression::None)?)
            .append("root=tmpfs")
            .start()?
            .wait()?;
        failed(&outcome, "B027", text)?;
    }
    Ok(())
}

fn archive_that_does_not_fit_is_named(lab: &Lab) -> Result<()> {
    let dir = tempfile::tempdir()?;
    Tree::new()
        .file("large", vec![7; 4 << 20])
        .make(dir.path())?;
    let outcome = machine(lab, "archive_that_does_not_fit_is_named", dir.path())?
        .append("root=tmpfs rootflags=size=1m")
        .start()?
        .wait()?;
    failed(&outcome, "B027", "create large of /root.cpio: ENOSPC")
}
