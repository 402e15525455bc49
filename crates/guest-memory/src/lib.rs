//! Checked access to a guest's linear memory.
//!
//! Used by the code that serves a guest's calls: WASI, guest threads, Node-API for guests. The only
//! crate with `unsafe` code for guest bytes. Knows no errno, no engine and no Node. Invariants:
//!
//! * every access is checked against the length that the memory had when the view was made
//!   (memories never shrink). An access outside is [`Error::OutOfBounds`];
//! * the memory may be shared with other threads or with JavaScript, so no Rust reference or slice
//!   of guest bytes is ever made: raw copies move them, and file data goes straight between the
//!   kernel and guest memory ([`IoVecs`]). Bytes that another thread changes meanwhile may be torn,
//!   but never out of bounds. Text is copied out before it is examined;
//! * a pointer need not be aligned. The witx file requires alignment and wasmtime answers EINVAL
//!   without it, but uvwasi, and so node:wasi, accepts any address, and programs rely on that.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod iovecs;
mod large;
#[cfg(unix)]
#[path = "unix.rs"]
mod sys;
#[cfg(windows)]
#[path = "windows.rs"]
mod sys;
mod text;

pub use iovecs::IoVecs;
pub use text::GuestText;

use large::Move;
use std::marker::PhantomData;
use std::{fmt, ptr};

/// Why bytes of a guest cannot be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Some of the bytes are outside of the memory.
    OutOfBounds,
    /// There are more bytes than the caller accepts.
    TooLong,
    /// The host has no memory for a copy.
    OutOfMemory,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::OutOfBounds => "out of the guest's memory",
            Error::TooLong => "longer than is taken",
            Error::OutOfMemory => "no memory for a copy",
        })
    }
}

impl std::error::Error for Error {}

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
        pub fn $read(&self, address: u32) -> Result<$int, Error> {
            let from = self.check(address as usize, size_of::<$int>())?;
            let mut bytes = [0u8; size_of::<$int>()];
            // SAFETY: `check` checked the source range, and the target is local.
            unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
            Ok(<$int>::from_le_bytes(bytes))
        }

        #[inline]
        pub fn $write(&self, address: u32, value: $int) -> Result<(), Error> {
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

    /// A view of bytes that the caller owns or borrows.
    pub fn from_slice(bytes: &'a mut [u8]) -> GuestMemory<'a> {
        // SAFETY: the slice is mutably borrowed, by nobody else, for as long as the view exists.
        unsafe { GuestMemory::from_raw(bytes.as_mut_ptr(), bytes.len()) }
    }

    /// The host address of a checked range of `len` bytes at `start`.
    #[inline]
    fn check(&self, start: usize, len: usize) -> Result<*mut u8, Error> {
        match start.checked_add(len) {
            // SAFETY: `start <= end <= self.len`, inside the one mapping.
            Some(end) if end <= self.len => Ok(unsafe { self.base.add(start) }),
            _ => Err(Error::OutOfBounds),
        }
    }

    /// Fails if a later write there would fail. A call with effects checks
    /// its result pointers with this first, so that it does not fail half done.
    #[inline]
    pub fn reserve(&self, address: u32, len: usize) -> Result<(), Error> {
        self.check(address as usize, len).map(|_| ())
    }

    integers! {
        read_u8 write_u8 u8;
        read_u16 write_u16 u16;
        read_u32 write_u32 u32;
        read_u64 write_u64 u64;
    }

    /// Copies out as many bytes as `into` holds.
    #[inline]
    pub fn read_into(&self, address: u32, into: &mut [u8]) -> Result<(), Error> {
        let from = self.check(address as usize, into.len())?;
        // SAFETY: `check` checked the source range, and a host slice cannot
        // overlap guest memory.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    #[inline]
    pub fn write_bytes(&self, address: u32, bytes: &[u8]) -> Result<(), Error> {
        self.copy_in(address as usize, bytes)
    }

    /// Copies bytes out, for a host that may name any range.
    pub fn copy_out(&self, offset: usize, len: usize) -> Result<Vec<u8>, Error> {
        let from = self.check(offset, len)?;
        let mut copy = Vec::new();
        copy.try_reserve_exact(len).map_err(|_| Error::OutOfMemory)?;
        // SAFETY: `check` checked the source range. There is room for `len` bytes, which are then set.
        unsafe {
            ptr::copy_nonoverlapping(from, copy.as_mut_ptr(), len);
            copy.set_len(len);
        }
        Ok(copy)
    }

    /// The host's address of `len` bytes, for a call of the host that reads or writes them in place. It holds
    /// as long as the memory does not move.
    #[inline]
    pub fn address(&self, address: u32, len: usize) -> Result<*mut u8, Error> {
        self.check(address as usize, len)
    }

    /// The guest's address of bytes at a host address, if all of them lie in the memory.
    #[inline]
    pub fn offset_of(&self, start: *const u8, len: usize) -> Option<u32> {
        let offset = start.addr().checked_sub(self.base.addr())?;
        self.check(offset, len).ok()?;
        u32::try_from(offset).ok()
    }

    /// How many bytes there are from an address to the memory's end.
    #[inline]
    pub fn room_from(&self, address: u32) -> Result<usize, Error> {
        self.len.checked_sub(address as usize).ok_or(Error::OutOfBounds)
    }

    /// The bytes of a text before its NUL, which must be inside the memory and among the first `limit`.
    #[inline]
    pub fn c_string_len(&self, address: u32, limit: usize) -> Result<usize, Error> {
        const CHUNK: usize = 32;
        let room = self.room_from(address)?;
        let mut len = 0;
        while len < room.min(limit.saturating_add(1)) {
            let mut chunk = [0; CHUNK];
            let part = chunk.get_mut(..CHUNK.min(room - len)).unwrap_or_default();
            self.copy_to_slice(address as usize + len, part)?;
            if let Some(end) = part.iter().position(|byte| *byte == 0) {
                return if len + end <= limit { Ok(len + end) } else { Err(Error::TooLong) };
            }
            len += part.len();
        }
        Err(if len == room { Error::OutOfBounds } else { Error::TooLong })
    }

    #[inline]
    fn copy_to_slice(&self, offset: usize, into: &mut [u8]) -> Result<(), Error> {
        let from = self.check(offset, into.len())?;
        // SAFETY: `check` checked the source range, and a host slice cannot overlap guest memory.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    /// Copies bytes out to where the host has room for them.
    ///
    /// # Safety
    /// There is room for `len` bytes at `to`, outside of the memory.
    #[inline]
    pub unsafe fn copy_to(&self, address: u32, len: usize, to: *mut u8) -> Result<(), Error> {
        let from = self.check(address as usize, len)?;
        // SAFETY: `check` checked the source range; the target is the caller's.
        unsafe { Move { from, to, len }.copy() };
        Ok(())
    }

    /// Copies bytes in from where the host has them. Others may write those meanwhile.
    ///
    /// # Safety
    /// There are `len` bytes at `from`, outside of the memory.
    #[inline]
    pub unsafe fn copy_from(&self, address: u32, from: *const u8, len: usize) -> Result<(), Error> {
        let to = self.check(address as usize, len)?;
        // SAFETY: `check` checked the target range; the source is the caller's.
        unsafe { Move { from, to, len }.copy() };
        Ok(())
    }

    /// Copies in what is not the same as the host has it. Others may write either meanwhile.
    ///
    /// # Safety
    /// As for [`copy_from`](Self::copy_from).
    #[inline]
    pub unsafe fn copy_changes_from(&self, address: u32, from: *const u8, len: usize) -> Result<(), Error> {
        let to = self.check(address as usize, len)?;
        // SAFETY: `check` checked the target range; the source is the caller's.
        unsafe { Move { from, to, len }.copy_changes() };
        Ok(())
    }

    /// Copies out what is not the same as the host has it. Others may write either meanwhile.
    ///
    /// # Safety
    /// There is room for `len` bytes at `to`, outside of the memory.
    #[inline]
    pub unsafe fn copy_changes_to(&self, address: u32, len: usize, to: *mut u8) -> Result<(), Error> {
        let from = self.check(address as usize, len)?;
        // SAFETY: `check` checked the source range; the target is the caller's.
        unsafe { Move { from, to, len }.copy_changes() };
        Ok(())
    }

    /// Tells the system that all of a large range is about to be written: it takes less time to make large pages
    /// for it. Contents stay as they are.
    pub fn expect_filled(&self, address: u32, len: usize) -> Result<(), Error> {
        let start = self.check(address as usize, len)?;
        #[cfg(all(target_os = "linux", not(miri)))]
        {
            // A multiple of all sizes of pages.
            const PAGE: usize = 64 << 10;
            let before = start.align_offset(PAGE);
            let whole = len.saturating_sub(before) / PAGE * PAGE;
            // The system may have no large pages: nothing depends on them.
            // SAFETY: `check` checked the range. The advice changes no contents.
            unsafe { libc::madvise(start.wrapping_add(before).cast(), whole, libc::MADV_HUGEPAGE) };
        }
        let _ = start;
        Ok(())
    }

    /// Makes all of a range the same byte.
    pub fn fill(&self, address: u32, len: usize, byte: u8) -> Result<(), Error> {
        let to = self.check(address as usize, len)?;
        // SAFETY: `check` checked the range.
        unsafe { ptr::write_bytes(to, byte, len) };
        Ok(())
    }

    /// Copies bytes to another place of the memory. The two may overlap.
    pub fn copy_within(&self, from: u32, to: u32, len: usize) -> Result<(), Error> {
        let (from, to) = (self.check(from as usize, len)?, self.check(to as usize, len)?);
        // SAFETY: `check` checked both ranges.
        unsafe { ptr::copy(from, to, len) };
        Ok(())
    }

    /// Copies bytes in. The reverse of [`copy_out`](Self::copy_out).
    #[inline]
    pub fn copy_in(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        let to = self.check(offset, bytes.len())?;
        // SAFETY: `check` checked the target range, and a host slice cannot overlap guest memory.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_end_at_the_last_byte() {
        let mut bytes = [0u8; 16];
        let mem = GuestMemory::from_slice(&mut bytes);
        assert_eq!(mem.write_u32(12, 0x0403_0201), Ok(()));
        assert_eq!(mem.read_u8(15), Ok(4));
        assert_eq!(mem.read_u32(13), Err(Error::OutOfBounds));
        assert_eq!(mem.read_u64(u32::MAX), Err(Error::OutOfBounds));
        assert_eq!(mem.read_u16(7), Ok(0));
        assert_eq!(mem.reserve(16, 0), Ok(()));
        assert_eq!(mem.reserve(17, 0), Err(Error::OutOfBounds));
    }

    #[test]
    fn a_text_ends_at_its_nul_inside_the_memory() {
        let mut bytes = vec![b'x'; 100];
        let mem = GuestMemory::from_slice(&mut bytes);
        assert_eq!(mem.c_string_len(0, 1000), Err(Error::OutOfBounds));
        assert_eq!(mem.c_string_len(0, 50), Err(Error::TooLong));
        assert_eq!(mem.c_string_len(100, 10), Err(Error::OutOfBounds));
        assert_eq!(mem.c_string_len(101, 10), Err(Error::OutOfBounds));
        mem.write_u8(99, 0).unwrap();
        assert_eq!(mem.c_string_len(0, 99), Ok(99));
        assert_eq!(mem.c_string_len(0, 98), Err(Error::TooLong));
        assert_eq!(mem.c_string_len(99, 0), Ok(0));
        assert_eq!(mem.c_string_len(60, 1000), Ok(39));
    }

    #[test]
    fn host_addresses_are_those_of_the_memory_alone() {
        let mut bytes = vec![0u8; 64];
        let outside = [0u8; 8];
        let mem = GuestMemory::from_slice(&mut bytes);
        let start = mem.address(8, 56).unwrap();
        assert_eq!((mem.offset_of(start, 56), mem.offset_of(start, 57)), (Some(8), None));
        assert_eq!(mem.offset_of(outside.as_ptr(), 8), None);
        assert_eq!(mem.address(8, 57), Err(Error::OutOfBounds));
        assert_eq!((mem.room_from(64), mem.room_from(65)), (Ok(0), Err(Error::OutOfBounds)));
        mem.fill(0, 4, 7).unwrap();
        mem.copy_within(0, 2, 4).unwrap();
        assert_eq!(mem.read_u64(0), Ok(0x0707_0707_0707));
        assert_eq!(mem.copy_within(0, 61, 4), Err(Error::OutOfBounds));
        assert_eq!(mem.fill(62, 3, 0), Err(Error::OutOfBounds));
        let mut host = [9u8; 8];
        // SAFETY: so many bytes are there.
        unsafe {
            assert_eq!(mem.copy_changes_to(60, 5, host.as_mut_ptr()), Err(Error::OutOfBounds));
            assert_eq!(mem.copy_changes_from(60, host.as_ptr(), 5), Err(Error::OutOfBounds));
            assert_eq!(mem.copy_changes_to(4, 4, host.as_mut_ptr()), Ok(()));
            assert_eq!(host, [7, 7, 0, 0, 9, 9, 9, 9]);
            assert_eq!(mem.copy_changes_from(56, host.as_ptr(), 8), Ok(()));
        }
        assert_eq!(mem.read_u64(56), Ok(u64::from_le_bytes(host)));
    }

    #[test]
    fn text_longer_than_the_inline_buffer_is_whole() {
        let mut bytes = vec![b'x'; 1000];
        let mem = GuestMemory::from_slice(&mut bytes);
        for len in [0, 1, 127, 128, 129, 1000] {
            let mut text = GuestText::empty();
            assert_eq!(mem.read_text(0, len, 4096, &mut text), Ok(()));
            assert_eq!(text.bytes(), vec![b'x'; len as usize]);
        }
        let text = &mut GuestText::empty();
        assert_eq!(mem.read_text(0, 1000, 999, text), Err(Error::TooLong));
        assert_eq!(mem.read_text(1, 1000, 4096, text), Err(Error::OutOfBounds));
    }

    #[test]
    fn iovecs_are_checked_one_by_one() {
        let mut bytes = vec![0u8; 256];
        let mem = GuestMemory::from_slice(&mut bytes);
        assert!(matches!(mem.iovecs(250, 1, 1024), Err(Error::OutOfBounds)));
        mem.write_u32(0, 200).unwrap();
        mem.write_u32(4, 57).unwrap();
        assert!(matches!(mem.iovecs(0, 1, 1024), Err(Error::OutOfBounds)));
        mem.write_u32(4, 56).unwrap();
        assert_eq!(mem.iovecs(0, 1, 1024).map(|v| v.total()), Ok(56));
    }

    #[test]
    fn scatter_and_gather_cross_buffers_beyond_the_inline_ones() {
        let mut bytes = vec![0u8; 4096];
        let mem = GuestMemory::from_slice(&mut bytes);
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
        let mem = GuestMemory::from_slice(&mut bytes);
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
        // The remaining entries are not examined.
        mem.write_u32(29 * 8, u32::MAX).unwrap();
        assert_eq!(total(5), Ok((5, false)));
    }

    #[test]
    fn overlapping_buffers_are_written_in_order() {
        let mut bytes = vec![0u8; 64];
        let mem = GuestMemory::from_slice(&mut bytes);
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
