//! `process.execCPUAffinity`: on which processors a process runs that is executed in a container
//! that runs. It is nothing to the container's first process (`config.md`, "Linux Process").

use core::ops::RangeInclusive;

use super::reader::{Reader, Refused};
use crate::parse::list::List;
use crate::parse::number::number;

/// How many processors are told apart: as many as a `cpu_set_t` has bits (CPU_SET(3)).
pub const PROCESSORS_MAX: usize = 1024;

/// The two lists by their fields.
pub const LISTS: [&str; 2] = [
    "process.execCPUAffinity.initial",
    "process.execCPUAffinity.final",
];

/// Processors, or memory nodes, by their numbers (cpuset(7), "List format"): `0-3,7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processors<'a>(List<'a>);

impl<'a> Processors<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        List::parse(text, |item| range(item).is_some()).map(Self)
    }

    /// Whether the processor with this number is among them.
    #[must_use]
    pub fn has(&self, number: usize) -> bool {
        let mut ranges = self.0.iter().filter_map(range);
        ranges.any(|range| range.contains(&number))
    }
}

/// One number, or the first and the last.
fn range(text: &str) -> Option<RangeInclusive<usize>> {
    let processor = |text| number(text).filter(|number| *number < PROCESSORS_MAX);
    // As peers do, which an engine relies on: `0, 2`.
    let text = text.trim_matches(' ');
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = processor(first)?..=processor(last)?;
    (!range.is_empty()).then_some(range)
}

pub(super) fn read<'a>(
    reader: &Reader<'a>,
    field: &'static str,
    text: &'a str,
) -> Result<Processors<'a>, Refused> {
    let accepts = "numbers of processors up to 1023, as 0-3,7";
    Processors::parse(text).ok_or_else(|| reader.bad(field, text, accepts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_numbers_and_ranges() {
        for (text, numbers) in [
            ("0", &[0][..]),
            ("0-3,7", &[0, 1, 2, 3, 7]),
            ("7,2-2,0-1,1", &[0, 1, 2, 7]),
            (" 1, 2 ", &[1, 2]),
            ("1022-1023", &[1022, 1023]),
        ] {
            let list = Processors::parse(text).unwrap();
            let found: Vec<_> = (0..PROCESSORS_MAX).filter(|it| list.has(*it)).collect();
            assert_eq!(found, numbers, "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_list() {
        for text in [
            "",
            ",",
            "1,",
            "-",
            "1-",
            "-1",
            "3-1",
            "1-2-3",
            "1024",
            "0-1024",
            "+1",
            "0x1",
            "a",
            "1 2",
            "1- 2",
            ", 2",
            "99999999999999999999",
            "1-a",
        ] {
            assert_eq!(Processors::parse(text), None, "{text:?}");
        }
    }
}
