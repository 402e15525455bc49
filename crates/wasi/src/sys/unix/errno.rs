//! Error numbers of the host.

use rustix::io::Errno as HostErrno;

use crate::errno::Errno;

pub fn errno_from_raw(code: i32) -> Errno {
    HostErrno::from_raw_os_error(code).into()
}

impl From<HostErrno> for Errno {
    // Linux has one number for NOTSUP and OPNOTSUPP, others have two.
    #[allow(unreachable_patterns)]
    fn from(host: HostErrno) -> Errno {
        match host {
            HostErrno::TOOBIG => Errno::TooBig,
            HostErrno::ACCESS => Errno::Acces,
            HostErrno::ADDRINUSE => Errno::Addrinuse,
            HostErrno::ADDRNOTAVAIL => Errno::Addrnotavail,
            HostErrno::AFNOSUPPORT => Errno::Afnosupport,
            HostErrno::AGAIN => Errno::Again,
            HostErrno::ALREADY => Errno::Already,
            HostErrno::BADF => Errno::Badf,
            HostErrno::BADMSG => Errno::Badmsg,
            HostErrno::BUSY => Errno::Busy,
            HostErrno::CANCELED => Errno::Canceled,
            HostErrno::CHILD => Errno::Child,
            HostErrno::CONNABORTED => Errno::Connaborted,
            HostErrno::CONNREFUSED => Errno::Connrefused,
            HostErrno::CONNRESET => Errno::Connreset,
            HostErrno::DEADLK => Errno::Deadlk,
            HostErrno::DESTADDRREQ => Errno::Destaddrreq,
            HostErrno::DOM => Errno::Dom,
            HostErrno::DQUOT => Errno::Dquot,
            HostErrno::EXIST => Errno::Exist,
            HostErrno::FAULT => Errno::Fault,
            HostErrno::FBIG => Errno::Fbig,
            HostErrno::HOSTUNREACH => Errno::Hostunreach,
            HostErrno::IDRM => Errno::Idrm,
            HostErrno::ILSEQ => Errno::Ilseq,
            HostErrno::INPROGRESS => Errno::Inprogress,
            HostErrno::INTR => Errno::Intr,
            HostErrno::INVAL => Errno::Inval,
            HostErrno::ISCONN => Errno::Isconn,
            HostErrno::ISDIR => Errno::Isdir,
            HostErrno::LOOP => Errno::Loop,
            HostErrno::MFILE => Errno::Mfile,
            HostErrno::MLINK => Errno::Mlink,
            HostErrno::MSGSIZE => Errno::Msgsize,
            HostErrno::NAMETOOLONG => Errno::Nametoolong,
            HostErrno::NETDOWN => Errno::Netdown,
            HostErrno::NETRESET => Errno::Netreset,
            HostErrno::NETUNREACH => Errno::Netunreach,
            HostErrno::NFILE => Errno::Nfile,
            HostErrno::NOBUFS => Errno::Nobufs,
            HostErrno::NODEV => Errno::Nodev,
            HostErrno::NOENT => Errno::Noent,
            HostErrno::NOEXEC => Errno::Noexec,
            HostErrno::NOLCK => Errno::Nolck,
            HostErrno::NOMEM => Errno::Nomem,
            HostErrno::NOMSG => Errno::Nomsg,
            HostErrno::NOPROTOOPT => Errno::Noprotoopt,
            HostErrno::NOSPC => Errno::Nospc,
            HostErrno::NOSYS => Errno::Nosys,
            HostErrno::NOTCONN => Errno::Notconn,
            HostErrno::NOTDIR => Errno::Notdir,
            HostErrno::NOTEMPTY => Errno::Notempty,
            HostErrno::NOTSOCK => Errno::Notsock,
            HostErrno::NOTSUP | HostErrno::OPNOTSUPP => Errno::Notsup,
            HostErrno::NOTTY => Errno::Notty,
            HostErrno::NXIO => Errno::Nxio,
            HostErrno::OVERFLOW => Errno::Overflow,
            HostErrno::PERM => Errno::Perm,
            HostErrno::PIPE => Errno::Pipe,
            HostErrno::PROTO => Errno::Proto,
            HostErrno::PROTONOSUPPORT => Errno::Protonosupport,
            HostErrno::PROTOTYPE => Errno::Prototype,
            HostErrno::RANGE => Errno::Range,
            HostErrno::ROFS => Errno::Rofs,
            HostErrno::SPIPE => Errno::Spipe,
            HostErrno::SRCH => Errno::Srch,
            HostErrno::STALE => Errno::Stale,
            HostErrno::TIMEDOUT => Errno::Timedout,
            HostErrno::TXTBSY => Errno::Txtbsy,
            HostErrno::XDEV => Errno::Xdev,
            _ => Errno::Io,
        }
    }
}
