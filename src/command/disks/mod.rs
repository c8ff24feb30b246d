//! Disks for PID 1 (`berth.automount=`): what there is is compared with what is remembered of it.
//!
//! PID 1 starts this when something may have changed, and says so again while it runs. Each time
//! sysfs is read afresh, so it does not matter how many changes there were, or which: a disk that
//! nothing is remembered of is new, and one that is remembered and is not there any more is gone. A
//! device is told from a later one of the same name by its directory in sysfs and by the number of
//! its medium ([`Identity`]).
//!
//! # One process a disk
//!
//! This process opens no disk, and reads nothing that strangers wrote. For each disk it makes a
//! child that does, and that answers PID 1 itself: a disk that does not answer holds up its child,
//! and a superblock that breaks the child costs that disk. Of both PID 1 is told. So many children
//! run at once, and no more; what is left has its turn when one of them has ended.
//!
//! Another child loads the drivers that devices ask for, as [`drivers`] tells.
//!
//! When no child is left, this process ends. What is remembered is in files ([`record`]).

mod drivers;
mod mount;
mod place;
mod probe;
mod record;

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::supervised::Supervisor;
use super::{Call, OrReport, Reported, Subcommand};
use crate::error::{Code, During, Error, Op};
use crate::hint::of_command;
use crate::parse::answer::{Disk, DiskState, GO};
use crate::parse::automount::may_be_disk;
use crate::sys::block;
use crate::sys::clock::{self, Moment};
use crate::sys::process::{self, Forked, Status};
use crate::sys::{fs, signal};
use drivers::Missing;
use record::{Identity, Record, State};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "pid1-disks",
    operands: "DIR",
    count: (1, 1),
    raw_from: usize::MAX,
    options: &[],
    about: "mount and unmount disks for PID 1",
    run,
};

/// So many children run at once.
const AT_ONCE: usize = 8;

/// So many more may be there that have not answered for long.
const CHILDREN_MAX: usize = 64;

/// How long a disk has to answer until PID 1 is told that it does not. It is waited for after that,
/// too: it may only be slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a device may be without a driver until that is told, and how long it is until what
/// there was no memory for is tried again.
const GRACE: Duration = Duration::from_secs(1);

/// The status of a child that has found devices without a driver.
const IS_MISSING: u8 = 3;

/// What a child is to do.
#[derive(Clone)]
enum Errand {
    /// To look at a disk that is new, and to mount it.
    Probe(Identity),
    /// To unmount one that is gone.
    TakeAway(Identity),
    /// To load drivers.
    Load(Missing),
}

impl Errand {
    /// The disk that it is about.
    const fn disk(&self) -> Option<&Identity> {
        match self {
            Self::Probe(identity) | Self::TakeAway(identity) => Some(identity),
            Self::Load(_) => None,
        }
    }
}

struct Child {
    pid: Pid,
    /// Readable when it has ended (pidfd_open(2)).
    process: OwnedFd,
    errand: Errand,
    /// Until when it is to answer; `None` for one that has not.
    deadline: Option<Moment>,
    /// How often PID 1 had said that something has changed when it was made.
    words: usize,
}

/// The children, and what is left to do.
struct Watch<'c> {
    call: &'c Call<'c>,
    /// The directory that disks are mounted in.
    place: &'c str,
    children: heapless::Vec<Child, CHILDREN_MAX>,
    /// How often PID 1 has said that something has changed: being started is the first time.
    words: usize,
    /// Disks that could not be opened are to be looked at again.
    retries: bool,
    /// Drivers are to be looked for.
    wants_drivers: bool,
    /// When it is told for what there is no driver.
    tells_missing_at: Option<Moment>,
    /// When it is tried again what there was no memory for.
    again_at: Option<Moment>,
    /// There may be something new, or there was no child for what is.
    has_work: bool,
}

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    record::prepare().or_report(call, Code::DiskLost)?;
    // The disk that children write to may be gone.
    signal::ignore_pipes_only();
    let mut watch = Watch {
        call,
        place: call.given.operands.first().copied().unwrap_or_default(),
        children: heapless::Vec::new(),
        words: 1,
        retries: true,
        wants_drivers: true,
        tells_missing_at: None,
        again_at: None,
        has_work: true,
    };
    while core::mem::take(&mut watch.has_work) || watch.is_waiting() {
        watch.look().or_report(call, Code::DiskLost)?;
        if !watch.wait() {
            break;
        }
    }
    Ok(0)
}

/// PID 1, for what has become of a disk.
fn supervisor<'c>(call: &'c Call<'_>) -> Option<&'c Supervisor> {
    call.journal.supervisor()
}

/// Tells PID 1 of a disk.
fn tell(call: &Call<'_>, disk: &Disk<'_>, error: Option<&Error>) {
    if let Some(supervisor) = supervisor(call) {
        supervisor.disk(disk, error.map(|error| (*error, of_command(error))));
    }
}

impl Watch<'_> {
    fn is_waiting(&self) -> bool {
        !self.children.is_empty() || self.tells_missing_at.is_some() || self.again_at.is_some()
    }

    /// Sets children to work on what is new and on what is gone.
    fn look(&mut self) -> Result<(), crate::error::Fault> {
        let retries = core::mem::take(&mut self.retries);
        fs::each_name(record::DIRECTORY, |name| {
            let Some(identity) = Identity::parse(name) else {
                return true;
            };
            if !identity.is_there() {
                self.set_to_work(Errand::TakeAway(identity));
            } else if retries
                && Record::read(&identity).is_some_and(|record| record.state == State::Unready)
            {
                record::forget(&identity);
            }
            true
        })?;
        if self.wants_drivers {
            self.wants_drivers = !self.set_to_work(Errand::Load(Missing::Waits));
        }
        let is_due = |moment| clock::now() >= moment;
        self.again_at = self.again_at.filter(|moment| !is_due(*moment));
        if self.tells_missing_at.is_some_and(is_due) {
            let begun = self.set_to_work(Errand::Load(Missing::Told));
            self.tells_missing_at = (!begun).then(|| clock::now() + GRACE);
        }
        let devices = block::each_device(|device| {
            if may_be_disk(&device.name)
                && let Some(identity) = Identity::of(device)
                && !record::is_known(&identity)
            {
                self.set_to_work(Errand::Probe(identity));
            }
            true
        });
        match devices {
            // A kernel without block devices has no such class.
            Err(fault) if fault.errno == Errno::NOENT => Ok(()),
            result => result,
        }
    }

    /// Has a child do it; `false` if that has to wait.
    #[inline(never)]
    fn set_to_work(&mut self, errand: Errand) -> bool {
        let is_busy = |child: &Child| match (child.errand.disk(), errand.disk()) {
            (Some(its), Some(disk)) => its.is_of_same_device(disk),
            (None, None) => true,
            _ => false,
        };
        let punctual = self
            .children
            .iter()
            .filter(|child| child.deadline.is_some());
        // A medium is looked at when what was there before is unmounted: the kernel reads a
        // partition table only then.
        let mut others = self
            .children
            .iter()
            .map(|child| (&child.errand, child.deadline));
        let must_wait = matches!(errand, Errand::Probe(_))
            && others.any(|(other, deadline)| {
                matches!(other, Errand::TakeAway(_)) && deadline.is_some()
            });
        if must_wait
            || self.children.iter().any(is_busy)
            || punctual.count() >= AT_ONCE
            || self.children.is_full()
        {
            // The end of a child is when it is tried again.
            return false;
        }
        if let Errand::Probe(identity) = &errand
            && !record::begin(identity)
        {
            return false;
        }
        let begun = process::fork(0, None).and_then(|forked| match forked {
            Forked::Child => self.serve(&errand),
            Forked::Parent(pid) => {
                let process = pidfd_open(pid, PidfdFlags::empty())?;
                let deadline = Some(clock::now() + PATIENCE);
                // There is a place, as was seen above.
                let _ = self.children.push(Child {
                    pid,
                    process,
                    errand: errand.clone(),
                    deadline,
                    words: self.words,
                });
                Ok(())
            }
        });
        match begun {
            Ok(()) => true,
            Err(errno) => {
                if let Errand::Probe(identity) = &errand {
                    record::forget(identity);
                }
                self.again_at = Some(clock::now() + GRACE);
                let fault = Err::<(), _>(errno).during(Op::Clone, "a disk");
                if let Err(fault) = fault {
                    self.call.journal.warn(fault);
                }
                false
            }
        }
    }

    /// What a child does.
    fn serve(&self, errand: &Errand) -> ! {
        let result = match errand {
            Errand::Probe(identity) => probe::probe(self.call, self.place, identity),
            Errand::TakeAway(identity) => place::take_away(self.call, self.place, identity),
            Errand::Load(missing) => match drivers::load_for_devices(self.call, *missing) {
                true => Err(Reported(IS_MISSING)),
                false => Ok(()),
            },
        };
        process::exit(result.map_or_else(|Reported(status)| status, |()| 0).into())
    }

    /// Waits until there is something to do; `false` if PID 1 does not want it done.
    fn wait(&mut self) -> bool {
        if !self.is_waiting() {
            // What PID 1 has said meanwhile is told by its next word, or at the next start.
            return self.hear();
        }
        let deadlines = self.children.iter().filter_map(|child| child.deadline);
        let others = self.tells_missing_at.into_iter().chain(self.again_at);
        let timeout = deadlines.chain(others).min();
        let timeout = timeout.map(Moment::from_now);
        let mut polled = heapless::Vec::<PollFd<'_>, { CHILDREN_MAX + 1 }>::new();
        let processes = self.children.iter().map(|child| child.process.as_fd());
        let answers = supervisor(self.call).map(AsFd::as_fd);
        for descriptor in answers.into_iter().chain(processes) {
            // There is room for all.
            let _ = polled.push(PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        }
        let _ = poll(&mut polled, timeout.as_ref());
        drop(polled);
        let now = clock::now();
        let mut index = 0;
        while let Some(child) = self.children.get_mut(index) {
            if let Some(status) = process::reap(child.pid) {
                let child = self.children.swap_remove(index);
                self.ended(&child, status);
                self.has_work = true;
                continue;
            }
            if child.deadline.is_some_and(|deadline| now >= deadline) {
                child.deadline = None;
                let errand = child.errand.clone();
                self.failed(&errand, "it has not answered for 30 s");
                self.has_work = true;
            }
            index += 1;
        }
        let mut others = self.tells_missing_at.into_iter().chain(self.again_at);
        self.has_work |= others.any(|moment| now >= moment);
        self.hear()
    }

    /// Hears what PID 1 has to say, if it has said anything; `false` if it has hung up.
    fn hear(&mut self) -> bool {
        let Some(supervisor) = supervisor(self.call) else {
            return false;
        };
        let mut word = [0; GO.len()];
        loop {
            match recv(supervisor, &mut word, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return false,
                Ok(_) => {
                    self.words = self.words.wrapping_add(1);
                    self.has_work = true;
                    self.retries = true;
                    self.wants_drivers = true;
                }
                Err(Errno::INTR) => {}
                Err(_) => return true,
            }
        }
    }

    /// A child has ended.
    fn ended(&mut self, child: &Child, status: Status) {
        let errand = &child.errand;
        // What PID 1 said while the child found a disk not ready may have been that it is.
        self.retries |= child.words != self.words;
        if matches!(errand, Errand::Load(_)) && status == Status::Exited(IS_MISSING) {
            self.tells_missing_at = Some(clock::now() + GRACE);
            return;
        }
        if status != Status::Exited(0) {
            self.failed(errand, format_args!("berth, which looks at it, {status}"));
        }
        // What could not be taken away is not tried again.
        if let Errand::TakeAway(identity) = errand {
            record::forget(identity);
        }
    }

    /// Tells that a child has not done what it was to do.
    fn failed(&self, errand: &Errand, why: impl core::fmt::Display) {
        let Some(identity) = errand.disk() else {
            let text = format_args!("drivers for disks that come: {why}");
            return self.call.journal.warn(text);
        };
        let node = identity.node();
        let error = Error::new(Code::DiskLost, Op::Read, node.as_str(), why);
        let mut record = Record::read(identity).unwrap_or_default();
        let state = DiskState::Failed;
        tell(
            self.call,
            &record.disk(state, node.as_str(), ""),
            Some(&error),
        );
        if matches!(record.state, State::Quiet | State::Unready) {
            record.state = State::Told;
            record.keep(identity);
        }
    }
}
