//! System calls, one after the other, and what the kernel answers: for filters of them.

use std::io;

use anyhow::{Context, Result};
use berth::errno::Name;
use libc::{c_int, c_long};
use rustix::io::Errno;

/// Calls that do no harm, by their names. Those that are no calls of this architecture are below.
const CALLS: [(&str, c_long); 9] = [
    ("getppid", libc::SYS_getppid),
    ("getuid", libc::SYS_getuid),
    ("kill", libc::SYS_kill),
    ("personality", libc::SYS_personality),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("socket", libc::SYS_socket),
    ("umask", libc::SYS_umask),
    ("unshare", libc::SYS_unshare),
    ("listxattrat", 465),
];

/// Makes each call, as `name` or `name:1,0x10`, and prints how it went.
pub(crate) fn make(calls: &[&str]) -> Result<()> {
    for call in calls {
        println!("call {call} {}", answer(call)?);
    }
    for line in std::fs::read_to_string("/proc/self/status")?.lines() {
        for (name, topic) in [("Seccomp:\t", "seccomp"), ("NoNewPrivs:\t", "no_new_privs")] {
            if let Some(value) = line.strip_prefix(name) {
                println!("{topic} {value}");
            }
        }
    }
    Ok(())
}

/// The same, with a handler of SIGSYS that prints the number of the call that was caught.
pub(crate) fn trap(calls: &[&str]) -> Result<()> {
    extern "C" fn caught(_: c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        /// The number in `siginfo_t`, behind three words and a pointer (sigaction(2),
        /// `si_syscall`).
        const SI_SYSCALL: usize = 24;
        // SAFETY: the kernel hands a whole `siginfo_t` to a handler with SA_SIGINFO.
        let number = unsafe { info.byte_add(SI_SYSCALL).cast::<c_int>().read() };
        println!("caught {number}");
    }
    // SAFETY: all fields are integers, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_flags = libc::SA_SIGINFO;
    action.sa_sigaction = caught as *const () as usize;
    // SAFETY: `action` outlives the call, and its handler may run at the calls below, where nothing
    // is locked.
    match unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) } {
        0 => make(calls),
        _ => Err(io::Error::last_os_error()).context("handle SIGSYS"),
    }
}

fn answer(call: &str) -> Result<String> {
    let (name, args) = call.split_once(':').unwrap_or((call, ""));
    let mut values = [0; 4];
    for (value, text) in values
        .iter_mut()
        .zip(args.split(',').filter(|text| !text.is_empty()))
    {
        *value = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        }
        .with_context(|| format!("the argument {text}"))? as c_long;
    }
    #[cfg(target_arch = "x86_64")]
    match name {
        "x32-getppid" => return Ok(said(ask(0x4000_0000 | libc::SYS_getppid, values))),
        "i386-getppid" => return Ok(format!("answers {}", i386::getppid())),
        _ => {}
    }
    let known = CALLS.iter().find(|(known, _)| *known == name);
    let (_, number) = known.with_context(|| format!("no call {name}"))?;
    Ok(said(ask(*number, values)))
}

fn ask(number: c_long, [a, b, c, d]: [c_long; 4]) -> c_long {
    // SAFETY: none of the calls above takes a pointer that is not null.
    unsafe { libc::syscall(number, a, b, c, d) }
}

fn said(result: c_long) -> String {
    match result {
        -1 => match io::Error::last_os_error().raw_os_error() {
            Some(errno) => Name(Errno::from_raw_os_error(errno)).to_string(),
            None => "fails".to_owned(),
        },
        _ => "is made".to_owned(),
    }
}

#[cfg(target_arch = "x86_64")]
mod i386 {
    /// getppid(2), as a program of 32 bits asks for it.
    pub(super) fn getppid() -> i32 {
        let result: i32;
        // SAFETY: the call takes no arguments; `int 0x80` preserves all registers but the result
        // and r8 to r11.
        unsafe {
            std::arch::asm!(
                "int 0x80",
                inlateout("eax") 64 => result,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        result
    }
}
