//! berth for another architecture than this machine's.
//!
//! berth is `no_std`, but even `core` has to come from somewhere. Where rustup has added the
//! target, its own is used. Elsewhere Debian's second compiler is, the one that browsers are built
//! with: it is new, and its library is packaged for every architecture. It is fetched and unpacked
//! like a kernel, into `target/cross/`, and never installed.
//!
//! No C compiler for the other architecture is needed: `rust-lld`, which comes with the compiler
//! that is in use here, links for all of them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt::{Archive, Mirror};
use crate::arch::Arch;
use crate::kernel::codename;
use crate::paths::target_dir;
use crate::program::{command, run};
use crate::whole;

/// The linker is called without a C compiler before it.
const LINKED_DIRECTLY: &str = "-Clinker-flavor=ld.lld";

/// Atomic operations are instructions: Debian's library would call functions for them that want a C
/// library.
const NO_CALLS_FOR_ATOMICS: &str = "-Ctarget-feature=-outline-atomics";

/// A compiler that has a library for the target, and a linker.
pub struct Toolchain {
    target: &'static str,
    /// Debian's compiler, unpacked here; else the one that is installed.
    unpacked: Option<PathBuf>,
    linker: PathBuf,
}

impl Toolchain {
    /// Finds or fetches it.
    ///
    /// # Errors
    /// There is no `rust-lld`, or no library was found and none can be fetched.
    pub fn get(arch: Arch) -> Result<Self> {
        let target = arch.rust_target();
        let sysroot = PathBuf::from(run(command("rustc").args(["--print", "sysroot"]))?.trim());
        let libraries = sysroot.join("lib/rustlib");
        let host = run(command("rustc").args(["--print", "host-tuple"]))?;
        let linker = libraries.join(host.trim()).join("bin/rust-lld");
        ensure!(
            linker.is_file(),
            "{} is not there: use the compiler that rustup installs",
            linker.display()
        );
        let unpacked = match libraries.join(target).join("lib").is_dir() {
            true => None,
            false => Some(fetch(arch).with_context(|| {
                format!("neither `rustup target add {target}` nor Debian's packages are there")
            })?),
        };
        Ok(Self {
            target,
            unpacked,
            linker,
        })
    }

    /// Builds both of berth's programs, side by side: the longest part, the linker's, has one
    /// thread. Returns the directory where cargo left them.
    ///
    /// # Errors
    /// cargo's.
    pub fn build(&self, workspace: &Path) -> Result<PathBuf> {
        let of_cargo =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
        // Apart from what another compiler built.
        let built = of_cargo.join("cross");
        let variable = |name: &str| {
            let target = self.target.to_uppercase().replace('-', "_");
            format!("CARGO_TARGET_{target}_{name}")
        };
        let mut flags = vec![LINKED_DIRECTLY];
        let mut cargo = Command::new("cargo");
        cargo
            .args(["build", "--quiet", "--release", "-p", "berth", "--bins"])
            .args(["--target", self.target, "--target-dir"])
            .arg(&built)
            .current_dir(workspace)
            .env(variable("LINKER"), &self.linker);
        if let Some(root) = &self.unpacked {
            cargo.env("RUSTC", root.join("usr/bin/rustc"));
            cargo.env("LD_LIBRARY_PATH", libraries(root));
            flags.push(NO_CALLS_FOR_ATOMICS);
        }
        cargo.env(variable("RUSTFLAGS"), flags.join(" "));
        let status = cargo.status().context("start cargo")?;
        ensure!(
            status.success(),
            "berth does not build for {}: {status}",
            self.target
        );
        Ok(built.join(self.target).join("release"))
    }
}

/// The compiler's shared libraries, in both of the places where Debian has them.
fn libraries(root: &Path) -> String {
    let dirs = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
    dirs.map(|dir| root.join(dir).display().to_string())
        .join(":")
}

/// Where Debian's compiler is, fetched if it is not there yet.
fn fetch(arch: Arch) -> Result<PathBuf> {
    ensure!(
        Arch::X86_64.is_host(),
        "only x86_64 can build for other machines"
    );
    let dir = target_dir().join("cross").join(arch.debian());
    whole::directory(&dir, |unpacked| unpack(arch, unpacked))?;
    Ok(dir)
}

fn unpack(arch: Arch, dir: &Path) -> Result<()> {
    let codename = codename()?;
    let mirror = Mirror::of_machine(&codename)?;
    let security = format!("{codename}-security");
    let suites = [codename.as_str(), &security];
    let open = |arch: Arch| {
        let lists = target_dir()
            .join("apt")
            .join(format!("cross-{}", arch.debian()));
        Archive::open(&lists, &mirror, &suites, arch)
    };
    let (host, target) = (open(Arch::X86_64)?, open(arch)?);
    let packages = compiler(&host)?;
    eprintln!("aarch64: fetching {}", packages.join(", "));
    host.unpack(&packages, dir)?;
    target.unpack(&["libstd-rust-web-dev".to_owned()], dir)
}

/// The packages of the compiler itself: it, the library for what runs at build time, and the shared
/// libraries that it is linked with, but not the C library, which the machine has, nor a C
/// compiler.
fn compiler(archive: &Archive) -> Result<Vec<String>> {
    let of_compiler = archive.closure(&["rustc-web"])?;
    let shared = of_compiler
        .iter()
        .find(|name| name.starts_with("libstd-rust-web-") && !name.ends_with("-dev"))
        .context("rustc-web is not linked with libstd-rust-web")?;
    let mut packages = archive.closure(&[shared])?;
    packages.retain(|name| name != "libc6");
    packages.extend(["rustc-web", "libstd-rust-web-dev"].map(str::to_owned));
    Ok(packages)
}
