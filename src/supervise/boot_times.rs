//! `/run/berth-boot/boot.json`: how long the boot took.

use crate::boot::{Journal, Millis};
use crate::error::Stage;
use crate::events::DIRECTORY;
use crate::sys::{fs, kmsg};
use crate::text::Text;

const FILE: &str = "/run/berth-boot/boot.json";

/// Writes the times of the stages, in microseconds, and their sum.
pub(super) fn write(journal: &Journal) {
    let mut json = Text::<512>::new("{");
    for (stage, us) in journal.times() {
        json.push(format_args!("\"{stage}\":{us},"));
    }
    json.push(format_args!("\"total\":{}}}\n", journal.elapsed()));
    let written = fs::make_directory(DIRECTORY)
        .and_then(|()| fs::create_file(FILE, json.as_str().as_bytes()));
    if let Err(fault) = written {
        kmsg::info(
            Stage::Containers,
            format_args!("{FILE} is not written: {fault}"),
        );
    }
    let total = Millis(journal.elapsed());
    kmsg::notice(Stage::Containers, format_args!("booted in {total} ms"));
}
