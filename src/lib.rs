//! berth: PID 1 for booting into an isolated root.
#![cfg_attr(not(test), no_std)]

pub mod boot;
pub mod container;
pub mod errno;
pub mod error;
pub mod events;
pub mod hint;
pub mod log;
pub mod parse;
pub mod plan;
pub mod supervise;
pub mod sys;
pub mod text;
