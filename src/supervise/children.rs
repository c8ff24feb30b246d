//! The containers that run, and what is watched for each of them.

use core::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::{Errno, read};
use rustix::process::Pid;

use super::Printer;
use super::lines::Lines;
use crate::container::control::Progress;
use crate::container::{BUNDLES_MAX, Child, Group, Groups, Id, News, Status, Why, setup_error};
use crate::error::{Error, Fault};
use crate::parse::config::{Annotations, HookKind};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::{process, signal};

/// How much output is read at once, in bytes. Others get their turn in between.
pub(super) const READ: usize = 512;

/// The names of a container's two streams.
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// Numbers below are taken by what is no container's.
const FIRST_NUMBER: u64 = 16;

/// What is watched for a container, by the container's place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The end of its set-up.
    Setup(usize),
    /// One of its streams.
    Output(usize, usize),
}

impl Source {
    const PER_CHILD: u64 = 3;

    const fn number(self) -> u64 {
        match self {
            Self::Setup(index) => FIRST_NUMBER + index as u64 * Self::PER_CHILD,
            Self::Output(index, stream) => {
                FIRST_NUMBER + index as u64 * Self::PER_CHILD + 1 + stream as u64
            }
        }
    }

    /// The source that is watched under `number`.
    pub(super) const fn from_number(number: u64) -> Self {
        let number = number.saturating_sub(FIRST_NUMBER);
        let index = (number / Self::PER_CHILD) as usize;
        match number % Self::PER_CHILD {
            0 => Self::Setup(index),
            stream => Self::Output(index, stream as usize - 1),
        }
    }

    /// All sources of the container at `index`; its set-up comes first.
    pub(super) fn all_of(index: usize) -> impl Iterator<Item = Self> {
        (0..Self::PER_CHILD)
            .map(move |at| Self::from_number(FIRST_NUMBER + index as u64 * Self::PER_CHILD + at))
    }
}

struct Stream {
    pipe: Option<OwnedFd>,
    lines: Lines,
}

struct Running {
    id: Id,
    child: Child,
    /// The processes that run the hooks of these moments.
    poststart: Option<Pid>,
    poststop: Option<Pid>,
    /// Its first process was collected, and the PID may be another's.
    has_ended: bool,
    streams: [Stream; 2],
}

impl Running {
    fn watch(&self, epoll: &Epoll, index: usize, output: Interest) -> Result<(), Fault> {
        let setup = Source::Setup(index).number();
        epoll.add(&self.child.birth, setup, Interest::IN)?;
        for (number, stream) in self.streams.iter().enumerate() {
            if let Some(pipe) = &stream.pipe {
                epoll.add(pipe, Source::Output(index, number).number(), output)?;
            }
        }
        Ok(())
    }

    fn first(&self) -> Option<Pid> {
        self.child.birth.pid().filter(|_| !self.has_ended)
    }

    const fn is_over(&self) -> bool {
        self.has_ended && self.poststart.is_none() && self.poststop.is_none()
    }

    const fn was_started(&self) -> bool {
        matches!(self.child.birth.progress(), Progress::Running(_))
    }

    const fn has_failed(&self) -> bool {
        matches!(self.child.birth.progress(), Progress::Failed(_))
    }
}

/// What a process is to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Its end is the container's.
    First,
    /// It made the container.
    Builder,
    /// It ran hooks.
    Hooks(HookKind),
}

/// A container whose processes have ended.
pub(super) struct Ended {
    pub(super) was_started: bool,
    pub(super) out_of_memory: bool,
    pub(super) annotations: Annotations<'static>,
}

/// The containers, each in a place of its own. It is taken again at the end of a turn only, so that a number which epoll has
/// delivered stays true.
pub(super) struct Children {
    places: heapless::Vec<Option<Running>, BUNDLES_MAX>,
    listens: bool,
}

impl Children {
    pub(super) const fn new() -> Self {
        Self {
            places: heapless::Vec::new(),
            listens: true,
        }
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        self.places.iter().flatten()
    }

    fn get(&mut self, source: Source) -> Option<&mut Running> {
        let (Source::Setup(index) | Source::Output(index, _)) = source;
        self.places.get_mut(index)?.as_mut()
    }

    /// True while of one it is not known yet whether its program runs.
    pub(super) fn are_being_set_up(&self) -> bool {
        self.running()
            .any(|running| !running.was_started() && !running.has_failed())
    }

    /// True if none runs.
    pub(super) fn is_empty(&self) -> bool {
        self.running().next().is_none()
    }

    /// The container's name; empty if it has ended.
    pub(super) fn id(&mut self, source: Source) -> Id {
        self.get(source)
            .map(|running| running.id.clone())
            .unwrap_or_default()
    }

    /// What is known of the container where it prints something.
    pub(super) fn printer(&mut self, source: Source) -> Printer {
        let is_raw = |running: &mut Running| running.child.annotations.raw_output;
        Printer {
            id: self.id(source),
            is_raw: self.get(source).is_some_and(is_raw),
        }
    }

    /// Whether nothing is left of the container at `index`.
    pub(super) fn is_free(&self, index: usize) -> bool {
        !matches!(self.places.get(index), Some(Some(_)))
    }

    /// Takes a new child in, and watches it.
    ///
    /// # Errors
    /// Those of epoll_ctl(2). The child is killed then, and is there until it has ended.
    pub(super) fn add(
        &mut self,
        epoll: &Epoll,
        index: usize,
        id: &Id,
        mut child: Child,
    ) -> Result<(), Fault> {
        let streams = child
            .output
            .take()
            .map_or([None, None], |[stdout, stderr]| {
                [Some(stdout), Some(stderr)]
            });
        let running = Running {
            id: id.clone(),
            child,
            poststart: None,
            poststop: None,
            has_ended: false,
            streams: streams.map(|pipe| Stream {
                pipe,
                lines: Lines::default(),
            }),
        };
        // There are as many places as bundles.
        while self.places.len() <= index && self.places.push(None).is_ok() {}
        let Some(place) = self.places.get_mut(index) else {
            return Ok(());
        };
        let running = place.insert(running);
        let watched = running.watch(epoll, index, interest(self.listens));
        if watched.is_err() {
            running.child.abandon();
        }
        watched
    }

    /// Reads the containers' output from now on, or lets it wait in their pipes.
    pub(super) fn listen(&mut self, epoll: &Epoll, wanted: bool) {
        if self.listens == wanted {
            return;
        }
        self.listens = wanted;
        for (index, place) in self.places.iter().enumerate() {
            for (stream, pipe) in place
                .iter()
                .flat_map(|running| running.streams.iter().enumerate())
            {
                if let Some(pipe) = &pipe.pipe {
                    // It is watched already; what was added can be changed.
                    let _ = epoll.change(
                        pipe,
                        Source::Output(index, stream).number(),
                        interest(wanted),
                    );
                }
            }
        }
    }

    /// The set-up has something to say: the program runs, with this PID, or this is why it does not. `None` if neither is known
    /// yet, or was said before.
    pub(super) fn hear(&mut self, epoll: &Epoll, source: Source) -> Option<Result<i32, Error>> {
        let running = self.get(source)?;
        let birth = &mut running.child.birth;
        // PID 1 holds nobody, so that is no news.
        let news = core::iter::from_fn(|| birth.hear()).find(|news| *news != News::Holding)?;
        epoll.remove(&*birth);
        match news {
            News::Failed(fault) => Some(Err(setup_error(&running.id, Why::Told(fault)))),
            News::Lost => Some(Err(setup_error(&running.id, Why::Ended(None)))),
            _ => birth.pid().map(|pid| Ok(pid.as_raw_nonzero().get())),
        }
    }

    /// Runs the hooks of `moment` beside, if the container at `index` has any.
    pub(super) fn run_hooks(
        &mut self,
        index: usize,
        moment: HookKind,
        directory: &str,
    ) -> Result<(), Fault> {
        let Some(Some(running)) = self.places.get_mut(index) else {
            return Ok(());
        };
        let (place, status) = match moment {
            HookKind::Poststart => (&mut running.poststart, Status::Running),
            _ => (&mut running.poststop, Status::Stopped),
        };
        *place = running
            .child
            .run_hooks(moment, status, directory, &running.id)?;
        Ok(())
    }

    /// Reads once from a stream, and calls `line` with the stream's name and each line that is complete.
    pub(super) fn read_output(
        &mut self,
        epoll: &Epoll,
        source: Source,
        mut line: impl FnMut(&str, &[u8]),
    ) {
        let Source::Output(_, number) = source else {
            return;
        };
        let Some(running) = self.get(source) else {
            return;
        };
        let (Some(stream), Some(name)) = (running.streams.get_mut(number), STREAMS.get(number))
        else {
            return;
        };
        let Some(pipe) = &stream.pipe else { return };
        let mut buffer = [0; READ];
        match read(pipe, &mut buffer) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(len) if len > 0 => {
                stream
                    .lines
                    .take(buffer.get(..len).unwrap_or_default(), |text| {
                        line(name, text)
                    });
            }
            _ => {
                epoll.remove(pipe);
                stream.pipe = None;
                stream.lines.finish(|text| line(name, text));
            }
        }
    }

    /// Reads what is left in the pipes of the container at `index`, up to what a pipe can hold.
    pub(super) fn finish_lines(&mut self, index: usize, mut line: impl FnMut(&str, &[u8])) {
        /// The kernel's default capacity of a pipe (pipe(7)), in reads.
        const READS: usize = 64 * 1024 / READ;
        let Some(Some(running)) = self.places.get_mut(index) else {
            return;
        };
        for (stream, name) in running.streams.iter_mut().zip(STREAMS) {
            let Some(pipe) = &stream.pipe else { continue };
            let mut buffer = [0; READ];
            for _ in 0..READS {
                match read(pipe, &mut buffer) {
                    Ok(len) if len > 0 => {
                        let bytes = buffer.get(..len).unwrap_or_default();
                        stream.lines.take(bytes, |text| line(name, text));
                    }
                    Err(Errno::INTR) => {}
                    _ => break,
                }
            }
            stream.lines.finish(|text| line(name, text));
        }
    }

    /// The place of the container that `pid` is a part of, and which.
    pub(super) fn find(&self, pid: Pid) -> Option<(usize, Part)> {
        self.places.iter().enumerate().find_map(|(index, place)| {
            let running = place.as_ref()?;
            let parts = [
                (running.first(), Part::First),
                (running.child.birth.builder, Part::Builder),
                (running.poststart, Part::Hooks(HookKind::Poststart)),
                (running.poststop, Part::Hooks(HookKind::Poststop)),
            ];
            let part = parts.into_iter().find(|(part, _)| *part == Some(pid))?;
            Some((index, part.1))
        })
    }

    /// The builder of the container at `index` has ended. Whether there is nothing else of it.
    pub(super) fn builder_ended(&mut self, index: usize) -> bool {
        let Some(Some(running)) = self.places.get_mut(index) else {
            return false;
        };
        running.child.birth.builder = None;
        running.child.birth.pid().is_none()
    }

    /// The first process of the container at `index` has ended: kills what is left of it.
    pub(super) fn end(
        &mut self,
        epoll: &Epoll,
        index: usize,
        groups: Option<&mut Groups>,
    ) -> Option<Ended> {
        let running = self.places.get_mut(index)?.as_mut()?;
        running.has_ended = true;
        // A process that left the container alive may still hold the other end, and the watch with it.
        epoll.remove(&running.child.birth);
        for stream in &mut running.streams {
            if let Some(pipe) = stream.pipe.take() {
                epoll.remove(pipe);
            }
        }
        let group = running.child.group.take();
        let out_of_memory = group.as_ref().is_some_and(Group::was_out_of_memory);
        if let (Some(group), Some(groups)) = (group, groups) {
            // Without a PID namespace its children outlive the first process.
            let _ = group.kill();
            groups.remove(index, group);
        }
        Some(Ended {
            was_started: running.was_started(),
            out_of_memory,
            annotations: running.child.annotations,
        })
    }

    /// Forgets the container at `index` if it has ended, unless hooks of it still run.
    pub(super) fn forget(&mut self, index: usize) {
        if let Some(place) = self.places.get_mut(index)
            && place.as_ref().is_some_and(Running::is_over)
        {
            *place = None;
        }
    }

    /// The process that ran the hooks of `moment` for the container at `index` has ended.
    pub(super) fn hooks_ended(&mut self, index: usize, moment: HookKind) {
        let Some(Some(running)) = self.places.get_mut(index) else {
            return;
        };
        match moment {
            HookKind::Poststart => running.poststart = None,
            _ => running.poststop = None,
        }
        self.forget(index);
    }

    /// Asks every container to end. Last hooks have the same time to.
    pub(super) fn ask_all(&self) {
        self.running()
            .filter(|running| !running.has_ended)
            .for_each(|running| running.child.ask_to_end());
    }

    /// Kills every container.
    pub(super) fn kill_all(&self) {
        for running in self.running() {
            if !running.has_ended {
                running.child.kill();
            }
            for pid in [running.poststart, running.poststop].into_iter().flatten() {
                // It has not been collected.
                let _ = process::signal(pid, signal::KILL);
            }
        }
    }

    /// The longest time that any container has to end.
    pub(super) fn longest_stop_timeout(&self, default: Duration) -> Duration {
        let timeouts = self
            .running()
            .map(|running| running.child.annotations.stop_timeout);
        timeouts
            .map(|timeout| timeout.unwrap_or(default))
            .max()
            .unwrap_or(default)
    }
}

const fn interest(listens: bool) -> Interest {
    if listens {
        Interest::IN
    } else {
        Interest::empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn every_source_has_a_number_of_its_own() {
        for index in [0, 1, 63] {
            for source in Source::all_of(index) {
                assert_eq!(Source::from_number(source.number()), source);
            }
            assert_eq!(Source::all_of(index).count(), 3);
        }
    }
}
