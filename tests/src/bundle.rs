//! Bundles for the machines' disks.

use anyhow::Result;
use berth_qemu::tree::Tree;
use serde_json::{Value, json};

use crate::lab::guest;

/// The directories of a rootfs. vfat can hold no links and no devices, so there is nothing else.
const DIRECTORIES: [&str; 7] = ["bin", "dev", "mnt", "proc", "sys", "tmp", "etc"];

/// An OCI bundle whose rootfs holds the guest program as `/bin/guest`.
///
/// Unless it is changed, it has new mount, PID, UTS and IPC namespaces, its own `/proc` and `/dev`,
/// and is `berth.privileged`: what the guest program looks at and tries takes rights.
/// [`Bundle::confined`] leaves what a container is by default.
#[derive(Clone, Debug)]
pub struct Bundle {
    id: String,
    config: Option<Value>,
    text: Option<Vec<u8>>,
    directories: Vec<String>,
    files: Vec<(String, String)>,
    is_shared: bool,
}

impl Bundle {
    /// A bundle of the container `id`, which prints its id and ends.
    pub fn new(id: &str) -> Self {
        let config = json!({
            "ociVersion": "1.2.0",
            "process": { "args": ["/bin/guest", "say", id], "cwd": "/", "env": ["PATH=/bin"] },
            "root": { "path": "rootfs" },
            "hostname": id,
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
            ],
            "linux": { "namespaces": [
                { "type": "mount" }, { "type": "pid" }, { "type": "uts" }, { "type": "ipc" },
            ] },
            "annotations": { "berth.privileged": "true" },
        });
        Self {
            id: id.to_owned(),
            config: Some(config),
            text: None,
            directories: Vec::new(),
            files: Vec::new(),
            is_shared: false,
        }
    }

    /// The same for another container.
    #[must_use]
    pub fn named(mut self, id: &str) -> Self {
        self.id = id.to_owned();
        self.set("/hostname", json!(id))
    }

    /// The container's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Runs this program instead.
    #[must_use]
    pub fn runs<'a>(self, args: impl IntoIterator<Item = &'a str>) -> Self {
        let args: Vec<_> = args.into_iter().collect();
        self.set("/process/args", json!(args))
    }

    /// Changes the value that `pointer` (RFC 6901) names; what is on the way to it must be there.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        let parent = self
            .config
            .as_mut()
            .and_then(|config| config.pointer_mut(parent));
        if let Some(parent) = parent {
            match parent {
                Value::Array(items) if key == "-" => items.push(value),
                _ => parent[key] = value,
            }
        }
        self
    }

    /// Has no more rights than a container has by default.
    #[must_use]
    pub fn confined(self) -> Self {
        self.annotation("berth.privileged", "false")
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        if let Some(config) = &mut self.config {
            config["annotations"][key] = json!(value);
        }
        self
    }

    /// Adds an item to `mounts`.
    #[must_use]
    pub fn mount(self, destination: &str, kind: &str, source: &str, options: &[&str]) -> Self {
        let mount = json!({ "destination": destination, "type": kind, "source": source, "options": options });
        self.set("/mounts/-", mount)
    }

    /// Leaves these namespaces only.
    #[must_use]
    pub fn namespaces(self, kinds: &[&str]) -> Self {
        let list: Vec<_> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
        self.set("/linux/namespaces", json!(list))
    }

    /// Adds an empty directory to the rootfs.
    #[must_use]
    pub fn directory(mut self, path: &str) -> Self {
        self.directories.push(path.to_owned());
        self
    }

    /// Adds a file to the rootfs.
    #[must_use]
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    /// Runs in the rootfs of another bundle, and has none.
    #[must_use]
    pub fn shares(mut self, other: &str) -> Self {
        self.is_shared = true;
        self.set("/root/path", json!(format!("../{other}/rootfs")))
    }

    /// Has these bytes as its `config.json`, whatever they are.
    #[must_use]
    pub fn text(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// The configuration as it will be written.
    pub fn config(&self) -> Vec<u8> {
        self.text.clone().unwrap_or_else(|| {
            self.config
                .as_ref()
                .map(Value::to_string)
                .unwrap_or_default()
                .into_bytes()
        })
    }

    /// Adds the bundle to the files of a disk, below `/containers`.
    ///
    /// # Errors
    /// The guest program was not built.
    pub fn put(&self, tree: Tree) -> Result<Tree> {
        let base = format!("containers/{}", self.id);
        let mut tree = tree.file(format!("{base}/config.json"), self.config());
        if self.is_shared {
            return Ok(tree);
        }
        tree = tree.copy(guest()?, format!("{base}/rootfs/bin/guest"));
        for directory in DIRECTORIES
            .into_iter()
            .chain(self.directories.iter().map(String::as_str))
        {
            tree = tree.directory(format!("{base}/rootfs/{directory}"));
        }
        for (path, content) in &self.files {
            tree = tree.file(format!("{base}/rootfs/{path}"), content.as_str());
        }
        Ok(tree)
    }
}
