//! Ports of a virtio console by name (Linux, drivers/char/virtio_console.c:
//! `/sys/class/virtio-ports/vportNpM/name`).

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::fs::{each_name, read_attribute};
use super::path::{Path, path};

const CLASS: &str = "/sys/class/virtio-ports";

/// virtio device number of a console (Virtual I/O Device specification, section 5).
const CONSOLE: &[u8] = b"0x0003";

/// The device node of the port that the hypervisor named `wanted`, if it is there already.
pub fn find(wanted: &str) -> Option<Path> {
    let mut found = None;
    // No such class means no such port.
    let _ = each_name(CLASS, |port| {
        let mut buffer = [0; 128];
        let name = read_attribute(format_args!("{CLASS}/{port}/name"), &mut buffer);
        if name.map(<[u8]>::trim_ascii_end) == Some(wanted.as_bytes()) {
            found = path(format_args!("/dev/{port}")).ok();
        }
        found.is_none()
    });
    found
}

/// Makes the node of the port at `node`, where no devtmpfs does.
pub fn make_node(node: &Path) {
    let port = node.strip_prefix("/dev/").unwrap_or(node);
    let mut buffer = [0; 32];
    let text = read_attribute(format_args!("{CLASS}/{port}/dev"), &mut buffer);
    let number = text.and_then(|text| {
        let (major, minor) = core::str::from_utf8(text)
            .ok()?
            .trim_ascii()
            .split_once(':')?;
        Some(makedev(major.parse().ok()?, minor.parse().ok()?))
    });
    if let Some(number) = number {
        // A node that is there already is the one that is wanted.
        let mode = Mode::from_raw_mode(0o600);
        let _ = mknodat(CWD, node.as_str(), FileType::CharacterDevice, mode, number);
    }
}

/// True if a virtio console exists, whose ports may still be on their way.
pub fn is_to_be_expected() -> bool {
    let mut found = false;
    // Without virtio there is no such bus.
    let _ = each_name("/sys/bus/virtio/devices", |name| {
        let mut buffer = [0; 16];
        let file = format_args!("/sys/bus/virtio/devices/{name}/device");
        let id = read_attribute(file, &mut buffer);
        found = id.is_some_and(|id| id.trim_ascii_end() == CONSOLE);
        !found
    });
    found
}
