//! The guest's buffers for a vectored read or write.
//!
//! Invariant: every entry is a checked range of the memory of the guest's view.

use std::io;
use std::marker::PhantomData;
use std::ptr;

use crate::sys::{self, Handle};
use crate::{Error, GuestMemory};

/// Checked buffers in guest memory. They may overlap each other. The copies
/// are then done in order.
pub struct IoVecs<'a> {
    inline: [sys::RawIoVec; IoVecs::INLINE],
    /// Used instead of `inline` when the buffers do not fit there.
    heap: Vec<sys::RawIoVec>,
    count: usize,
    total: usize,
    /// Whether these are all the buffers that the guest gave.
    complete: bool,
    lifetime: PhantomData<&'a ()>,
}

impl<'a> IoVecs<'a> {
    const INLINE: usize = 2;
    const GUEST_ENTRY_SIZE: u32 = 8;

    /// The most that Linux moves in one call. The result also fits the `u32`
    /// that a guest reads.
    pub const MAX_TOTAL: usize = 0x7fff_f000;

    #[inline]
    fn empty() -> IoVecs<'a> {
        IoVecs {
            inline: [sys::raw_iovec(ptr::null_mut(), 0); IoVecs::INLINE],
            heap: Vec::new(),
            count: 0,
            total: 0,
            complete: true,
            lifetime: PhantomData,
        }
    }

    #[inline]
    fn push(&mut self, base: *mut u8, len: usize) -> Result<(), Error> {
        let len = len.min(IoVecs::MAX_TOTAL - self.total);
        if len == 0 {
            return Ok(());
        }
        let entry = sys::raw_iovec(base, len);
        if let Some(slot) = self.inline.get_mut(self.count) {
            *slot = entry;
        } else {
            let more = if self.heap.is_empty() { IoVecs::INLINE + 1 } else { 1 };
            self.heap.try_reserve(more).map_err(|_| Error::OutOfMemory)?;
            if self.heap.is_empty() {
                self.heap.extend_from_slice(&self.inline);
            }
            self.heap.push(entry);
        }
        self.count += 1;
        self.total += len;
        Ok(())
    }

    #[inline]
    fn entries(&self) -> &[sys::RawIoVec] {
        self.inline.get(..self.count).unwrap_or(&self.heap)
    }

    /// As many buffers as the host accepts in one call. The guest's next call
    /// moves the rest.
    #[inline]
    fn for_host(&self) -> &[sys::RawIoVec] {
        let entries = self.entries();
        entries.get(..sys::MOST).unwrap_or(entries)
    }

    /// Whether the host can take all buffers of the guest in one call, as it
    /// must for a message that cannot be sent in parts.
    #[inline]
    pub fn is_one_message(&self) -> bool {
        self.complete && self.count <= sys::MOST
    }

    /// These buffers without their first bytes.
    pub fn without_first(&self, bytes: usize) -> Result<IoVecs<'a>, Error> {
        let mut rest = IoVecs { complete: self.complete, ..IoVecs::empty() };
        let mut left = bytes;
        for entry in self.entries() {
            let (base, len) = sys::iovec_parts(entry);
            let skipped = left.min(len);
            left -= skipped;
            rest.push(base.wrapping_add(skipped), len - skipped)?;
        }
        Ok(rest)
    }

    /// The total bytes of all buffers.
    #[inline]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Fills the buffers from host bytes. Returns how many bytes were copied.
    #[inline]
    pub fn scatter(&self, from: &[u8]) -> usize {
        let mut rest = from;
        for entry in self.entries() {
            let (base, len) = sys::iovec_parts(entry);
            let (now, later) = rest.split_at(len.min(rest.len()));
            // SAFETY: `push` was given a checked range of at least `len`
            // bytes, and host bytes never overlap it.
            unsafe { ptr::copy_nonoverlapping(now.as_ptr(), base, now.len()) };
            rest = later;
        }
        from.len() - rest.len()
    }

    /// Appends up to `limit` bytes of the buffers to a host vector.
    pub fn gather(&self, into: &mut Vec<u8>, limit: usize) -> Result<usize, Error> {
        let mut left = limit.min(self.total);
        into.try_reserve(left).map_err(|_| Error::OutOfMemory)?;
        for entry in self.entries() {
            let (base, len) = sys::iovec_parts(entry);
            let len = len.min(left);
            let old = into.len();
            // SAFETY: `push` was given a checked source range. `reserve` made
            // room for `left` more bytes, and `len <= left`.
            unsafe {
                ptr::copy_nonoverlapping(base, into.as_mut_ptr().add(old), len);
                into.set_len(old + len);
            }
            left -= len;
        }
        Ok(limit.min(self.total))
    }

    /// Copies into `into` until it is full or the buffers end.
    pub fn gather_into(&self, into: &mut [u8]) {
        let mut done = 0;
        for entry in self.entries() {
            let (base, len) = sys::iovec_parts(entry);
            let rest = into.get_mut(done..).unwrap_or_default();
            let len = len.min(rest.len());
            // SAFETY: `push` was given a checked source range of at least `len`
            // bytes. The target has `len` bytes too, and never overlaps guest memory.
            unsafe { ptr::copy_nonoverlapping(base, rest.as_mut_ptr(), len) };
            done += len;
        }
    }

    /// `readv` into the buffers.
    #[inline]
    pub fn read_from(&self, fd: Handle<'_>) -> io::Result<usize> {
        // SAFETY: here and below, every entry is a checked range that stays
        // mapped for `'a`, and on our side only the kernel accesses it.
        unsafe { sys::readv(fd, self.for_host()) }
    }

    #[inline]
    pub fn write_to(&self, fd: Handle<'_>) -> io::Result<usize> {
        // SAFETY: as in `read_from`, these are checked ranges of guest memory.
        unsafe { sys::writev(fd, self.for_host()) }
    }

    /// Writes at the end of a file that was opened to append to, or has been told since. Elsewhere as
    /// [`IoVecs::write_to`].
    #[inline]
    pub fn append_to(&self, fd: Handle<'_>) -> io::Result<usize> {
        // SAFETY: as in `read_from`, these are checked ranges of guest memory.
        unsafe { sys::append(fd, self.for_host()) }
    }

    #[inline]
    pub fn read_from_at(&self, fd: Handle<'_>, offset: u64) -> io::Result<usize> {
        // SAFETY: as in `read_from`, these are checked ranges of guest memory.
        unsafe { sys::preadv(fd, self.for_host(), offset) }
    }

    #[inline]
    pub fn write_to_at(&self, fd: Handle<'_>, offset: u64) -> io::Result<usize> {
        // SAFETY: as in `read_from`, these are checked ranges of guest memory.
        unsafe { sys::pwritev(fd, self.for_host(), offset) }
    }

    /// Reads what is there without waiting for more, from a stream that seemed ready. The error is that of a
    /// non-blocking file if nothing is there.
    pub fn read_now(&self, fd: Handle<'_>) -> io::Result<usize> {
        // SAFETY: as in `read_from`, these are checked ranges of guest memory.
        unsafe { sys::readv_now(fd, self.for_host()) }
    }

    /// The same for writing: what there is room for.
    pub fn write_now(&self, fd: Handle<'_>) -> io::Result<usize> {
        // SAFETY: as in `read_from`, these are checked ranges of guest memory.
        unsafe { sys::writev_now(fd, self.for_host()) }
    }

    /// `recvmsg`. Also returns whether a datagram was truncated.
    pub fn receive(&self, fd: Handle<'_>, peek: bool, wait_all: bool) -> io::Result<(usize, bool)> {
        // SAFETY: as in `read_from`, these are checked ranges of guest memory.
        unsafe { sys::recvmsg(fd, self.for_host(), peek, wait_all) }
    }

    pub fn send(&self, fd: Handle<'_>) -> io::Result<usize> {
        // SAFETY: as in `read_from`, these are checked ranges of guest memory.
        unsafe { sys::sendmsg(fd, self.for_host()) }
    }
}

impl<'a> GuestMemory<'a> {
    /// The buffers that an array of `(pointer, length)` pairs describes.
    ///
    /// Takes the first `limit` buffers that are not empty. If there are more, or
    /// more than [`IoVecs::MAX_TOTAL`] bytes, the guest sees a short read or
    /// write.
    #[inline]
    pub fn iovecs(&self, array: u32, count: u32, limit: u32) -> Result<IoVecs<'a>, Error> {
        let entry_size = IoVecs::GUEST_ENTRY_SIZE;
        self.check(array as usize, count as usize * entry_size as usize)?;
        let mut vecs = IoVecs::empty();
        for index in 0..count {
            let entry = array + index * entry_size;
            let address = self.read_u32(entry)?;
            let len = self.read_u32(entry + 4)? as usize;
            if vecs.count >= limit as usize && len > 0 {
                vecs.complete = false;
                break;
            }
            vecs.push(self.check(address as usize, len)?, len)?;
        }
        Ok(vecs)
    }
}
