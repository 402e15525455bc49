//! Waiting.

use std::os::fd::BorrowedFd;
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno as HostErrno;

use crate::alloc::vec_for;
use crate::errno::Errno;
use crate::sys::{Interest, Readiness};

/// Bytes that a read would get at once, as far as the host can tell.
pub fn readable_bytes(fd: BorrowedFd<'_>) -> u64 {
    rustix::io::ioctl_fionread(fd).unwrap_or(0)
}

/// Waits until one of the descriptors is ready or the time is over. A signal
/// ends the wait early with nothing ready.
pub fn wait(
    interests: &[(BorrowedFd<'_>, Interest)],
    timeout: Option<Duration>,
    found: &mut Vec<Readiness>,
) -> Result<(), Errno> {
    let mut set: Vec<PollFd<'_>> = vec_for(interests.len())?;
    set.extend(interests.iter().map(|(fd, interest)| {
        let flags = match interest {
            Interest::Read => PollFlags::IN,
            Interest::Write => PollFlags::OUT,
        };
        PollFd::from_borrowed_fd(*fd, flags)
    }));
    let timeout = timeout.map(|duration| Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX) as _,
        tv_nsec: duration.subsec_nanos() as _,
    });
    match rustix::event::poll(&mut set, timeout.as_ref()) {
        Ok(_) | Err(HostErrno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    found.clear();
    found.try_reserve(set.len()).map_err(|_| Errno::Nomem)?;
    found.extend(set.iter().map(|entry| {
        let events = entry.revents();
        Readiness {
            ready: !events.is_empty(),
            hangup: events.intersects(PollFlags::HUP | PollFlags::ERR),
            invalid: events.contains(PollFlags::NVAL),
        }
    }));
    Ok(())
}

/// Finds out whether a named pipe, open for reading, has a writer, without
/// taking anything out of it.
pub struct WriterProbe {
    #[cfg(target_os = "linux")]
    scratch: (OwnedFd, OwnedFd),
}

#[cfg(target_os = "linux")]
impl WriterProbe {
    pub fn new() -> Result<WriterProbe, Errno> {
        let scratch = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        Ok(WriterProbe { scratch })
    }

    pub fn has_writer(&self, pipe: BorrowedFd<'_>) -> Result<bool, Errno> {
        // Copying a byte would have to wait: there is a writer. There is none
        // to wait for: nobody writes.
        let nonblock = rustix::pipe::SpliceFlags::NONBLOCK;
        match rustix::pipe::tee(pipe, &self.scratch.1, 1, nonblock) {
            Ok(copied) => Ok(copied > 0),
            Err(HostErrno::AGAIN) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// Elsewhere a writer is noticed when it writes or goes.
#[cfg(not(target_os = "linux"))]
impl WriterProbe {
    pub fn new() -> Result<WriterProbe, Errno> {
        Ok(WriterProbe {})
    }

    pub fn has_writer(&self, _: BorrowedFd<'_>) -> Result<bool, Errno> {
        Ok(false)
    }
}
