//! Ports of a virtio console by name (Linux, drivers/char/virtio_console.c: `/sys/class/virtio-ports/vportNpM/name`).

use rustix::fs::CWD;

use super::fs::{each_name, read_file};
use super::path::{Path, path};

const CLASS: &str = "/sys/class/virtio-ports";

/// The device node of the port that the hypervisor named `wanted`, if it is there already.
pub fn find(wanted: &str) -> Option<Path> {
    let mut found = None;
    // No such class means no such port.
    let _ = each_name(CLASS, |port| {
        let mut buffer = [0; 128];
        let name = path(format_args!("{CLASS}/{port}/name"))
            .ok()
            .and_then(|attribute| read_file(CWD, &attribute, &mut buffer).ok());
        if name.map(<[u8]>::trim_ascii_end) == Some(wanted.as_bytes()) {
            found = path(format_args!("/dev/{port}")).ok();
        }
        found.is_none()
    });
    found
}
