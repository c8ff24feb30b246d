//! `pid1-carry`: what the machine carries over a reboot, for PID 1: the time of day and randomness.
//!
//! PID 1 starts this when `/` is the root, and containers start meanwhile. At the end of the
//! machine it has the seed written once more.
//!
//! # The clock
//!
//! Most kernels set it from the machine's clock chip (CONFIG_RTC_HCTOSYS). If it shows a time that
//! cannot be, it is taken from the chip; and if that shows none either, it is set to the latest
//! time that is known to have been, so that certificates of today are not of the future. systemd
//! does the same, and `/usr/lib/clock-epoch` is its file (systemd(1), "System clock epoch").
//!
//! # The seed
//!
//! A machine that has just started has gathered little that nobody can foresee. What it had
//! gathered before is kept in a file, [`SEED`]:
//!
//! 1. The seed is mixed into what the kernel has, which counts for nothing yet.
//! 2. A new seed is drawn from that, so it holds what the old one held. It takes the old one's
//!    place, and is on the disk.
//! 3. Only then the old one is credited. So whatever happens, none is credited twice.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, fstat, fstatfs, fsync, openat, renameat, stat, statfs,
    unlinkat,
};
use rustix::io::Errno;

use super::output::write_all;
use super::{Call, OrReport, Reported, Subcommand};
use crate::error::{Code, During, Fault, Op};
use crate::events::DIRECTORY as RUN;
use crate::parse::arguments::Opt;
use crate::parse::machine_change::{Clock, MachineChange, Seed};
use crate::sys::path::path;
use crate::sys::random::{self, Urgency};
use crate::sys::{clock, fs};

const AT_END: Opt = Opt {
    long: "at-end",
    short: None,
    value: None,
    about: "the machine ends: only write the seed",
};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "pid1-carry",
    operands: "",
    count: (0, 0),
    raw_from: usize::MAX,
    options: &[&AT_END],
    about: "set the clock, and keep a random seed, for PID 1",
    run: carry,
};

/// The directory of the root in which the seed is, and the seed.
const DIRECTORY: &str = "/var/lib/berth";
const SEED: &str = "random-seed";

/// The name that a new seed has until it is whole.
const NEXT: &str = "random-seed.new";

/// The length of a seed, in bytes.
const SEED_LEN: usize = 512;

/// A file whose time of change is a lower bound of the time of day, set by the maker of the root.
const EPOCH_FILE: &str = "/usr/lib/clock-epoch";

/// When this program was built, in seconds since 1970: SOURCE_DATE_EPOCH, or else 2026-11-01.
pub(super) const BUILT: u64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(digits) => number_of(digits.as_bytes()),
    None => 1_793_491_200,
};

const fn number_of(mut digits: &[u8]) -> u64 {
    let mut number = 0;
    while let [digit @ b'0'..=b'9', rest @ ..] = digits {
        number = number * 10 + (*digit - b'0') as u64;
        digits = rest;
    }
    number
}

fn carry(call: &Call<'_>) -> Result<u8, Reported> {
    if call.given.has(&AT_END) {
        write_last().or_report(call, Code::Seed)?;
        return Ok(0);
    }
    let tell = |change| {
        if let Some(supervisor) = call.journal.supervisor() {
            supervisor.tell_machine(change);
        }
    };
    if let Some(clock) = set_clock() {
        tell(MachineChange::Clock(clock));
    }
    let seed = carry_seed().or_report(call, Code::Seed)?;
    tell(MachineChange::Seed(seed));
    Ok(0)
}

/// Sets the clock if it shows a time that cannot be; from what.
fn set_clock() -> Option<Clock> {
    let seed = path(format_args!("{DIRECTORY}/{SEED}")).unwrap_or_default();
    let changed = |file: &str| stat(file).map_or(0, |stat| stat.st_mtime as u64);
    let bound = BUILT.max(changed(&seed)).max(changed(EPOCH_FILE));
    let (now, _) = clock::wall();
    let (time, source) = later_than(bound, now, &|| clock::of_chip())?;
    clock::set_wall(time, 0).ok()?;
    Some(source)
}

/// The time that the clock is to show, and where that is from; `None` if what it shows can be.
fn later_than(bound: u64, now: u64, chip: &dyn Fn() -> Option<u64>) -> Option<(u64, Clock)> {
    if now >= bound {
        return None;
    }
    let chip = chip().filter(|time| *time >= bound);
    Some(chip.map_or((bound, Clock::Bound), |time| (time, Clock::Chip)))
}

/// Carries the seed over.
fn carry_seed() -> Result<Seed, Fault> {
    let directory = match directory() {
        Err(fault) if fault.errno == Errno::ROFS => return Ok(Seed::Unkept),
        directory => directory?,
    };
    let mut old = [0; SEED_LEN];
    let has_old = read(&directory, &mut old);
    if has_old {
        random::mix(&old)?;
        // A kernel that has gathered nothing yet uses what it has.
        let _ = random::reseed();
    }
    if is_in_memory(&directory) {
        return Ok(Seed::Unkept);
    }
    let urgency = match has_old {
        true => Urgency::Now,
        false => Urgency::Patient,
    };
    match replace(&directory, urgency) {
        Ok(()) if has_old => random::credit(&old).map(|()| Seed::Credited),
        Ok(()) => Ok(Seed::Made),
        Err(fault) if fault.errno == Errno::ROFS => Ok(Seed::Unkept),
        Err(fault) => Err(fault),
    }
}

/// Writes a seed for the next boot, if there is a place for it and enough to draw it from.
fn write_last() -> Result<(), Fault> {
    let written = directory().and_then(|directory| match is_in_memory(&directory) {
        true => Ok(()),
        false => replace(&directory, Urgency::IfReady),
    });
    match written {
        Err(fault) if matches!(fault.errno, Errno::ROFS | Errno::AGAIN) => Ok(()),
        written => written,
    }
}

/// The directory of the seed, which is made.
fn directory() -> Result<OwnedFd, Fault> {
    for (end, _) in DIRECTORY
        .match_indices('/')
        .skip(1)
        .chain([(DIRECTORY.len(), "")])
    {
        fs::make_directory(DIRECTORY.get(..end).unwrap_or_default())?;
    }
    fs::open_directory(CWD, DIRECTORY)
}

/// Reads the seed; false if there is none that can be one.
fn read(directory: &OwnedFd, seed: &mut [u8; SEED_LEN]) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = openat(directory, SEED, flags, Mode::empty()) else {
        return false;
    };
    let is_ours = fstat(&file).is_ok_and(|stat| {
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        is_file && stat.st_uid == 0 && stat.st_size == SEED_LEN as i64
    });
    // A filesystem that was not unmounted may have the name, and not the bytes.
    is_ours && fs::read_up_to(&file, seed) == Ok(SEED_LEN) && seed.iter().any(|byte| *byte != 0)
}

/// Puts a new seed in the place of the old one, and sees it on the disk.
fn replace(directory: &OwnedFd, urgency: Urgency) -> Result<(), Fault> {
    let mut seed = [0; SEED_LEN];
    let mut write = || {
        random::fill(&mut seed, urgency)?;
        // One that was never finished.
        let _ = unlinkat(directory, NEXT, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let next = openat(directory, NEXT, flags, Mode::from_raw_mode(0o600))?;
        write_all(&next, &seed)?;
        fsync(&next)?;
        renameat(directory, NEXT, directory, SEED)?;
        fsync(directory)
    };
    write().during(Op::Write, format_args!("{DIRECTORY}/{SEED}"))
}

/// Whether what is written there is lost with the machine's memory. Then the seed that was read may
/// come again: it is part of an image.
fn is_in_memory(directory: &OwnedFd) -> bool {
    // Of include/uapi/linux/magic.h.
    const MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
    const OVERLAY: u64 = 0x794c_7630;
    let Ok(found) = fstatfs(directory.as_fd()) else {
        return true;
    };
    let mut kind = found.f_type as u64;
    if kind == OVERLAY {
        let upper = path(format_args!("{RUN}/upper")).unwrap_or_default();
        kind = statfs(upper.as_str()).map_or(0, |upper| upper.f_type as u64);
    }
    MEMORY.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> (std::path::PathBuf, OwnedFd) {
        let place = std::env::temp_dir().join(format!("berth-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let directory = fs::open_directory(CWD, place.to_str().unwrap()).unwrap();
        (place, directory)
    }

    #[test]
    fn clock_is_set_only_to_a_later_time() {
        for (now, chip, expected) in [
            (1000, Some(2000), None),
            (1001, None, None),
            (0, Some(2000), Some((2000, Clock::Chip))),
            (999, Some(1000), Some((1000, Clock::Chip))),
            (999, Some(999), Some((1000, Clock::Bound))),
            (0, None, Some((1000, Clock::Bound))),
        ] {
            let asked = || chip;
            assert_eq!(later_than(1000, now, &asked), expected, "{now} {chip:?}");
        }
    }

    #[test]
    fn a_time_is_read_from_its_digits() {
        assert_eq!(number_of(b"1793491200"), 1_793_491_200);
        assert_eq!(number_of(b""), 0);
    }

    #[test]
    fn a_seed_is_read_only_if_it_is_one() {
        let (place, directory) = place("read");
        let mut seed = [0; SEED_LEN];
        assert!(!read(&directory, &mut seed));
        let file = place.join(SEED);
        for bytes in [&[0; SEED_LEN][..], &[1; SEED_LEN - 1], &[1; SEED_LEN + 1]] {
            std::fs::write(&file, bytes).unwrap();
            assert!(!read(&directory, &mut seed), "{}", bytes.len());
        }
        std::fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn a_new_seed_takes_the_place_of_the_old_one() {
        let (place, directory) = place("replace");
        std::fs::write(place.join(NEXT), b"unfinished").unwrap();
        replace(&directory, Urgency::Patient).unwrap();
        let first = std::fs::read(place.join(SEED)).unwrap();
        replace(&directory, Urgency::Now).unwrap();
        let second = std::fs::read(place.join(SEED)).unwrap();
        assert_eq!((first.len(), second.len()), (SEED_LEN, SEED_LEN));
        assert_ne!(first, second);
        assert!(!place.join(NEXT).exists());
        std::fs::remove_dir_all(place).unwrap();
    }
}
