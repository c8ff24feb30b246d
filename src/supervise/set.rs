//! Sets of containers, by their places in the list.

use crate::container::BUNDLES_MAX;

const WORDS: usize = BUNDLES_MAX.div_ceil(u64::BITS as usize);

/// Some of the containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set([u64; WORDS]);

impl Set {
    /// None.
    pub(super) const EMPTY: Self = Self([0; WORDS]);

    /// Adds one. There is no container behind the last place.
    pub(super) fn insert(&mut self, index: usize) {
        let (word, bit) = place(index);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    /// Takes one out.
    fn remove(&mut self, index: usize) {
        let (word, bit) = place(index);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !bit;
        }
    }

    /// Whether it is in there.
    pub(super) fn contains(&self, index: usize) -> bool {
        let (word, bit) = place(index);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// Those that are in both.
    pub(super) fn intersection(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= other;
        }
        self
    }

    /// Those that are in either.
    pub(super) fn union(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
        self
    }

    /// Those that are not in the other.
    pub(super) fn difference(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= !other;
        }
        self
    }

    /// The members, in order.
    pub(super) fn iter(mut self) -> impl Iterator<Item = usize> {
        core::iter::from_fn(move || {
            let first = self.first()?;
            self.remove(first);
            Some(first)
        })
    }

    /// The first member.
    #[inline(never)]
    fn first(&self) -> Option<usize> {
        let mut words = (0..).zip(self.0);
        let (number, word) = words.find(|(_, word)| *word != 0)?;
        Some(number * u64::BITS as usize + word.trailing_zeros() as usize)
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(indices: I) -> Self {
        let mut set = Self::EMPTY;
        indices.into_iter().for_each(|index| set.insert(index));
        set
    }
}

const fn place(index: usize) -> (usize, u64) {
    let bits = u64::BITS as usize;
    (index / bits, 1 << (index % bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_in_order_up_to_the_last_place() {
        let last = BUNDLES_MAX - 1;
        let mut set: Set = [last, 64, 0, 3].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 64, last]);
        assert!(set.contains(64) && !set.contains(63));
        set.insert(BUNDLES_MAX);
        set.remove(64);
        assert_eq!(set, [0, 3, last].into_iter().collect());
        assert_eq!(
            set.intersection(&[3, 5].into_iter().collect()),
            [3].into_iter().collect()
        );
        let others = [0, last].into_iter().collect();
        assert_eq!(set.difference(&others), [3].into_iter().collect());
        assert!(Set::EMPTY.is_empty() && !set.is_empty());
    }
}
