//! The superblock that veritysetup(8) writes before a hash tree (cryptsetup, "DMVerity": on-disk
//! format), and the line that tells the device-mapper of such a tree
//! (Documentation/admin-guide/device-mapper/verity.rst).

use core::fmt;
use core::ops::Range;

use crate::parse::bytes::{array, le16, le32, le64};
use crate::text::Hex;

/// The size of the superblock, in bytes.
pub const SUPERBLOCK: usize = 512;

const MAGIC: Range<usize> = 0..8;
const VERSION: Range<usize> = 8..12;
const HASH_TYPE: Range<usize> = 12..16;
const UUID: Range<usize> = 16..32;
const ALGORITHM: Range<usize> = 32..64;
const DATA_BLOCK: Range<usize> = 64..68;
const HASH_BLOCK: Range<usize> = 68..72;
const DATA_BLOCKS: Range<usize> = 72..80;
const SALT_LEN: Range<usize> = 80..82;
const SALT: Range<usize> = 88..344;

/// What the superblock of a hash tree says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashTree<'b> {
    /// 0: as Chrome OS has it, 1: the salt comes first, and digests are padded.
    hash_type: u32,
    /// The tree's own name.
    pub uuid: [u8; 16],
    /// Of the digests, as the kernel's crypto API calls it: letters, digits, and `-_()`.
    pub algorithm: &'b str,
    data_block: u32,
    hash_block: u32,
    data_blocks: u64,
    salt: &'b [u8],
    /// How many bytes are protected.
    pub data_size: u64,
}

/// Why something is no superblock of a hash tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTree {
    /// The magic is not there.
    Absent,
    /// It is one of a later format.
    Version,
    /// This field makes no sense.
    Field(&'static str),
}

impl fmt::Display for NoTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no superblock of a hash tree"),
            Self::Version => f.write_str("the hash tree has a format that berth does not know"),
            Self::Field(field) => write!(
                f,
                "the {field} in the superblock of the hash tree makes no sense"
            ),
        }
    }
}

impl<'b> HashTree<'b> {
    /// Reads the first [`SUPERBLOCK`] bytes of a hash area.
    ///
    /// # Errors
    /// [`NoTree`]; [`NoTree::Absent`] for a shorter block too.
    pub fn parse(block: &'b [u8]) -> Result<Self, NoTree> {
        let fields = Fields::read(block).ok_or(NoTree::Absent)?;
        if fields.magic != b"verity\0\0" {
            return Err(NoTree::Absent);
        }
        if fields.version != 1 {
            return Err(NoTree::Version);
        }
        let (data_block, hash_block) = (fields.data_block, fields.hash_block);
        let size_of_data = fields.data_blocks.checked_mul(data_block.into());
        let data_size = size_of_data.filter(|size| *size > 0);
        let name = fields.algorithm.split(|byte| *byte == 0).next();
        let name = name.and_then(|name| core::str::from_utf8(name).ok());
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '(' | ')');
        let name = name.filter(|name| !name.is_empty() && name.chars().all(is_of_name));
        let is_block = |size: u32| size.is_power_of_two() && size >= SECTOR;
        Ok(Self {
            hash_type: Some(fields.hash_type)
                .filter(|hash_type| *hash_type <= 1)
                .ok_or(NoTree::Field("type"))?,
            uuid: fields.uuid,
            algorithm: name.ok_or(NoTree::Field("algorithm"))?,
            data_block: Some(data_block)
                .filter(|size| is_block(*size))
                .ok_or(NoTree::Field("size of a data block"))?,
            hash_block: Some(hash_block)
                .filter(|size| is_block(*size))
                .ok_or(NoTree::Field("size of a hash block"))?,
            data_blocks: fields.data_blocks,
            salt: (fields.salt.get(..fields.salt_len.into())).ok_or(NoTree::Field("salt"))?,
            data_size: data_size.ok_or(NoTree::Field("number of data blocks"))?,
        })
    }

    /// The parameters of a device-mapper target `verity`: the data on the device `data`, this
    /// superblock at the byte `offset` of the device `tree`.
    pub fn parameters(
        &self,
        data: (u32, u32),
        tree: (u32, u32),
        offset: u64,
        root_hash: &str,
    ) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            let ((data_major, data_minor), (tree_major, tree_minor)) = (data, tree);
            // The tree begins with the first whole block behind the superblock.
            let first = offset.saturating_add(SUPERBLOCK as u64);
            let first = first.div_ceil(self.hash_block.into());
            write!(
                f,
                "{} {data_major}:{data_minor} {tree_major}:{tree_minor} {} {} {} {first} {} {root_hash} ",
                self.hash_type, self.data_block, self.hash_block, self.data_blocks, self.algorithm,
            )?;
            if self.salt.is_empty() {
                return f.write_str("-");
            }
            write!(f, "{}", Hex(self.salt))
        })
    }
}

/// The smallest block.
const SECTOR: u32 = 512;

/// The fields as they lie there.
struct Fields<'b> {
    magic: &'b [u8],
    version: u32,
    hash_type: u32,
    uuid: [u8; 16],
    algorithm: &'b [u8],
    data_block: u32,
    hash_block: u32,
    data_blocks: u64,
    salt_len: u16,
    salt: &'b [u8],
}

impl<'b> Fields<'b> {
    fn read(block: &'b [u8]) -> Option<Self> {
        let block = block.get(..SUPERBLOCK)?;
        Some(Self {
            magic: block.get(MAGIC)?,
            version: le32(block, VERSION)?,
            hash_type: le32(block, HASH_TYPE)?,
            uuid: array(block, UUID)?,
            algorithm: block.get(ALGORITHM)?,
            data_block: le32(block, DATA_BLOCK)?,
            hash_block: le32(block, HASH_BLOCK)?,
            data_blocks: le64(block, DATA_BLOCKS)?,
            salt_len: le16(block, SALT_LEN)?,
            salt: block.get(SALT)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What veritysetup(8) writes for 8 KiB of zeros, and the root hash that it prints.
    fn made(options: &[&str]) -> (Vec<u8>, String) {
        let name = options.concat().replace('/', "");
        let dir = std::env::temp_dir().join(format!("berth-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (data, tree) = (dir.join("data"), dir.join("tree"));
        std::fs::write(&data, vec![0; 8192]).unwrap();
        let output = Command::new("/usr/sbin/veritysetup")
            .args(["format", "--uuid", "b0a70000-0000-4000-8000-0000000000bb"])
            .args(options)
            .args([&data, &tree])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let hash = text
            .lines()
            .find_map(|line| line.strip_prefix("Root hash:"))
            .unwrap();
        let bytes = std::fs::read(&tree).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        (bytes, hash.trim().to_owned())
    }

    #[test]
    fn what_veritysetup_writes_becomes_the_parameters_that_it_gives_the_kernel() {
        for (options, expected) in [
            (
                &["--salt=0102"][..],
                "1 7:0 7:1 4096 4096 2 1 sha256 HASH 0102",
            ),
            (
                &["--salt=-", "--hash=sha512", "--data-block-size=512"],
                "1 7:0 7:1 512 4096 16 1 sha512 HASH -",
            ),
            (
                &[
                    "--format=0",
                    "--salt=ff",
                    "--hash=sha1",
                    "--hash-block-size=1024",
                ],
                "0 7:0 7:1 4096 1024 2 1 sha1 HASH ff",
            ),
        ] {
            let (bytes, hash) = made(options);
            let tree = HashTree::parse(&bytes).unwrap();
            let parameters = tree.parameters((7, 0), (7, 1), 0, &hash).to_string();
            assert_eq!(parameters, expected.replace("HASH", &hash));
            assert_eq!(tree.data_size, 8192);
            assert_eq!(tree.uuid[15], 0xbb);
        }
    }

    #[test]
    fn the_tree_begins_with_the_first_whole_block_behind_the_superblock() {
        let (bytes, hash) = made(&["--salt=00"]);
        let tree = HashTree::parse(&bytes).unwrap();
        for (offset, first) in [(0, 1), (4096, 2), (8192, 3), (4096 - 512, 1)] {
            let parameters = tree.parameters((8, 1), (8, 1), offset, &hash).to_string();
            assert_eq!(
                parameters.split(' ').nth(6),
                Some(first.to_string().as_str())
            );
        }
        // Whatever was asked for.
        let parameters = tree.parameters((8, 1), (8, 1), u64::MAX, &hash);
        assert!(!parameters.to_string().is_empty());
    }

    #[test]
    fn each_field_that_makes_no_sense_is_named() {
        let (bytes, _) = made(&["--salt=00", "--hash=sha256"]);
        let with = |range: Range<usize>, value: &[u8]| {
            let mut bytes = bytes.clone();
            bytes[range][..value.len()].copy_from_slice(value);
            HashTree::parse(&bytes).err().map(|error| error.to_string())
        };
        for (range, value, expected) in [
            (MAGIC, &b"verify"[..], "there is no superblock"),
            (VERSION, b"\x02", "a format that berth does not know"),
            (HASH_TYPE, b"\x02", "the type"),
            (ALGORITHM, b"sha 256", "the algorithm"),
            (ALGORITHM, b"\0", "the algorithm"),
            (DATA_BLOCK, &[0; 4], "the size of a data block"),
            (HASH_BLOCK, b"\x01\x10", "the size of a hash block"),
            (DATA_BLOCKS, &[0; 8], "the number of data blocks"),
            (DATA_BLOCKS, &[0xff; 8], "the number of data blocks"),
            (SALT_LEN, b"\x01\x01", "the salt"),
        ] {
            let error = with(range, value).unwrap();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(HashTree::parse(&bytes[..511]), Err(NoTree::Absent));
    }
}
