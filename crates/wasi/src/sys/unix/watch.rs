//! Watching files, by inotify.
//!
//! By rustix, which is here anyway. The crates made for watching (`notify` and the like) take a path of
//! the host and walk it themselves, which would go around the gate; here a descriptor is watched that
//! passed it. They also queue what happens without bound in a thread of theirs. The kernel's queue is
//! bounded, says when it overflowed, and can be polled with everything else.

use std::os::fd::{BorrowedFd, OwnedFd};

#[cfg(target_os = "linux")]
use rustix::io::Errno as HostErrno;

use crate::errno::Errno;
use crate::watch::WatchEvents;

/// Starts watching an open file or directory. The host's call wants a path:
/// the one that stands for the descriptor, so that it is this very file.
#[cfg(target_os = "linux")]
pub fn watch(fd: BorrowedFd<'_>, events: WatchEvents) -> Result<OwnedFd, Errno> {
    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    use std::os::fd::AsRawFd;
    let mut mask = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    for (wanted, flags) in [
        (WatchEvents::CREATED, WatchFlags::CREATE | WatchFlags::MOVED_TO),
        (WatchEvents::REMOVED, WatchFlags::DELETE | WatchFlags::MOVED_FROM),
        (WatchEvents::MODIFIED, WatchFlags::MODIFY),
        (WatchEvents::METADATA, WatchFlags::ATTRIB),
    ] {
        if events.contains(wanted) {
            mask |= flags;
        }
    }
    let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    match inotify::add_watch(&queue, path, mask) {
        Ok(_) => Ok(queue),
        Err(HostErrno::NOENT) => Err(Errno::Notsup), // no /proc here
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub fn watch(_: BorrowedFd<'_>, _: WatchEvents) -> Result<OwnedFd, Errno> {
    Err(Errno::Notsup)
}

/// Hands out what happened, if anything.
#[cfg(target_os = "linux")]
pub fn read_watch(fd: BorrowedFd<'_>, mut emit: impl FnMut(WatchEvents, &[u8])) -> Result<(), Errno> {
    use rustix::fs::inotify::{ReadFlags, Reader};
    let mut buffer: Vec<u8> = Vec::with_capacity(4096);
    let mut reader = Reader::new(fd, buffer.spare_capacity_mut());
    loop {
        let event = match reader.next() {
            Err(HostErrno::AGAIN | HostErrno::INTR) => return Ok(()),
            event => event?,
        };
        let mut events = WatchEvents::empty();
        for (flags, told) in [
            (ReadFlags::CREATE | ReadFlags::MOVED_TO, WatchEvents::CREATED),
            (ReadFlags::DELETE | ReadFlags::MOVED_FROM, WatchEvents::REMOVED),
            (ReadFlags::MODIFY, WatchEvents::MODIFIED),
            (ReadFlags::ATTRIB, WatchEvents::METADATA),
            (ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT, WatchEvents::GONE),
            (ReadFlags::QUEUE_OVERFLOW, WatchEvents::OVERFLOW),
        ] {
            events.set(told, event.events().intersects(flags));
        }
        if !events.is_empty() {
            emit(events, event.file_name().map_or(b"", |name| name.to_bytes()));
        }
        if reader.is_buffer_empty() {
            return Ok(());
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub fn read_watch(_: BorrowedFd<'_>, _: impl FnMut(WatchEvents, &[u8])) -> Result<(), Errno> {
    Ok(())
}
