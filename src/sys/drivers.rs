//! Drivers that devices and filesystems ask for, and the indexes that say which modules those are.
//!
//! A device names the drivers that could serve it by its *modalias*, which `modules.alias` has
//! patterns for; a filesystem is asked for as `fs-<type>`. PID 1 and
//! `berth` both load them and report failures in their own ways; what they share is here.

use core::fmt::Write as _;

use rustix::fs::lstat;
use rustix::io::Errno;
use rustix::system::uname;

use super::fs::{each_name, read_attribute};
use super::module::{self, Mapped};
use super::path::path;
use crate::cause::Cause;
use crate::error::{During, Fault, Op};
use crate::parse::modules::{Alias, Builtin, Dep, IndexError, Indexes, Softdep, module_name};
use crate::plan::Plan;
use crate::text::{Text, contains};

/// Where PID 1 leaves what is for its own runs.
pub const RUN: &str = "/run/berth-boot";

/// Where the modules of the image are after the switch, if they are kept.
pub const KEPT_MODULES: &str = "/run/berth-boot/modules";

const BUSES: &str = "/sys/bus";

/// The longest modalias: a page, as an attribute of sysfs has at most.
const MODALIAS_MAX: usize = 4096;

/// The most bytes of parameters for one module.
const PARAMETERS_MAX: usize = 1024;

/// The character sets that vfat asks the kernel for by name, where neither the mount options nor a
/// softdep says which: a codepage for short names and a character set for long ones
/// (CONFIG_FAT_DEFAULT_CODEPAGE and _IOCHARSET; these are the kernel's own default and those of
/// distributions).
const VFAT_CHARACTER_SETS: &[&str] = &["nls_cp437", "nls_ascii", "nls_iso8859-1", "nls_utf8"];

/// The running kernel's release, `uname -r` (at most 64 bytes, uname(2)).
pub fn release() -> Text<65> {
    Text::new(uname().release().to_str().unwrap_or("?"))
}

/// depmod's indexes of one directory of modules, as mapped files.
pub struct IndexFiles {
    dep: Mapped,
    softdep: Option<Mapped>,
    alias: Option<Mapped>,
    builtin: Option<Mapped>,
}

impl IndexFiles {
    /// Those in `directory`; `None` if it has no `modules.dep`.
    ///
    /// # Errors
    /// Those of openat(2) and mmap(2).
    #[inline(never)]
    pub fn open(directory: &str) -> Result<Option<Self>, Fault> {
        let optional = |name: &str| -> Result<Option<Mapped>, Fault> {
            let file = path(format_args!("{directory}/{name}"));
            let file = file.map_err(|errno| Fault::new(Op::Open, &name, errno))?;
            match Mapped::open(&file) {
                Err(fault) if fault.errno == Errno::NOENT => Ok(None),
                result => result.map(Some),
            }
        };
        let Some(dep) = optional("modules.dep")? else {
            return Ok(None);
        };
        Ok(Some(Self {
            dep,
            softdep: optional("modules.softdep")?,
            alias: optional("modules.alias")?,
            builtin: optional("modules.builtin")?,
        }))
    }

    /// All indexes, checked: a damaged one is reported by its line before anything is loaded.
    ///
    /// # Errors
    /// The first line that is not of its index's form.
    #[inline(never)]
    pub fn check(&self) -> Result<Indexes<'_>, IndexError> {
        Ok(Indexes {
            dep: Dep::new(self.dep.bytes())?,
            softdep: Softdep::new(bytes(&self.softdep))?,
            alias: Alias::new(bytes(&self.alias))?,
            builtin: Builtin::new(bytes(&self.builtin))?,
        })
    }

    /// The indexes as they were checked. What is built in is left out: nobody asks when a device or
    /// a filesystem is served, and the index is the longest.
    pub fn indexes(&self) -> Indexes<'_> {
        let text = |bytes| core::str::from_utf8(bytes).unwrap_or_default();
        Indexes {
            dep: Dep::checked(text(self.dep.bytes())),
            softdep: Softdep::checked(text(bytes(&self.softdep))),
            alias: Alias::checked(text(bytes(&self.alias))),
            builtin: Builtin::default(),
        }
    }
}

fn bytes(index: &Option<Mapped>) -> &[u8] {
    index.as_ref().map(Mapped::bytes).unwrap_or_default()
}

/// Hands the file at `path` to the kernel, with its parameters in `plan`.
///
/// # Errors
/// Those of [`module::load`]; `E2BIG` for more parameters than there is room for.
pub fn insert(plan: &Plan<'_>, path: &str) -> Result<(), Fault> {
    let mut parameters = heapless::String::<PARAMETERS_MAX>::new();
    plan.module_parameters(module_name(path))
        .try_for_each(|parameter| write!(parameters, "{parameter} "))
        .map_err(|_| Errno::TOOBIG)
        .during(Op::LoadModule, format_args!("{path} with its parameters"))?;
    module::load(path, &mut parameters)
}

/// Whether a module only has nothing to do here: its driver finds nothing to drive (`ENODEV` of
/// crc32-pclmul where the processor lacks the instruction, `EOPNOTSUPP` of kvm_intel), or the
/// kernel's own `module_blacklist=` names it. `EOPNOTSUPP` is also the answer to a compressed file
/// where the kernel cannot decompress it (kernel/module/decompress.c).
pub fn is_not_for_this_machine(fault: &Fault, file: &str, cause: Cause) -> bool {
    let is_readable = || file.ends_with(".ko") || lstat(c"/sys/module/compression").is_ok();
    match fault.errno {
        _ if fault.op != Op::LoadModule => false,
        Errno::NODEV | Errno::NXIO => true,
        Errno::OPNOTSUPP => is_readable(),
        errno => errno == Errno::PERM && cause == Cause::Blacklisted,
    }
}

/// Calls `visit` with the character sets that a filesystem of this type needs with these options of
/// a mount; `has_softdeps` says that an index knows what vfat needs.
pub fn each_character_set(
    fstype: &str,
    options: &str,
    has_softdeps: bool,
    visit: &mut dyn FnMut(&str),
) {
    for option in options.split(',') {
        let set = match option.split_once('=') {
            Some(("iocharset" | "nls", set)) => path(format_args!("nls_{set}")),
            Some(("codepage", page)) => path(format_args!("nls_cp{page}")),
            _ => continue,
        };
        if let Ok(set) = set {
            visit(&set);
        }
    }
    if fstype == "vfat" && !has_softdeps {
        for set in VFAT_CHARACTER_SETS {
            visit(set);
        }
    }
}

/// Calls `visit` with the modalias and the name of each device that has no driver, until it answers
/// `false`.
#[inline(never)]
pub fn each_driverless(visit: &mut dyn FnMut(&str, &str) -> bool) {
    let mut goes_on = true;
    // A bus, or a device, that vanishes meanwhile asks for nothing.
    let _ = each_name(BUSES, |bus| {
        let Ok(devices) = path(format_args!("{BUSES}/{bus}/devices")) else {
            return true;
        };
        let _ = each_name(&devices, |device| {
            let mut buffer = [0; MODALIAS_MAX];
            // Cards tell it in their uevents alone (mmc_bus_uevent() of drivers/mmc/core/bus.c).
            let (file, key) = match bus {
                "mmc" => ("uevent", "MODALIAS="),
                _ => ("modalias", ""),
            };
            let file = format_args!("{devices}/{device}/{file}");
            let modalias = read_attribute(file, &mut buffer)
                .and_then(|text| core::str::from_utf8(text).ok())
                .and_then(|text| text.lines().find_map(|line| line.strip_prefix(key)));
            let driver = path(format_args!("{devices}/{device}/driver"));
            let has_driver = driver.is_ok_and(|link| lstat(link.as_str()).is_ok());
            if let Some(modalias) = modalias
                && !has_driver
            {
                goes_on = visit(modalias, device);
            }
            goes_on
        });
        goes_on
    });
}

/// Whether a device with this modalias is a disk, or what disks are attached to: by the classes of
/// PCI and USB, and by the bus.
pub fn may_lead_to_a_disk(modalias: &str) -> bool {
    const CLASSES: &[(&str, &str)] = &[
        // PCI code and ID assignment: mass storage; USB controllers; SD host controllers; virtio of
        // any class.
        ("pci:", "bc01"),
        ("pci:", "bc0Csc03"),
        ("pci:", "bc08sc05"),
        ("pci:v00001AF4", ""),
        // USB class codes: mass storage.
        ("usb:", "ic08"),
        ("virtio:", "d00000002"),
        ("virtio:", "d00000008"),
        ("virtio:", "d0000001A"),
        ("scsi:", "t-0x0"),
        ("mmc:", "block"),
    ];
    CLASSES
        .iter()
        .any(|(bus, class)| modalias.starts_with(bus) && contains(modalias, class))
}

#[cfg(test)]
mod tests {
    use super::may_lead_to_a_disk;

    #[test]
    fn what_leads_to_disks_is_told_from_what_does_not() {
        for (modalias, expected) in [
            (
                "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00",
                true,
            ),
            (
                "pci:v00008086d00007010sv00001AF4sd00001100bc01sc01i80",
                true,
            ),
            (
                "pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30",
                true,
            ),
            ("virtio:d00000002v00001AF4", true),
            ("virtio:d00000003v00001AF4", false),
            (
                "pci:v00008086d0000100Esv00001234sd00001100bc02sc00i00",
                false,
            ),
            (
                "pci:v00008086d00007000sv00001AF4sd00001100bc06sc01i00",
                false,
            ),
            ("acpi:PNP0A03:", false),
        ] {
            assert_eq!(may_lead_to_a_disk(modalias), expected, "{modalias}");
        }
    }
}
