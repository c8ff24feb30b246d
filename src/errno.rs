//! The names of error numbers, for messages.
//!
//! `ENOENT` tells a reader and a search engine more than `2` does. The numbers are those of
//! `include/uapi/asm-generic/errno{-base,}.h`, which x86_64 and aarch64 share; what booting and mounting never meets
//! (the errors of STREAMS, of X.25 and their like) is shown by number.

use core::fmt;

use rustix::io::Errno;

/// Shows an error number by its name.
#[derive(Clone, Copy, Debug)]
pub struct Name(pub Errno);

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.raw_os_error();
        match NAMES
            .binary_search_by_key(&number, |row| row.0)
            .ok()
            .and_then(|at| NAMES.get(at))
        {
            Some((_, name)) => formatter.write_str(name),
            None => write!(formatter, "errno {number}"),
        }
    }
}

/// Whether what was asked for is right, and only lacks something that may be there later: processes, memory, room, descriptors,
/// or a device, a group or a file that somebody else uses. `ECHILD` is a helper that was killed, mostly for want of memory.
pub const fn is_shortage(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::AGAIN
            | Errno::BUSY
            | Errno::CHILD
            | Errno::DQUOT
            | Errno::INTR
            | Errno::MFILE
            | Errno::NFILE
            | Errno::NOBUFS
            | Errno::NOLCK
            | Errno::NOMEM
            | Errno::NOSPC
            | Errno::TXTBSY
            | Errno::USERS
    )
}

/// Ordered by number.
const NAMES: &[(i32, &str)] = &[
    (1, "EPERM"),
    (2, "ENOENT"),
    (3, "ESRCH"),
    (4, "EINTR"),
    (5, "EIO"),
    (6, "ENXIO"),
    (7, "E2BIG"),
    (8, "ENOEXEC"),
    (9, "EBADF"),
    (10, "ECHILD"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (15, "ENOTBLK"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (18, "EXDEV"),
    (19, "ENODEV"),
    (20, "ENOTDIR"),
    (21, "EISDIR"),
    (22, "EINVAL"),
    (23, "ENFILE"),
    (24, "EMFILE"),
    (25, "ENOTTY"),
    (26, "ETXTBSY"),
    (27, "EFBIG"),
    (28, "ENOSPC"),
    (29, "ESPIPE"),
    (30, "EROFS"),
    (31, "EMLINK"),
    (32, "EPIPE"),
    (33, "EDOM"),
    (34, "ERANGE"),
    (35, "EDEADLK"),
    (36, "ENAMETOOLONG"),
    (37, "ENOLCK"),
    (38, "ENOSYS"),
    (39, "ENOTEMPTY"),
    (40, "ELOOP"),
    (61, "ENODATA"),
    (62, "ETIME"),
    (71, "EPROTO"),
    (74, "EBADMSG"),
    (75, "EOVERFLOW"),
    (80, "ELIBBAD"),
    (87, "EUSERS"),
    (90, "EMSGSIZE"),
    (95, "EOPNOTSUPP"),
    (97, "EAFNOSUPPORT"),
    (98, "EADDRINUSE"),
    (104, "ECONNRESET"),
    (105, "ENOBUFS"),
    (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"),
    (116, "ESTALE"),
    (117, "EUCLEAN"),
    (123, "ENOMEDIUM"),
    (124, "EMEDIUMTYPE"),
    (125, "ECANCELED"),
    (126, "ENOKEY"),
    (127, "EKEYEXPIRED"),
    (128, "EKEYREVOKED"),
    (129, "EKEYREJECTED"),
    (133, "EHWPOISON"),
];

#[cfg(test)]
mod tests {
    use super::{NAMES, Name};
    use rustix::io::Errno;

    #[test]
    fn the_table_is_ordered_as_its_search_needs() {
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn errors_are_shown_by_name() {
        assert_eq!(format!("{}", Name(Errno::INVAL)), "EINVAL");
        assert_eq!(format!("{}", Name(Errno::NOTBLK)), "ENOTBLK");
        assert_eq!(format!("{}", Name(Errno::KEYREJECTED)), "EKEYREJECTED");
    }

    #[test]
    fn an_unknown_number_is_shown_as_a_number() {
        assert_eq!(
            format!("{}", Name(Errno::from_raw_os_error(400))),
            "errno 400"
        );
    }
}
