//! Paths into a document, as a tree: so each key is compared only with those names that may stand
//! where it does.

use super::Text;

/// A name on the way to something that is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Branch {
    name: &'static str,
    /// The first of those within it, and the next beside it; 0 where there is none.
    first: u8,
    next: u8,
}

/// The whole document.
pub(super) const ROOT: u8 = 0;

/// The tree of these paths, in which `.` separates names. Each path but for its last name is one of
/// those before it, and what the path with the number `n` leads to is found in the place with that
/// number. `N` is one more than there are paths.
///
/// # Panics
/// When it is not so, which is seen when it is compiled.
#[must_use]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tables are made of constants"
)]
pub const fn tree<const N: usize>(paths: &[&'static str]) -> [Branch; N] {
    assert!(N == paths.len() + 1 && N <= u8::MAX as usize);
    let mut tree = [Branch {
        name: "",
        first: 0,
        next: 0,
    }; N];
    let mut i = 0;
    while i < paths.len() {
        let (parent, name) = split(paths, i);
        let new = i as u8 + 1;
        tree[i + 1].name = name;
        match tree[parent].first {
            0 => tree[parent].first = new,
            first => {
                let mut last = first as usize;
                while tree[last].next != 0 {
                    last = tree[last].next as usize;
                }
                tree[last].next = new;
            }
        }
        i += 1;
    }
    tree
}

/// The number of the branch that the path leads on from, and its own name.
#[expect(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tables are made of constants"
)]
const fn split(paths: &[&'static str], i: usize) -> (usize, &'static str) {
    let path = paths[i];
    let mut dot = path.len();
    while dot > 0 && path.as_bytes()[dot - 1] != b'.' {
        dot -= 1;
    }
    if dot == 0 {
        return (ROOT as usize, path);
    }
    let (before, name) = path.split_at(dot);
    let (before, _) = before.split_at(dot - 1);
    let mut j = 0;
    while j < i {
        if is_same(paths[j].as_bytes(), before.as_bytes()) {
            return (j + 1, name);
        }
        j += 1;
    }
    panic!("a path leads on from none before it")
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tables are made of constants"
)]
const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    a.len() == b.len()
}

/// Whether the key is this name, of the many that it is not: most are seen by their length.
#[inline(always)]
pub(super) fn is_named(key: Text<'_>, name: &str) -> bool {
    (key.written().len() == name.len() || key.has_escape()) && key.is(name)
}

/// The branch of this name within another one.
#[inline(never)]
pub(super) fn branch(tree: &[Branch], within: u8, key: Text<'_>) -> Option<u8> {
    let mut number = tree.get(usize::from(within))?.first;
    // There are as many at most as the tree has.
    while number != 0 {
        let branch = tree.get(usize::from(number))?;
        if is_named(key, branch.name) {
            return Some(number);
        }
        number = branch.next;
    }
    None
}

/// Whether there are others within it.
pub(super) fn leads_on(tree: &[Branch], branch: u8) -> bool {
    tree.get(usize::from(branch))
        .is_some_and(|branch| branch.first != 0)
}

#[cfg(test)]
mod tests {
    use super::super::{Node, Value, check, check_and_find};
    use super::*;

    const PATHS: [&str; 5] = ["a", "a.b", "a.b.c", "d", "a.e"];
    static TREE: [Branch; 6] = tree(&PATHS);

    fn written(found: [Option<Value<'_>>; 5]) -> [&str; 5] {
        found.map(|value| value.map_or("", |value| value.as_written()))
    }

    #[test]
    fn what_paths_lead_to_is_found_while_the_document_is_checked_and_after() {
        for (text, expected) in [
            (
                r#"{"a": {"b": {"c": 1}, "e": [2]}, "d": "3"}"#,
                [
                    r#"{"b": {"c": 1}, "e": [2]}"#,
                    r#"{"c": 1}"#,
                    "1",
                    r#""3""#,
                    "[2]",
                ],
            ),
            (
                r#" {"d":null,"x":{"d":1},"\u0061":{"b":null,"e":false}}"#,
                [r#"{"b":null,"e":false}"#, "", "", "", "false"],
            ),
            // What stands in a list, or elsewhere, is something else.
            (
                r#"{"a": [{"b": 1}], "b": 2, "e": 3, "c": 4}"#,
                [r#"[{"b": 1}]"#, "", "", "", ""],
            ),
            ("[1]", [""; 5]),
            ("7", [""; 5]),
        ] {
            let mut found = [None; 5];
            let value = check_and_find(text.as_bytes(), &TREE, &mut found).unwrap();
            assert_eq!(written(found), expected, "{text}");
            let mut again = [None; 5];
            value.find(&TREE, &mut again);
            assert_eq!(written(again), expected, "{text}");
        }
    }

    #[test]
    fn members_are_found_in_one_pass_as_one_by_one() {
        let text = r#"{"c": 1, "a": {"b": 2}, "n": null, "\u0062": true}"#;
        let value = check(text.as_bytes()).unwrap();
        let [a, b, n, x] = value.members(&["a", "b", "n", "x"]);
        assert!(matches!(b.unwrap().node(), Node::Bool(true)));
        assert_eq!(
            a.unwrap().as_written(),
            value.member("a").unwrap().as_written()
        );
        assert!(n.is_none() && x.is_none());
        assert!(a.unwrap().members(&["c"]).iter().all(Option::is_none));
    }
}
