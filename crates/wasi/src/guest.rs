//! The guest's linear memory, as seen by host calls.
//!
//! The only file of this layer with `unsafe` code. Used by the ABI files, and
//! through [`IoVecs`] by whatever moves bytes. Invariants:
//!
//! * every access is checked against the length the memory had when the call
//!   began (memories never shrink); outside is `EFAULT`;
//! * the memory may be shared with other threads or with JavaScript, so no
//!   Rust reference or slice to guest bytes is ever made: bytes move by raw
//!   copies, and file data goes straight between the kernel and guest memory
//!   by raw iovecs. What another thread changes meanwhile may be torn, never
//!   out of bounds; text is copied out before it is examined;
//! * a pointer need not be aligned. The witx file asks for alignment and
//!   wasmtime answers EINVAL without it, but uvwasi and so node:wasi accept
//!   any address, and programs have come to rely on that.

use std::marker::PhantomData;
use std::ptr;

use crate::errno::Errno;
use crate::sys::BorrowedHandle;

/// A view of one memory for the duration of one call.
#[derive(Clone, Copy)]
pub struct GuestMemory<'a> {
    base: *mut u8,
    len: usize,
    lifetime: PhantomData<&'a ()>,
}

macro_rules! integers {
    ($($read:ident $write:ident $int:ty;)*) => {$(
        #[inline]
        pub fn $read(&self, address: u32) -> Result<$int, Errno> {
            let from = self.check(address, size_of::<$int>())?;
            let mut bytes = [0u8; size_of::<$int>()];
            // SAFETY: `check` proved the source range; the target is local.
            unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
            Ok(<$int>::from_le_bytes(bytes))
        }

        #[inline]
        pub fn $write(&self, address: u32, value: $int) -> Result<(), Errno> {
            self.write_bytes(address, &value.to_le_bytes())
        }
    )*};
}

impl<'a> GuestMemory<'a> {
    /// # Safety
    ///
    /// `base..base + len` must stay mapped, readable and writable for `'a`.
    /// Other threads may access it at the same time.
    #[inline]
    pub unsafe fn from_raw(base: *mut u8, len: usize) -> GuestMemory<'a> {
        GuestMemory { base, len, lifetime: PhantomData }
    }

    /// The host address of `len` bytes at `address`.
    #[inline]
    fn check(&self, address: u32, len: usize) -> Result<*mut u8, Errno> {
        let start = address as usize;
        match start.checked_add(len) {
            // SAFETY: `start <= end <= self.len`, inside the one mapping.
            Some(end) if end <= self.len => Ok(unsafe { self.base.add(start) }),
            _ => Err(Errno::Fault),
        }
    }

    /// Fails as a later write there would. A call with effects asks this of
    /// its result pointers first, so that it does not fail half done.
    #[inline]
    pub fn reserve(&self, address: u32, len: usize) -> Result<(), Errno> {
        self.check(address, len).map(|_| ())
    }

    integers! {
        read_u8 write_u8 u8;
        read_u16 write_u16 u16;
        read_u32 write_u32 u32;
        read_u64 write_u64 u64;
    }

    /// Copies out as many bytes as `into` holds.
    #[inline]
    pub fn read_into(&self, address: u32, into: &mut [u8]) -> Result<(), Errno> {
        let from = self.check(address, into.len())?;
        // SAFETY: `check` proved the source range, and a host slice cannot
        // overlap guest memory.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    #[inline]
    pub fn write_bytes(&self, address: u32, bytes: &[u8]) -> Result<(), Errno> {
        let to = self.check(address, bytes.len())?;
        // SAFETY: as in `read_into`, the other way round.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Copies a string out, to be examined where the guest cannot change it.
    #[inline]
    pub fn read_text(&self, address: u32, len: u32, limit: usize, text: &mut GuestText) -> Result<(), Errno> {
        let len = len as usize;
        self.check(address, len)?;
        if len > limit {
            return Err(Errno::Nametoolong);
        }
        text.len = len;
        match text.inline.get_mut(..len) {
            Some(inline) => self.read_into(address, inline),
            None => {
                text.heap.try_reserve_exact(len).map_err(|_| Errno::Nomem)?;
                text.heap.resize(len, 0);
                self.read_into(address, &mut text.heap)
            }
        }
    }

    /// The buffers that an array of `(pointer, length)` pairs describes.
    ///
    /// The first `limit` of them that are not empty; what lies beyond those, or
    /// beyond [`IoVecs::MAX_TOTAL`] bytes, the guest sees as a short read or
    /// write. With a limit of none nothing could ever be moved, which is
    /// `EINVAL`.
    #[inline]
    pub fn iovecs(&self, array: u32, count: u32, limit: u32) -> Result<IoVecs<'a>, Errno> {
        if count > 0 && limit == 0 {
            return Err(Errno::Inval);
        }
        let entry_size = IoVecs::GUEST_ENTRY_SIZE;
        self.check(array, count as usize * entry_size as usize)?;
        let mut vecs = IoVecs::empty();
        for index in 0..count {
            let entry = array + index * entry_size;
            let address = self.read_u32(entry)?;
            let len = self.read_u32(entry + 4)? as usize;
            if vecs.count >= limit as usize && len > 0 {
                vecs.complete = false;
                break;
            }
            vecs.push(self.check(address, len)?, len)?;
        }
        Ok(vecs)
    }
}

/// A string copied out of guest memory; short ones without an allocation.
pub struct GuestText {
    len: usize,
    inline: [u8; GuestText::INLINE],
    heap: Vec<u8>,
}

impl GuestText {
    const INLINE: usize = 128;

    #[inline]
    pub fn empty() -> GuestText {
        GuestText { len: 0, inline: [0; GuestText::INLINE], heap: Vec::new() }
    }

    pub fn bytes(&self) -> &[u8] {
        self.inline.get(..self.len).unwrap_or(&self.heap)
    }
}

/// Checked buffers in guest memory. They may overlap each other: the copies
/// are then done in order.
pub struct IoVecs<'a> {
    inline: [native::RawIoVec; IoVecs::INLINE],
    /// Used instead of `inline` once there are more than fit there.
    heap: Vec<native::RawIoVec>,
    count: usize,
    total: usize,
    /// Whether these are all buffers that the guest gave.
    complete: bool,
    lifetime: PhantomData<&'a ()>,
}

impl<'a> IoVecs<'a> {
    const INLINE: usize = 2;
    const GUEST_ENTRY_SIZE: u32 = 8;

    /// What Linux moves at most in one call; the result also fits the `u32`
    /// that a guest reads.
    pub const MAX_TOTAL: usize = 0x7fff_f000;

    fn empty() -> IoVecs<'a> {
        IoVecs {
            inline: [native::raw_iovec(ptr::null_mut(), 0); IoVecs::INLINE],
            heap: Vec::new(),
            count: 0,
            total: 0,
            complete: true,
            lifetime: PhantomData,
        }
    }

    #[inline]
    fn push(&mut self, base: *mut u8, len: usize) -> Result<(), Errno> {
        let len = len.min(IoVecs::MAX_TOTAL - self.total);
        if len == 0 {
            return Ok(());
        }
        let entry = native::raw_iovec(base, len);
        if let Some(slot) = self.inline.get_mut(self.count) {
            *slot = entry;
        } else {
            let more = if self.heap.is_empty() { IoVecs::INLINE + 1 } else { 1 };
            self.heap.try_reserve(more).map_err(|_| Errno::Nomem)?;
            if self.heap.is_empty() {
                self.heap.extend_from_slice(&self.inline);
            }
            self.heap.push(entry);
        }
        self.count += 1;
        self.total += len;
        Ok(())
    }

    fn entries(&self) -> &[native::RawIoVec] {
        self.inline.get(..self.count).unwrap_or(&self.heap)
    }

    /// As many as the host takes in one call; the rest is moved by the guest's
    /// next.
    fn for_host(&self) -> &[native::RawIoVec] {
        let entries = self.entries();
        entries.get(..native::MOST).unwrap_or(entries)
    }

    /// Whether the host can take all buffers of the guest in one call, as a
    /// message that cannot be sent in parts has to be.
    pub fn is_one_message(&self) -> bool {
        self.complete && self.count <= native::MOST
    }

    /// The bytes all buffers hold together.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Fills the buffers from host bytes; returns how many were taken.
    pub fn scatter(&self, from: &[u8]) -> usize {
        let mut rest = from;
        for entry in self.entries() {
            let (base, len) = native::iovec_parts(entry);
            let (now, later) = rest.split_at(len.min(rest.len()));
            // SAFETY: `push` was given a checked range of at least `len`
            // bytes; host bytes never overlap it.
            unsafe { ptr::copy_nonoverlapping(now.as_ptr(), base, now.len()) };
            rest = later;
        }
        from.len() - rest.len()
    }

    /// Appends up to `limit` bytes of the buffers to a host vector.
    pub fn gather(&self, into: &mut Vec<u8>, limit: usize) -> Result<usize, Errno> {
        let mut left = limit.min(self.total);
        into.try_reserve(left).map_err(|_| Errno::Nomem)?;
        for entry in self.entries() {
            let (base, len) = native::iovec_parts(entry);
            let len = len.min(left);
            let old = into.len();
            // SAFETY: the source was checked by `push`; `reserve` made room
            // for `left` more bytes, and `len <= left`.
            unsafe {
                ptr::copy_nonoverlapping(base, into.as_mut_ptr().add(old), len);
                into.set_len(old + len);
            }
            left -= len;
        }
        Ok(limit.min(self.total))
    }

    /// Copies as many bytes as both hold.
    pub fn gather_into(&self, into: &mut [u8]) {
        let mut done = 0;
        for entry in self.entries() {
            let (base, len) = native::iovec_parts(entry);
            let rest = into.get_mut(done..).unwrap_or_default();
            let len = len.min(rest.len());
            // SAFETY: the source was checked by `push` and has `len` bytes or
            // more, as has the target, which never overlaps guest memory.
            unsafe { ptr::copy_nonoverlapping(base, rest.as_mut_ptr(), len) };
            done += len;
        }
    }

    /// `readv` into the buffers.
    #[inline]
    pub fn read_from(&self, fd: BorrowedHandle<'_>) -> Result<usize, Errno> {
        // SAFETY: here and below, every entry is a checked range that stays
        // mapped for `'a`, and the kernel is its only accessor on our side.
        unsafe { native::readv(fd, self.for_host()) }
    }

    #[inline]
    pub fn write_to(&self, fd: BorrowedHandle<'_>) -> Result<usize, Errno> {
        // SAFETY: as in `read_from`: checked ranges of guest memory.
        unsafe { native::writev(fd, self.for_host()) }
    }

    #[inline]
    pub fn read_from_at(&self, fd: BorrowedHandle<'_>, offset: u64) -> Result<usize, Errno> {
        // SAFETY: as in `read_from`: checked ranges of guest memory.
        unsafe { native::preadv(fd, self.for_host(), offset) }
    }

    #[inline]
    pub fn write_to_at(&self, fd: BorrowedHandle<'_>, offset: u64) -> Result<usize, Errno> {
        // SAFETY: as in `read_from`: checked ranges of guest memory.
        unsafe { native::pwritev(fd, self.for_host(), offset) }
    }

    /// `recvmsg`; also tells whether a datagram was cut.
    pub fn receive(
        &self,
        fd: BorrowedHandle<'_>,
        peek: bool,
        wait_all: bool,
    ) -> Result<(usize, bool), Errno> {
        // SAFETY: as in `read_from`: checked ranges of guest memory.
        unsafe { native::recvmsg(fd, self.for_host(), peek, wait_all) }
    }

    pub fn send(&self, fd: BorrowedHandle<'_>) -> Result<usize, Errno> {
        // SAFETY: as in `read_from`: checked ranges of guest memory.
        unsafe { native::sendmsg(fd, self.for_host()) }
    }
}

/// The vectored calls themselves, on raw iovecs. They go through libc because
/// every safe wrapper wants Rust slices, which guest memory must not become.
#[cfg(unix)]
mod native {
    use std::io;
    use std::os::fd::AsRawFd;

    use super::{BorrowedHandle, Errno};

    pub type RawIoVec = libc::iovec;

    /// `IOV_MAX`: what the vectored calls take, on every Unix that we know.
    pub const MOST: usize = 1024;

    pub fn raw_iovec(base: *mut u8, len: usize) -> RawIoVec {
        libc::iovec { iov_base: base.cast(), iov_len: len }
    }

    pub fn iovec_parts(entry: &RawIoVec) -> (*mut u8, usize) {
        (entry.iov_base.cast(), entry.iov_len)
    }

    fn moved(result: isize) -> Result<usize, Errno> {
        usize::try_from(result).map_err(|_| io::Error::last_os_error().into())
    }

    fn count(entries: &[RawIoVec]) -> Result<libc::c_int, Errno> {
        libc::c_int::try_from(entries.len()).map_err(|_| Errno::Inval)
    }

    fn position(offset: u64) -> Result<libc::off_t, Errno> {
        libc::off_t::try_from(offset).map_err(|_| Errno::Inval)
    }

    // A single buffer, by far the most common, takes the plain call: the
    // kernel then has no array to copy in and check.

    /// The plain calls. Those of the C library are points where a thread can be
    /// cancelled, which they prepare for each time; nobody cancels our threads.
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    mod plain {
        use super::RawIoVec;
        use libc::{SYS_pread64, SYS_pwrite64, SYS_read, SYS_write, c_int, off_t, syscall};

        // Safety, for these four: as for `readv`.

        pub unsafe fn read(fd: c_int, one: &RawIoVec) -> isize {
            // SAFETY: here and below, by the caller's promise.
            unsafe { syscall(SYS_read, fd, one.iov_base, one.iov_len) as isize }
        }

        pub unsafe fn write(fd: c_int, one: &RawIoVec) -> isize {
            // SAFETY: as in `read`.
            unsafe { syscall(SYS_write, fd, one.iov_base, one.iov_len) as isize }
        }

        pub unsafe fn pread(fd: c_int, one: &RawIoVec, at: off_t) -> isize {
            // SAFETY: as in `read`.
            unsafe { syscall(SYS_pread64, fd, one.iov_base, one.iov_len, at) as isize }
        }

        pub unsafe fn pwrite(fd: c_int, one: &RawIoVec, at: off_t) -> isize {
            // SAFETY: as in `read`.
            unsafe { syscall(SYS_pwrite64, fd, one.iov_base, one.iov_len, at) as isize }
        }
    }

    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    mod plain {
        use super::RawIoVec;
        use libc::{c_int, off_t};

        // Safety, for these four: as for `readv`.

        pub unsafe fn read(fd: c_int, one: &RawIoVec) -> isize {
            // SAFETY: here and below, by the caller's promise.
            unsafe { libc::read(fd, one.iov_base, one.iov_len) }
        }

        pub unsafe fn write(fd: c_int, one: &RawIoVec) -> isize {
            // SAFETY: as in `read`.
            unsafe { libc::write(fd, one.iov_base, one.iov_len) }
        }

        pub unsafe fn pread(fd: c_int, one: &RawIoVec, at: off_t) -> isize {
            // SAFETY: as in `read`.
            unsafe { libc::pread(fd, one.iov_base, one.iov_len, at) }
        }

        pub unsafe fn pwrite(fd: c_int, one: &RawIoVec, at: off_t) -> isize {
            // SAFETY: as in `read`.
            unsafe { libc::pwrite(fd, one.iov_base, one.iov_len, at) }
        }
    }

    /// # Safety
    ///
    /// For these six: the entries describe writable (for writes: readable)
    /// memory that stays mapped during the call.
    pub unsafe fn readv(fd: BorrowedHandle<'_>, entries: &[RawIoVec]) -> Result<usize, Errno> {
        let fd = fd.as_raw_fd();
        moved(match entries {
            // SAFETY: the caller's promise, here and below.
            [one] => unsafe { plain::read(fd, one) },
            _ => unsafe { libc::readv(fd, entries.as_ptr(), count(entries)?) },
        })
    }

    pub unsafe fn writev(fd: BorrowedHandle<'_>, entries: &[RawIoVec]) -> Result<usize, Errno> {
        let fd = fd.as_raw_fd();
        moved(match entries {
            // SAFETY: by this function's contract, as in `readv`.
            [one] => unsafe { plain::write(fd, one) },
            _ => unsafe { libc::writev(fd, entries.as_ptr(), count(entries)?) },
        })
    }

    pub unsafe fn preadv(fd: BorrowedHandle<'_>, entries: &[RawIoVec], offset: u64) -> Result<usize, Errno> {
        let (fd, at) = (fd.as_raw_fd(), position(offset)?);
        moved(match entries {
            // SAFETY: by this function's contract, as in `readv`.
            [one] => unsafe { plain::pread(fd, one, at) },
            _ => unsafe { libc::preadv(fd, entries.as_ptr(), count(entries)?, at) },
        })
    }

    pub unsafe fn pwritev(fd: BorrowedHandle<'_>, entries: &[RawIoVec], offset: u64) -> Result<usize, Errno> {
        let (fd, at) = (fd.as_raw_fd(), position(offset)?);
        moved(match entries {
            // SAFETY: by this function's contract, as in `readv`.
            [one] => unsafe { plain::pwrite(fd, one, at) },
            _ => unsafe { libc::pwritev(fd, entries.as_ptr(), count(entries)?, at) },
        })
    }

    fn message(entries: &[RawIoVec]) -> libc::msghdr {
        // SAFETY: all zero is a message without name, control data or buffers.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = entries.as_ptr().cast_mut();
        message.msg_iovlen = entries.len() as _;
        message
    }

    pub unsafe fn recvmsg(
        fd: BorrowedHandle<'_>,
        entries: &[RawIoVec],
        peek: bool,
        wait_all: bool,
    ) -> Result<(usize, bool), Errno> {
        let mut flags = 0;
        if peek {
            flags |= libc::MSG_PEEK;
        }
        if wait_all {
            flags |= libc::MSG_WAITALL;
        }
        let mut message = message(entries);
        // SAFETY: by this function's contract, as in `readv`.
        let received = moved(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, flags) })?;
        Ok((received, message.msg_flags & libc::MSG_TRUNC != 0))
    }

    pub unsafe fn sendmsg(fd: BorrowedHandle<'_>, entries: &[RawIoVec]) -> Result<usize, Errno> {
        // SAFETY: by this function's contract, as in `readv`.
        moved(unsafe { libc::sendmsg(fd.as_raw_fd(), &message(entries), 0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(bytes: &mut [u8]) -> GuestMemory<'_> {
        // SAFETY: the slice is borrowed for as long as the view lives.
        unsafe { GuestMemory::from_raw(bytes.as_mut_ptr(), bytes.len()) }
    }

    #[test]
    fn accesses_end_at_the_last_byte() {
        let mut bytes = [0u8; 16];
        let mem = view(&mut bytes);
        assert_eq!(mem.write_u32(12, 0x0403_0201), Ok(()));
        assert_eq!(mem.read_u8(15), Ok(4));
        assert_eq!(mem.read_u32(13), Err(Errno::Fault));
        assert_eq!(mem.read_u64(u32::MAX), Err(Errno::Fault));
        assert_eq!(mem.read_u16(7), Ok(0));
        assert_eq!(mem.reserve(16, 0), Ok(()));
        assert_eq!(mem.reserve(17, 0), Err(Errno::Fault));
    }

    #[test]
    fn text_longer_than_the_inline_buffer_is_whole() {
        let mut bytes = vec![b'x'; 1000];
        let mem = view(&mut bytes);
        for len in [0, 1, 127, 128, 129, 1000] {
            let mut text = GuestText::empty();
            assert_eq!(mem.read_text(0, len, 4096, &mut text), Ok(()));
            assert_eq!(text.bytes(), vec![b'x'; len as usize]);
        }
        let text = &mut GuestText::empty();
        assert_eq!(mem.read_text(0, 1000, 999, text), Err(Errno::Nametoolong));
        assert_eq!(mem.read_text(1, 1000, 4096, text), Err(Errno::Fault));
    }

    #[test]
    fn iovecs_are_checked_one_by_one() {
        let mut bytes = vec![0u8; 256];
        let mem = view(&mut bytes);
        assert!(matches!(mem.iovecs(0, 1, 0), Err(Errno::Inval)));
        assert!(matches!(mem.iovecs(250, 1, 1024), Err(Errno::Fault)));
        mem.write_u32(0, 200).unwrap();
        mem.write_u32(4, 57).unwrap();
        assert!(matches!(mem.iovecs(0, 1, 1024), Err(Errno::Fault)));
        mem.write_u32(4, 56).unwrap();
        assert_eq!(mem.iovecs(0, 1, 1024).map(|v| v.total()), Ok(56));
    }

    #[test]
    fn scatter_and_gather_cross_buffers_beyond_the_inline_ones() {
        let mut bytes = vec![0u8; 4096];
        let mem = view(&mut bytes);
        for index in 0..20 {
            mem.write_u32(index * 8, 1000 + index * 3).unwrap();
            mem.write_u32(index * 8 + 4, 3).unwrap();
        }
        let vecs = mem.iovecs(0, 20, 1024).unwrap_or_else(|_| panic!("in bounds"));
        let data: Vec<u8> = (0..70).collect();
        assert_eq!(vecs.scatter(&data), 60);
        let mut back = vec![9];
        assert_eq!(vecs.gather(&mut back, 50), Ok(50));
        assert_eq!(back[1..], data[..50]);
        let mut part = [0; 41];
        vecs.gather_into(&mut part);
        assert_eq!(part, data[..41]);
        let mut more = [9; 61];
        vecs.gather_into(&mut more);
        assert_eq!((&more[..60], more[60]), (&data[..60], 9));
        assert_eq!(mem.read_u8(1059), Ok(59));
        assert_eq!(mem.read_u8(1060), Ok(0));
    }

    #[test]
    fn buffers_beyond_the_limit_are_left_and_empty_ones_do_not_count() {
        let mut bytes = vec![0u8; 4096];
        let mem = view(&mut bytes);
        for index in 0..30 {
            mem.write_u32(index * 8, 1000).unwrap();
            mem.write_u32(index * 8 + 4, u32::from(index % 3 == 0)).unwrap();
        }
        let total = |limit| mem.iovecs(0, 30, limit).map(|v| (v.total(), v.is_one_message()));
        assert_eq!(total(1), Ok((1, false)));
        assert_eq!(total(4), Ok((4, false)));
        assert_eq!(total(9), Ok((9, false)));
        assert_eq!(total(10), Ok((10, true)));
        assert_eq!(total(11), Ok((10, true)));
        // What is left is not looked at.
        mem.write_u32(29 * 8, u32::MAX).unwrap();
        assert_eq!(total(5), Ok((5, false)));
    }

    #[test]
    fn overlapping_buffers_are_written_in_order() {
        let mut bytes = vec![0u8; 64];
        let mem = view(&mut bytes);
        for (slot, address) in [(0, 32), (8, 34)] {
            mem.write_u32(slot, address).unwrap();
            mem.write_u32(slot + 4, 4).unwrap();
        }
        let vecs = mem.iovecs(0, 2, 8).unwrap_or_else(|_| panic!("in bounds"));
        assert_eq!(vecs.scatter(b"abcdefgh"), 8);
        let mut seen = [0; 6];
        mem.read_into(32, &mut seen).unwrap();
        assert_eq!(&seen, b"abefgh");
    }
}
