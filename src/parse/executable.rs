//! What kind of program a file is: a script, or an ELF executable.
//!
//! Source: elf(5), and for scripts execve(2), "Interpreter scripts". Only the beginning of the file
//! is looked at; the program headers of an executable are there in practice, and one whose headers
//! are elsewhere is refused rather than guessed at.

#![forbid(unsafe_code)]

use core::fmt;
use core::ops::Range;

const MAGIC: &[u8] = b"\x7fELF";
const CLASS: usize = 0x04;
const DATA: usize = 0x05;
const TYPE: Range<usize> = 0x10..0x12;
const MACHINE: Range<usize> = 0x12..0x14;
const PHOFF: Range<usize> = 0x20..0x28;
const PHENTSIZE: Range<usize> = 0x36..0x38;
const PHNUM: Range<usize> = 0x38..0x3a;

const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;

const P_TYPE: Range<usize> = 0x00..0x04;
const P_OFFSET: Range<usize> = 0x08..0x10;
const P_FILESZ: Range<usize> = 0x20..0x28;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;

/// A program, as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executable<'a> {
    /// An ELF file.
    Elf {
        /// `e_machine`.
        machine: u16,
        /// The dynamic loader, if it wants one.
        interpreter: Option<&'a str>,
        /// Where the last of its segments ends, in bytes from the start of the file. A file that is
        /// shorter is executed all the same, and then killed by the first access to what is
        /// missing.
        end: u64,
    },
    /// A script for the program `interpreter`.
    Script {
        /// The path behind `#!`.
        interpreter: &'a str,
    },
}

/// Why the kernel would not execute the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutableError {
    /// It is empty.
    Empty,
    /// It is neither a script nor an ELF file.
    Format,
    /// It is an ELF file of another word size or byte order.
    Class,
    /// It is an ELF file, but an object file, a core dump or the like.
    Type,
    /// Its program headers, or the name of its loader, lie outside what was read.
    Headers,
    /// The first line of the script names no interpreter.
    Interpreter,
}

impl fmt::Display for ExecutableError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Empty => "the file is empty",
            Self::Format => "it is neither a script (#!) nor an ELF file",
            Self::Class => "it is not a 64-bit little-endian ELF file",
            Self::Type => "it is an ELF file, but not an executable",
            Self::Headers => "its ELF program headers are damaged",
            Self::Interpreter => "the line behind #! names no interpreter",
        })
    }
}

impl core::error::Error for ExecutableError {}

impl<'a> Executable<'a> {
    /// Recognises a program by `head`, its first bytes (4 KiB are enough for what linkers produce).
    ///
    /// # Errors
    /// See [`ExecutableError`].
    pub fn parse(head: &'a [u8]) -> Result<Self, ExecutableError> {
        if let Some(line) = head.strip_prefix(b"#!") {
            return script(line);
        }
        if head.is_empty() {
            return Err(ExecutableError::Empty);
        }
        if !head.starts_with(MAGIC) {
            return Err(ExecutableError::Format);
        }
        if head.get(CLASS) != Some(&CLASS_64) || head.get(DATA) != Some(&LITTLE_ENDIAN) {
            return Err(ExecutableError::Class);
        }
        elf(head)
    }
}

/// As `fs/binfmt_script.c` has it: spaces and tabs separate, line feed and NUL end. A carriage
/// return is part of the name, which is why a script with DOS line ends does not run.
fn script(text: &[u8]) -> Result<Executable<'_>, ExecutableError> {
    let line = text.split(|byte| matches!(byte, b'\n' | 0)).next();
    let mut words = line
        .unwrap_or_default()
        .split(|byte| matches!(byte, b' ' | b'\t'));
    words
        .find(|word| !word.is_empty())
        .and_then(|name| core::str::from_utf8(name).ok())
        .map(|interpreter| Executable::Script { interpreter })
        .ok_or(ExecutableError::Interpreter)
}

fn elf(head: &[u8]) -> Result<Executable<'_>, ExecutableError> {
    const CUT: ExecutableError = ExecutableError::Headers;
    let kind = u16_at(head, TYPE).ok_or(CUT)?;
    if kind != ET_EXEC && kind != ET_DYN {
        return Err(ExecutableError::Type);
    }
    let machine = u16_at(head, MACHINE).ok_or(CUT)?;
    let start = u64_at(head, PHOFF).ok_or(CUT)?;
    let size = usize::from(u16_at(head, PHENTSIZE).ok_or(CUT)?);
    let count = usize::from(u16_at(head, PHNUM).ok_or(CUT)?);
    let mut interpreter = None;
    let mut end = 0;
    for number in 0..count {
        let at = offset(start, number.saturating_mul(size) as u64).ok_or(CUT)?;
        let header = head
            .get(at..)
            .and_then(|rest| rest.get(..size))
            .ok_or(CUT)?;
        let kind = header
            .get(P_TYPE)
            .and_then(|bytes| bytes.first_chunk())
            .ok_or(CUT)?;
        let from = u64_at(header, P_OFFSET).ok_or(CUT)?;
        let len = u64_at(header, P_FILESZ).ok_or(CUT)?;
        match u32::from_le_bytes(*kind) {
            PT_LOAD => end = end.max(from.checked_add(len).ok_or(CUT)?),
            // The kernel takes the first one.
            PT_INTERP if interpreter.is_none() => interpreter = Some(loader(head, from, len)?),
            _ => {}
        }
    }
    Ok(Executable::Elf {
        machine,
        interpreter,
        end,
    })
}

/// The path of the dynamic loader, which stands at `from` in the file.
fn loader(head: &[u8], from: u64, len: u64) -> Result<&str, ExecutableError> {
    const CUT: ExecutableError = ExecutableError::Headers;
    let (from, len) = (offset(from, 0).ok_or(CUT)?, offset(len, 0).ok_or(CUT)?);
    let name = head
        .get(from..)
        .and_then(|rest| rest.get(..len))
        .ok_or(CUT)?;
    // The kernel wants a NUL at the end and then reads up to the first one.
    let name = name.strip_suffix(b"\0").ok_or(CUT)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    if name.is_empty() {
        return Err(CUT);
    }
    core::str::from_utf8(name).map_err(|_| CUT)
}

fn offset(start: u64, more: u64) -> Option<usize> {
    usize::try_from(start.checked_add(more)?).ok()
}

fn u16_at(bytes: &[u8], range: Range<usize>) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(range)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], range: Range<usize>) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(range)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_its_interpreter() {
        for (head, interpreter) in [
            (&b"#!/bin/sh\necho"[..], "/bin/sh"),
            (b"#! /usr/bin/env -S perl\n", "/usr/bin/env"),
            (b"#!/bin/sh", "/bin/sh"),
            (b"#!/bin/sh\r\n", "/bin/sh\r"),
            (b"#!\t/bin/sh\0\xff", "/bin/sh"),
        ] {
            assert_eq!(
                Executable::parse(head),
                Ok(Executable::Script { interpreter })
            );
        }
        assert_eq!(
            Executable::parse(b"#!\n/bin/sh"),
            Err(ExecutableError::Interpreter)
        );
    }

    #[test]
    fn a_dynamic_program_names_its_loader() {
        let head = std::fs::read("/proc/self/exe").unwrap();
        let Ok(Executable::Elf {
            machine,
            interpreter,
            end,
        }) = Executable::parse(&head[..4096])
        else {
            panic!("a test program is an ELF file");
        };
        let of_this_machine = if cfg!(target_arch = "x86_64") {
            62
        } else {
            183
        };
        assert_eq!(machine, of_this_machine);
        assert_eq!(usize::try_from(end).map(|end| end <= head.len()), Ok(true));
        assert!(
            interpreter.unwrap().contains("/ld-linux"),
            "{interpreter:?}"
        );
    }

    #[test]
    fn what_the_kernel_cannot_execute_is_refused_with_the_reason() {
        let mut object = std::fs::read("/proc/self/exe").unwrap()[..4096].to_vec();
        assert_eq!(
            Executable::parse(&object[..0x30]),
            Err(ExecutableError::Headers)
        );
        object[0x10] = 1;
        assert_eq!(Executable::parse(&object), Err(ExecutableError::Type));
        object[CLASS] = 1;
        assert_eq!(Executable::parse(&object), Err(ExecutableError::Class));
        assert_eq!(Executable::parse(b"hello"), Err(ExecutableError::Format));
        assert_eq!(Executable::parse(b""), Err(ExecutableError::Empty));
    }

    #[test]
    fn headers_that_point_outside_are_refused() {
        let program = std::fs::read("/proc/self/exe").unwrap()[..4096].to_vec();
        for offset in [0xffff_ffff_ffff_ffff_u64, 0x1000, 4090] {
            let mut head = program.clone();
            head[PHOFF].copy_from_slice(&offset.to_le_bytes());
            assert_eq!(Executable::parse(&head), Err(ExecutableError::Headers));
        }
    }
}
