//! berth: PID 1 for booting into an isolated root.
//!
//! Packed into an initramfs as `/init`, it brings the machine up, finds and mounts the root device,
//! moves onto it, and from then on starts, isolates, supervises and finally stops containers. The
//! same library is used by the programs and by their tests on the host.
//!
//! # The way through the code
//!
//! ```text
//!  kernel command line ─► parse ─► Plan ──────────────┐  pure, borrowed, nothing global
//!                                                     ▼
//!  _start ─► Pid1 ─► Early ─► Loaded ─► Found ─► Rooted ─► Switched ─► Supervisor ─► reboot(2)
//!            claim   proc sys  modules  root     /sysroot  switch_root  containers
//!                    dev run            device   mounted   / is shared  + reaping
//!  any Err ─► one report on kmsg, every console and the event stream ─► berth.on_failure=
//! ```
//!
//! Data goes one way: text, plan, effects. [`plan::Plan`] is everything that was asked for; no
//! later stage reads the command line. [`boot`] is a chain of types in which each stage consumes
//! the proof that the last one returned, so that a wrong order does not compile. [`supervise`] is a
//! loop around a table of decisions. [`container`] is the engine of `berth`: bundles in, isolated
//! processes out.
//!
//! Two programs are made of it: `/init`, which is PID 1, and `berth`, the [`command`], which makes
//! containers. PID 1 reads nothing that strangers wrote: it executes `berth` for each start and
//! each end of a container, and hears its [answers](parse::answer).
//!
//! # Layers
//!
//! | layer | modules | rules |
//! |---|---|---|
//! | 7: the command | [`command`] | names neither [`boot`] nor [`supervise`], which are the other program's |
//! | 6: what runs then | [`supervise`] | |
//! | 5: from the kernel to the root | [`boot`] | |
//! | 4: a container | [`container`] | |
//! | 3: what is told | [`events`] | like those above, no system calls but through `sys` and rustix; adds the *code* to a failure |
//! | 2: how | [`sys`] | thin calls; adds *operation* and *subject* to an errno; the only home of `unsafe` in the library, but for one call in `container::exposure` |
//! | 1: text and bytes to values | [`parse`], [`plan`] | no I/O, no `unsafe`, cannot panic; each parser has a fuzz target |
//! | 0: words for all | [`error`], [`errno`], [`cause`], [`hint`], [`log`], [`text`] | no I/O |
//!
//! A module names only modules of its own layer and below.
//!
//! # What PID 1 never does
//!
//! *Panic, or return*: the end of PID 1 is a kernel panic. Lints forbid what could panic on input;
//! the panic handler is for defects. *Allocate*: there is no allocator. Buffers are bounded, and
//! given back when they are done with; what does not fit is refused by name. *Poll*: it sleeps
//! until there is something to do. *Wait for others*: a slow console, an event stream without a
//! reader, a container that does not read or does not end hold up nobody else.
//!
//! # Out of line
//!
//! A step that is called once would become a part of its caller, and all steps of the boot one
//! function with one stack frame of tens of KiB, in which every move of a path or an error is
//! spelled out word by word. So steps that hold such values are `#[inline(never)]`: 12 KiB of code
//! less. Elsewhere the compiler judges.

#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod boot;
mod cause;
pub mod command;
pub mod container;
pub mod errno;
pub mod error;
mod events;
mod hint;
mod log;
pub mod parse;
pub mod plan;
pub mod supervise;
pub mod sys;
mod text;

#[cfg(test)]
#[path = "../tests/gates/docs.rs"]
mod docs;
