//! What a build has to say at its end: notes and a size table.

use std::collections::BTreeMap;
use std::fmt;

use crate::Compression;

/// Notes and sizes of a built image. [`fmt::Display`] prints the table; the notes are for the
/// caller to show.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was decided without being asked: modules that are built in, added or left out.
    pub notes: Vec<String>,
    /// Number of files and their bytes, by group: `init`, `module vfat`, `added files` and so on.
    pub groups: BTreeMap<String, (usize, usize)>,
    /// How the image is compressed.
    pub compression: Compression,
    /// Bytes of the archive before compression.
    pub archive: usize,
    /// Bytes of the image.
    pub image: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "{:>6}  {:>12}  content", "files", "bytes")?;
        for (group, (files, bytes)) in &self.groups {
            writeln!(f, "{files:>6}  {bytes:>12}  {group}")?;
        }
        let files: usize = self.groups.values().map(|(files, _)| files).sum();
        writeln!(f, "{files:>6}  {:>12}  archive", self.archive)?;
        if self.compression != Compression::None {
            let percent = self.image * 100 / self.archive.max(1);
            let format = format!("{:?}", self.compression).to_lowercase();
            writeln!(
                f,
                "{:>6}  {:>12}  image, {format}, {percent} % of the archive",
                "", self.image
            )?;
        }
        Ok(())
    }
}
