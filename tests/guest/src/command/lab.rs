//! A place for one case: berth, a `--root` of its own, bundles.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

/// How long anything may take. Emulated machines are slow.
const PATIENCE: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// Where the control groups of containers are.
pub(super) const GROUPS: &str = "/sys/fs/cgroup";

/// Where a machine has them that has those of the first version besides.
const MIXED: &str = "/sys/fs/cgroup/unified";

/// Whether containers have control groups here.
pub(super) fn has_groups() -> bool {
    Path::new(GROUPS).join("cgroup.procs").exists()
}

/// Whether they can have limits.
pub(super) fn has_controllers() -> bool {
    let controllers = fs::read_to_string(Path::new(GROUPS).join("cgroup.controllers"));
    controllers.is_ok_and(|names| names.split_whitespace().any(|name| name == "pids"))
}

/// Whether the kernel has this filesystem.
pub(super) fn has_filesystem(name: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems");
    known.is_ok_and(|known| known.split_whitespace().any(|one| one == name))
}

/// Whether the ids of files beside this program can be mapped (mount_setattr(2), "ID-mapped
/// mounts").
pub(super) fn can_map_ids() -> bool {
    /// `EXT4_SUPER_MAGIC`, `XFS_SUPER_MAGIC`, `BTRFS_SUPER_MAGIC` (include/uapi/linux/magic.h,
    /// fs/xfs/libxfs/xfs_format.h).
    const MAGIC: [i64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];
    let own = std::env::current_exe().map(|path| rustix::fs::statfs(&path));
    matches!(own, Ok(Ok(found)) if MAGIC.contains(&found.f_type))
}

/// Whether users without rights may make user namespaces.
pub(super) fn has_user_namespaces() -> bool {
    let forbidden = [
        ("user/max_user_namespaces", "0"),
        ("kernel/unprivileged_userns_clone", "0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
    ];
    forbidden.iter().all(|(name, value)| {
        let found = fs::read_to_string(Path::new("/proc/sys").join(name));
        found.map_or(true, |found| found.trim() != *value)
    })
}

/// Whether it may run on the first two processors.
pub(super) fn has_two_processors() -> bool {
    let set = rustix::thread::sched_getaffinity(None);
    set.is_ok_and(|set| set.is_set(0) && set.is_set(1))
}

/// The processors that this process may run on (proc_pid_status(5)).
pub(super) fn processors() -> Result<String> {
    processors_of(&fs::read_to_string("/proc/self/status")?)
}

/// The same, of what a process has in its `/proc/<pid>/status`.
pub(super) fn processors_of(status: &str) -> Result<String> {
    let mut lines = status.lines();
    let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    Ok(list.with_context(|| status.to_owned())?.trim().to_owned())
}

/// On a machine that has both versions of control groups, has the second where it is on others: in
/// a mount namespace of this process and of those that it starts.
pub(super) fn prepare() -> Result<()> {
    if has_groups() || !Path::new(MIXED).join("cgroup.procs").exists() {
        return Ok(());
    }
    // SAFETY: unshare(2) takes a number; this process has one thread.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    ensure!(result == 0, "unshare: {}", std::io::Error::last_os_error());
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slave).context("make all mounts slaves")?;
    mount_bind(MIXED, GROUPS).context("bind the control groups")
}

/// A place for one case. What is left of its containers goes with it.
pub(crate) struct Lab {
    berth: PathBuf,
    /// The directory of the case.
    pub(crate) directory: PathBuf,
    /// Whether berth is called by [`USER`].
    is_user: Cell<bool>,
}

/// Somebody without any right.
pub(super) const USER: u32 = 1000;

impl Lab {
    pub(super) fn new(berth: &Path, directory: &Path, case: &str) -> Result<Self> {
        let directory = directory.join(case);
        if directory.exists() {
            fs::remove_dir_all(&directory).context("clear the case's directory")?;
        }
        fs::create_dir_all(&directory).context("make the case's directory")?;
        Ok(Self {
            berth: berth.canonicalize().context("find berth")?,
            directory: directory.canonicalize()?,
            is_user: Cell::new(false),
        })
    }

    /// Where berth remembers containers: without `--root`, where it does for its user.
    pub(crate) fn root(&self) -> PathBuf {
        let name = if self.is_user.get() {
            "run/berth"
        } else {
            "root"
        };
        self.directory.join(name)
    }

    /// From now on, berth is called by [`USER`].
    pub(crate) fn become_user(&self) -> Result<()> {
        let directory = self.directory.join("run");
        fs::create_dir(&directory)?;
        chown(&directory, Some(USER), Some(USER))?;
        self.is_user.set(true);
        Ok(())
    }

    /// The command with these words, and nothing on standard input.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        self.prepared(Command::new(&self.berth), words)
    }

    /// The same, executed by this program when it has done what `first` says.
    pub(crate) fn command_behind<S: AsRef<OsStr>>(
        &self,
        first: &str,
        words: impl IntoIterator<Item = S>,
    ) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(first).arg(&self.berth);
        Ok(self.prepared(command, words))
    }

    fn prepared<S: AsRef<OsStr>>(
        &self,
        mut command: Command,
        words: impl IntoIterator<Item = S>,
    ) -> Command {
        if self.is_user.get() {
            let directory = self.directory.join("run");
            command
                .env("XDG_RUNTIME_DIR", directory)
                .uid(USER)
                .gid(USER);
        } else {
            command.arg("--root").arg(self.root());
        }
        command
            .args(words)
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        command
    }

    /// Calls it, and waits for its end and that of its output. Not for what leaves a process behind
    /// that holds on to that.
    pub(crate) fn call(&self, words: &[&str]) -> Result<Output> {
        self.command(words)
            .output()
            .with_context(|| format!("{words:?}"))
    }

    /// Calls it, and has its success and nothing on standard error; what it printed.
    pub(crate) fn ok(&self, words: &[&str]) -> Result<String> {
        let output = self.call(words)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success() && errors.is_empty(),
            "{words:?}: {}: {errors}",
            output.status
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Calls what leaves a process behind: its output goes to files.
    pub(crate) fn leaves(&self, words: &[&str]) -> Result<()> {
        let errors = self.directory.join("errors");
        let status = self
            .command(words)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&errors)?)
            .status()?;
        let errors = fs::read_to_string(errors)?;
        ensure!(
            status.success() && errors.is_empty(),
            "{words:?}: {status}: {errors}"
        );
        Ok(())
    }

    /// Calls it, and has it fail with this status, these words on standard error, and nothing on
    /// standard output.
    pub(crate) fn fails(&self, words: &[&str], status: i32, says: &[&str]) -> Result<String> {
        let output = self.call(words)?;
        let errors = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(status) && output.stdout.is_empty(),
            "{words:?}: {}: {errors}",
            output.status
        );
        for part in says {
            ensure!(
                errors.contains(part),
                "{words:?}: {part:?} is not in {errors}"
            );
        }
        Ok(errors)
    }

    /// A bundle whose program is the guest's, with these words.
    pub(crate) fn bundle(&self, name: &str, words: &[&str]) -> Result<PathBuf> {
        self.bundle_with(name, words, |_| {})
    }

    /// The same, with changes.
    pub(crate) fn bundle_with(
        &self,
        name: &str,
        words: &[&str],
        change: impl FnOnce(&mut Value),
    ) -> Result<PathBuf> {
        let bundle = self.directory.join(name);
        for directory in ["bin", "dev", "etc", "mnt", "proc", "sys", "tmp"] {
            fs::create_dir_all(bundle.join("rootfs").join(directory))?;
        }
        let guest = std::env::current_exe()?;
        let inside = bundle.join("rootfs/bin/guest");
        if !inside.exists() {
            fs::hard_link(&guest, &inside)
                .or_else(|_| fs::copy(&guest, &inside).map(drop))
                .context("put the guest program into the rootfs")?;
        }
        let args: Vec<_> = ["/bin/guest"].iter().chain(words).collect();
        let mut config = json!({
            "ociVersion": "1.2.0",
            "process": { "args": args, "cwd": "/", "env": ["PATH=/bin", "FROM=config"] },
            "root": { "path": "rootfs" },
            "hostname": "container",
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                  "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
            ],
            "linux": { "namespaces": [
                { "type": "mount" }, { "type": "pid" }, { "type": "uts" }, { "type": "ipc" },
            ] },
            "annotations": { "org.example.key": "value \"in quotes\"" },
        });
        change(&mut config);
        fs::write(bundle.join("config.json"), config.to_string())?;
        Ok(bundle)
    }

    /// The container's state.
    pub(crate) fn state(&self, id: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.ok(&["state", id])?)?)
    }

    /// Its status.
    pub(crate) fn status(&self, id: &str) -> Result<String> {
        let state = self.state(id)?;
        Ok(state["status"].as_str().context("no status")?.to_owned())
    }

    /// A descriptor of the container's first process.
    pub(crate) fn process(&self, id: &str) -> Result<Process> {
        let state = self.state(id)?;
        Process::open(
            state["pid"]
                .as_i64()
                .with_context(|| format!("no pid in {state}"))?,
        )
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let list = self.command(["list", "-q"]).output();
        let ids = list.map(|output| output.stdout).unwrap_or_default();
        for id in String::from_utf8_lossy(&ids).lines() {
            let _ = self.command(["delete", "--force", id]).status();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A process that may be another's child.
pub(crate) struct Process(std::os::fd::OwnedFd);

impl Process {
    pub(crate) fn open(pid: i64) -> Result<Self> {
        let pid = Pid::from_raw(pid.try_into()?).context("no process")?;
        Ok(Self(pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&self) -> Result<()> {
        readable(&self.0, "the end of a process")
    }
}

/// Waits until something can be read, or its end.
pub(crate) fn readable(file: impl AsFd, what: &str) -> Result<()> {
    let count = poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&PATIENCE))?;
    ensure!(count == 1, "{what} did not come");
    Ok(())
}

/// A command that runs, and the lines that it prints.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, lines })
    }

    /// The next line.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Its status, once it has ended.
    pub(crate) fn status(mut self) -> Result<Option<i32>> {
        Ok(self.child.wait()?.code())
    }

    /// All the rest that it prints, and its status.
    pub(crate) fn output(self) -> Result<Output> {
        let mut child = self.child;
        child.stdout = Some(self.lines.into_inner());
        Ok(child.wait_with_output()?)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().try_into()?).context("no process")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }
}
