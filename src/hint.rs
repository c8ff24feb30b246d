//! What to do about a failure.
//!
//! One pure function from an [`Error`]'s code, cause and error number to a line of advice, so that
//! all advice stands in one place and is tested as a table. The text of the error is never looked
//! at: see [`crate::cause`].

mod unpacking;

use rustix::io::Errno;
pub(crate) use unpacking::unpacking;

use crate::cause::Cause;
use crate::errno;
use crate::error::{Code, Error, Stage};

/// What to do where kexec finds no kernel, by the command line or by a request.
const LOAD_KERNEL: &str = "load one first: kexec_file_load(2), or `kexec --load`";

/// What to do next, in one line: the documents list it for every code.
#[cfg(test)]
pub(crate) fn hint(error: &Error) -> &'static str {
    match of_command(error) {
        "" => of_machine(error),
        hint => hint,
    }
}

/// What to do about what fails a command; nothing for what only a machine meets.
#[must_use]
pub(crate) fn of_command(error: &Error) -> &'static str {
    let Error {
        code, cause, errno, ..
    } = *error;
    match (code, errno) {
        (Code::NoKernel, _) => LOAD_KERNEL,
        _ if !matches!(code.stage(), None | Some(Stage::Containers)) => "",
        (Code::AutomountPlace | Code::DiskMount | Code::DiskLost, _) => of_disk(code, cause, errno),
        _ if of_container_cause(cause).is_some() => of_container_cause(cause).unwrap_or_default(),
        _ if of_cause(cause).is_some() => of_cause(cause).unwrap_or_default(),
        (Code::LogFiles, _) => of_log_files(errno),
        (Code::Seed, _) => {
            "make room for the file /var/lib/berth/random-seed, or remove what is in its way"
        }
        (Code::Freeze, _) => {
            "`berth thaw` lets a frozen machine go on; one that cannot be frozen says what is in the way"
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
        (Code::NetworkWord, _) => {
            "correct the word, or remove it: docs/command-line.md says what ip= and nameserver= take"
        }
        (Code::Network, Some(Errno::AFNOSUPPORT)) => {
            "build the kernel with CONFIG_PACKET, or add the module af_packet to the image"
        }
        (Code::Network, _) => {
            "compare ip= with the devices that there are and with what their link offers; the image needs their drivers: --for-devices net"
        }
        _ => of_container(code, errno),
    }
}

/// What to do about lines that cannot be written to files.
const fn of_log_files(errno: Option<Errno>) -> &'static str {
    match errno {
        Some(Errno::NOSPC | Errno::DQUOT) => {
            "make room on the root: the lines that memory still has are written then"
        }
        Some(Errno::ROFS) => "boot with rw, or with a writable layer: berth.overlay=",
        Some(Errno::LOOP | Errno::MLINK | Errno::INVAL | Errno::NOTDIR | Errno::ISDIR) => {
            "remove what is in the way: no link is followed, and only a regular file is written to"
        }
        Some(Errno::XDEV) => "name the directory with berth.log= without `..`",
        _ => "name another directory on the root with berth.log=, and look after the disk",
    }
}

/// What to do about a disk that comes or goes.
fn of_disk(code: Code, cause: Cause, errno: Option<Errno>) -> &'static str {
    match (code, cause, errno) {
        (Code::AutomountPlace, _, _) => {
            "make the directory on the root, or name another one with berth.automount="
        }
        (Code::DiskLost, _, _) => {
            "unplug the disk that came last: the kernel's log may say what is wrong with it"
        }
        (_, Cause::Encrypted, _) => {
            "berth does not open it: a container that may use the device can, with cryptsetup"
        }
        (_, Cause::TwoFilesystems, _) => {
            "have `wipefs -n` show what is on it, and remove with `wipefs -o` what is left from before"
        }
        (_, Cause::MountOption, _) => "correct the options of its rule in /etc/berth/automount",
        (_, Cause::Charset | Cause::Codepage, _) | (_, _, Some(Errno::NODEV)) => {
            "add its driver to the image, `--for-filesystems TYPE`, or have it in /lib/modules on the root"
        }
        (_, _, Some(Errno::NOMEDIUM | Errno::NXIO | Errno::IO)) => {
            "the disk may be failing, or was unplugged: see the kernel's own words"
        }
        _ => of_cause(cause).unwrap_or(
            "check it with fsck; a rule in /etc/berth/automount can give other options, or `no`",
        ),
    }
}

/// What to do about what fails PID 1. What fails a container comes from `berth`, and so does the
/// advice: see [`of_command`].
#[must_use]
pub(crate) fn of_machine(error: &Error) -> &'static str {
    let Error {
        code, cause, errno, ..
    } = *error;
    // What `rootflags=` says of the root, config.json says of a mount.
    let is_root = code.stage() == Some(Stage::Root);
    let known = of_boot(cause)
        .or_else(|| of_root(cause).filter(|_| is_root))
        .or_else(|| of_cause(cause));
    if let Some(hint) = known {
        return hint;
    }
    match (code, errno) {
        (Code::CommandLine, _) => {
            "at most 4096 bytes of UTF-8 can be given to the kernel as its command line"
        }
        (Code::UnknownKey, _) => {
            "correct the key, or remove it: docs/command-line.md lists all keys"
        }
        (Code::BadValue, _) => {
            "correct the value: docs/command-line.md lists what each key accepts"
        }
        (Code::Unsupported, _) => "remove it, or use a version of berth that supports it",
        (Code::EarlyMount, Some(Errno::NODEV)) => "build the kernel with this filesystem",
        (Code::EarlyMount, _) => {
            "the initramfs must be writable and hold nothing in the way of /proc, /sys, /dev and /run"
        }
        (Code::NotPid1, _) => {
            "boot it as /init of an initramfs (`berth-qemu run`); the command is the program `berth`"
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
        (Code::RootMount, _) => repair(cause),
        (Code::RootCheck, _) => {
            "see what the check has printed: repair it by hand, boot once with berth.fsck=yes, or without"
        }
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
        (Code::InitMissing, _) => "correct init=, or remove it to have berth supervise containers",
        (Code::InitNotExecutable, _) => "correct init=, or make the file executable (chmod +x)",
        (Code::InitFormat, _) => "install a program for this machine",
        (Code::InitInterpreter, _) => {
            "install the interpreter on the root filesystem, or use a static program"
        }
        (Code::InitExec, _) => "see the kernel's own words",
        (Code::NoContainers, _) => {
            "make the directory on the root, or name another with berth.containers="
        }
        (Code::Watchdog, Some(Errno::NOENT | Errno::NODEV)) => {
            "add its driver to the image: `--for-devices watchdog`, which has the kernel's own, softdog, too"
        }
        (Code::Watchdog, _) => "give another number of seconds, or remove berth.watchdog=",
        (Code::Unwritten, _) => {
            "look after the disk, and check its filesystems before they are used again"
        }
        (Code::NoKernel, _) => LOAD_KERNEL,
        (Code::Requirement, _) if cause == Cause::NoNetwork => {
            "have it set up with ip=, of which docs/command-line.md says what it takes, or take `network` out of `berth.requires`"
        }
        (Code::Requirement, _) if cause == Cause::LateNetwork => {
            "it is started when all is there; the warnings above say what is late"
        }
        (Code::Requirement, _) => {
            "see why that is not ready; `berth.after` in the place of `berth.requires` starts it all the same"
        }
        (Code::AutomountPlace | Code::DiskLost, _) => of_disk(code, cause, errno),
        (Code::Unmount, _) => {
            "something still uses it; what was written is safe, it was synchronised"
        }
        _ => of_start(code, errno),
    }
}

/// What to do about a container.
fn of_container(code: Code, errno: Option<Errno>) -> &'static str {
    match (code, errno) {
        (_, Some(shortage)) if errno::is_shortage(shortage) => of_start(code, errno),
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
        (Code::ContainerExec, Some(Errno::NOENT)) => {
            "the program, or the interpreter that it wants, is not in the rootfs"
        }
        (Code::ContainerExec, Some(Errno::NOEXEC)) => "it is no program for this machine",
        (Code::ContainerExec, _) => {
            "the file must be executable, and its filesystem not mounted noexec"
        }
        _ => of_start(code, errno),
    }
}

/// What to do about a container that PID 1 could not have started.
fn of_start(code: Code, errno: Option<Errno>) -> &'static str {
    match (code, errno) {
        (Code::Panic, _) => {
            "report it, with the text above and the version of berth and of the kernel"
        }
        (Code::BundleConfig | Code::ContainerSetup | Code::ContainerExec, Some(shortage))
            if errno::is_shortage(shortage) =>
        {
            "it is used up or in use at the moment: free it, limit who uses it, or have `berth.restart` try again"
        }
        (Code::BundleConfig, _) => {
            "correct config.json; the runtime specification says what belongs there"
        }
        (Code::ContainerSetup, _) => {
            "correct config.json, or build the kernel with what it asks for"
        }
        (Code::BerthMissing, _) => {
            "build the image with it (`berth-initramfs build` does), or boot with init=, which needs none"
        }
        (Code::BerthFailed, _) => {
            "the machine may lack memory; if it does not, report it, with the text above"
        }
        (Code::ContainerLimit, _) => "use fewer bundles, or several machines",
        _ => "",
    }
}

/// What a cause says that only a boot has.
fn of_boot(cause: Cause) -> Option<&'static str> {
    Some(match cause {
        Cause::OtherKernel => {
            "the image is for another kernel: build it with this kernel's --modules-dir"
        }
        Cause::UdevLink => {
            "name the device by UUID=, LABEL=, PARTUUID= or PARTLABEL= as in the list below; LVM and LUKS are not opened"
        }
        Cause::TwoFilesystems => {
            "say which of the two it is with rootfstype=, and have `wipefs -n` show the other, which `wipefs -o` removes"
        }
        Cause::NoBundle => {
            "boot with init= to start the root's own, or name the directory of bundles with berth.containers="
        }
        _ => return None,
    })
}

/// What a cause says of the root better than an error number does.
fn of_root(cause: Cause) -> Option<&'static str> {
    Some(match cause {
        Cause::MountOption => "correct rootflags=",
        Cause::Charset => {
            "the image lacks the module of this character set: add it with `--module nls_…`, or boot with rootflags=iocharset=utf8"
        }
        Cause::ReplayExt => {
            "its journal has to be replayed and the disk is write-protected: make it writable, or boot with `ro rootflags=noload`, without the last changes"
        }
        Cause::Replay => {
            "its log has to be replayed and the disk is write-protected: make it writable, or boot with `ro rootflags=norecovery`, without the last changes"
        }
        Cause::ReplayBtrfs => {
            "its log has to be replayed and the disk is write-protected: make it writable, or boot with `ro rootflags=rescue=nologreplay`"
        }
        Cause::ReplayNewer => {
            "boot with `ro rootflags=rescue=nologreplay`, without the last changes, or with a newer kernel"
        }
        Cause::Hibernated => {
            "Windows left it mounted or hibernated: start and shut that down, or boot with rootflags=force"
        }
        Cause::Chkdsk => "have Windows check it (chkdsk /f), or boot with ro",
        Cause::DuplicateUuid => {
            "another filesystem with this UUID is mounted, a copy perhaps: detach it, or boot with rootflags=nouuid"
        }
        Cause::ExternalLog => "its log is on another device: name it with rootflags=logdev=/dev/…",
        Cause::ExternalJournal => {
            "its journal is on another device: name it with rootflags=journal_path=/dev/…"
        }
        Cause::MissingDevice => {
            "a device of this filesystem is missing: attach it; with what its redundancy can do without, boot with rootflags=degraded"
        }
        Cause::MissingDevices => {
            "attach the missing ones; with what its redundancy can do without, rootflags=degraded mounts it all the same"
        }
        Cause::DegradedReadOnly => {
            "devices of this filesystem are missing: attach them, or boot with `ro rootflags=degraded`"
        }
        Cause::ReadOnlyFeatures => {
            "it was made with features that this kernel can only read: boot with ro, or with a newer kernel"
        }
        Cause::JournalDamaged => {
            "its journal is damaged: run fsck from another system, or boot with `ro rootflags=noload` to read what is there"
        }
        Cause::LogDamaged => {
            "its log is damaged: run xfs_repair from another system, or boot with `ro rootflags=norecovery`"
        }
        _ => return None,
    })
}

/// What a cause says that only a container has.
fn of_container_cause(cause: Cause) -> Option<&'static str> {
    Some(match cause {
        Cause::MountOption => "correct the options of this mount in config.json",
        Cause::Charset => {
            "the kernel needs this character set by then: `--module nls_…` in the image, or the option iocharset=utf8"
        }
        Cause::UserNamespace => {
            "a sysctl may forbid it: user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns"
        }
        Cause::IdMap => {
            "who has no rights on the host can map only the own id: linux.uidMappings and gidMappings with size 1, as of `berth spec --rootless`"
        }
        Cause::MappedIds => {
            "it takes CAP_SYS_ADMIN and CAP_SYS_PTRACE on the host, a source that is not mapped yet, and a filesystem that can: ext4, xfs, btrfs; tmpfs from Linux 6.3"
        }
        Cause::SeccompAgent => "start the agent first: it has to listen at this path of the host",
        Cause::SystemdAnswer | Cause::NoSuchUnit => {
            "these are systemd's words: it was asked for what linux.cgroupsPath and annotations org.systemd.property.* say"
        }
        Cause::Systemd => {
            "--systemd-cgroup needs systemd as PID 1 of the machine, and the bus of this user; without it berth makes control groups itself"
        }
        Cause::NoSecurityModule => {
            "boot a kernel that has it with security=apparmor or security=selinux, and load a policy; or remove the field"
        }
        Cause::AppArmorProfile => {
            "load it before, with apparmor_parser; /sys/kernel/security/apparmor/profiles lists those that there are"
        }
        Cause::SelinuxLabel => {
            "the policy that is loaded has to know it, and to allow that it is set"
        }
        _ => return None,
    })
}

/// What a cause says of anything better than an error number does.
fn of_cause(cause: Cause) -> Option<&'static str> {
    Some(match cause {
        Cause::Codepage => "the image lacks the module nls_cp437: add it with `--module nls_cp437`",
        Cause::LoopDriver => {
            "the kernel needs its loop driver by then: `--module loop` in the image, or berth.modules=loop"
        }
        Cause::DeviceMapper => {
            "add dm-verity to the image: `--for-devices layers` for the root, `--module dm_verity` for containers"
        }
        Cause::BlockSize => {
            "the filesystem's blocks are smaller than the device's, which with berth.verity= are those of `veritysetup format --data-block-size=`"
        }
        Cause::Crc32c => {
            "the image lacks the module of this checksum: add it with `--module crc32c_generic`"
        }
        Cause::Crc32 => {
            "the image lacks the module of this checksum: add it with `--module crc32_generic`"
        }
        Cause::Checksum => {
            "the image lacks the module of this checksum: add it with `--module xxhash_generic`, `sha256_generic` or `blake2b_generic`"
        }
        Cause::SquashfsCompression => {
            "the kernel was built without this compression: make the image with another (mksquashfs -comp)"
        }
        Cause::ErofsCompression => {
            "the kernel was built without this compression: make the image with another (mkfs.erofs -z)"
        }
        Cause::Newer => {
            "it was made with features that this kernel does not know: boot a newer kernel, or make it again without them"
        }
        Cause::PageSize => {
            "its blocks have a size that this kernel cannot use: make it again with blocks of 4 KiB"
        }
        Cause::CutOff => {
            "the device is smaller than the filesystem: the image was cut off, or its partition is too small"
        }
        _ => return None,
    })
}

/// What to do about a root of which the kernel says nothing that is known.
const fn repair(cause: Cause) -> &'static str {
    match cause {
        Cause::Btrfs => {
            "see the kernel's words; from another system, `btrfs check --readonly` tells more, and rootflags=rescue=usebackuproot may help"
        }
        Cause::Xfs => "run xfs_repair on it from another system",
        Cause::Image => "the image is damaged or cut off: write it to the device again",
        Cause::Ntfs => "have Windows check it (chkdsk /f)",
        _ => "check the filesystem with fsck",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Op;

    fn hint_for(code: Code, cause: Cause, errno: Option<Errno>) -> &'static str {
        let error = Error::new(code, Op::Mount, "x", "y").because(cause);
        hint(&Error { errno, ..error })
    }

    #[test]
    fn every_code_has_advice_of_one_line_for_every_cause() {
        for code in Code::ALL {
            for cause in Cause::ALL {
                let hint = hint_for(*code, *cause, None);
                assert!(
                    (10..170).contains(&hint.len()) && !hint.contains('\n'),
                    "{code} {cause:?}: {hint}"
                );
            }
        }
    }

    #[test]
    fn a_cause_counts_more_than_an_error_number() {
        const INVAL: Option<Errno> = Some(Errno::INVAL);
        const NOSPC: Option<Errno> = Some(Errno::NOSPC);
        let (root, container) = (Code::RootMount, Code::ContainerSetup);
        for (code, cause, errno, hinted) in [
            (root, Cause::Unknown, None, "fsck"),
            (root, Cause::Unknown, INVAL, "rootfstype="),
            (root, Cause::Charset, INVAL, "rootflags=iocharset"),
            (root, Cause::Codepage, INVAL, "nls_cp437"),
            (root, Cause::MountOption, INVAL, "correct rootflags="),
            (
                root,
                Cause::ReplayExt,
                Some(Errno::ROFS),
                "rootflags=noload",
            ),
            (
                root,
                Cause::Replay,
                Some(Errno::ROFS),
                "rootflags=norecovery",
            ),
            (root, Cause::ReplayBtrfs, INVAL, "rescue=nologreplay"),
            (root, Cause::ReplayNewer, INVAL, "rescue=nologreplay"),
            (root, Cause::Hibernated, INVAL, "rootflags=force"),
            (root, Cause::Chkdsk, INVAL, "chkdsk"),
            (root, Cause::DuplicateUuid, INVAL, "nouuid"),
            (root, Cause::ExternalLog, INVAL, "logdev="),
            (root, Cause::ExternalJournal, INVAL, "journal_path="),
            (root, Cause::MissingDevice, None, "degraded"),
            (root, Cause::MissingDevices, None, "degraded"),
            (root, Cause::DegradedReadOnly, None, "ro rootflags=degraded"),
            (root, Cause::Crc32c, None, "crc32c_generic"),
            (root, Cause::Crc32, None, "crc32_generic"),
            (root, Cause::Checksum, None, "blake2b_generic"),
            (root, Cause::SquashfsCompression, INVAL, "mksquashfs -comp"),
            (root, Cause::ErofsCompression, INVAL, "mkfs.erofs -z"),
            (root, Cause::ReadOnlyFeatures, INVAL, "boot with ro"),
            (root, Cause::Newer, INVAL, "a newer kernel"),
            (root, Cause::PageSize, INVAL, "4 KiB"),
            (root, Cause::CutOff, INVAL, "smaller than the filesystem"),
            (root, Cause::BlockSize, INVAL, "berth.verity="),
            (root, Cause::JournalDamaged, None, "fsck"),
            (root, Cause::LogDamaged, None, "xfs_repair"),
            (root, Cause::Xfs, Some(Errno::UCLEAN), "xfs_repair"),
            (root, Cause::Btrfs, Some(Errno::IO), "btrfs check"),
            (root, Cause::Image, Some(Errno::IO), "write it"),
            (root, Cause::Ntfs, Some(Errno::IO), "chkdsk"),
            (Code::RootUnknownType, Cause::TwoFilesystems, None, "wipefs"),
            (Code::RootNotFound, Cause::UdevLink, None, "UUID="),
            (Code::NoContainers, Cause::NoBundle, None, "init="),
            (
                Code::ModuleRelease,
                Cause::OtherKernel,
                INVAL,
                "--modules-dir",
            ),
            (Code::Requirement, Cause::Unknown, None, "`berth.after`"),
            (Code::Requirement, Cause::NoNetwork, None, "with ip="),
            (
                Code::Requirement,
                Cause::LateNetwork,
                None,
                "is started when",
            ),
            (container, Cause::Unknown, NOSPC, "berth.restart"),
            (
                container,
                Cause::UserNamespace,
                NOSPC,
                "max_user_namespaces",
            ),
            (
                container,
                Cause::IdMap,
                Some(Errno::PERM),
                "only the own id",
            ),
            (container, Cause::MappedIds, INVAL, "CAP_SYS_ADMIN"),
            (
                container,
                Cause::MountOption,
                INVAL,
                "options of this mount",
            ),
            (container, Cause::Charset, INVAL, "the option iocharset"),
            (
                container,
                Cause::LoopDriver,
                Some(Errno::NOENT),
                "--module loop",
            ),
            (
                container,
                Cause::DeviceMapper,
                Some(Errno::NODEV),
                "dm_verity",
            ),
            (
                container,
                Cause::SeccompAgent,
                Some(Errno::NOENT),
                "start the agent",
            ),
            (container, Cause::Systemd, None, "--systemd-cgroup"),
            (container, Cause::SystemdAnswer, None, "systemd's words"),
            (
                container,
                Cause::NoSecurityModule,
                None,
                "security=apparmor",
            ),
            (container, Cause::AppArmorProfile, None, "apparmor_parser"),
            (container, Cause::SelinuxLabel, INVAL, "policy"),
        ] {
            let hint = hint_for(code, cause, errno);
            assert!(hint.contains(hinted), "{code} {cause:?}: {hint}");
        }
    }

    #[test]
    fn nobody_is_told_to_correct_the_root_of_a_container() {
        for cause in Cause::ALL {
            for code in [Code::ContainerSetup, Code::BundleConfig, Code::Control] {
                let hint = hint_for(code, *cause, Some(Errno::INVAL));
                assert!(!hint.contains("rootflags"), "{code} {cause:?}: {hint}");
            }
        }
    }

    /// What is searched for in the kernel's words, and what stood in messages of our own when hints
    /// were found by their text.
    const LOOKALIKES: &[&str] = &[
        "IO charset",
        "codepage",
        "version magic",
        "disagrees about version of symbol",
        "/dev/loop-control",
        "/dev/mapper/control",
        "in a user namespace",
        "my-id_map",
        "with mapped ids",
        "the agent at",
        "org.freedesktop.systemd1.NoSuchUnit",
        "x by systemd",
        "x, which this machine has not in force, x",
        "the profile of AppArmor",
        "the label of SELinux",
        "Unknown parameter",
        "udev makes this link",
        "a, and also b",
        "devices of this filesystem are there",
        "bad block size",
        "logical sector size too small",
        "Unrecognized mount option",
        "try mounting with noload",
        "/dev/x as btrfs",
        "/dev/x as xfs",
        "xfs_repair",
        "external log",
        "no such thing in PATH",
    ];

    #[test]
    fn no_text_of_a_user_chooses_the_hint() {
        for code in Code::ALL {
            let plain = hint(&Error::new(*code, Op::Mount, "x", "y"));
            for text in LOOKALIKES {
                for (subject, detail) in [(*text, "y"), ("x", *text), (text, text)] {
                    let error = Error::new(*code, Op::Mount, subject, detail);
                    assert_eq!(hint(&error), plain, "{code} {subject} {detail}");
                }
            }
        }
    }
}
