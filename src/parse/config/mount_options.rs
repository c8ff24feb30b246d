//! Options of a mount: flags for the kernel, propagation, and text for the filesystem (mount(8),
//! and `config.md` of the runtime-spec, "Linux mount options").
//!
//! Engines hand on what people wrote: words of fstab(5), which are for other programs, and beside
//! `bind` words of their own and of filesystems, which a mount that has a filesystem already takes
//! none of. Nothing is made of either, as with runc and crun; [`each_ignored`] says which they are.

use linux_raw_sys::general::{
    MS_BIND, MS_DIRSYNC, MS_LAZYTIME, MS_MANDLOCK, MS_REMOUNT, MS_SYNCHRONOUS,
};

use super::error::Field;
use super::reader::{Reader, Refused};
use crate::parse::json::{Node, Text, Value};
use crate::parse::mount_options::{Meaning, MountFlags, Propagation, Recursive, meaning};

/// Items that the options of one mount may have.
pub const MAX_OPTIONS: usize = 32;

/// What the options of one mount mean. The last of contradicting options wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountOptions<'a> {
    /// `MS_*` bits, `MS_BIND`, `MS_REC` and `MS_REMOUNT` among them.
    pub flags: MountFlags,
    /// Attributes of all mounts below it, as `MS_*` bits. For itself they are in `flags` too,
    /// unless something else was said of it later.
    pub below: MountFlags,
    /// How mounts below it propagate, and whether that is so for the mounts below it too.
    pub propagation: Option<(Propagation, Recursive)>,
    /// Whether ids are mapped.
    pub map_ids: Option<Recursive>,
    /// Whether a tmpfs begins with a copy of what it covers.
    pub copy_up: bool,
    /// Options for the filesystem, joined by commas; empty if there are none, and beside `bind`.
    pub data: &'a str,
}

const FIELD: &str = "mounts[].options";

/// Flags that belong to a filesystem, and so to all its mounts.
const OF_FILESYSTEM: u32 = MS_SYNCHRONOUS | MS_DIRSYNC | MS_LAZYTIME | MS_MANDLOCK;

/// More than the longest word has.
const WORD_MAX: usize = 32;

impl<'a> MountOptions<'a> {
    /// Those with the `MS_*` bits `set`, and `data` for the filesystem.
    #[must_use]
    pub const fn of(set: u32, data: &'a str) -> Self {
        const NONE: MountFlags = MountFlags { set: 0, clear: 0 };
        Self {
            flags: MountFlags { set, ..NONE },
            below: NONE,
            propagation: None,
            map_ids: None,
            copy_up: false,
            data,
        }
    }

    /// Whether this is a bind mount.
    #[must_use]
    pub fn is_bind(&self) -> bool {
        self.flags.set & MS_BIND != 0
    }

    /// Whether it changes what is mounted already.
    #[must_use]
    pub fn is_remount(&self) -> bool {
        self.flags.set & MS_REMOUNT != 0
    }

    #[inline(never)]
    pub(super) fn read(
        reader: &Reader<'a>,
        list: Option<Value<'a>>,
        index: usize,
    ) -> Result<Self, Refused> {
        let field = Field::item(FIELD, index);
        let mut options = Self::default();
        let Some(list) = list else {
            return Ok(options);
        };
        let items = reader.items(list, field)?;
        // Those that are the filesystem's, a bit each.
        let mut rest = 0u32;
        const { assert!(MAX_OPTIONS <= u32::BITS as usize) };
        for (count, item) in items.clone().strings().enumerate() {
            if count >= MAX_OPTIONS {
                let limit = MAX_OPTIONS;
                return Err(reader.too_many(field, limit));
            }
            let option = item.ok_or_else(|| reader.not(field, "a string"))?;
            if option.has_control() {
                return Err(reader.control(field));
            }
            match meaning_of(option) {
                None if option.is("") => {}
                None => rest |= 1u32.checked_shl(count as u32).unwrap_or(0),
                Some(Meaning::UserSpace) => {}
                Some(Meaning::Set(bits)) => options.flags.set(bits),
                Some(Meaning::Clear(bits)) => options.flags.clear(bits),
                Some(Meaning::SetBelow(bits)) => {
                    options.flags.set(bits);
                    options.below.set(bits);
                }
                Some(Meaning::ClearBelow(bits)) => {
                    options.flags.clear(bits);
                    options.below.clear(bits);
                }
                Some(Meaning::Propagate(kind, recursive)) => {
                    options.propagation = Some((kind, recursive));
                }
                Some(Meaning::MapIds(recursive)) => options.map_ids = Some(recursive),
                Some(Meaning::CopyUp) => options.copy_up = true,
            }
        }
        if options.is_bind() {
            options.flags.set &= !OF_FILESYSTEM;
            options.flags.clear &= !OF_FILESYSTEM;
        } else if rest != 0 {
            let numbered = items.strings().flatten().zip(0..);
            let is_left = |count: u32| rest.checked_shr(count).is_some_and(|bits| bits & 1 != 0);
            let left = numbered.filter(|(_, count)| is_left(*count));
            options.data = reader.join(left.map(|(option, _)| option))?;
        }
        Ok(options)
    }
}

/// Calls `see` with each of the `options` of a mount of which nothing is made.
pub fn each_ignored(options: Value<'_>, see: &mut dyn FnMut(Text<'_>)) {
    let Node::Array(items) = options.node() else {
        return;
    };
    let words = items.filter_map(|item| match item.node() {
        Node::String(word) => Some(word),
        _ => None,
    });
    let sets = |word, bits| matches!(meaning_of(word), Some(Meaning::Set(set)) if set & bits != 0);
    let is_bind = words.clone().any(|word| sets(word, MS_BIND));
    for word in words.filter(|word| !word.is("")) {
        let is_ignored = match meaning_of(word) {
            Some(Meaning::UserSpace) => true,
            None => is_bind,
            Some(_) => is_bind && sets(word, OF_FILESYSTEM),
        };
        if is_ignored {
            see(word);
        }
    }
}

/// What the option means, as far as it can be a word: a longer one is cut.
fn meaning_of(option: Text<'_>) -> Option<Meaning> {
    if let Some(plain) = option.plain().filter(|plain| plain.len() <= WORD_MAX) {
        return meaning(plain);
    }
    let mut word = heapless::String::<WORD_MAX>::new();
    let _ = option.chars().try_for_each(|c| word.push(c));
    meaning(&word)
}

#[cfg(test)]
mod tests {
    use linux_raw_sys::general::{MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_STRICTATIME};

    use super::*;
    use crate::parse::json;

    fn read(options: &str) -> Result<(u32, u32, String), String> {
        let file = format!(r#"{{"options": {options}}}"#);
        let mut scratch = [0; 1024];
        let reader = Reader::new(&mut scratch);
        let mount = json::check(file.as_bytes()).unwrap();
        MountOptions::read(&reader, mount.member("options"), 3)
            .map(|found| (found.flags.set, found.flags.clear, found.data.to_owned()))
            .map_err(|refused| reader.error(refused).to_string())
    }

    #[test]
    fn words_become_flags_and_the_rest_is_the_filesystems() {
        let found = read(r#"["nosuid", "size=64k", "noexec", "", "mode=1777\u002c"]"#);
        let data = "size=64k,mode=1777,".to_owned();
        assert_eq!(found, Ok((MS_NOSUID | MS_NOEXEC, 0, data)));
        assert_eq!(read("[]"), Ok((0, 0, String::new())));
        assert_eq!(read("null"), Ok((0, 0, String::new())));
    }

    #[test]
    fn the_last_of_contradicting_words_wins() {
        let flags = |options| read(options).map(|(set, clear, _)| (set, clear));
        assert_eq!(flags(r#"["ro", "rw"]"#), Ok((0, MS_RDONLY)));
        assert_eq!(flags(r#"["rw", "ro"]"#), Ok((MS_RDONLY, 0)));
        assert_eq!(
            flags(r#"["noatime", "strictatime"]"#),
            Ok((MS_STRICTATIME, 0))
        );
    }

    #[test]
    fn what_is_for_all_mounts_below_is_for_the_top_too_until_something_else_is_said_of_it() {
        let read = |options: &str| {
            let file = format!(r#"{{"options": {options}}}"#);
            let mount = json::check(file.as_bytes()).unwrap();
            let mut scratch = [0; 64];
            let found =
                MountOptions::read(&Reader::new(&mut scratch), mount.member("options"), 0).unwrap();
            let pair = |flags: MountFlags| (flags.set & !(MS_BIND | MS_REC), flags.clear);
            (pair(found.flags), pair(found.below))
        };
        let [ro, rw] = [(MS_RDONLY, 0), (0, MS_RDONLY)];
        assert_eq!(read(r#"["rbind", "rro"]"#), (ro, ro));
        assert_eq!(read(r#"["rbind", "rro", "rw"]"#), (rw, ro));
        assert_eq!(read(r#"["rbind", "rw", "rro"]"#), (ro, ro));
        assert_eq!(read(r#"["rbind", "ro", "rrw"]"#), (rw, rw));
        assert_eq!(read(r#"["rbind", "ro"]"#), (ro, (0, 0)));
    }

    #[test]
    fn propagation_is_kept_apart_from_the_flags() {
        let mut scratch = [0; 8];
        let reader = Reader::new(&mut scratch);
        let mount = json::check(br#"{"options": ["rbind", "slave", "rshared"]}"#).unwrap();
        let found = MountOptions::read(&reader, mount.member("options"), 0).unwrap();
        assert!(found.is_bind());
        assert_eq!(found.flags.set, MS_BIND | MS_REC);
        assert_eq!(
            found.propagation,
            Some((Propagation::Shared, Recursive::Yes))
        );
    }

    #[test]
    fn words_of_others_are_ignored_and_named() {
        let ignored = |options: &str| {
            let list = json::check(options.as_bytes()).unwrap();
            let mut seen = Vec::new();
            each_ignored(list, &mut |word| seen.push(word.to_string()));
            seen.join(" ")
        };
        for (options, set, data, expected) in [
            (
                r#"["nofail", "n\u006ffail", "x-a=b", "comment=c", "size=1k", "_netdev", "noauto", "user"]"#,
                0,
                "size=1k",
                r"nofail n\u006ffail x-a=b comment=c _netdev noauto user",
            ),
            (
                r#"["ro", "bind", "size=1m", "mode=7", "nocopy", "Z", "", "sync"]"#,
                MS_RDONLY | MS_BIND,
                "",
                "size=1m mode=7 nocopy Z sync",
            ),
            (
                r#"["rbind", "copy", "volume-nocopy", "bind", "U"]"#,
                MS_BIND | MS_REC,
                "",
                "copy volume-nocopy U",
            ),
            (
                r#"["bind", "rbind", "defaults", "rprivate"]"#,
                MS_BIND | MS_REC,
                "",
                "",
            ),
            (r#"["sync", "nosuid"]"#, MS_SYNCHRONOUS | MS_NOSUID, "", ""),
        ] {
            assert_eq!(read(options), Ok((set, 0, data.to_owned())), "{options}");
            assert_eq!(ignored(options), expected, "{options}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let many = format!("[{}]", ["\"a\""; 33].join(","));
        assert_eq!(
            read(&many),
            Err("mounts[3].options has more than 32 items".into())
        );
        assert_eq!(read("[1]"), Err("mounts[3].options is not a string".into()));
        assert_eq!(read("1"), Err("mounts[3].options is not a list".into()));
        let control = "mounts[3].options holds NUL or a control character".to_owned();
        assert_eq!(read(r#"["a\u0000"]"#), Err(control));
    }
}
