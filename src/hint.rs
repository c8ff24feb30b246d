//! What to do about a failure.
//!
//! One pure function from an [`Error`] to a line of advice, so that all advice stands in one place and is tested as a table.

mod mount;

pub use mount::unpacking;
use rustix::io::Errno;

use crate::errno;
use crate::error::{Code, Error, Stage};
use crate::text::contains;

/// What to do next, in one line.
pub fn hint(error: &Error) -> &'static str {
    let known = [error.detail.as_str(), error.subject.as_str()];
    if let Some(hint) = known.into_iter().find_map(from_words) {
        return hint;
    }
    let of_kernel = (error.stage == Stage::Root).then_some(error.detail.as_str());
    if let Some(hint) = of_kernel.and_then(|words| find(mount::WORDS, words)) {
        return hint;
    }
    match (error.code, error.errno) {
        (Code::CommandLine, _) => {
            "at most 4096 bytes of UTF-8 can be given to the kernel as its command line"
        }
        (Code::UnknownKey, _) => {
            "correct the key, or remove it: the README lists all that there are"
        }
        (Code::BadValue, _) => "correct the value: the README lists what each key accepts",
        (Code::Unsupported, _) => "remove it, or use a version of berth that supports it",
        (Code::EarlyMount, Some(Errno::NODEV)) => "build the kernel with this filesystem",
        (Code::EarlyMount, _) => {
            "the initramfs must be writable and hold nothing in the way of /proc, /sys, /dev and /run"
        }
        (Code::NotPid1, _) => {
            "boot it as /init of an initramfs (`berth-qemu run`); the command is the program `berth`"
        }
        (Code::Panic, _) => {
            "report it, with the text above and the version of berth and of the kernel"
        }
        (Code::EventLoop, _) => {
            "build the kernel with CONFIG_NET, CONFIG_EPOLL and CONFIG_SIGNALFD"
        }
        (Code::ModuleMissing, _) => {
            "build the image again: modules.dep in it is of another set of modules"
        }
        (Code::ModuleRelease, _) => {
            "build the image for the kernel that is booted, with --kernel-release"
        }
        (Code::ModuleRejected, Some(Errno::KEYREJECTED | Errno::PERM)) => {
            "this kernel loads signed modules only: do not strip their signatures"
        }
        (Code::ModuleRejected, Some(Errno::INVAL | Errno::OPNOTSUPP)) => {
            "if the file is compressed, this kernel may lack CONFIG_MODULE_DECOMPRESS: store it as plain .ko"
        }
        (Code::ModuleRejected, _) => {
            "check the file with modinfo, and the kernel's own words above"
        }
        (Code::ModuleIndex, _) => {
            "make the index again with depmod, or the image with berth-initramfs"
        }
        (Code::RootNotFound, _) => {
            "compare root= with the devices below; a driver may be missing (berth.modules=), or time (rootwait=30)"
        }
        (Code::RootUnreadable, Some(Errno::NOMEDIUM)) => "the drive has no medium",
        (Code::RootUnreadable, _) => "the disk may be failing: see the kernel's own words",
        (Code::RootUnknownType, _) => {
            "name the type with rootfstype=, or make a filesystem on the device"
        }
        (Code::RootNoDriver, _) => {
            "add the filesystem's module to the image: `--module vfat`, or /etc/berth/modules"
        }
        (Code::RootMount, Some(Errno::INVAL)) => {
            "check rootflags= and rootfstype= against what the kernel says"
        }
        (Code::RootMount, Some(Errno::ROFS | Errno::ACCESS)) => {
            "the device is write-protected: boot with ro, and if it is so already, without a replay of the journal (rootflags=norecovery)"
        }
        (Code::RootMount, _) => mount::repair(error.subject.as_str()),
        (Code::RootVerity, Some(Errno::NODEV | Errno::NXIO | Errno::NOENT)) => {
            "add dm-verity to the image, `--for-devices layers`, or build it into the kernel"
        }
        (Code::RootVerity, _) => {
            "compare berth.verity= with what veritysetup format printed, and where it put the tree"
        }
        (Code::RootCorrupt, _) => {
            "the root hash is of another image, or the image was changed: write it to the disk again"
        }
        (Code::RootArchive, Some(Errno::NOENT)) => {
            "build the image with `--root-archive`; directories come before what is in them"
        }
        (Code::RootArchive, Some(Errno::NOSPC)) => {
            "give the machine more memory, or rootflags=size= less of a limit"
        }
        (Code::RootArchive, _) => "build the image again with `--root-archive`",
        (Code::MountPoints, _) => "make these directories on the root filesystem, or boot with rw",
        (Code::NewRoot, _) => "root= must name another filesystem than the initramfs",
        (Code::Switch, _) => "this should not happen: report it, with the text above",
        (Code::InitMissing, _) => {
            "correct init=, or leave it away to have berth supervise containers"
        }
        (Code::InitNotExecutable, _) => "correct init=, or make the file executable (chmod +x)",
        (Code::InitFormat, _) => "install a program for this machine",
        (Code::InitInterpreter, _) => {
            "install the interpreter on the root filesystem, or use a static program"
        }
        (Code::InitExec, _) => "see the kernel's own words",
        (Code::NoContainers, _) if !error.detail.is_empty() => {
            "boot with init= to start the root's own, or name the directory of bundles with berth.containers="
        }
        (Code::NoContainers, _) => {
            "make the directory on the root, or name another with berth.containers="
        }
        (Code::BundleConfig | Code::ContainerSetup | Code::ContainerExec, Some(shortage))
            if errno::is_shortage(shortage) =>
        {
            "it is used up or in use at the moment: free it, limit who uses it, or have `berth.restart` try again"
        }
        (Code::BundleConfig, _) => {
            "correct config.json; the runtime specification says what belongs there"
        }
        (Code::BundleRefused, _) => {
            "remove the field, if the container may run without what it asks for"
        }
        (Code::ContainerSetup, Some(Errno::NOENT)) => {
            "make the file or directory, or correct the path in config.json"
        }
        (Code::ContainerSetup, Some(Errno::ROFS)) => {
            "make the mount point in the rootfs: it is on a read-only filesystem"
        }
        (Code::ContainerSetup, Some(Errno::NODEV)) => {
            "the kernel needs its driver by then: `--module NAME` in the image, or berth.modules=NAME"
        }
        (Code::ContainerSetup, _) => {
            "correct config.json, or build the kernel with what it asks for"
        }
        (Code::ContainerExec, Some(Errno::NOENT)) => {
            "the program, or the interpreter that it wants, is not in the rootfs"
        }
        (Code::ContainerExec, Some(Errno::NOEXEC)) => "it is no program for this machine",
        (Code::ContainerExec, _) => {
            "the file must be executable, and its filesystem not mounted noexec"
        }
        (Code::ContainerLimit, _) => "use fewer bundles, or several machines",
        (Code::Unmount, _) => {
            "something still uses it; what was written is safe, it was synchronised"
        }
        (Code::Usage, _) => {
            "`berth --help` lists the commands, `berth COMMAND --help` what one of them takes"
        }
        (Code::InUse, _) => "choose another id, or remove the container: `berth delete --force ID`",
        (Code::NoContainer, _) => {
            "`berth list` shows those that there are; --root must be the one that the container was created with"
        }
        (Code::WrongStatus, _) => "`berth state ID` shows its status",
        (Code::State, Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)) => {
            "name a directory that can be written with --root"
        }
        (Code::State, _) => {
            "see the directory of --root; what is broken there can be removed by hand"
        }
        (Code::Control, _) => "see the kernel's own words; the container may be gone by now",
        (Code::Terminal, _) => {
            "process.terminal needs --console-socket, or a terminal on standard input; without it, --console-socket is refused"
        }
        (Code::Output, _) => "make room, or name another file",
    }
}

/// Some failures the kernel's words, or what it was about, explain better than an error number does.
fn from_words(words: &str) -> Option<&'static str> {
    const KNOWN: &[(&str, &str)] = &[
        (
            "IO charset",
            "the image lacks the module of this character set: add it with `--module nls_…`, or boot with rootflags=iocharset=utf8",
        ),
        (
            "codepage",
            "the image lacks the module nls_cp437: add it with `--module nls_cp437`",
        ),
        (
            "version magic",
            "the image is for another kernel: build it with this kernel's --modules-dir",
        ),
        (
            "disagrees about version of symbol",
            "the image is for another kernel: build it with this kernel's --modules-dir",
        ),
        (
            "/dev/loop-control",
            "the kernel needs its loop driver by then: `--module loop` in the image, or berth.modules=loop",
        ),
        (
            "/dev/mapper/control",
            "add dm-verity to the image: `--for-devices layers` for the root, `--module dm_verity` for containers",
        ),
        (
            "in a user namespace",
            "a sysctl may forbid it: user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns",
        ),
        (
            "id_map",
            "who has no rights on the host can map only the own id: linux.uidMappings and gidMappings with size 1, as of `berth spec --rootless`",
        ),
        (
            "with mapped ids",
            "it takes CAP_SYS_ADMIN and CAP_SYS_PTRACE on the host, a source that is not mapped yet, and a filesystem that can: ext4, xfs, btrfs; tmpfs from Linux 6.3",
        ),
        (
            "the agent at",
            "start the agent first: it has to listen at this path of the host",
        ),
        (
            "org.freedesktop.",
            "these are systemd's words: it was asked for what linux.cgroupsPath and annotations org.systemd.property.* say",
        ),
        (
            " by systemd",
            "--systemd-cgroup needs systemd as PID 1 of the machine, and the bus of this user; without it berth makes control groups itself",
        ),
        (
            ", which this machine has not in force, ",
            "boot a kernel that has it with security=apparmor or security=selinux, and load a policy; or remove the field",
        ),
        (
            "the profile of AppArmor",
            "load it before, with apparmor_parser; /sys/kernel/security/apparmor/profiles lists those that there are",
        ),
        (
            "the label of SELinux",
            "the policy that is loaded has to know it, and to allow that it is set",
        ),
        ("Unknown parameter", "correct rootflags="),
        (
            "udev makes this link",
            "name the device by UUID=, LABEL=, PARTUUID= or PARTLABEL= as in the list below; LVM and LUKS are not opened",
        ),
        (
            ", and also ",
            "say which of the two it is with rootfstype=, and have `wipefs -n` show the other, which `wipefs -o` removes",
        ),
        (
            "devices of this filesystem are there",
            "attach the missing ones; with what its redundancy can do without, rootflags=degraded mounts it all the same",
        ),
        (
            "bad block size",
            "the filesystem's blocks are smaller than the device's, which with berth.verity= are those of `veritysetup format --data-block-size=`",
        ),
        (
            "logical sector size too small",
            "the filesystem's sectors are smaller than the device's, which with berth.verity= are those of `veritysetup format --data-block-size=`",
        ),
        ("Unrecognized mount option", "correct rootflags="),
    ];
    find(KNOWN, words)
}

/// The first row with a part of `words`.
fn find(table: &[(&str, &'static str)], words: &str) -> Option<&'static str> {
    let row = table.iter().find(|(known, _)| contains(words, known));
    row.map(|(_, hint)| *hint)
}

/// Whether there is advice for these words of the kernel: then they are the ones to be quoted.
#[must_use]
pub fn explains(words: &str) -> bool {
    from_words(words).is_some() || find(mount::WORDS, words).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Op;

    fn hint_for(code: Code, detail: &str) -> &'static str {
        hint(&Error::new(
            Stage::Root,
            code,
            Op::Mount,
            "/dev/sdb1 as vfat",
            detail,
        ))
    }

    #[test]
    fn every_code_has_advice_of_one_line() {
        for code in Code::ALL {
            let hint = hint_for(*code, "");
            assert!(
                (10..160).contains(&hint.len()) && !hint.contains('\n'),
                "{code}: {hint}"
            );
        }
    }

    #[test]
    fn the_kernels_words_count_more_than_the_error_number() {
        let hint = hint_for(Code::RootMount, "FAT-fs (sdb1): IO charset ascii not found");
        assert!(hint.contains("nls_"), "{hint}");
        assert!(hint_for(Code::RootMount, "").contains("fsck"));
        for (subject, hinted) in [
            ("a process in a user namespace", "user.max_user_namespaces"),
            ("/proc/7/gid_map", "only the own id"),
            ("/mnt with mapped ids for one", "CAP_SYS_ADMIN"),
            ("x.scope by systemd", "--systemd-cgroup"),
            (
                "the profile of AppArmor, which this machine has not in force, x",
                "security=apparmor",
            ),
            ("the profile of AppArmor x", "apparmor_parser"),
            ("the label of SELinux a:b:c", "policy"),
        ] {
            let hint = hint_for(Code::ContainerSetup, subject);
            assert!(hint.contains(hinted) && hint.len() < 160, "{hint}");
        }
    }
}
