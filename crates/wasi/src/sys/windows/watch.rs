//! Watching files: not on Windows yet.

use crate::errno::Errno;
use crate::sys::{BorrowedHandle, OwnedHandle};
use crate::watch::WatchEvents;

pub fn watch(_: BorrowedHandle<'_>, _: WatchEvents) -> Result<OwnedHandle, Errno> {
    Err(Errno::Notsup)
}

pub fn read_watch(_: BorrowedHandle<'_>, _: impl FnMut(WatchEvents, &[u8])) -> Result<(), Errno> {
    Ok(())
}
