//! Mounts as one item of `mounts` asks for them: a new one, in no tree yet, or another one changed.

use linux_raw_sys::general::{MS_RDONLY, MS_REC};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::Mounts;
use crate::container::{cgroup, labels};
use crate::error::{During, Fault, Op};
use crate::parse::config::{Mount, MountOptions};
use crate::parse::mount_options::words;
use crate::sys::mount::{
    Detached, MountSubject, attributes_to_clear, attributes_to_set, change_attributes,
    filesystem_flags, is_mount_root, is_read_only, reconfigure, resolve_in_root,
};
use crate::sys::path::{LongPath, Path, long_path};
use crate::text::{Text, contains};

/// The longest option that fsconfig(2) takes, at least.
const OPTION_MAX: usize = 255;

/// A new mount; writable in any case, if it is to be filled.
pub(super) fn make(
    mounts: &Mounts<'_>,
    item: &Mount<'_>,
    is_filled: bool,
) -> Result<Detached, Fault> {
    if item.options.is_bind() {
        return bind(mounts.bundle, item, true);
    }
    let fstype = match item.fstype.unwrap_or_default() {
        // Mounting the host's hierarchy again would set its options anew, for all
        // (apply_cgroup_root_flags of kernel/cgroup/cgroup.c): without `nsdelegate`, every
        // container could lift its own limits.
        "cgroup" | "cgroup2" if !mounts.has_cgroups => {
            return copy(&open_source(cgroup::ROOT)?, cgroup::ROOT, item);
        }
        // The specification's name for the hierarchy of either version; there is only the second
        // here.
        "cgroup" => "cgroup2",
        fstype => fstype,
    };
    let about = &about(item, fstype);
    let options = &item.options;
    let mode = covered_mode(mounts.root, item);
    let label = label_of(item, fstype, mounts.label)?;
    let mut more = words(mode.as_str()).chain(label.as_deref());
    if words(options.data).any(|word| word.len() > OPTION_MAX) {
        let mut all = words(options.data).chain(more);
        return Detached::of_page(about, options.flags.set, &mut all);
    }
    let mut attributes = attributes_to_set(options.flags);
    if is_filled {
        attributes.remove(MountAttrFlags::MOUNT_ATTR_RDONLY);
    }
    let context = match mounts.procfs {
        // A procfs shows the processes of its maker's PID namespace.
        Some(helper) if fstype == "proc" => {
            let mut items = mounts.items.iter();
            helper.make(items.position(|one| core::ptr::eq(one, item)))
        }
        _ => configure_with(item, fstype, &mut more),
    };
    let made = Detached::of(context?, about, attributes)?;
    if let Some(label) = mounts.label.filter(|_| fstype == MQUEUE) {
        labels::label_top(made.root(), label)?;
    }
    Ok(made)
}

/// What the item mounts, as errors tell of it.
fn about<'a>(item: &Mount<'a>, fstype: &'a str) -> MountSubject<'a> {
    MountSubject {
        source: item.source.unwrap_or(fstype),
        fstype,
        on: item.destination,
    }
}

/// The option for the mode of a tmpfs, where the bundle does not give one: the mode of the
/// directory that it covers, as with runc and crun. Empty for all other mounts, and where there is
/// no directory yet.
#[inline(never)]
fn covered_mode(root: BorrowedFd<'_>, item: &Mount<'_>) -> Text<16> {
    let mut option = Text::EMPTY;
    if item.fstype == Some("tmpfs")
        && !contains(item.options.data, "mode=")
        && let Ok(covered) = resolve_in_root(root, item.destination)
        && let Ok(stat) = fstat(covered)
    {
        option.push(format_args!("mode={:o}", stat.st_mode & 0o7777));
    }
    option
}

/// There is one such filesystem for all its mounts in an IPC namespace, and if it was mounted with
/// a label, it can only be mounted again with the same. So its topmost directory is labelled, as
/// runc and crun do it.
const MQUEUE: &str = "mqueue";

/// Filesystems of the kernel's own: the policy gives their files their labels.
const NEVER_LABELLED: [&str; 4] = ["proc", "sysfs", "cgroup2", MQUEUE];

/// The option that puts `label` on all files of a filesystem (mount(8), `context=`), where it takes
/// one and the item does not say another.
#[inline(never)]
fn label_of(item: &Mount<'_>, fstype: &str, label: Option<&str>) -> Result<Option<Path>, Fault> {
    let has_label = words(item.options.data).any(|word| word.starts_with("context="));
    labels::context_of(label.filter(|_| !has_label && !NEVER_LABELLED.contains(&fstype)))
}

/// A new instance of a filesystem, as the item asks for it.
pub(in crate::container) fn configure(item: &Mount<'_>, fstype: &str) -> Result<OwnedFd, Fault> {
    configure_with(item, fstype, &mut core::iter::empty())
}

/// The same, with more options.
fn configure_with<'a>(
    item: &'a Mount<'_>,
    fstype: &str,
    more: &mut dyn Iterator<Item = &'a str>,
) -> Result<OwnedFd, Fault> {
    let about = &about(item, fstype);
    let flags = item.options.flags;
    // A disk is mounted read-only as a whole. Other filesystems may have one superblock for all
    // mounts, which is the host's, too.
    let is_read_only = flags.set & MS_RDONLY != 0 && about.source.starts_with('/');
    let mut options = filesystem_flags(flags)
        .chain(is_read_only.then_some("ro"))
        .chain(words(item.options.data))
        .chain(more);
    Detached::configure(about, &mut options)
}

/// What the item binds. `is_cut_off` says that nothing of this namespace appears on the host any
/// more: then a directory is attached all along, so that it misses nothing that the host mounts.
/// Nothing can be mounted in a file, and the ids of an attached mount cannot be mapped.
pub(super) fn bind(bundle: &str, item: &Mount<'_>, is_cut_off: bool) -> Result<Detached, Fault> {
    let mut room = LongPath::new();
    let source = source_of(bundle, item, &mut room)?;
    if is_cut_off
        && item.ids.is_none()
        && let Ok(copy) = Detached::attached_copy_of(source, is_recursive(item))
    {
        return finish(Ok(copy), source, item);
    }
    let opened = openat(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let subject = format_args!("{source} to mount it on {}", item.destination);
    copy(&opened.during(Op::Open, subject)?, source, item)
}

fn is_recursive(item: &Mount<'_>) -> bool {
    item.options.flags.set & MS_REC != 0
}

/// The path of what is bound; one that is put together is in `room`.
pub(in crate::container) fn source_of<'r>(
    bundle: &str,
    item: &Mount<'r>,
    room: &'r mut LongPath,
) -> Result<&'r str, Fault> {
    let source = item.source.unwrap_or_default();
    match source.starts_with('/') {
        true => Ok(source),
        false => long_path(room, format_args!("{bundle}/{source}")).during(Op::Open, source),
    }
}

/// A copy of what was opened as `source`, as it is to be mounted.
pub(super) fn copy(opened: &OwnedFd, source: &str, item: &Mount<'_>) -> Result<Detached, Fault> {
    let copy = Detached::copy_of(opened.as_fd(), is_recursive(item));
    finish(copy, source, item)
}

#[inline(never)]
fn finish(
    copy: Result<Detached, Errno>,
    source: &str,
    item: &Mount<'_>,
) -> Result<Detached, Fault> {
    copy.and_then(|copy| {
        set_attributes(copy.root(), &item.options)?;
        Ok(copy)
    })
    .during(Op::Mount, format_args!("{source} on {}", item.destination))
}

/// As with mount(8), `ro` changes the top mount alone, also with `rbind`. `rro` changes all mounts
/// below it, too, and then there may be words that differ for the top.
fn set_attributes(mount: BorrowedFd<'_>, options: &MountOptions<'_>) -> Result<(), Errno> {
    for (flags, recursive) in [(options.below, true), (options.flags, false)] {
        let [set, clear] = [attributes_to_set(flags), attributes_to_clear(flags)];
        change_attributes(mount, set, clear, recursive)?;
    }
    Ok(())
}

/// Changes what is mounted at the destination: the attributes that are named, while all others
/// stay, and options of the filesystem, which all its mounts share. `ro` and `rw` are attributes of
/// the mount, since the filesystem may be the host's.
pub(super) fn remount(root: BorrowedFd<'_>, item: &Mount<'_>) -> Result<OwnedFd, Fault> {
    let options = &item.options;
    let again = format_args!("{} again", item.destination);
    let mount = resolve_in_root(root, item.destination)?;
    if !is_mount_root(mount.as_fd()).during(Op::Mount, again)? {
        let why = format_args!("{again}: nothing is mounted there");
        return Err(Errno::INVAL).during(Op::Mount, why);
    }
    let mut of_filesystem = filesystem_flags(options.flags)
        .chain(words(options.data))
        .peekable();
    if of_filesystem.peek().is_some() {
        reconfigure(mount.as_fd(), item.destination, &mut of_filesystem)?;
    }
    set_attributes(mount.as_fd(), options).during(Op::Mount, again)?;
    if options.flags.clear & MS_RDONLY != 0 && is_read_only(mount.as_fd()) {
        let why = format_args!("{again}: rw: the filesystem is read-only");
        return Err(Errno::ROFS).during(Op::Mount, why);
    }
    Ok(mount)
}

pub(in crate::container) fn open_source(path: &str) -> Result<OwnedFd, Fault> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).during(Op::Open, path)
}
