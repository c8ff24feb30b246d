//! The emergency shell of `berth.on_failure=shell`, where the image has one.

use crate::error::{During, Op, Stage};
use crate::sys::process::Environment;
use crate::sys::raw::{self, Forked};
use crate::sys::strings::Strings;
use crate::sys::{console, kmsg, process, signal};

const SHELL: &str = "/bin/sh";

/// Runs a shell on the console and waits until it ends; `false` if there is none.
pub(super) fn run() -> bool {
    if rustix::fs::access(SHELL, rustix::fs::Access::EXEC_OK).is_err() {
        return false;
    }
    match raw::fork(0, None) {
        Ok(Forked::Parent(shell)) => loop {
            // Any child: what the shell leaves behind becomes ours.
            match rustix::process::wait(rustix::process::WaitOptions::empty()) {
                Ok(Some((pid, _))) if pid == shell => return true,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return true,
            }
        },
        Ok(Forked::Child) => become_shell(),
        Err(_) => false,
    }
}

fn become_shell() -> ! {
    signal::unblock_all();
    let _ = rustix::process::setsid();
    if let Some(terminal) = console::open_terminal() {
        let _ = rustix::process::ioctl_tiocsctty(&terminal);
        let _ = console::become_standard_descriptors(&terminal);
    }
    let mut arguments = Strings::<32, 2>::new();
    let mut variables = Strings::<64, 2>::new();
    let _ = arguments.push(format_args!("{SHELL}"));
    let _ = variables.push(format_args!("PATH=/bin:/sbin:/usr/bin:/usr/sbin"));
    let _ = variables.push(format_args!("TERM=linux"));
    let errno = variables.with_list(|variables| {
        let environment = Environment::from_list(variables);
        arguments.with_list(|arguments| process::execute(SHELL, arguments, environment))
    });
    if let Err(fault) = Err::<(), _>(errno).during(Op::Exec, SHELL) {
        kmsg::error(Stage::Early, format_args!("{fault}"));
    }
    raw::exit(127)
}
