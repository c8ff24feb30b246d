//! What `berth.verity=` holds: a dm-verity root hash and where its tree lies; what the tree's
//! superblock holds is [`tree`].

pub mod tree;

use core::fmt;

use crate::parse::device::DeviceRef;

/// A root hash and the place of the hash tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verity<'a> {
    /// Hexadecimal digits, an even number of them, at least 32 (the shortest digest that the
    /// kernel's dm-verity takes is 16 bytes).
    pub root_hash: &'a str,
    /// Where the hash tree is.
    pub tree: Tree<'a>,
}

/// Where a hash tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree<'a> {
    /// Not said: right behind the data, on the same device.
    AfterData,
    /// On a device of its own.
    Device(DeviceRef<'a>),
    /// On the data's device, this many bytes from its start.
    Offset(u64),
}

/// In bytes, where a tree's place is not said: the block size of veritysetup(8).
const ALIGNMENT: u64 = 4096;

/// Where the tree of a filesystem of this size is, if it lies behind it: at the next multiple of
/// 4096.
#[must_use]
pub fn behind(size: Option<u64>) -> Option<u64> {
    size.and_then(|size| size.checked_next_multiple_of(ALIGNMENT))
}

impl<'a> Verity<'a> {
    /// Reads `<root hash>[,<hash device>|<offset>]`; `None` when it is not of this form.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (root_hash, tree) = match text.split_once(',') {
            None => (text, Tree::AfterData),
            Some((hash, place)) if place.bytes().all(|b| b.is_ascii_digit()) => {
                (hash, Tree::Offset(place.parse().ok()?))
            }
            Some((hash, place)) => (hash, Tree::Device(DeviceRef::parse(place).ok()?)),
        };
        let is_digest = root_hash.len() >= 32
            && root_hash.len().is_multiple_of(2)
            && root_hash.bytes().all(|b| b.is_ascii_hexdigit());
        let has_blocks = !matches!(tree, Tree::Device(device) if !device.is_block());
        (is_digest && has_blocks).then_some(Self { root_hash, tree })
    }
}

/// In the form that [`Verity::parse`] reads.
impl fmt::Display for Verity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.root_hash)?;
        match self.tree {
            Tree::AfterData => Ok(()),
            Tree::Device(device) => write!(f, ",{device}"),
            Tree::Offset(offset) => write!(f, ",{offset}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789ABCDEF";

    #[test]
    fn the_tree_follows_the_data_or_is_named() {
        let tree = |suffix: &str| {
            let text = format!("{HASH}{suffix}");
            Verity::parse(&text).map(|v| format!("{:?}", v.tree))
        };
        assert_eq!(tree("").unwrap(), "AfterData");
        assert_eq!(tree(",4096").unwrap(), "Offset(4096)");
        assert_eq!(tree(",/dev/sdc").unwrap(), r#"Device(Path("/dev/sdc"))"#);
        for bad in [",", ",sdc", ",tmpfs", ",99999999999999999999", "0", "x0"] {
            assert_eq!(tree(bad), None, "{bad}");
        }
    }

    #[test]
    fn it_is_shown_as_it_was_given() {
        for tree in ["", ",4096", ",UUID=ABCD-1234"] {
            let text = format!("{HASH}{tree}");
            assert_eq!(Verity::parse(&text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_short_hash_is_refused() {
        assert_eq!(Verity::parse("abcd"), None);
    }
}
