//! Options of a mount: flags for the kernel, propagation, and text for the filesystem (mount(8),
//! and `config.md` of the runtime-spec, "Linux mount options").

use linux_raw_sys::general::MS_BIND;

use super::error::{ConfigError, Field};
use super::reader::{Reader, list, text};
use crate::parse::json::{Text, Value};
use crate::parse::mount_options::Meaning::{Clear, Propagate, Set, Unsupported};
use crate::parse::mount_options::{Meaning, MountFlags, Propagation, Recursive, WORDS};

/// Items that the options of one mount may have.
pub const MAX_OPTIONS: usize = 32;

/// What the options of one mount mean. The last of contradicting options wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountOptions<'a> {
    /// `MS_*` bits, `MS_BIND` and `MS_REC` among them.
    pub flags: MountFlags,
    /// How mounts below it propagate, and whether that is so for the mounts below it too.
    pub propagation: Option<(Propagation, Recursive)>,
    /// Options for the filesystem, joined by commas; empty if there are none.
    pub data: &'a str,
}

const FIELD: &str = "mounts[].options";

impl<'a> MountOptions<'a> {
    /// Whether this is a bind mount.
    #[must_use]
    pub fn is_bind(&self) -> bool {
        self.flags.set & MS_BIND != 0
    }

    #[inline(never)]
    pub(super) fn read(
        reader: &mut Reader<'a>,
        mount: Value<'a>,
        index: usize,
    ) -> Result<Self, ConfigError<'a>> {
        let field = Field::item(FIELD, index);
        let mut options = Self::default();
        for (count, item) in list(mount, "options", field)?.enumerate() {
            if count >= MAX_OPTIONS {
                let limit = MAX_OPTIONS;
                return Err(ConfigError::TooMany { field, limit });
            }
            let option = text(item, field)?;
            if option.chars().any(char::is_control) {
                return Err(ConfigError::Control(field));
            }
            match meaning(option) {
                Some(Set(bits)) => options.flags.set(*bits),
                Some(Clear(bits)) => options.flags.clear(*bits),
                Some(Propagate(kind, recursive)) => options.propagation = Some((*kind, *recursive)),
                Some(Unsupported) => {
                    let value = reader.store(option)?;
                    return Err(ConfigError::UnsupportedValue { field, value });
                }
                None => {}
            }
        }
        // A second time, for what is left: so no list of it has to be kept.
        let rest = list(mount, "options", field)?
            .filter_map(|item| text(item, field).ok())
            .filter(|option| meaning(*option).is_none() && !option.is(""));
        let joined = rest.enumerate().flat_map(|(index, option)| {
            let comma = (index > 0).then_some(',');
            comma.into_iter().chain(option.chars())
        });
        options.data = reader.store_chars(joined)?;
        Ok(options)
    }
}

fn meaning(option: Text<'_>) -> Option<&'static Meaning> {
    WORDS
        .iter()
        .find_map(|(word, meaning)| option.is(word).then_some(meaning))
}

#[cfg(test)]
mod tests {
    use linux_raw_sys::general::{MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_STRICTATIME};

    use super::*;
    use crate::parse::json;

    fn read(options: &str) -> Result<(u32, u32, String), String> {
        let file = format!(r#"{{"options": {options}}}"#);
        let mut scratch = [0; 1024];
        let mut reader = Reader::new(&mut scratch);
        let mount = json::check(file.as_bytes()).unwrap();
        MountOptions::read(&mut reader, mount, 3)
            .map(|found| (found.flags.set, found.flags.clear, found.data.to_owned()))
            .map_err(|error| error.to_string())
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
    fn propagation_is_kept_apart_from_the_flags() {
        let mut scratch = [0; 8];
        let mut reader = Reader::new(&mut scratch);
        let mount = json::check(br#"{"options": ["rbind", "slave", "rshared"]}"#).unwrap();
        let found = MountOptions::read(&mut reader, mount, 0).unwrap();
        assert!(found.is_bind());
        assert_eq!(found.flags.set, MS_BIND | MS_REC);
        assert_eq!(
            found.propagation,
            Some((Propagation::Shared, Recursive::Yes))
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let unsupported = "mounts[3].options: \"rro\" is not supported yet".to_owned();
        assert_eq!(read(r#"["rro"]"#), Err(unsupported.clone()));
        assert_eq!(read(r#"["r\u0072o"]"#), Err(unsupported));
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
