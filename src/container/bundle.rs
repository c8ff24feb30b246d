//! Bundles: directories with a `config.json` and a rootfs (OCI runtime specification, bundle.md).

use rustix::fs::CWD;

use crate::error::{At, Code, Error};
use crate::parse::config::container_id;
use crate::sys::fs;
use crate::sys::path::path;

/// The most bundles that are started.
pub const BUNDLES_MAX: usize = 64;

/// The longest name of a container, in bytes.
pub const ID_MAX: usize = 64;

/// A container's name: that of its bundle's directory.
pub type Id = heapless::String<ID_MAX>;

/// What became of a look into the directory of bundles.
pub struct Bundles {
    /// In the order of their names, so that every boot starts them alike.
    pub ids: heapless::Vec<Id, BUNDLES_MAX>,
    /// How many more there are.
    pub excess: usize,
}

/// The bundles in `directory`: its subdirectories that hold a `config.json`. `skip` is called with each of those whose names no
/// container can have.
///
/// # Errors
/// [`Code::NoContainers`] if there is no such directory.
pub fn each_bundle(directory: &str, skip: &mut dyn FnMut(&str)) -> Result<Bundles, Error> {
    let mut bundles = Bundles {
        ids: heapless::Vec::new(),
        excess: 0,
    };
    fs::each_name(directory, |name| {
        let has_config = path(format_args!("{directory}/{name}/config.json")).is_ok_and(|file| {
            rustix::fs::statat(CWD, file.as_str(), rustix::fs::AtFlags::empty()).is_ok()
        });
        let id = container_id(name.as_bytes()).ok();
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
    .at(Code::NoContainers)?;
    Ok(bundles)
}
