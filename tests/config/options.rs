//! The words of a mount's options, as config.md ("Linux mount options") and mount(8) explain them;
//! with the numbers of include/uapi/linux/mount.h.

const RDONLY: u32 = 1;
const NOSUID: u32 = 2;
const NODEV: u32 = 4;
const NOEXEC: u32 = 8;
const SYNCHRONOUS: u32 = 16;
const REMOUNT: u32 = 32;
const MANDLOCK: u32 = 64;
const DIRSYNC: u32 = 128;
const NOSYMFOLLOW: u32 = 256;
const NOATIME: u32 = 1024;
const NODIRATIME: u32 = 2048;
pub(crate) const BIND: u32 = 4096;
const REC: u32 = 16384;
const SILENT: u32 = 32768;
const RELATIME: u32 = 1 << 21;
const I_VERSION: u32 = 1 << 23;
const STRICTATIME: u32 = 1 << 24;
const LAZYTIME: u32 = 1 << 25;

/// A bit, the word that sets it, and the one that clears it.
const BITS: [(u32, &str, &str); 17] = [
    (RDONLY, "ro", "rw"),
    (NOSUID, "nosuid", "suid"),
    (NODEV, "nodev", "dev"),
    (NOEXEC, "noexec", "exec"),
    (NOATIME, "noatime", "atime"),
    (RELATIME, "relatime", "norelatime"),
    (STRICTATIME, "strictatime", "nostrictatime"),
    (NODIRATIME, "nodiratime", "diratime"),
    (NOSYMFOLLOW, "nosymfollow", "symfollow"),
    (SYNCHRONOUS, "sync", "async"),
    (DIRSYNC, "dirsync", ""),
    (LAZYTIME, "lazytime", "nolazytime"),
    (I_VERSION, "iversion", "noiversion"),
    (MANDLOCK, "mand", "nomand"),
    (SILENT, "silent", "loud"),
    (REMOUNT, "remount", ""),
    (BIND, "bind", ""),
];

/// What the words of one mount come to.
#[derive(Default)]
pub(crate) struct Options {
    /// `MS_*` bits that are asked for, and those that are asked not to be.
    pub(crate) flags: [u32; 2],
    /// The same for all mounts below it.
    pub(crate) below: [u32; 2],
    pub(crate) propagation: Option<(String, bool)>,
    pub(crate) map_ids: Option<bool>,
    pub(crate) copy_up: bool,
    /// What is the filesystem's.
    pub(crate) data: String,
}

pub(crate) fn read(words: &[String]) -> Options {
    let mut options = Options::default();
    let mut data = Vec::new();
    for word in words {
        let one = |word: &str| {
            let found = BITS
                .iter()
                .find(|(_, on, off)| !word.is_empty() && (*on == word || *off == word));
            found.map(|(bit, on, _)| (*bit, *on == word))
        };
        let below = word
            .strip_suffix("=recursive")
            .or_else(|| word.strip_prefix('r'));
        let kind = word.strip_prefix('r').unwrap_or(word);
        match word.as_str() {
            "" | "defaults" => {}
            // For programs that read fstab(5).
            "nofail" | "_netdev" | "noauto" => {}
            word if word.starts_with("x-") => {}
            "rbind" => apply(&mut options.flags, BIND | REC, true),
            "tmpcopyup" => options.copy_up = true,
            "idmap" | "ridmap" => options.map_ids = Some(word == "ridmap"),
            _ if matches!(kind, "private" | "shared" | "slave" | "unbindable") => {
                options.propagation = Some((kind.to_owned(), kind != word));
            }
            _ => match (one(word), below.and_then(one)) {
                (Some((bit, is_on)), _) => apply(&mut options.flags, bit, is_on),
                (None, Some((bit, is_on))) => {
                    apply(&mut options.flags, bit, is_on);
                    apply(&mut options.below, bit, is_on);
                }
                (None, None) => data.push(word.as_str()),
            },
        }
    }
    // What is bound has a filesystem, and that its own options.
    if options.flags[0] & BIND != 0 {
        data.clear();
        for bits in &mut options.flags {
            *bits &= !(SYNCHRONOUS | DIRSYNC | LAZYTIME | MANDLOCK);
        }
    }
    options.data = data.join(",");
    options
}

fn apply([set, clear]: &mut [u32; 2], bits: u32, is_on: bool) {
    // Of the three ways to keep access times there is one.
    let others = match bits {
        NOATIME | RELATIME | STRICTATIME if is_on => NOATIME | RELATIME | STRICTATIME,
        _ => 0,
    };
    *set &= !(bits | others);
    *clear &= !bits;
    match is_on {
        true => *set |= bits,
        false => *clear |= bits,
    }
}
