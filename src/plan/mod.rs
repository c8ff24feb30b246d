//! What this boot is to do: the command line, understood.
//!
//! [`Plan::new`] reads the image's defaults and then the kernel command line over them, and gives
//! one value with a typed field for everything that can be asked for. No later stage sees the text.
//!
//! [`KEYS`] is the grammar: name, accepted values, default, meaning, and the function that stores a
//! value. The parser looks words up in it, the error texts quote it, and the table in
//! `docs/command-line.md` is made from it, so the three cannot drift apart.
//!
//! The kernel and the programs behind `init=` have keys of their own on the same line. A key that
//! is not in the table is therefore ignored, unless it begins with `berth.`: then it is a mistake,
//! and starting anyway would do something else than what was asked for.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::string_slice, clippy::arithmetic_side_effects))]

mod error;
mod keys;
mod modules;
mod root_words;

use core::time::Duration;

pub use error::{PlanError, Refusal, Source};
use keys::{IFNAME, IP, NAMESERVER, find, is_own};
pub use keys::{KEYS, Key};
pub use modules::Parameter;
pub use root_words::RootWords;

pub use crate::parse::choice::{BreakAt, Fsck, OnFailure, OnIdle};
use crate::parse::cmdline::{Cmdline, Options, Word, Words};
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
    /// `rootflags=`, a comma list as mount(8) takes it.
    pub rootflags: Option<&'a str>,
    /// `ro` or `rw`, whichever came last. `None`: as `rootflags=` says, else writable if the device
    /// can be written.
    pub access: Option<Access>,
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
    /// leaves it to `/proc/sys/kernel/panic`, and is 10 where that is 0.
    pub panic_timeout: Option<i32>,
    /// `berth.modules=`: to load besides those of the image.
    pub modules: List<'a>,
    /// `berth.overlay=`: the writable layer, [`DeviceRef::Tmpfs`] or a device.
    pub overlay: Option<DeviceRef<'a>>,
    /// `berth.fsck=`.
    pub fsck: Option<Fsck>,
    /// `berth.root_fallback=`: items are valid names of devices, see [`Plan::roots`].
    pub root_fallback: List<'a>,
    /// `berth.verity=`.
    pub verity: Option<Verity<'a>>,
    /// There are `ip=` or `nameserver=`, see [`Plan::network_words`].
    pub has_network: bool,
    /// `berth.automount=`: an absolute path.
    pub automount: Option<&'a str>,
    /// `berth.log=`: an absolute path.
    pub log: Option<&'a str>,
    /// `berth.watchdog=`: the timeout to arm the watchdog with.
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
    /// The defaults and the command line: words for modules have no keys of their own.
    lines: [Cmdline<'a>; 2],
}

/// How the root is to be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `ro`.
    ReadOnly,
    /// `rw`.
    Writable,
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
        let mut plan = Self::empty();
        plan.read(Source::Defaults, defaults)?;
        plan.read(Source::Cmdline, cmdline)?;
        Ok(plan)
    }

    /// The plan of an empty command line: for a failure that comes before the line can be read.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            root: None,
            rootfstype: List::default(),
            rootflags: None,
            access: None,
            rootwait: RootWait::Default,
            rootdelay: Duration::ZERO,
            init: None,
            init_args: Words::default(),
            loglevel: None,
            quiet: false,
            panic_timeout: None,
            modules: List::default(),
            overlay: None,
            fsck: None,
            root_fallback: List::default(),
            verity: None,
            has_network: false,
            automount: None,
            log: None,
            watchdog: None,
            containers: "/containers",
            on_failure: OnFailure::Reboot,
            on_idle: OnIdle::PowerOff,
            events: None,
            break_at: None,
            lines: [Cmdline::default(); 2],
        }
    }

    /// The plan where the line cannot be read as a whole: every word that *is* understood counts,
    /// so that a typing error elsewhere does not change `berth.on_failure=` or `panic=`.
    #[must_use]
    pub fn salvage(defaults: &'a [u8], cmdline: &'a [u8]) -> Self {
        let mut plan = Self::empty();
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

    /// The candidates for the root in the order in which they are tried: `root=`, then those of
    /// `berth.root_fallback=`. Without any, the initramfs stays the root.
    pub fn roots(&self) -> impl Iterator<Item = DeviceRef<'a>> + use<'a> {
        let fallbacks = self.root_fallback.iter();
        let fallbacks = fallbacks.filter_map(|item| DeviceRef::parse(item).ok());
        self.root.into_iter().chain(fallbacks)
    }

    /// The words `ip=`, `nameserver=` and `ifname=`, in order. Those of the command line take the
    /// place of the defaults'.
    pub fn network_words(&self) -> impl Iterator<Item = Word<'a>> + use<'a> {
        let is_wanted = |word: &Word<'_>| matches!(word.key, IP | NAMESERVER | IFNAME);
        let of = move |line: Cmdline<'a>| line.options().filter(is_wanted);
        let [defaults, cmdline] = self.lines;
        let is_overridden = of(cmdline).next().is_some();
        of(if is_overridden { cmdline } else { defaults })
    }

    /// Those of `given`, the arguments that the kernel has started this program with, that are for
    /// the program of `init=`: the words that the kernel does not know, unless they are keys of
    /// this program. Those behind `--`, which the kernel puts last, are in [`Plan::init_args`].
    pub fn unknown_words<'w>(
        &self,
        given: impl Iterator<Item = &'w str> + Clone,
    ) -> impl Iterator<Item = &'w str> {
        let [_, cmdline] = self.lines;
        // The kernel ends at a second `--`.
        let arguments = cmdline.init_args().map(Options::from);
        let count = given.clone().count();
        let count = count.saturating_sub(arguments.map_or(0, Iterator::count));
        given.take(count).filter(|word| !is_for_this_program(word))
    }

    fn read(&mut self, source: Source, bytes: &'a [u8]) -> Result<(), PlanError<'a>> {
        let refuse = |refusal| PlanError { source, refusal };
        let line = Cmdline::new(bytes).map_err(|e| refuse(Refusal::Text(e)))?;
        let [defaults, cmdline] = &mut self.lines;
        match source {
            Source::Defaults => *defaults = line,
            Source::Cmdline => *cmdline = line,
        }
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
        }
        if let Some(args) = line.init_args() {
            self.init_args = args;
        }
        Ok(())
    }
}

/// Whether a word or variable, `key` or `key=value`, is one of [`KEYS`].
#[must_use]
pub fn is_for_this_program(word: &str) -> bool {
    let (key, _) = word.split_once('=').unwrap_or((word, ""));
    find(key).is_some()
}

#[cfg(test)]
mod tests;
