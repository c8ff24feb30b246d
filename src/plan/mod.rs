//! What this boot shall do: the command line, understood.
//!
//! [`Plan::new`] reads the image's defaults and then the kernel command line over them, and gives
//! one value with a typed field for everything that can be asked for. No later stage sees the text.
//!
//! [`KEYS`] is the grammar: name, accepted values, default, meaning, and the function that stores a
//! value. The parser looks words up in it, the error texts quote it, and the README's table is
//! checked against it, so the three cannot drift apart.
//!
//! The kernel and the programs behind `init=` have keys of their own on the same line. A key that is
//! not in the table is therefore ignored, unless it begins with `berth.`: then it is a mistake, and
//! starting anyway would do something else than what was asked for.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects
    )
)]

mod error;
mod keys;

use core::time::Duration;

pub use error::{PlanError, Refusal, Source};
pub use keys::{KEYS, Key};
use keys::{find, is_own};

pub use crate::parse::choice::{BreakAt, OnFailure, OnIdle};
use crate::parse::cmdline::{Cmdline, Words};
use crate::parse::device::DeviceRef;
use crate::parse::list::List;
use crate::parse::verity::Verity;

/// The console level that `quiet` sets: errors and what is worse (`CONSOLE_LOGLEVEL_QUIET`).
pub const QUIET: u8 = 4;

/// Everything that can be asked of a boot. Text is borrowed from the two inputs of [`Plan::new`].
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// `root=`. `None`: stay on the initramfs.
    pub root: Option<DeviceRef<'a>>,
    /// `rootfstype=`. Empty: find out from the superblock.
    pub rootfstype: List<'a>,
    /// `rootflags=`, handed to the filesystem as it is.
    pub rootflags: Option<&'a str>,
    /// `ro` or `rw`, whichever came last.
    pub read_only: bool,
    /// `rootwait`, `rootwait=N`.
    pub rootwait: RootWait,
    /// `rootdelay=N`: wait so long before the root device is looked for.
    pub rootdelay: Duration,
    /// `init=`, an absolute path. `None`: supervise.
    pub init: Option<&'a str>,
    /// The words after `--`; each word's `Display` is one argument.
    pub init_args: Words<'a>,
    /// `loglevel=N`, or [`QUIET`] for `quiet`, whichever came last. `None`: the kernel's default.
    pub loglevel: Option<u8>,
    /// `quiet`, unless a `loglevel=` came after it: berth does not show its progress either.
    pub quiet: bool,
    /// `panic=`: seconds before `reboot` acts on failure. 0 holds, negative is at once, `None`
    /// leaves it to `/proc/sys/kernel/panic`.
    pub panic_timeout: Option<i32>,
    /// `berth.modules=`: to load besides those of the image.
    pub modules: List<'a>,
    /// `berth.overlay=`: the writable layer, [`DeviceRef::Tmpfs`] or a device.
    pub overlay: Option<DeviceRef<'a>>,
    /// `berth.root_fallback=`: items are valid names of devices, see [`Plan::root_fallbacks`].
    pub root_fallback: List<'a>,
    /// `berth.verity=`.
    pub verity: Option<Verity<'a>>,
    /// `berth.automount=`: an absolute path.
    pub automount: Option<&'a str>,
    /// `berth.log=`: an absolute path.
    pub log: Option<&'a str>,
    /// `berth.watchdog=`: the timeout to set.
    pub watchdog: Option<Duration>,
    /// `berth.containers=`: an absolute path.
    pub containers: &'a str,
    /// `berth.on_failure=`.
    pub on_failure: OnFailure,
    /// `berth.on_idle=`.
    pub on_idle: OnIdle,
    /// `berth.events=`: path of a character device. `None`: the virtio port, if there is one.
    pub events: Option<&'a str>,
    /// `berth.break=`.
    pub break_at: Option<BreakAt>,
    /// A key that was given and valid but that this version does not act on. The boot refuses it
    /// by name: ignoring `berth.verity=` would start an unverified root.
    pub unsupported: Option<&'static str>,
}

/// How long to wait for the root device to appear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RootWait {
    /// Nothing was said: 10 s.
    #[default]
    Default,
    /// `rootwait`.
    Forever,
    /// `rootwait=N`.
    Seconds(u32),
}

impl RootWait {
    /// The time to wait, `None` for ever.
    #[must_use]
    pub fn limit(self) -> Option<Duration> {
        match self {
            Self::Default => Some(Duration::from_secs(10)),
            Self::Forever => None,
            Self::Seconds(seconds) => Some(Duration::from_secs(seconds.into())),
        }
    }
}

impl<'a> Plan<'a> {
    /// Reads the defaults (`/etc/berth/cmdline`, or nothing) and then the kernel command line.
    ///
    /// The last of a repeated key wins, so the command line overrides the defaults. Init arguments
    /// of the command line replace those of the defaults as a whole.
    ///
    /// # Errors
    /// The first word that is refused: a value that its key does not take, or an unknown `berth.*`.
    pub fn new(defaults: &'a [u8], cmdline: &'a [u8]) -> Result<Self, PlanError<'a>> {
        let mut plan = Self::unasked();
        plan.read(Source::Defaults, defaults)?;
        plan.read(Source::Cmdline, cmdline)?;
        Ok(plan)
    }

    /// The plan of an empty command line: for a failure that comes before the line can be read.
    #[must_use]
    pub fn unasked() -> Self {
        Self {
            root: None,
            rootfstype: List::default(),
            rootflags: None,
            read_only: false,
            rootwait: RootWait::Default,
            rootdelay: Duration::ZERO,
            init: None,
            init_args: Words::default(),
            loglevel: None,
            quiet: false,
            panic_timeout: None,
            modules: List::default(),
            overlay: None,
            root_fallback: List::default(),
            verity: None,
            automount: None,
            log: None,
            watchdog: None,
            containers: "/containers",
            on_failure: OnFailure::Reboot,
            on_idle: OnIdle::PowerOff,
            events: None,
            break_at: None,
            unsupported: None,
        }
    }

    /// What is to be done when reading the plan itself failed: every word that *is* understood
    /// counts, so that a typing error elsewhere does not change `berth.on_failure=` or `panic=`.
    #[must_use]
    pub fn salvage(defaults: &'a [u8], cmdline: &'a [u8]) -> Self {
        let mut plan = Self::unasked();
        for bytes in [defaults, cmdline] {
            if let Ok(line) = Cmdline::new(bytes) {
                for word in line.options() {
                    // A refused word is what the failure report is about already.
                    if let Some(key) = find(word.key) {
                        let _ = (key.set)(&mut plan, word.value);
                    }
                }
            }
        }
        plan
    }

    /// The devices of `berth.root_fallback=`, in order.
    pub fn root_fallbacks(&self) -> impl Iterator<Item = DeviceRef<'a>> + use<'a> {
        self.root_fallback
            .iter()
            .filter_map(|item| DeviceRef::parse(item).ok())
    }

    fn read(&mut self, source: Source, bytes: &'a [u8]) -> Result<(), PlanError<'a>> {
        let refuse = |refusal| PlanError { source, refusal };
        let line = Cmdline::new(bytes).map_err(|e| refuse(Refusal::Text(e)))?;
        for word in line.options() {
            let Some(key) = find(word.key) else {
                if is_own(word.key) {
                    return Err(refuse(Refusal::Unknown { key: word.key }));
                }
                continue;
            };
            (key.set)(self, word.value).ok_or(refuse(Refusal::Value {
                key,
                value: word.value,
            }))?;
            if !key.supported {
                self.unsupported = self.unsupported.or(Some(key.name));
            }
        }
        if let Some(args) = line.init_args() {
            self.init_args = args;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(cmdline: &str) -> Result<Plan<'_>, String> {
        Plan::new(b"", cmdline.as_bytes()).map_err(|e| e.to_string())
    }

    fn refusal(cmdline: &str) -> String {
        plan(cmdline).unwrap_err()
    }

    #[test]
    fn an_empty_line_asks_for_the_documented_defaults() {
        let plan = plan("").unwrap();
        assert_eq!(plan.root, None);
        assert!(!plan.read_only);
        assert_eq!(plan.rootwait.limit(), Some(Duration::from_secs(10)));
        assert_eq!(plan.containers, "/containers");
        assert_eq!(plan.on_failure, OnFailure::Reboot);
        assert_eq!(plan.on_idle, OnIdle::PowerOff);
        assert_eq!(plan.unsupported, None);
    }

    #[test]
    fn every_supported_key_reaches_its_field() {
        let line = "root=LABEL=\"my disk\" rootfstype=vfat,ext4 rootflags=umask=077 ro rootwait=5 \
                    rootdelay=2 init=/sbin/init loglevel=7 panic=-1 berth.modules=a,b-c \
                    berth.containers=/c berth.on_failure=panic berth.on_idle=wait \
                    berth.events=/dev/ttyS1 berth.break=switch-root -- single \"a b\"";
        let plan = plan(line).unwrap();
        assert_eq!(plan.root, Some(DeviceRef::Label("my disk")));
        assert_eq!(plan.rootfstype.to_string(), "vfat,ext4");
        assert_eq!(plan.rootflags, Some("umask=077"));
        assert!(plan.read_only);
        assert_eq!(plan.rootwait, RootWait::Seconds(5));
        assert_eq!(plan.rootdelay, Duration::from_secs(2));
        assert_eq!(plan.init, Some("/sbin/init"));
        assert_eq!(plan.loglevel, Some(7));
        assert_eq!(plan.panic_timeout, Some(-1));
        assert_eq!(plan.modules.iter().collect::<Vec<_>>(), ["a", "b-c"]);
        assert_eq!(plan.containers, "/c");
        assert_eq!(plan.on_failure, OnFailure::Panic);
        assert_eq!(plan.on_idle, OnIdle::Wait);
        assert_eq!(plan.events, Some("/dev/ttyS1"));
        assert_eq!(plan.break_at, Some(BreakAt::SwitchRoot));
        let args: Vec<_> = plan.init_args.map(|word| word.to_string()).collect();
        assert_eq!(args, ["single", "a b"]);
    }

    #[test]
    fn the_last_word_wins_and_the_command_line_overrides_the_defaults() {
        assert!(!plan("ro rw").unwrap().read_only);
        assert_eq!(plan("loglevel=7 quiet").unwrap().loglevel, Some(QUIET));
        assert!(plan("loglevel=7 quiet").unwrap().quiet);
        assert!(!plan("quiet loglevel=4").unwrap().quiet);
        assert_eq!(plan("quiet loglevel=7").unwrap().loglevel, Some(7));
        assert_eq!(plan("rootwait=1 rootwait").unwrap().rootwait.limit(), None);
        let plan = Plan::new(b"ro berth.on_idle=wait -- a\n", b"berth.on-idle=halt").unwrap();
        assert!(plan.read_only);
        assert_eq!(plan.on_idle, OnIdle::Halt);
        assert_eq!(plan.init_args.count(), 1);
    }

    #[test]
    fn keys_of_others_are_ignored() {
        assert!(plan("console=ttyS0 systemd.unit=x nokaslr root.x=1 rootx").is_ok());
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_and_all_known_keys() {
        assert_eq!(
            refusal("berth.on_fail=halt"),
            "command line: there is no key berth.on_fail, perhaps berth.on_failure; known are \
             berth.modules, berth.overlay, berth.root_fallback, berth.verity, berth.automount, \
             berth.log, berth.watchdog, berth.containers, berth.on_failure, berth.on_idle, \
             berth.events, berth.break"
        );
        assert!(
            refusal("berth.colour")
                .starts_with("command line: there is no key berth.colour; known")
        );
    }

    #[test]
    fn a_refused_value_is_answered_with_key_value_and_what_is_accepted() {
        let table = [
            (
                "berth.on_failure=explode",
                "berth.on_failure=explode is refused; berth.on_failure takes poweroff, reboot, halt, panic or shell",
            ),
            (
                "berth.on_idle",
                "berth.on_idle needs a value: poweroff, reboot, halt or wait",
            ),
            ("ro=1", "ro=1 is refused; ro takes no value"),
            (
                "rootwait=+5",
                "rootwait=+5 is refused; rootwait takes no value (for ever), or seconds, 0 to 4294967295",
            ),
            (
                "rootwait=",
                "rootwait= is refused; rootwait takes no value (for ever), or seconds, 0 to 4294967295",
            ),
            ("init=sh", "init=sh is refused; init takes an absolute path"),
            (
                "loglevel=16",
                "loglevel=16 is refused; loglevel takes 0 to 15",
            ),
            (
                "rootfstype=a,,b",
                "rootfstype=a,,b is refused; rootfstype takes a filesystem type, or a comma list of them",
            ),
            (
                "berth.modules=../x",
                "berth.modules=../x is refused; berth.modules takes module names, a comma list",
            ),
            (
                "berth.watchdog=0",
                "berth.watchdog=0 is refused; berth.watchdog takes seconds, 1 to 4294967295",
            ),
        ];
        for (line, text) in table {
            assert_eq!(refusal(line), format!("command line: {text}"));
        }
        assert!(
            refusal("root=sdb1")
                .starts_with("command line: root=sdb1 is refused; root takes /dev/NAME, UUID=")
        );
        let error = Plan::new(b"panic=x", b"panic=1").unwrap_err().to_string();
        assert!(error.starts_with("/etc/berth/cmdline: panic=x is refused"));
    }

    #[test]
    fn keys_of_later_versions_are_checked_and_then_reported_by_name() {
        for (line, key) in [
            ("berth.overlay=tmpfs", "berth.overlay"),
            (
                "berth.root_fallback=/dev/sda1,LABEL=x",
                "berth.root_fallback",
            ),
            (
                "berth.verity=00112233445566778899aabbccddeeff,/dev/sdc",
                "berth.verity",
            ),
            ("berth.automount=/media", "berth.automount"),
            ("berth.log=/var/log", "berth.log"),
            ("berth.watchdog=30", "berth.watchdog"),
        ] {
            assert_eq!(plan(line).unwrap().unsupported, Some(key));
            let bad = format!("{key}=@");
            assert!(refusal(&bad).contains("is refused"), "{bad}");
        }
        let fallbacks = plan("berth.root_fallback=/dev/sda1,LABEL=x").unwrap();
        let expected = [DeviceRef::Path("/dev/sda1"), DeviceRef::Label("x")];
        assert_eq!(fallbacks.root_fallbacks().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_broken_line_keeps_what_it_says_about_failures() {
        let line = b"root=nonsense berth.on_failure=panic berth.x panic=3";
        assert!(Plan::new(b"", line).is_err());
        let plan = Plan::salvage(b"", line);
        assert_eq!(plan.on_failure, OnFailure::Panic);
        assert_eq!(plan.panic_timeout, Some(3));
        assert_eq!(Plan::salvage(b"\xff", b"\0").on_failure, OnFailure::Reboot);
    }

    #[test]
    fn every_row_of_the_table_is_complete_and_found_by_its_name() {
        for key in KEYS {
            assert!(
                core::ptr::eq(find(key.name).unwrap(), key),
                "{} twice",
                key.name
            );
            assert!(
                ![key.accepts, key.default, key.meaning].contains(&""),
                "{}",
                key.name
            );
        }
    }
}
