//! What has become of the machine as a whole: its clock, its random seed, its sleep.

use super::answer::Writer;

/// Declares a word of one event's member: its values, by their numbers, and their names.
macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$inner])* $value,)+
        }

        impl $name {
            const ALL: &[Self] = &[$(Self::$value,)+];

            /// The name in the event stream.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }

            fn of(number: u8) -> Option<Self> {
                Self::ALL.get(usize::from(number)).copied()
            }
        }
    };
}

words! {
    /// Where the time of day was taken from.
    Clock {
        /// Nowhere: it goes on as it was.
        Kept = "kept",
        /// From the client.
        Given = "given",
        /// From the machine's clock chip.
        Chip = "rtc",
        /// It is the latest time that is known to have been.
        Bound = "bound",
    }
}

words! {
    /// Where randomness was taken from.
    Entropy {
        /// Nowhere.
        None = "none",
        /// From the client.
        Given = "given",
        /// From a device for it, such as virtio-rng.
        Device = "hwrng",
    }
}

words! {
    /// What became of the random seed that is carried over a reboot.
    Seed {
        /// Nothing can be kept: the root is read-only, or in memory.
        Unkept = "unkept",
        /// There was none. There is one for the next boot.
        Made = "made",
        /// It was replaced by the one for the next boot, and credited.
        Credited = "credited",
    }
}

/// The longest id of a generation, in bytes: that of a UUID.
const ID_MAX: usize = 36;

/// What has become of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineChange<'a> {
    /// The clock was set.
    Clock(Clock),
    /// The random seed was carried over.
    Seed(Seed),
    /// It is frozen: so many containers, and so many filesystems.
    Frozen(u16, u16),
    /// It is about to go on after a freeze: with which time, which randomness, and as which
    /// generation.
    Thawed(Clock, Entropy, &'a str),
}

impl<'a> MachineChange<'a> {
    /// The change as bytes; `None` if there is no room.
    pub(super) fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        match *self {
            Self::Clock(clock) => writer.put(&[0, clock as u8]),
            Self::Seed(seed) => writer.put(&[1, seed as u8]),
            Self::Frozen(containers, filesystems) => {
                writer.put(&[2])?;
                writer.put(&containers.to_ne_bytes())?;
                writer.put(&filesystems.to_ne_bytes())
            }
            Self::Thawed(clock, entropy, id) => {
                writer.put(&[3, clock as u8, entropy as u8])?;
                writer.put(id.as_bytes())
            }
        }
    }

    /// The change that `bytes` are; `None` if they are none.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        Some(match *bytes {
            [0, clock] => Self::Clock(Clock::of(clock)?),
            [1, seed] => Self::Seed(Seed::of(seed)?),
            [2, a, b, c, d] => Self::Frozen(u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])),
            [3, clock, entropy, ref id @ ..] => {
                let id = core::str::from_utf8(id).ok();
                let id = id.filter(|id| id.len() <= ID_MAX)?;
                Self::Thawed(Clock::of(clock)?, Entropy::of(entropy)?, id)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_survive_the_way() {
        let clocks = Clock::ALL.iter().map(|clock| MachineChange::Clock(*clock));
        let seeds = Seed::ALL.iter().map(|seed| MachineChange::Seed(*seed));
        let id = "5a5b9c1e-7e7e-4c27-bd4b-6ba1a5a3f2f0";
        let thawed = Entropy::ALL
            .iter()
            .map(|entropy| MachineChange::Thawed(Clock::Given, *entropy, id));
        let frozen = [MachineChange::Frozen(256, 3)];
        for change in clocks.chain(seeds).chain(frozen).chain(thawed) {
            let mut room = [0; 64];
            let mut writer = Writer::new(&mut room);
            change.encode(&mut writer).unwrap();
            let bytes = writer.finish().unwrap();
            assert_eq!(MachineChange::parse(bytes), Some(change));
        }
    }

    #[test]
    fn what_is_no_change_is_none() {
        let long = [&[3, 0, 0][..], &[b'a'; 37]].concat();
        for bytes in [
            &b""[..],
            b"\0",
            b"\0\x04",
            b"\0\0\0",
            b"\x01\x03",
            b"\x02\0\0\0",
            b"\x03\0\x03",
            b"\x03\0\0\xff",
            b"\x04\0\0",
            &long,
        ] {
            assert_eq!(MachineChange::parse(bytes), None, "{bytes:?}");
        }
    }
}
