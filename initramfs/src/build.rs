//! Building an image from its [`Spec`].
//!
//! Files are collected first, each with a note of where it came from, and written at the end: so
//! what the image holds does not depend on the order in which it was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::archive::{self, Entry};
use crate::compression::{Compression, decode_module};
use crate::contents::{Contents, image_path};
use crate::index::{Found, Index};
use crate::modinfo::Modinfo;
use crate::program::{BERTH, defect_of};
use crate::resolve::{Resolution, resolve};
use crate::{ModuleTree, Report, Spec, devices, libraries, root_archive, signature};

/// Mount points that berth expects to be there.
const DIRECTORIES: &[&str] = &["dev", "proc", "run", "sys", "sysroot"];

/// Origin of what is in every image.
const LAYOUT: &str = "the fixed layout";

/// A built image.
#[derive(Debug)]
pub struct Image {
    /// What the kernel gets as its initrd.
    pub bytes: Vec<u8>,
    /// Notes and sizes.
    pub report: Report,
}

impl Spec {
    /// The files of [`Spec::fsck`], where they are on this machine.
    fn checks(&self) -> Result<BTreeSet<PathBuf>> {
        let mut files = BTreeSet::new();
        for fstype in &self.fsck {
            let places = ["/sbin", "/usr/sbin", "/bin", "/usr/bin"].into_iter();
            let mut programs = places.map(|place| PathBuf::from(format!("{place}/fsck.{fstype}")));
            let program = programs.find(|program| program.is_file());
            let program =
                program.with_context(|| format!("this machine has no fsck.{fstype} to add"))?;
            files.extend(libraries::of(&program)?);
            files.insert(program);
        }
        Ok(files)
    }

    /// Builds the image.
    ///
    /// # Errors
    /// A file that cannot be read, two sources for one path, a name that is no module, modules of
    /// another release than their directory, a path to [`Spec::omit`] that is not there, and what
    /// the kernel's configuration, if known, says it cannot unpack or load.
    pub fn build(&self, compression: Compression) -> Result<Image> {
        let mut contents = Contents::default();
        let mut notes = Vec::new();
        for path in DIRECTORIES {
            contents.insert(path, Entry::directory(), LAYOUT, "directories")?;
        }
        contents.insert("dev/console", Entry::character(5, 1), LAYOUT, "console")?;

        let init =
            fs::read(&self.init).with_context(|| format!("read --init {}", self.init.display()))?;
        let init = Entry::file(0o755, init);
        notes.extend(defect_of("init", &init, None));
        contents.insert("init", init, "--init", "init")?;
        if let Some(path) = &self.berth {
            let berth =
                fs::read(path).with_context(|| format!("read --berth {}", path.display()))?;
            let berth = Entry::file(0o755, berth);
            notes.extend(defect_of(BERTH, &berth, None));
            contents.insert(BERTH, berth, "--berth", "berth")?;
        }

        if let Some(tree) = &self.modules {
            self.check_compression(compression, tree)?;
            if self.strip_signatures {
                match &tree.config {
                    Some(config) => signature::check(config, &tree.release)?,
                    None => notes.push(format!(
                        "--strip-signatures: whether kernel {} insists on them is unknown without its configuration",
                        tree.release
                    )),
                }
            }
            let include = self.included(&tree.index);
            let resolution = resolve(&tree.index, &self.names, &include, tree.config.as_ref())?;
            self.add_modules(&mut contents, tree, &resolution)?;
            notes.extend(resolution.notes);
        } else {
            ensure!(
                self.names.is_empty() && self.included(&Index::default()).is_empty(),
                "modules are named but no module tree: give --modules-dir"
            );
        }
        if let Some(words) = &self.cmdline {
            let entry = Entry::file(0o644, format!("{}\n", words.trim_end()));
            contents.insert("etc/berth/cmdline", entry, "--cmdline", "configuration")?;
        }
        if let Some(src) = &self.root_archive {
            let entry = Entry::file(0o644, root_archive::make(src, self.mtime)?);
            contents.insert(
                root_archive::PATH,
                entry,
                "--root-archive",
                "root in memory",
            )?;
        }
        for src in self.checks()? {
            contents.add(&src, &src)?;
        }
        for (src, dst) in &self.add {
            contents.add(src, dst)?;
        }
        for (dst, data, mode) in &self.replace {
            let entry = Entry::file(*mode, data.clone());
            contents.replace(&image_path(dst)?, entry, "inline files")?;
        }
        for path in &self.omit {
            ensure!(
                contents.remove(&image_path(path)?),
                "omit {}: not in the image",
                path.display()
            );
        }

        let groups = contents.groups();
        let archive = archive::write(&contents.into_entries(), self.mtime)?;
        let bytes = compression.encode(&archive)?;
        let report = Report {
            notes,
            groups,
            compression,
            archive: archive.len(),
            image: bytes.len(),
        };
        Ok(Image { bytes, report })
    }

    /// The names of what is to be in the image without being listed.
    fn included(&self, index: &Index) -> Vec<String> {
        let mut types = BTreeSet::from_iter(self.filesystems.iter().cloned());
        let mut include = self.include.clone();
        include.extend(devices::of_classes(index, &self.classes));
        if self.for_this_machine {
            include.extend(devices::of_machine(index, Path::new("/sys")));
            types.extend(devices::mounted_types(Path::new("/proc")));
        }
        include.extend(types.into_iter().map(|fstype| {
            let alias = format!("fs-{fstype}");
            // Of what is built in, the index may have the module's name alone.
            match index.find(&alias) {
                Found::Nowhere => fstype,
                Found::Modules(_) | Found::Builtin => alias,
            }
        }));
        include
    }

    fn check_compression(&self, compression: Compression, tree: &ModuleTree) -> Result<()> {
        if let (Some(config), Some(symbol)) = (&tree.config, compression.config_symbol()) {
            ensure!(
                config.is_set(symbol),
                "kernel {} cannot unpack this image: it lacks {symbol}",
                tree.release
            );
        }
        Ok(())
    }

    fn add_modules(
        &self,
        contents: &mut Contents,
        tree: &ModuleTree,
        resolution: &Resolution,
    ) -> Result<()> {
        let base = format!("lib/modules/{}", tree.release);
        let mut stored = BTreeMap::new();
        for name in &resolution.closure {
            let path = &tree.index.modules[name].path;
            let (kept, data) = self.module_file(tree, path)?;
            let origin = tree.dir.join(path).display().to_string();
            let (path, group) = (format!("{base}/{kept}"), format!("module {name}"));
            contents.insert(&path, Entry::file(0o644, data), &origin, &group)?;
            stored.insert(name.clone(), kept);
        }
        let mut index = |name: &str, data: Vec<u8>| {
            let (path, entry) = (format!("{base}/{name}"), Entry::file(0o644, data));
            contents.insert(&path, entry, "the module tree", "module indexes")
        };
        for (name, mut text) in tree.index.trimmed(&stored) {
            if name == "modules.softdep" {
                for (module, before) in &resolution.before {
                    text += &format!("softdep {module} pre: {}\n", before.join(" "));
                }
            }
            index(name, text.into_bytes())?;
        }
        // Whole: it tells PID 1 that a name on the command line needs no module.
        let builtin = tree.dir.join("modules.builtin");
        if builtin.is_file() {
            let data = fs::read(&builtin).with_context(|| format!("read {}", builtin.display()))?;
            index("modules.builtin", data)?;
        }
        let lines = resolution.load.iter().map(|name| format!("{name}\n"));
        let entry = Entry::file(0o644, lines.collect::<String>());
        contents.insert("etc/berth/modules", entry, "--module", "configuration")
    }

    /// The path and bytes to store a module with.
    fn module_file(&self, tree: &ModuleTree, path: &str) -> Result<(String, Vec<u8>)> {
        let file = tree.dir.join(path);
        let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        let plain = decode_module(path, bytes.clone())?;
        let release = Modinfo::read(&plain)
            .with_context(|| file.display().to_string())?
            .release;
        ensure!(
            release == tree.release,
            "{}: built for kernel {release}, but it lies in the directory of {}",
            file.display(),
            tree.release
        );
        let stem = path.len() - path.rsplit(".ko").next().map_or(0, str::len);
        ensure!(
            !(self.keep_compressed && self.strip_signatures),
            "--strip-signatures needs modules that are stored plain, not --keep-compressed"
        );
        if self.keep_compressed && stem < path.len() {
            let algorithm = match &path[stem..] {
                ".gz" => "CONFIG_MODULE_COMPRESS_GZIP",
                ".xz" => "CONFIG_MODULE_COMPRESS_XZ",
                _ => "CONFIG_MODULE_COMPRESS_ZSTD",
            };
            let config = tree.config.as_ref().with_context(|| {
                format!("--keep-compressed: the configuration of kernel {} is unknown; name it with --kernel-config", tree.release)
            })?;
            for symbol in ["CONFIG_MODULE_DECOMPRESS", algorithm] {
                ensure!(
                    config.is_set(symbol),
                    "--keep-compressed: kernel {} cannot load {path}: it lacks {symbol}",
                    tree.release
                );
            }
            return Ok((path.to_owned(), bytes));
        }
        let plain = match self.strip_signatures {
            true => signature::stripped(&plain).to_vec(),
            false => plain,
        };
        Ok((path[..stem].to_owned(), plain))
    }
}

impl Image {
    /// Writes the image; `path` never holds half of it.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        fs::write(&partial, &self.bytes).with_context(|| format!("write {}", path.display()))?;
        fs::rename(&partial, path).with_context(|| format!("write {}", path.display()))
    }
}

#[cfg(test)]
mod tests;
