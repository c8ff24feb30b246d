//! The programs: what they may be made of, and how large they may be.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use object::elf::{ET_EXEC, PF_W, PF_X, PT_DYNAMIC, PT_GNU_STACK, PT_INTERP, PT_LOAD};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection};

/// One of the programs, and how large it may be.
pub(crate) struct Program {
    /// Its file's name.
    pub(crate) name: &'static str,
    /// The size in bytes above which it is refused, without the [`PARTS`]. It is only ever lowered.
    limit: usize,
    /// The size in bytes that it should come down to.
    goal: usize,
}

/// All of them. Beside the command, crun is 480 KiB and its libraries.
pub(crate) const PROGRAMS: [Program; 2] = [
    Program {
        name: "init",
        limit: 241 * 1024,
        goal: 208 * 1024,
    },
    Program {
        name: "berth",
        limit: 429 * 1024,
        goal: 312 * 1024,
    },
];

/// A part that was added after the limits were set, and what it may add to each program.
struct Part {
    name: &'static str,
    /// In bytes, in the order of [`PROGRAMS`]. Only ever lowered.
    allowance: [usize; PROGRAMS.len()],
}

/// All parts. Their allowances are what they were measured to add.
const PARTS: &[Part] = &[
    Part {
        name: "the end",
        allowance: [7 * 1024, 256],
    },
    Part {
        name: "the health of filesystems",
        allowance: [5 * 256, 0],
    },
    Part {
        name: "what containers require, and when they are ready",
        allowance: [22 * 256, 9472],
    },
    Part {
        name: "the check of the root",
        allowance: [13 * 256, 0],
    },
    Part {
        name: "control, and the containers' lines",
        allowance: [11_776, 47_360],
    },
    Part {
        name: "the network",
        allowance: [13 * 256, 212 * 256],
    },
    Part {
        name: "disks that come and go",
        allowance: [20 * 256, 217 * 256],
    },
    Part {
        name: "the control inside containers",
        allowance: [0, 9 * 1024],
    },
    Part {
        name: "clients of the port that follow each other",
        allowance: [0, 6 * 256],
    },
    Part {
        name: "kexec by request",
        allowance: [0, 256],
    },
    Part {
        name: "files of what containers print",
        allowance: [3 * 256, 37 * 256],
    },
    Part {
        name: "time, randomness, and copies of the machine",
        allowance: [27 * 256, 60 * 256],
    },
];

impl Program {
    /// The size in bytes above which it is refused.
    fn limit(&self) -> usize {
        let place = PROGRAMS.iter().position(|other| other.name == self.name);
        let added = PARTS.iter().map(|part| part.allowance[place.unwrap_or(0)]);
        self.limit + added.sum::<usize>()
    }
}

/// Holds the program at `path` to the rules.
pub(crate) fn check(path: &Path) -> Result<()> {
    let bytes = read(path)?;
    let program = program_at(path)?;
    let (limit, goal) = (program.limit(), program.goal);
    let breaches = breaches(&bytes, limit).with_context(|| path.display().to_string())?;
    ensure!(
        breaches.is_empty(),
        "{} {}",
        path.display(),
        breaches.join(", ")
    );
    println!(
        "binary: {} is static, no segment is writable and executable; {} bytes (limit {limit}, goal {goal})",
        path.display(),
        bytes.len()
    );
    Ok(())
}

/// Prints the size of the file, and of its sections if it is a program.
pub(crate) fn sizes(path: &Path) -> Result<()> {
    let bytes = read(path)?;
    println!("{:>9}  {}", bytes.len(), path.display());
    if let Ok(program) = ElfFile64::<Endianness>::parse(&*bytes) {
        for section in program.sections() {
            println!("{:>9}    {}", section.size(), section.name().unwrap_or("?"));
        }
        let program = program_at(path)?;
        println!(
            "{:>9}    limit\n{:>9}    goal",
            program.limit(),
            program.goal
        );
        for Part { name, allowance } in PARTS {
            println!("          the limit has {allowance:?} bytes for {name}");
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}: `make init` builds it", path.display()))
}

fn program_at(path: &Path) -> Result<&'static Program> {
    PROGRAMS
        .iter()
        .find(|program| path.file_name().is_some_and(|name| name == program.name))
        .with_context(|| format!("{} is none of berth's programs", path.display()))
}

/// What is wrong with the program.
fn breaches(bytes: &[u8], limit: usize) -> Result<Vec<String>> {
    let program = ElfFile64::<Endianness>::parse(bytes).context("it is no 64-bit ELF file")?;
    let endian = program.endian();
    let mut breaches = Vec::new();
    if program.elf_header().e_type(endian) != ET_EXEC {
        breaches.push("is not linked to fixed addresses".to_owned());
    }
    let mut says_stack = false;
    for segment in program.elf_program_headers() {
        let flags = segment.p_flags(endian);
        match segment.p_type(endian) {
            PT_INTERP => breaches.push("asks for a dynamic loader".into()),
            PT_DYNAMIC => breaches.push("has dynamic sections".into()),
            PT_LOAD if flags.contains(PF_W | PF_X) => {
                let address = segment.p_vaddr(endian);
                breaches.push(format!(
                    "has a writable and executable segment at {address:#x}"
                ));
            }
            PT_GNU_STACK => {
                says_stack = true;
                if flags.contains(PF_X) {
                    breaches.push("has an executable stack".into());
                }
            }
            _ => {}
        }
    }
    if !says_stack {
        // The kernel takes silence for "executable" (fs/binfmt_elf.c).
        breaches.push("does not say that its stack is not executable".into());
    }
    if bytes.len() > limit {
        breaches.push(format!("has {} bytes, more than {limit}", bytes.len()));
    }
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1024;

    #[test]
    fn a_program_of_the_system_is_refused() {
        // This very test program: dynamic and large.
        let bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
        let breaches = breaches(&bytes, LIMIT).unwrap().join(", ");
        assert!(breaches.contains("asks for a dynamic loader"), "{breaches}");
        assert!(breaches.contains("has dynamic sections"), "{breaches}");
        let is_large = breaches.contains(&format!("more than {LIMIT}"));
        assert!(is_large, "{breaches}");
    }

    #[test]
    fn writable_code_and_an_executable_stack_are_refused() {
        let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
        let table = u64::from_le_bytes(bytes[0x20..0x28].try_into().unwrap()) as usize;
        let count = usize::from(u16::from_le_bytes(bytes[0x38..0x3a].try_into().unwrap()));
        for header in bytes[table..].chunks_mut(56).take(count) {
            header[4] |= 7;
        }
        let breaches = breaches(&bytes, LIMIT).unwrap().join(", ");
        assert!(
            breaches.contains("writable and executable segment"),
            "{breaches}"
        );
        assert!(breaches.contains("has an executable stack"), "{breaches}");
    }

    #[test]
    fn what_is_no_program_is_an_error() {
        assert!(breaches(b"#!/bin/sh\n", LIMIT).is_err());
    }
}
