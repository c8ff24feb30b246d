//! What a client of DHCP does next (RFC 2131, 4.4): a table, without sockets and without a clock.
//!
//! An address that a server gives anew is probed for first (RFC 5227), and declined if another
//! machine has it. That takes 0.6 seconds, and not the seven of the RFC.
//!
//! It departs from the figure of the RFC in three points. The first message is not delayed: no
//! other machine was switched on in the same moment that waits for this one. A link that comes back
//! asks whether its lease still holds, and keeps it if nobody answers. And it never gives up: after
//! some tries the operator is told, and then it asks about once a minute.

use core::time::Duration;

use crate::sys::clock::Moment;

/// After so many tries the operator is told that nobody answers.
pub(super) const TRIES_UNTOLD: u8 = 5;

/// How long an answer is waited for at first. It doubles with each try (RFC 2131, 4.1).
const FIRST_WAIT: u64 = 4;

/// How often the wait is doubled, at most.
const DOUBLED_MAX: u8 = 4;

/// How often an offer is taken, and a lease asked about, before that is given up.
const SENT_MAX: u8 = 3;

/// How often the client asks whether another machine has its address, and how long it waits for an
/// answer.
const PROBES: u8 = 3;
const PROBE_WAIT: u64 = SECOND / 5;

/// How long a client rests that has declined an address, at least (RFC 2131, 3.1).
const DECLINED: u64 = 10 * SECOND;

/// The least time between two tries to extend a lease (RFC 2131, 4.4.5).
const EXTEND_MIN: u64 = 60 * SECOND;

/// In microseconds.
const SECOND: u64 = 1_000_000;

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The link is down.
    Down,
    /// It has asked who offers something.
    Selecting,
    /// It has said that it takes an offer, so often.
    Requesting(u8),
    /// It was given an address, and has asked whether another machine has it, so often.
    Checking(u8),
    /// It has asked whether its lease still holds, so often.
    Rebooting(u8),
    /// It has a lease.
    Bound,
    /// It has asked the server for more time.
    Renewing,
    /// It has asked any server for more time.
    Rebinding,
    /// It was refused, and waits before it asks again.
    Resting,
}

/// When a lease is to be extended, and when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) renew: Moment,
    pub(super) rebind: Moment,
    pub(super) end: Moment,
}

impl Terms {
    /// Those of a lease for ever.
    pub(super) const FOR_EVER: Self = Self {
        renew: NEVER,
        rebind: NEVER,
        end: NEVER,
    };
}

const NEVER: Moment = Moment(u64::MAX);

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// The link is up.
    Up,
    /// The link is down.
    Down,
    /// The time that was waited for has come.
    Due,
    /// A server offers an address.
    Offer,
    /// The server has given it, or more time.
    Ack(Terms),
    /// The server has refused.
    Nak,
    /// Another machine has the address that it was given.
    Taken,
}

/// What to say to servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// To all: who offers something?
    Discover,
    /// To all: I take that offer.
    Select,
    /// To all: may I keep my address?
    Confirm,
    /// To the server that has given the lease: may I have more time?
    Renew,
    /// To all: may I have more time?
    Rebind,
    /// To all machines on the link: which of you has the address that I was given?
    Probe,
    /// To all: another machine has the address that I was given.
    Decline,
}

/// What becomes of the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// They stay as they are.
    Nothing,
    /// Those of the answer are set.
    Take,
    /// Those of the lease are removed.
    Lose,
    /// The operator is told that nobody answers.
    Complain,
    /// The operator is told that another machine has the address that was given.
    Refuse,
}

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) state: State,
    /// How often it has asked since it last had a lease, or has come up.
    pub(super) tries: u8,
    /// The terms of its lease, if it has one.
    pub(super) terms: Option<Terms>,
    /// When it goes on without being told to.
    pub(super) due: Option<Moment>,
}

impl Client {
    /// A client on a link that is down.
    pub(super) const NEW: Self = Self {
        state: State::Down,
        tries: 0,
        terms: None,
        due: None,
    };

    /// What follows from `input`: the client as it is then, what to say, and what becomes of the
    /// addresses. `None` if it is of no concern. The number `random` spreads machines that ask at
    /// the same time.
    pub(super) fn next(
        self,
        input: Input,
        now: Moment,
        random: u32,
    ) -> Option<(Self, Option<Say>, Effect)> {
        let wait = |tries: u8| {
            let doubled = FIRST_WAIT << tries.saturating_sub(1).min(DOUBLED_MAX);
            // From a second less to a second more.
            let jitter = u64::from(random) % (2 * SECOND);
            Some(later(now, (doubled - 1) * SECOND + jitter))
        };
        let discover = |tries: u8, effect| {
            let next = Self {
                state: State::Selecting,
                tries,
                terms: self.terms.filter(|_| effect != Effect::Lose),
                due: wait(tries),
            };
            Some((next, Some(Say::Discover), effect))
        };
        let say = |state, say, due| Some((Self { state, due, ..self }, Some(say), Effect::Nothing));
        let extend = |until: Moment| {
            let half = (until - now) / 2;
            Some(later(now, half.max(EXTEND_MIN)).min(until))
        };
        let more = self.tries.saturating_add(1);
        match (self.state, input, self.terms) {
            (State::Down, Input::Up, Some(terms)) if now < terms.end => {
                say(State::Rebooting(1), Say::Confirm, wait(1))
            }
            (State::Down, Input::Up, Some(_)) => discover(1, Effect::Lose),
            (State::Down, Input::Up, None) => discover(1, Effect::Nothing),
            (State::Down, Input::Due, Some(_)) => {
                let next = Self {
                    terms: None,
                    due: None,
                    ..self
                };
                Some((next, None, Effect::Lose))
            }
            (State::Down, ..) => None,
            (State::Checking(_), Input::Down, _) => {
                let next = Self {
                    state: State::Down,
                    tries: 0,
                    terms: None,
                    due: None,
                };
                Some((next, None, Effect::Nothing))
            }
            (_, Input::Down, terms) => {
                let next = Self {
                    state: State::Down,
                    tries: 0,
                    terms,
                    due: terms.and_then(|terms| due(terms.end)),
                };
                Some((next, None, Effect::Nothing))
            }
            (State::Selecting | State::Resting, Input::Due, _) => {
                let is_news = more == TRIES_UNTOLD;
                discover(
                    more,
                    if is_news {
                        Effect::Complain
                    } else {
                        Effect::Nothing
                    },
                )
            }
            (State::Selecting, Input::Offer, _) => say(State::Requesting(1), Say::Select, wait(1)),
            (State::Requesting(SENT_MAX..), Input::Due, _) => discover(more, Effect::Nothing),
            (State::Requesting(sent), Input::Due, _) => {
                let sent = sent + 1;
                say(State::Requesting(sent), Say::Select, wait(sent))
            }
            (State::Requesting(_), Input::Nak, _) => {
                let next = Self {
                    state: State::Resting,
                    due: wait(self.tries),
                    ..self
                };
                Some((next, None, Effect::Nothing))
            }
            (State::Checking(PROBES..), Input::Due, Some(terms)) => {
                let next = Self {
                    state: State::Bound,
                    tries: 0,
                    due: due(terms.renew),
                    ..self
                };
                Some((next, None, Effect::Take))
            }
            (State::Checking(asked), Input::Due, _) => say(
                State::Checking(asked.saturating_add(1)),
                Say::Probe,
                Some(later(now, PROBE_WAIT)),
            ),
            (State::Checking(_), Input::Taken, _) => {
                let next = Self {
                    state: State::Resting,
                    terms: None,
                    due: wait(self.tries).max(Some(later(now, DECLINED))),
                    ..self
                };
                Some((next, Some(Say::Decline), Effect::Refuse))
            }
            (State::Checking(_), ..) => None,
            (State::Rebooting(SENT_MAX..), Input::Due, Some(terms)) => {
                // Nobody knows better: it lasts as long as it was given for.
                let next = Self {
                    state: State::Bound,
                    due: due(terms.renew),
                    ..self
                };
                Some((next, None, Effect::Nothing))
            }
            (State::Rebooting(sent), Input::Due, _) => {
                let sent = sent + 1;
                say(State::Rebooting(sent), Say::Confirm, wait(sent))
            }
            (State::Bound | State::Renewing | State::Rebinding, Input::Due, Some(terms)) => {
                if now >= terms.end {
                    discover(1, Effect::Lose)
                } else if now >= terms.rebind {
                    say(State::Rebinding, Say::Rebind, extend(terms.end))
                } else {
                    say(State::Renewing, Say::Renew, extend(terms.rebind))
                }
            }
            (State::Bound | State::Resting, ..) => None,
            // In the state of selecting, that of a server which speaks only BOOTP.
            (State::Selecting | State::Requesting(_), Input::Ack(terms), _) => {
                let next = Self {
                    state: State::Checking(1),
                    terms: Some(terms),
                    due: Some(later(now, PROBE_WAIT)),
                    ..self
                };
                Some((next, Some(Say::Probe), Effect::Nothing))
            }
            (_, Input::Ack(terms), _) => {
                let next = Self {
                    state: State::Bound,
                    tries: 0,
                    terms: Some(terms),
                    due: due(terms.renew),
                };
                Some((next, None, Effect::Take))
            }
            (State::Rebooting(_) | State::Renewing | State::Rebinding, Input::Nak, _) => {
                discover(1, Effect::Lose)
            }
            _ => None,
        }
    }
}

fn later(now: Moment, microseconds: u64) -> Moment {
    now + Duration::from_micros(microseconds)
}

/// A moment to wait for; none for one that never comes.
fn due(moment: Moment) -> Option<Moment> {
    Some(moment).filter(|moment| *moment != NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_000 * SECOND);
    /// A lease of an hour, from now on.
    const TERMS: Terms = Terms {
        renew: Moment(2_800 * SECOND),
        rebind: Moment(4_150 * SECOND),
        end: Moment(4_600 * SECOND),
    };

    fn at(seconds: u64) -> Moment {
        Moment(seconds * SECOND)
    }

    fn client(state: State) -> Client {
        let has_lease = !matches!(
            state,
            State::Selecting | State::Requesting(_) | State::Resting
        );
        Client {
            state,
            tries: 1,
            terms: has_lease.then_some(TERMS),
            due: None,
        }
    }

    type Decision = (State, Option<Moment>, Option<Say>, Effect);

    fn decide(from: Client, input: Input, now: Moment) -> Option<Decision> {
        // Without a share of chance: the middle of what is possible.
        let random = SECOND as u32;
        let (client, say, effect) = from.next(input, now, random)?;
        Some((client.state, client.due, say, effect))
    }

    #[test]
    fn the_table_of_decisions() {
        use Effect::{Complain, Lose, Nothing, Refuse, Take};
        use State::{
            Bound, Checking, Down, Rebinding, Rebooting, Renewing, Requesting, Resting, Selecting,
        };
        let ack = Input::Ack(TERMS);
        let discover =
            |seconds, effect| Some((Selecting, Some(at(seconds)), Some(Say::Discover), effect));
        let take = Some((Bound, Some(TERMS.renew), None, Take));
        let probed = Moment(NOW.0 + PROBE_WAIT);
        let probe = |asked| Some((Checking(asked), Some(probed), Some(Say::Probe), Nothing));
        let table: &[(State, Input, u64, Option<Decision>)] = &[
            // The link comes up, goes, and comes back.
            (
                Down,
                Input::Up,
                1000,
                Some((Rebooting(1), Some(at(1004)), Some(Say::Confirm), Nothing)),
            ),
            (Down, Input::Up, 4600, discover(4604, Lose)),
            (Down, Input::Due, 4600, Some((Down, None, None, Lose))),
            (
                Selecting,
                Input::Down,
                1000,
                Some((Down, None, None, Nothing)),
            ),
            (
                Bound,
                Input::Down,
                1000,
                Some((Down, Some(TERMS.end), None, Nothing)),
            ),
            // An address is asked for.
            (Selecting, Input::Due, 1000, discover(1008, Nothing)),
            (
                Selecting,
                Input::Offer,
                1000,
                Some((Requesting(1), Some(at(1004)), Some(Say::Select), Nothing)),
            ),
            (Selecting, ack, 1000, probe(1)),
            (Selecting, Input::Nak, 1000, None),
            (Requesting(1), Input::Offer, 1000, None),
            (
                Requesting(1),
                Input::Due,
                1000,
                Some((Requesting(2), Some(at(1008)), Some(Say::Select), Nothing)),
            ),
            (
                Requesting(2),
                Input::Due,
                1000,
                Some((Requesting(3), Some(at(1016)), Some(Say::Select), Nothing)),
            ),
            (Requesting(3), Input::Due, 1000, discover(1008, Nothing)),
            (Requesting(1), ack, 1000, probe(1)),
            // The client asks whether another machine has the address.
            (Checking(1), Input::Due, 1000, probe(2)),
            (Checking(2), Input::Due, 1000, probe(3)),
            (Checking(3), Input::Due, 1000, take),
            (
                Checking(2),
                Input::Taken,
                1000,
                Some((Resting, Some(at(1010)), Some(Say::Decline), Refuse)),
            ),
            (
                Checking(1),
                Input::Down,
                1000,
                Some((Down, None, None, Nothing)),
            ),
            (Checking(1), ack, 1000, None),
            (Checking(1), Input::Nak, 1000, None),
            (Checking(1), Input::Offer, 1000, None),
            (Bound, Input::Taken, 1000, None),
            (Resting, Input::Taken, 1000, None),
            (
                Requesting(1),
                Input::Nak,
                1000,
                Some((Resting, Some(at(1004)), None, Nothing)),
            ),
            (Resting, Input::Due, 1000, discover(1008, Nothing)),
            (Resting, ack, 1000, None),
            // It is asked whether the lease still holds.
            (
                Rebooting(1),
                Input::Due,
                1000,
                Some((Rebooting(2), Some(at(1008)), Some(Say::Confirm), Nothing)),
            ),
            (
                Rebooting(3),
                Input::Due,
                1000,
                Some((Bound, Some(TERMS.renew), None, Nothing)),
            ),
            (Rebooting(1), ack, 1000, take),
            (Rebooting(1), Input::Nak, 1000, discover(1004, Lose)),
            (Rebooting(1), Input::Offer, 1000, None),
            // More time is asked for.
            (
                Bound,
                Input::Due,
                2800,
                Some((Renewing, Some(at(3475)), Some(Say::Renew), Nothing)),
            ),
            (Bound, Input::Nak, 1000, None),
            (Bound, ack, 1000, None),
            (
                Renewing,
                Input::Due,
                4000,
                Some((Renewing, Some(at(4075)), Some(Say::Renew), Nothing)),
            ),
            (
                Renewing,
                Input::Due,
                4100,
                Some((Renewing, Some(at(4150)), Some(Say::Renew), Nothing)),
            ),
            (
                Renewing,
                Input::Due,
                4150,
                Some((Rebinding, Some(at(4375)), Some(Say::Rebind), Nothing)),
            ),
            (Renewing, ack, 2801, take),
            (Renewing, Input::Nak, 2801, discover(2805, Lose)),
            (
                Rebinding,
                Input::Due,
                4590,
                Some((Rebinding, Some(at(4600)), Some(Say::Rebind), Nothing)),
            ),
            (Rebinding, Input::Due, 4600, discover(4604, Lose)),
            (Rebinding, ack, 4200, take),
            (Rebinding, Input::Nak, 4200, discover(4204, Lose)),
        ];
        for (state, input, now, expected) in table {
            let found = decide(client(*state), *input, at(*now));
            assert_eq!(found, *expected, "{state:?} {input:?} at {now}");
        }
        assert_eq!(decide(Client::NEW, Input::Up, NOW), discover(1004, Nothing));
        assert_eq!(decide(Client::NEW, Input::Due, NOW), None);
        let fourth = Client {
            tries: TRIES_UNTOLD - 1,
            ..client(Selecting)
        };
        assert_eq!(decide(fourth, Input::Due, NOW), discover(1064, Complain));
    }

    #[test]
    fn waits_grow_up_to_a_minute_and_are_spread() {
        let mut client = Client::NEW;
        let mut input = Input::Up;
        let mut complaints = 0;
        for expected in [4, 8, 16, 32, 64, 64, 64] {
            for random in [0, u32::MAX] {
                let (next, ..) = client.next(input, NOW, random).unwrap();
                let wait = next.due.unwrap() - NOW;
                assert!(wait.abs_diff(expected * SECOND) <= SECOND, "{wait}");
            }
            let (next, _, effect) = client.next(input, NOW, 7).unwrap();
            complaints += u32::from(effect == Effect::Complain);
            (client, input) = (next, Input::Due);
        }
        assert_eq!(complaints, 1);
        let tireless = Client {
            tries: u8::MAX,
            ..client
        };
        assert!(tireless.next(Input::Due, NOW, 7).is_some());
    }

    /// A server that offers and then refuses, again and again, is asked ever less often.
    #[test]
    fn refusals_do_not_make_it_ask_faster() {
        let mut client = Client::NEW.next(Input::Up, NOW, 0).unwrap().0;
        let mut now = NOW;
        for _ in 0..20 {
            client = client.next(Input::Offer, now, 0).unwrap().0;
            client = client.next(Input::Nak, now, 0).unwrap().0;
            now = client.due.unwrap();
            client = client.next(Input::Due, now, 0).unwrap().0;
        }
        assert!(now - NOW > 15 * 60 * SECOND);
    }

    /// A network on which all addresses are taken is asked ever less often, and nothing is used.
    #[test]
    fn addresses_that_are_taken_do_not_make_it_ask_faster() {
        let mut client = Client::NEW.next(Input::Up, NOW, 0).unwrap().0;
        let mut now = NOW;
        for _ in 0..20 {
            for input in [Input::Offer, Input::Ack(TERMS), Input::Taken] {
                let (next, _, effect) = client.next(input, now, 0).unwrap();
                assert_ne!(effect, Effect::Take);
                client = next;
            }
            assert_eq!(client.terms, None);
            assert!(client.due.unwrap() - now >= 10 * SECOND);
            now = client.due.unwrap();
            client = client.next(Input::Due, now, 0).unwrap().0;
        }
        assert!(now - NOW > 15 * 60 * SECOND);
    }

    #[test]
    fn a_lease_for_ever_is_never_extended() {
        let ack = Input::Ack(Terms::FOR_EVER);
        let (bound, ..) = client(State::Rebooting(1)).next(ack, NOW, 0).unwrap();
        assert_eq!((bound.state, bound.due), (State::Bound, None));
        let (down, ..) = bound.next(Input::Down, NOW, 0).unwrap();
        assert_eq!(down.due, None);
    }
}
