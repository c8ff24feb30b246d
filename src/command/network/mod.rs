//! The machine's network, for PID 1: what `ip=` and `nameserver=` ask for, for as long as the
//! machine runs.
//!
//! This is one run of `berth`, which PID 1 starts when it begins to supervise, and again if it
//! ends. It reads what anybody on a link may send, and nothing waits for it: containers start
//! meanwhile.
//!
//! The kernel tells of devices, and of addresses that routers give, over rtnetlink(7). So a device
//! that comes late is set up when it comes. Between two messages, and while a lease lasts, this
//! process sleeps.
//!
//! What it has set up stays when it dies. Addresses of DHCP are the kernel's for the time of the
//! lease; the next run asks for the same ones.

mod client;
mod exchange;
mod hostname;
mod interface;
mod resolver;
mod routers;
mod words;

use core::fmt::{self, Write as _};
use core::net::IpAddr;
use core::time::Duration;

use rustix::io::Errno;

use self::client::{Effect, Input, Say, State};
use self::exchange::PACKET_MAX;
use self::interface::{Interface, is_gone};
use self::resolver::Resolver;
use self::words::{Place, Words};
use super::{Call, OrReport, Reported, Subcommand};
use crate::container::RESOLV_CONF;
use crate::error::{Code, During, Fault, Op};
use crate::parse::answer::{NetworkChange, NetworkState};
use crate::parse::arp;
use crate::parse::dhcp::{Lease, Reply, payload_of};
use crate::parse::ip_word::{IpWord, Method, nameserver};
use crate::parse::netlink::{Address, Link};
use crate::parse::router::RouterOption;
use crate::sys::buffer::Buffer;
use crate::sys::clock::{self, Moment};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::mapped::Mapped;
use crate::sys::random;
use crate::sys::rtnetlink::{Change, Changes, Route, RouteEntry};
use crate::text::Text;

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "pid1-network",
    operands: "WORD...",
    count: (0, usize::MAX),
    raw_from: usize::MAX,
    options: &[],
    about: "set up the machine's network for PID 1",
    run,
};

/// The most devices that are set up.
const INTERFACES_MAX: usize = 32;

/// Messages of one device that are read at once. Others get their turn in between.
const PACKETS_PER_TURN: usize = 32;

/// Changes that are read at once.
const CHANGES_PER_TURN: usize = 32;

/// How long a device that is asked for may be away before that is said.
const ABSENT: Duration = Duration::from_secs(10);

/// How long a link may be down, and routers silent, before that is said: as long as a client of
/// DHCP waits for servers before it complains.
const SILENT: Duration = Duration::from_secs(60);

/// What a device is called of which no name is known.
const ANY: &str = "a network card";

/// What is watched: the kernel's changes. A device's packets have its number, which is not 0, and
/// those of ARP have this bit besides.
const CHANGES: u64 = 0;
const CLAIMS: u64 = 1 << 32;

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    let words = read_words(call);
    name_machine(call, &words);
    let mut network = Network {
        call,
        words,
        route: Route::open().or_report(call, Code::Network)?,
        epoll: Epoll::new().or_report(call, Code::Network)?,
        interfaces: Mapped::new(),
        resolver: Resolver::default(),
        is_ready: false,
        absent_from: Some(clock::now() + ABSENT),
        silent_from: Some(clock::now() + SILENT),
    };
    network.write_resolver(true);
    if network.words.is_empty() {
        return Ok(0);
    }
    network.serve().map(|()| 0)
}

/// What the operands say. Of a word that cannot be honoured, PID 1 is told.
fn read_words<'a>(call: &Call<'a>) -> Words<'a> {
    let mut words = Words::default();
    for operand in &call.given.operands {
        let refuse = |why: &dyn fmt::Display| {
            call.found(Code::NetworkWord, Op::Parse, operand, why);
        };
        let is_taken = match operand.split_once('=').unwrap_or((operand, "")) {
            ("ip", value) => match IpWord::parse(value) {
                Ok(word) => words.push(word),
                Err(error) => {
                    refuse(&error);
                    true
                }
            },
            ("ifname", _) => {
                refuse(
                    &"devices keep the names that the kernel gives them, which are those for ip=",
                );
                true
            }
            (_, value) => match nameserver(value) {
                Ok(server) => words.servers.push(server).is_ok(),
                Err(error) => {
                    refuse(&error);
                    true
                }
            },
        };
        if !is_taken {
            refuse(&"there are too many of these");
        }
    }
    words
}

fn name_machine(call: &Call<'_>, words: &Words<'_>) {
    let mut names = words.all().filter_map(|(_, word)| word.hostname);
    let set = match names.next() {
        Some((name, "")) => hostname::set(name),
        Some((name, domain)) => hostname::set(name).and_then(|()| hostname::set_domain(domain)),
        None if hostname::is_unset() => hostname::set_from_root(),
        None => Ok(()),
    };
    if let Err(fault) = set {
        call.told(&fault, Code::Network);
    }
}

struct Network<'c, 'a> {
    call: &'c Call<'a>,
    words: Words<'a>,
    route: Route,
    epoll: Epoll,
    interfaces: Mapped<Interface<'a>, INTERFACES_MAX>,
    /// What is in the file.
    resolver: Resolver,
    /// PID 1 was told that all is there.
    is_ready: bool,
    /// When devices that are not there are complained about.
    absent_from: Option<Moment>,
    /// When links that are down, and routers that say nothing, are complained about.
    silent_from: Option<Moment>,
}

impl<'a> Network<'_, 'a> {
    fn serve(&mut self) -> Result<(), Reported> {
        let call = self.call;
        let changes = Changes::open().or_report(call, Code::Network)?;
        let watched = self.epoll.add(&changes, CHANGES, Interest::IN);
        watched.or_report(call, Code::Network)?;
        self.look_at_all()?;
        loop {
            let clients = self.interfaces.iter();
            let clients = clients.filter_map(|it| it.exchange.as_ref()?.client.due);
            let routers = self.interfaces.iter();
            let routers = routers.filter_map(|it| it.routers.deadline());
            let patience = [self.absent_from, self.silent_from];
            let patience = patience.into_iter().flatten();
            let deadline = clients.chain(routers).chain(patience).min();
            let ready = self.epoll.wait(deadline).or_report(call, Code::Network)?;
            for (number, _) in &ready {
                match *number {
                    CHANGES => self.hear_changes(&changes)?,
                    index if index & CLAIMS != 0 => self.read_claims(index as u32),
                    index => self.read_packets(index as u32),
                }
            }
            self.serve_deadlines();
        }
    }

    /// Looks at all devices and addresses that there are.
    fn look_at_all(&mut self) -> Result<(), Reported> {
        let call = self.call;
        let told = Route::open()
            .or_report(call, Code::Network)?
            .tell_all(&mut |change| {
                self.hear(&change);
            });
        let told = told.during(Op::List, "network devices");
        told.or_report(call, Code::Network)
    }

    fn hear_changes(&mut self, changes: &Changes) -> Result<(), Reported> {
        for _ in 0..CHANGES_PER_TURN {
            let mut is_lost = false;
            let next = changes.next(&mut |change| is_lost |= self.hear(&change));
            let next = next.during(Op::Read, "changes of network devices");
            if !next.or_report(self.call, Code::Network)? {
                break;
            }
            if is_lost {
                self.look_at_all()?;
            }
        }
        Ok(())
    }

    /// Does what follows from a change; whether some were lost.
    fn hear(&mut self, change: &Change<'_>) -> bool {
        match change {
            Change::Link(link) => self.hear_of_link(link),
            Change::LinkGone(index) => self.lose_link(*index),
            Change::Address(address) => self.hear_of_address(address),
            Change::Router(option) => self.hear_router(option),
            Change::Overflow => return true,
        }
        false
    }

    fn at(&self, index: u32) -> Option<usize> {
        self.interfaces.iter().position(|it| it.index == index)
    }

    fn hear_of_link(&mut self, link: &Link<'_>) {
        let place = match self.at(link.index) {
            Some(place) => place,
            None => match self.add(link) {
                Some(place) => place,
                None => return,
            },
        };
        let Some(interface) = self.interfaces.get_mut(place) else {
            return;
        };
        interface.update(link);
        if interface.is_running == link.is_running {
            return;
        }
        interface.is_running = link.is_running;
        let (state, input) = match link.is_running {
            true => (NetworkState::Up, Input::Up),
            false => (NetworkState::Down, Input::Down),
        };
        self.tell(place, state, "", "", "", 0);
        self.advance(place, input, None);
    }

    /// Sets up a device that the words are about; its place.
    #[inline(never)]
    fn add(&mut self, link: &Link<'_>) -> Option<usize> {
        let interface = Interface::new(link, &self.words)?;
        let places = interface.words;
        if interface.exchange.is_some() && interface.hardware.is_none() {
            let why = "it is not on Ethernet, and DHCP is for that";
            self.fail(Some(link.name), &why);
        }
        if self.interfaces.push(interface).is_err() {
            self.complain(link.name, &"there are too many devices");
            return None;
        }
        self.words.take(places);
        let up = self.route.bring_up(link.index);
        self.check(link.name, up);
        let place = self.interfaces.len().checked_sub(1)?;
        self.set_mtu(place, None);
        self.set_static(place, places);
        Some(place)
    }

    /// Gives a device the addresses that the words have for it.
    fn set_static(&mut self, place: usize, places: Place) {
        let Some(interface) = self.interfaces.get(place) else {
            return;
        };
        let (index, name) = (interface.index, interface.name.clone());
        let mut done = Place::default();
        for (number, word) in self.words.iter(places) {
            if word.method != Method::Static {
                continue;
            }
            let Some((address, prefix)) = word.address else {
                done.set(number);
                continue;
            };
            let added = self.route.add_address(index, (address, prefix), None);
            let to = match address {
                IpAddr::V4(_) => IpAddr::from([0; 4]),
                IpAddr::V6(_) => IpAddr::from([0_u16; 8]),
            };
            let added = added.and_then(|()| match word.gateway {
                None => Ok(()),
                gateway => self.route.add_route(&RouteEntry {
                    index,
                    to,
                    prefix: 0,
                    gateway,
                    source: None,
                    metric: 0,
                    is_from_dhcp: false,
                }),
            });
            if self.check(&name, added) {
                done.set(number);
                let address = Text::<64>::new(format_args!("{address}/{prefix}"));
                let gateway = word.gateway.map_or(Text::EMPTY, Text::<64>::new);
                let (address, gateway) = (address.as_str(), gateway.as_str());
                self.tell(place, NetworkState::Configured, address, gateway, "", 0);
            } else {
                self.tell(place, NetworkState::Failed, "", "", "", 0);
            }
        }
        self.set_done(done);
    }

    /// A device is gone, and what it had with it.
    fn lose_link(&mut self, index: u32) {
        let Some(place) = self.at(index) else {
            return;
        };
        self.tell(place, NetworkState::Lost, "", "", "", 0);
        if let Some(interface) = self.interfaces.get(place) {
            let words = interface.words;
            self.words.give_back(words);
        }
        self.interfaces.remove(place);
        self.write_resolver(false);
    }

    fn hear_of_address(&mut self, told: &Address) {
        let Some(interface) = self
            .at(told.index)
            .and_then(|place| self.interfaces.get_mut(place))
        else {
            return;
        };
        match told.address {
            IpAddr::V4(address) => {
                if let Some(exchange) = &mut interface.exchange
                    && told.is_dynamic
                    && exchange.lease.is_none()
                {
                    interface.former = Some((address, told.prefix));
                    exchange.wish = Some(address);
                }
            }
            IpAddr::V6(_) if told.is_global => {
                let words = interface.words;
                let mut done = Place::default();
                for (number, word) in self.words.iter(words) {
                    if word.method == Method::Router {
                        done.set(number);
                    }
                }
                self.set_done(done);
            }
            IpAddr::V6(_) => {}
        }
    }

    fn hear_router(&mut self, option: &RouterOption<'_>) {
        let interface = self
            .at(option.index)
            .and_then(|place| self.interfaces.get_mut(place));
        if let Some(interface) = interface {
            interface.routers.hear(option, clock::now());
            self.write_resolver(false);
        }
    }

    fn serve_deadlines(&mut self) {
        let now = clock::now();
        for place in 0..self.interfaces.len() {
            let exchange = self
                .interfaces
                .get(place)
                .and_then(|it| it.exchange.as_ref());
            let due = exchange.and_then(|exchange| exchange.client.due);
            if due.is_some_and(|due| now >= due) {
                self.advance(place, Input::Due, None);
            }
        }
        let mut is_forgotten = false;
        for interface in self.interfaces.iter_mut() {
            is_forgotten |= interface.routers.forget(now);
        }
        if is_forgotten {
            self.write_resolver(false);
        }
        if self.absent_from.is_some_and(|from| now >= from) {
            self.absent_from = None;
            self.miss_devices();
        }
        if self.silent_from.is_some_and(|from| now >= from) {
            self.silent_from = None;
            self.miss_answers();
        }
    }

    /// Complains about devices that are not there.
    #[inline(never)]
    fn miss_devices(&self) {
        for (place, word) in self.words.all() {
            let has_it = |it: &Interface<'_>| match word.device {
                Some(name) => it.name == name,
                None => it.words.has(place),
            };
            if self.interfaces.iter().any(has_it) {
                continue;
            }
            let why = "there is no such device yet; it is set up when it comes";
            self.fail(word.device, &why);
        }
    }

    /// Complains about devices that have nothing of what they are to get from others. A client of
    /// DHCP does so itself, where there is a link.
    #[inline(never)]
    fn miss_answers(&self) {
        for interface in self.interfaces.iter() {
            let undone = || self.words.undone(interface.words);
            let why = if undone().next().is_some() && !interface.is_running {
                "nobody is at the other end of its link"
            } else if undone().any(|(_, word)| word.method == Method::Router) {
                "no router has given it an address of IPv6"
            } else {
                continue;
            };
            self.fail(Some(&interface.name), &why);
        }
    }

    /// Reads what has come for the client of a device.
    #[inline(never)]
    fn read_packets(&mut self, index: u32) {
        let mut buffer = Buffer::<PACKET_MAX>::new();
        let Ok(room) = buffer.bytes_mut() else {
            return;
        };
        for _ in 0..PACKETS_PER_TURN {
            let Some(place) = self.at(index) else {
                return;
            };
            let interface = self.interfaces.get(place);
            let Some((exchange, hardware)) =
                interface.and_then(|interface| interface.exchange.as_ref().zip(interface.hardware))
            else {
                return;
            };
            let Some(packet) = exchange.packets.as_ref().and_then(|it| it.next(room)) else {
                return;
            };
            let reply = payload_of(packet).and_then(|(_, message)| Reply::parse(message));
            let meaning = reply.and_then(|reply| exchange.meaning(&reply, hardware));
            if let Some((input, lease)) = meaning {
                self.advance(place, input, lease);
            }
        }
    }

    /// Reads the packets of ARP on the link of a device.
    #[inline(never)]
    fn read_claims(&mut self, index: u32) {
        let mut room = [0; 2 * arp::LEN];
        for _ in 0..PACKETS_PER_TURN {
            let place = self.at(index);
            let interface = place.and_then(|place| self.interfaces.get_mut(place));
            let (Some(place), Some((link, exchange))) =
                (place, interface.and_then(Interface::talk))
            else {
                return;
            };
            let hardware = link.hardware;
            let Some(packet) = exchange.claims.as_ref().and_then(|it| it.next(&mut room)) else {
                return;
            };
            if exchange.is_taken(packet, hardware) {
                self.advance(place, Input::Taken, None);
            }
        }
    }

    /// Has the client of a device, if it has one, take its next step.
    #[inline(never)]
    fn advance(&mut self, place: usize, input: Input, given: Option<Lease>) {
        let interface = self.interfaces.get_mut(place);
        let Some((_, exchange)) = interface.and_then(Interface::talk) else {
            return;
        };
        let next = exchange.client.next(input, clock::now(), random::number());
        let Some((client, say, effect)) = next else {
            return;
        };
        exchange.client = client;
        match effect {
            Effect::Nothing => {}
            Effect::Take => {
                // A lease that was checked first was given some time ago.
                let given = given.clone().or_else(|| exchange.offer.clone());
                self.configure(place, given);
            }
            Effect::Lose => self.deconfigure(place),
            Effect::Complain => {
                let name = self.interfaces.get(place).map(|it| it.name.clone());
                let name = name.unwrap_or_default();
                let why = "no DHCP server answers; it is tried again and again";
                self.fail(Some(&name), &why);
            }
            Effect::Refuse => {
                let address = exchange.offer.as_ref().map(|offer| offer.address);
                exchange.wish = exchange.wish.filter(|wish| Some(*wish) != address);
                let address = address.map_or(Text::EMPTY, Text::<16>::new);
                let name = self.interfaces.get(place).map(|it| it.name.clone());
                let name = name.unwrap_or_default();
                let why = format_args!(
                    "another machine on the link has {address}, which a DHCP server gives; it is asked again"
                );
                self.fail(Some(&name), &why);
            }
        }
        let name = host_name(&self.words);
        let interface = self.interfaces.get_mut(place);
        let Some((link, exchange)) = interface.and_then(Interface::talk) else {
            return;
        };
        let is_kept = match input {
            Input::Offer => true,
            Input::Ack(_) => matches!(exchange.client.state, State::Checking(_)),
            _ => false,
        };
        if is_kept {
            exchange.offer = given;
        }
        let say = match say {
            Some(Say::Decline) => {
                // The socket is closed next. If this is lost, the server gives the address to
                // another client, which checks it as well.
                let _ = exchange.say(Say::Decline, link, name);
                None
            }
            say => say,
        };
        let opened = exchange.set_sockets(link).and_then(|are_new| {
            let index = u64::from(link.index);
            let sockets = [
                (&exchange.packets, index),
                (&exchange.claims, index | CLAIMS),
            ];
            for ((socket, number), is_new) in sockets.into_iter().zip(are_new) {
                if let Some(socket) = socket.as_ref().filter(|_| is_new) {
                    self.epoll.add(socket, number, Interest::IN)?;
                }
            }
            Ok(())
        });
        if let Err(fault) = opened {
            self.call.told(&fault, Code::Network);
            return;
        }
        if let Some(say) = say {
            // What was not sent is sent again, as what nobody has heard.
            let _ = exchange.say(say, link, name);
        }
    }

    /// Gives a device what a server has given it.
    #[inline(never)]
    fn configure(&mut self, place: usize, given: Option<Lease>) {
        let (Some(lease), Some(interface)) = (given, self.interfaces.get_mut(place)) else {
            return;
        };
        let (index, name) = (interface.index, interface.name.clone());
        let places = interface.words;
        let gateway = self.words.iter(places).find_map(|(_, word)| word.gateway);
        let routes = interface.routes_of(&lease, gateway);
        let former = interface.former.take();
        let Some(exchange) = interface.exchange.as_mut() else {
            return;
        };
        let before = exchange.lease.replace(lease.clone());
        exchange.wish = Some(lease.address);
        let is_news = before.as_ref() != Some(&lease);
        // Others of it would not know that they are to go.
        let others = before.as_ref().map(|it| (it.address, it.prefix));
        for (address, prefix) in others.into_iter().chain(former) {
            if (address, prefix) != (lease.address, lease.prefix) {
                let _ = self
                    .route
                    .remove_address(index, IpAddr::V4(address), prefix);
            }
        }
        self.set_mtu(place, lease.mtu);
        let address = IpAddr::V4(lease.address);
        let mut added = self
            .route
            .add_address(index, (address, lease.prefix), lease.seconds);
        if let Some(before) = &before {
            let old = self.interfaces.get(place);
            let old = old
                .map(|it| it.routes_of(before, gateway))
                .unwrap_or_default();
            for route in old.iter().filter(|route| !routes.contains(route)) {
                let _ = self.route.remove_route(route);
            }
        }
        for route in &routes {
            added = added.and_then(|()| self.route.add_route(route));
        }
        if !is_news {
            return;
        }
        self.check(&name, added);
        if lease.lacks_routes {
            self.complain(&name, &"some routes of the DHCP server's are left out");
        }
        if let Some(name) = lease.hostname.as_deref()
            && hostname::is_unset()
            && let Err(fault) = hostname::set(name)
        {
            self.call.told(&fault, Code::Network);
        }
        self.write_resolver(false);
        let router = routes.iter().find(|route| route.prefix == 0);
        let router = router.and_then(|route| route.gateway);
        let address = Text::<64>::new(format_args!("{address}/{}", lease.prefix));
        let router = router.map_or(Text::EMPTY, Text::<64>::new);
        let mut servers = heapless::String::<128>::new();
        for server in &lease.dns {
            let separator = if servers.is_empty() { "" } else { " " };
            // There is room for all that are taken.
            let _ = write!(servers, "{separator}{server}");
        }
        let (address, router) = (address.as_str(), router.as_str());
        let seconds = lease.seconds.unwrap_or(0);
        self.tell(
            place,
            NetworkState::Configured,
            address,
            router,
            &servers,
            seconds,
        );
        let mut done = Place::default();
        for (number, word) in self.words.iter(places) {
            if matches!(word.method, Method::Dhcp { .. }) {
                done.set(number);
            }
        }
        self.set_done(done);
    }

    /// Takes from a device what it had from a server.
    fn deconfigure(&mut self, place: usize) {
        let Some(interface) = self.interfaces.get_mut(place) else {
            return;
        };
        let index = interface.index;
        let Some(lease) = interface.exchange.as_mut().and_then(|it| it.lease.take()) else {
            return;
        };
        let address = IpAddr::V4(lease.address);
        // Its routes go with it. If the time was up, the kernel has removed it already.
        let _ = self.route.remove_address(index, address, lease.prefix);
        self.write_resolver(false);
        let address = Text::<64>::new(format_args!("{address}/{}", lease.prefix));
        self.tell(place, NetworkState::Lost, address.as_str(), "", "", 0);
    }

    /// Sets the largest packet, of the words or else of a server.
    fn set_mtu(&mut self, place: usize, said: Option<u16>) {
        let Some(interface) = self.interfaces.get_mut(place) else {
            return;
        };
        let words = self.words.iter(interface.words);
        let mtu = words.filter_map(|(_, word)| word.mtu).next();
        let mtu = mtu.or(said.map(u32::from));
        let Some(mtu) = mtu.filter(|_| mtu != interface.mtu) else {
            return;
        };
        interface.mtu = Some(mtu);
        let (index, name) = (interface.index, interface.name.clone());
        let set = self.route.set_mtu(index, mtu);
        self.check(&name, set);
    }

    /// Writes where names are looked up, if that has changed. The first time, what an earlier run
    /// has written stays: it is asked for again.
    fn write_resolver(&mut self, is_first: bool) {
        let mut resolver = Resolver::default();
        for server in &self.words.servers {
            resolver.add_server(*server, "");
        }
        for server in self.words.all().flat_map(|(_, word)| word.dns).flatten() {
            resolver.add_server(server, "");
        }
        let exchanges = self.interfaces.iter().filter_map(|it| it.exchange.as_ref());
        for lease in exchanges.filter_map(|exchange| exchange.lease.as_ref()) {
            for server in &lease.dns {
                resolver.add_server(IpAddr::V4(*server), "");
            }
            resolver.add_domains(&lease.domains);
        }
        for interface in self.interfaces.iter() {
            for server in interface.routers.servers() {
                resolver.add_server(IpAddr::V6(server), &interface.name);
            }
            let domains = interface.routers.domains();
            domains.inspect(|domains| resolver.add_domains(domains));
        }
        let has_content = || rustix::fs::stat(RESOLV_CONF).is_ok_and(|stat| stat.st_size > 0);
        if resolver == self.resolver || (is_first && has_content()) {
            return;
        }
        if let Err(fault) = resolver.write() {
            self.call.told(&fault, Code::Network);
        }
        self.resolver = resolver;
    }

    fn set_done(&mut self, places: Place) {
        for place in 0..words::WORDS_MAX {
            if places.has(place) {
                self.words.set_done(place);
            }
        }
        if !self.is_ready && self.words.are_done() {
            self.is_ready = true;
            (self.absent_from, self.silent_from) = (None, None);
            self.report(&NetworkChange {
                state: NetworkState::Ready,
                device: "",
                address: "",
                gateway: "",
                dns: "",
                lease: 0,
            });
        }
    }

    /// Tells PID 1 what has become of a device.
    fn tell(
        &self,
        place: usize,
        state: NetworkState,
        address: &str,
        gateway: &str,
        dns: &str,
        lease: u32,
    ) {
        if let Some(interface) = self.interfaces.get(place) {
            self.report(&NetworkChange {
                state,
                device: &interface.name,
                address,
                gateway,
                dns,
                lease,
            });
        }
    }

    fn report(&self, change: &NetworkChange<'_>) {
        if let Some(supervisor) = self.call.journal.supervisor() {
            supervisor.tell_network(change);
        }
    }

    /// Tells PID 1 why a device, or any, does not have what is asked for so far.
    fn fail(&self, device: Option<&str>, why: &dyn fmt::Display) {
        self.complain(device.unwrap_or(ANY), why);
        self.report(&NetworkChange {
            state: NetworkState::Failed,
            device: device.unwrap_or_default(),
            address: "",
            gateway: "",
            dns: "",
            lease: 0,
        });
    }

    /// Tells PID 1 what is wrong with a device.
    fn complain(&self, device: &str, why: &dyn fmt::Display) {
        self.call.found(Code::Network, Op::Configure, &device, why);
    }

    /// Whether it went well; if not, PID 1 is told.
    fn check(&self, device: &str, result: Result<(), Errno>) -> bool {
        // A device that is going is set up when it comes back.
        if let Err(errno) = result
            && !is_gone(errno)
        {
            let fault = Fault::new(Op::Configure, &device, errno);
            self.call.told(&fault, Code::Network);
        }
        result.is_ok()
    }
}

/// The name that servers are told.
fn host_name<'w>(words: &Words<'w>) -> Option<&'w str> {
    let mut names = words.all().filter_map(|(_, word)| word.hostname);
    names.next().map(|(name, _)| name)
}
