//! The order of starts, as tables of values.

use super::*;
use crate::events::OWN_FAILURE;
use crate::parse::config::OnExit;
use crate::parse::list::List;
use crate::parse::log::SIZE;

const NOW: Moment = Moment(0);

const FIRST_LACKS_SECOND: (usize, Required) = (0, Required::Container(1));

fn jobs(names: &[&str]) -> Jobs {
    let mut jobs = Jobs::new();
    for name in names {
        assert!(jobs.add(Id::try_from(*name).unwrap()));
    }
    jobs
}

fn list(text: &str) -> List<'_> {
    List::parse(text, |_| true).unwrap_or_default()
}

fn policy<'l>(after: &'l str, requires: &'l str) -> Policy<'l> {
    Policy {
        restart: Restart::No,
        on_exit: OnExit::Continue,
        stop_timeout: None,
        raw_output: false,
        log_size: SIZE,
        ready: ReadyBy::Started,
        after: list(after),
        requires: list(requires),
    }
}

/// The bundle of the first asks for this.
fn set_restart(jobs: &mut Jobs, restart: Restart) {
    let policy = Policy {
        restart,
        ..policy("", "")
    };
    assert_eq!(jobs.follow(0, &policy), Ok(false));
}

/// Jobs `a`, `b`, … that wait for those whose letters follow: capital ones are required.
fn waiting(waits: &[&str]) -> Jobs {
    let mut jobs = jobs(&["a", "b", "c", "d", "e"][..waits.len()]);
    for (index, others) in waits.iter().enumerate() {
        assert!(!jobs.are_all_read());
        let ids = |wanted: fn(&char) -> bool| {
            let ids = others.chars().filter(wanted);
            let ids: Vec<_> = ids.map(|id| id.to_lowercase().to_string()).collect();
            ids.join(",")
        };
        let (after, requires) = (ids(char::is_ascii_lowercase), ids(char::is_ascii_uppercase));
        let waits = jobs.follow(index, &policy(&after, &requires));
        assert_eq!(waits, Ok(!others.is_empty()));
    }
    assert!(jobs.are_all_read());
    jobs
}

/// The same, of which the last is ready by this, and restarted if it fails.
fn ready_by(ready: ReadyBy, waits: &[&str]) -> Jobs {
    let mut jobs = waiting(waits);
    let last = waits.len() - 1;
    let policy = Policy {
        restart: Restart::OnFailure { max: Some(1) },
        ready,
        ..policy("", "")
    };
    assert_eq!(jobs.follow(last, &policy), Ok(false));
    jobs.set_starting(last);
    jobs
}

fn due(jobs: &Jobs) -> Option<usize> {
    jobs.due(NOW, &|_| true)
}

#[test]
fn containers_are_found_by_their_names() {
    let mut jobs = jobs(&["db", "web", "www"]);
    assert_eq!(jobs.follow(0, &policy("web,www", "www")), Ok(true));
    assert_eq!(jobs.after(0), Set::from_iter([1, 2]));
    assert_eq!(jobs.required_by(0), Set::from_iter([2]));
    assert_eq!(jobs.follow(1, &policy("", "")), Ok(false));
    let unknown = |key, name| Err(Unknown { key, name });
    let found = jobs.follow(2, &policy("db,wep", ""));
    assert_eq!(found, unknown("berth.after", "wep"));
    let found = jobs.follow(1, &policy("", "db,dp"));
    assert_eq!(found, unknown("berth.requires", "dp"));
    // The order is that of the first start alone, and what is required is of each.
    assert_eq!(jobs.follow(0, &policy("web", "")), Ok(false));
    assert_eq!(jobs.follow(0, &policy("web", "www")), Ok(true));
}

/// A container `web` that requires the network and `db`, which runs, and is ready by that.
fn networked(network: Network) -> Jobs {
    let mut jobs = jobs(&["db", "web"]);
    jobs.set_network(network);
    assert_eq!(jobs.follow(0, &policy("", "")), Ok(false));
    assert_eq!(jobs.follow(1, &policy("", "network,db")), Ok(true));
    jobs.set_starting(0);
    jobs.set_running(0, NOW);
    jobs
}

#[test]
fn the_network_is_no_container() {
    let mut jobs = jobs(&["network", "web"]);
    assert_eq!(jobs.follow(1, &policy("network", "network")), Ok(true));
    assert_eq!(jobs.after(1), Set::from_iter([0]));
    assert_eq!(jobs.required_by(1), Set::EMPTY);
    assert!(jobs.waits_for_network(1));
    assert_eq!(jobs.follow(0, &policy("", "")), Ok(false));
}

#[test]
fn one_that_requires_the_network_is_started_when_that_is_ready() {
    for before in [Network::Pending, Network::Late] {
        let mut jobs = networked(before);
        assert_eq!((due(&jobs), jobs.unmet()), (None, None), "{before:?}");
        assert!(jobs.are_pending(), "{before:?}");
        jobs.set_network(Network::Ready);
        assert_eq!((due(&jobs), jobs.unmet()), (Some(1), None), "{before:?}");
        assert_eq!(jobs.take_late(), None, "{before:?}");
        // The network stays ready.
        for after in [Network::Absent, Network::Pending, Network::Late] {
            jobs.set_network(after);
            assert_eq!((due(&jobs), jobs.unmet()), (Some(1), None), "{after:?}");
        }
    }
}

#[test]
fn the_network_alone_does_not_start_what_requires_others_too() {
    let mut jobs = ready_by(ReadyBy::Exited, &["B", ""]);
    assert_eq!(jobs.follow(0, &policy("", "b,network")), Ok(true));
    jobs.set_network(Network::Ready);
    assert_eq!(due(&jobs), None);
    jobs.set_running(1, NOW);
    assert!(jobs.is_ready_by_end(1, Status::Exited(0)));
    assert_eq!(due(&jobs), Some(0));
}

#[test]
fn one_that_requires_a_network_which_nothing_sets_up_is_given_up() {
    for before in [Network::Absent, Network::Pending, Network::Late] {
        let mut jobs = networked(before);
        jobs.set_network(Network::Absent);
        assert_eq!(due(&jobs), None);
        assert_eq!(jobs.unmet(), Some((1, Required::Network)), "{before:?}");
        jobs.set_failed(1);
        assert_eq!((jobs.unmet(), jobs.take_late()), (None, None));
    }
    // What became of a container is told first.
    let mut jobs = waiting(&["B", ""]);
    assert_eq!(jobs.follow(0, &policy("", "network,b")), Ok(true));
    jobs.set_failed(1);
    assert_eq!(jobs.unmet(), Some((0, Required::Container(1))));
}

#[test]
fn that_the_network_is_late_is_told_once_of_each_that_waits_for_it() {
    let mut jobs = networked(Network::Pending);
    assert_eq!(jobs.take_late(), None);
    assert!(jobs.are_waiting());
    jobs.set_network(Network::Late);
    assert_eq!(jobs.take_late(), Some(1));
    assert_eq!((jobs.take_late(), jobs.unmet()), (None, None));
    assert!(jobs.are_waiting() && jobs.are_pending());
    jobs.set_network(Network::Late);
    assert_eq!(jobs.take_late(), None);
    // A container that comes later is reported, too, and so is another start.
    assert!(jobs.add(Id::try_from("more").unwrap()));
    assert_eq!(jobs.follow(2, &policy("", "network")), Ok(true));
    assert_eq!((jobs.take_late(), jobs.take_late()), (Some(2), None));
    assert_eq!(jobs.follow(1, &policy("", "network")), Ok(true));
    assert_eq!((jobs.take_late(), jobs.take_late()), (Some(1), None));
    jobs.abandon(|_| unreachable!("none rests"));
    assert!(!jobs.are_pending());
}

#[test]
fn one_that_requires_another_is_started_when_that_is_ready() {
    let ended = |status| Status::Exited(status);
    for (ready, is_started) in [
        (ReadyBy::Started, true),
        (ReadyBy::Exited, false),
        (ReadyBy::Answer, false),
    ] {
        let mut jobs = ready_by(ready, &["B", ""]);
        assert_eq!((due(&jobs), jobs.unmet()), (None, None), "{ready:?}");
        assert!(!jobs.set_ready(1), "{ready:?}");
        jobs.set_running(1, NOW);
        assert_eq!(due(&jobs).is_some(), is_started, "{ready:?}");
        let is_told = jobs.set_ready(1);
        assert_eq!(is_told, ready == ReadyBy::Answer);
        assert_eq!(due(&jobs).is_some(), ready != ReadyBy::Exited, "{ready:?}");
        assert!(!jobs.set_ready(1), "{ready:?}");

        // It fails, and is restarted: what was said has to be said again.
        assert!(!jobs.is_ready_by_end(1, ended(7)));
        assert!(jobs.set_ended(1, ended(7), Phase::Running, NOW).is_some());
        assert_eq!(due(&jobs).is_some(), is_started, "{ready:?}");
        assert_eq!(jobs.unmet(), None);
        jobs.set_starting(1);
        jobs.set_running(1, NOW);
        assert_eq!(due(&jobs).is_some(), is_started, "{ready:?}");

        // It ends well.
        let is_ready = jobs.is_ready_by_end(1, ended(0));
        assert_eq!(is_ready, ready == ReadyBy::Exited);
        assert_eq!(jobs.set_ended(1, ended(0), Phase::Running, NOW), None);
        let is_lost = ready == ReadyBy::Answer;
        assert_eq!(due(&jobs).is_some(), !is_lost, "{ready:?}");
        assert_eq!(
            jobs.unmet(),
            is_lost.then_some(FIRST_LACKS_SECOND),
            "{ready:?}"
        );
    }
}

#[test]
fn what_was_ready_once_stays_so_while_it_is_restarted() {
    let mut jobs = ready_by(ReadyBy::Exited, &["B", ""]);
    jobs.set_running(1, NOW);
    assert!(jobs.is_ready_by_end(1, Status::Exited(0)));
    jobs.set_starting(1);
    assert_eq!(due(&jobs), Some(0));
    assert!(!jobs.is_ready_by_end(1, Status::Exited(0)));
}

#[test]
fn what_requires_one_that_failed_is_given_up_with_what_requires_that() {
    let mut jobs = waiting(&["B", "C", "", "b"]);
    jobs.set_starting(2);
    assert_eq!(jobs.unmet(), None);
    jobs.set_failed(2);
    let mut given_up = Vec::new();
    while let Some((index, Required::Container(other))) = jobs.unmet() {
        given_up.push((index, jobs.loss(other).to_string()));
        jobs.set_failed(index);
    }
    let expected = [(1, "c is not started"), (0, "b is not started")];
    assert_eq!(
        given_up,
        expected.map(|(index, why)| (index, why.to_owned()))
    );
    // To be started after it is an order and no condition.
    assert_eq!(due(&jobs), Some(3));
}

#[test]
fn it_is_told_why_a_container_cannot_become_ready() {
    let bad = Status::Exited(7);
    let mut jobs = ready_by(ReadyBy::Exited, &["B", ""]);
    for _ in 0..2 {
        assert_eq!(jobs.unmet(), None);
        jobs.set_running(1, NOW);
        jobs.set_ended(1, bad, Phase::Running, NOW);
    }
    assert_eq!(jobs.unmet(), Some(FIRST_LACKS_SECOND));
    let loss = jobs.loss(1).to_string();
    assert_eq!(loss, "b ended with status 7, and is not ready");

    let mut jobs = ready_by(ReadyBy::Answer, &["B", ""]);
    assert!(!jobs.set_unheard(1));
    jobs.set_running(1, NOW);
    assert!(jobs.set_unheard(1) && !jobs.set_ready(1));
    assert_eq!(jobs.unmet(), Some(FIRST_LACKS_SECOND));
    let loss = jobs.loss(1).to_string();
    assert_eq!(loss, "nobody hears any more whether b is ready");
    // The next run has another who listens.
    jobs.set_ended(1, bad, Phase::Running, NOW);
    assert_eq!(jobs.unmet(), None);
    jobs.set_starting(1);
    jobs.set_running(1, NOW);
    assert!(jobs.set_ready(1) && !jobs.set_unheard(1));
    assert_eq!(due(&jobs), Some(0));
}

#[test]
fn what_was_stopped_by_request_may_be_ready_when_it_is_started_again() {
    let mut jobs = ready_by(ReadyBy::Answer, &["B", ""]);
    jobs.set_running(1, NOW);
    assert!(jobs.set_ready(1));
    assert_eq!(jobs.stop(1, Next::Nothing, NOW), Ending::Later);
    assert_eq!(
        jobs.set_ended(1, Status::Killed(15), Phase::Running, NOW),
        None
    );
    assert_eq!((due(&jobs), jobs.unmet()), (None, None));
    jobs.start_again(1, NOW);
    jobs.set_starting(1);
    jobs.set_running(1, NOW);
    assert_eq!(due(&jobs), None);
    assert!(jobs.set_ready(1));
    assert_eq!(due(&jobs), Some(0));
}

#[test]
fn machine_that_ends_has_nobody_wait_for_what_is_not_ready() {
    let mut jobs = ready_by(ReadyBy::Answer, &["B", ""]);
    jobs.set_running(1, NOW);
    jobs.abandon(|_| unreachable!("none rests"));
    jobs.set_ended(1, Status::Killed(15), Phase::Running, NOW);
    assert!(!jobs.are_waiting() && jobs.unmet().is_none() && due(&jobs).is_none());
}

#[test]
fn one_is_started_when_it_is_known_of_the_others_whether_they_run() {
    let mut jobs = waiting(&["bc", "", ""]);
    assert_eq!(due(&jobs), Some(1));
    jobs.set_starting(1);
    assert_eq!(due(&jobs), Some(2));
    jobs.set_failed(2);
    assert_eq!(due(&jobs), None);
    assert!(jobs.are_waiting() && jobs.are_pending());
    assert!(jobs.set_running(1, NOW));
    assert_eq!(due(&jobs), Some(0));
    jobs.set_starting(0);
    assert!(!jobs.are_waiting() && !jobs.are_pending());
    assert_eq!(due(&jobs), None);
}

#[test]
fn a_container_that_waits_for_itself_is_told_by_which_way() {
    const AFTER: &str = "berth.after forms a cycle: ";
    const REQUIRES: &str = "berth.requires forms a cycle: ";
    const BOTH: &str = "berth.after and berth.requires form a cycle: ";
    for (waits, keys, expected) in [
        (&["a"][..], AFTER, &[(0, "a, a")][..]),
        (&["A"], REQUIRES, &[(0, "a, a")]),
        (&["b", "a"], AFTER, &[(0, "a, b, a"), (1, "b, a, b")]),
        (&["B", "A"], REQUIRES, &[(0, "a, b, a"), (1, "b, a, b")]),
        (&["B", "a"], BOTH, &[(0, "a, b, a"), (1, "b, a, b")]),
        (&["B", "cC", "b"], AFTER, &[(1, "b, c, b"), (2, "c, b, c")]),
        (
            &["be", "c", "a", "", "d"],
            AFTER,
            &[(0, "a, b, c, a"), (1, "b, c, a, b"), (2, "c, a, b, c")],
        ),
        (
            &["bc", "d", "a", "a"],
            AFTER,
            &[
                (0, "a, c, a"),
                (1, "b, d, a, b"),
                (2, "c, a, c"),
                (3, "d, a, b, d"),
            ],
        ),
        (&["b", "c", "", "abc"], AFTER, &[]),
        (&["B", "c", "", "aBC"], BOTH, &[]),
    ] {
        let jobs = waiting(waits);
        let found: Vec<_> = jobs
            .cycles()
            .iter()
            .map(|index| (index, jobs.cycle_through(index).as_str().to_owned()))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(index, way)| (*index, format!("{keys}{way}")))
            .collect();
        assert_eq!(found, expected, "{waits:?}");
    }
}

#[test]
fn what_waits_for_a_cycle_is_started_when_that_was_refused() {
    let mut jobs = waiting(&["b", "c", "b"]);
    assert_eq!(due(&jobs), None);
    let cycles = jobs.cycles();
    cycles.iter().for_each(|index| jobs.set_failed(index));
    assert_eq!(due(&jobs), Some(0));
}

#[test]
fn one_is_restarted_when_its_delay_is_over_and_nothing_is_left_of_it() {
    let mut jobs = jobs(&["a"]);
    jobs.set_starting(0);
    assert!(jobs.set_running(0, NOW));
    set_restart(&mut jobs, Restart::Always);
    let bad = Status::Exited(1);
    let again = jobs.set_ended(0, bad, Phase::Running, NOW);
    assert_eq!(again, Some((1, Duration::from_millis(100))));
    let until = Moment(100_000);
    assert_eq!(jobs.deadline(|_| true), Some(until));
    assert_eq!(jobs.deadline(|_| false), None);
    assert_eq!(jobs.due(Moment(99_999), &|_| true), None);
    assert_eq!(jobs.due(until, &|_| false), None);
    assert_eq!(jobs.due(until, &|_| true), Some(0));
    assert!(jobs.are_pending() && !jobs.are_waiting());
    jobs.set_starting(0);
    assert!(!jobs.set_running(0, until));
    let again = jobs.set_ended(0, bad, Phase::Running, Moment(20_000_000));
    assert_eq!(again, Some((2, Duration::from_millis(100))));

    let mut statuses = Vec::new();
    jobs.abandon(|status| statuses.push(status));
    assert_eq!(statuses, [bad]);
    assert!(!jobs.are_pending());
}

#[test]
fn one_that_lacks_something_at_its_first_start_is_started_as_its_bundle_says() {
    let starved = Status::Exited(OWN_FAILURE);
    for (restart, expected) in [
        (None, 5),
        (Some(Restart::No), 0),
        (Some(Restart::OnFailure { max: Some(2) }), 2),
    ] {
        let mut jobs = jobs(&["a"]);
        if let Some(restart) = restart {
            set_restart(&mut jobs, restart);
        }
        let mut lack = || jobs.set_ended(0, starved, Phase::Running, NOW);
        let counts = core::iter::from_fn(|| lack().map(|(count, _)| count));
        assert_eq!(counts.count(), expected, "{restart:?}");
        assert!(!jobs.are_pending());
    }
    let mut jobs = jobs(&["a"]);
    set_restart(&mut jobs, Restart::Always);
    assert!(jobs.set_ended(0, starved, Phase::Running, NOW).is_some());
    // It counts among those that were started all the same, and once.
    assert!(jobs.set_running(0, NOW) && !jobs.set_running(0, NOW));
}

#[test]
fn the_end_is_in_the_reverse_order_of_the_start() {
    let mut jobs = waiting(&["bc", "c", "", "c", ""]);
    for (index, since) in [(2, 1), (4, 2), (1, 4), (3, 4), (0, 5)] {
        jobs.set_running(index, Moment(since));
    }
    let order = |needed: Set| {
        let asked = std::cell::RefCell::new(Vec::new());
        let is_wanted = |index| !needed.contains(index) && !asked.borrow().contains(&index);
        while let Some(next) = jobs.youngest(is_wanted) {
            asked.borrow_mut().push(next);
        }
        asked.into_inner()
    };
    assert_eq!(order(Set::EMPTY), [0, 3, 1, 4, 2]);
    assert_eq!(order(jobs.needed(|_| true)), [0, 3, 4]);
    assert_eq!(order(jobs.needed(|index| index == 3)), [0, 3, 1, 4]);
    assert_eq!(
        jobs.needed(|index| index == 0),
        [1, 2].into_iter().collect()
    );
}

#[test]
fn one_that_is_stopped_stays_stopped_until_it_is_started_by_request() {
    let mut jobs = jobs(&["a"]);
    set_restart(&mut jobs, Restart::Always);
    jobs.set_running(0, NOW);
    assert_eq!(jobs.condition(0), Condition::Running);
    assert_eq!(jobs.stop(0, Next::Nothing, NOW), Ending::Later);
    assert!(!jobs.is_held(0));
    let killed = Status::Killed(15);
    assert_eq!(jobs.set_ended(0, killed, Phase::Running, NOW), None);
    assert_eq!(jobs.condition(0), Condition::Stopped);
    // The machine waits for who has stopped it.
    assert!(jobs.is_held(0) && jobs.are_pending() && due(&jobs).is_none());

    jobs.start_again(0, NOW);
    assert_eq!(jobs.due(NOW, &|_| false), None);
    assert_eq!(due(&jobs), Some(0));
    jobs.set_running(0, NOW);
    let again = jobs.set_ended(0, killed, Phase::Running, NOW);
    assert!(again.is_some() && !jobs.is_held(0));
}

#[test]
fn one_that_is_restarted_by_request_is_started_at_once_whatever_its_policy() {
    let mut jobs = jobs(&["a"]);
    set_restart(&mut jobs, Restart::No);
    jobs.set_running(0, NOW);
    assert_eq!(jobs.stop(0, Next::Start, NOW), Ending::Later);
    let again = jobs.set_ended(0, Status::Exited(0), Phase::Running, NOW);
    assert_eq!(again, Some((0, Duration::ZERO)));
    assert_eq!(due(&jobs), Some(0));
    jobs.set_running(0, NOW);
    assert_eq!(
        jobs.set_ended(0, Status::Exited(0), Phase::Running, NOW),
        None
    );
    assert_eq!(jobs.condition(0), Condition::Ended);
}

#[test]
fn one_that_does_not_run_stops_at_once_and_ends_with_the_machine() {
    let mut jobs = waiting(&["b", ""]);
    assert_eq!(jobs.stop(0, Next::Nothing, NOW), Ending::Now);
    assert_eq!(jobs.condition(0), Condition::Stopped);
    assert_eq!(due(&jobs), Some(1));
    jobs.set_starting(1);
    assert!(jobs.are_pending());
    jobs.abandon(|_| ());
    assert!(!jobs.are_pending());
    assert_eq!(jobs.condition(0), Condition::Ended);
}

#[test]
fn one_whose_bundle_has_come_later_is_started() {
    let mut jobs = waiting(&[""]);
    jobs.set_running(0, NOW);
    assert_eq!(jobs.find("late"), None);
    assert!(jobs.add(Id::try_from("late").unwrap()));
    assert_eq!((jobs.find("late"), due(&jobs)), (Some(1), Some(1)));
    for number in jobs.all.len()..BUNDLES_MAX {
        assert!(jobs.add(Id::try_from(format!("n{number}").as_str()).unwrap()));
    }
    assert!(!jobs.add(Id::try_from("more").unwrap()));
}
