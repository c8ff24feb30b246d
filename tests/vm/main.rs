//! The VM tests: every test boots a machine, or several.
//!
//! `BERTH_TEST_KERNELS=6.1,6.12,7` runs those marked for the matrix on these kernels; without it,
//! all run on the default one. A kernel that cannot be fetched fails all its tests.

mod aarch64;
mod advice;
mod answers;
mod archive;
mod boot;
mod bundles;
mod carry;
mod command;
mod confine;
mod containers;
mod control;
mod control_port;
mod copies;
mod defaults;
mod devices;
mod doubts;
mod early;
mod end;
mod engines;
mod escapes;
mod failures;
mod fallback;
mod fsck;
mod given_control;
mod handover;
mod hooks;
mod hostile;
mod hotplug;
mod image;
mod images;
mod inherited;
mod isolation;
mod jobs;
mod landlock;
mod layers;
mod log_files;
mod malformed;
mod many;
mod matrix;
mod modules;
mod mount_options;
mod mountat;
mod mounts;
mod namespaces;
mod near_misses;
mod network;
mod odd_devices;
mod order;
mod overlay;
mod pause;
mod process;
mod provoke;
mod refused;
mod report;
mod resctrl;
mod resources;
mod robust;
mod root_mount;
mod seccomp;
mod selinux;
mod share;
mod side_by_side;
mod soak;
mod subtrees;
mod supervision;
mod switch;
mod systemd;
mod unclean;
mod verity;
mod volumes;
mod watchdog;

use std::env;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use berth_qemu::kernel::Series;
use berth_tests::Lab;
use libtest_mimic::{Arguments, Failed, Trial};

/// A test: its name, whether it runs in the matrix and without it, and what it does.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    name: &'static str,
    in_matrix: bool,
    outside_matrix: bool,
    run: fn(&Lab) -> Result<()>,
}

/// A test that runs on the default kernel.
pub(crate) const fn once(name: &'static str, run: fn(&Lab) -> Result<()>) -> Case {
    Case {
        name,
        in_matrix: false,
        outside_matrix: true,
        run,
    }
}

/// A test that runs on every kernel of the matrix.
pub(crate) const fn everywhere(name: &'static str, run: fn(&Lab) -> Result<()>) -> Case {
    Case {
        name,
        in_matrix: true,
        outside_matrix: true,
        run,
    }
}

/// A test that runs in the matrix only: without it, a cheaper one shows nearly as much.
pub(crate) const fn matrix(name: &'static str, run: fn(&Lab) -> Result<()>) -> Case {
    Case {
        name,
        in_matrix: true,
        outside_matrix: false,
        run,
    }
}

/// Names tests after their functions.
macro_rules! cases {
    ($($kind:ident $name:ident),* $(,)?) => {
        &[$(crate::$kind(concat!(module_path!(), "::", stringify!($name)), $name)),*]
    };
}
pub(crate) use cases;

const ALL: &[&[Case]] = &[
    aarch64::CASES,
    advice::CASES,
    answers::CASES,
    archive::CASES,
    boot::CASES,
    bundles::CASES,
    carry::CASES,
    command::CASES,
    confine::CASES,
    containers::CASES,
    control::CASES,
    control_port::CASES,
    copies::CASES,
    given_control::CASES,
    defaults::CASES,
    devices::CASES,
    doubts::CASES,
    early::CASES,
    end::CASES,
    engines::CASES,
    escapes::CASES,
    failures::CASES,
    failures::TABLE,
    fallback::CASES,
    handover::CASES,
    hooks::CASES,
    hostile::CASES,
    hotplug::CASES,
    image::CASES,
    images::CASES,
    inherited::CASES,
    isolation::CASES,
    jobs::CASES,
    landlock::CASES,
    layers::CASES,
    log_files::CASES,
    malformed::CASES,
    malformed::TABLE,
    many::CASES,
    matrix::CASES,
    modules::CASES,
    mount_options::CASES,
    mountat::CASES,
    mounts::CASES,
    namespaces::CASES,
    near_misses::CASES,
    network::CASES,
    odd_devices::CASES,
    order::CASES,
    overlay::CASES,
    pause::CASES,
    process::CASES,
    refused::CASES,
    report::CASES,
    resctrl::CASES,
    resources::CASES,
    robust::CASES,
    root_mount::CASES,
    seccomp::CASES,
    share::CASES,
    selinux::CASES,
    side_by_side::CASES,
    soak::cuts::CASES,
    soak::months::CASES,
    subtrees::CASES,
    supervision::CASES,
    switch::CASES,
    systemd::CASES,
    unclean::CASES,
    verity::CASES,
    volumes::CASES,
    watchdog::CASES,
];

/// Those that take longest, in this order. They are the first: one that is begun last keeps a core
/// waiting for the other.
const LONGEST: [&str; 7] = [
    "vm::side_by_side::podman_does_the_same_with_berth_as_root_and_as_a_user",
    "vm::command::every_case_of_the_command_is_fine",
    "vm::robust::damaged_filesystems_are_given_up_for_the_next",
    "vm::side_by_side::docker_does_the_same_with_berth",
    "vm::answers::broken_answers_cost_the_start_that_they_are_about",
    "vm::hostile::flood_of_megabytes_arrives_whole_or_is_counted",
    "vm::many::every_bundle_that_pid_1_takes_leaves_nothing_behind",
];

/// All cases in the order in which they are begun: the longest; then the first one of each module,
/// the second of each, and so on. Neighbours in a module often share a boot, and would wait for it
/// on both cores.
fn in_order() -> Result<Vec<Case>> {
    let rounds = ALL.iter().map(|cases| cases.len()).max().unwrap_or(0);
    let round = |round: usize| {
        ALL.iter()
            .filter_map(move |cases| cases.get(round).copied())
    };
    let mut all: Vec<Case> = (0..rounds).flat_map(round).collect();
    for name in LONGEST {
        let is_there = all.iter().any(|case| case.name == name);
        ensure!(is_there, "there is no test {name}");
    }
    let rank = |case: &Case| LONGEST.iter().position(|name| *name == case.name);
    all.sort_by_key(|case| rank(case).unwrap_or(LONGEST.len()));
    Ok(all)
}

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    // Two machines at a time: an emulated one keeps a core busy.
    arguments.test_threads.get_or_insert(2);
    let matrix = env::var("BERTH_TEST_KERNELS").ok();
    let series = match &matrix {
        Some(list) => list.split(',').map(series).collect::<Result<Vec<_>>>()?,
        None => vec![Series::of_machine()],
    };
    let all = in_order()?;
    let trials = series
        .into_iter()
        .flat_map(|series| trials(&all, series, matrix.is_some()))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    print_slowest();
    Ok(conclusion.exit_code())
}

/// How many tests may fail. More failures have one cause, and each machine that waits in vain costs
/// minutes.
const MAX_FAILURES: usize = 10;

/// How many have failed.
static FAILURES: AtomicUsize = AtomicUsize::new(0);

/// Says at once why a test failed: the runner says it when all have ended, which a time limit may
/// not let it come to.
fn fail(name: &str, began: Instant, error: &str) -> Failed {
    FAILURES.fetch_add(1, Ordering::Relaxed);
    let seconds = began.elapsed().as_secs();
    eprintln!("FAILED after {seconds} s: {name}: {error}");
    Failed::from(error)
}

/// How long each test took, with what it waited for: the boot of another that it shares.
static DURATIONS: Mutex<Vec<(Duration, &str)>> = Mutex::new(Vec::new());

/// Names the tests that a shorter run would begin with.
fn print_slowest() {
    let mut durations = DURATIONS.lock().unwrap_or_else(PoisonError::into_inner);
    durations.sort_unstable();
    println!("the slowest:");
    for (duration, name) in durations.iter().rev().take(20) {
        println!("{:>5} s  {name}", duration.as_secs());
    }
}

fn series(name: &str) -> Result<Series> {
    Series::ALL
        .into_iter()
        .find(|series| series.name() == name)
        .with_context(|| format!("BERTH_TEST_KERNELS: there is no kernel {name}"))
}

fn trials(all: &[Case], series: Series, matrix_only: bool) -> Vec<Trial> {
    // The kernel is fetched once, by the first test that needs it.
    let lab: Arc<OnceLock<Result<Lab, String>>> = Arc::default();
    let chosen = all.iter().copied().filter(|case| {
        if matrix_only {
            case.in_matrix
        } else {
            case.outside_matrix
        }
    });
    chosen
        .map(|case| {
            let lab = Arc::clone(&lab);
            let name = case.name.strip_prefix("vm::").unwrap_or(case.name);
            let run = case.run;
            let name = format!("{}::{name}", series.name());
            Trial::test(name.clone(), move || {
                if FAILURES.load(Ordering::Relaxed) >= MAX_FAILURES {
                    let text = format!("not run: {MAX_FAILURES} others failed before");
                    return Err(Failed::from(text));
                }
                let began = Instant::now();
                let lab =
                    lab.get_or_init(|| Lab::new(series).map_err(|error| format!("{error:#}")));
                let lab = lab.as_ref().map_err(|error| fail(&name, began, error))?;
                let result = run(lab);
                let mut durations = DURATIONS.lock().unwrap_or_else(PoisonError::into_inner);
                durations.push((began.elapsed(), case.name));
                drop(durations);
                result.map_err(|error| fail(&name, began, &format!("{error:#}")))
            })
        })
        .collect()
}
