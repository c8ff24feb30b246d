//! NOTIFY_SOCKET (sd_notify(3)): what a service of systemd's says when it is ready.
//!
//! The caller's socket itself is nothing for a container: who sends to it can name another main
//! process, leave descriptors with systemd, put off its watchdog. So the container has a socket of
//! its own at `/run/notify/notify.sock`, and of all that is said there one thing is handed on,
//! once: `READY=1`, as runc and crun have it. The socket is in a directory beside the record, which
//! is bound, because it is made anew by `start`.
//!
//! A bundle that has the variable itself has been taken care of: podman's conmon is between, and
//! hands it on.
//!
//! A container of PID 1's has such a socket if its `berth.ready` is `notify`
//! ([`super::readiness`]), and of variables of the caller's or the bundle's nothing is taken. Who
//! may say something is decided by who can reach the socket: the directory is root's, and bound
//! into this container alone. Whose process a sender is says nothing: one that says `READY=1` and
//! ends, as a script's does, is gone when that is read.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, mkdirat, unlinkat};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::umask;

use linux_raw_sys::general::{MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY};

use super::record::Record;
use super::state::Directory;
use super::{Call, OrReport, Reported};
use crate::error::{Code, During, Explained, Fault, Op};
use crate::parse::config::{Config, Kind, Mount, MountOptions, Ready};
use crate::parse::json;
use crate::sys::path::{Path, path, place_of};
use crate::sys::{fs, socket};
use crate::text::Text;

/// What the container finds it by.
pub(super) const VARIABLE: &str = "NOTIFY_SOCKET=/run/notify/notify.sock";

const NAME: &str = "NOTIFY_SOCKET";
const DIRECTORY: &str = "notify";
const SOCKET: &str = "notify.sock";
const READY: &[u8] = b"READY=1";

/// The longest datagram that counts, in bytes, as with systemd (NOTIFY_BUFFER_MAX). A longer one
/// means nothing.
const DATAGRAM_MAX: usize = 4096;

/// So many are read at once, so that who floods the socket does not keep its reader.
const DATAGRAMS_PER_TURN: usize = 64;

/// How long systemd may take to have read all that was sent, as runc and crun have it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the directory for the socket, if the caller has one, and the container can have a mount
/// and has none of its own; its path, or an empty one.
///
/// # Errors
/// [`Code::State`].
pub(super) fn offer(
    call: &Call<'_>,
    directory: &Directory,
    config: &Config<'_>,
) -> Result<Path, Reported> {
    let has_own = |variable: json::Text<'_>| variable.starts_with("NOTIFY_SOCKET=");
    let is_wanted = match call.journal.supervisor() {
        Some(_) => config.annotations.ready == Ready::Notify,
        None => address(call).is_some() && !config.process.env.iter().any(has_own),
    };
    if !is_wanted || !config.namespaces.is_new(Kind::Mount) {
        return Ok(Path::new());
    }
    let make = || {
        let before = umask(Mode::empty());
        let made = mkdirat(directory.as_fd(), DIRECTORY, Mode::from_raw_mode(0o755));
        umask(before);
        made.during(Op::Create, DIRECTORY)?;
        place_of(&fs::open_directory(directory, DIRECTORY)?)
    };
    make().or_report(call, Code::State)
}

/// The mount of that.
pub(super) fn mount(source: &Path) -> Mount<'_> {
    let set = MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    Mount {
        destination: "/run/notify",
        fstype: None,
        source: Some(source),
        options: MountOptions::of(set, ""),
        ids: None,
    }
}

/// Takes away what [`offer`] and [`Notify::open`] have made in the directory of a container.
pub(super) fn remove(directory: &OwnedFd) {
    if let Ok(inside) = fs::open_directory(directory, DIRECTORY) {
        let _ = unlinkat(inside.as_fd(), SOCKET, AtFlags::empty());
        let _ = unlinkat(directory.as_fd(), DIRECTORY, AtFlags::REMOVEDIR);
    }
}

/// The caller's socket.
fn address<'a>(call: &Call<'a>) -> Option<&'a str> {
    let address = call.environment.value(NAME)?;
    address.starts_with(['/', '@']).then_some(address)
}

/// What a container says there.
pub(super) struct Notify {
    socket: OwnedFd,
    is_told: bool,
}

impl Notify {
    /// Makes the container's socket, if the caller has one and it was offered. To be called before
    /// its program runs.
    ///
    /// # Errors
    /// [`Code::State`].
    pub(super) fn open(call: &Call<'_>, directory: &Directory) -> Result<Option<Self>, Reported> {
        match fs::open_directory(directory, DIRECTORY) {
            Ok(_) if address(call).is_some() => {}
            _ => return Ok(None),
        }
        let notify = Self::bind(directory).or_report(call, Code::State)?;
        Ok(Some(notify))
    }

    /// Makes the container's socket, which was offered.
    ///
    /// # Errors
    /// Those of socket(2) and bind(2).
    pub(super) fn bind(directory: &Directory) -> Result<Self, Fault> {
        let inside = fs::open_directory(directory, DIRECTORY)?;
        let make = || {
            let _ = unlinkat(inside.as_fd(), SOCKET, AtFlags::empty());
            // Not by the path itself, which may be too long for an address (unix(7)).
            let path = path(format_args!(
                "/proc/self/fd/{}/{SOCKET}",
                inside.as_raw_fd()
            ))?;
            // For any user of the program. No chmod(2): a link may be in its place by then.
            let before = umask(Mode::empty());
            let made = socket::datagrams_at(&path);
            umask(before);
            made
        };
        Ok(Self {
            socket: make().during(Op::Socket, NAME)?,
            is_told: false,
        })
    }

    /// Reads what was said; whether it is that the container is ready.
    ///
    /// Descriptors that come along are closed by the kernel, which is what a barrier waits for
    /// (sd_notify_barrier(3)).
    #[inline(never)]
    pub(super) fn is_ready_said(&mut self) -> bool {
        let mut text = [0; DATAGRAM_MAX];
        let mut is_said = false;
        for _ in 0..DATAGRAMS_PER_TURN {
            // With this flag, the length is that of the whole datagram (recv(2)).
            let Ok((_, len)) = recv(&self.socket, &mut text, RecvFlags::TRUNC) else {
                break;
            };
            let text = text.get(..len).unwrap_or_default();
            is_said |= text.split(|byte| *byte == b'\n').any(|line| line == READY);
        }
        is_said
    }

    /// Reads what was said, and tells the caller if it is that the container is ready; whether it
    /// was told that by now. What comes later is read as well: who sends would wait for that.
    ///
    /// With `main`, systemd is told which process is the service's, and has heard it when this
    /// returns, as this one ends.
    pub(super) fn hand_on(&mut self, call: &Call<'_>, main: Option<u32>) -> bool {
        if self.is_ready_said() && !self.is_told {
            self.is_told = true;
            if let Err(fault) = tell(call, main).during(Op::Socket, NAME) {
                call.journal.warn(Explained(&fault));
            }
        }
        self.is_told
    }

    /// Waits until the container has said that it is ready, or has ended.
    ///
    /// # Errors
    /// [`Code::Control`].
    pub(super) fn wait(mut self, call: &Call<'_>, record: &Record) -> Result<(), Reported> {
        let mut wait = || -> Result<(), Fault> {
            let process = record.process()?;
            let mut has_ended = false;
            // What was said before the end is heard; who talks on is not waited for.
            while !self.hand_on(call, Some(record.pid)) && !has_ended {
                let Some(process) = &process else {
                    return Ok(());
                };
                let mut polled = [
                    PollFd::new(&self.socket, PollFlags::IN),
                    PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN),
                ];
                match poll(&mut polled, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno).during(Op::Wait, NAME),
                }
                let [_, ended] = polled.each_ref().map(PollFd::revents);
                has_ended = !ended.is_empty();
            }
            Ok(())
        };
        wait().or_report(call, Code::Control)
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn tell(call: &Call<'_>, main: Option<u32>) -> Result<(), Errno> {
    let mut name = Text::<128>::new(address(call).unwrap_or_default());
    if name.as_str().starts_with('@') {
        name = Text::new(format_args!(
            "\0{}",
            name.as_str().get(1..).unwrap_or_default()
        ));
    }
    let socket = socket::datagrams_to(name.as_str().as_bytes())?;
    let Some(main) = main else {
        return send(&socket, READY, SendFlags::NOSIGNAL).map(drop);
    };
    let text = Text::<64>::new(format_args!("READY=1\nMAINPID={main}"));
    send(&socket, text.as_str().as_bytes(), SendFlags::NOSIGNAL)?;
    // systemd closes the descriptor when it comes to that message (sd_notify_barrier(3)).
    let (heard, barrier) = pipe_with(PipeFlags::CLOEXEC)?;
    socket::send(&socket, b"BARRIER=1", barrier.as_fd())?;
    drop(barrier);
    let patience = Timespec::try_from(PATIENCE).map_err(|_| Errno::INVAL)?;
    poll(&mut [PollFd::new(&heard, PollFlags::IN)], Some(&patience)).map(drop)
}
