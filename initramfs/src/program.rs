//! The programs of an image: the kernel executes `/init` before there is any library or
//! interpreter, and `/init` executes berth when there is none any more.

use object::Endianness;
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64, Machine, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};

use crate::archive::Entry;

/// Where PID 1 looks for what it starts containers with.
pub(crate) const BERTH: &str = "usr/lib/berth/berth";

/// What keeps the program at `path` from running on a kernel of this machine; of berth's machines,
/// if it is not known.
pub(crate) fn defect_of(path: &str, program: &Entry, machine: Option<Machine>) -> Option<String> {
    if !program.is_file() {
        return Some(format!("/{path} is not a regular file"));
    }
    if program.mode & 0o111 == 0 {
        return Some(format!(
            "/{path} is not executable: its mode is {:04o}",
            program.mode & 0o7777
        ));
    }
    let Some((own, interpreted)) = read_header(&program.data) else {
        return Some(format!("/{path} is not a 64-bit ELF file, or damaged"));
    };
    if interpreted {
        return Some(format!(
            "/{path} is dynamically linked: the image needs a static one"
        ));
    }
    match machine {
        Some(machine) if own != machine => Some(format!(
            "/{path} is for {}, the modules are for {}",
            name(own),
            name(machine)
        )),
        None if own != EM_X86_64 && own != EM_AARCH64 => Some(format!(
            "/{path} is for {}; berth runs on x86_64 and aarch64",
            name(own)
        )),
        _ => None,
    }
}

/// The machine, and whether the file names an interpreter (a dynamic linker).
fn read_header(elf: &[u8]) -> Option<(Machine, bool)> {
    let header = FileHeader64::<Endianness>::parse(elf).ok()?;
    let endian = header.endian().ok()?;
    let mut segments = header.program_headers(endian, elf).ok()?.iter();
    let interpreted = segments.any(|segment| segment.p_type(endian) == PT_INTERP);
    Some((header.e_machine(endian), interpreted))
}

fn name(machine: Machine) -> String {
    match machine {
        EM_X86_64 => "x86_64".into(),
        EM_AARCH64 => "aarch64".into(),
        Machine(number) => format!("ELF machine {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::executable;

    fn defect(permissions: u32, data: &[u8], machine: Option<Machine>) -> String {
        defect_of("init", &Entry::file(permissions, data), machine).unwrap_or_default()
    }

    #[test]
    fn static_executable_of_the_same_machine_has_no_defect() {
        let elf = executable(EM_X86_64, false);
        assert_eq!(defect(0o755, &elf, None), "");
        assert_eq!(defect(0o755, &elf, Some(EM_X86_64)), "");
    }

    #[test]
    fn every_defect_has_its_own_text() {
        let good = executable(EM_X86_64, false);
        let link = defect_of("init", &Entry::symlink("sbin/init"), None);
        assert_eq!(link.as_deref(), Some("/init is not a regular file"));
        for (mode, data, machine, text) in [
            (
                0o644,
                &good,
                None,
                "/init is not executable: its mode is 0644",
            ),
            (
                0o755,
                &b"#!/bin/sh\n".to_vec(),
                None,
                "/init is not a 64-bit ELF file, or damaged",
            ),
            (
                0o755,
                &good[..70].to_vec(),
                None,
                "/init is not a 64-bit ELF file, or damaged",
            ),
            (
                0o755,
                &executable(EM_X86_64, true),
                None,
                "/init is dynamically linked: the image needs a static one",
            ),
            (
                0o755,
                &good,
                Some(EM_AARCH64),
                "/init is for x86_64, the modules are for aarch64",
            ),
            (
                0o755,
                &executable(Machine(243), false),
                None,
                "/init is for ELF machine 243; berth runs on x86_64 and aarch64",
            ),
        ] {
            assert_eq!(defect(mode, data, machine), text);
        }
    }
}
