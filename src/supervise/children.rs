//! The containers that run, and what is watched for each of them.

use core::time::Duration;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, read};
use rustix::net::{RecvFlags, SendFlags, send};
use rustix::process::Pid;

use super::Printer;
use super::berth::{self, Output, Run};
use super::lines::Lines;
use crate::container::{BUNDLES_MAX, Group, Id};
use crate::error::{Code, Error, Fault, Op};
use crate::events;
use crate::parse::answer::{GO, Policy};
use crate::parse::config::OnExit;
use crate::sys::clock::{self, Moment};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::mapped::Mapped;
use crate::sys::process::{self, Status};
use crate::sys::{signal, socket};

/// How long `berth` may take to read a bundle, on a machine that has much else to do.
const READING: Duration = Duration::from_secs(60);

/// How long it is until it is tried again to clear a container away.
const CLEARING: Duration = Duration::from_secs(1);

/// How long it may take to set a container up, hooks and their timeouts included.
const SETTING_UP: Duration = Duration::from_secs(15 * 60);

/// How much output is read at once, in bytes. Others get their turn in between.
pub(super) const READ: usize = 512;

/// The names of a container's two streams.
const STREAMS: [events::Stream; 2] = [events::Stream::Stdout, events::Stream::Stderr];

/// Numbers below are taken by what is no container's.
const FIRST_NUMBER: u64 = 16;

/// What is watched for a container, by the container's place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// What is answered of its start or its end.
    Answers(usize),
    /// One of its streams.
    Output(usize, usize),
}

impl Source {
    const PER_CHILD: u64 = 3;

    const fn number(self) -> u64 {
        match self {
            Self::Answers(index) => FIRST_NUMBER + index as u64 * Self::PER_CHILD,
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
            0 => Self::Answers(index),
            stream => Self::Output(index, stream as usize - 1),
        }
    }
}

struct Stream {
    pipe: Option<OwnedFd>,
    lines: Lines,
}

/// How far a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Its bundle is being read, until then at most.
    Reading(Moment),
    /// It is not its turn yet.
    Waiting,
    /// It is being set up, until then at most; its first process, once it is known.
    SettingUp(Moment, Option<Pid>),
    /// Its program runs.
    Running(Pid),
    /// Its first process has ended, or there will be none.
    Over,
}

struct Running {
    id: Id,
    progress: Progress,
    /// The runs of `berth` that start it, and that clear it away.
    starter: Option<Pid>,
    ender: Option<Pid>,
    /// Where the answers of the one that is there come from.
    answers: Option<OwnedFd>,
    group: Option<Group>,
    /// Something may be left of it that is to be cleared away.
    is_left: bool,
    /// When that is tried again.
    clear_at: Option<Moment>,
    /// What its bundle asks for.
    on_exit: OnExit,
    stop_timeout: Option<Duration>,
    is_raw: bool,
    streams: [Stream; 2],
}

impl Running {
    fn watch(&self, epoll: &Epoll, index: usize, output: Interest) -> Result<(), Fault> {
        self.watch_answers(epoll, index)?;
        for (number, stream) in self.streams.iter().enumerate() {
            if let Some(pipe) = &stream.pipe {
                epoll.add(pipe, Source::Output(index, number).number(), output)?;
            }
        }
        Ok(())
    }

    fn watch_answers(&self, epoll: &Epoll, index: usize) -> Result<(), Fault> {
        let number = Source::Answers(index).number();
        self.answers
            .as_ref()
            .map_or(Ok(()), |answers| epoll.add(answers, number, Interest::IN))
    }

    /// Hears nothing more. A start that waits for its turn is given up by that.
    fn forget_answers(&mut self, epoll: &Epoll) {
        if let Some(answers) = self.answers.take() {
            epoll.remove(&answers);
        }
    }

    /// Has who starts it go on.
    fn say_go(&self) {
        if let Some(answers) = &self.answers {
            // That it has ended meanwhile is heard in any case.
            let _ = send(answers, GO, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
    }

    const fn first(&self) -> Option<Pid> {
        match self.progress {
            Progress::SettingUp(_, first) => first,
            Progress::Running(first) => Some(first),
            _ => None,
        }
    }

    /// When its start has taken too long, or it is to be cleared away.
    const fn deadline(&self) -> Option<Moment> {
        match self.progress {
            Progress::Reading(deadline) | Progress::SettingUp(deadline, _) => Some(deadline),
            Progress::Over => self.clear_at,
            _ => None,
        }
    }

    fn signal(&self, signal: u32) {
        for pid in [self.first(), self.starter].into_iter().flatten() {
            // A process that has ended already is not signalled, and that is fine.
            let _ = process::signal(pid, signal);
        }
    }

    /// Kills all its processes; without a control group, its first, whose PID namespace goes with it.
    fn kill(&self) {
        let is_killed = |group: &Group| group.kill().is_ok();
        if !self.group.as_ref().is_some_and(is_killed) {
            self.signal(signal::KILL);
        }
    }

    /// There will be no program. What was made of it is killed, and who makes it.
    fn give_up(&mut self, epoll: &Epoll) {
        self.kill();
        if let Some(starter) = self.starter {
            let _ = process::signal(starter, signal::KILL);
        }
        self.is_left |= matches!(self.progress, Progress::SettingUp(..));
        self.progress = Progress::Over;
        self.forget_answers(epoll);
    }
}

/// What became of a control group.
pub(super) enum Kept {
    /// It is the container's.
    Yes,
    /// It is that of this one.
    IsOf(Id),
    /// It is no group, or none was expected.
    Nonsense,
}

/// What a process is to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Its end is the container's.
    First,
    /// It starts the container.
    Starter,
    /// It clears the container away.
    Ender,
}

/// A container whose first process has ended.
pub(super) struct Ended {
    pub(super) out_of_memory: bool,
    pub(super) on_exit: OnExit,
}

/// The containers, each in a place of its own. It is taken again at the end of a turn only, so that a number which epoll has
/// delivered stays true.
pub(super) struct Children {
    places: Mapped<Option<Running>, BUNDLES_MAX>,
    listens: bool,
}

impl Children {
    pub(super) const fn new() -> Self {
        Self {
            places: Mapped::new(),
            listens: true,
        }
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        self.places.iter().flatten()
    }

    fn at(&mut self, index: usize) -> Option<&mut Running> {
        self.places.get_mut(index)?.as_mut()
    }

    fn get(&mut self, source: Source) -> Option<&mut Running> {
        let (Source::Answers(index) | Source::Output(index, _)) = source;
        self.at(index)
    }

    /// True while of one it is not known yet whether its program runs.
    pub(super) fn are_being_set_up(&self) -> bool {
        self.running().any(|running| {
            matches!(
                running.progress,
                Progress::Reading(_) | Progress::Waiting | Progress::SettingUp(..)
            )
        })
    }

    /// True if none runs. What could not be cleared away does not keep the machine up: it may lack for good what that takes.
    pub(super) fn is_empty(&self) -> bool {
        self.running().all(|running| running.clear_at.is_some())
    }

    /// The container's name; empty if it has ended.
    pub(super) fn id(&mut self, index: usize) -> Id {
        self.at(index)
            .map(|running| running.id.clone())
            .unwrap_or_default()
    }

    /// What is known of the container where it prints something.
    pub(super) fn printer(&mut self, index: usize) -> Printer {
        Printer {
            id: self.id(index),
            is_raw: self.at(index).is_some_and(|running| running.is_raw),
        }
    }

    /// Whether nothing is left of the container at `index`.
    pub(super) fn is_free(&self, index: usize) -> bool {
        !matches!(self.places.get(index), Some(Some(_)))
    }

    /// Whether the start of the container at `index` waits for its turn.
    pub(super) fn is_waiting(&self, index: usize) -> bool {
        let place = self.places.get(index).and_then(Option::as_ref);
        place.is_some_and(|running| running.progress == Progress::Waiting)
    }

    /// Takes a new container in, and watches it.
    ///
    /// # Errors
    /// Those of epoll_ctl(2). Its start is given up then.
    pub(super) fn add(
        &mut self,
        epoll: &Epoll,
        index: usize,
        id: &Id,
        (run, output): (Run, Output),
    ) -> Result<(), Fault> {
        let running = Running {
            id: id.clone(),
            progress: Progress::Reading(clock::now() + READING),
            starter: Some(run.pid),
            ender: None,
            answers: Some(run.answers),
            group: None,
            is_left: false,
            clear_at: None,
            on_exit: OnExit::Continue,
            stop_timeout: None,
            is_raw: false,
            streams: output.map(|pipe| Stream {
                pipe: Some(pipe),
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
            running.give_up(epoll);
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

    /// The next packet of what is answered of the container at `index`, and a descriptor that came with it; `None` if there is none
    /// now. No bytes are the end.
    pub(super) fn next_answer(
        &mut self,
        index: usize,
        room: &mut [u8],
    ) -> Option<Result<socket::Packet, Errno>> {
        let answers = self.at(index)?.answers.as_ref()?;
        loop {
            match socket::next_packet(answers, room, RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => return None,
                Err(Errno::INTR) => {}
                // The other end is gone, and has not read all.
                Err(Errno::CONNRESET) => return Some(Ok((0, None))),
                packet => return Some(packet),
            }
        }
    }

    /// The last answer about the container at `index` has come.
    pub(super) fn answers_ended(&mut self, epoll: &Epoll, index: usize) {
        if let Some(running) = self.at(index) {
            running.forget_answers(epoll);
        }
    }

    /// Keeps what the bundle of the container at `index` asks for; it waits for its turn now. False if it was not being read.
    pub(super) fn keep_policy(&mut self, index: usize, policy: &Policy<'_>) -> bool {
        let Some(running) = self.at(index) else {
            return false;
        };
        if !matches!(running.progress, Progress::Reading(_)) {
            return false;
        }
        running.progress = Progress::Waiting;
        running.on_exit = policy.on_exit;
        running.stop_timeout = policy.stop_timeout;
        running.is_raw = policy.raw_output;
        true
    }

    /// Has the start of the container at `index`, which waits, go on.
    pub(super) fn go(&mut self, index: usize) {
        let Some(running) = self.at(index) else {
            return;
        };
        running.progress = Progress::SettingUp(clock::now() + SETTING_UP, None);
        running.say_go();
    }

    /// Keeps the control group of the container at `index`.
    pub(super) fn keep_group(&mut self, index: usize, group: OwnedFd) -> Kept {
        let Ok(group) = Group::try_from(group) else {
            return Kept::Nonsense;
        };
        let has_it = |running: &&Running| running.group.as_ref().is_some_and(|own| own.is(&group));
        if let Some(other) = self.running().find(has_it) {
            return Kept::IsOf(other.id.clone());
        }
        match self.at(index) {
            Some(running) if matches!(running.progress, Progress::SettingUp(..)) => {
                running.group = Some(group);
                running.say_go();
                Kept::Yes
            }
            _ => Kept::Nonsense,
        }
    }

    /// Keeps which is the first process of the container at `index`; whether its program `runs`. False if it is not being set up.
    pub(super) fn keep_first(&mut self, index: usize, first: Pid, runs: bool) -> bool {
        let Some(running) = self.at(index) else {
            return false;
        };
        running.progress = match running.progress {
            Progress::SettingUp(..) if runs => Progress::Running(first),
            Progress::SettingUp(deadline, None) => Progress::SettingUp(deadline, Some(first)),
            _ => return false,
        };
        true
    }

    /// There will be no program of the container at `index`, and what was made of it was undone. False if one runs, or the start was
    /// given up before.
    pub(super) fn has_failed(&mut self, index: usize) -> bool {
        let Some(running) = self.at(index) else {
            return false;
        };
        let is_start = matches!(
            running.progress,
            Progress::Reading(_) | Progress::Waiting | Progress::SettingUp(..)
        );
        if is_start {
            running.progress = Progress::Over;
        }
        is_start
    }

    /// Gives up the start of the container at `index`. False if there is none.
    pub(super) fn give_up(&mut self, epoll: &Epoll, index: usize) -> bool {
        let Some(running) = self.at(index) else {
            return false;
        };
        if matches!(running.progress, Progress::Running(_) | Progress::Over) {
            return false;
        }
        running.give_up(epoll);
        true
    }

    /// Gives up all that wait for their turn.
    pub(super) fn give_up_waiting(&mut self, epoll: &Epoll) {
        for running in self.places.iter_mut().flatten() {
            if matches!(running.progress, Progress::Reading(_) | Progress::Waiting) {
                running.give_up(epoll);
            }
        }
    }

    /// When the next start has taken too long, or the next container is to be cleared away.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.running().filter_map(Running::deadline).min()
    }

    /// One whose time has come; whether that is to be cleared away.
    pub(super) fn late(&self, now: Moment) -> Option<(usize, bool)> {
        self.places.iter().enumerate().find_map(|(index, place)| {
            let running = place.as_ref()?;
            running.deadline().filter(|until| *until <= now)?;
            Some((index, running.progress == Progress::Over))
        })
    }

    /// Has what is left of the container at `index` cleared away, or forgets it: if it is over, and nobody works on it any more.
    ///
    /// # Errors
    /// Those of a start of `berth`, the first time. It is tried again later.
    pub(super) fn clear(
        &mut self,
        epoll: &Epoll,
        index: usize,
        program: Option<&OwnedFd>,
    ) -> Result<(), Fault> {
        let Some(place) = self.places.get_mut(index) else {
            return Ok(());
        };
        let Some(running) = place else { return Ok(()) };
        let is_busy = running.starter.is_some() || running.ender.is_some();
        if running.progress != Progress::Over || is_busy {
            return Ok(());
        }
        let is_left = core::mem::take(&mut running.is_left);
        let was_tried = running.clear_at.take().is_some();
        let Some(program) = program.filter(|_| is_left) else {
            *place = None;
            return Ok(());
        };
        running.forget_answers(epoll);
        match berth::end(program.as_fd(), &running.id) {
            Ok(run) => {
                running.ender = Some(run.pid);
                running.answers = Some(run.answers);
                running.watch_answers(epoll, index)
            }
            Err(fault) => {
                // The machine lacks something that may be there later.
                running.is_left = true;
                running.clear_at = Some(clock::now() + CLEARING);
                if was_tried { Ok(()) } else { Err(fault) }
            }
        }
    }

    /// Reads once from a stream, and calls `line` with the stream's name and each line that is complete.
    pub(super) fn read_output(
        &mut self,
        epoll: &Epoll,
        source: Source,
        mut line: impl FnMut(events::Stream, &[u8]),
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
                        line(*name, text)
                    });
            }
            _ => {
                epoll.remove(pipe);
                stream.pipe = None;
                stream.lines.finish(|text| line(*name, text));
            }
        }
    }

    /// Reads what is left in the pipes of the container at `index`, up to what a pipe can hold.
    pub(super) fn finish_lines(
        &mut self,
        index: usize,
        mut line: impl FnMut(events::Stream, &[u8]),
    ) {
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
                (running.starter, Part::Starter),
                (running.ender, Part::Ender),
            ];
            let part = parts.into_iter().find(|(part, _)| *part == Some(pid))?;
            Some((index, part.1))
        })
    }

    /// The run that started the container at `index` has ended. Why there is no program, if it has not said so.
    pub(super) fn starter_ended(
        &mut self,
        epoll: &Epoll,
        index: usize,
        status: Status,
    ) -> Option<Error> {
        let running = self.at(index)?;
        running.starter = None;
        if matches!(running.progress, Progress::Running(_) | Progress::Over) {
            running.forget_answers(epoll);
            return None;
        }
        let error = Error::new(
            Code::BerthFailed,
            Op::Wait,
            format_args!("the start of {}", running.id),
            format_args!("berth, which starts it, {status}, and has not said why"),
        );
        running.give_up(epoll);
        Some(error)
    }

    /// The run that cleared the container at `index` away has ended.
    pub(super) fn ender_ended(&mut self, epoll: &Epoll, index: usize) {
        if let Some(running) = self.at(index) {
            running.ender = None;
            running.forget_answers(epoll);
        }
    }

    /// The first process of the container at `index` has ended: kills what is left of it. `None` if its program did not run.
    pub(super) fn end(&mut self, epoll: &Epoll, index: usize) -> Option<Ended> {
        let running = self.at(index)?;
        let Progress::Running(_) = running.progress else {
            // Whoever starts it says why.
            if let Progress::SettingUp(deadline, _) = running.progress {
                running.progress = Progress::SettingUp(deadline, None);
            }
            return None;
        };
        running.progress = Progress::Over;
        running.is_left = true;
        for stream in &mut running.streams {
            // A process that left the container alive may still hold the other end, and the watch with it.
            if let Some(pipe) = stream.pipe.take() {
                epoll.remove(pipe);
            }
        }
        let group = running.group.take();
        if let Some(group) = &group {
            // Without a PID namespace its children outlive the first process.
            let _ = group.kill();
        }
        Some(Ended {
            out_of_memory: group.as_ref().is_some_and(Group::was_out_of_memory),
            on_exit: running.on_exit,
        })
    }

    /// Asks every container to end. What clears away has the same time.
    pub(super) fn ask_all(&self) {
        self.running()
            .for_each(|running| running.signal(signal::TERM));
    }

    /// Kills every container.
    pub(super) fn kill_all(&self) {
        for running in self.running() {
            running.kill();
            for pid in [running.starter, running.ender].into_iter().flatten() {
                // It has not been collected.
                let _ = process::signal(pid, signal::KILL);
            }
        }
    }

    /// The longest time that any container has to end.
    pub(super) fn longest_stop_timeout(&self, default: Duration) -> Duration {
        let timeouts = self.running().map(|running| running.stop_timeout);
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
    use super::{BUNDLES_MAX, Source};

    #[test]
    fn every_source_has_a_number_of_its_own() {
        for index in [0, 1, BUNDLES_MAX - 1] {
            let sources = [
                Source::Answers(index),
                Source::Output(index, 0),
                Source::Output(index, 1),
            ];
            for source in sources {
                assert_eq!(Source::from_number(source.number()), source);
            }
        }
    }
}
