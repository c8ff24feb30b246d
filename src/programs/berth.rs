//! `berth`: the command. What it does is told in the library: `berth::command`.

#![no_std]
#![no_main]

mod rt;

use core::fmt;

use berth::command;
use berth::sys::process;
use berth::sys::process::{Arguments, Environment};

fn main(arguments: Arguments<'_>, environment: Environment<'_>) -> ! {
    process::exit(command::main(arguments, environment).into())
}

fn panicked(place: fmt::Arguments<'_>) -> ! {
    command::panicked(place)
}
