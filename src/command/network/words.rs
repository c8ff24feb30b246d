//! All words about the network, and which of them are about a device.

use core::net::IpAddr;

use crate::parse::ip_word::{IpWord, Method};

/// The most words `ip=`, and the most `nameserver=`.
pub(super) const WORDS_MAX: usize = 32;
pub(super) const SERVERS_MAX: usize = 8;

/// Some of the words, each a bit by its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn has(self, place: usize) -> bool {
        place < WORDS_MAX && self.0 >> place & 1 == 1
    }

    pub(super) const fn set(&mut self, place: usize) {
        if place < WORDS_MAX {
            self.0 |= 1 << place;
        }
    }
}

/// All words.
#[derive(Default)]
pub(super) struct Words<'w> {
    words: heapless::Vec<IpWord<'w>, WORDS_MAX>,
    /// Name servers that the operator names apart.
    pub(super) servers: heapless::Vec<IpAddr, SERVERS_MAX>,
    /// Those that have what they ask for.
    done: Place,
    /// Those of one device alone, of any, that have found theirs.
    taken: Place,
}

impl<'w> Words<'w> {
    /// Adds a word; `false` if there is no room. One that asks for nothing is left out.
    pub(super) fn push(&mut self, word: IpWord<'w>) -> bool {
        word.method == Method::Nothing || self.words.push(word).is_ok()
    }

    /// Whether no device is to be set up.
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (usize, &IpWord<'w>)> {
        self.words.iter().enumerate()
    }

    /// Those of these places.
    pub(super) fn iter(&self, places: Place) -> impl Iterator<Item = (usize, &IpWord<'w>)> {
        self.all().filter(move |(place, _)| places.has(*place))
    }

    /// Those about the device of this name. If none names it, those that are about any network
    /// card, which it `is_card` or not: an address is for one device only, the first that comes.
    pub(super) fn about(&self, name: &str, is_card: impl FnOnce() -> bool) -> Place {
        let mut places = Place::default();
        for (place, word) in self.all() {
            if word.device == Some(name) {
                places.set(place);
            }
        }
        if !places.is_empty() || !self.all().any(|(_, word)| word.device.is_none()) || !is_card() {
            return places;
        }
        for (place, word) in self.all() {
            if word.device.is_none() && !self.taken.has(place) {
                places.set(place);
            }
        }
        places
    }

    /// These are a device's now.
    pub(super) fn take(&mut self, places: Place) {
        let is_for_one = |word: &IpWord<'_>| word.device.is_none() && word.address.is_some();
        for (place, word) in self.words.iter().enumerate() {
            if places.has(place) && is_for_one(word) {
                self.taken.set(place);
            }
        }
    }

    /// A device that has these is gone.
    pub(super) const fn give_back(&mut self, places: Place) {
        self.taken.0 &= !places.0;
    }

    /// The word at `place` has what it asks for.
    pub(super) const fn set_done(&mut self, place: usize) {
        self.done.set(place);
    }

    /// The words at these places that do not have what they ask for.
    pub(super) fn undone(&self, places: Place) -> impl Iterator<Item = (usize, &IpWord<'w>)> {
        self.iter(places)
            .filter(|(place, _)| !self.done.has(*place))
    }

    /// Whether all have.
    pub(super) fn are_done(&self) -> bool {
        self.all().all(|(place, _)| self.done.has(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(values: &[&'static str]) -> Words<'static> {
        let mut words = Words::default();
        for value in values {
            assert!(words.push(IpWord::parse(value).unwrap()));
        }
        words
    }

    fn about(words: &Words<'_>, name: &str, is_card: bool) -> Vec<usize> {
        let places = words.about(name, || is_card);
        (0..WORDS_MAX).filter(|place| places.has(*place)).collect()
    }

    #[test]
    fn a_word_that_names_a_device_is_about_no_other() {
        let words = words(&["eth0:dhcp", "10.0.0.2:::24::eth1:none", "off", "eth0:auto6"]);
        assert_eq!(about(&words, "eth0", true), [0, 2]);
        assert_eq!(about(&words, "eth1", false), [1]);
        assert_eq!(about(&words, "eth2", true), [0; 0]);
    }

    #[test]
    fn a_word_for_any_device_is_about_cards_that_no_other_names() {
        let words = words(&["dhcp", "eth1:none"]);
        assert_eq!(about(&words, "eth0", true), [0]);
        assert_eq!(about(&words, "eth1", true), [1]);
        assert_eq!(about(&words, "veth0", false), [0; 0]);
    }

    #[test]
    fn an_address_is_for_one_device() {
        let mut words = words(&["10.0.0.2", "auto6"]);
        let first = words.about("eth0", || true);
        words.take(first);
        assert_eq!(about(&words, "eth1", true), [1]);
        words.give_back(first);
        assert_eq!(about(&words, "eth1", true), [0, 1]);
    }

    #[test]
    fn the_network_is_there_when_each_word_has_what_it_asks_for() {
        let mut words = words(&["dhcp", "eth1:auto6"]);
        words.set_done(1);
        assert!(!words.are_done());
        let places = words.about("eth1", || true);
        assert_eq!(words.undone(places).count(), 0);
        let places = words.about("eth0", || true);
        let undone = words.undone(places).map(|(place, _)| place);
        assert_eq!(undone.collect::<Vec<_>>(), [0]);
        words.set_done(0);
        assert!(words.are_done());
        for _ in 2..WORDS_MAX {
            assert!(words.push(IpWord::parse("dhcp").unwrap()));
        }
        assert!(!words.push(IpWord::parse("dhcp").unwrap()));
        assert!(words.push(IpWord::parse("off").unwrap()));
    }
}
