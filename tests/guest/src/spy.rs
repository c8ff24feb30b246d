//! A program of a container that looks into every other process it sees, as one that wants out of
//! it would: CAP_SYS_PTRACE lets it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::Result;

/// Where this program is told to end.
const STOP: &str = "/tmp/stop";

/// Where it says how many processes of berth it has looked into.
const CAUGHT: &str = "/tmp/caught";

/// Looks until it is told to stop; `secret` is a file of the host, and its content is in the
/// variables of who calls berth.
pub(crate) fn look(secret: &str, content: &str) -> Result<()> {
    let mut found = BTreeSet::new();
    let mut caught = 0;
    while !Path::new(STOP).exists() {
        for entry in fs::read_dir("/proc")?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "1" || !name.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let process = format!("/proc/{name}");
            if !is_berth(&process) {
                continue;
            }
            let seen = look_into(&process, secret, content);
            // What it has found is berth's only if the program was berth all the time.
            if is_berth(&process) {
                found.extend(seen);
                caught += 1;
                fs::write(CAUGHT, caught.to_string())?;
            }
        }
    }
    for what in found {
        println!("{what}");
    }
    println!("caught {}", caught > 0);
    Ok(())
}

/// Whether this process is no program of a container yet.
fn is_berth(process: &str) -> bool {
    let exe = fs::read_link(format!("{process}/exe"));
    exe.is_ok_and(|exe| !exe.ends_with("guest"))
}

fn look_into(process: &str, secret: &str, content: &str) -> Vec<String> {
    let mut found = Vec::new();
    let descriptors = fs::read_dir(format!("{process}/fd"));
    let names = descriptors.into_iter().flatten().flatten();
    let descriptors: Vec<_> = names
        .map(|entry| entry.path().display().to_string())
        .collect();
    let ways = ["root", "cwd"].map(|name| format!("{process}/{name}"));
    for way in ways.iter().chain(&descriptors) {
        let up = "/..".repeat(16);
        if fs::read_to_string(format!("{way}{up}{secret}")).is_ok() {
            found.push(format!("{} leads to the host", last(way)));
        }
    }
    for descriptor in descriptors {
        let number: Option<u32> = last(&descriptor).parse().ok();
        // The standard ones are the program's too.
        if number.is_none_or(|number| number < 3) {
            continue;
        }
        let Ok(leads_to) = fs::read_link(&descriptor) else {
            continue;
        };
        let is_fifo = fs::metadata(&descriptor).is_ok_and(|found| found.file_type().is_fifo());
        let shown = leads_to.display().to_string();
        // What is used while it holds: the processes here, which can be seen anyway.
        let is_processes = shown == "/" || shown.ends_with("/fd");
        if ["", "/..", "/../.."]
            .iter()
            .any(|up| Path::new(&format!("{descriptor}{up}/sysrq-trigger")).exists())
        {
            found.push(format!(
                "descriptor {shown} is a procfs with parameters of the kernel"
            ));
        }
        let known = ["socket:", "pipe:", "anon_inode:[fscontext]", "/memfd:state"];
        if !is_fifo && !is_processes && !known.iter().any(|known| shown.starts_with(known)) {
            found.push(format!("descriptor {shown}"));
        }
    }
    if contains(
        fs::read(format!("{process}/environ")).unwrap_or_default(),
        content,
    ) {
        found.push("environ has the caller's variables".to_owned());
    }
    let maps = fs::read_to_string(format!("{process}/maps")).unwrap_or_default();
    for line in maps.lines() {
        let file = line.split_whitespace().nth(5).unwrap_or_default();
        if file.starts_with('/') && !file.starts_with("/memfd:berth") {
            found.push(format!("maps {file}"));
        }
        if file == "[stack]" && contains(memory(process, line).unwrap_or_default(), content) {
            found.push("mem has the caller's variables".to_owned());
        }
    }
    if let Ok(exe) = File::open(format!("{process}/exe")) {
        // SAFETY: the request takes no pointers.
        let seals = unsafe { libc::fcntl(exe.as_raw_fd(), libc::F_GET_SEALS) };
        if seals & libc::F_SEAL_WRITE == 0 {
            found.push("exe can be written".to_owned());
        }
    }
    found
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn contains(bytes: Vec<u8>, content: &str) -> bool {
    bytes
        .windows(content.len())
        .any(|part| part == content.as_bytes())
}

/// The bytes of one line of `maps`.
fn memory(process: &str, line: &str) -> Option<Vec<u8>> {
    let (from, to) = line.split_whitespace().next()?.split_once('-')?;
    let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).ok());
    let mut bytes = vec![0; usize::try_from(to? - from?).ok()?];
    let mut memory = File::open(format!("{process}/mem")).ok()?;
    memory.seek(SeekFrom::Start(from?)).ok()?;
    memory.read_exact(&mut bytes).ok()?;
    Some(bytes)
}
