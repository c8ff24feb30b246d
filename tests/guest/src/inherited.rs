//! What a program has from who started it: a caller that has everything odd, and a program that
//! shows what it finds.

use std::ffi::{CStr, CString, c_int, c_long, c_ulong};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};

/// What the caller ignores.
const IGNORED: [c_int; 10] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGPIPE,
    libc::SIGTERM,
    libc::SIGCHLD,
    libc::SIGTTOU,
    40,
    64,
];

/// What it blocks.
const BLOCKED: [c_int; 4] = [libc::SIGUSR2, libc::SIGTERM, libc::SIGCHLD, 63];

/// `SECBIT_NO_SETUID_FIXUP` (include/uapi/linux/securebits.h).
const NO_FIXUP: c_ulong = 1 << 2;

/// `MPOL_INTERLEAVE` (include/uapi/linux/mempolicy.h).
const INTERLEAVE: c_long = 3;

/// include/uapi/linux/keyctl.h
const SESSION_KEYRING: c_long = -3;
const JOIN_SESSION_KEYRING: c_long = 1;
const SEARCH: c_long = 10;

/// `IOPRIO_CLASS_BE` and its last priority (include/uapi/linux/ioprio.h).
const IO_PRIORITY: c_long = (2 << 13) | 6;

/// What a key is called that is in the caller's session keyring.
const KEY: &CStr = c"berth-odd";

/// Makes everything odd that this process passes on, and becomes the program.
pub(crate) fn be_odd(program: &str, words: &[&str]) -> Result<()> {
    for signal in IGNORED {
        // The C library keeps none of these for itself.
        // SAFETY: SIG_IGN is a disposition.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset(3) makes the set that the others use.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in BLOCKED {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
        libc::umask(0o007);
    }
    fs::write("/proc/self/oom_score_adj", "123")?;
    fs::write("/proc/self/coredump_filter", "0x1")?;
    limit(libc::RLIMIT_CORE, 4096)?;
    limit(libc::RLIMIT_NOFILE, 200)?;
    ask(
        libc::SYS_setgroups,
        [1, (&raw const GROUP).addr() as c_long, 0, 0, 0],
    )?;
    ask(libc::SYS_keyctl, [JOIN_SESSION_KEYRING, 0, 0, 0, 0])?;
    let user = c"user".as_ptr().addr() as c_long;
    let key = KEY.as_ptr().addr() as c_long;
    ask(libc::SYS_add_key, [user, key, key, 1, SESSION_KEYRING])?;
    // Where there is one, that is all of them.
    let _ = ask(
        libc::SYS_sched_setaffinity,
        [0, 8, (&raw const SECOND).addr() as c_long, 0, 0],
    );
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: `priority` outlives the call.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const priority) };
    ensure!(result == 0, "sched_setscheduler");
    ask(
        libc::SYS_setpriority,
        [libc::PRIO_PROCESS.into(), 0, 5, 0, 0],
    )?;
    ask(libc::SYS_ioprio_set, [1, 0, IO_PRIORITY, 0, 0])?;
    ask(
        libc::SYS_personality,
        [libc::ADDR_NO_RANDOMIZE.into(), 0, 0, 0, 0],
    )?;
    // Kernels without NUMA have no policy.
    let _ = ask(
        libc::SYS_set_mempolicy,
        [INTERLEAVE, (&raw const FIRST).addr() as c_long, 64, 0, 0],
    );
    let controls: [(c_int, c_ulong, c_ulong); 8] = [
        (libc::PR_SET_SECUREBITS, NO_FIXUP, 0),
        (libc::PR_SET_DUMPABLE, 0, 0),
        (libc::PR_SET_CHILD_SUBREAPER, 1, 0),
        (libc::PR_SET_TIMERSLACK, 1_234_567, 0),
        (libc::PR_SET_THP_DISABLE, 1, 0),
        (
            libc::PR_MCE_KILL,
            libc::PR_MCE_KILL_SET as c_ulong,
            libc::PR_MCE_KILL_EARLY as c_ulong,
        ),
        (libc::PR_SET_NO_NEW_PRIVS, 1, 0),
        (libc::PR_SET_PDEATHSIG, libc::SIGKILL as c_ulong, 0),
    ];
    for (control, a, b) in controls {
        let words = [control.into(), a as c_long, b as c_long, 0, 0];
        // Not every kernel can tell a process of broken memory.
        let result = ask(libc::SYS_prctl, words);
        ensure!(
            result.is_ok() || control == libc::PR_MCE_KILL,
            "prctl {control}: {result:?}"
        );
    }
    inherit_capabilities()?;
    // Not closed by execve(2), as the C library has it.
    let directory = fs::File::open("/")?;
    // SAFETY: both numbers are descriptors, or will be.
    ensure!(unsafe { libc::dup2(directory.as_raw_fd(), 7) } == 7, "dup2");
    let _ = directory.into_raw_fd();
    // Not by the library: that resets what a program expects of its caller.
    Err(execute(program, words)).context("execute it")
}

/// The second processor.
static SECOND: u64 = 2;
/// The first node.
static FIRST: u64 = 1;
static GROUP: u32 = 4242;

/// Becomes the program as this process is.
fn execute(program: &str, words: &[&str]) -> io::Error {
    let words = std::iter::once(&program).chain(words);
    let words: Vec<_> = words
        .map(|word| CString::new(*word).unwrap_or_default())
        .collect();
    let mut arguments: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    arguments.push(std::ptr::null());
    let variables = [c"ODD=yes".as_ptr(), std::ptr::null()];
    // SAFETY: both lists end in null, and their strings outlive the call.
    unsafe { libc::execve(arguments[0], arguments.as_ptr(), variables.as_ptr()) };
    io::Error::last_os_error()
}

/// Whether SIGPIPE was ignored when this program began.
static IGNORES_PIPE: AtomicBool = AtomicBool::new(false);

/// The library ignores it before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: `action` is what sigaction(2) writes; zero is a value of it.
    let handler = unsafe {
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction
    };
    IGNORES_PIPE.store(handler == libc::SIG_IGN, Ordering::Relaxed);
}

fn limit(resource: libc::__rlimit_resource_t, most: u64) -> Result<()> {
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: most * 2,
    };
    // SAFETY: `limit` outlives the call.
    let result = unsafe { libc::setrlimit(resource, &raw const limit) };
    ensure!(result == 0, "setrlimit: {}", io::Error::last_os_error());
    Ok(())
}

/// Has CAP_NET_RAW inheritable and ambient, beside all that this process has.
fn inherit_capabilities() -> Result<()> {
    use rustix::thread::{
        CapabilitySet, capabilities, configure_capability_in_ambient_set, set_capabilities,
    };
    let mut sets = capabilities(None)?;
    sets.inheritable |= CapabilitySet::NET_RAW | CapabilitySet::SYS_ADMIN;
    set_capabilities(None, sets)?;
    Ok(configure_capability_in_ambient_set(
        CapabilitySet::NET_RAW,
        true,
    )?)
}

fn ask(number: c_long, [a, b, c, d, e]: [c_long; 5]) -> io::Result<c_long> {
    // SAFETY: what is handed over as a pointer is one, to what outlives the call.
    match unsafe { libc::syscall(number, a, b, c, d, e) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// Prints what it has, a line each.
pub(crate) fn show() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    for line in status.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let shown = [
            "SigIgn",
            "SigBlk",
            "SigPnd",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "Umask",
            "NoNewPrivs",
            "Cpus_allowed_list",
            "Groups",
        ];
        if name == "SigIgn" {
            let pipe = 1 << (libc::SIGPIPE - 1);
            let mut ignored = u64::from_str_radix(value.trim(), 16)?;
            if !IGNORES_PIPE.load(Ordering::Relaxed) {
                ignored &= !pipe;
            }
            println!("SigIgn {ignored:016x}");
        } else if shown.contains(&name) {
            println!("{name} {}", value.trim());
        }
    }
    for name in ["oom_score_adj", "coredump_filter"] {
        println!(
            "{name} {}",
            fs::read_to_string(format!("/proc/self/{name}"))?.trim()
        );
    }
    for line in fs::read_to_string("/proc/self/limits")?.lines() {
        if let Some(rest) = ["core file size", "open files"]
            .into_iter()
            .find_map(|name| Some((name, line.strip_prefix("Max ")?.strip_prefix(name)?)))
        {
            let words: Vec<_> = rest.1.split_whitespace().take(2).collect();
            println!("limit {} {}", rest.0, words.join(" "));
        }
    }
    let user = c"user".as_ptr().addr() as c_long;
    let key = KEY.as_ptr().addr() as c_long;
    let found = ask(libc::SYS_keyctl, [SEARCH, SESSION_KEYRING, user, key, 0]);
    println!("key {}", if found.is_ok() { "found" } else { "none" });
    for (name, number, words) in [
        (
            "nice",
            libc::SYS_getpriority,
            [libc::PRIO_PROCESS.into(), 0, 0, 0, 0],
        ),
        ("policy", libc::SYS_sched_getscheduler, [0; 5]),
        ("io-priority", libc::SYS_ioprio_get, [1, 0, 0, 0, 0]),
        (
            "personality",
            libc::SYS_personality,
            [0xffff_ffff, 0, 0, 0, 0],
        ),
        (
            "securebits",
            libc::SYS_prctl,
            [libc::PR_GET_SECUREBITS.into(), 0, 0, 0, 0],
        ),
        (
            "dumpable",
            libc::SYS_prctl,
            [libc::PR_GET_DUMPABLE.into(), 0, 0, 0, 0],
        ),
        (
            "timer-slack",
            libc::SYS_prctl,
            [libc::PR_GET_TIMERSLACK.into(), 0, 0, 0, 0],
        ),
        (
            "huge-pages-off",
            libc::SYS_prctl,
            [libc::PR_GET_THP_DISABLE.into(), 0, 0, 0, 0],
        ),
        (
            "broken-memory",
            libc::SYS_prctl,
            [libc::PR_MCE_KILL_GET.into(), 0, 0, 0, 0],
        ),
    ] {
        match ask(number, words) {
            // The call answers 20 minus the value.
            Ok(value) if name == "nice" => println!("{name} {}", 20 - value),
            Ok(value) => println!("{name} {value}"),
            Err(error) => println!("{name} {error}"),
        }
    }
    for (name, control) in [
        ("parent-death", libc::PR_GET_PDEATHSIG),
        ("subreaper", libc::PR_GET_CHILD_SUBREAPER),
    ] {
        let value: c_int = 0;
        let asked = ask(
            libc::SYS_prctl,
            [control.into(), (&raw const value).addr() as c_long, 0, 0, 0],
        );
        println!("{name} {}", asked.map_or(-1, |_| value));
    }
    let policy: c_int = -1;
    let _ = ask(
        libc::SYS_get_mempolicy,
        [(&raw const policy).addr() as c_long, 0, 0, 0, 0],
    );
    println!("memory-policy {policy}");
    // A session that was begun outside of the PID namespace, or by the kernel, has the number 0.
    // SAFETY: neither call takes a pointer.
    let leads = unsafe { libc::getsid(0) == libc::getpid() };
    println!("leads-session {leads}");
    println!("terminal {}", fs::File::open("/dev/tty").is_ok());
    println!("directory {}", std::env::current_dir()?.display());
    println!("odd {}", std::env::var("ODD").unwrap_or_default());
    let mut descriptors = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let number: u32 = entry?.file_name().to_string_lossy().parse()?;
        descriptors.push(number);
    }
    descriptors.sort_unstable();
    println!("descriptors {descriptors:?}");
    Ok(())
}
