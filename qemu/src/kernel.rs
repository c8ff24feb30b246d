//! Kernels to boot: fetched, unpacked, never installed.
//!
//! Debian's *cloud* kernels are small, boot anywhere QEMU does, and exist in several series side by
//! side, so they are the matrix: [`Series`]. A kernel is fetched once and kept in
//! `target/kernels/<series>/` with the layout of its packages and a module index, which packages do
//! not carry (it is made where a kernel is installed). Remove the directory to get a newer one.
//!
//! `BERTH_KERNEL=` names another kernel than the default: a series (`6.12`), or an image, which
//! takes `BERTH_MODULES=` with the directory of its modules.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::ValueEnum;

use crate::apt::{Archive, Mirror};
use crate::arch::Arch;
use crate::paths::target_dir;
use crate::whole;

/// A kernel and its modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// What it was asked for as: a series' name, or the image's path.
    pub name: String,
    /// `uname -r` on it.
    pub release: String,
    /// What QEMU's `-kernel` takes.
    pub image: PathBuf,
    /// Its `/lib/modules/<release>`, with an index.
    pub modules: PathBuf,
}

/// What a kernel is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Virtual machines: small, and without drivers for USB, SD cards and the like.
    Cloud,
    /// Any machine.
    Generic,
}

impl Flavour {
    /// How the names of its packages end.
    fn suffix(self, arch: Arch) -> String {
        match self {
            Self::Cloud => format!("-cloud-{}", arch.debian()),
            Self::Generic => format!("-{}", arch.debian()),
        }
    }
}

/// The kernels of the matrix, by the series that the upstream names them by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Series {
    /// Debian 12's own.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 12's backports, or Debian 13's own.
    #[value(name = "6.12")]
    V6_12,
    /// Debian unstable's, whatever follows 7.
    #[value(name = "7")]
    V7,
}

impl Series {
    /// The whole matrix.
    pub const ALL: [Self; 3] = [Self::V6_1, Self::V6_12, Self::V7];

    /// The series of the release that the machine runs; Debian 12's where that is not Debian.
    pub fn of_machine() -> Self {
        match codename().as_deref() {
            Ok("trixie") => Self::V6_12,
            Ok("forky" | "sid") => Self::V7,
            _ => Self::V6_1,
        }
    }

    /// `6.1`, `6.12` or `7`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V7 => "7",
        }
    }

    /// The suites that may have it. Those of one entry are used together; the first entry that has
    /// it counts.
    fn suites(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::V6_1 => &[&["bookworm", "bookworm-security"]],
            Self::V6_12 => &[&["bookworm-backports"], &["trixie", "trixie-security"]],
            Self::V7 => &[&["sid"]],
        }
    }

    /// The cloud kernel of this series, fetched if it is not there yet. What cannot be fetched is
    /// an error.
    pub fn get(self, arch: Arch) -> Result<Kernel> {
        self.get_flavour(arch, Flavour::Cloud)
    }

    /// The kernel of this series and flavour, fetched if it is not there yet.
    ///
    /// # Errors
    /// What cannot be fetched.
    pub fn get_flavour(self, arch: Arch, flavour: Flavour) -> Result<Kernel> {
        let kernels = target_dir().join("kernels");
        let mut name = match arch {
            Arch::X86_64 => self.name().to_owned(),
            Arch::Aarch64 => format!("{}-{}", self.name(), arch.debian()),
        };
        if flavour == Flavour::Generic {
            name.push_str("-generic");
        }
        let dir = kernels.join(&name);
        whole::directory(&dir, |unpacked| {
            self.fetch(&name, unpacked, arch, flavour)
                .with_context(|| format!("kernel {name} cannot be fetched"))
        })?;
        found_in(name, &dir)
    }

    /// Fetches and unpacks into `dir`.
    fn fetch(self, name: &str, dir: &Path, arch: Arch, flavour: Flavour) -> Result<()> {
        let mirror = Mirror::of_machine(&codename()?)?;
        let apt = target_dir().join("apt").join(name);
        let mut tried = Vec::new();
        for suites in self.suites() {
            make_empty(dir)?;
            let fetched = Archive::open(&apt, &mirror, suites, arch)
                .and_then(|archive| unpack(&archive, &flavour.suffix(arch), name, dir));
            if let Err(e) = fetched {
                tried.push(format!("{}: {e:#}", suites.join(" + ")));
                continue;
            }
            let kernel = found_in(name.to_owned(), dir)?;
            return berth_initramfs::depmod::write(&kernel.modules);
        }
        bail!("{}", tried.join("; "))
    }
}

/// The kernel to use where none was asked for: `BERTH_KERNEL=`, or the machine's own series.
pub fn default(arch: Arch) -> Result<Kernel> {
    let Some(wanted) = env::var_os("BERTH_KERNEL") else {
        return Series::of_machine().get(arch);
    };
    if let Some(series) = Series::ALL
        .into_iter()
        .find(|series| wanted == series.name())
    {
        return series.get(arch);
    }
    let image = PathBuf::from(wanted);
    ensure!(
        image.is_file(),
        "BERTH_KERNEL={}: no such image, nor a series (6.1, 6.12, 7)",
        image.display()
    );
    let modules = env::var_os("BERTH_MODULES").ok_or_else(|| {
        anyhow!(
            "BERTH_KERNEL={}: set BERTH_MODULES= to its /lib/modules/<release>",
            image.display()
        )
    })?;
    let (release, modules) = one_release(Path::new(&modules)).context("BERTH_MODULES")?;
    Ok(Kernel {
        name: image.display().to_string(),
        release,
        image,
        modules,
    })
}

/// Fetches the packages that hold the kernel and unpacks them in `dir`.
///
/// `linux-image-cloud-<arch>` depends on the package of the current release. That may hold
/// everything, or be split in turn (image, modules, base), so what counts is every package of that
/// release in the closure.
fn unpack(archive: &Archive, flavour: &str, name: &str, dir: &Path) -> Result<()> {
    let closure = archive.closure(&[&format!("linux-image{flavour}")])?;
    let wanted = of_one_release(&closure, flavour)?;
    eprintln!("kernel {name}: fetching {}", wanted.join(", "));
    archive.unpack(&wanted, dir)
}

/// Makes the directory, without what an earlier attempt may have left in it.
fn make_empty(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("clear {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))
}

/// Of a closure, the packages that belong to the image's release: `linux-image-6.1.0-1-cloud-amd64`
/// and whatever else ends with that release. An unsigned twin has the same files.
fn of_one_release(closure: &[String], flavour: &str) -> Result<Vec<String>> {
    let release = closure
        .iter()
        .filter_map(|package| package.strip_prefix("linux-image-"))
        .map(|release| release.strip_suffix("-unsigned").unwrap_or(release))
        .find(|release| release.ends_with(flavour))
        .with_context(|| format!("linux-image{flavour} names no kernel"))?;
    let signed = |package: &&String| package.ends_with(&format!("-{release}"));
    let mut packages: Vec<String> = closure.iter().filter(signed).cloned().collect();
    if !packages.contains(&format!("linux-image-{release}")) {
        packages.push(format!("linux-image-{release}-unsigned"));
    }
    Ok(packages)
}

/// The kernel in a directory of unpacked packages, in either layout: the image in `/boot`, or
/// beside its modules.
fn found_in(name: String, dir: &Path) -> Result<Kernel> {
    let libs = ["usr/lib/modules", "lib/modules"].map(|lib| dir.join(lib));
    let lib = libs.iter().find(|lib| lib.is_dir()).with_context(|| {
        format!(
            "{} holds no modules: remove it to fetch the kernel again",
            dir.display()
        )
    })?;
    let (release, modules) = one_release(lib)?;
    let images = [
        dir.join(format!("boot/vmlinuz-{release}")),
        modules.join("vmlinuz"),
    ];
    let image = images
        .into_iter()
        .find(|image| image.is_file())
        .with_context(|| {
            format!(
                "{} holds no image of {release}: remove it to fetch the kernel again",
                dir.display()
            )
        })?;
    Ok(Kernel {
        name,
        release,
        image,
        modules,
    })
}

/// The release and its directory, from `/lib/modules` or from the release's own directory.
fn one_release(dir: &Path) -> Result<(String, PathBuf)> {
    let dir = fs::canonicalize(dir).with_context(|| dir.display().to_string())?;
    let release = |dir: &Path| {
        dir.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    if dir.join("kernel").is_dir() {
        let release = release(&dir).with_context(|| format!("{} has no name", dir.display()))?;
        return Ok((release, dir));
    }
    let mut releases = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))? {
        releases.extend(Some(entry?.path()).filter(|path| path.join("kernel").is_dir()));
    }
    match releases.as_slice() {
        [one] => Ok((release(one).unwrap_or_default(), one.clone())),
        [] => bail!("{} holds no kernel's modules", dir.display()),
        several => {
            let names: Vec<_> = several.iter().filter_map(|dir| release(dir)).collect();
            bail!(
                "{} holds several releases ({}): name one",
                dir.display(),
                names.join(", ")
            )
        }
    }
}

/// The release's name from os-release(5).
pub(crate) fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|value| value.trim_matches('"').to_owned())
        .context("/etc/os-release has no VERSION_CODENAME: name a kernel with BERTH_KERNEL= and BERTH_MODULES=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn kernel_in_one_package_is_one_package() {
        let closure =
            names("linux-image-cloud-amd64 linux-image-6.1.0-9-cloud-amd64 linux-base libc6");
        let packages = of_one_release(&closure, "-cloud-amd64").unwrap();
        assert_eq!(packages, ["linux-image-6.1.0-9-cloud-amd64"]);
    }

    #[test]
    fn kernel_split_in_packages_is_all_of_its_release() {
        let closure = names(
            "linux-image-cloud-amd64 linux-base-cloud-amd64 linux-image-7.2-cloud-amd64 kmod \
             linux-binary-7.2-cloud-amd64 linux-modules-7.2-cloud-amd64",
        );
        let packages = of_one_release(&closure, "-cloud-amd64").unwrap();
        let parts = names(
            "linux-image-7.2-cloud-amd64 linux-binary-7.2-cloud-amd64 linux-modules-7.2-cloud-amd64",
        );
        assert_eq!(packages, parts);
    }

    #[test]
    fn unsigned_kernel_is_taken_where_no_other_is() {
        let closure = names("linux-image-cloud-amd64 linux-image-7.2-cloud-amd64-unsigned");
        let packages = of_one_release(&closure, "-cloud-amd64").unwrap();
        assert_eq!(packages, ["linux-image-7.2-cloud-amd64-unsigned"]);
    }

    #[test]
    fn directory_without_modules_is_no_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let error = found_in("6.1".into(), dir.path()).unwrap_err().to_string();
        assert!(error.contains("holds no modules"), "{error}");
    }

    #[test]
    fn image_is_found_in_boot_and_beside_the_modules() {
        for image in ["boot/vmlinuz-6.1.0-9", "lib/modules/6.1.0-9/vmlinuz"] {
            let dir = tempfile::tempdir().unwrap();
            for parent in ["boot", "lib/modules/6.1.0-9/kernel"] {
                fs::create_dir_all(dir.path().join(parent)).unwrap();
            }
            fs::write(dir.path().join(image), "").unwrap();
            let kernel = found_in("6.1".into(), dir.path()).unwrap();
            assert_eq!(kernel.release, "6.1.0-9");
            assert!(kernel.image.ends_with(image), "{kernel:?}");
        }
    }

    #[test]
    fn several_releases_are_named_in_the_error() {
        let dir = tempfile::tempdir().unwrap();
        for release in ["6.1", "6.2"] {
            fs::create_dir_all(dir.path().join(release).join("kernel")).unwrap();
        }
        let error = one_release(dir.path()).unwrap_err().to_string();
        assert!(error.contains("6.1") && error.contains("6.2"), "{error}");
    }
}
