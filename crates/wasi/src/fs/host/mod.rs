//! Files of the host: the back end by cap-std and plain calls on open handles.
//!
//! Used by `fs/` above, which has checked permissions. Invariant: a handle came through the path gate, or
//! from the host itself.

mod dir;
mod listing;
mod position;

use std::fs::File;
use std::sync::Mutex;

use crate::errno::Errno;
use crate::fs::host::listing::Listing;
use crate::fs::host::position::Position;
use crate::sys::{self, BorrowedHandle};
use crate::wait::Turn;

/// A file of the host.
pub struct HostFile {
    pub(super) file: File,
    pub(super) position: Position,
    /// A directory's listing in progress.
    listing: Mutex<Option<Listing>>,
    /// Which thread reads what comes from elsewhere.
    pub(super) readers: Turn,
}

impl HostFile {
    /// One whose position the host keeps: it is also somebody else's, or has none.
    pub fn shared(file: File) -> HostFile {
        HostFile { file, position: Position::shared(), listing: Mutex::new(None), readers: Turn::default() }
    }

    /// One that this layer has just opened, and nobody else has.
    pub fn opened(file: File) -> HostFile {
        HostFile { file, position: Position::start(), listing: Mutex::new(None), readers: Turn::default() }
    }

    #[inline]
    pub fn handle(&self) -> BorrowedHandle<'_> {
        sys::borrow(&self.file)
    }
}

/// Without `openat2`, cap-std gives a handle that is only good for lookups of a directory that a link
/// led to. What needs more opens it again.
pub(super) fn by_full_handle<T>(
    file: &File,
    operation: impl Fn(BorrowedHandle<'_>) -> Result<T, Errno>,
) -> Result<T, Errno> {
    match uninterrupted(|| operation(sys::borrow(file))) {
        Err(Errno::Badf) => {
            let full = sys::reopen_directory(file).map_err(|_| Errno::Badf)?;
            uninterrupted(|| operation(sys::borrow(&full)))
        }
        done => done,
    }
}

/// A signal to the host is not the guest's business.
pub(super) fn uninterrupted<T>(mut operation: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match operation() {
            Err(Errno::Intr) => {}
            done => return done,
        }
    }
}
