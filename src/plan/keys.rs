//! The grammar of the command line: every key, what it takes and what it means.

use core::time::Duration;

use super::{Access, Plan, QUIET, RootWait};
use crate::parse::choice::{BreakAt, Fsck, OnFailure, OnIdle};
use crate::parse::cmdline::same_key;
use crate::parse::device::{self, DeviceRef};
use crate::parse::list::List;
use crate::parse::modules::wanted::is_name;
use crate::parse::number::number;
use crate::parse::verity::Verity;

const OWN: &str = "berth.";

/// The keys about the network. Each word counts, and not only the last.
pub(super) const IP: &str = "ip";
pub(super) const NAMESERVER: &str = "nameserver";
/// dracut's key that renames a device. berth renames none, and says so.
pub(super) const IFNAME: &str = "ifname";

/// One key of the command line.
pub struct Key {
    /// The key, without `=`.
    pub name: &'static str,
    /// The values it takes, for people.
    pub accepts: &'static str,
    /// What holds without it, for the manual, which is made by a test: the programs do without.
    #[cfg(test)]
    pub(crate) default: &'static str,
    /// What it does, for the manual.
    #[cfg(test)]
    pub(crate) meaning: &'static str,
    /// Stores a value; `None` refuses it.
    pub(super) set: Set,
}

/// Higher-ranked, so that one table serves every lifetime of the text.
type Set = for<'p, 'a> fn(&'p mut Plan<'a>, Option<&'a str>) -> Option<()>;

#[cfg_attr(not(test), expect(unused_variables, reason = "the manual's words"))]
const fn key(
    name: &'static str,
    accepts: &'static str,
    default: &'static str,
    meaning: &'static str,
    set: Set,
) -> Key {
    Key {
        name,
        accepts,
        #[cfg(test)]
        default,
        #[cfg(test)]
        meaning,
        set,
    }
}

const NOTHING: &str = "no value";
const SECONDS: &str = "seconds, 0 to 4294967295";
const DIRECTORY: &str = "an absolute path";

/// The whole grammar, in the order of the manual.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    key("root", device::ACCEPTED, "stay on the initramfs", "the root device",
        |p, v| { p.root = Some(DeviceRef::parse(v?).ok()?); Some(()) }),
    key("rootfstype", "a filesystem type, or a comma list of them", "probed from the superblock", "types to try, in order",
        |p, v| { p.rootfstype = List::parse(v?, is_name)?; Some(()) }),
    key("rootflags", "mount options", "none", "mount options as mount(8) takes them: general ones, and those of the filesystem",
        |p, v| { p.rootflags = Some(v?); Some(()) }),
    key("ro", NOTHING, "as rootflags= says, else rw", "mount the root read-only; the last of ro and rw wins",
        |p, v| { p.access = Some(Access::ReadOnly); nothing(v) }),
    key("rw", NOTHING, "as rootflags= says, else rw", "mount the root writable, and fail if the device cannot be written; without rw such a root is mounted read-only",
        |p, v| { p.access = Some(Access::Writable); nothing(v) }),
    key("rootwait", "no value (for ever), or seconds, 0 to 4294967295", "10 s", "how long to wait for the root device",
        |p, v| { p.rootwait = match v { None => RootWait::Forever, _ => RootWait::Seconds(seconds(v)?) }; Some(()) }),
    key("rootdelay", SECONDS, "0", "how long to sleep before looking for the root device",
        |p, v| { p.rootdelay = Duration::from_secs(seconds(v)?.into()); Some(()) }),
    key("init", "an absolute path", "supervise containers", "execute this program of the new root as PID 1, instead of supervising containers",
        |p, v| { p.init = Some(absolute(v)?); Some(()) }),
    key("quiet", NOTHING, "the kernel's", "show only errors on the console, of the kernel and of berth",
        |p, v| { (p.loglevel, p.quiet) = (Some(QUIET), true); nothing(v) }),
    key("loglevel", "0 to 15", "the kernel's", "show messages on the console that are more urgent than this level; berth's progress is shown at every level",
        |p, v| {
            p.loglevel = Some(v?.parse().ok().filter(|level| *level <= 15)?);
            p.quiet = false;
            Some(())
        }),
    key("panic", "seconds; 0 waits for ever, a negative number not at all", "the kernel's, or 10 if that is 0", "how long `reboot` waits after a failure",
        |p, v| { p.panic_timeout = Some(v?.parse().ok()?); Some(()) }),
    key("berth.modules", "module names, a comma list", "none", "modules to load in addition to those of the image",
        |p, v| { p.modules = List::parse(v?, is_name)?; Some(()) }),
    key("berth.overlay", "tmpfs or a device", "none", "writable layer above the root, which is mounted read-only",
        |p, v| {
            let device = DeviceRef::parse(v?).ok()?;
            p.overlay = Some(device).filter(|device| device.is_block() || *device == DeviceRef::Tmpfs);
            p.overlay.map(|_| ())
        }),
    key("berth.fsck", "preen or yes", "no check", "check the root, and a device of berth.overlay=, with the image's fsck.TYPE before it is mounted; preen repairs what is safe to repair, yes all",
        |p, v| { p.fsck = Some(Fsck::parse(v?)?); Some(()) }),
    key("berth.root_fallback", "devices, a comma list", "none", "further roots, tried in order if root= does not appear, cannot be mounted or lacks what a root needs; rootwait= holds for each",
        |p, v| { p.root_fallback = List::parse(v?, |item| DeviceRef::parse(item).is_ok())?; Some(()) }),
    key("berth.verity", "ROOT-HASH, or ROOT-HASH,DEVICE or ROOT-HASH,OFFSET", "none", "check each block of the root against a hash tree of veritysetup, on that device, at that byte, or behind the filesystem",
        |p, v| { p.verity = Some(Verity::parse(v?)?); Some(()) }),
    key(IP, "the kernel's syntax: ADDRESS::GATEWAY:NETMASK:HOSTNAME:DEVICE:METHOD:DNS:DNS, or dhcp", "the network is left alone", "set a network device up; each word counts",
        |p, _| { p.has_network = true; Some(()) }),
    key(NAMESERVER, "an address", "those of ip= and of DHCP", "a name server, before all others; each word counts",
        |p, _| { p.has_network = true; Some(()) }),
    key(IFNAME, "anything", "nothing", "not supported, which is said in a warning: devices keep the names that the kernel gives them",
        |p, _| { p.has_network = true; Some(()) }),
    key("berth.automount", DIRECTORY, "off", "where disks that are there, or appear later, are mounted, each in a directory of its own; see \"Disks that come and go\"",
        |p, v| { p.automount = Some(absolute(v)?); Some(()) }),
    key("berth.log", DIRECTORY, "off", "directory on the root in which what each container prints is kept in a file; see \"Files of what containers print\"",
        |p, v| { p.log = Some(absolute(v)?); Some(()) }),
    key("berth.watchdog", "seconds, 1 to 4294967295", "off", "arm the machine's watchdog: it resets the machine when PID 1 has not fed it for so long",
        |p, v| { p.watchdog = Some(Duration::from_secs(seconds(v).filter(|s| *s > 0)?.into())); Some(()) }),
    key("berth.containers", DIRECTORY, "/containers", "directory of bundles on the new root",
        |p, v| { p.containers = absolute(v)?; Some(()) }),
    key("berth.on_failure", "poweroff, reboot, halt, panic or shell", "reboot", "what to do when the boot has failed",
        |p, v| { p.on_failure = OnFailure::parse(v?)?; Some(()) }),
    key("berth.on_idle", "poweroff, reboot, halt, kexec or wait", "poweroff", "what to do when no container is left to run",
        |p, v| { p.on_idle = OnIdle::parse(v?)?; Some(()) }),
    key("berth.events", "the absolute path of a character device", "virtio port org.berth.events, if present", "where the event stream goes",
        |p, v| { p.events = Some(absolute(v)?); Some(()) }),
    key("berth.break", "mount-root, switch-root or containers", "none", "start a shell before this stage, if the image has one",
        |p, v| { p.break_at = Some(BreakAt::parse(v?)?); Some(()) }),
];

pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| same_key(key.name, name))
}

pub(super) fn is_own(name: &str) -> bool {
    name.starts_with(OWN)
}

fn nothing(value: Option<&str>) -> Option<()> {
    value.is_none().then_some(())
}

fn seconds(value: Option<&str>) -> Option<u32> {
    number(value?)
}

fn absolute(value: Option<&str>) -> Option<&str> {
    value.filter(|path| path.starts_with('/'))
}
