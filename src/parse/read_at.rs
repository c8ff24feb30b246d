//! What is read at a place: a block device for the boot, an image's bytes for the tests.

/// A device, or an image of one.
pub trait ReadAt {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// Fills `into` with what begins at the byte `offset`; `None` if not all of it can be read.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Option<()>;
}

impl ReadAt for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Option<()> {
        let start = usize::try_from(offset).ok()?;
        let bytes = self.get(start..start.checked_add(into.len())?)?;
        into.copy_from_slice(bytes);
        Some(())
    }
}
