//! Sockets that the host handed in: none yet. They are handles of another kind, for which there are other calls.

use crate::errno::Errno;
use crate::sys::{BorrowedHandle, OwnedHandle};

pub fn accept(_: BorrowedHandle<'_>, _: bool) -> Result<OwnedHandle, Errno> {
    Err(Errno::Notsock)
}

pub fn shutdown(_: BorrowedHandle<'_>, _: bool, _: bool) -> Result<(), Errno> {
    Err(Errno::Notsock)
}

pub fn is_listening(_: BorrowedHandle<'_>) -> bool {
    false
}
