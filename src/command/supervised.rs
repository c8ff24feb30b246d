//! Calls by PID 1: it starts each container by one, and has what is left of it cleared away by
//! another.
//!
//! They are not for others, and no help has them. The container is made as by `run --detach`, and
//! remembered like any other, so that `list`, `exec`, `kill` and the rest find it. What is to be
//! told goes to PID 1, as [answers](crate::parse::answer), and nothing to standard error, which is
//! the program's.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, dup};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::launch::{self, Launched, StartMode, launch, undo};
use super::start::go;
use super::{
    Call, OrReport, Reported, Subcommand, carry, delete, disks, freeze, log_files, network, serve,
};
use crate::container::{CONTROLS, Group, PRIVILEGED, Streams};
use crate::error::{Code, During, Error, Op};
use crate::hint::of_command;
use crate::parse::answer::{ANSWER_MAX, Answer, Disk, GO, NetworkChange, Policy, WARNING_MAX};
use crate::parse::arguments::{Opt, Options};
use crate::parse::config::Config;
use crate::parse::machine_change::MachineChange;
use crate::sys::buffer::Buffer;
use crate::sys::{console, socket};
use crate::text::Text;

pub(super) const ANSWERS: Opt = Opt {
    long: "answers",
    short: None,
    value: Some("N"),
    about: "the descriptor of a connection to PID 1",
};

/// What PID 1 says to each.
pub(super) const GLOBAL: Options = &[&ANSWERS];

/// All of them.
pub(super) const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "pid1-start",
        operands: "ID",
        count: (1, 1),
        raw_from: usize::MAX,
        options: &[&launch::BUNDLE],
        about: "start a container for PID 1",
        run: start,
    },
    Subcommand {
        name: "pid1-end",
        operands: "ID",
        count: (1, 1),
        raw_from: usize::MAX,
        options: &[],
        about: "clear away for PID 1 what is left of a container",
        run: delete::by_force,
    },
    serve::COMMAND,
    network::COMMAND,
    disks::COMMAND,
    log_files::COMMAND,
    carry::COMMAND,
    freeze::FREEZE,
    freeze::THAW,
];

fn start(call: &Call<'_>) -> Result<u8, Reported> {
    let Launched {
        directory,
        record,
        readiness,
        ..
    } = launch(call, StartMode::Supervise)?;
    if let Err(error) = go(call, &directory, &record) {
        undo(call, &directory, &record);
        directory.remove();
        return Err(error);
    }
    readiness.map_or(Ok(()), |readiness| readiness.tell(call, &record))?;
    Ok(0)
}

/// The connection to PID 1.
pub(super) struct Supervisor(OwnedFd);

impl Supervisor {
    /// That which the caller has left open.
    pub(super) fn new(connection: OwnedFd) -> Self {
        Self(connection)
    }

    /// Tells of a failure.
    pub(super) fn fail(&self, error: &Error) {
        self.answer(&Answer::Failed(*error, of_command(error)));
    }

    /// Tells of something that is not done.
    pub(super) fn warn(&self, text: &dyn core::fmt::Display) {
        let text = Text::<WARNING_MAX>::new(text);
        self.answer(&Answer::Warning(text.as_str()));
    }

    /// Tells that the container is ready.
    pub(super) fn tell_ready(&self) {
        self.answer(&Answer::Ready);
    }

    /// Tells what has become of the network.
    pub(super) fn tell_network(&self, change: &NetworkChange<'_>) {
        self.answer(&Answer::Network(*change));
    }

    /// Tells what has become of the machine as a whole.
    pub(super) fn tell_machine(&self, change: MachineChange<'_>) {
        self.answer(&Answer::Machine(change));
    }

    /// Tells of something that is to be seen in the log.
    pub(super) fn notice(&self, text: &dyn core::fmt::Display) {
        let text = Text::<WARNING_MAX>::new(text);
        self.answer(&Answer::Notice(text.as_str()));
    }

    /// Tells what has become of a disk.
    pub(super) fn disk(&self, disk: &Disk<'_>, failure: Option<(Error, &str)>) {
        self.answer(&Answer::Disk(*disk, failure));
    }

    /// Tells which process is the container's first; whether its program `runs`.
    pub(super) fn tell_first(&self, pid: u32, runs: bool) {
        let pid = pid.cast_signed();
        self.answer(&match runs {
            true => Answer::Started(pid),
            false => Answer::Process(pid),
        });
    }

    /// Hands the container's control group over, and waits until PID 1 says that no other container
    /// has it. This process ends if it does not.
    ///
    /// # Errors
    /// [`Code::ContainerSetup`].
    pub(super) fn give_group(&self, call: &Call<'_>, group: &Group) -> Result<(), Reported> {
        let mut room = [0; 8];
        let packet = Answer::Group.encode(&mut room).unwrap_or_default();
        let sent = socket::send(&self.0, packet, group.as_fd()).during(Op::Write, "PID 1");
        sent.or_report(call, Code::ContainerSetup)?;
        self.wait()
    }

    /// Waits until PID 1 says to go on.
    pub(super) fn wait(&self) -> Result<(), Reported> {
        let mut word = [0; GO.len()];
        match recv(&self.0, &mut word, RecvFlags::empty()) {
            Ok((len, _)) if word.get(..len) == Some(GO) => Ok(()),
            // It has been given up, and nobody is to be told.
            _ => Err(Reported(0)),
        }
    }

    fn answer(&self, answer: &Answer<'_>) {
        let mut room = Buffer::<ANSWER_MAX>::new();
        if let Ok(room) = room.bytes_mut()
            && let Some(packet) = answer.encode(room)
        {
            // PID 1 does not end; and it hears of the end of this process.
            let _ = send(&self.0, packet, SendFlags::NOSIGNAL);
        }
    }

    /// Says what the bundle asks of PID 1, and waits until that says to go on. This process ends if
    /// it does not.
    ///
    /// # Errors
    /// [`Code::BundleConfig`] for more containers in `berth.after` and `berth.requires` than can be
    /// told.
    pub(super) fn agree(&self, call: &Call<'_>, config: &Config<'_>) -> Result<(), Reported> {
        let annotations = &config.annotations;
        let id = call.id()?;
        for (opens, what) in [
            (annotations.privileged, PRIVILEGED),
            (annotations.control, CONTROLS),
        ] {
            if opens {
                self.notice(&format_args!("{id}: {what}"));
            }
        }
        let policy = Answer::Policy(Policy {
            restart: annotations.restart,
            on_exit: annotations.on_exit,
            stop_timeout: annotations.stop_timeout,
            raw_output: annotations.raw_output,
            log_size: annotations.log_size,
            ready: annotations.ready.into(),
            after: annotations.after,
            requires: annotations.requires,
        });
        let mut room = Buffer::<ANSWER_MAX>::new();
        let room = room.bytes_mut().during(Op::Write, "PID 1");
        let room = room.or_report(call, Code::ContainerSetup)?;
        let packet = policy.encode(room).ok_or(Errno::TOOBIG);
        let packet = packet.during(Op::Parse, "berth.after and berth.requires");
        let packet = packet.or_report(call, Code::BundleConfig)?;
        let sent = send(&self.0, packet, SendFlags::NOSIGNAL).during(Op::Write, "PID 1");
        sent.or_report(call, Code::ContainerSetup)?;
        self.wait()
    }
}

impl AsFd for Supervisor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Where the program's descriptors lead: to PID 1, by way of those that this process was started
/// with; or the console.
///
/// # Errors
/// [`Code::ContainerSetup`].
pub(super) fn streams(call: &Call<'_>, config: &Config<'_>) -> Result<Streams, Reported> {
    if config.annotations.console {
        let terminal = console::open_terminal().ok_or(Errno::NODEV);
        let terminal = terminal.during(Op::Open, console::PATH);
        return terminal
            .map(Streams::Console)
            .or_report(call, Code::ContainerSetup);
    }
    let [_, stdout, stderr] = console::standard_descriptors();
    let streams = dup(stdout).and_then(|stdout| {
        let stderr = dup(stderr)?;
        Ok(Streams::Pipes { stdout, stderr })
    });
    streams
        .during(Op::Open, "standard output")
        .or_report(call, Code::ContainerSetup)
}
