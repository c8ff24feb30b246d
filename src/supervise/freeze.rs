//! The machine stands still, so that it can be copied, and goes on (`freeze`, `thaw`).
//!
//! The slow parts are done by runs of `berth`. PID 1 keeps the state ([`State`]), and the client
//! that has asked, until it is done:
//!
//! * It begins when no start and no end of a container is under way, and nothing is started until
//!   the machine goes on: by no policy, and by no request.
//! * If the client goes before it is done, or it fails, everything goes on again.
//! * A machine that is to end goes on first, so that its containers can end in order, and its
//!   filesystems can be unmounted.
//! * A machine that stands still does not end for want of containers.

use core::time::Duration;

use rustix::fd::{AsFd, OwnedFd};

use super::Supervisor;
use super::berth::Task;
use super::control::reply;
use super::policy::Phase;
use super::token::Token;
use super::workers::Work;
use crate::error::{At, Code, Error, Op, Stage};
use crate::parse::answer::GO;
use crate::parse::request::{REQUEST_MAX, Reply, Request, Thaw};
use crate::sys::clock::{self, Moment};
use crate::sys::epoll::Interest;
use crate::sys::process::Status;

/// How long the machine's end waits for it.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// What it is about, for messages.
const MACHINE: &str = "the machine";

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The machine runs.
    #[default]
    Thawed,
    /// Starts and ends that were under way are waited for.
    Settling,
    /// It is being frozen.
    Freezing,
    /// The same, and nobody wants it any more.
    Aborting,
    /// It stands still.
    Frozen,
    /// It is about to go on.
    Thawing,
    /// The same, because it could not be frozen.
    Undoing,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// A client asks for a freeze.
    Freeze,
    /// A client asks for a thaw.
    Thaw,
    /// Nothing is under way.
    Settled,
    /// The run of `berth` has ended: it has done what it was to do, or not.
    Ended { well: bool },
    /// The client has gone.
    Gone,
    /// The machine is to end.
    End,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Nothing,
    /// Have everything stand still.
    Freeze,
    /// Have it go on as another machine.
    Thaw,
    /// Have it go on as the same.
    Undo,
    /// End the run that freezes it.
    Kill,
    /// Tell the client that it is done.
    Done,
    /// Tell that it is not.
    Fail,
}

/// Decides. The error says why something cannot be asked for.
const fn next(state: State, input: Input) -> Result<(State, Action), &'static str> {
    Ok(match (state, input) {
        (State::Thawed, Input::Freeze) => (State::Settling, Action::Nothing),
        (State::Frozen, Input::Freeze) => return Err("it is frozen already"),
        (State::Frozen, Input::Thaw | Input::End) => (State::Thawing, Action::Thaw),
        (State::Thawed, Input::Thaw) => return Err("it is not frozen"),
        (State::Settling | State::Freezing, Input::Freeze | Input::Thaw) => {
            return Err("it is being frozen");
        }
        (_, Input::Freeze | Input::Thaw) => return Err("it is being thawed"),
        (State::Settling, Input::Settled) => (State::Freezing, Action::Freeze),
        (State::Freezing, Input::Ended { well: true }) => (State::Frozen, Action::Done),
        (State::Freezing | State::Aborting, Input::Ended { .. }) => (State::Undoing, Action::Undo),
        (State::Thawing, Input::Ended { well: true }) => (State::Thawed, Action::Done),
        (State::Undoing, Input::Ended { well: true }) => (State::Thawed, Action::Fail),
        // Something stands still for all that is known.
        (State::Thawing | State::Undoing, Input::Ended { .. }) => (State::Frozen, Action::Fail),
        (State::Settling, Input::Gone | Input::End) => (State::Thawed, Action::Fail),
        (State::Freezing, Input::Gone | Input::End) => (State::Aborting, Action::Kill),
        _ => (state, Action::Nothing),
    })
}

/// What is known of it.
#[derive(Default)]
pub(super) struct Freezer {
    state: State,
    /// The client that has asked.
    client: Option<OwnedFd>,
    /// What went wrong.
    failure: Option<Error>,
    /// How long the machine's end waits for it.
    end_until: Option<Moment>,
}

impl Freezer {
    /// Whether the machine runs, and nobody wants it to stand still.
    pub(super) fn is_thawed(&self) -> bool {
        self.state == State::Thawed
    }

    /// Whether the machine's end waits for it. What cannot go on is not waited for.
    pub(super) fn holds_up_end(&self) -> bool {
        let is_over = self.end_until.is_none_or(|until| clock::now() >= until);
        !is_over && !matches!(self.state, State::Thawed | State::Frozen)
    }

    /// Until when.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.end_until.filter(|_| self.holds_up_end())
    }

    /// Keeps what went wrong.
    pub(super) fn note_failure(&mut self, error: &Error) {
        self.failure.get_or_insert(*error);
    }
}

impl Supervisor<'_, '_> {
    /// Has the machine stand still. `client` is told when that is done.
    ///
    /// # Errors
    /// [`Code::Freeze`].
    #[inline(never)]
    pub(super) fn freeze_by_request(&mut self, client: &mut Option<OwnedFd>) -> Result<(), Error> {
        if self.phase != Phase::Running {
            return Err(refusal(Op::Freeze, "it shuts down"));
        }
        self.advance(Input::Freeze, Op::Freeze)?;
        self.freezer.client = client.take();
        if let Some(client) = &self.freezer.client {
            // Nothing but its end: that is always told. Without it, the answer is for nobody.
            let token = Token::FreezeClient.encode();
            let _ = self.epoll.add(client, token, Interest::empty());
        }
        Ok(())
    }

    /// Lets the machine go on, with what was given. `client` is told when that is done.
    ///
    /// # Errors
    /// [`Code::Freeze`].
    #[inline(never)]
    pub(super) fn thaw_by_request(
        &mut self,
        thaw: Thaw<'_>,
        client: &mut Option<OwnedFd>,
    ) -> Result<(), Error> {
        self.advance(Input::Thaw, Op::Thaw)?;
        self.give(thaw);
        self.freezer.client = client.take();
        Ok(())
    }

    /// The machine is to end: lets it go on first.
    pub(super) fn thaw_for_end(&mut self) {
        self.freezer.end_until = Some(clock::now() + END_TIMEOUT);
        let was_frozen = self.freezer.state == State::Frozen;
        // That is never refused.
        let _ = self.advance(Input::End, Op::Thaw);
        if was_frozen {
            self.give(Thaw::default());
        }
    }

    /// The client that has asked has gone.
    pub(super) fn freeze_client_gone(&mut self) {
        self.forget_freeze_client();
        let _ = self.advance(Input::Gone, Op::Freeze);
    }

    /// Begins when nothing is under way any more.
    pub(super) fn go_on_freezing(&mut self) {
        if self.freezer.state == State::Settling && !self.slots.are_changing() {
            let _ = self.advance(Input::Settled, Op::Freeze);
        }
    }

    /// The run of `berth` has ended.
    #[inline(never)]
    pub(super) fn freeze_ended(&mut self, status: Status) {
        let well = status == Status::Exited(0);
        if !well {
            let detail = format_args!("berth, which does it, {status}");
            let error = Error::new(Code::Freeze, Op::Wait, MACHINE, detail);
            self.freezer.note_failure(&error);
        }
        let _ = self.advance(Input::Ended { well }, Op::Freeze);
    }

    /// Refuses to start or stop a container while the machine stands still.
    ///
    /// # Errors
    /// [`Code::Freeze`].
    pub(super) fn refuse_while_frozen(&self, op: Op, id: &str) -> Result<(), Error> {
        match self.freezer.is_thawed() {
            true => Ok(()),
            false => Err(Error::new(Code::Freeze, op, id, "the machine is frozen")),
        }
    }

    /// Does what follows.
    fn advance(&mut self, input: Input, op: Op) -> Result<(), Error> {
        let (state, action) = next(self.freezer.state, input).map_err(|why| refusal(op, why))?;
        self.freezer.state = state;
        match action {
            Action::Nothing => {}
            Action::Freeze => self.run_for_freezer(Work::Freeze, Task::Freeze),
            Action::Thaw => self.run_for_freezer(Work::Thaw, Task::Thaw { is_undo: false }),
            Action::Undo => self.run_for_freezer(Work::Thaw, Task::Thaw { is_undo: true }),
            Action::Kill => self.workers.kill(Work::Freeze),
            Action::Done => self.answer_freeze_client(true),
            Action::Fail => self.answer_freeze_client(false),
        }
        Ok(())
    }

    fn run_for_freezer(&mut self, work: Work, task: Task<'_>) {
        let program = self.machine.berth.as_ref().map(AsFd::as_fd);
        let started = self.workers.start(&self.epoll, program, work, task);
        if let Err(error) = started.at(Code::Freeze) {
            self.freezer.note_failure(&error);
            let _ = self.advance(Input::Ended { well: false }, Op::Freeze);
        }
    }

    /// Tells the run that thaws what it is given.
    fn give(&mut self, thaw: Thaw<'_>) {
        let mut room = [0; REQUEST_MAX];
        if let Some(packet) = Request::Thaw(thaw).encode(&mut room) {
            self.workers.tell(Work::Thaw, packet);
        }
    }

    /// The run that thaws has told of it, and goes on.
    pub(super) fn let_thaw(&mut self) {
        self.workers.tell(Work::Thaw, GO);
    }

    fn answer_freeze_client(&mut self, is_done: bool) {
        let failure = self.freezer.failure.take();
        let client = self.forget_freeze_client();
        let failure = (!is_done).then(|| {
            let why = "it was given up";
            failure.unwrap_or_else(|| refusal(Op::Freeze, why))
        });
        match (client, failure) {
            (Some(client), None) => reply(&client, &Reply::Done),
            (Some(client), Some(error)) => reply(&client, &Reply::Refused(error)),
            (None, Some(error)) if self.phase != Phase::Running => {
                let journal = &mut self.machine.journal;
                journal.warn(Stage::Shutdown, format_args!("{error}"));
            }
            (None, _) => {}
        }
    }

    fn forget_freeze_client(&mut self) -> Option<OwnedFd> {
        let client = self.freezer.client.take();
        client.inspect(|client| self.epoll.remove(client))
    }
}

/// That the machine is not in a state in which this can be done.
#[cold]
#[inline(never)]
fn refusal(op: Op, why: &str) -> Error {
    Error::new(Code::Freeze, op, MACHINE, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Input = Input::Ended { well: true };
    const BADLY: Input = Input::Ended { well: false };

    #[test]
    fn the_table_of_decisions() {
        use Input::{End, Freeze, Gone, Settled};
        use State::{Aborting, Freezing, Frozen, Settling, Thawed, Thawing, Undoing};
        for (state, input, then, action) in [
            (Thawed, Freeze, Settling, Action::Nothing),
            (Settling, Settled, Freezing, Action::Freeze),
            (Freezing, WELL, Frozen, Action::Done),
            (Frozen, Input::Thaw, Thawing, Action::Thaw),
            (Thawing, WELL, Thawed, Action::Done),
            // What cannot be done is undone.
            (Freezing, BADLY, Undoing, Action::Undo),
            (Undoing, WELL, Thawed, Action::Fail),
            (Undoing, BADLY, Frozen, Action::Fail),
            (Thawing, BADLY, Frozen, Action::Fail),
            // And so is what nobody waits for.
            (Settling, Gone, Thawed, Action::Fail),
            (Freezing, Gone, Aborting, Action::Kill),
            (Aborting, BADLY, Undoing, Action::Undo),
            (Aborting, WELL, Undoing, Action::Undo),
            (Frozen, Gone, Frozen, Action::Nothing),
            // The end of the machine.
            (Thawed, End, Thawed, Action::Nothing),
            (Settling, End, Thawed, Action::Fail),
            (Freezing, End, Aborting, Action::Kill),
            (Frozen, End, Thawing, Action::Thaw),
            (Thawing, End, Thawing, Action::Nothing),
            (Undoing, End, Undoing, Action::Nothing),
        ] {
            assert_eq!(
                next(state, input),
                Ok((then, action)),
                "{state:?} {input:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        use State::{Aborting, Freezing, Frozen, Settling, Thawed, Thawing, Undoing};
        for (state, input) in [
            (Settling, Input::Freeze),
            (Freezing, Input::Freeze),
            (Frozen, Input::Freeze),
            (Thawing, Input::Freeze),
            (Undoing, Input::Freeze),
            (Aborting, Input::Thaw),
            (Thawed, Input::Thaw),
            (Settling, Input::Thaw),
            (Thawing, Input::Thaw),
        ] {
            assert!(next(state, input).is_err(), "{state:?} {input:?}");
        }
    }
}
