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
    (84, "EILSEQ"),
    (87, "EUSERS"),
    (90, "EMSGSIZE"),
    (95, "EOPNOTSUPP"),
    (97, "EAFNOSUPPORT"),
    (98, "EADDRINUSE"),
    (104, "ECONNRESET"),
    (105, "ENOBUFS"),
    (107, "ENOTCONN"),
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

/// What the C library says for an error number (strerror(3)), in lower case as Go has it: engines and test suites look for these
/// words. None for an error that no command meets.
pub fn words(errno: Errno) -> Option<&'static str> {
    let number = errno.raw_os_error();
    WORDS
        .binary_search_by_key(&number, |row| row.0)
        .ok()
        .and_then(|at| WORDS.get(at))
        .map(|row| row.1)
}

/// Ordered by number.
const WORDS: &[(i32, &str)] = &[
    (1, "operation not permitted"),
    (2, "no such file or directory"),
    (3, "no such process"),
    (4, "interrupted system call"),
    (5, "input/output error"),
    (6, "no such device or address"),
    (7, "argument list too long"),
    (8, "exec format error"),
    (9, "bad file descriptor"),
    (10, "no child processes"),
    (11, "resource temporarily unavailable"),
    (12, "cannot allocate memory"),
    (13, "permission denied"),
    (15, "block device required"),
    (16, "device or resource busy"),
    (17, "file exists"),
    (18, "invalid cross-device link"),
    (19, "no such device"),
    (20, "not a directory"),
    (21, "is a directory"),
    (22, "invalid argument"),
    (23, "too many open files in system"),
    (24, "too many open files"),
    (25, "inappropriate ioctl for device"),
    (26, "text file busy"),
    (27, "file too large"),
    (28, "no space left on device"),
    (30, "read-only file system"),
    (31, "too many links"),
    (32, "broken pipe"),
    (34, "numerical result out of range"),
    (36, "file name too long"),
    (38, "function not implemented"),
    (39, "directory not empty"),
    (40, "too many levels of symbolic links"),
    (61, "no data available"),
    (74, "bad message"),
    (75, "value too large for defined data type"),
    (84, "invalid or incomplete multibyte or wide character"),
    (87, "too many users"),
    (90, "message too long"),
    (95, "operation not supported"),
    (97, "address family not supported by protocol"),
    (98, "address already in use"),
    (104, "connection reset by peer"),
    (105, "no buffer space available"),
    (107, "transport endpoint is not connected"),
    (110, "connection timed out"),
    (111, "connection refused"),
    (117, "structure needs cleaning"),
    (123, "no medium found"),
    (125, "operation canceled"),
];

#[cfg(test)]
mod tests {
    use super::{NAMES, Name, WORDS, words};
    use rustix::io::Errno;

    #[test]
    fn the_table_is_ordered_as_its_search_needs() {
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
        assert!(WORDS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn words_are_those_of_the_c_library() {
        for (number, words) in WORDS {
            let theirs = std::io::Error::from_raw_os_error(*number).to_string();
            let theirs = theirs.to_lowercase();
            assert!(theirs.starts_with(words), "{words}: {theirs}");
        }
        assert_eq!(words(Errno::ACCESS), Some("permission denied"));
        assert_eq!(words(Errno::from_raw_os_error(400)), None);
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
