//! `pid1-control`: serves those who come to the machine's control, for PID 1: the socket and the
//! virtio port (`docs/control.md`).
//!
//! Each request is done by a run of `berth` that does what its words say, so there is one way to do
//! a thing. A client has one such run at a time. What the run prints is read only when the client
//! has taken what was read before, so a client that does not read holds up nobody else.
//!
//! This process ends when nobody is left, and PID 1 watches again.

mod client;
mod message;
mod run;

use core::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{SocketFlags, accept_with};

use super::{Call, OrReport, Reported, Subcommand};
use crate::error::{Code, Fault};
use crate::parse::arguments::Opt;
use crate::sys::clock::{self, Moment};
use crate::sys::descriptors::take_inherited;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::mapped::Mapped;
use crate::sys::process;
use crate::sys::signal::{self, Set, Signals};
use client::Client;

const LISTENER: Opt = Opt {
    long: "listener",
    short: None,
    value: Some("N"),
    about: "the descriptor of the socket",
};
const PORT: Opt = Opt {
    long: "port",
    short: None,
    value: Some("N"),
    about: "the descriptor of the virtio port",
};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "pid1-control",
    operands: "",
    count: (0, 0),
    raw_from: usize::MAX,
    options: &[&LISTENER, &PORT],
    about: "serve the machine's control for PID 1",
    run: serve,
};

/// How many clients there may be, the port's among them.
const CLIENTS_MAX: usize = 128;

/// The numbers of what is watched besides clients, which have those of their places.
const OF_LISTENER: u64 = 1000;
const OF_SIGNALS: u64 = 1001;

/// How long this process stays when nobody is there: who asks often does not start it each time.
const IDLE: Duration = Duration::from_secs(2);

fn serve(call: &Call<'_>) -> Result<u8, Reported> {
    let inherited = |option| {
        let number = call.given.value(option)?.parse().ok()?;
        take_inherited(number)
    };
    let Some(listener) = inherited(&LISTENER) else {
        return Err(call.usage("--listener is missing"));
    };
    let epoll = Epoll::new().or_report(call, Code::Control)?;
    let signals = Signals::open(Set::of(&[signal::CHLD])).or_report(call, Code::Control)?;
    let mut server = Server {
        call,
        epoll,
        signals,
        listener,
        clients: Mapped::new(),
    };
    server.watch().or_report(call, Code::Control)?;
    if let Some(port) = inherited(&PORT) {
        server.add(Client::port(port));
    }
    server.serve()
}

struct Server<'c, 'a> {
    call: &'c Call<'a>,
    epoll: Epoll,
    signals: Signals,
    listener: OwnedFd,
    /// Each has a place, which the next one gets when it has gone.
    clients: Mapped<Option<Client>, CLIENTS_MAX>,
}

impl Server<'_, '_> {
    fn watch(&self) -> Result<(), Fault> {
        self.epoll.add(&self.listener, OF_LISTENER, Interest::IN)?;
        self.epoll.add(&self.signals.0, OF_SIGNALS, Interest::IN)
    }

    #[inline(never)]
    fn serve(&mut self) -> Result<u8, Reported> {
        let mut idle_until: Option<Moment> = None;
        loop {
            idle_until = match self.is_idle() {
                true => Some(idle_until.unwrap_or_else(|| clock::now() + IDLE)),
                false => None,
            };
            let ready = self.epoll.wait(idle_until);
            let ready = ready.or_report(self.call, Code::Control)?;
            for (number, _) in &ready {
                match *number {
                    OF_LISTENER => self.accept(),
                    OF_SIGNALS => self.reap(),
                    place => self.pump(place as usize),
                }
            }
            if idle_until.is_some_and(|until| clock::now() >= until) && self.is_idle() {
                return Ok(0);
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.clients.iter().flatten().all(Client::is_idle)
    }

    /// Takes in who has come.
    fn accept(&mut self) {
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match accept_with(&self.listener, flags) {
                Ok(socket) => {
                    let user = socket_peercred(&socket).map(|user| user.uid.is_root());
                    if user == Ok(true) {
                        self.add(Client::socket(socket));
                    }
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => return,
            }
        }
    }

    /// Gives a client a place. Where there is none, the one that was silent longest loses its own.
    fn add(&mut self, client: Client) {
        let free = |place: &Option<Client>| place.is_none();
        let place = match self.clients.iter().position(free) {
            Some(place) => place,
            None if self.clients.push(None).is_ok() => self.clients.len() - 1,
            None => {
                let clients = self.clients.iter().enumerate();
                let silent = clients.filter_map(|(place, client)| {
                    let since = client.as_ref()?.silent_since()?;
                    Some((since, place))
                });
                match silent.min_by_key(|(since, _)| since.0) {
                    Some((_, place)) => place,
                    // All are busy: the new one is told by the end of its connection.
                    None => return,
                }
            }
        };
        if client.watch(&self.epoll, place as u64).is_ok()
            && let Some(free) = self.clients.get_mut(place)
        {
            *free = Some(client);
        }
        self.pump(place);
    }

    /// Does what can be done for the client at `place`.
    fn pump(&mut self, place: usize) {
        let Some(client) = self.clients.get_mut(place) else {
            return;
        };
        let is_there = client
            .as_mut()
            .is_some_and(|client| client.pump(self.call, &self.epoll, place as u64));
        if !is_there {
            *client = None;
        }
    }

    /// Collects runs that have ended.
    fn reap(&mut self) {
        while self.signals.next().is_some() {}
        while let Some(pid) = process::ended() {
            let status = process::reap(pid);
            let is_of = |client: &Option<Client>| {
                let client = client.as_ref();
                client.is_some_and(|client| client.runs(pid))
            };
            if let Some(place) = self.clients.iter().position(is_of)
                && let Some(status) = status
            {
                if let Some(Some(client)) = self.clients.get_mut(place) {
                    client.run_ended(status);
                }
                self.pump(place);
            }
        }
    }
}

/// The program that this process is, for its runs.
fn own_program() -> Result<OwnedFd, Fault> {
    crate::sys::fs::open_file(rustix::fs::CWD, "/proc/self/exe")
}
