//! What an image is to hold.

use std::path::PathBuf;

use crate::{DeviceClass, ModuleTree};

/// What an image is to hold.
#[derive(Clone, Debug)]
pub struct Spec {
    pub(crate) init: PathBuf,
    pub(crate) berth: Option<PathBuf>,
    pub(crate) modules: Option<ModuleTree>,
    pub(crate) names: Vec<String>,
    pub(crate) include: Vec<String>,
    pub(crate) classes: Vec<DeviceClass>,
    pub(crate) filesystems: Vec<String>,
    pub(crate) for_this_machine: bool,
    pub(crate) strip_signatures: bool,
    pub(crate) add: Vec<(PathBuf, PathBuf)>,
    pub(crate) fsck: Vec<String>,
    pub(crate) root_archive: Option<PathBuf>,
    pub(crate) cmdline: Option<String>,
    pub(crate) keep_compressed: bool,
    pub(crate) mtime: u32,
    pub(crate) replace: Vec<(PathBuf, Vec<u8>, u32)>,
    pub(crate) omit: Vec<PathBuf>,
}

impl Spec {
    /// An image with `init` as `/init` and the mount points, without modules, and without what
    /// starts containers.
    #[must_use]
    pub fn new(init: impl Into<PathBuf>) -> Self {
        Self {
            init: init.into(),
            berth: None,
            modules: None,
            names: Vec::new(),
            include: Vec::new(),
            classes: Vec::new(),
            filesystems: Vec::new(),
            for_this_machine: false,
            strip_signatures: false,
            add: Vec::new(),
            fsck: Vec::new(),
            root_archive: None,
            cmdline: None,
            keep_compressed: false,
            mtime: 0,
            replace: Vec::new(),
            omit: Vec::new(),
        }
    }

    /// The program that PID 1 starts containers with, `/usr/lib/berth/berth`. An image that hands
    /// over with `init=` needs none.
    #[must_use]
    pub fn berth(mut self, program: impl Into<PathBuf>) -> Self {
        self.berth = Some(program.into());
        self
    }

    /// The kernel's modules, of which those named with [`Spec::load`] are taken.
    #[must_use]
    pub fn modules(mut self, tree: ModuleTree) -> Self {
        self.modules = Some(tree);
        self
    }

    /// Modules to load at boot, by name or alias: they go into `/etc/berth/modules` in this order,
    /// and into the image with all they need.
    #[must_use]
    pub fn load<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.names.extend(names.into_iter().map(Into::into));
        self
    }

    /// Modules to have in the image, by name or alias, with all they need: PID 1 loads them when a
    /// device asks for them.
    #[must_use]
    pub fn include<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.include.extend(names.into_iter().map(Into::into));
        self
    }

    /// The drivers of these classes of devices, as far as the kernel has them, as
    /// [`Spec::include`].
    #[must_use]
    pub fn for_devices(mut self, classes: impl IntoIterator<Item = DeviceClass>) -> Self {
        self.classes.extend(classes);
        self
    }

    /// The drivers of these types of filesystems, with what they need to be mounted, as
    /// [`Spec::include`].
    #[must_use]
    pub fn for_filesystems<S: Into<String>>(mut self, types: impl IntoIterator<Item = S>) -> Self {
        self.filesystems.extend(types.into_iter().map(Into::into));
        self
    }

    /// The drivers of the disks of the machine that this runs on, and of the filesystems that are
    /// mounted from them.
    #[must_use]
    pub fn from_running_system(mut self) -> Self {
        self.for_this_machine = true;
        self
    }

    /// Stores modules without their signatures, whose check takes most of the time of loading them.
    /// The kernel marks itself as tainted then; for one that insists on signatures the build is
    /// refused.
    #[must_use]
    pub fn strip_signatures(mut self, strip: bool) -> Self {
        self.strip_signatures = strip;
        self
    }

    /// Adds a file or a whole directory of the build machine. A `dst` that ends in `/` is the
    /// directory to put a file in.
    #[must_use]
    pub fn add(mut self, src: impl Into<PathBuf>, dst: impl Into<PathBuf>) -> Self {
        self.add.push((src.into(), dst.into()));
        self
    }

    /// The checks of these types of filesystems, for `berth.fsck=`: this machine's `fsck.TYPE`,
    /// with the libraries that they need.
    #[must_use]
    pub fn fsck<S: Into<String>>(mut self, types: impl IntoIterator<Item = S>) -> Self {
        self.fsck.extend(types.into_iter().map(Into::into));
        self
    }

    /// What `root=tmpfs` is filled with, `/root.cpio`: a directory, or a newc archive, plain or
    /// compressed. Modes, owners and links stay as they are.
    #[must_use]
    pub fn root_archive(mut self, src: impl Into<PathBuf>) -> Self {
        self.root_archive = Some(src.into());
        self
    }

    /// Defaults for the kernel command line, `/etc/berth/cmdline`.
    #[must_use]
    pub fn cmdline(mut self, words: impl Into<String>) -> Self {
        self.cmdline = Some(words.into());
        self
    }

    /// Stores module files compressed as they are. Plain ones, the default, load on any kernel and
    /// make a smaller compressed image.
    #[must_use]
    pub fn keep_compressed(mut self, keep: bool) -> Self {
        self.keep_compressed = keep;
        self
    }

    /// The time of all files, in seconds since 1970; 0 unless set.
    #[must_use]
    pub fn mtime(mut self, seconds: u32) -> Self {
        self.mtime = seconds;
        self
    }

    /// Puts a file with these permission bits (such as `0o644`) at `dst`, in place of whatever is
    /// there. This happens last and is not checked: with [`Spec::omit`] it makes the broken images
    /// that tests need.
    #[must_use]
    pub fn replace(mut self, dst: impl Into<PathBuf>, data: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.replace.push((dst.into(), data.into(), mode));
        self
    }

    /// Leaves out a file, or a directory with all that is in it. The indexes still name it.
    #[must_use]
    pub fn omit(mut self, dst: impl Into<PathBuf>) -> Self {
        self.omit.push(dst.into());
        self
    }
}
