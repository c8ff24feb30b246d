//! A disk: any bytes are a filesystem or something else, and have a partition table or none.
#![no_main]

use berth::parse::partition;
use berth::parse::read_at::ReadAt;
use berth::parse::superblock::{Depth, Kind, WINDOW, identify};
use libfuzzer_sys::fuzz_target;

/// Where formats have their superblocks; the input gives a piece of a disk at each.
const PLACES: [u64; 3] = [0, 32 * 1024, 64 * 1024];

/// A disk of 1 MiB that is zero but for the pieces.
struct Sparse<'a>(&'a [u8]);

impl ReadAt for Sparse<'_> {
    fn size(&self) -> u64 {
        1 << 20
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Option<()> {
        let piece = (self.0.len() / PLACES.len()).max(1);
        for (at, byte) in (offset..).zip(into) {
            let from = PLACES
                .iter()
                .zip(self.0.chunks(piece))
                .find_map(|(start, piece)| {
                    piece.get(usize::try_from(at.checked_sub(*start)?).ok()?)
                });
            *byte = from.copied().unwrap_or(0);
        }
        Some(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    for disk in [&mut &bytes[..] as &mut dyn ReadAt, &mut Sparse(bytes)] {
        let found = identify(disk, &mut [0; WINDOW], Depth::Everything);
        if let Some(uuid) = found.uuid {
            assert!(uuid.matches(&uuid.to_string()));
        }
        if let Some(label) = &found.label {
            assert!(!label.bytes().is_empty());
            assert!(!label.to_string().contains(char::is_control));
        }
        if found.kind == Kind::Empty {
            assert_eq!((found.uuid, found.label), (None, None));
        }
        for number in [1, 2, 5, 7, 128] {
            for sector in [512, 4096] {
                if let Some(entry) = partition::entry(disk, sector, number) {
                    assert!(entry.partuuid.matches(&entry.partuuid.to_string()));
                }
            }
        }
    }
});
