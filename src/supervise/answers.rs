//! What the program that starts and ends containers answers.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::Pid;

use super::Supervisor;
use super::children::Kept;
use super::start::lacks_something;
use crate::error::{Code, During, Op, Stage};
use crate::parse::answer::{ANSWER_MAX, Answer};
use crate::sys::buffer::Buffer;
use crate::sys::{clock, kmsg};

/// So many answers are taken at once. Others get their turn in between.
pub(super) const AT_ONCE: usize = 16;

/// So many of those that a process has left behind: more than a socket holds.
pub(super) const LEFT: usize = 4096;

/// What is said of answers that make no sense.
const NONSENSE: &str = "has answered what cannot be understood";

impl Supervisor<'_, '_> {
    /// Takes what has been answered of the container at `index`, so many answers at most.
    #[inline(never)]
    pub(super) fn take_answers(&mut self, index: usize, most: usize) {
        let mut buffer = Buffer::<ANSWER_MAX>::new();
        let Ok(room) = buffer.bytes_mut() else {
            // It comes again with the next turn.
            return;
        };
        for _ in 0..most {
            let (len, descriptor) = match self.children.next_answer(index, room) {
                None => return,
                Some(Ok(packet)) => packet,
                Some(Err(_)) => return self.has_failed(index, NONSENSE),
            };
            if len == 0 {
                return self.children.answers_ended(&self.epoll, index);
            }
            let packet = room.get(..len).unwrap_or_default();
            let is_understood = match (Answer::parse(packet), descriptor) {
                (Some(Answer::Group), Some(group)) => self.take_group(index, group),
                (Some(answer), None) => self.take_answer(index, &answer),
                _ => false,
            };
            if !is_understood {
                return self.has_failed(index, NONSENSE);
            }
        }
    }

    /// Keeps the control group. False for what is none.
    fn take_group(&mut self, index: usize, group: OwnedFd) -> bool {
        let other = match self.children.keep_group(index, group) {
            Kept::Yes => return true,
            Kept::Nonsense => return false,
            Kept::IsOf(other) => other,
        };
        let id = self.jobs.id(index);
        let fault = Err::<(), _>(Errno::BUSY).during(
            Op::Create,
            format_args!("the control group of {id}, which {other} has"),
        );
        if let Err(fault) = fault
            && self.children.give_up(&self.epoll, index)
        {
            let error = fault.at(Code::ContainerSetup);
            self.could_not_start(index, &error, true);
        }
        true
    }

    /// Does what follows from an answer. False for one that makes no sense now.
    fn take_answer(&mut self, index: usize, answer: &Answer<'_>) -> bool {
        match answer {
            Answer::Policy(policy) => {
                let is_kept = self.children.keep_policy(index, policy);
                if is_kept {
                    self.agree(index, policy);
                }
                is_kept
            }
            Answer::Warning(text) => {
                self.machine
                    .journal
                    .warn(Stage::Containers, format_args!("{text}"));
                true
            }
            Answer::Notice(text) => {
                kmsg::notice(Stage::Containers, format_args!("{text}"));
                true
            }
            Answer::Group => false,
            Answer::Process(pid) | Answer::Started(pid) => {
                let runs = matches!(answer, Answer::Started(_));
                let first = Pid::from_raw(*pid);
                let is_kept = first.is_some_and(|pid| self.children.keep_first(index, pid, runs));
                if is_kept && runs {
                    self.started += usize::from(self.jobs.runs(index, clock::now()));
                    let id = self.jobs.id(index);
                    self.machine.journal.container_started(&id, *pid);
                }
                is_kept
            }
            Answer::Failed(error) => {
                match self.children.has_failed(index) {
                    true => self.could_not_start(index, error, lacks_something(error)),
                    false => self
                        .machine
                        .journal
                        .warn(Stage::Containers, format_args!("{error}")),
                }
                true
            }
        }
    }
}
