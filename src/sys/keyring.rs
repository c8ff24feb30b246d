//! Keyrings (keyrings(7)).

use linux_raw_sys::general as linux;
use rustix::io::Errno;

use super::raw::call;

/// include/uapi/linux/keyctl.h
const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;

/// `keyctl(2)`, `KEYCTL_JOIN_SESSION_KEYRING` without a name: a new session keyring, of nobody
/// else.
///
/// # Errors
/// Those of `keyctl(2)`; `ENOSYS` of a kernel without keys.
pub fn new_session() -> Result<(), Errno> {
    // SAFETY: the name is null, which stands for none.
    unsafe {
        call(
            linux::__NR_keyctl,
            [KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0],
        )
    }
    .map(drop)
}
