//! What is known of a container after the machine's end.

use anyhow::{Context, Result, ensure};
use berth_qemu::vm::{Event, Outcome};

use crate::{field, line};

/// A container of a machine that has ended.
#[derive(Clone, Copy)]
pub struct Seen<'o> {
    outcome: &'o Outcome,
    id: &'o str,
}

/// A line of a container's `/proc/self/mountinfo` (proc(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountLine {
    /// The filesystem, as `major:minor`.
    pub device: String,
    /// The directory of the filesystem that is mounted.
    pub root: String,
    /// Where it is mounted.
    pub point: String,
    /// The mount's own options: `rw,nosuid`.
    pub options: String,
    /// `shared:N`, `master:N`, `unbindable`; in the kernel's order.
    pub propagation: Vec<String>,
    /// The type of the filesystem.
    pub fstype: String,
    /// What is mounted: a device, or a word of the filesystem's.
    pub source: String,
    /// The filesystem's options.
    pub filesystem_options: String,
}

impl MountLine {
    /// Reads one line; `None` if it is none.
    fn parse(line: &str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mount: Vec<_> = mount.split(' ').collect();
        let mut filesystem = filesystem.split(' ');
        Some(Self {
            device: (*mount.get(2)?).to_owned(),
            root: (*mount.get(3)?).to_owned(),
            point: (*mount.get(4)?).to_owned(),
            options: (*mount.get(5)?).to_owned(),
            propagation: mount.iter().skip(6).map(|tag| (*tag).to_owned()).collect(),
            fstype: filesystem.next()?.to_owned(),
            source: filesystem.next()?.to_owned(),
            filesystem_options: filesystem.next()?.to_owned(),
        })
    }

    /// Whether it is in a peer group.
    pub fn is_shared(&self) -> bool {
        self.propagation
            .iter()
            .any(|tag| tag.starts_with("shared:"))
    }

    /// Whether it receives mounts from another peer group.
    pub fn is_slave(&self) -> bool {
        self.propagation
            .iter()
            .any(|tag| tag.starts_with("master:"))
    }

    /// Whether it has this option of its own.
    pub fn has_option(&self, option: &str) -> bool {
        self.options.split(',').any(|one| one == option)
    }
}

impl<'o> Seen<'o> {
    /// The container `id` of this machine.
    pub const fn new(outcome: &'o Outcome, id: &'o str) -> Self {
        Self { outcome, id }
    }

    /// What it printed, on both streams, in order.
    pub fn lines(self) -> impl Iterator<Item = &'o str> {
        let of_it = move |event| line(event).filter(|(id, _)| *id == self.id);
        self.outcome
            .events
            .iter()
            .filter_map(of_it)
            .map(|(_, line)| line)
    }

    /// What it printed on one stream, `stdout` or `stderr`.
    pub fn stream(self, stream: &'o str) -> impl Iterator<Item = &'o str> {
        let is_it = move |event: &&Event| {
            field(event, "id") == Some(self.id) && field(event, "stream") == Some(stream)
        };
        self.outcome
            .events
            .iter()
            .filter(is_it)
            .filter_map(|event| field(event, "line"))
    }

    /// The lines that begin with the word `topic`, without it.
    pub fn facts(self, topic: &'o str) -> Vec<&'o str> {
        self.lines()
            .filter_map(|line| line.strip_prefix(topic)?.strip_prefix(' '))
            .collect()
    }

    /// The mounts that the lines of a topic show.
    ///
    /// # Errors
    /// There are none.
    pub fn mounts(self, topic: &'o str) -> Result<Vec<MountLine>> {
        let mounts: Vec<_> = self
            .facts(topic)
            .into_iter()
            .filter_map(MountLine::parse)
            .collect();
        ensure!(
            !mounts.is_empty(),
            "{} shows no mounts as `{topic}`",
            self.id
        );
        Ok(mounts)
    }

    /// The one mount at `point`.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn mount_at(self, point: &str) -> Result<MountLine> {
        let mounts = self.mounts("mount")?;
        let mut at = mounts.iter().filter(|mount| mount.point == point);
        match (at.next(), at.next()) {
            (Some(mount), None) => Ok(mount.clone()),
            _ => anyhow::bail!("{}: not one mount at {point}: {mounts:#?}", self.id),
        }
    }

    /// The event of this state, `exited` for one.
    pub fn state(self, state: &str) -> Option<&'o Event> {
        self.outcome
            .events
            .iter()
            .find(|event| event.is_container(self.id, state))
    }

    /// Holds it to having printed this line.
    ///
    /// # Errors
    /// It did not; the error has what it printed instead.
    pub fn printed(self, expected: &str) -> Result<()> {
        let lines: Vec<_> = self.lines().collect();
        ensure!(
            lines.contains(&expected),
            "{} did not print {expected:?}, but: {lines:#?}",
            self.id
        );
        Ok(())
    }

    /// Holds it to having failed before its program was started, with this code, and with these
    /// words in the text.
    ///
    /// # Errors
    /// It did not, or it did otherwise.
    pub fn failed(self, code: &str, words: &str) -> Result<()> {
        let id = self.id;
        ensure!(self.state("started").is_none(), "{id} was started");
        let failed = self.state("failed");
        let failed = failed.with_context(|| format!("{id} did not fail"))?;
        let found = ["failure", "text"].map(|name| field(failed, name).unwrap_or_default());
        ensure!(
            found[0] == code && found[1].contains(words),
            "{id} did not fail with {code} and {words:?}, but: {found:?}"
        );
        Ok(())
    }

    /// Holds it to having ended with this status.
    ///
    /// # Errors
    /// It did not; the error has what it printed last.
    pub fn exited(self, code: i64) -> Result<()> {
        let exited = self.state("exited").map(|event| &event.raw);
        let found = exited.and_then(|event| event["code"].as_i64());
        ensure!(
            found == Some(code),
            "{}: {exited:?}, last line {:?}",
            self.id,
            self.lines().last()
        );
        Ok(())
    }
}
