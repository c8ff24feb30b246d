//! "Did you mean …?": the known word that is nearest to a mistyped one.

/// Words longer than this are not compared.
const LONGEST: usize = 32;

/// The candidate that `typed` can be turned into with the fewest insertions, deletions and
/// replacements of a byte, if one of at most three, and at most a third of its length, is enough.
/// The first of equals.
pub fn nearest<'a>(typed: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, best) = candidates
        .filter_map(|candidate| Some((edit_distance(typed, candidate)?, candidate)))
        .min_by_key(|(distance, _)| *distance)?;
    let limit = best.len().div_euclid(3).min(3);
    (distance <= limit).then_some(best)
}

/// Levenshtein's distance, one row at a time. `None` when a word is too long for the row.
fn edit_distance(a: &str, b: &str) -> Option<usize> {
    let mut row: [usize; LONGEST] = core::array::from_fn(|column| column.saturating_add(1));
    let row = row.get_mut(..b.len())?;
    if a.len() > LONGEST {
        return None;
    }
    for (line, x) in a.bytes().enumerate() {
        // `row` holds the distances from the previous prefix of `a`; the column before its first is
        // the empty prefix of `b`.
        let mut diagonal = line;
        let mut left = line.saturating_add(1);
        for (cell, y) in row.iter_mut().zip(b.bytes()) {
            let replaced = diagonal.saturating_add(usize::from(x != y));
            diagonal = *cell;
            left = replaced.min(left.min(*cell).saturating_add(1));
            *cell = left;
        }
    }
    Some(row.last().copied().unwrap_or(a.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, distance) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abc", "axc", 1),
            ("abc", "abxc", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edit_distance(a, b), Some(distance), "{a} {b}");
        }
        assert_eq!(edit_distance(&"a".repeat(LONGEST + 1), "a"), None);
        assert_eq!(edit_distance("a", &"a".repeat(LONGEST + 1)), None);
    }

    #[test]
    fn only_a_near_word_is_proposed() {
        let known = ["berth.on_idle", "berth.on_failure"];
        let near = |typed| nearest(typed, known.into_iter());
        assert_eq!(near("berth.on_failur"), Some("berth.on_failure"));
        assert_eq!(near("berth.onidle"), Some("berth.on_idle"));
        assert_eq!(near("berth.colour"), None);
        assert_eq!(near(""), None);
    }
}
