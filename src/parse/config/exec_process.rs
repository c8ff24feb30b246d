//! The process of `exec`: one more in a container that runs, in the place of the one that its
//! configuration has.

use core::mem;

use super::capabilities::Set;
use super::error::{ConfigError, Field};
use super::process::{ARGS, ENV_ITEM, Process, is_variable};
use super::reader::{Reader, Refused};
use super::strings::Strings;
use super::table::Found;
use super::{Config, MAX_SIZE, MAX_STRINGS};
use crate::parse::json::Text;

/// How a process differs from the one in the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessChanges<'a> {
    /// The program and its arguments.
    pub args: &'a [&'a str],
    /// More variables.
    pub env: &'a [&'a str],
    /// Another working directory.
    pub cwd: Option<&'a str>,
    /// Another user, and another group if that is said. That user has none of the additional
    /// groups.
    pub user: Option<(u32, Option<u32>)>,
    /// More groups.
    pub groups: &'a [u32],
    /// More capabilities: bounding, effective and permitted ones, as with runc, and none that
    /// others inherit.
    pub capabilities: Set,
    /// Another profile of AppArmor; an empty one says nothing.
    pub apparmor_profile: Option<&'a str>,
    /// Another label of SELinux; an empty one says nothing.
    pub selinux_label: Option<&'a str>,
    /// Whether no_new_privs is set, whatever the configuration has.
    pub no_new_privileges: bool,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// The rows and columns of that.
    pub console_size: Option<[u16; 2]>,
}

impl<'a> Config<'a> {
    /// Has the process that the document `file` describes, as `process` of a `config.json` does.
    /// Where it says nothing of its capabilities, its profile or its label, it has those of the
    /// container, as with runc and crun.
    ///
    /// `scratch` takes strings that were escaped; as many bytes as the file has suffice always.
    ///
    /// # Errors
    /// The first thing that is wrong, by its place in the text or by its field.
    pub fn replace_process(
        &mut self,
        file: &'a [u8],
        scratch: &'a mut [u8],
    ) -> Result<(), ConfigError<'a>> {
        if file.len() > MAX_SIZE {
            return Err(ConfigError::TooLarge { size: file.len() });
        }
        let found = Found::read_process(file).map_err(ConfigError::Json)?;
        let reader = Reader::new(scratch);
        let of_container = mem::replace(&mut self.process, Process::nothing());
        let read = found.store_process(&reader, self).and_then(|()| {
            let process = &mut self.process;
            process.capabilities = process.capabilities.or(of_container.capabilities);
            process.apparmor_profile = process.apparmor_profile.or(of_container.apparmor_profile);
            process.selinux_label = process.selinux_label.or(of_container.selinux_label);
            // These are fields of `linux`.
            process.personality = of_container.personality;
            process.memory_policy = of_container.memory_policy;
            self.check_capabilities(&reader)
        });
        read.map_err(|refused| reader.error(refused))
    }

    /// Has a process that differs from its own.
    ///
    /// # Errors
    /// The first thing that is wrong, by its field.
    pub fn change_process(&mut self, changes: &ProcessChanges<'a>) -> Result<(), ConfigError<'a>> {
        let reader = Reader::default();
        let read = self.read_changes(&reader, changes);
        read.map_err(|refused| reader.error(refused))
    }

    fn read_changes(
        &mut self,
        reader: &Reader<'a>,
        changes: &ProcessChanges<'a>,
    ) -> Result<(), Refused> {
        let process = &mut self.process;
        if changes
            .args
            .first()
            .is_none_or(|program| program.is_empty())
        {
            return Err(reader.bad(ARGS, "", "a program first"));
        }
        process.args = Strings::of(changes.args);
        let count = process.env.iter().count();
        for (variable, index) in changes.env.iter().zip(count..) {
            if !is_variable(Text::of(variable)) {
                let field = Field::item(ENV_ITEM, index);
                return Err(reader.bad(field, variable, "NAME=value"));
            }
        }
        if count.saturating_add(changes.env.len()) > MAX_STRINGS {
            return Err(reader.too_many(ENV_ITEM, MAX_STRINGS));
        }
        process.env = process.env.with(changes.env);
        for (field, said, own) in [
            ("process.cwd", changes.cwd, &mut None),
            (
                "process.apparmorProfile",
                changes.apparmor_profile,
                &mut process.apparmor_profile,
            ),
            (
                "process.selinuxLabel",
                changes.selinux_label,
                &mut process.selinux_label,
            ),
        ] {
            if let Some(text) = said.filter(|text| !text.is_empty()) {
                if text.chars().any(char::is_control) {
                    return Err(reader.control(field));
                }
                *own = said;
            }
        }
        if let Some(cwd) = changes.cwd {
            if !cwd.starts_with('/') {
                return Err(reader.bad("process.cwd", cwd, "an absolute path"));
            }
            process.cwd = cwd;
        }
        process.user.change(reader, changes.user, changes.groups)?;
        // Without any sets it has all that there are.
        if let Some(sets) = &mut process.capabilities {
            sets.add(changes.capabilities);
        }
        process.no_new_privileges |= changes.no_new_privileges;
        process.terminal = changes.terminal;
        process.console_size = changes.console_size;
        self.check_capabilities(reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::json::Unescaped;

    const CONFIG: &str = r#"{"ociVersion":"1.0.2","process":{"terminal":true,"consoleSize":{"height":1,"width":1},
        "args":["sh"],"env":["A=\u0041"],"cwd":"/x","user":{"uid":5,"gid":6,"additionalGids":[8]},
        "capabilities":{"bounding":["CAP_KILL"],"inheritable":["CAP_KILL"]},"apparmorProfile":"p","selinuxLabel":"l",
        "rlimits":[{"type":"RLIMIT_NOFILE","soft":1,"hard":2}]},"root":{"path":"r"},
        "linux":{"namespaces":[{"type":"mount"}],"personality":{"domain":"LINUX32"}}}"#;

    fn with<T>(
        change: impl for<'a> FnOnce(&mut Config<'a>) -> Result<(), ConfigError<'a>>,
        see: impl FnOnce(Result<Config<'_>, String>) -> T,
    ) -> T {
        let mut scratch = vec![0; CONFIG.len()];
        let mut config = Config::parse(CONFIG.as_bytes(), &mut scratch, &mut []).unwrap();
        let changed = change(&mut config).map_err(|error| error.to_string());
        see(changed.map(|()| config))
    }

    fn plain(strings: Strings<'_>) -> Vec<String> {
        let texts = strings.iter().map(|text| Unescaped(text).to_string());
        texts.collect()
    }

    #[test]
    fn what_is_not_changed_is_the_containers() {
        const CHANGES: ProcessChanges<'static> = ProcessChanges {
            args: &["ls", "\"\\x\""],
            env: &["B=2"],
            cwd: None,
            user: Some((7, None)),
            groups: &[],
            capabilities: Set::NONE,
            apparmor_profile: Some(""),
            selinux_label: Some("m"),
            no_new_privileges: true,
            terminal: false,
            console_size: Some([24, 80]),
        };
        with(
            |config| config.change_process(&CHANGES),
            |config| {
                let process = config.unwrap().process;
                assert_eq!(plain(process.args), ["ls", "\"\\x\""]);
                assert_eq!(plain(process.env), ["A=A", "B=2"]);
                assert_eq!((process.cwd, process.terminal), ("/x", false));
                assert_eq!(process.console_size, Some([24, 80]));
                assert_eq!((process.user.uid, process.user.gid), (7, 6));
                assert_eq!(process.user.groups.iter().count(), 0);
                assert_eq!(process.apparmor_profile, Some("p"));
                assert_eq!(process.selinux_label, Some("m"));
                assert!(process.no_new_privileges && process.rlimits.len() == 1);
                assert!(process.personality.is_some());
            },
        );
    }

    #[test]
    fn groups_and_capabilities_are_added() {
        let changes = ProcessChanges {
            args: &["ls"],
            groups: &[9, 10],
            capabilities: ["sys_time", "cap_chown", "CAP_KILL"]
                .into_iter()
                .map(|name| Set::of_name(name).unwrap())
                .fold(Set::NONE, Set::union),
            ..ProcessChanges::default()
        };
        with(
            |config| config.change_process(&changes),
            |config| {
                let process = config.unwrap().process;
                let groups: Vec<_> = process.user.groups.iter().collect();
                assert_eq!((process.user.uid, groups), (5, vec![8, 9, 10]));
                let sets = process.capabilities.unwrap();
                let all = "CAP_CHOWN, CAP_KILL, CAP_SYS_TIME";
                for set in [sets.bounding, sets.effective, sets.permitted] {
                    assert_eq!(set.to_string(), all);
                }
                assert_eq!(sets.inheritable.to_string(), "CAP_KILL");
                assert_eq!(sets.ambient.to_string(), "");
            },
        );
        assert!(Set::of_name("CAP_FLY").is_none() && Set::of_name("").is_none());
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        const LS: ProcessChanges<'static> = ProcessChanges {
            args: &["ls"],
            env: &[],
            cwd: None,
            user: None,
            groups: &[],
            capabilities: Set::NONE,
            apparmor_profile: None,
            selinux_label: None,
            no_new_privileges: false,
            terminal: false,
            console_size: None,
        };
        for (changes, said) in [
            (
                ProcessChanges { args: &[""], ..LS },
                r#"process.args is ""; it takes a program first"#,
            ),
            (
                ProcessChanges {
                    env: &["A=", "=b"],
                    ..LS
                },
                r#"process.env[2] is "=b"; it takes NAME=value"#,
            ),
            (
                ProcessChanges {
                    cwd: Some("x"),
                    ..LS
                },
                r#"process.cwd is "x"; it takes an absolute path"#,
            ),
            (
                ProcessChanges {
                    cwd: Some("/\n"),
                    ..LS
                },
                "process.cwd holds NUL or a control character",
            ),
            (
                ProcessChanges {
                    user: Some((u32::MAX, None)),
                    ..LS
                },
                "process.user.uid: it takes 0 to 4294967294",
            ),
            (
                ProcessChanges {
                    groups: &[u32::MAX],
                    ..LS
                },
                "process.user.additionalGids[1]: it takes 0 to 4294967294",
            ),
            (
                ProcessChanges {
                    groups: &[1; super::super::user::MAX_GROUPS],
                    ..LS
                },
                "process.user.additionalGids has more than 1024 items",
            ),
        ] {
            let refused = with(
                |config| config.change_process(&changes),
                |config| config.err(),
            );
            assert_eq!(refused.as_deref(), Some(said));
        }
    }

    fn replaced<T>(process: &'static str, see: impl FnOnce(Result<Config<'_>, String>) -> T) -> T {
        let scratch = Vec::leak(vec![0; process.len()]);
        with(
            |config| config.replace_process(process.as_bytes(), scratch),
            see,
        )
    }

    #[test]
    fn a_whole_process_takes_the_place_of_the_containers() {
        replaced(r#" {"args": ["a\u0062"], "cwd": "/"} "#, |config| {
            let process = config.unwrap().process;
            assert_eq!(
                (plain(process.args), plain(process.env)),
                (vec!["ab".into()], vec![])
            );
            assert_eq!(
                (process.cwd, process.terminal, process.user.uid),
                ("/", false, 0)
            );
            assert!(process.rlimits.is_empty() && process.personality.is_some());
        });
        for (process, said) in [
            (r#"{"cwd": "/"}"#, "process.args is missing or empty"),
            (r#"{"args": ["a"]}"#, "process.cwd is missing or empty"),
            (
                r#"{"args": ["a"], "cwd": "/", "user": {}}"#,
                "process.user.uid is missing or empty",
            ),
            ("[]", "process is not an object"),
            ("{} x", "line 1 column 4: a JSON value should stand here"),
        ] {
            assert_eq!(
                replaced(process, |config| config.err()).as_deref(),
                Some(said)
            );
        }
    }

    #[test]
    fn a_whole_process_is_confined_as_the_container_is_unless_it_says_how() {
        for (process, profile, label, bounding) in [
            (r#"{"args":["a"],"cwd":"/"}"#, "p", "l", "CAP_KILL"),
            (
                r#"{"args":["a"],"cwd":"/","apparmorProfile":"","selinuxLabel":null,"capabilities":null}"#,
                "p",
                "l",
                "CAP_KILL",
            ),
            (
                r#"{"args":["a"],"cwd":"/","apparmorProfile":"q","selinuxLabel":"m","capabilities":{}}"#,
                "q",
                "m",
                "",
            ),
        ] {
            replaced(process, |config| {
                let process = config.unwrap().process;
                assert_eq!(process.apparmor_profile, Some(profile));
                assert_eq!(process.selinux_label, Some(label));
                assert_eq!(process.capabilities.unwrap().bounding.to_string(), bounding);
            });
        }
    }
}
