//! What can be done with a socket the host handed in.
//!
//! Used by `abi/`. Invariant: sockets come only from the host or from
//! accepting on one of those; nothing here makes or connects one.

use std::fs::File;

use crate::errno::{Errno, Error};
use crate::fs::file::OpenFile;
use crate::fs::host::HostFile;
use crate::rights::Perms;
use crate::sys::{self, Interest, OwnedHandle};
use crate::types::{Fdflags, Filetype, Riflags, Roflags, Sdflags};
use crate::wait::Waiter;
use guest_memory::IoVecs;

/// Whether connections can be accepted from this socket.
pub fn is_listener(socket: &OwnedHandle) -> bool {
    sys::is_listening(sys::borrow_handle(socket))
}

impl OpenFile {
    fn require_socket(&self) -> Result<&HostFile, Errno> {
        match self.host() {
            Some(host) if self.filetype()?.is_socket() => Ok(host),
            _ => Err(Errno::Notsock),
        }
    }

    /// A stream can be sent in parts, a message cannot.
    #[inline]
    pub(crate) fn require_one_message(&self, from: &IoVecs<'_>) -> Result<(), Errno> {
        if !from.is_one_message() && self.filetype()? == Filetype::SocketDgram {
            return Err(Errno::Msgsize);
        }
        Ok(())
    }

    pub fn accept(&self, flags: Fdflags, waiter: &Waiter) -> Result<OpenFile, Error> {
        let host = self.require_socket()?;
        if !(flags - Fdflags::NONBLOCK).is_empty() {
            return Err(Errno::Inval.into());
        }
        let nonblock = flags.contains(Fdflags::NONBLOCK);
        let connection =
            self.transfer(host, Interest::Read, waiter, || sys::accept(host.handle(), nonblock))?;
        let known = Some(Filetype::SocketStream);
        Ok(OpenFile::opened(File::from(connection).into(), known, flags, (true, true), Perms::all()))
    }

    pub fn receive(
        &self,
        into: &IoVecs<'_>,
        flags: Riflags,
        waiter: &Waiter,
    ) -> Result<(usize, Roflags), Error> {
        let host = self.require_socket()?;
        let peek = flags.contains(Riflags::RECV_PEEK);
        let wait_all = flags.contains(Riflags::RECV_WAITALL);
        if wait_all && !peek && self.is_asked_stream(waiter)? {
            // The kernel's own wait for all could not be interrupted.
            let received = self.in_parts(into, |part| {
                self.transfer(host, Interest::Read, waiter, || Ok(part.read_now(host.handle())?))
            })?;
            return Ok((received, Roflags::empty()));
        }
        let (received, cut) = self
            .transfer(host, Interest::Read, waiter, || Ok(into.receive(host.handle(), peek, wait_all)?))?;
        let roflags = if cut { Roflags::RECV_DATA_TRUNCATED } else { Roflags::empty() };
        Ok((received, roflags))
    }

    pub fn send(&self, from: &IoVecs<'_>, waiter: &Waiter) -> Result<usize, Error> {
        let host = self.require_socket()?;
        self.require_one_message(from)?;
        if self.is_asked_stream(waiter)? {
            return self.write_stream(host, from, waiter);
        }
        self.transfer(host, Interest::Write, waiter, || Ok(from.send(host.handle())?))
    }

    pub fn shutdown(&self, how: Sdflags) -> Result<(), Errno> {
        let host = self.require_socket()?;
        sys::shutdown(host.handle(), how.contains(Sdflags::RD), how.contains(Sdflags::WR))
    }
}
