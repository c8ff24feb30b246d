//! Which devices a container may use: the default ones and those of `linux.devices`; or those that
//! the rules of `linux.resources.devices` allow.
//!
//! Where the container cannot make nodes or mounts, `nodev` on the mounts that could bring some is
//! enough, and costs nothing. `/dev` is not among them: what is in there was made for the
//! container. Elsewhere it takes a program of the kernel's ([`crate::parse::device_policy`]).

use linux_raw_sys::general::{CAP_MKNOD, CAP_SYS_ADMIN, MS_NODEV};

use super::{Config, Kind, Mount, NodeKind};
use crate::parse::device_policy::{self, Rule};

/// What decides which devices a container may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceAccess {
    /// Nothing: it is `berth.privileged`, or of a user, who can make no node and opens those that
    /// the host lets that user open.
    Any,
    /// `nodev` on its root and on what is mounted there, but in `/dev`.
    NoDev,
    /// A program, attached to its control group.
    Program,
}

impl Config<'_> {
    /// What decides which devices this container may use.
    #[must_use]
    pub fn device_access(&self) -> DeviceAccess {
        let makes_nodes = || {
            let bounding = self.process.capabilities.map(|sets| sets.bounding);
            bounding.is_none_or(|set| set.has(CAP_MKNOD) || set.has(CAP_SYS_ADMIN))
        };
        if self.is_of_user {
            DeviceAccess::Any
        } else if self.resources.has_device_rules() {
            DeviceAccess::Program
        } else if self.annotations.privileged {
            DeviceAccess::Any
        } else if makes_nodes()
            || !self.namespaces.is_new(Kind::Mount)
            || self.mounts.iter().any(Mount::brings_nodes)
        {
            DeviceAccess::Program
        } else {
            DeviceAccess::NoDev
        }
    }

    /// Calls `see` with each rule of the program, in order. Where none is written, `linux.devices`
    /// are what is allowed.
    pub fn each_device_rule(&self, see: &mut dyn FnMut(&Rule)) {
        if self.resources.has_device_rules() {
            // They were checked when they were read.
            let _ = self.resources.each_device_rule(see);
            return;
        }
        for device in self.confinement.devices() {
            let (kind, major, minor) = match device.kind {
                NodeKind::Character(major, minor) => (device_policy::Kind::Character, major, minor),
                NodeKind::Block(major, minor) => (device_policy::Kind::Block, major, minor),
                NodeKind::Fifo => continue,
            };
            // It has 12 bits.
            see(&Rule::allow(
                kind,
                Some(major as u16),
                Some(minor),
                device_policy::ALL,
            ));
        }
    }
}

impl Mount<'_> {
    /// Whether nodes on it may be used, without `nodev`: it belongs to `/dev`, here or on the host,
    /// or it asks for that by the word `dev`.
    #[must_use]
    pub fn may_have_nodes(&self) -> bool {
        let is_of_dev = || {
            let source = self.source.filter(|_| self.options.is_bind());
            source.is_some_and(|source| source == "/dev" || source.starts_with("/dev/"))
        };
        let options = &self.options;
        (options.flags.clear | options.below.clear) & MS_NODEV != 0
            || self.is_at_or_below("dev")
            || is_of_dev()
    }

    /// Whether it may have nodes that are neither default ones nor listed.
    fn brings_nodes(&self) -> bool {
        const EMPTY: [&str; 3] = ["tmpfs", "devpts", "mqueue"];
        let is_empty = !self.options.is_bind()
            && !self.options.copy_up
            && self.fstype.is_some_and(|fstype| EMPTY.contains(&fstype));
        self.may_have_nodes() && !is_empty
    }
}

#[cfg(test)]
mod tests {
    use super::DeviceAccess::{Any, NoDev, Program};
    use super::*;
    use crate::parse::config::MountPlace;

    fn with<T>(
        process: &str,
        mounts: &str,
        linux: &str,
        privileged: bool,
        see: impl FnOnce(Config<'_>) -> T,
    ) -> T {
        let file = format!(
            r#"{{"ociVersion": "1.2.0", "root": {{"path": "r"}}, "process": {{"args": ["x"], "cwd": "/"{process}}},
                "mounts": [{mounts}], "linux": {{"namespaces": [{{"type": "mount"}}]{linux}}},
                "annotations": {{"berth.privileged": "{privileged}"}}}}"#
        );
        let mut scratch = vec![0; file.len()];
        see(Config::parse(
            file.as_bytes(),
            &mut scratch,
            &mut [const { MountPlace::uninit() }; 8],
        )
        .unwrap())
    }

    fn access(process: &str, mounts: &str, linux: &str, privileged: bool) -> DeviceAccess {
        with(process, mounts, linux, privileged, |config| {
            config.device_access()
        })
    }

    const RULES: &str = r#", "resources": {"devices": [{"allow": false, "access": "rwm"}]}"#;

    #[test]
    fn a_program_decides_where_nodev_would_not_hold() {
        let bounding = |name| format!(r#", "capabilities": {{"bounding": ["{name}"]}}"#);
        assert_eq!(access("", "", "", false), NoDev);
        assert_eq!(access(&bounding("CAP_CHOWN"), "", "", false), NoDev);
        assert_eq!(access(&bounding("CAP_MKNOD"), "", "", false), Program);
        assert_eq!(access(&bounding("CAP_SYS_ADMIN"), "", "", false), Program);
        assert_eq!(access("", "", "", true), Any);
        // What is said stands, also beside the one word for everything.
        assert_eq!(access("", "", RULES, false), Program);
        assert_eq!(access("", "", RULES, true), Program);
    }

    #[test]
    fn nothing_decides_where_the_container_is_a_users() {
        let of_user = |mut config: Config<'_>| {
            config.is_of_user = true;
            config.device_access()
        };
        assert_eq!(with("", "", RULES, false, of_user), Any);
        assert_eq!(with("", "", "", false, of_user), Any);
    }

    #[test]
    fn mounts_that_bring_nodes_need_a_program() {
        for (mount, expected) in [
            (r#""/dev", "type": "tmpfs""#, NoDev),
            (r#""/dev/pts", "type": "devpts""#, NoDev),
            (r#""/mnt", "type": "ext4", "source": "/dev/vdb""#, NoDev),
            (r#""/mnt", "source": "/srv", "options": ["bind"]"#, NoDev),
            (
                r#""/mnt", "source": "/device", "options": ["rbind"]"#,
                NoDev,
            ),
            (r#""/mnt", "type": "tmpfs", "options": ["dev"]"#, NoDev),
            (r#""/mnt", "source": "/dev", "options": ["rbind"]"#, Program),
            (
                r#""/k", "source": "/dev/kvm", "options": ["bind"]"#,
                Program,
            ),
            (r#""dev", "source": "/srv", "options": ["bind"]"#, Program),
            (r#""/dev/x", "type": "ext4", "source": "/x""#, Program),
            (
                r#""/mnt", "source": "/srv", "options": ["bind", "dev"]"#,
                Program,
            ),
            (
                r#""/mnt", "source": "/srv", "options": ["rbind", "rdev"]"#,
                Program,
            ),
            (r#""/", "options": ["remount", "dev"]"#, Program),
            (
                r#""/dev", "type": "tmpfs", "options": ["tmpcopyup"]"#,
                Program,
            ),
        ] {
            let mount = format!(r#"{{"destination": {mount}}}"#);
            assert_eq!(access("", &mount, "", false), expected, "{mount}");
        }
    }

    #[test]
    fn listed_devices_are_allowed_where_no_rule_is_written() {
        let rules = |linux: &str| {
            with("", "", linux, false, |config| {
                let mut seen = Vec::new();
                config
                    .each_device_rule(&mut |rule| seen.push((rule.allow, rule.major, rule.minor)));
                seen
            })
        };
        let devices = r#", "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229},
            {"path": "/dev/p", "type": "p"}]"#;
        assert_eq!(rules(devices), [(true, Some(10), Some(229))]);
        assert_eq!(rules(&format!("{devices}{RULES}")), [(false, None, None)]);
    }
}
