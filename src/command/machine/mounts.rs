//! `mounts`: the mounts of the machine and of its containers, and how each gets those of others
//! (mount_namespaces(7)).
//!
//! Mounts of one peer group get each other's mounts. One that follows a group gets those of the
//! group, and gives it none. The groups have numbers, which are the same in all namespaces.

use core::fmt::{self, Write as _};

use rustix::fs::CWD;

use super::super::output::Output;
use super::super::state::{self, Directory};
use super::super::{Call, OrReport, Reported, Subcommand};
use super::JSON;
use crate::container::Status;
use crate::error::{Code, During, Fault, Op};
use crate::parse::mountinfo::{Mount, Mounts};
use crate::sys::buffer::Buffer;
use crate::sys::fs;
use crate::sys::path::{LONG_PATH_MAX as PATH_MAX, path};
use crate::text::{Json, Text};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "mounts",
    operands: "[ID]",
    count: (0, 1),
    raw_from: usize::MAX,
    options: &[&JSON],
    about: "print the mounts of the machine and of its containers, and who follows whom",
    run: mounts,
};

/// The longest list of mounts, in bytes.
const LIST: usize = 1024 * 1024;

/// How deep the tree is drawn. What is deeper is drawn at this depth.
const DEPTH: usize = 32;

/// The mounts of one namespace.
struct Namespace<'m> {
    /// The container; empty for the machine.
    id: &'m str,
    list: &'m [u8],
}

#[inline(never)]
fn mounts(call: &Call<'_>) -> Result<u8, Reported> {
    let wanted = call.given.operands.first().copied();
    let mut machine = Buffer::<LIST>::new();
    let list = read("1", &mut machine).or_report(call, Code::Control)?;
    let machine = Namespace { id: "", list };
    let is_json = call.given.has(&JSON);
    let mut output = Output::new();
    if wanted.is_none() {
        machine.print(&machine, is_json, &mut output);
    }
    let mut is_known = wanted.is_none();
    state::each(&call.root, &mut |id| {
        if wanted.is_some_and(|wanted| wanted != id) {
            return;
        }
        let Some(pid) = pid_of(call, id) else { return };
        let mut room = Buffer::<LIST>::new();
        // One that ends at this moment is not shown.
        if let Ok(list) = read(Text::<16>::new(pid).as_str(), &mut room) {
            is_known = true;
            Namespace { id, list }.print(&machine, is_json, &mut output);
        }
    })
    .or_report(call, Code::State)?;
    if !is_known {
        // Which says why.
        Directory::open(call, call.id()?)?;
        return Err(call.wrong_status(Op::Read, call.id()?, Status::Stopped, ""));
    }
    output.finish(call).map(|()| 0)
}

/// The first process of a container that runs.
fn pid_of(call: &Call<'_>, id: &str) -> Option<u32> {
    let directory = Directory::find(call, id).ok()??;
    let record = directory.read().ok()??;
    let status = directory.status(&record).ok()?;
    (status != Status::Stopped).then_some(record.pid)
}

fn read<'b>(process: &str, room: &'b mut Buffer<LIST>) -> Result<&'b [u8], Fault> {
    let file = path(format_args!("/proc/{process}/mountinfo")).during(Op::Open, process)?;
    let room = room.bytes_mut().during(Op::Read, &file)?;
    fs::read_file(CWD, &file, room)
}

impl<'m> Namespace<'m> {
    fn mounts(&self) -> impl Iterator<Item = Mount<'m>> + use<'m> {
        // A line that cannot be read is none of the kernel's.
        Mounts::new(self.list).filter_map(Result::ok)
    }

    fn print(&self, machine: &Namespace<'_>, is_json: bool, output: &mut Output) {
        // Failures of the output are told by `finish`.
        if is_json {
            for mount in self.mounts() {
                let _ = self.write_json(&mount, output);
            }
            return;
        }
        let _ = match self.id {
            "" => writeln!(output, "machine"),
            id => writeln!(output, "\n{id}"),
        };
        let is_root = |mount: &Mount<'_>| !self.mounts().any(|other| other.id == mount.parent);
        // The first of a namespace is its own parent, or has one that is not to be seen.
        for root in self
            .mounts()
            .filter(|mount| mount.parent == mount.id || is_root(mount))
        {
            let _ = self.write_tree(&root, 0, machine, output);
        }
    }

    fn write_tree(
        &self,
        mount: &Mount<'_>,
        depth: usize,
        machine: &Namespace<'_>,
        output: &mut Output,
    ) -> fmt::Result {
        let mut name = Text::<512>::EMPTY;
        name.push(format_args!("{:1$}{2}", "", 2 * depth, mount.mount_point));
        let (fstype, source) = (mount.fstype, mount.source);
        write!(output, "{:40} {fstype} {source}", name.as_str())?;
        self.write_propagation(mount, machine, output)?;
        writeln!(output)?;
        if depth >= DEPTH {
            return Ok(());
        }
        let is_below = |other: &Mount<'_>| other.parent == mount.id && other.id != mount.id;
        self.mounts()
            .filter(is_below)
            .try_for_each(|child| self.write_tree(&child, depth + 1, machine, output))
    }

    /// ` peer 12`, ` follows 12 (machine /mnt)`, ` private`.
    fn write_propagation(
        &self,
        mount: &Mount<'_>,
        machine: &Namespace<'_>,
        output: &mut Output,
    ) -> fmt::Result {
        let place = |group: u32| {
            let mut mounts = machine.mounts();
            let found = mounts.find(|other| other.shared == Some(group) && !self.id.is_empty());
            found.map(|found| found.mount_point)
        };
        let mut write = |what: &str, group: u32| {
            write!(output, "  {what} {group}")?;
            match place(group) {
                Some(at) => write!(output, " (machine {at})"),
                None => Ok(()),
            }
        };
        match (mount.shared, mount.master) {
            (None, None) if mount.unbindable => output.write_str("  unbindable"),
            (None, None) => output.write_str("  private"),
            (shared, master) => {
                shared.map_or(Ok(()), |group| write("peer", group))?;
                master.map_or(Ok(()), |group| write("follows", group))
            }
        }
    }

    fn write_json(&self, mount: &Mount<'_>, output: &mut Output) -> fmt::Result {
        write!(
            output,
            "{{\"container\":\"{}\",\"id\":{},\"parent\":{}",
            self.id, mount.id, mount.parent
        )?;
        for (name, escaped) in [
            ("target", mount.mount_point),
            ("source", mount.source),
            ("fstype", mount.fstype),
        ] {
            let mut room = [0; PATH_MAX];
            // The kernel has none that is longer.
            let text = Text::<PATH_MAX>::from_bytes(escaped.decode(&mut room).unwrap_or_default());
            write!(output, ",\"{name}\":{}", Json(text.as_str()))?;
        }
        for (name, group) in [
            ("shared", mount.shared),
            ("master", mount.master),
            ("from", mount.propagate_from),
        ] {
            match group {
                Some(group) => write!(output, ",\"{name}\":{group}")?,
                None => write!(output, ",\"{name}\":null")?,
            }
        }
        writeln!(output, ",\"unbindable\":{}}}", mount.unbindable)
    }
}
