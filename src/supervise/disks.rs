//! Disks that come and go while the machine runs (`berth.automount=`).
//!
//! PID 1 looks at no disk: what is on one was written by a stranger. It only knows that something
//! may have changed, and has a run of `berth` look, which compares what there is with what it has
//! mounted, mounts what is new and unmounts what is gone. While that runs, PID 1 tells it to look
//! again. So it does not matter how many disks come at once, nor whether uevents were lost. What
//! has become of a disk is answered, and told here.

use core::time::Duration;

use rustix::fd::AsFd;
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::Supervisor;
use super::berth::Task;
use super::policy::Phase;
use super::workers::Work;
use crate::boot::Change;
use crate::error::{At, Code, Error, Fault, Op, Stage};
use crate::parse::answer::GO;
use crate::parse::automount::may_be_disk;
use crate::parse::uevent::{Action, Uevent};
use crate::sys::clock::{self, Moment};
use crate::sys::fs;
use crate::sys::mount::{Flags, mount_new};
use crate::sys::process::Status;

/// How long it is until a run that could not be started is tried again.
const REST: Duration = Duration::from_secs(1);

/// What is known of disks.
#[derive(Default)]
pub(super) struct Disks {
    /// `berth.automount=`, if disks can be mounted there.
    is_on: bool,
    /// Something has changed, and no run knows it yet.
    has_changed: bool,
    /// A run was told to look again, and perhaps it ended before.
    was_told: bool,
    /// When a run is to be started again.
    rest_until: Option<Moment>,
}

impl Disks {
    /// Keeps that a disk, or what disks are attached to, may have come or gone.
    pub(super) fn note_change(&mut self, change: &Change<'_>) {
        self.has_changed |= self.is_on
            && match change {
                Change::Device(uevent) => is_of_disks(uevent),
                Change::Lost => true,
            };
    }

    /// When it is tried again.
    pub(super) const fn deadline(&self) -> Option<Moment> {
        self.rest_until
    }
}

/// Whether it is about a disk, or about a device that a driver may be there for.
fn is_of_disks(uevent: &Uevent<'_>) -> bool {
    match uevent.subsystem {
        "block" => uevent.properties.devname.is_some_and(may_be_disk),
        _ => uevent.action == Action::Add && uevent.properties.modalias.is_some(),
    }
}

impl Supervisor<'_, '_> {
    /// Makes ready the directory that disks are mounted in, if one is asked for. The containers
    /// that are started next find it. Disks that are there already count too.
    #[inline(never)]
    pub(super) fn open_disks(&mut self) {
        let Some(place) = self.plan.automount else {
            return;
        };
        match prepare(place).at(Code::AutomountPlace) {
            Ok(()) => {
                self.disks.is_on = true;
                self.disks.has_changed = true;
            }
            Err(error) => self.machine.journal.failure(&error),
        }
    }

    /// Has a run of `berth` look at the disks, if something has changed.
    pub(super) fn look_at_disks(&mut self) {
        let disks = &mut self.disks;
        let rest = disks.rest_until;
        if rest.is_some_and(|deadline| clock::now() < deadline) {
            return;
        }
        disks.rest_until = None;
        if !disks.has_changed || self.phase != Phase::Running || !self.freezer.is_thawed() {
            return;
        }
        disks.has_changed = false;
        if self.workers.tell(Work::Disks, GO) {
            disks.was_told = true;
            return;
        }
        let program = self.machine.berth.as_ref().map(AsFd::as_fd);
        let place = self.plan.automount.unwrap_or_default();
        let task = Task::Disks { place };
        if let Err(fault) = self.workers.start(&self.epoll, program, Work::Disks, task) {
            disks.has_changed = true;
            disks.rest_until = Some(clock::now() + REST);
            self.machine
                .journal
                .warn(Stage::Containers, format_args!("{fault}"));
        }
    }

    /// The run has ended.
    #[inline(never)]
    pub(super) fn disks_ended(&mut self, status: Status) {
        self.disks.has_changed |= core::mem::take(&mut self.disks.was_told);
        if status != Status::Exited(0) {
            // One that fails at once is not to be started again and again.
            self.disks.rest_until = Some(clock::now() + REST);
            let error = Error::new(
                Code::DiskLost,
                Op::Wait,
                "the disks",
                format_args!("berth, which looks after them, {status}"),
            );
            self.machine.journal.failure(&error);
        }
    }
}

/// Makes the directory, and what is missing on the way to it. Where nothing can be made in it, what
/// is made there from now on is in memory, a page or two.
fn prepare(place: &str) -> Result<(), Fault> {
    let ends = place.bytes().enumerate().skip(1);
    let ends = ends.filter(|(_, byte)| *byte == b'/').map(|(at, _)| at);
    for end in ends.chain([place.len()]) {
        fs::make_directory(place.get(..end).unwrap_or_default())?;
    }
    if access(place, Access::WRITE_OK) != Err(Errno::ROFS) {
        return Ok(());
    }
    let flags = Flags::NOSUID | Flags::NODEV | Flags::NOEXEC;
    let limits = c"mode=0755,size=64k,nr_inodes=4k";
    mount_new("tmpfs", "tmpfs", place, flags, limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_noted(datagram: &[u8]) -> bool {
        let mut disks = Disks {
            is_on: true,
            ..Disks::default()
        };
        let uevent = Uevent::parse(datagram).unwrap();
        disks.note_change(&Change::Device(uevent));
        disks.has_changed
    }

    #[test]
    fn what_may_be_about_a_disk_is_told_from_what_is_not() {
        assert!(is_noted(
            b"add@/d/sdb\0ACTION=add\0DEVPATH=/d/sdb\0SUBSYSTEM=block\0DEVNAME=sdb\0"
        ));
        assert!(is_noted(
            b"remove@/d/sdb\0ACTION=remove\0DEVPATH=/d/sdb\0SUBSYSTEM=block\0DEVNAME=sdb\0"
        ));
        assert!(is_noted(
            b"change@/d/sr0\0ACTION=change\0DEVPATH=/d/sr0\0SUBSYSTEM=block\0DEVNAME=sr0\0"
        ));
        assert!(is_noted(
            b"add@/d/1\0ACTION=add\0DEVPATH=/d/1\0SUBSYSTEM=usb\0MODALIAS=usb:v1\0"
        ));
        // Containers have loop devices, and what is made of them, all the time.
        for name in ["loop0", "dm-1"] {
            let datagram =
                format!("change@/d\0ACTION=change\0DEVPATH=/d\0SUBSYSTEM=block\0DEVNAME={name}\0");
            assert!(!is_noted(datagram.as_bytes()), "{name}");
        }
        assert!(!is_noted(
            b"add@/d/veth\0ACTION=add\0DEVPATH=/d/veth\0SUBSYSTEM=net\0"
        ));
        assert!(!is_noted(
            b"remove@/d/1\0ACTION=remove\0DEVPATH=/d/1\0SUBSYSTEM=usb\0MODALIAS=usb:v1\0"
        ));
    }

    #[test]
    fn nothing_is_kept_where_disks_are_not_mounted() {
        let mut disks = Disks::default();
        disks.note_change(&Change::Lost);
        assert!(!disks.has_changed);
        disks.is_on = true;
        disks.note_change(&Change::Lost);
        assert!(disks.has_changed);
    }
}
