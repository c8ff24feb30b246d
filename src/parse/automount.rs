//! Disks that come and go: which devices count as one, what a disk is called in the directory of
//! `berth.automount=`, and the rules of `/etc/berth/automount`.
//!
//! ```text
//! # match… -> options
//! label=BACKUP            -> ro,name=backup
//! type=vfat,exfat bus=usb -> umask=077,uid=1000
//! uuid=0123-4567          -> no
//!                         -> ro
//! ```
//!
//! All that stands before the arrow has to be true of a disk; nothing there is true of all. The
//! first line that is true counts. Labels may have the escapes of fstab(5), `\040` for a space.
//! Options are divided by commas or spaces: `no` (it is not mounted), `name=` (what it is called),
//! and those of mount(8), of which the last of contradicting ones counts.
//!
//! A label is a stranger's text. [`safe_name`] makes a name of it that leads nowhere else, and does
//! nothing to a terminal or to a program that takes it for an option.

use core::fmt;

use linux_raw_sys::general::{MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_REMOUNT};

use super::mount_options::{Meaning, MountFlags, meaning};
use super::superblock::Label;
use super::uuid::Uuid;
use crate::text::{Quoted, find, is_harmless};

/// The longest name, in bytes: with a number behind it, it is one that every filesystem takes.
pub const NAME_MAX: usize = 96;

/// What a disk is called.
pub type Name = heapless::String<NAME_MAX>;

/// Devices that are no disks: what somebody has made of other devices, of files or of memory, and
/// floppies, which cannot tell whether there is a medium.
const OTHERS: [&str; 8] = ["dm-", "fd", "loop", "mtdblock", "nbd", "ram", "zram", "zd"];

/// Whether what the kernel calls so may be a disk, or a partition of one.
#[must_use]
pub fn may_be_disk(name: &str) -> bool {
    let is_other = |other: &&str| {
        let rest = name.strip_prefix(*other);
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    // Those parts of an eMMC are only for it.
    let is_for_firmware = name.starts_with("mmcblk") && find(name.as_bytes(), b"boot").is_some();
    !OTHERS.iter().any(is_other) && !is_for_firmware
}

/// What a disk is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// USB, whatever the disk speaks on it.
    Usb,
    /// NVMe.
    Nvme,
    /// SD cards and eMMC.
    Mmc,
    /// SATA and IDE.
    Ata,
    /// A SCSI controller, that of virtio too.
    Scsi,
    /// virtio-blk.
    Virtio,
    /// Anything else.
    Other,
}

impl Bus {
    const ALL: [Self; 7] = [
        Self::Usb,
        Self::Nvme,
        Self::Mmc,
        Self::Ata,
        Self::Scsi,
        Self::Virtio,
        Self::Other,
    ];

    /// As rules name it.
    const fn name(self) -> &'static str {
        match self {
            Self::Usb => "usb",
            Self::Nvme => "nvme",
            Self::Mmc => "mmc",
            Self::Ata => "ata",
            Self::Scsi => "scsi",
            Self::Virtio => "virtio",
            Self::Other => "other",
        }
    }

    /// How the directories in sysfs begin that are only on the way to a disk of this bus.
    const fn directory(self) -> &'static str {
        match self {
            Self::Usb => "usb",
            Self::Nvme => "nvme",
            Self::Mmc => "mmc",
            Self::Ata => "ata",
            Self::Scsi => "host",
            Self::Virtio => "virtio",
            Self::Other => "",
        }
    }

    /// That of the device whose directory in sysfs has this path: `/devices/pci0000:00/…`. Disks on
    /// USB and SATA are SCSI disks for the kernel, and those of virtio-scsi are on both.
    #[must_use]
    pub fn of(devpath: &str) -> Self {
        let is_on = |bus: &Self| {
            let mut directories = devpath.split('/');
            directories.any(|directory| {
                let number = directory.strip_prefix(bus.directory());
                number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
            })
        };
        // "Other" is at the end, and is not looked for.
        let known = Self::ALL.iter().take_while(|bus| **bus != Self::Other);
        known.copied().find(is_on).unwrap_or(Self::Other)
    }
}

/// A name for the directory that a disk is mounted on, made of a label or whatever else; `None` if
/// nothing is left of it.
///
/// What divides paths, is not to be seen, is no UTF-8, or is not a name's on FAT becomes `_`. Dots
/// and hyphens do not begin a name, and neither dots nor spaces end it. What is too long is cut.
#[must_use]
pub fn safe_name(text: &[u8]) -> Option<Name> {
    let mut name = Name::new();
    for chunk in text.utf8_chunks() {
        let replaced = chunk.invalid().iter().map(|_| '_');
        for c in chunk.valid().chars().chain(replaced) {
            let is_bad = matches!(
                c,
                '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '\t'
            );
            let is_hidden = name.is_empty() && matches!(c, '.' | '-');
            let c = match c {
                ' ' if name.is_empty() => continue,
                _ if is_bad || is_hidden || !is_harmless(c) => '_',
                c => c,
            };
            // A name that is full stays as it is.
            let _ = name.push(c);
        }
    }
    let len = name.trim_end_matches([' ', '.']).len();
    name.truncate(len);
    (!name.is_empty()).then_some(name)
}

/// What rules are held against.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'f> {
    /// Its UUID.
    pub uuid: Option<&'f Uuid>,
    /// Its label.
    pub label: Option<&'f Label>,
    /// The type of its filesystem.
    pub fstype: &'f str,
    /// What it is attached to.
    pub bus: Bus,
}

/// The text of `/etc/berth/automount`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules<'a>(pub &'a [u8]);

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    conditions: &'a str,
    options: &'a str,
}

/// What a rule asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish<'a> {
    /// It is not to be mounted.
    pub is_refused: bool,
    /// What it is to be called.
    pub name: Option<Name>,
    /// Flags of the mount.
    pub flags: MountFlags,
    rule: Option<Rule<'a>>,
}

/// A line that does not count, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleError<'a> {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: RuleFault<'a>,
}

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleFault<'a> {
    /// It is not UTF-8.
    NotUtf8,
    /// It has no arrow.
    NoArrow,
    /// Before the arrow stands something else than `key=value`, or the value cannot be.
    Condition(&'a str),
    /// Behind it stands what makes no sense for a disk.
    Option(&'a str),
    /// There is nothing behind it.
    NoOption,
}

impl fmt::Display for RuleError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match self.fault {
            RuleFault::NotUtf8 => f.write_str("it is not UTF-8"),
            RuleFault::NoArrow => f.write_str("there is no ->"),
            RuleFault::NoOption => f.write_str("there is no option behind ->"),
            RuleFault::Condition(word) => write!(
                f,
                "{} is none of uuid=, label=, type= and bus=usb, nvme, mmc, ata, scsi, virtio or other",
                Quoted(word)
            ),
            RuleFault::Option(word) => {
                write!(
                    f,
                    "{} makes no sense for a disk that is mounted",
                    Quoted(word)
                )
            }
        }
    }
}

impl core::error::Error for RuleError<'_> {}

impl<'a> Rules<'a> {
    /// All rules, in order; or what is wrong with the line.
    pub fn each(self) -> impl Iterator<Item = Result<Rule<'a>, RuleError<'a>>> {
        let lines = self.0.split(|byte| *byte == b'\n').enumerate();
        lines.filter_map(|(before, line)| {
            let line = line.trim_ascii();
            let says_something = !matches!(line, [] | [b'#', ..]);
            let number = before.saturating_add(1);
            says_something.then(|| {
                Rule::parse(line).map_err(|fault| RuleError {
                    line: number,
                    fault,
                })
            })
        })
    }

    /// What the first rule that is true of a disk asks for. A disk of which none is true is mounted
    /// like any other.
    #[must_use]
    pub fn wish(self, facts: &Facts<'_>) -> Wish<'a> {
        let mut rules = self.each().filter_map(Result::ok);
        let rule = rules.find(|rule| rule.is_true_of(facts));
        rule.map_or(Wish::DEFAULT, Rule::wish)
    }
}

impl<'a> Rule<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, RuleFault<'a>> {
        let line = core::str::from_utf8(line).map_err(|_| RuleFault::NotUtf8)?;
        let arrow = find(line.as_bytes(), b"->").ok_or(RuleFault::NoArrow)?;
        let (conditions, rest) = line.split_at_checked(arrow).unwrap_or((line, ""));
        let rule = Self {
            conditions,
            options: rest.strip_prefix("->").unwrap_or_default(),
        };
        let mut conditions = rule.conditions();
        if let Some(word) = conditions.find(|word| Condition::parse(word).is_none()) {
            return Err(RuleFault::Condition(word));
        }
        if words(rule.options).next().is_none() {
            return Err(RuleFault::NoOption);
        }
        match words(rule.options).find(|word| !is_option(word)) {
            Some(word) => Err(RuleFault::Option(word)),
            None => Ok(rule),
        }
    }

    fn conditions(self) -> impl Iterator<Item = &'a str> {
        self.conditions.split_ascii_whitespace()
    }

    fn is_true_of(self, facts: &Facts<'_>) -> bool {
        let mut conditions = self.conditions().filter_map(Condition::parse);
        conditions.all(|condition| condition.is_true_of(facts))
    }

    fn wish(self) -> Wish<'a> {
        let mut wish = Wish {
            rule: Some(self),
            ..Wish::DEFAULT
        };
        for word in words(self.options) {
            match (word, word.strip_prefix("name=")) {
                ("no", _) => wish.is_refused = true,
                (_, Some(name)) => wish.name = safe_name(name.as_bytes()),
                _ => match meaning(word) {
                    Some(Meaning::Set(bits)) => wish.flags.set(bits),
                    Some(Meaning::Clear(bits)) => wish.flags.clear(bits),
                    _ => {}
                },
            }
        }
        wish
    }
}

/// The words behind the arrow. What is between double quotes divides nothing.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut in_quotes = false;
    let divides = move |c: char| {
        in_quotes ^= c == '"';
        !in_quotes && (c == ',' || c.is_ascii_whitespace())
    };
    text.split(divides).filter(|word| !word.is_empty())
}

fn is_option(word: &str) -> bool {
    if let Some(name) = word.strip_prefix("name=") {
        // One that would have to be changed is a mistake.
        return safe_name(name.as_bytes()).is_some_and(|safe| safe == name);
    }
    match meaning(word) {
        Some(Meaning::Set(bits)) => bits & (MS_BIND | MS_REMOUNT) == 0,
        Some(Meaning::Clear(_) | Meaning::UserSpace) => true,
        Some(_) => false,
        None => !word.contains(|c| !is_harmless(c)),
    }
}

impl Wish<'_> {
    /// What is done without a rule: nothing on a stranger's disk has the rights of the machine's
    /// own programs, is a device, or is executed.
    const DEFAULT: Self = Self {
        is_refused: false,
        name: None,
        flags: MountFlags {
            set: MS_NOSUID | MS_NODEV | MS_NOEXEC,
            clear: 0,
        },
        rule: None,
    };
}

impl<'a> Wish<'a> {
    /// The options for the filesystem, in order, as `key=value` or `key`.
    pub fn data(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let options = self.rule.map_or("", |rule| rule.options);
        let is_own = |word: &&str| *word == "no" || word.starts_with("name=");
        words(options).filter(move |word| !is_own(word) && meaning(word).is_none())
    }
}

/// One of the words before the arrow.
enum Condition<'a> {
    Uuid(&'a str),
    Label(&'a str),
    Type(&'a str),
    Bus(Bus),
}

impl<'a> Condition<'a> {
    fn parse(word: &'a str) -> Option<Self> {
        let (key, value) = word.split_once('=')?;
        let value = Some(value).filter(|value| !value.is_empty())?;
        Some(match key {
            "uuid" => Self::Uuid(value),
            "label" => Self::Label(value),
            "type" => Self::Type(value),
            "bus" => Self::Bus(Bus::ALL.into_iter().find(|bus| bus.name() == value)?),
            _ => return None,
        })
    }

    fn is_true_of(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Uuid(typed) => facts.uuid.is_some_and(|uuid| uuid.matches(typed)),
            Self::Label(typed) => facts.label.is_some_and(|label| label.is(typed)),
            Self::Type(types) => types.split(',').any(|fstype| fstype == facts.fstype),
            Self::Bus(bus) => *bus == facts.bus,
        }
    }
}

#[cfg(test)]
mod tests {
    use linux_raw_sys::general::{MS_NOATIME, MS_RDONLY};

    use super::*;

    #[test]
    fn disks_are_told_from_what_is_made_of_them_or_of_memory() {
        for name in [
            "sda",
            "sda1",
            "vdb",
            "nvme0n1p2",
            "mmcblk0",
            "mmcblk0p1",
            "sr0",
            "xvda",
            "hda",
            "pmem0",
            "cciss!c0d0",
            "dasda",
            "md0",
            "md127p1",
        ] {
            assert!(may_be_disk(name), "{name}");
        }
        for name in [
            "loop0",
            "loop1p1",
            "dm-0",
            "ram3",
            "zram0",
            "nbd2",
            "nbd2p1",
            "fd0",
            "zd16",
            "mtdblock3",
            "mmcblk0boot0",
            "mmcblk1boot1",
        ] {
            assert!(!may_be_disk(name), "{name}");
        }
    }

    #[test]
    fn the_bus_is_that_which_people_plug_into() {
        let pci = "/devices/pci0000:00/0000:00:04.0";
        for (devpath, bus) in [
            (
                "/usb1/1-1/1-1:1.0/host2/target2:0:0/2:0:0:0/block/sdb/sdb1",
                Bus::Usb,
            ),
            ("/virtio1/host0/target0:0:1/0:0:1:0/block/sda", Bus::Scsi),
            ("/virtio2/block/vda/vda1", Bus::Virtio),
            ("/nvme/nvme0/nvme0n1/nvme0n1p1", Bus::Nvme),
            ("/ata3/host2/target2:0:0/2:0:0:0/block/sda", Bus::Ata),
            ("/mmc_host/mmc0/mmc0:4567/block/mmcblk0", Bus::Mmc),
            ("/host4/target4:0:0/4:0:0:0/block/sdc", Bus::Scsi),
            ("/block/xvda", Bus::Other),
        ] {
            assert_eq!(Bus::of(&format!("{pci}{devpath}")), bus, "{devpath}");
        }
    }

    fn name(text: impl AsRef<[u8]>) -> Option<String> {
        safe_name(text.as_ref()).map(|name| name.as_str().to_owned())
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        for (label, expected) in [
            ("BACKUP", Some("BACKUP")),
            ("My Disk", Some("My Disk")),
            ("\u{dc}bung \u{1f4be}", Some("\u{dc}bung \u{1f4be}")),
            ("../x", Some("_._x")),
            (".", Some("_")),
            ("..", Some("_")),
            ("", None),
            ("   ", None),
            ("/etc", Some("_etc")),
            ("a/b", Some("a_b")),
            ("-rf", Some("_rf")),
            (".ssh", Some("_ssh")),
            ("end. .", Some("end")),
            ("a\0b\n\t\u{1b}[2J", Some("a_b___[2J")),
            ("a\u{202e}b\u{200b}", Some("a_b_")),
            ("c:\\d*?\"<>|", Some("c__d______")),
        ] {
            assert_eq!(name(label).as_deref(), expected, "{label:?}");
        }
        assert_eq!(name(b"a\xff\xfeb").unwrap(), "a__b");
        assert_eq!(name(b"\xf0\x9f").unwrap(), "__");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(name("x".repeat(10_000)).unwrap().len(), NAME_MAX);
        let name = name("\u{1f4be}".repeat(10_000)).unwrap();
        assert_eq!(name.chars().count(), NAME_MAX / 4);
    }

    fn wish<'a>(rules: &'a str, label: &str, fstype: &str, bus: Bus) -> Wish<'a> {
        let label = Label::padded(label.as_bytes(), 0);
        let facts = Facts {
            uuid: Some(&Uuid::Serial(0x0123_4567)),
            label: label.as_ref(),
            fstype,
            bus,
        };
        Rules(rules.as_bytes()).wish(&facts)
    }

    const RULES: &str = "# rules\n\
        \n\
        label=BACK\\040UP -> ro,name=backup\n\
        type=vfat,exfat bus=usb -> umask=077 uid=1000,noatime exec\n\
        uuid=0123-4567 bus=nvme -> no\n\
        -> ro";

    const STRICT: u32 = MS_NOSUID | MS_NODEV | MS_NOEXEC;

    #[test]
    fn the_first_rule_that_is_true_counts() {
        let backup = wish(RULES, "BACK UP", "vfat", Bus::Usb);
        assert_eq!(backup.name.as_deref(), Some("backup"));
        assert_eq!(backup.flags.set, STRICT | MS_RDONLY);
        assert_eq!(backup.data().count(), 0);
        let stick = wish(RULES, "STICK", "exfat", Bus::Usb);
        assert_eq!((stick.is_refused, stick.name.clone()), (false, None));
        assert_eq!(stick.flags.set, MS_NOSUID | MS_NODEV | MS_NOATIME);
        let data: Vec<_> = stick.data().collect();
        assert_eq!(data, ["umask=077", "uid=1000"]);
        assert!(wish(RULES, "", "ext4", Bus::Nvme).is_refused);
        assert_eq!(
            wish(RULES, "", "ext4", Bus::Ata).flags.set,
            STRICT | MS_RDONLY
        );
        let without = wish("", "x", "vfat", Bus::Usb);
        assert_eq!((without.flags.set, without.is_refused), (STRICT, false));
    }

    #[test]
    fn a_line_that_is_wrong_is_told_by_its_number_and_the_others_count() {
        let text = "label=A -> ro\n\
            label=B ro\n\
            labell=C -> ro\n\
            bus=floppy -> ro\n\
            label= -> ro\n\
            label=D ->\n\
            label=E -> bind\n\
            label=F -> rslave\n\
            label=G -> name=../g\n\
            label=H -> name=\n\
            label=I -> x\u{1b}[2J\n\
            label=J -> no";
        let wrong: Vec<_> = Rules(text.as_bytes())
            .each()
            .filter_map(|rule| rule.err().map(|error| error.to_string()))
            .collect();
        let condition =
            "is none of uuid=, label=, type= and bus=usb, nvme, mmc, ata, scsi, virtio or other";
        let option = "makes no sense for a disk that is mounted";
        assert_eq!(
            wrong,
            [
                "line 2: there is no ->".to_owned(),
                format!("line 3: \"labell=C\" {condition}"),
                format!("line 4: \"bus=floppy\" {condition}"),
                format!("line 5: \"label=\" {condition}"),
                "line 6: there is no option behind ->".to_owned(),
                format!("line 7: \"bind\" {option}"),
                format!("line 8: \"rslave\" {option}"),
                format!("line 9: \"name=../g\" {option}"),
                format!("line 10: \"name=\" {option}"),
                format!("line 11: \"x\\u{{1b}}[2J\" {option}"),
            ]
        );
        assert!(wish(text, "J", "vfat", Bus::Usb).is_refused);
        let bytes = b"\xff -> ro\n-> no";
        let mut all = Rules(bytes).each();
        let error = all.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "line 1: it is not UTF-8");
        assert!(all.next().unwrap().is_ok() && all.next().is_none());
    }

    #[test]
    fn what_is_between_quotes_divides_nothing() {
        let rules = "-> context=\"a b,c\",ro";
        let wish = wish(rules, "", "ext4", Bus::Usb);
        assert_eq!(wish.data().collect::<Vec<_>>(), ["context=\"a b,c\""]);
        assert_eq!(wish.flags.set, STRICT | MS_RDONLY);
    }
}
