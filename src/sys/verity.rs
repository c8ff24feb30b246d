//! A block device that is held against a hash tree: dm-verity
//! (Documentation/admin-guide/device-mapper/verity.rst).

use super::block::{self, SECTOR};
use super::device_mapper::{self, Target};
use crate::error::{During, Fault, Op};
use crate::parse::verity::tree::{HashTree, SUPERBLOCK};
use crate::text::Hex;

/// Where a hash tree is: the node of a device, and the byte of it with which the tree's superblock
/// begins.
pub struct Place<'p> {
    /// The node.
    pub node: &'p str,
    /// In bytes.
    pub offset: u64,
}

/// Room for the superblock of a hash tree.
pub type Superblock = [u8; SUPERBLOCK];

/// Reads the superblock of the tree at `place`, for [`HashTree::parse`].
///
/// # Errors
/// Those of openat(2), lseek(2) and read(2); `ENODATA` behind the end of the device.
pub fn read(place: &Place<'_>) -> Result<Superblock, Fault> {
    let mut superblock = [0; SUPERBLOCK];
    block::read_at(place.node, place.offset, &mut superblock)?;
    Ok(superblock)
}

/// Makes the device `name` of what is on the device at `data`, checked by `tree`, and says its
/// number.
///
/// # Errors
/// Those of [`device_mapper::create_read_only`], whose reasons the kernel's log has in lines that
/// begin with `device-mapper: table`.
pub fn create(
    name: &str,
    data: &str,
    tree: &HashTree<'_>,
    place: &Place<'_>,
    root_hash: &str,
) -> Result<(u32, u32), Fault> {
    let number = |node: &str| block::number_of(node).during(Op::Open, node);
    let parameters = tree.parameters(number(data)?, number(place.node)?, place.offset, root_hash);
    let target = Target {
        kind: "verity",
        sectors: tree.data_size / SECTOR,
        parameters: &parameters,
    };
    // By this UUID veritysetup(8) and lsblk(8) know what kind of device it is.
    let uuid = core::fmt::from_fn(|f| write!(f, "CRYPT-VERITY-{}-{name}", Hex(&tree.uuid)));
    device_mapper::create_read_only(name, &uuid, &target)
}
