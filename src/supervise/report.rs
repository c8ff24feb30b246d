//! `/run/berth-boot/boot.json`: how long the boot took, for whoever looks afterwards.

use crate::boot::Machine;
use crate::error::Stage;
use crate::sys::{fs, kmsg};
use crate::text::Text;

const DIRECTORY: &str = "/run/berth-boot";
const FILE: &str = "/run/berth-boot/boot.json";

/// Writes the times of the stages, in microseconds, and their sum.
pub(super) fn write(machine: &Machine) {
    let mut json = Text::<512>::new("{");
    for (stage, us) in machine.times() {
        json.push(format_args!("\"{stage}\":{us},"));
    }
    json.push(format_args!("\"total\":{}}}\n", machine.elapsed()));
    let written = fs::make_directory(DIRECTORY)
        .and_then(|()| fs::create_file(FILE, json.as_str().as_bytes()));
    if let Err(fault) = written {
        kmsg::info(Stage::Containers, format_args!("no boot report: {fault}"));
    }
    let total = crate::boot::Millis(machine.elapsed());
    kmsg::notice(Stage::Containers, format_args!("booted in {total} ms"));
}
