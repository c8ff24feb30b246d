//! Control: what people and programs ask of PID 1 while the machine runs.
//!
//! * `/run/berth/control` and the virtio port `org.berth.control` speak the protocol of
//!   `docs/control.md`. PID 1 only watches them. When somebody comes, it starts a run of `berth`,
//!   which serves all who come and ends when nobody is left.
//! * That run, and `berth` in the machine, hand PID 1 the few [requests](crate::parse::request)
//!   that it has to act on itself. PID 1 answers at once, and never waits: a client that does not
//!   read its answers loses them.

use core::time::Duration;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, chmodat, mkdir, open};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{SendFlags, send};

use super::berth::Task;
use super::jobs::Next;
use super::requests::wrong_status;
use super::token::Token;
use super::workers::Work;
use super::{Supervisor, policy, shutdown};
use crate::boot::Change;
use crate::error::{During, Error, Fault, Op, Stage};
use crate::events::DIRECTORY;
use crate::parse::request::{
    self, CONTROL, GENERATION, RECORDS, REPLY_MAX, REQUEST_MAX, Reply, Request,
};
use crate::sys::clock::{self, Moment};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::{fs, socket, virtio_port};

/// The name of the virtio port.
const PORT: &str = "org.berth.control";

/// How many requests are read at once. Others get their turn in between.
const REQUESTS_PER_TURN: usize = 16;

/// How many connections wait to be accepted.
const BACKLOG: i32 = 128;

/// How long it is until a run is started again that has failed.
const REST: Duration = Duration::from_secs(1);

/// The sockets, and the port if there is one.
#[derive(Default)]
pub(super) struct Control {
    listener: Option<OwnedFd>,
    requests: Option<OwnedFd>,
    port: Option<OwnedFd>,
    /// When they are watched again after a run that failed.
    rest_until: Option<Moment>,
}

impl Control {
    /// Makes the sockets, and watches them.
    ///
    /// # Errors
    /// Those of mkdir(2), bind(2) and epoll_ctl(2). The machine runs without what could not be
    /// made.
    #[inline(never)]
    pub(super) fn open(&mut self, epoll: &Epoll) -> Result<(), Fault> {
        fs::make_directory(DIRECTORY)?;
        match mkdir(RECORDS, Mode::from_raw_mode(0o711)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).during(Op::Create, RECORDS),
        }
        write_generation();
        let requests = socket::datagrams_at(request::PATH)
            .and_then(|requests| set_socket_passcred(&requests, true).map(|()| requests));
        let requests = requests.during(Op::Socket, request::PATH)?;
        let listener = socket::packets_at(CONTROL, BACKLOG).during(Op::Socket, CONTROL)?;
        for path in [request::PATH, CONTROL] {
            let only_root = Mode::from_raw_mode(0o600);
            chmodat(CWD, path, only_root, AtFlags::empty()).during(Op::Socket, path)?;
        }
        epoll.add(&requests, Token::Requests.encode(), Interest::IN)?;
        self.requests = Some(requests);
        self.listener = Some(listener);
        self.watch(epoll)
    }

    /// Opens the port if it is there by now.
    pub(super) fn find_port(&mut self, epoll: &Epoll, has_devtmpfs: bool) {
        if self.port.is_some() {
            return;
        }
        let Some(path) = virtio_port::find(PORT) else {
            return;
        };
        if !has_devtmpfs {
            virtio_port::make_node(&path);
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        // One that was only just announced may not be ready; the next uevent brings us here again.
        self.port = open(path.as_str(), flags, Mode::empty()).ok();
        // What cannot be watched is not served.
        let _ = self.watch_port(epoll);
    }

    /// Opens the port if `change` may have brought it.
    pub(super) fn note_change(&mut self, epoll: &Epoll, has_devtmpfs: bool, change: &Change<'_>) {
        if change.may_be_port() {
            self.find_port(epoll, has_devtmpfs);
        }
    }

    /// Watches for somebody who comes.
    fn watch(&self, epoll: &Epoll) -> Result<(), Fault> {
        if let Some(listener) = &self.listener {
            epoll.add(listener, Token::Listener.encode(), Interest::IN)?;
        }
        self.watch_port(epoll)
    }

    fn watch_port(&self, epoll: &Epoll) -> Result<(), Fault> {
        let Some(port) = &self.port else {
            return Ok(());
        };
        // Once for each change: a port that the hypervisor's side has not opened is always hung up
        // (virtio_console.c, `port_fops_poll`).
        let interest = Interest::IN | Interest::ET;
        epoll.add(port, Token::ControlPort.encode(), interest)
    }

    /// When they are watched again.
    pub(super) const fn deadline(&self) -> Option<Moment> {
        self.rest_until
    }
}

impl Supervisor<'_, '_> {
    /// Opens what control needs. A machine without it runs as well.
    pub(super) fn open_control(&mut self) {
        if let Err(fault) = self.control.open(&self.epoll) {
            self.machine
                .journal
                .warn(Stage::Containers, format_args!("no control: {fault}"));
        }
        let has_devtmpfs = self.machine.devices.has_devtmpfs;
        self.control.find_port(&self.epoll, has_devtmpfs);
    }

    /// Somebody has come: has a run of `berth` serve them, which watches in PID 1's place.
    #[inline(never)]
    pub(super) fn serve_control(&mut self) {
        let Some(listener) = &self.control.listener else {
            return;
        };
        self.epoll.remove(listener);
        let port = self.control.port.as_ref();
        port.inspect(|port| self.epoll.remove(port));
        let program = self.machine.berth.as_ref().map(AsFd::as_fd);
        let task = Task::Control { listener, port };
        let started = self
            .workers
            .start(&self.epoll, program, Work::Control, task);
        if let Err(fault) = started {
            self.machine
                .journal
                .warn(Stage::Containers, format_args!("{fault}"));
            self.control.rest_until = Some(clock::now() + REST);
        }
    }

    /// The run has ended, `well` or not.
    pub(super) fn control_ended(&mut self, well: bool) {
        // One that fails at once would be started again and again.
        let rest = if well { Duration::ZERO } else { REST };
        self.control.rest_until = Some(clock::now() + rest);
    }

    /// Watches again, if it is time.
    pub(super) fn watch_control(&mut self) {
        let deadline = self.control.rest_until;
        if deadline.is_some_and(|deadline| clock::now() >= deadline) {
            self.control.rest_until = None;
            if let Err(fault) = self.control.watch(&self.epoll) {
                self.machine
                    .journal
                    .warn(Stage::Containers, format_args!("no control: {fault}"));
            }
        }
    }

    /// Reads requests, and does what they ask for.
    #[inline(never)]
    pub(super) fn read_requests(&mut self) {
        for _ in 0..REQUESTS_PER_TURN {
            let Some(requests) = &self.control.requests else {
                return;
            };
            let mut room = [0; REQUEST_MAX];
            let Ok((len, client, user)) = socket::next_datagram(requests, &mut room) else {
                return;
            };
            let request = room.get(..len).and_then(Request::parse);
            // The number is that of the machine's own root: PID 1 is in its user namespace.
            if let (Some(request), Some(_), Some(0)) = (request, &client, user) {
                let mut client = client;
                let fulfilled = self.fulfil(request, &mut client);
                // One that is answered later is kept elsewhere.
                let Some(client) = client else { continue };
                match fulfilled {
                    Ok(()) => reply(&client, &Reply::Done),
                    Err(error) => reply(&client, &Reply::Refused(error)),
                }
            }
        }
    }

    /// Does what a request asks for, or begins to.
    fn fulfil(&mut self, request: Request<'_>, client: &mut Option<OwnedFd>) -> Result<(), Error> {
        match request {
            Request::Freeze => self.freeze_by_request(client),
            Request::Thaw(thaw) => self.thaw_by_request(thaw, client),
            Request::List => {
                let Some(client) = client else { return Ok(()) };
                for index in self.jobs.indices() {
                    let id = self.jobs.id(index);
                    let pid = self.slots.first_process(index);
                    if let Some(row) = self.jobs.row(index, &id, pid) {
                        reply(client, &Reply::Row(row));
                    }
                }
                Ok(())
            }
            Request::Start(id) => self.start_by_request(id),
            Request::Stop(id) => self.stop_by_request(id, Next::Nothing),
            Request::Restart(id) => self.stop_by_request(id, Next::Start),
            Request::Kill(id, number) => {
                let index = self.job_named(id)?;
                match self.slots.signal(index, number.into()) {
                    true => Ok(()),
                    false => Err(wrong_status(Op::Signal, id, "container not running")),
                }
            }
            Request::End(end) => {
                if let Some(end) = policy::idle_end(end) {
                    shutdown::check(end)?;
                    self.end_requested(end, "control");
                }
                Ok(())
            }
        }
    }
}

/// The machine's first generation is its boot. It is there before a container that has the file
/// bound.
fn write_generation() {
    let mut id = [0; 64];
    let id = fs::read_attribute(format_args!("/proc/sys/kernel/random/boot_id"), &mut id);
    // Without it, a reader finds no file.
    let _ = id.map(|id| fs::create_file(GENERATION, id));
}

pub(super) fn reply(client: &OwnedFd, reply: &Reply<'_>) {
    let mut room = [0; REPLY_MAX];
    if let Some(packet) = reply.encode(&mut room) {
        // A client that does not read it loses it.
        let _ = send(client, packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}
