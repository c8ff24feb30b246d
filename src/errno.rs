//! The names of error numbers, for messages.
//!
//! `ENOENT` tells a reader and a search engine more than `2` does. The numbers are those of
//! `include/uapi/asm-generic/errno{-base,}.h`, which x86_64 and aarch64 share; what booting and
//! mounting never meets (the errors of STREAMS, of X.25 and their like) is shown by number.

use core::fmt;

use rustix::io::Errno;

/// Shows an error number by its name.
#[derive(Clone, Copy, Debug)]
pub struct Name(pub Errno);

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match line_of(NAMES, self.0) {
            Some(name) => formatter.write_str(name),
            None => write!(formatter, "errno {}", self.0.raw_os_error()),
        }
    }
}

/// The line of an error in a text that has one for each number: a table of texts would be twice as
/// large.
#[inline(never)]
fn line_of(lines: &'static str, errno: Errno) -> Option<&'static str> {
    let number = usize::try_from(errno.raw_os_error()).ok()?;
    let mut lines = lines.as_bytes().split(|byte| *byte == b'\n');
    let line = lines.nth(number).filter(|line| !line.is_empty())?;
    core::str::from_utf8(line).ok()
}

/// Whether what was asked for is right, and only lacks something that may be there later:
/// processes, memory, room, descriptors, or a device, a group or a file that somebody else uses.
/// `ECHILD` is a helper that was killed, mostly for want of memory.
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

/// The names, a line each from number 1 on.
const NAMES: &str = concat!(
    "\nEPERM\nENOENT\nESRCH\nEINTR\nEIO\nENXIO\nE2BIG\nENOEXEC\nEBADF\nECHILD\nEAGAIN\nENOMEM",
    "\nEACCES\nEFAULT\nENOTBLK\nEBUSY\nEEXIST\nEXDEV\nENODEV\nENOTDIR\nEISDIR\nEINVAL\nENFILE",
    "\nEMFILE\nENOTTY\nETXTBSY\nEFBIG\nENOSPC\nESPIPE\nEROFS\nEMLINK\nEPIPE\nEDOM\nERANGE",
    "\nEDEADLK\nENAMETOOLONG\nENOLCK\nENOSYS\nENOTEMPTY\nELOOP\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n",
    "\n\n\n\n\n\nENODATA\nETIME\n\n\n\n\n\n\n\n\nEPROTO\n\n\nEBADMSG\nEOVERFLOW\n\n\n\n",
    "\nELIBBAD\n\n\n\nEILSEQ\n\n\nEUSERS\n\n\nEMSGSIZE\n\n\n\n\nEOPNOTSUPP\n\nEAFNOSUPPORT",
    "\nEADDRINUSE\n\n\n\n\n\nECONNRESET\nENOBUFS\n\nENOTCONN\n\n\nETIMEDOUT\nECONNREFUSED\n\n",
    "\n\n\nESTALE\nEUCLEAN\n\n\n\n\n\nENOMEDIUM\nEMEDIUMTYPE\nECANCELED\nENOKEY\nEKEYEXPIRED",
    "\nEKEYREVOKED\nEKEYREJECTED\n\n\n\nEHWPOISON",
);

/// What the C library says for an error number (strerror(3)), in lower case as Go has it: engines
/// and test suites look for these words. None for an error that has no [`Name`] either.
pub fn words(errno: Errno) -> Option<&'static str> {
    line_of(WORDS, errno)
}

/// The words, a line each from number 1 on.
const WORDS: &str = concat!(
    "\noperation not permitted\nno such file or directory\nno such process",
    "\ninterrupted system call\ninput/output error\nno such device or address",
    "\nargument list too long\nexec format error\nbad file descriptor\nno child processes",
    "\nresource temporarily unavailable\ncannot allocate memory\npermission denied",
    "\nbad address\nblock device required\ndevice or resource busy\nfile exists",
    "\ninvalid cross-device link\nno such device\nnot a directory\nis a directory",
    "\ninvalid argument\ntoo many open files in system\ntoo many open files",
    "\ninappropriate ioctl for device\ntext file busy\nfile too large",
    "\nno space left on device\nillegal seek\nread-only file system\ntoo many links",
    "\nbroken pipe\nnumerical argument out of domain\nnumerical result out of range",
    "\nresource deadlock avoided\nfile name too long\nno locks available",
    "\nfunction not implemented\ndirectory not empty\ntoo many levels of symbolic links\n\n\n",
    "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\nno data available\ntimer expired\n\n\n\n\n\n\n\n",
    "\nprotocol error\n\n\nbad message\nvalue too large for defined data type\n\n\n\n",
    "\naccessing a corrupted shared library\n\n\n",
    "\ninvalid or incomplete multibyte or wide character\n\n\ntoo many users\n\n",
    "\nmessage too long\n\n\n\n\noperation not supported\n",
    "\naddress family not supported by protocol\naddress already in use\n\n\n\n\n",
    "\nconnection reset by peer\nno buffer space available\n",
    "\ntransport endpoint is not connected\n\n\nconnection timed out\nconnection refused\n\n",
    "\n\n\nstale file handle\nstructure needs cleaning\n\n\n\n\n\nno medium found",
    "\nwrong medium type\noperation canceled\nrequired key not available\nkey has expired",
    "\nkey has been revoked\nkey was rejected by service\n\n\n",
    "\nmemory page has hardware error",
);

#[cfg(test)]
mod tests {
    use super::{NAMES, Name, WORDS, words};
    use rustix::io::Errno;

    #[test]
    fn words_are_those_of_the_c_library() {
        let mut count = 0;
        for (number, (name, words)) in NAMES.split('\n').zip(WORDS.split('\n')).enumerate() {
            assert_eq!(name.is_empty(), words.is_empty(), "{name}: {words}");
            if !name.is_empty() {
                let theirs = std::io::Error::from_raw_os_error(number as i32).to_string();
                let theirs = theirs.to_lowercase();
                assert!(theirs.starts_with(words), "{words}: {theirs}");
                count += 1;
            }
        }
        assert_eq!(count, 67);
        assert_eq!(words(Errno::ACCESS), Some("permission denied"));
        assert_eq!(words(Errno::from_raw_os_error(41)), None);
        assert_eq!(words(Errno::from_raw_os_error(400)), None);
    }

    #[test]
    fn errors_are_shown_by_name() {
        for (errno, name) in [
            (Errno::PERM, "EPERM"),
            (Errno::INVAL, "EINVAL"),
            (Errno::NOTBLK, "ENOTBLK"),
            (Errno::LOOP, "ELOOP"),
            (Errno::NODATA, "ENODATA"),
            (Errno::OPNOTSUPP, "EOPNOTSUPP"),
            (Errno::KEYREJECTED, "EKEYREJECTED"),
            (Errno::HWPOISON, "EHWPOISON"),
        ] {
            assert_eq!(format!("{}", Name(errno)), name);
        }
    }

    #[test]
    fn an_unknown_number_is_shown_as_a_number() {
        for number in [41, 134, 400] {
            let shown = format!("{}", Name(Errno::from_raw_os_error(number)));
            assert_eq!(shown, format!("errno {number}"));
        }
    }
}
