//! A descriptor that tells what happens to files.
//!
//! Made by `abi/ext`, read through the descriptor table. Invariants: a read
//! gets whole records; what was taken from the host and not read yet is at
//! most one batch of it, for the host's own queue is bounded, and says when it
//! overflowed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bitflags::bitflags;

use crate::errno::{Errno, Error};
use crate::fs::file::OpenFile;
use crate::fs::path::GuestPath;
use crate::sys::{self, BorrowedHandle, Interest, OpenSpec, OwnedHandle};
use crate::types::{Fdflags, Filetype};
use crate::wait::Waiter;
use guest_memory::IoVecs;

bitflags! {
    /// What a record tells, and what a guest wants to be told.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct WatchEvents: u32 {
        /// A name came to be in the directory: made, linked, or moved here.
        const CREATED = 1 << 0;
        /// A name is gone from the directory.
        const REMOVED = 1 << 1;
        /// Contents changed.
        const MODIFIED = 1 << 2;
        /// Times, permissions or the number of links changed.
        const METADATA = 1 << 3;
        /// What is watched has itself been removed or moved. Always told.
        const GONE = 1 << 4;
        /// Events were lost: look again. Always told.
        const OVERFLOW = 1 << 5;
    }
}

/// What a guest reads of an event: its bytes are for the face to say.
pub type Recorder = fn(WatchEvents, &[u8]) -> Vec<u8>;

pub struct Watch {
    handle: OwnedHandle,
    record: Recorder,
    /// Records.
    pending: Mutex<VecDeque<Vec<u8>>>,
    flags: AtomicU16,
}

impl Watch {
    /// Watches what a path leads to.
    pub fn open(
        dir: &OpenFile,
        path: &GuestPath<'_>,
        events: WatchEvents,
        record: Recorder,
        waiter: &Waiter,
    ) -> Result<Watch, Error> {
        let spec = OpenSpec {
            read: true,
            follow: true,
            // Should it be a pipe, nobody is waited for.
            fdflags: Fdflags::NONBLOCK,
            ..OpenSpec::default()
        };
        let watched = dir.open(path, spec, waiter)?;
        let host = watched.host().ok_or(Errno::Notsup)?;
        match watched.filetype()? {
            Filetype::RegularFile | Filetype::Directory => {}
            _ => return Err(Errno::Inval.into()),
        }
        Ok(Watch {
            handle: sys::watch(host.handle(), events)?,
            record,
            pending: Mutex::default(),
            flags: AtomicU16::new(0),
        })
    }

    pub fn handle(&self) -> BorrowedHandle<'_> {
        sys::borrow_handle(&self.handle)
    }

    pub fn flags(&self) -> Fdflags {
        Fdflags::from_bits_truncate(self.flags.load(Ordering::Relaxed))
    }

    /// NONBLOCK is the only one that means something here.
    pub fn set_flags(&self, flags: Fdflags) {
        let kept = flags & Fdflags::NONBLOCK;
        self.flags.store(kept.bits(), Ordering::Relaxed);
    }

    fn pending(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The size of the records that a read would get now.
    pub fn available(&self) -> Result<u64, Errno> {
        let mut pending = self.pending();
        self.refill(&mut pending)?;
        Ok(pending.iter().map(|record| record.len() as u64).sum())
    }

    fn refill(&self, pending: &mut VecDeque<Vec<u8>>) -> Result<(), Errno> {
        if !pending.is_empty() {
            return Ok(());
        }
        sys::read_watch(self.handle(), |events, name| {
            pending.push_back((self.record)(events, name));
        })
    }

    /// As many whole records as fit; `EINVAL` if that is none.
    pub fn read(&self, into: &IoVecs<'_>, waiter: &Waiter) -> Result<usize, Error> {
        loop {
            {
                let mut pending = self.pending();
                self.refill(&mut pending)?;
                let mut bytes = Vec::new();
                while let Some(record) = pending.front() {
                    if bytes.len() + record.len() > into.total() {
                        break;
                    }
                    bytes.extend_from_slice(record);
                    pending.pop_front();
                }
                if !bytes.is_empty() {
                    return Ok(into.scatter(&bytes));
                }
                if !pending.is_empty() {
                    return Err(Errno::Inval.into());
                }
            }
            if self.flags().contains(Fdflags::NONBLOCK) {
                return Err(Errno::Again.into());
            }
            waiter.wait_for(self.handle(), Interest::Read)?;
        }
    }
}
