//! A client: what it sends, what it is sent, and the run that works for it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::{Errno, read};
use rustix::net::RecvFlags;
use rustix::process::Pid;

use super::super::Call;
use super::message::Outgoing;
use super::run::{Given, Running, Said, decoded, misunderstood};
use crate::error::Fault;
use crate::parse::base64::Base64;
use crate::parse::control::{MESSAGE_MAX, Message, What};
use crate::sys::buffer::Buffer;
use crate::sys::clock::{self, Moment};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::process::Status;
use crate::sys::socket;
use crate::text::{Bytes, Json, Text};

/// A client.
pub(super) struct Client {
    link: OwnedFd,
    /// It is the hypervisor's side of the port: a message is a line there.
    is_port: bool,
    incoming: Buffer<{ MESSAGE_MAX + 1 }>,
    /// How many bytes have come of a message.
    len: usize,
    /// How many of them are the message that is next, once all of it is there.
    whole: Option<usize>,
    /// What has come is the rest of a line that is too long.
    is_skipping: bool,
    /// How many bytes of the input in that message were written.
    written: usize,
    /// The descriptors that came with it.
    given: Given,
    outgoing: Outgoing,
    run: Option<Running>,
    silent_since: Moment,
}

/// What became of something that was tried.
#[derive(PartialEq, Eq)]
enum Step {
    /// It was done, and there may be more to do.
    Done,
    /// There is nothing to do now.
    Nothing,
    /// The client has gone.
    Gone,
}

impl Client {
    fn new(link: OwnedFd, is_port: bool) -> Self {
        Self {
            link,
            is_port,
            incoming: Buffer::new(),
            len: 0,
            whole: None,
            is_skipping: false,
            written: 0,
            given: Given::new(),
            outgoing: Outgoing::default(),
            run: None,
            silent_since: clock::now(),
        }
    }

    /// The client behind the virtio port.
    pub(super) fn port(port: OwnedFd) -> Self {
        Self::new(port, true)
    }

    /// The client behind a connection to the socket.
    pub(super) fn socket(socket: OwnedFd) -> Self {
        Self::new(socket, false)
    }

    pub(super) fn watch(&self, epoll: &Epoll, place: u64) -> Result<(), Fault> {
        let interest = Interest::IN | Interest::OUT | Interest::ET;
        epoll.add(&self.link, place, interest)
    }

    /// Since when nothing was done for it; `None` while something is.
    pub(super) fn silent_since(&self) -> Option<Moment> {
        (self.run.is_none() && !self.is_port).then_some(self.silent_since)
    }

    /// Whether nobody is there who wants anything: a connection is somebody.
    pub(super) const fn is_idle(&self) -> bool {
        self.is_port && self.run.is_none() && self.len == 0 && self.outgoing.is_empty()
    }

    pub(super) fn runs(&self, pid: Pid) -> bool {
        self.run.as_ref().is_some_and(|run| run.is_process(pid))
    }

    pub(super) fn run_ended(&mut self, status: Status) {
        if let Some(run) = &mut self.run {
            run.set_ended(status);
        }
    }

    /// Does all that can be done now; whether it is still there.
    #[inline(never)]
    pub(super) fn pump(&mut self, call: &Call<'_>, epoll: &Epoll, place: u64) -> bool {
        loop {
            if self.has_hung_up() {
                if self.is_port {
                    self.forget();
                    return true;
                }
                return false;
            }
            let mut has_done = false;
            let steps = [
                self.send(),
                self.tell(),
                self.act(call, epoll, place),
                self.receive(),
            ];
            for step in steps {
                match step {
                    Step::Done => has_done = true,
                    Step::Nothing => {}
                    Step::Gone if self.is_port => {
                        self.forget();
                        return true;
                    }
                    Step::Gone => return false,
                }
            }
            if !has_done {
                return true;
            }
            self.silent_since = clock::now();
        }
    }

    /// The hypervisor's side has closed the port. The next one begins anew.
    fn forget(&mut self) {
        self.len = 0;
        self.begin_anew();
        // Nobody takes it.
        self.outgoing.clear();
    }

    /// Forgets what was asked for, but not what has come after it.
    fn begin_anew(&mut self) {
        (self.run, self.whole) = (None, None);
        (self.written, self.is_skipping) = (0, false);
        self.outgoing.end_line();
    }

    /// Whether the client has gone while a message of it waits, and no other is read.
    fn has_hung_up(&self) -> bool {
        let mut link = [PollFd::new(&self.link, PollFlags::empty())];
        let polled = poll(&mut link, Some(&Timespec::default()));
        let [link] = link;
        self.whole.is_some() && polled == Ok(1) && link.revents().contains(PollFlags::HUP)
    }

    fn send(&mut self) -> Step {
        if self.outgoing.is_empty() {
            return Step::Nothing;
        }
        match self.outgoing.send(&self.link, self.is_port) {
            Err(_) => Step::Gone,
            Ok(()) if self.outgoing.is_empty() => Step::Done,
            Ok(()) => Step::Nothing,
        }
    }

    /// Takes what the run has to say, once the client has taken what was said before.
    fn tell(&mut self) -> Step {
        let Some(run) = &mut self.run else {
            return Step::Nothing;
        };
        if !self.outgoing.is_empty() {
            return Step::Nothing;
        }
        let id = run.id;
        let mut room = [0; 4096];
        let out = &mut self.outgoing;
        let is_over = match run.next(&mut room) {
            None => return Step::Nothing,
            Some(Said::Line { bytes, is_text }) => {
                match is_text {
                    true => {
                        let text = Text::<8192>::new(Bytes(bytes));
                        let text = Json(text.as_str());
                        out.put(id, "more", format_args!("{{\"text\":{text}}}"));
                    }
                    // It is berth's own.
                    false => out.put(id, "more", format_args!("{}", Bytes(bytes))),
                }
                false
            }
            Some(Said::Bytes { name, bytes }) => {
                let bytes = Base64(bytes);
                out.put(id, "more", format_args!("{{\"{name}\":\"{bytes}\"}}"));
                false
            }
            Some(Said::Done(None)) => {
                out.put(id, "ok", format_args!("{{}}"));
                true
            }
            Some(Said::Done(Some(status))) => {
                out.put(id, "ok", format_args!("{{\"status\":{status}}}"));
                true
            }
            Some(Said::Failed(failure, status)) => {
                match status.zip(failure.strip_suffix('}')) {
                    Some((status, rest)) => {
                        out.put(id, "error", format_args!("{rest},\"status\":{status}}}"));
                    }
                    None => out.refuse(id, failure),
                }
                true
            }
        };
        if is_over {
            self.run = None;
        }
        Step::Done
    }

    /// Does what the next message asks for.
    fn act(&mut self, call: &Call<'_>, epoll: &Epoll, place: u64) -> Step {
        let Some(len) = self.whole else {
            return Step::Nothing;
        };
        let bytes = self.incoming.bytes().get(..len).unwrap_or_default();
        let message = Message::parse(bytes);
        let run = self.run.as_mut();
        let of = |id: u64| move |run: &&mut Running| run.id == id;
        match message {
            Err((id, why)) => {
                if self.run.is_some() || !self.outgoing.is_empty() {
                    return Step::Nothing;
                }
                self.outgoing.refuse(id, &misunderstood(why));
            }
            Ok(Message {
                what: What::Cancel(id),
                ..
            }) => {
                if let Some(run) = run.filter(of(id)) {
                    run.cancel();
                }
            }
            Ok(Message {
                what: What::Resize(id, size),
                ..
            }) => {
                if let Some(run) = run.filter(of(id)) {
                    run.resize(size);
                }
            }
            Ok(Message {
                id: own,
                what: What::Input(id, data),
                ..
            }) => {
                // The answer is the word to send more.
                if !self.outgoing.is_empty() {
                    return Step::Nothing;
                }
                match (run.filter(of(id)), data) {
                    (Some(run), Some(data)) => {
                        let mut room = [0; MESSAGE_MAX];
                        let bytes = data.plain().and_then(|text| decoded(text, &mut room));
                        let rest = bytes.and_then(|bytes| bytes.get(self.written..));
                        let rest = rest.unwrap_or_default();
                        let len = run.write(rest);
                        self.written += len;
                        if len < rest.len() {
                            return if len > 0 { Step::Done } else { Step::Nothing };
                        }
                    }
                    (Some(run), None) => run.end_input(),
                    // It may have ended meanwhile.
                    (None, _) => {}
                }
                self.outgoing.put(own, "ok", format_args!("{{}}"));
            }
            Ok(
                message @ Message {
                    what: What::Run(wanted),
                    ..
                },
            ) => {
                // One after the other.
                if self.run.is_some() || !self.outgoing.is_empty() {
                    return Step::Nothing;
                }
                let given = core::mem::take(&mut self.given);
                self.run = Running::start(call, &message, &wanted, given, &mut self.outgoing);
                if let Some(run) = &self.run {
                    // What cannot be watched is looked at when it has ended.
                    let _ = run.watch(epoll, place);
                }
            }
        }
        self.take()
    }

    /// The next message is dealt with.
    fn take(&mut self) -> Step {
        let used = self.whole.take().unwrap_or(0);
        // On the port its end of line, too.
        let used = (used + usize::from(self.is_port)).min(self.len);
        if let Ok(bytes) = self.incoming.bytes_mut() {
            bytes.copy_within(used..self.len, 0);
        }
        self.len -= used;
        self.written = 0;
        self.given.clear();
        Step::Done
    }

    /// Takes the next message in, when there is none.
    fn receive(&mut self) -> Step {
        match self.is_port {
            true => self.receive_line(),
            false if self.whole.is_none() => self.receive_packet(),
            false => Step::Nothing,
        }
    }

    fn receive_packet(&mut self) -> Step {
        let Ok(room) = self.incoming.bytes_mut() else {
            return Step::Gone;
        };
        match socket::packet_with(&self.link, room, RecvFlags::DONTWAIT, &mut self.given) {
            Ok(0) => Step::Gone,
            Ok(len) => {
                (self.len, self.whole) = (len, Some(len));
                Step::Done
            }
            // All of the room: that is what is too long.
            Err(Errno::MSGSIZE) => {
                (self.len, self.whole) = (MESSAGE_MAX + 1, Some(MESSAGE_MAX + 1));
                Step::Done
            }
            Err(Errno::AGAIN | Errno::INTR) => Step::Nothing,
            Err(_) => Step::Gone,
        }
    }

    fn receive_line(&mut self) -> Step {
        let Ok(bytes) = self.incoming.bytes_mut() else {
            return Step::Gone;
        };
        let so_far = bytes.get(..self.len).unwrap_or_default();
        // One client may follow another before this process runs. It begins with an empty line.
        let first = self.whole.unwrap_or(0);
        let is_empty = so_far.starts_with(b"\n") && self.whole.is_none() && !self.is_skipping;
        let behind = so_far.get(first..).unwrap_or_default();
        let after = match is_empty {
            true => Some(1),
            false => behind
                .windows(2)
                .position(|two| two == b"\n\n")
                .filter(|_| self.whole.is_some())
                .map(|at| first + at + 2),
        };
        if let Some(after) = after {
            bytes.copy_within(after..self.len, 0);
            self.len -= after;
            self.begin_anew();
            return Step::Done;
        }
        if let Some(whole) = self.whole {
            let next = so_far.get(whole + 1..).unwrap_or_default();
            let end = next.iter().position(|byte| *byte == b'\n');
            let message = end.and_then(|end| next.get(..end)).map(Message::parse);
            // What ends the work that the message waits for does not wait behind it.
            if let (Some(end), Some(Ok(message))) = (end, message)
                && let What::Cancel(id) = message.what
            {
                if let Some(run) = self.run.as_mut().filter(|run| run.id == id) {
                    run.cancel();
                }
                bytes.copy_within(whole + 1 + end + 1..self.len, whole + 1);
                self.len -= end + 1;
                return Step::Done;
            }
            if self.len == bytes.len() {
                return Step::Nothing;
            }
        }
        let end = so_far.iter().position(|byte| *byte == b'\n');
        if let Some(end) = end.filter(|_| self.whole.is_none()) {
            if core::mem::take(&mut self.is_skipping) {
                // The rest of a line that was refused.
                bytes.copy_within(end + 1..self.len, 0);
                self.len -= end + 1;
            } else {
                self.whole = Some(end);
            }
            return Step::Done;
        }
        if self.whole.is_none() && self.len > MESSAGE_MAX {
            self.len = 0;
            if core::mem::replace(&mut self.is_skipping, true) {
                return Step::Done;
            }
            if self.outgoing.is_empty() && self.run.is_none() {
                let why = misunderstood("it is longer than 8192 bytes");
                self.outgoing.refuse(0, &why);
            }
            return Step::Done;
        }
        let room = bytes.get_mut(self.len..).unwrap_or_default();
        match read(&self.link, room) {
            // Nobody is on the other side.
            Ok(0) => Step::Gone,
            Ok(len) => {
                self.len += len;
                Step::Done
            }
            Err(Errno::AGAIN | Errno::INTR) => Step::Nothing,
            Err(_) => Step::Gone,
        }
    }
}
