//! The error numbers of preview 1 and the one error type its calls return.
//!
//! Used by everything in this layer. Invariant: whatever the host reports, the
//! guest sees one of these numbers; a host code without a counterpart is `Io`.

use std::fmt;
use std::io;

use crate::sys;

macro_rules! errnos {
    ($($number:literal $variant:ident $name:literal,)*) => {
        /// `errno` of the witx file; the discriminants are its numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Errno {
            $($variant = $number,)*
        }

        impl Errno {
            /// The POSIX spelling, as in `EBADF`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Errno::$variant => $name,)*
                }
            }

            /// Every errno with its number, for tables and tests.
            pub const ALL: &'static [Errno] = &[$(Errno::$variant,)*];
        }
    };
}

errnos! {
    0 Success "ESUCCESS",
    1 TooBig "E2BIG",
    2 Acces "EACCES",
    3 Addrinuse "EADDRINUSE",
    4 Addrnotavail "EADDRNOTAVAIL",
    5 Afnosupport "EAFNOSUPPORT",
    6 Again "EAGAIN",
    7 Already "EALREADY",
    8 Badf "EBADF",
    9 Badmsg "EBADMSG",
    10 Busy "EBUSY",
    11 Canceled "ECANCELED",
    12 Child "ECHILD",
    13 Connaborted "ECONNABORTED",
    14 Connrefused "ECONNREFUSED",
    15 Connreset "ECONNRESET",
    16 Deadlk "EDEADLK",
    17 Destaddrreq "EDESTADDRREQ",
    18 Dom "EDOM",
    19 Dquot "EDQUOT",
    20 Exist "EEXIST",
    21 Fault "EFAULT",
    22 Fbig "EFBIG",
    23 Hostunreach "EHOSTUNREACH",
    24 Idrm "EIDRM",
    25 Ilseq "EILSEQ",
    26 Inprogress "EINPROGRESS",
    27 Intr "EINTR",
    28 Inval "EINVAL",
    29 Io "EIO",
    30 Isconn "EISCONN",
    31 Isdir "EISDIR",
    32 Loop "ELOOP",
    33 Mfile "EMFILE",
    34 Mlink "EMLINK",
    35 Msgsize "EMSGSIZE",
    36 Multihop "EMULTIHOP",
    37 Nametoolong "ENAMETOOLONG",
    38 Netdown "ENETDOWN",
    39 Netreset "ENETRESET",
    40 Netunreach "ENETUNREACH",
    41 Nfile "ENFILE",
    42 Nobufs "ENOBUFS",
    43 Nodev "ENODEV",
    44 Noent "ENOENT",
    45 Noexec "ENOEXEC",
    46 Nolck "ENOLCK",
    47 Nolink "ENOLINK",
    48 Nomem "ENOMEM",
    49 Nomsg "ENOMSG",
    50 Noprotoopt "ENOPROTOOPT",
    51 Nospc "ENOSPC",
    52 Nosys "ENOSYS",
    53 Notconn "ENOTCONN",
    54 Notdir "ENOTDIR",
    55 Notempty "ENOTEMPTY",
    56 Notrecoverable "ENOTRECOVERABLE",
    57 Notsock "ENOTSOCK",
    58 Notsup "ENOTSUP",
    59 Notty "ENOTTY",
    60 Nxio "ENXIO",
    61 Overflow "EOVERFLOW",
    62 Ownerdead "EOWNERDEAD",
    63 Perm "EPERM",
    64 Pipe "EPIPE",
    65 Proto "EPROTO",
    66 Protonosupport "EPROTONOSUPPORT",
    67 Prototype "EPROTOTYPE",
    68 Range "ERANGE",
    69 Rofs "EROFS",
    70 Spipe "ESPIPE",
    71 Srch "ESRCH",
    72 Stale "ESTALE",
    73 Timedout "ETIMEDOUT",
    74 Txtbsy "ETXTBSY",
    75 Xdev "EXDEV",
    76 Notcapable "ENOTCAPABLE",
}

impl Errno {
    /// The number a guest receives.
    pub fn raw(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for Errno {}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Errno {
        if let Some(code) = error.raw_os_error() {
            return sys::errno_from_raw(code);
        }
        match error.kind() {
            // cap-std reports a path that leaves its directory this way.
            io::ErrorKind::PermissionDenied => Errno::Notcapable,
            io::ErrorKind::NotFound => Errno::Noent,
            io::ErrorKind::AlreadyExists => Errno::Exist,
            io::ErrorKind::InvalidInput => Errno::Inval,
            io::ErrorKind::InvalidData => Errno::Ilseq,
            io::ErrorKind::WouldBlock => Errno::Again,
            io::ErrorKind::Interrupted => Errno::Intr,
            io::ErrorKind::BrokenPipe => Errno::Pipe,
            io::ErrorKind::TimedOut => Errno::Timedout,
            io::ErrorKind::Unsupported => Errno::Notsup,
            io::ErrorKind::OutOfMemory => Errno::Nomem,
            _ => Errno::Io,
        }
    }
}

impl From<guest_memory::Error> for Errno {
    #[inline]
    fn from(error: guest_memory::Error) -> Errno {
        match error {
            guest_memory::Error::OutOfBounds => Errno::Fault,
            guest_memory::Error::TooLong => Errno::Nametoolong,
            guest_memory::Error::OutOfMemory => Errno::Nomem,
        }
    }
}

/// How a WASI call ends when it does not simply succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The call returns this number to the guest.
    Errno(Errno),
    /// The call does not return to the guest.
    Ending(Ending),
}

/// Why a guest is unwound out of a WASI call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `proc_exit`: the guest is to be unwound with this code.
    Exit(u32),
    /// The host asked the guest to stop while the call was waiting.
    Interrupted,
    /// The guest wrote more than its host keeps, and is to be unwound.
    OutputLimit(OutputLimit),
}

/// A captured stream is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// `stdout` or `stderr`.
    pub stream: &'static str,
    /// Bytes.
    pub limit: usize,
}

impl fmt::Display for OutputLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OutputLimit { stream, limit } = self;
        write!(f, "the program wrote more to {stream} than is captured: {limit} bytes")
    }
}

impl From<Errno> for Error {
    #[inline]
    fn from(errno: Errno) -> Error {
        Error::Errno(errno)
    }
}

impl From<Ending> for Error {
    fn from(ending: Ending) -> Error {
        Error::Ending(ending)
    }
}

impl From<guest_memory::Error> for Error {
    #[inline]
    fn from(error: guest_memory::Error) -> Error {
        Error::Errno(error.into())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Errno(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_witx_order() {
        for (index, errno) in Errno::ALL.iter().enumerate() {
            assert_eq!(usize::from(errno.raw()), index, "{errno}");
        }
        assert_eq!(Errno::ALL.len(), 77);
    }

    #[test]
    fn escapes_reported_by_cap_std_are_enotcapable() {
        let escape = io::Error::new(io::ErrorKind::PermissionDenied, "outside");
        assert_eq!(Errno::from(escape), Errno::Notcapable);
    }
}
