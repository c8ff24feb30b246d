//! The VM tests: every test boots a machine, or several.
//!
//! `BERTH_TEST_KERNELS=6.1,6.12,7` runs those marked for the matrix on these kernels; without it, all run on the default
//! one. A kernel that cannot be fetched fails all its tests.

mod advice;
mod answers;
mod archive;
mod boot;
mod bundles;
mod command;
mod confine;
mod containers;
mod defaults;
mod devices;
mod doubts;
mod early;
mod engines;
mod escapes;
mod failures;
mod fallback;
mod handover;
mod hooks;
mod hostile;
mod image;
mod images;
mod inherited;
mod isolation;
mod jobs;
mod landlock;
mod layers;
mod malformed;
mod many;
mod matrix;
mod modules;
mod mount_options;
mod mountat;
mod mounts;
mod namespaces;
mod near_misses;
mod odd_devices;
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
mod subtrees;
mod supervision;
mod switch;
mod systemd;
mod verity;
mod volumes;

use std::env;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use berth_qemu::kernel::Series;
use berth_tests::Lab;
use libtest_mimic::{Arguments, Failed, Trial};

/// A test: its name, whether it runs in the matrix and without it, and what it does.
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
    advice::CASES,
    answers::CASES,
    archive::CASES,
    boot::CASES,
    bundles::CASES,
    command::CASES,
    confine::CASES,
    containers::CASES,
    defaults::CASES,
    devices::CASES,
    doubts::CASES,
    early::CASES,
    engines::CASES,
    escapes::CASES,
    failures::CASES,
    failures::TABLE,
    fallback::CASES,
    handover::CASES,
    hooks::CASES,
    hostile::CASES,
    image::CASES,
    images::CASES,
    inherited::CASES,
    isolation::CASES,
    jobs::CASES,
    landlock::CASES,
    layers::CASES,
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
    odd_devices::CASES,
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
    subtrees::CASES,
    supervision::CASES,
    switch::CASES,
    systemd::CASES,
    verity::CASES,
    volumes::CASES,
];

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    // Two machines at a time: an emulated one keeps a core busy.
    arguments.test_threads.get_or_insert(2);
    let matrix = env::var("BERTH_TEST_KERNELS").ok();
    let series = match &matrix {
        Some(list) => list.split(',').map(series).collect::<Result<Vec<_>>>()?,
        None => vec![Series::of_machine()],
    };
    let trials = series
        .into_iter()
        .flat_map(|series| trials(series, matrix.is_some()))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    print_slowest();
    Ok(conclusion.exit_code())
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

fn trials(series: Series, matrix_only: bool) -> Vec<Trial> {
    // The kernel is fetched once, by the first test that needs it.
    let lab: Arc<OnceLock<Result<Lab, String>>> = Arc::default();
    let chosen = ALL.iter().copied().flatten().filter(|case| {
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
            Trial::test(format!("{}::{name}", series.name()), move || {
                let lab =
                    lab.get_or_init(|| Lab::new(series).map_err(|error| format!("{error:#}")));
                let lab = lab.as_ref().map_err(|error| Failed::from(error.clone()))?;
                let began = Instant::now();
                let result = run(lab);
                let mut durations = DURATIONS.lock().unwrap_or_else(PoisonError::into_inner);
                durations.push((began.elapsed(), case.name));
                result.map_err(|error| Failed::from(format!("{error:#}")))
            })
        })
        .collect()
}
