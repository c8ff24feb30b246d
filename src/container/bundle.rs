//! Bundles: directories with a `config.json` and a rootfs (OCI runtime specification, bundle.md).

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};

use crate::error::{At, Code, During, Error, Op};
use crate::parse::config::container_id;
use crate::parse::request::TAKEN;
use crate::sys::fs;
use crate::sys::mapped::Mapped;

/// The most bundles that are started.
pub const BUNDLES_MAX: usize = 256;

/// The longest name of a container, in bytes.
pub const ID_MAX: usize = 64;

/// A container's name: that of its bundle's directory.
pub type Id = heapless::String<ID_MAX>;

/// What became of a look into the directory of bundles.
pub struct Bundles {
    /// In the order of their names, so that every boot starts them alike.
    pub ids: Mapped<Id, BUNDLES_MAX>,
    /// How many more there are.
    pub excess: usize,
}

/// The bundles in `directory`: its subdirectories that hold a `config.json`. `skip` is called with
/// each of those whose names no container can have.
///
/// # Errors
/// [`Code::NoContainers`] if there is no such directory.
pub fn each_bundle(directory: &str, skip: &mut dyn FnMut(&[u8])) -> Result<Bundles, Error> {
    let mut bundles = Bundles {
        ids: Mapped::new(),
        excess: 0,
    };
    let place = fs::open_directory(CWD, directory).at(Code::NoContainers)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fs::each_entry(place.as_fd(), |name, _| {
        let has_config = openat(place.as_fd(), name, flags, Mode::empty())
            .is_ok_and(|bundle| statat(bundle.as_fd(), c"config.json", AtFlags::empty()).is_ok());
        let name = name.to_bytes();
        let id = container_id(name).ok();
        let id = id.filter(|id| !TAKEN.contains(id));
        match id.and_then(|id| Id::try_from(id).ok()) {
            _ if !has_config => {}
            None => skip(name),
            Some(id) => {
                let place = bundles.ids.partition_point(|other| *other < id);
                if bundles.ids.insert(place, id).is_err() {
                    bundles.excess += 1;
                }
            }
        }
        true
    })
    .during(Op::List, directory)
    .at(Code::NoContainers)?;
    Ok(bundles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn directories_that_no_container_is_named_after_are_told() {
        let directory = std::env::temp_dir().join(format!("berth-bundles-{}", std::process::id()));
        let long = "n".repeat(ID_MAX + 1);
        let bundles: [&[u8]; 7] = [
            b"web",
            b"db",
            b"two words",
            b"no\xfftext",
            long.as_bytes(),
            TAKEN[0].as_bytes(),
            TAKEN[1].as_bytes(),
        ];
        for name in bundles {
            let bundle = directory.join(OsStr::from_bytes(name));
            std::fs::create_dir_all(&bundle).unwrap();
            std::fs::write(bundle.join("config.json"), "{}").unwrap();
        }
        std::fs::create_dir_all(directory.join("no bundle")).unwrap();
        let mut skipped = std::vec::Vec::new();
        let found = each_bundle(directory.to_str().unwrap(), &mut |name| {
            skipped.push(name.to_vec());
        });
        std::fs::remove_dir_all(&directory).unwrap();
        let found = found.unwrap();
        assert_eq!(*found.ids, ["db", "web"]);
        skipped.sort();
        let mut expected = bundles[2..]
            .iter()
            .map(|name| name.to_vec())
            .collect::<std::vec::Vec<_>>();
        expected.sort();
        assert_eq!(skipped, expected);
    }
}
