//! `berth.overlay`: a writable layer above the root filesystem, which is left as it is.
//!
//! The kernel takes the layers by path, and copies the mounts that they are on, which must be in
//! this mount namespace for that (clone_private_mount of fs/namespace.c). So the lower layer is
//! attached at the rootfs first, and a tmpfs on that. The overlay lies above both, and both go with
//! the host's tree when the root is entered. The paths are those of descriptors, `self/fd/N` from
//! the root of a procfs as the working directory: they mean what was opened, whatever another
//! process renames meanwhile.
//!
//! # In a user namespace
//!
//! An overlay can be made there since Linux 5.11, and keeps its notes in attributes that a user may
//! set (`userxattr`). A tmpfs has those since 6.6; before that, a directory that was removed cannot
//! be made again. Changes belong to the root user of the namespace: that user must own the
//! directory, and a file whose owner the namespace does not map cannot be changed.
//!
//! # One container at a time
//!
//! Two overlays with the same upper directory are undefined behaviour: the kernel says so in its
//! log, and makes both.

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::process::fchdir;

use crate::cause::Cause;
use crate::error::{During, Fault, Op};
use crate::parse::config::Overlay;
use crate::sys::fs::open_directory;
use crate::sys::kmsg;
use crate::sys::mount::Detached;
use crate::sys::overlay::{self, Layer};
use crate::sys::procfs::Procfs;
use crate::text::{Text, split_last};

/// The beginning of the kernel's messages about overlays.
const WORDS: &[u8] = b"overlayfs: ";

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Makes the overlay above `lower`, which is attached already, and attaches it there.
///
/// # Errors
/// Those of opening and making the directories, and of mounting, with the option `label` too, if
/// there is one; with the kernel's words, if it left any.
#[inline(never)]
pub(super) fn mount_above(
    lower: &Detached,
    bundle: &str,
    layer: Overlay<'_>,
    is_in_user_namespace: bool,
    label: Option<&str>,
) -> Result<Detached, Fault> {
    let (directory, shown) = match layer {
        Overlay::Tmpfs => {
            let mut options = ["mode=0755"].into_iter();
            let tmpfs = Detached::new("tmpfs", "tmpfs", &mut options, MountAttrFlags::empty())?;
            tmpfs.attach(lower.root()).during(Op::Mount, "tmpfs")?;
            (open_directory(tmpfs.root(), ".")?, "tmpfs")
        }
        Overlay::Directory(path) => (open_or_make(bundle, path).during(Op::Open, path)?, path),
    };
    let words = [is_in_user_namespace.then_some("userxattr"), label];
    let mark = kmsg::LogPosition::here();
    let made = Layer::prepare(directory.as_fd(), lower.root())
        .and_then(|layer| mount(lower, &layer, &words))
        .and_then(|made| {
            made.attach(lower.root()).during(Op::Mount, "the overlay")?;
            Ok(made)
        });
    made.map_err(|mut fault| {
        fault.subject = Text::new(format_args!("{} for berth.overlay={shown}", fault.subject));
        fault.quote(mark.first_complaint(WORDS).as_str(), Cause::Unknown);
        fault
    })
}

/// The overlay, with a procfs as the working directory meanwhile.
fn mount(lower: &Detached, layer: &Layer, words: &[Option<&str>]) -> Result<Detached, Fault> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let before = openat(CWD, c".", flags, Mode::empty()).during(Op::Open, ".")?;
    let procfs = Procfs::new_or_mounted()?;
    fchdir(&procfs).during(Op::Chdir, "/proc")?;
    let numbers = [lower.root(), layer.upper.as_fd(), layer.work.as_fd()].map(|fd| fd.as_raw_fd());
    let [lower, upper, work] = numbers;
    let made = overlay::mount(
        &format_args!("self/fd/{lower}"),
        &format_args!("self/fd/{upper}"),
        &format_args!("self/fd/{work}"),
        words,
    );
    fchdir(before).during(Op::Chdir, ".")?;
    made
}

/// The directory at `path`. A relative path is below the bundle, and no link is followed. If the
/// directory is missing in one that exists, it is made.
fn open_or_make(bundle: &str, path: &str) -> Result<OwnedFd, Errno> {
    let base = openat(CWD, bundle, DIRECTORY, Mode::empty())?;
    let resolve = match path.starts_with('/') {
        true => ResolveFlags::empty(),
        false => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    };
    let open = |path: &str| openat2(base.as_fd(), path, DIRECTORY, Mode::empty(), resolve);
    match open(path) {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    let path = path.trim_end_matches('/');
    let (parent, name) = match split_last(path, b'/') {
        Some(("", name)) => ("/", name),
        Some((parent, name)) => (parent, name),
        None => (".", path),
    };
    match mkdirat(open(parent)?.as_fd(), name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => open(path),
        Err(errno) => Err(errno),
    }
}
