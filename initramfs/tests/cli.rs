//! The command line: exit codes, and one line for each thing that is wrong.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn berth_initramfs(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth-initramfs"));
    command
        .current_dir(dir)
        .args(arguments)
        .env("SOURCE_DATE_EPOCH", "1700000000");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn built_image_is_listed_and_its_defect_found() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("init"), "#!/bin/sh\n").unwrap();
    fs::write(dir.path().join("motd"), "hello\n").unwrap();
    let build = [
        "build",
        "--init",
        "init",
        "--no-containers",
        "--add",
        "motd:/etc/",
        "--cmdline",
        "rw",
        "-o",
        "image.gz",
    ];
    let built = berth_initramfs(dir.path(), &build);
    assert!(built.status.success(), "{}", text(&built.stderr));
    assert!(text(&built.stdout).contains("image, gzip, "));

    let listed = text(&berth_initramfs(dir.path(), &["list", "image.gz"]).stdout);
    assert!(
        listed.contains("-rw-r--r--    0    0          6  /etc/motd\n"),
        "{listed}"
    );
    assert!(
        listed.ends_with("\n/etc/berth/cmdline:\n  rw\n"),
        "{listed}"
    );

    let verified = berth_initramfs(dir.path(), &["verify", "image.gz"]);
    assert_eq!(verified.status.code(), Some(1));
    assert_eq!(
        text(&verified.stdout),
        "image.gz: /init is not a 64-bit ELF file, or damaged\n"
    );
}

#[test]
fn what_starts_containers_is_taken_from_beside_init_unless_it_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("init"), "init").unwrap();
    let build = |more: &[&str]| {
        let words = [&["build", "--init", "init", "-o", "image"], more].concat();
        let built = berth_initramfs(dir.path(), &words);
        (built.status.success(), text(&built.stderr))
    };
    let has_berth = || {
        let listed = berth_initramfs(dir.path(), &["list", "image"]);
        text(&listed.stdout).contains("/usr/lib/berth/berth")
    };
    let (built, said) = build(&[]);
    assert!(!built && said.contains("--no-containers"), "{said}");
    assert!(build(&["--no-containers"]).0 && !has_berth());
    fs::write(dir.path().join("berth"), "berth").unwrap();
    assert!(build(&[]).0 && has_berth());
    let verified = berth_initramfs(dir.path(), &["verify", "image"]);
    let defects = text(&verified.stdout);
    assert!(
        defects.contains("/usr/lib/berth/berth is not a 64-bit ELF file"),
        "{defects}"
    );
    fs::write(dir.path().join("other"), "other").unwrap();
    assert!(build(&["--berth", "other"]).0 && has_berth());
    assert!(!build(&["--berth", "other", "--no-containers"]).0);
}

#[test]
fn error_is_one_line_that_names_the_subject() {
    let dir = tempfile::tempdir().unwrap();
    let output = berth_initramfs(dir.path(), &["build", "--init", "absent", "-o", "image"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "berth-initramfs: read --init absent: No such file or directory (os error 2)\n"
    );
    assert!(!dir.path().join("image").exists());
}
