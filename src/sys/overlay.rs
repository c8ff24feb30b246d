//! Overlays: a writable layer above what stays as it is (Documentation/filesystems/overlayfs.rst).
//!
//! The layer is two directories of one filesystem: what was changed is in `upper`, and `work` is
//! the kernel's own. What is seen of the topmost directory, its mode and its owner, is that of
//! `upper`.

use core::fmt::{self, Display};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::copy::set_attributes;
use super::mount::Detached;
use crate::error::{During, Fault, Op};
use crate::text::Text;

/// The longest option: `upperdir=` and a path of ours.
const OPTION_MAX: usize = 64;

/// The directories of a writable layer.
#[derive(Debug)]
pub struct Layer {
    /// What was changed.
    pub upper: OwnedFd,
    /// The kernel's.
    pub work: OwnedFd,
}

impl Layer {
    /// Those in `directory`. What is missing is made, and a new `upper` is like the directory
    /// `lower`, as far as that has owners that are known in this user namespace.
    ///
    /// # Errors
    /// Those of mkdirat(2) but `EEXIST`; those of openat2(2), `ELOOP` for a symbolic link.
    #[inline(never)]
    pub fn prepare(directory: BorrowedFd<'_>, lower: BorrowedFd<'_>) -> Result<Self, Fault> {
        let (upper, is_new) = open_or_make(directory, "upper")?;
        if is_new {
            let like = fstat(lower).and_then(|stat| set_attributes(upper.as_fd(), c".", &stat));
            match like {
                // chown(2): one that nobody has here, or that may not be given away.
                Err(Errno::INVAL | Errno::PERM) => {}
                result => result.during(Op::Create, "upper")?,
            }
        }
        let (work, _) = open_or_make(directory, "work")?;
        Ok(Self { upper, work })
    }
}

fn open_or_make(directory: BorrowedFd<'_>, name: &str) -> Result<(OwnedFd, bool), Fault> {
    let is_new = match mkdirat(directory, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(errno).during(Op::Create, name),
    };
    let opened = openat2(
        directory,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    );
    Ok((opened.during(Op::Open, name)?, is_new))
}

/// The overlay of the directories at these paths, mounted nowhere yet. They must be on mounts of
/// this mount namespace, of which the kernel makes copies. `words` are more options.
///
/// # Errors
/// Those of [`Detached::new`]. What `EINVAL` is about stands in the kernel's log.
#[inline(never)]
pub fn mount(
    lower: &dyn Display,
    upper: &dyn Display,
    work: &dyn Display,
    words: &[Option<&str>],
) -> Result<Detached, Fault> {
    // The paths are ours, and fit.
    let option = |text: fmt::Arguments<'_>| Text::<OPTION_MAX>::new(text);
    let [lower, upper, work] = [
        option(format_args!("lowerdir={lower}")),
        option(format_args!("upperdir={upper}")),
        option(format_args!("workdir={work}")),
    ];
    let layers = [lower.as_str(), upper.as_str(), work.as_str()];
    let mut options = layers.into_iter().chain(words.iter().copied().flatten());
    Detached::new("overlay", "overlay", &mut options, MountAttrFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fs::open_directory;
    use rustix::fs::CWD;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_layer_is_made_once_and_like_what_lies_below() {
        let scratch = std::env::temp_dir().join(format!("berth-layer-{}", std::process::id()));
        fs::create_dir_all(scratch.join("lower")).unwrap();
        fs::create_dir_all(scratch.join("layer")).unwrap();
        let mode = |path: &str| {
            fs::metadata(scratch.join(path))
                .unwrap()
                .permissions()
                .mode()
        };
        let set = |path: &str, mode| {
            fs::set_permissions(scratch.join(path), PermissionsExt::from_mode(mode))
        };
        let open = |path: &str| open_directory(CWD, scratch.join(path).to_str().unwrap()).unwrap();
        let prepare = || Layer::prepare(open("layer").as_fd(), open("lower").as_fd()).map(drop);

        set("lower", 0o1731).unwrap();
        prepare().unwrap();
        assert_eq!(mode("layer/upper") & 0o7777, 0o1731);
        assert!(scratch.join("layer/work").is_dir());
        // What was changed stays changed.
        set("layer/upper", 0o700).unwrap();
        prepare().unwrap();
        assert_eq!(mode("layer/upper") & 0o7777, 0o700);

        fs::remove_dir(scratch.join("layer/work")).unwrap();
        symlink(scratch.join("lower"), scratch.join("layer/work")).unwrap();
        assert_eq!(prepare().unwrap_err().to_string(), "open work: ELOOP");
        fs::remove_dir_all(scratch).unwrap();
    }
}
