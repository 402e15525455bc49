//! A range of address space.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::windows::fs::FileExt;
use std::ptr::NonNull;
use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_DECOMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_EXECUTE_READ, PAGE_NOACCESS,
    PAGE_PROTECTION_FLAGS, PAGE_READWRITE, VirtualAlloc, VirtualFree, VirtualProtect,
};

/// Windows has pages of this size on every processor that compiled code is made for.
const PAGE: usize = 4 << 10;

/// Address space is reserved from multiples of this on.
const GRANULARITY: usize = 64 << 10;

/// The page size in bytes.
pub fn page_size() -> usize {
    PAGE
}

/// Address space that is released when dropped. Ranges are in bytes from its start, at page boundaries. Memory is
/// committed when pages are made accessible for the first time.
pub struct Mmap {
    start: NonNull<u8>,
    len: usize,
    /// Where reservations begin that extended the first one. One call acts on pages of one reservation.
    more: Vec<usize>,
}

// SAFETY: it is an address and a length. Code that accesses memory through it has its own safety argument.
unsafe impl Send for Mmap {}
// SAFETY: as above. Its own shared methods only change pages and their protections, which the kernel orders.
unsafe impl Sync for Mmap {}

fn result(succeeded: bool) -> io::Result<()> {
    if succeeded { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Mmap {
    /// Reserves address space that faults on every access. `len` may be 0.
    pub fn reserve(len: usize) -> io::Result<Mmap> {
        if len == 0 {
            return Ok(Mmap::none());
        }
        // SAFETY: a new reservation at an address chosen by the system does not affect existing memory.
        let start = unsafe { VirtualAlloc(std::ptr::null(), len, MEM_RESERVE, PAGE_NOACCESS) };
        match NonNull::new(start.cast()) {
            Some(start) => Ok(Mmap { start, len, more: Vec::new() }),
            None => Err(io::Error::last_os_error()),
        }
    }

    /// The first `len` bytes of a file, for reading. They are a copy: a file that is mapped cannot be replaced or
    /// removed on Windows, and the cache does both.
    pub fn of_file(file: &File, len: usize) -> io::Result<Mmap> {
        let memory = Mmap::reserve(len)?;
        memory.make_writable(0..len)?;
        if len > 0 {
            // SAFETY: the pages are writable, zero, and nobody else has their address yet.
            let bytes = unsafe { std::slice::from_raw_parts_mut(memory.start(), len) };
            let mut done = 0;
            while done < len {
                match file.seek_read(&mut bytes[done..], done as u64) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => done += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(memory)
    }

    /// The contents of a mapping that [`Mmap::of_file`] made.
    pub fn bytes_of_file(&self) -> &[u8] {
        // SAFETY: the pages were made readable, nobody makes those of a file inaccessible, and nobody writes to
        // them.
        unsafe { std::slice::from_raw_parts(self.start(), self.len) }
    }

    /// An empty range.
    pub fn none() -> Mmap {
        Mmap { start: NonNull::dangling(), len: 0, more: Vec::new() }
    }

    /// Reserves more address space after the mapping, up to `len` bytes in all. Fails if that space is in use
    /// or if the mapping is empty. The start never changes.
    pub fn extend(&mut self, len: usize) -> io::Result<()> {
        let Some(more) = len.checked_sub(self.len).filter(|more| *more > 0) else { return Ok(()) };
        if self.len == 0 || !self.len.is_multiple_of(GRANULARITY) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.more.try_reserve(1).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let end = self.start().wrapping_add(self.len);
        // SAFETY: only address space that nobody has is reserved.
        let start = unsafe { VirtualAlloc(end.cast(), more, MEM_RESERVE, PAGE_NOACCESS) };
        if start.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        debug_assert_eq!(start.cast(), end);
        self.more.push(self.len);
        self.len = len;
        Ok(())
    }

    /// Replaces pages with fresh, inaccessible ones.
    pub fn renew(&self, range: Range<usize>) -> io::Result<()> {
        self.each(range, |start, len| {
            // SAFETY: the range is inside our own reservation.
            result(unsafe { VirtualFree(start.cast(), len, MEM_DECOMMIT) } != 0)
        })
    }

    /// Replaces pages with fresh ones that are readable and writable.
    pub fn renew_writable(&self, range: Range<usize>) -> io::Result<()> {
        self.renew(range.clone())?;
        self.make_writable(range)
    }

    /// Files are never mapped over pages here: see [`DISCARDS`].
    pub fn map_file(&self, _: Range<usize>, _: &File, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Gives back the memory of all but these ranges of pages, which stay for ever. The address space stays, too:
    /// it can only be released as a whole.
    pub fn unmap_but(self, mut kept: Vec<Range<usize>>) {
        kept.sort_unstable_by_key(|range| range.start);
        let end = self.len..self.len;
        let mut from = 0;
        for range in kept.into_iter().chain([end]) {
            let until = range.start.min(self.len);
            if from < until {
                // If it fails, memory is lost, which nobody uses.
                let _ = self.renew(from..until);
            }
            from = from.max(range.end);
        }
        std::mem::forget(self);
    }

    /// Makes pages readable and writable. Fresh ones read as zero.
    pub fn make_writable(&self, range: Range<usize>) -> io::Result<()> {
        self.each(range, |start, len| {
            // SAFETY: the range is inside our own reservation. What is committed already keeps its contents.
            result(!unsafe { VirtualAlloc(start.cast(), len, MEM_COMMIT, PAGE_READWRITE) }.is_null())?;
            // Of those pages not every system has changed the protection.
            protect(start, len, PAGE_READWRITE)
        })
    }

    /// Has the system make writable pages now that would be made one by one when they are first written, if it can.
    /// Windows has no such call for them.
    pub fn populate(&self, _: Range<usize>) {}

    /// Makes pages readable and executable, and no longer writable.
    pub fn make_executable(&self, range: Range<usize>) -> io::Result<()> {
        self.each(range, |start, len| protect(start, len, PAGE_EXECUTE_READ))
    }

    /// Makes every access to pages fault that are accessible. Their contents are kept.
    pub fn make_inaccessible(&self, range: Range<usize>) -> io::Result<()> {
        self.each(range, |start, len| protect(start, len, PAGE_NOACCESS))
    }

    /// Returns the contents of writable pages to the system. They read as zero from then on.
    pub fn discard(&self, range: Range<usize>) -> io::Result<()> {
        self.renew_writable(range)
    }

    /// Calls `f` with the parts of a range that lie in one reservation each.
    fn each(&self, range: Range<usize>, f: impl Fn(*mut u8, usize) -> io::Result<()>) -> io::Result<()> {
        if range.end > self.len {
            return Err(io::Error::other("pages that are not ours"));
        }
        let mut from = range.start;
        for end in self.more.iter().copied().chain([self.len]) {
            let until = end.min(range.end);
            if from < until {
                f(self.start().wrapping_add(from), until - from)?;
                from = until;
            }
        }
        Ok(())
    }
}

/// Only for pages of a reservation of ours that are committed.
fn protect(start: *mut u8, len: usize, protection: PAGE_PROTECTION_FLAGS) -> io::Result<()> {
    let mut before = 0;
    // SAFETY: pages of our own, by this function's contract. The previous protection is written to our variable.
    result(unsafe { VirtualProtect(start.cast(), len, protection, &mut before) } != 0)
}

impl Drop for Mmap {
    fn drop(&mut self) {
        if self.len != 0 {
            for from in [0].into_iter().chain(std::mem::take(&mut self.more)) {
                // SAFETY: the reservation is ours, and all access to it required this value.
                unsafe { VirtualFree(self.start().wrapping_add(from).cast(), 0, MEM_RELEASE) };
            }
        }
    }
}

/// Whether [`Mmap::discard`] brings back what a file has that is mapped privately. A file cannot be mapped over a
/// part of a reservation here, so there are no such pages.
pub const DISCARDS: bool = false;

/// A file in memory without a name, with these bytes, which nobody can change.
pub fn memory_file(_: &[u8]) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}
