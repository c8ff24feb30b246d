//! `start`, `stop`, `restart` of PID 1's containers; `poweroff`, `reboot`, `halt`, `kexec`.

use super::super::{Call, OrReport, Reported, Subcommand};
use super::ask::{ask, is_there};
use super::happened::{self, Happened};
use crate::error::{Code, Error, Op};
use crate::parse::choice::OnIdle;
use crate::parse::request::Request;
use crate::text::Quoted;

const fn of_container(
    name: &'static str,
    about: &'static str,
    run: fn(&Call<'_>) -> Result<u8, Reported>,
) -> Subcommand {
    Subcommand {
        name,
        operands: "ID",
        count: (1, 1),
        raw_from: usize::MAX,
        options: &[],
        about,
        run,
    }
}

const fn of_machine(
    name: &'static str,
    about: &'static str,
    run: fn(&Call<'_>) -> Result<u8, Reported>,
) -> Subcommand {
    Subcommand {
        operands: "",
        count: (0, 0),
        ..of_container(name, about, run)
    }
}

pub(super) const STOP: Subcommand = of_container(
    "stop",
    "stop a container of PID 1's, and leave it stopped",
    |call| steer(call, Request::Stop),
);
pub(super) const RESTART: Subcommand = of_container(
    "restart",
    "stop a container of PID 1's, and start it again",
    |call| steer(call, Request::Restart),
);
pub(super) const POWEROFF: Subcommand =
    of_machine("poweroff", "end the machine, and switch it off", |call| {
        end(call, OnIdle::PowerOff)
    });
pub(super) const REBOOT: Subcommand =
    of_machine("reboot", "end the machine, and start it again", |call| {
        end(call, OnIdle::Reboot)
    });
pub(super) const HALT: Subcommand =
    of_machine("halt", "end the machine, and leave it on", |call| {
        end(call, OnIdle::Halt)
    });
pub(super) const KEXEC: Subcommand = of_machine(
    "kexec",
    "end the machine, and start the kernel that was loaded for that",
    |call| end(call, OnIdle::Kexec),
);

/// Starts a container of PID 1's. `None` where PID 1 is not berth.
pub(in crate::command) fn start(call: &Call<'_>) -> Option<Result<u8, Reported>> {
    is_there().then(|| steer(call, Request::Start))
}

/// Asks for it, and waits for what comes of it.
#[inline(never)]
fn steer<'a>(call: &'a Call<'_>, request: fn(&'a str) -> Request<'a>) -> Result<u8, Reported> {
    let id = call.id()?;
    let request = request(id);
    // What comes of it comes afterwards.
    let mut events = happened::open(true).or_report(call, Code::Control)?;
    events.skip().or_report(call, Code::Control)?;
    ask(call, request, &mut |_| ())?;
    let mut failure = None;
    let followed = events.follow(&mut |line| {
        let Some(happened) = Happened::parse(line).filter(|happened| happened.id.is(id)) else {
            return true;
        };
        let is_stop = matches!(request, Request::Stop(_));
        match (happened.state.plain(), is_stop) {
            (Some("stopped"), true) | (Some("started"), false) => false,
            (Some("failed"), _) | (Some("waiting"), false) => {
                failure = Some(happened.failure(call));
                false
            }
            _ => true,
        }
    });
    followed.or_report(call, Code::Control)?;
    failure.map_or(Ok(0), Err)
}

fn end(call: &Call<'_>, how: OnIdle) -> Result<u8, Reported> {
    ask(call, Request::End(how), &mut |_| ()).map(|()| 0)
}

/// Tells that the container is none of PID 1's.
pub(super) fn unknown(call: &Call<'_>, id: &str) -> Reported {
    let detail = "PID 1 knows no container of this name";
    call.fail(&Error::new(Code::NoContainer, Op::Open, Quoted(id), detail))
}
