//! What is seen and changed through an overlay.

use std::fs;
use std::io::Result;
use std::os::unix::fs::PermissionsExt;

use crate::facts;

/// Prints what `/` is and what is in it, and changes that in each way of which an overlay keeps
/// notes of its own.
pub(crate) fn change(text: &str) -> anyhow::Result<()> {
    facts::mounts("mount", "/proc/self/mountinfo")?;
    let mode = fs::metadata("/")?.permissions().mode();
    println!("mode {:o}", mode & 0o7777);
    show("left", fs::read_to_string("/left"));
    show("below", fs::read_to_string("/etc/below"));
    show("write", fs::write("/left", text).map(|()| text.to_owned()));
    show(
        "change",
        fs::write("/etc/below", text).and_then(|()| fs::read_to_string("/etc/below")),
    );
    show("remove", fs::remove_dir("/mnt").map(|()| String::new()));
    show("make", fs::create_dir("/mnt").map(|()| String::new()));
    Ok(())
}

fn show(topic: &str, result: Result<String>) {
    match result {
        Ok(text) => println!("{topic} ok {text}"),
        Err(error) => println!("{topic} error {}", error.raw_os_error().unwrap_or_default()),
    }
}
