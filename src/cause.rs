//! Why something failed, as a value.
//!
//! An error number and a message are for people. What is decided by a reason, above all what to do
//! about it ([`crate::hint`]), is decided by a [`Cause`]: it is set where the failure is made, by
//! who knows the reason. Where only the kernel knows it, its own words are read once, when they are
//! quoted ([`of_filesystem`], [`of_module`]).
//!
//! No other text has a say: ids, paths, labels and options are whatever their authors want them to
//! be.

mod words;

pub(crate) use words::{of_filesystem, of_module};

/// Declares the causes, and that they survive a trip through one byte.
macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident,)*) => {
        /// Why something failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Cause { $($(#[$doc])* $variant,)* }

        impl Cause {
            /// Every value, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
        }
    };
}

causes! {
    /// The error number has to do.
    Unknown,

    // What is known where it fails.
    /// The kernel has no loop driver.
    LoopDriver,
    /// The kernel has no device-mapper.
    DeviceMapper,
    /// A process in a user namespace could not be made.
    UserNamespace,
    /// The maps of a user namespace were refused.
    IdMap,
    /// The ids of a mount could not be mapped.
    MappedIds,
    /// The agent of a seccomp filter could not be reached.
    SeccompAgent,
    /// systemd could not be reached, or does not do what it was asked for.
    Systemd,
    /// systemd says itself what is wrong.
    SystemdAnswer,
    /// systemd does not know the unit.
    NoSuchUnit,
    /// The security module that a profile or a label is for is not in force.
    NoSecurityModule,
    /// A profile of AppArmor was refused.
    AppArmorProfile,
    /// A label of SELinux was refused.
    SelinuxLabel,
    /// The disk is encrypted.
    Encrypted,
    /// No directory in PATH has the program.
    NotInPath,
    /// The device of `root=` is a link that udev makes.
    UdevLink,
    /// A device has two filesystems on it.
    TwoFilesystems,
    /// Not all devices of the root's filesystem are there.
    MissingDevices,
    /// There is no bundle, but perhaps a program of the root's own.
    NoBundle,
    /// Nothing sets the network up.
    NoNetwork,
    /// The network is being set up, and late.
    LateNetwork,

    // The filesystem that could not be mounted, where the kernel's words say nothing that is known.
    /// A btrfs.
    Btrfs,
    /// An XFS, or the kernel asks for xfs_repair.
    Xfs,
    /// A filesystem that is only written as a whole.
    Image,
    /// An NTFS.
    Ntfs,

    // What the kernel's words say.
    /// A module is of another kernel.
    OtherKernel,
    /// A module is blacklisted on the kernel's command line.
    Blacklisted,
    /// A character set is not there.
    Charset,
    /// A code page is not there.
    Codepage,
    /// An option of the mount is not known, or its value is none.
    MountOption,
    /// The blocks of the filesystem are smaller than those of the device.
    BlockSize,
    /// ext4: the journal has to be replayed, and the device is write-protected.
    ReplayExt,
    /// XFS, f2fs: the log has to be replayed, and the device is write-protected.
    Replay,
    /// btrfs: the log has to be replayed, and the device is write-protected.
    ReplayBtrfs,
    /// btrfs: the log has to be replayed by a newer kernel.
    ReplayNewer,
    /// Windows left it mounted.
    Hibernated,
    /// Windows has to check it.
    Chkdsk,
    /// Another filesystem with this UUID is mounted.
    DuplicateUuid,
    /// The log is on another device.
    ExternalLog,
    /// The journal is on another device.
    ExternalJournal,
    /// A device of the filesystem is not there.
    MissingDevice,
    /// Devices of the filesystem are not there, and it can be mounted read-only.
    DegradedReadOnly,
    /// The checksum crc32c is not there.
    Crc32c,
    /// The checksum crc32 is not there.
    Crc32,
    /// A checksum of btrfs is not there.
    Checksum,
    /// squashfs: the kernel does not have this compression.
    SquashfsCompression,
    /// erofs: the kernel does not have this compression.
    ErofsCompression,
    /// The kernel can only read it.
    ReadOnlyFeatures,
    /// The kernel does not know its features.
    Newer,
    /// Its blocks do not suit the machine's pages.
    PageSize,
    /// The device is smaller than the filesystem.
    CutOff,
    /// The journal is damaged.
    JournalDamaged,
    /// The log is damaged.
    LogDamaged,
}

impl Cause {
    /// The cause of a mount that failed as `fstype`, where the kernel's words say nothing that is
    /// known.
    #[must_use]
    pub fn of_type(fstype: &str) -> Self {
        match fstype {
            "btrfs" => Self::Btrfs,
            "xfs" => Self::Xfs,
            "squashfs" | "erofs" | "iso9660" => Self::Image,
            "ntfs" | "ntfs3" => Self::Ntfs,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cause;

    #[test]
    fn causes_keep_their_place_in_the_list() {
        for (number, cause) in Cause::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, number);
        }
    }
}
