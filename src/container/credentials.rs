//! The program's user and rights: user and groups, capabilities, no_new_privs (credentials(7),
//! capabilities(7)).
//!
//! # The rules that force the order
//!
//! * Only root may change any of this. So the groups come first, then the user. A change from root
//!   to another user clears the permitted, effective and ambient sets; the permitted one is kept
//!   over it (PR_SET_KEEPCAPS) until the sets that were asked for are in place. execve(2) forgets
//!   that it was kept.
//! * Capabilities can leave the bounding set while there is CAP_SETPCAP, and what is not in it
//!   cannot be made inheritable. A capability can be made ambient when it is permitted and
//!   inheritable.
//! * The kernel makes new sets at execve: a program of root gets all that the bounding set holds,
//!   whatever was permitted before; another user's program gets the ambient set, and what its file
//!   has.
//!
//! Without `process.capabilities` the program has none. In a container that is `berth.privileged`,
//! the bounding set stays as it is then, so that root has all capabilities, and another user none.

use heapless::Vec;
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use crate::error::{During, Fault, Op};
use crate::parse::config::Process;
use crate::parse::config::capabilities::{Capabilities, Set};
use crate::parse::config::user::{MAX_GROUPS, User};
use crate::sys::console;

/// Takes on the user and the rights of `process`, and gives up all others. `can_change_groups` is
/// false in a user namespace that denies setgroups(2): there alone the process keeps its groups, if
/// no others are asked for.
#[inline(never)]
pub(super) fn apply(process: &Process<'_>, can_change_groups: bool) -> Result<(), Fault> {
    let uid = Uid::from_raw(process.user.uid);
    console::chown_pipes(uid);
    if let Some(capabilities) = &process.capabilities {
        limit_bounding_set(capabilities.bounding)?;
        set_keep_capabilities(true).during(Op::Set, "PR_SET_KEEPCAPS")?;
    }
    become_user(&process.user, can_change_groups)?;
    match &process.capabilities {
        Some(capabilities) => set(capabilities)?,
        None => clear_inheritable()?,
    }
    if process.no_new_privileges {
        set_no_new_privs(true).during(Op::Set, "no_new_privs")?;
    }
    Ok(())
}

/// Whether [`apply`] leaves CAP_SYS_ADMIN.
pub(super) fn keep_sys_admin(process: &Process<'_>) -> bool {
    match &process.capabilities {
        Some(capabilities) => capabilities
            .effective
            .has(linux_raw_sys::general::CAP_SYS_ADMIN),
        None => process.user.uid == 0,
    }
}

fn become_user(user: &User<'_>, can_change_groups: bool) -> Result<(), Fault> {
    let groups: Vec<Gid, MAX_GROUPS> = user.groups.iter().map(Gid::from_raw).collect();
    if can_change_groups || !groups.is_empty() {
        set_thread_groups(&groups).during(Op::Set, "additional groups")?;
    }
    let gid = Gid::from_raw(user.gid);
    set_thread_res_gid(gid, gid, gid).during(Op::Set, format_args!("gid {}", user.gid))?;
    let uid = Uid::from_raw(user.uid);
    set_thread_res_uid(uid, uid, uid).during(Op::Set, format_args!("uid {}", user.uid))
}

/// Removes all that is not in `set` from the bounding set, including capabilities that this program
/// has no name for.
fn limit_bounding_set(set: Set) -> Result<(), Fault> {
    for number in (0..u64::BITS).filter(|number| !set.has(*number)) {
        match remove_capability_from_bounding_set(single(number)) {
            Ok(()) => {}
            // The kernel has no more.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno).during(Op::Drop, "capabilities"),
        }
    }
    Ok(())
}

fn set(capabilities: &Capabilities<'_>) -> Result<(), Fault> {
    let of = |set: Set| CapabilitySet::from_bits_retain(set.bits());
    let sets = CapabilitySets {
        effective: of(capabilities.effective),
        permitted: of(capabilities.permitted),
        inheritable: of(capabilities.inheritable),
    };
    set_capabilities(None, sets).during(Op::Set, "capabilities")?;
    clear_ambient_capability_set()
        .and_then(|()| {
            let mut ambient = (0..u64::BITS).filter(|number| capabilities.ambient.has(*number));
            ambient.try_for_each(|number| configure_capability_in_ambient_set(single(number), true))
        })
        .during(Op::Set, "ambient capabilities")
}

/// Clears the inheritable capabilities that berth was started with: the program could get them
/// through its file.
fn clear_inheritable() -> Result<(), Fault> {
    let own = capabilities(None).map(|own| CapabilitySets {
        inheritable: CapabilitySet::empty(),
        ..own
    });
    own.and_then(|own| set_capabilities(None, own))
        .and_then(|()| clear_ambient_capability_set())
        .during(Op::Set, "inheritable capabilities")
}

fn single(number: u32) -> CapabilitySet {
    CapabilitySet::from_bits_retain(1 << number)
}
