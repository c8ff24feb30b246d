//! Programs of a distribution that go into guests: fetched, unpacked, never installed.
//!
//! They are those of one release of Debian, whatever this machine runs, so that figures about them
//! can be compared. Like a kernel they are fetched once, into `target/packages/`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::apt::{Archive, Mirror};
use crate::arch::Arch;
use crate::kernel::codename;
use crate::paths::target_dir;
use crate::program::{command, run};
use crate::whole;

/// Debian 13.
pub(crate) const SUITES: [&str; 2] = ["trixie", "trixie-security"];

/// Beside what was unpacked: the versions of the packages, one a line.
const VERSIONS: &str = "versions";

/// Where the packages have the libraries of x86_64.
pub const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// One of them is the dynamic linker.
const LINKER: &str = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";

/// Packages as if they were installed in a directory.
pub struct Packages {
    /// That directory.
    pub root: PathBuf,
    versions: String,
}

impl Packages {
    /// Gets these packages and all that they depend on, for x86_64. `name` is that of the
    /// directory.
    ///
    /// # Errors
    /// What cannot be fetched.
    pub fn get(name: &str, packages: &[&str]) -> Result<Self> {
        let root = target_dir().join("packages").join(name);
        whole::directory(&root, |new| fetch(new, packages))
            .with_context(|| format!("{} for guests", packages.join(", ")))?;
        let versions = fs::read_to_string(root.join(VERSIONS))
            .with_context(|| format!("{}: remove it to fetch it again", root.display()))?;
        Ok(Self { root, versions })
    }

    /// The version of one of the packages.
    pub fn version(&self, package: &str) -> Option<&str> {
        let mut lines = self.versions.lines();
        lines.find_map(|line| line.strip_prefix(package)?.strip_prefix(' '))
    }

    /// Where the libraries are: all of them, and those that systemd keeps to itself.
    fn library_path(&self) -> OsString {
        let all = self.root.join(LIBRARIES);
        let mut path = all.clone().into_os_string();
        path.push(":");
        path.push(all.join("systemd"));
        path
    }

    /// The shared libraries that a program is linked with, and the dynamic linker, as paths below
    /// the root. They are found by that linker itself, which this machine can run.
    ///
    /// # Errors
    /// A library that is in none of the packages.
    pub fn libraries(&self, program: &str) -> Result<Vec<String>> {
        let mut linker = command(&self.root.join(LINKER).display().to_string());
        let list = run(linker
            .arg("--library-path")
            .arg(self.library_path())
            .arg("--list")
            .arg(self.root.join(program)))?;
        let found = list.lines().filter_map(|line| line.split_once(" => "));
        let mut libraries = vec![LINKER.to_owned()];
        for (name, place) in found {
            let place = place.split(' ').next().unwrap_or_default();
            let below = Path::new(place).strip_prefix(&self.root);
            let below =
                below.with_context(|| format!("{program} wants {name}, which is {place}"))?;
            libraries.push(below.display().to_string());
        }
        Ok(libraries)
    }
}

fn fetch(root: &Path, packages: &[&str]) -> Result<()> {
    let mirror = Mirror::of_machine(&codename()?)?;
    let lists = target_dir().join("apt").join("packages");
    let archive = Archive::open(&lists, &mirror, &SUITES, Arch::X86_64)?;
    let all = archive.installation(packages)?;
    eprintln!("packages: fetching {}", all.join(", "));
    let downloads = tempfile::tempdir_in(root)?;
    let mut versions = String::new();
    for package in archive.download(&all, downloads.path())? {
        run(command("dpkg-deb").arg("--extract").arg(&package).arg(root))?;
        versions.push_str(&run(command("dpkg-deb")
            .args(["--show", "--showformat=${Package} ${Version}\\n"])
            .arg(&package))?);
    }
    fs::write(root.join(VERSIONS), versions).context("note the versions")
}
