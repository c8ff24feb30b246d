//! Whoever is in the PID namespace that berth starts a process in, and may trace it, finds nothing
//! of the host there.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::lab::{Lab, Running};
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing exec_shows_nothing_of_the_host_to_who_is_inside,
    Nothing container_in_a_pid_namespace_shows_nothing_of_the_host_to_who_is_there,
    Nothing exec_is_on_the_root_of_its_container_in_every_mode,
];

/// How long it is tried to be seen.
const PATIENCE: Duration = Duration::from_secs(8);

/// In so many tries it must have been seen. An emulated machine starts three or four processes a
/// second, and has fewer; there it is left to chance, and natively it is not.
const TRIES: u32 = 400;

/// As many looks are enough.
const LOOKS: u32 = 2;

const CONTENT: &str = "what-only-the-host-knows";

/// A container that looks.
struct Spy {
    running: Running,
    rootfs: PathBuf,
}

impl Spy {
    fn start(lab: &Lab) -> Result<Self> {
        let secret = lab.directory.join("secret");
        fs::write(&secret, CONTENT)?;
        let secret = secret.to_str().context("a path")?;
        let bundle = lab.bundle_with("spy", &["spy", secret, CONTENT], |config| {
            let capabilities = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"];
            let sets = ["bounding", "effective", "permitted"];
            let sets = sets.map(|set| (set.to_owned(), json!(capabilities)));
            config["process"]["capabilities"] = Value::Object(sets.into_iter().collect());
        })?;
        let rootfs = bundle.join("rootfs");
        let running = Running::start(&mut lab.command(["run", "-b", "spy", "spy"]))?;
        let start = Instant::now();
        while lab.status("spy").ok().as_deref() != Some("running") {
            ensure!(start.elapsed() < Duration::from_secs(60), "no spy");
        }
        Ok(Self { running, rootfs })
    }

    /// How often it has looked into berth.
    fn looks(&self) -> u32 {
        let text = fs::read_to_string(self.rootfs.join("tmp/caught"));
        text.ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Does it until it was seen often enough, or for long enough.
    fn looks_at(&self, what: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let (start, before) = (Instant::now(), self.looks());
        let mut tries = 0;
        while self.looks() < before + LOOKS && start.elapsed() < PATIENCE {
            what()?;
            tries += 1;
        }
        ensure!(self.looks() > before || tries < TRIES, "it was never seen");
        Ok(())
    }

    fn has_found_nothing(self) -> Result<()> {
        fs::write(self.rootfs.join("tmp/stop"), "")?;
        let caught = self.rootfs.join("tmp/caught");
        let output = self.running.output()?;
        let said = String::from_utf8(output.stdout)?;
        let looks = caught.exists();
        ensure!(said == format!("caught {looks}\n"), "{said}");
        Ok(())
    }
}

fn exec_shows_nothing_of_the_host_to_who_is_inside(lab: &Lab) -> Result<()> {
    let spy = Spy::start(lab)?;
    for words in [&["exec", "spy"][..], &["exec", "--detach", "spy"]] {
        spy.looks_at(&mut || {
            let mut command = lab.command(words.iter().chain(&["/bin/guest", "say"]));
            let command = command.env("SECRET", CONTENT).stdout(Stdio::null());
            ensure!(command.status()?.success());
            Ok(())
        })?;
    }
    spy.has_found_nothing()
}

fn container_in_a_pid_namespace_shows_nothing_of_the_host_to_who_is_there(lab: &Lab) -> Result<()> {
    let spy = Spy::start(lab)?;
    let pid = lab.state("spy")?["pid"].clone();
    let hook = std::env::current_exe()?;
    for has_hooks in [false, true] {
        let bundle = lab.bundle_with("b", &["facts"], |config| {
            config["linux"]["namespaces"] = json!([
                { "type": "mount" }, { "type": "uts" },
                { "type": "pid", "path": format!("/proc/{pid}/ns/pid") },
            ]);
            if has_hooks {
                let hook = json!([{ "path": hook, "args": ["guest", "exit", "0"] }]);
                config["hooks"] = json!({ "prestart": hook, "createRuntime": hook, "createContainer": hook,
                    "startContainer": [{ "path": "/bin/guest", "args": ["guest", "exit", "0"] }] });
            }
        })?;
        spy.looks_at(&mut || {
            let mut command = lab.command(["run", "-b", "b", "two"]);
            let output = command.env("SECRET", CONTENT).output()?;
            let said = String::from_utf8(output.stdout)?;
            ensure!(
                output.status.success(),
                "{}",
                String::from_utf8(output.stderr)?
            );
            // Its procfs is that of the namespace.
            ensure!(said.contains("\nprocess 1\n"), "{said}");
            Ok(())
        })?;
        let mut command = lab.command(["create", "-b", "b", "two"]);
        let command = command.env("SECRET", CONTENT).stdout(Stdio::null());
        ensure!(command.stderr(Stdio::null()).status()?.success());
        // It holds, and can be looked at for as long as one likes.
        let (start, before) = (Instant::now(), spy.looks());
        while spy.looks() < before + LOOKS {
            ensure!(
                start.elapsed() < Duration::from_secs(60),
                "what holds was never seen"
            );
        }
        lab.ok(&["start", "two"])?;
        lab.ok(&["delete", "--force", "two"])?;
        fs::remove_dir_all(bundle)?;
    }
    spy.has_found_nothing()
}

fn exec_is_on_the_root_of_its_container_in_every_mode(lab: &Lab) -> Result<()> {
    let own = [json!({ "type": "pid" }), json!({ "type": "mount" })];
    let modes = [
        ("chroot", &own[..]),
        ("chroot", &own[..1]),
        ("move", &own),
        ("pivot", &own),
    ];
    for (mode, namespaces) in modes {
        lab.bundle_with("b", &["stay"], |config| {
            config["linux"]["namespaces"] = json!(namespaces);
            config["annotations"]["berth.root-switch"] = json!(mode);
            config
                .as_object_mut()
                .map(|config| config.remove("hostname"));
            if namespaces.len() == 1 {
                config.as_object_mut().map(|config| config.remove("mounts"));
            }
        })?;
        fs::write(lab.directory.join("b/rootfs/only-inside"), "")?;
        lab.leaves(&["run", "--detach", "--bundle", "b", "one"])?;
        lab.ok(&["exec", "one", "/bin/guest", "show", "/only-inside"])
            .with_context(|| format!("{mode}, {namespaces:?}"))?;
        if mode != "pivot" {
            let output = lab.call(&["exec", "one", "/bin/guest", "show", "/proc/self/status"])?;
            let status = String::from_utf8(output.stdout)?;
            let bounding = status
                .lines()
                .find_map(|line| line.strip_prefix("CapBnd:\t"));
            if let Some(bounding) = bounding {
                // CAP_SYS_CHROOT is 18, CAP_SYS_ADMIN is 21.
                let bounding = u64::from_str_radix(bounding, 16)?;
                ensure!(bounding & (1 << 18 | 1 << 21) == 0, "{mode}: {bounding:x}");
            }
        }
        lab.ok(&["delete", "--force", "one"])?;
    }
    Ok(())
}
