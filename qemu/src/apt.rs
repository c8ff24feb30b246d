//! A private apt: packages fetched and unpacked without root, from the mirror that the machine is
//! set up with.
//!
//! The real apt does the work, with a configuration of its own (`APT_CONFIG`) that puts lists,
//! cache and sources into one directory. So signatures are checked by apt with the machine's keys,
//! and proxies and mirrors are those of the machine: its `Acquire::` settings are taken over, the
//! rest (pins, hooks, the installed system) is not.
//!
//! What the machine's sources are is asked of apt too, which reads every format they can be written
//! in. See apt.conf(5), sources.list(5) and apt-get(8), `--print-uris`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::program::{command, run};

/// The keys of Debian's archives, where the distribution keeps them apart from those trusted for
/// all sources.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where a suite lives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// The archive's address.
    main: String,
    /// The address of the security archive, where the machine has one.
    security: Option<String>,
}

impl Mirror {
    /// The mirror of the machine's own sources; `codename` is the release that it runs.
    pub(crate) fn of_machine(codename: &str) -> Result<Self> {
        let uris = run(command("apt-get").args(["update", "--print-uris"]))
            .context("the machine's package sources")?;
        Self::among(&uris, codename).with_context(|| {
            format!(
                "apt has no source for `{codename} main`: add a Debian mirror to its sources, \
                 or name a kernel with BERTH_KERNEL= and BERTH_MODULES="
            )
        })
    }

    /// Picks the mirror from the output of `apt-get update --print-uris`: lines that begin with
    /// `'<mirror>/dists/<suite>/main/binary-…'`. Another vendor may call its suite like the release
    /// too, but has no `<release>-updates`.
    fn among(uris: &str, codename: &str) -> Option<Self> {
        let sources: Vec<(&str, &str)> = uris
            .lines()
            .filter_map(|line| {
                let (mirror, rest) = line.strip_prefix('\'')?.split_once("/dists/")?;
                let (suite, _) = rest.split_once("/main/binary-")?;
                Some((mirror, suite))
            })
            .collect();
        let updates = format!("{codename}-updates");
        let has_updates = |mirror: &str| sources.contains(&(mirror, &updates));
        let releases = || sources.iter().filter(|(_, suite)| *suite == codename);
        let (main, _) = releases()
            .find(|(mirror, _)| has_updates(mirror))
            .or_else(|| releases().next())?;
        let security = sources
            .iter()
            .find(|(_, suite)| suite.ends_with("-security"));
        Some(Self {
            main: (*main).to_owned(),
            security: security.map(|(mirror, _)| (*mirror).to_owned()),
        })
    }

    /// One line of sources.list(5) for each suite. A security suite is left out where the machine
    /// has no source for any.
    fn sources_list(&self, suites: &[&str]) -> String {
        let signed_by = match Path::new(KEYRING).exists() {
            true => format!("[signed-by={KEYRING}] "),
            false => String::new(),
        };
        let mut list = String::new();
        for suite in suites {
            let mirror = match suite.ends_with("-security") {
                true => self.security.as_ref(),
                false => Some(&self.main),
            };
            if let Some(mirror) = mirror {
                let _ = writeln!(list, "deb {signed_by}{mirror} {suite} main");
            }
        }
        list
    }
}

/// The packages of some suites.
pub(crate) struct Archive {
    config: PathBuf,
}

impl Archive {
    /// Fetches the package lists of the suites into `dir`, which is made. The lists' signatures are
    /// checked.
    pub(crate) fn open(dir: &Path, mirror: &Mirror, suites: &[&str], arch: Arch) -> Result<Self> {
        for private in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(private))
                .with_context(|| format!("create {}/{private}", dir.display()))?;
        }
        // An empty system: what is installed on the machine must not bear on what is chosen.
        let write = |name: &str, text: &str| {
            fs::write(dir.join(name), text)
                .with_context(|| format!("write {}/{name}", dir.display()))
        };
        write("status", "")?;
        write("sources.list", &mirror.sources_list(suites))?;
        write("apt.conf", &configuration(dir, &machine_settings()?, arch))?;
        let archive = Self {
            config: dir.join("apt.conf"),
        };
        run(archive.apt("apt-get").arg("update"))?;
        Ok(archive)
    }

    /// These packages and all that they depend on, to any depth, each once. A package that the
    /// suites lack is an error.
    pub(crate) fn closure(&self, packages: &[&str]) -> Result<Vec<String>> {
        let mut depends = self.apt("apt-cache");
        depends.args(["depends", "--recurse", "--important"]);
        let tree = run(depends.args(packages))?;
        // The packages begin a line; their relations are indented, and names of virtual packages
        // are in brackets.
        let names = tree
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric()));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// These packages and what apt would install with them on an empty system: of alternatives one,
    /// and nothing that is only recommended. A package that cannot be installed is an error.
    pub(crate) fn installation(&self, packages: &[&str]) -> Result<Vec<String>> {
        let mut install = self.apt("apt-get");
        install.args(["install", "--simulate", "--no-install-recommends"]);
        let plan = run(install.args(packages))?;
        // One line for each: `Inst <name> (<version> <source> [<architecture>])`.
        let names = plan.lines().filter_map(|line| {
            let (name, _) = line.strip_prefix("Inst ")?.split_once(' ')?;
            Some(name.to_owned())
        });
        Ok(names.collect())
    }

    /// Fetches the packages and unpacks them in `dir` as if they were installed there.
    pub(crate) fn unpack(&self, packages: &[String], dir: &Path) -> Result<()> {
        let downloads = tempfile::tempdir_in(dir)?;
        for package in self.download(packages, downloads.path())? {
            run(command("dpkg-deb").arg("--extract").arg(&package).arg(dir))?;
        }
        Ok(())
    }

    /// Fetches the packages into `dir` and checks them against the signed lists.
    pub(crate) fn download(&self, packages: &[String], dir: &Path) -> Result<Vec<PathBuf>> {
        run(self
            .apt("apt-get")
            .arg("download")
            .args(packages)
            .current_dir(dir))?;
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
            files.push(entry?.path());
        }
        files.retain(|file| file.extension().is_some_and(|extension| extension == "deb"));
        ensure!(
            files.len() == packages.len(),
            "apt-get download: {} of {} packages arrived",
            files.len(),
            packages.len()
        );
        Ok(files)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = command(program);
        command.env("APT_CONFIG", &self.config);
        command
    }
}

/// The machine's settings for fetching: proxies, retries, certificates. `apt-config dump` prints
/// them in the syntax that apt.conf(5) reads.
fn machine_settings() -> Result<String> {
    let all = run(command("apt-config").arg("dump")).context("the machine's apt configuration")?;
    let fetching = all.lines().filter(|line| {
        // Index targets are what `apt-get update` fetches besides the packages: catalogues for
        // desktops.
        line.starts_with("Acquire::") && !line.starts_with("Acquire::IndexTargets")
    });
    Ok(fetching.collect::<Vec<_>>().join("\n"))
}

fn configuration(dir: &Path, machine: &str, arch: Arch) -> String {
    let dir = dir.display();
    let arch = arch.debian();
    format!(
        r#"{machine}
Acquire::Languages "none";
APT::Architecture "{arch}";
APT::Architectures "{arch}";
// A list that cannot be fetched is an error, not a warning.
APT::Update::Error-Mode "any";
// Root's apt would hand over to a user that may not write here.
APT::Sandbox::User "root";
Dir::State "{dir}";
Dir::State::lists "{dir}/lists";
Dir::State::status "{dir}/status";
Dir::Cache "{dir}/cache";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "{dir}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const URIS: &str = "\
'http://vendor.example/linux/dists/bookworm/main/binary-amd64/Packages.xz' vendor 0
'http://mirror.example/debian/dists/bookworm/InRelease' bookworm_InRelease 0
'http://mirror.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' bookworm 0
'http://mirror.example/debian/dists/bookworm-updates/main/binary-amd64/Packages.xz' updates 0
'http://mirror.example/security/dists/bookworm-security/main/binary-amd64/Packages.xz' security 0
";

    #[test]
    fn mirror_is_the_source_that_also_has_updates() {
        let mirror = Mirror::among(URIS, "bookworm").unwrap();
        assert_eq!(mirror.main, "http://mirror.example/debian");
        assert_eq!(
            mirror.security.as_deref(),
            Some("http://mirror.example/security")
        );
    }

    #[test]
    fn only_source_of_the_release_is_the_mirror_without_updates_too() {
        let first_line = URIS.lines().next().unwrap();
        let mirror = Mirror::among(first_line, "bookworm").unwrap();
        assert_eq!(mirror.main, "http://vendor.example/linux");
        assert_eq!(mirror.security, None);
    }

    #[test]
    fn sources_of_another_release_are_no_mirror() {
        assert_eq!(Mirror::among(URIS, "trixie"), None);
    }

    #[test]
    fn each_suite_is_looked_for_in_its_own_archive() {
        let list = Mirror::among(URIS, "bookworm")
            .unwrap()
            .sources_list(&["sid", "trixie-security"]);
        let lines: Vec<&str> = list.lines().collect();
        assert!(
            lines[0].ends_with("http://mirror.example/debian sid main"),
            "{list}"
        );
        assert!(
            lines[1].ends_with("http://mirror.example/security trixie-security main"),
            "{list}"
        );
    }

    #[test]
    fn security_suite_is_left_out_where_the_machine_has_none() {
        let mirror = Mirror {
            main: "http://mirror.example/debian".into(),
            security: None,
        };
        let list = mirror.sources_list(&["bookworm", "bookworm-security"]);
        assert_eq!(list.lines().count(), 1, "{list}");
    }
}
