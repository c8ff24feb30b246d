//! The words of mount(8): flags for the kernel, propagation, and the rest, which is the
//! filesystem's.
//!
//! Bundles list them one by one (`config.md` of the runtime-spec, "Linux mount options"),
//! `rootflags=` joins them by commas.

use linux_raw_sys::general::{
    MS_BIND, MS_DIRSYNC, MS_I_VERSION, MS_LAZYTIME, MS_MANDLOCK, MS_NOATIME, MS_NODEV,
    MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW, MS_RDONLY, MS_REC, MS_RELATIME,
    MS_REMOUNT, MS_SILENT, MS_STRICTATIME, MS_SYNCHRONOUS,
};

/// Flags that are asked for. The last of contradicting words wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountFlags {
    /// `MS_*` bits that are asked for.
    pub set: u32,
    /// `MS_*` bits that are asked not to be: a bind mount inherits those that are in neither.
    pub clear: u32,
}

impl MountFlags {
    /// Asks for these bits.
    pub fn set(&mut self, bits: u32) {
        // The three ways to keep access times exclude each other.
        if bits & ATIME != 0 {
            self.set &= !ATIME;
        }
        self.set |= bits;
        self.clear &= !bits;
    }

    /// Asks for these bits not to be.
    pub fn clear(&mut self, bits: u32) {
        self.set &= !bits;
        self.clear |= bits;
    }
}

/// How mount events propagate (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all.
    Private,
    /// To and from its peers.
    Shared,
    /// From its master only.
    Slave,
    /// Not at all, and it cannot be bound.
    Unbindable,
}

impl Propagation {
    /// The words of the specification, also as mount(8) has them for all mounts below: engines
    /// write those, and mean the same.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.strip_prefix('r').unwrap_or(word) {
            "private" => Self::Private,
            "shared" => Self::Shared,
            "slave" => Self::Slave,
            "unbindable" => Self::Unbindable,
            _ => return None,
        })
    }
}

/// Whether something is meant for one mount or for all below it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recursive {
    /// One mount.
    No,
    /// It and all mounts below it.
    Yes,
}

/// What a word means that is not the filesystem's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// These `MS_*` bits are to be.
    Set(u32),
    /// These are not to be.
    Clear(u32),
    /// These attributes of the mount and of all mounts below it are to be, as `MS_*` bits.
    SetBelow(u32),
    /// These are not to be.
    ClearBelow(u32),
    /// How mount events propagate.
    Propagate(Propagation, Recursive),
    /// Ids are mapped.
    MapIds(Recursive),
    /// A tmpfs begins with a copy of what it covers.
    CopyUp,
    /// A word of fstab(5) and mount(8) that no kernel sees.
    UserSpace,
}

use Meaning::{Clear, ClearBelow, CopyUp, MapIds, Propagate, Set, SetBelow, UserSpace};

const ATIME: u32 = MS_NOATIME | MS_RELATIME | MS_STRICTATIME;

/// The bits that are a mount's own, and so can be had by all mounts below another.
const ATTRIBUTES: u32 =
    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | ATIME | MS_NODIRATIME | MS_NOSYMFOLLOW;

/// The words of one mount. With an `r` before them, or `=recursive` behind them, many are those of
/// all mounts below it too.
pub const WORDS: &[(&str, Meaning)] = &[
    ("defaults", Set(0)),
    ("ro", Set(MS_RDONLY)),
    ("rw", Clear(MS_RDONLY)),
    ("nosuid", Set(MS_NOSUID)),
    ("suid", Clear(MS_NOSUID)),
    ("nodev", Set(MS_NODEV)),
    ("dev", Clear(MS_NODEV)),
    ("noexec", Set(MS_NOEXEC)),
    ("exec", Clear(MS_NOEXEC)),
    ("noatime", Set(MS_NOATIME)),
    ("atime", Clear(MS_NOATIME)),
    ("relatime", Set(MS_RELATIME)),
    ("norelatime", Clear(MS_RELATIME)),
    ("strictatime", Set(MS_STRICTATIME)),
    ("nostrictatime", Clear(MS_STRICTATIME)),
    ("nodiratime", Set(MS_NODIRATIME)),
    ("diratime", Clear(MS_NODIRATIME)),
    ("nosymfollow", Set(MS_NOSYMFOLLOW)),
    ("symfollow", Clear(MS_NOSYMFOLLOW)),
    ("sync", Set(MS_SYNCHRONOUS)),
    ("async", Clear(MS_SYNCHRONOUS)),
    ("dirsync", Set(MS_DIRSYNC)),
    ("lazytime", Set(MS_LAZYTIME)),
    ("nolazytime", Clear(MS_LAZYTIME)),
    ("iversion", Set(MS_I_VERSION)),
    ("noiversion", Clear(MS_I_VERSION)),
    ("mand", Set(MS_MANDLOCK)),
    ("nomand", Clear(MS_MANDLOCK)),
    ("silent", Set(MS_SILENT)),
    ("loud", Clear(MS_SILENT)),
    ("bind", Set(MS_BIND)),
    ("rbind", Set(MS_BIND | MS_REC)),
    ("remount", Set(MS_REMOUNT)),
    ("private", Propagate(Propagation::Private, Recursive::No)),
    ("shared", Propagate(Propagation::Shared, Recursive::No)),
    ("slave", Propagate(Propagation::Slave, Recursive::No)),
    (
        "unbindable",
        Propagate(Propagation::Unbindable, Recursive::No),
    ),
    ("idmap", MapIds(Recursive::No)),
    ("tmpcopyup", CopyUp),
    ("_netdev", UserSpace),
    ("auto", UserSpace),
    ("group", UserSpace),
    ("move", UserSpace),
    ("noauto", UserSpace),
    ("nofail", UserSpace),
    ("nogroup", UserSpace),
    ("noowner", UserSpace),
    ("nouser", UserSpace),
    ("nousers", UserSpace),
    ("owner", UserSpace),
    ("user", UserSpace),
    ("users", UserSpace),
];

/// How comments and what is meant for programs begin.
const COMMENTS: [&str; 3] = ["x-", "X-", "comment="];

/// What `word` means; `None` for what is the filesystem's.
pub fn meaning(word: &str) -> Option<Meaning> {
    let may_be_comment = matches!(word.as_bytes().first(), Some(b'x' | b'X' | b'c'));
    if may_be_comment && COMMENTS.iter().any(|start| word.starts_with(start)) {
        return Some(UserSpace);
    }
    of_one(word).or_else(|| of_all_below(word))
}

fn of_one(word: &str) -> Option<Meaning> {
    // Few are as long and begin so, and to see that costs little.
    let first = word.as_bytes().first();
    let is_it = |known: &str| {
        known.len() == word.len() && known.as_bytes().first() == first && known == word
    };
    let found = WORDS.iter().find(|(known, _)| is_it(known));
    found.map(|(_, meaning)| *meaning)
}

fn of_all_below(word: &str) -> Option<Meaning> {
    let one = word.strip_suffix("=recursive");
    let is_attribute = |bits: u32| bits != 0 && bits & !ATTRIBUTES == 0;
    match of_one(one.or_else(|| word.strip_prefix('r'))?)? {
        Set(bits) if is_attribute(bits) => Some(SetBelow(bits)),
        Clear(bits) if is_attribute(bits) => Some(ClearBelow(bits)),
        Propagate(kind, _) if one.is_none() => Some(Propagate(kind, Recursive::Yes)),
        MapIds(_) if one.is_none() => Some(MapIds(Recursive::Yes)),
        _ => None,
    }
}

/// The options of `rootflags=`, split as mount(8) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootOptions<'a> {
    /// Flags of the mount and of the filesystem.
    pub flags: MountFlags,
    text: &'a str,
}

impl<'a> RootOptions<'a> {
    /// No options.
    pub const NONE: Self = Self {
        flags: MountFlags { set: 0, clear: 0 },
        text: "",
    };

    /// Reads a comma list. A comma between double quotes divides nothing, as in `context="a,b"`.
    ///
    /// # Errors
    /// A word that makes no sense for a root: `bind`, `remount`, propagation, and those of bind
    /// mounts.
    pub fn parse(text: &'a str) -> Result<Self, Misplaced<'a>> {
        let mut flags = MountFlags::default();
        for word in words(text) {
            match meaning(word) {
                Some(Set(bits)) if bits & (MS_BIND | MS_REMOUNT) == 0 => flags.set(bits),
                Some(Clear(bits)) => flags.clear(bits),
                None | Some(UserSpace) => {}
                Some(_) => return Err(Misplaced { word }),
            }
        }
        Ok(Self { flags, text })
    }

    /// What is left for the filesystem, in order, as `key=value` or `key`.
    pub fn data(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        words(self.text).filter(|word| meaning(word).is_none())
    }
}

/// A word of `rootflags=` that makes no sense there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misplaced<'a> {
    /// The word.
    pub word: &'a str,
}

/// The words of a comma list, but empty ones. A comma between double quotes divides nothing.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut in_quotes = false;
    let divides = move |c: char| {
        in_quotes ^= c == '"';
        c == ',' && !in_quotes
    };
    text.split(divides).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> (u32, u32, Vec<&str>) {
        let options = RootOptions::parse(text).unwrap();
        (
            options.flags.set,
            options.flags.clear,
            options.data().collect(),
        )
    }

    #[test]
    fn root_options_are_split_as_mount_does() {
        let text = "defaults,noatime,umask=0022,ro,nofail,x-initrd.mount,_netdev,utf8";
        assert_eq!(
            split(text),
            (MS_NOATIME | MS_RDONLY, 0, vec!["umask=0022", "utf8"])
        );
        assert_eq!(split(""), (0, 0, vec![]));
        assert_eq!(split(",,rw,"), (0, MS_RDONLY, vec![]));
        assert_eq!(
            split("noatime,relatime,sync"),
            (MS_RELATIME | MS_SYNCHRONOUS, 0, vec![])
        );
    }

    #[test]
    fn a_comma_between_quotes_divides_nothing() {
        let text = "context=\"a,b\",nodev";
        assert_eq!(split(text), (MS_NODEV, 0, vec!["context=\"a,b\""]));
    }

    #[test]
    fn an_r_or_a_value_makes_an_attribute_that_of_all_mounts_below() {
        for (word, expected) in [
            ("ro", Some(Set(MS_RDONLY))),
            ("rro", Some(SetBelow(MS_RDONLY))),
            ("rrw", Some(ClearBelow(MS_RDONLY))),
            ("ro=recursive", Some(SetBelow(MS_RDONLY))),
            ("relatime", Some(Set(MS_RELATIME))),
            ("rrelatime", Some(SetBelow(MS_RELATIME))),
            ("rnostrictatime", Some(ClearBelow(MS_STRICTATIME))),
            ("rsymfollow", Some(ClearBelow(MS_NOSYMFOLLOW))),
            (
                "rslave",
                Some(Propagate(Propagation::Slave, Recursive::Yes)),
            ),
            ("ridmap", Some(MapIds(Recursive::Yes))),
            // Those of the filesystem, and of nobody.
            ("rsync", None),
            ("rdefaults", None),
            ("rtmpcopyup", None),
            ("rrro", None),
            ("sync=recursive", None),
            ("slave=recursive", None),
            ("ro=fs", None),
        ] {
            assert_eq!(meaning(word), expected, "{word}");
        }
    }

    #[test]
    fn words_of_other_mounts_are_refused_by_name() {
        for word in [
            "bind", "rbind", "remount", "shared", "rslave", "rro", "idmap",
        ] {
            let text = format!("noatime,{word}");
            assert_eq!(RootOptions::parse(&text), Err(Misplaced { word }));
        }
    }
}
