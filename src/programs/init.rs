//! `/init`: PID 1. What each step does, and why in this order, is told in the library:
//! `berth::boot`, `berth::supervise`.

#![no_std]
#![no_main]

mod boot_code;
mod rt;

use core::convert::Infallible;
use core::fmt;

use berth::boot::{CommandLine, Early, Machine, Pid1, Switched, failure};
use berth::error::Error;
use berth::plan::Plan;
use berth::supervise::supervise;
use berth::sys::process::{Arguments, Environment};

fn main(arguments: Arguments<'_>, environment: Environment<'_>) -> ! {
    let Some(pid1) = Pid1::claim() else {
        failure::not_pid_1()
    };
    let mut machine = Machine::new(boot_code::boot_code());
    match boot(pid1, &mut machine, (arguments, environment)) {
        Ok(never) => match never {},
        Err(error) => failure::fail(&mut machine, &error),
    }
}

fn boot(
    pid1: Pid1,
    machine: &mut Machine,
    started_with: (Arguments<'_>, Environment<'_>),
) -> Result<Infallible, Error> {
    let mut text = CommandLine::new();
    let mut early = pid1.mount_early(machine)?;
    let plan = early.read_plan(&mut text)?;
    // A panic is a defect, and there is none to be had: the test of what becomes of one builds the
    // program with this.
    #[expect(unexpected_cfgs, reason = "set by the test alone")]
    if cfg!(provoke_panic) {
        panic!("provoked");
    }
    let switched = reach_root(early, &plan, started_with)?;
    supervise(switched, &plan)
}

/// Out of line, so that the supervisor's months do not stand on what the stages needed.
#[inline(never)]
fn reach_root<'m>(
    early: Early<'m>,
    plan: &Plan<'_>,
    started_with: (Arguments<'_>, Environment<'_>),
) -> Result<Switched<'m>, Error> {
    early
        .load_modules(plan)?
        .find_root(plan)?
        .mount_root(plan)?
        .switch_root(plan)?
        .hand_over(plan, started_with)
}

fn panicked(place: fmt::Arguments<'_>) -> ! {
    failure::panicked(place)
}
