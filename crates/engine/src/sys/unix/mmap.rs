//! A range of address space.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

#[cfg(miri)]
use super::miri as os;
#[cfg(not(miri))]
use libc as os;

/// The page size in bytes.
pub fn page_size() -> usize {
    // SAFETY: a query without pointer arguments.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// A private mapping, anonymous or of a file, that is unmapped when dropped. Ranges are in bytes from its
/// start, at page boundaries.
pub struct Mmap {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is an address and a length. Code that accesses memory through it has its own safety argument.
unsafe impl Send for Mmap {}
// SAFETY: as above. Its own methods only change mappings and page protections, which the kernel orders.
unsafe impl Sync for Mmap {}

impl Mmap {
    /// Reserves address space that faults on every access. `len` may be 0.
    pub fn reserve(len: usize) -> io::Result<Mmap> {
        if len == 0 {
            return Ok(Mmap::none());
        }
        // SAFETY: a new mapping at an address chosen by the kernel does not affect existing memory.
        let start = unsafe { map(std::ptr::null_mut(), len, 0) }?;
        match NonNull::new(start) {
            Some(start) => Ok(Mmap { start, len }),
            None => Err(io::Error::other("the kernel mapped address 0")),
        }
    }

    /// Maps the first `len` bytes of a file for reading. The file must not shrink while it is mapped.
    pub fn of_file(file: &File, len: usize) -> io::Result<Mmap> {
        if len == 0 {
            return Ok(Mmap::none());
        }
        let (protection, flags) = (libc::PROT_READ, libc::MAP_PRIVATE);
        // SAFETY: a new mapping at an address chosen by the kernel does not affect existing memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        match NonNull::new(start.cast()) {
            Some(start) => Ok(Mmap { start, len }),
            None => Err(io::Error::other("the kernel mapped address 0")),
        }
    }

    /// The contents of a mapping that [`Mmap::of_file`] made.
    pub fn bytes_of_file(&self) -> &[u8] {
        // SAFETY: the mapping is private and readable, and no method makes pages of a file inaccessible. The file
        // is only ever replaced as a whole, or grows after its end.
        unsafe { std::slice::from_raw_parts(self.start(), self.len) }
    }

    /// An empty range.
    pub fn none() -> Mmap {
        Mmap { start: NonNull::dangling(), len: 0 }
    }

    /// Reserves more address space after the mapping, up to `len` bytes in all. Fails if that space is in use
    /// or if the mapping is empty. The start never changes.
    pub fn extend(&mut self, len: usize) -> io::Result<()> {
        let Some(more) = len.checked_sub(self.len).filter(|more| *more > 0) else { return Ok(()) };
        if self.len == 0 {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let end = self.start().wrapping_add(self.len);
        // SAFETY: without MAP_FIXED the address is a hint, so existing mappings are not affected.
        let start = unsafe { map(end, more, 0) }?;
        if start != end {
            // SAFETY: the range was just mapped and is not yet used.
            unsafe { os::munmap(start.cast(), more) };
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.len = len;
        Ok(())
    }

    /// Replaces pages with fresh, inaccessible ones.
    pub fn renew(&self, range: Range<usize>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        if range.end > self.len {
            return Err(io::Error::other("pages that are not ours"));
        }
        // SAFETY: the range is inside our own mapping.
        unsafe { map(self.start().wrapping_add(range.start), range.len(), libc::MAP_FIXED) }.map(drop)
    }

    /// Replaces pages with fresh ones that are readable and writable, in one step.
    pub fn renew_writable(&self, range: Range<usize>) -> io::Result<()> {
        self.replace(
            range,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    }

    /// Replaces pages with those of a file from `offset`, readable and writable. What is written to them stays
    /// in this mapping. The file must not change or shrink while it is mapped.
    pub fn map_file(&self, range: Range<usize>, file: &File, offset: u64) -> io::Result<()> {
        let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.replace(range, libc::PROT_READ | libc::PROT_WRITE, 0, file.as_raw_fd(), offset)
    }

    fn replace(
        &self,
        range: Range<usize>,
        protection: libc::c_int,
        flags: libc::c_int,
        file: libc::c_int,
        offset: i64,
    ) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        if range.end > self.len {
            return Err(io::Error::other("pages that are not ours"));
        }
        let start = self.start().wrapping_add(range.start);
        let flags = flags | libc::MAP_FIXED | libc::MAP_PRIVATE;
        // SAFETY: the range is inside our own mapping.
        let mapped = unsafe { os::mmap(start.cast(), range.len(), protection, flags, file, offset) };
        if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    pub fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Unmaps all but these ranges of pages, which stay for ever.
    pub fn unmap_but(self, mut kept: Vec<Range<usize>>) {
        kept.sort_unstable_by_key(|range| range.start);
        let end = self.len..self.len;
        let mut from = 0;
        for range in kept.into_iter().chain([end]) {
            if from < range.start.min(self.len) {
                let start = self.start().wrapping_add(from);
                // SAFETY: the range is inside our own mapping, and nobody uses it: what is used is kept.
                unsafe { os::munmap(start.cast(), range.start.min(self.len) - from) };
            }
            from = from.max(range.end);
        }
        std::mem::forget(self);
    }

    /// Makes pages readable and writable. Fresh ones read as zero.
    pub fn make_writable(&self, range: Range<usize>) -> io::Result<()> {
        self.protect(range, libc::PROT_READ | libc::PROT_WRITE)
    }

    /// Has the system make writable pages now that would be made one by one when they are first written, if it can.
    pub fn populate(&self, range: Range<usize>) {
        if range.end > self.len {
            return;
        }
        // SAFETY: the range is inside our own mapping, and its contents stay as they are. A failure changes nothing.
        #[cfg(all(target_os = "linux", not(miri)))]
        unsafe {
            let start = self.start().add(range.start).cast();
            libc::madvise(start, range.len(), libc::MADV_POPULATE_WRITE);
        }
    }

    /// Makes pages readable and executable, and no longer writable.
    pub fn make_executable(&self, range: Range<usize>) -> io::Result<()> {
        self.protect(range, libc::PROT_READ | libc::PROT_EXEC)
    }

    /// Makes every access to pages fault. Their contents are kept.
    pub fn make_inaccessible(&self, range: Range<usize>) -> io::Result<()> {
        self.protect(range, libc::PROT_NONE)
    }

    /// Returns the contents of pages to the system. They read as zero from then on, or as what the file has
    /// that was mapped there.
    pub fn discard(&self, range: Range<usize>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        if range.end > self.len {
            return Err(io::Error::other("pages that are not ours"));
        }
        // SAFETY: the range is inside our own mapping, which is private.
        let result =
            unsafe { os::madvise(self.start().add(range.start).cast(), range.len(), libc::MADV_DONTNEED) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn protect(&self, range: Range<usize>, protection: libc::c_int) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        if range.end > self.len {
            return Err(io::Error::other("protection of pages that are not ours"));
        }
        // SAFETY: the range is inside our own mapping.
        let result = unsafe { os::mprotect(self.start().add(range.start).cast(), range.len(), protection) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Maps pages that fault on every access.
///
/// # Safety
/// With MAP_FIXED existing mappings in the range are destroyed.
unsafe fn map(address: *mut u8, len: usize, flags: libc::c_int) -> io::Result<*mut u8> {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: by this function's contract.
    let start = unsafe { os::mmap(address.cast(), len, libc::PROT_NONE, flags, -1, 0) };
    if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(start.cast()) }
}

impl Drop for Mmap {
    fn drop(&mut self) {
        if self.len != 0 {
            // SAFETY: the mapping is ours, and all access to it required this value.
            unsafe { os::munmap(self.start().cast(), self.len) };
        }
    }
}

/// Whether [`Mmap::discard`] brings back what a file has that is mapped privately, and zeros elsewhere, whatever
/// was written. Others than Linux may keep what was written.
pub const DISCARDS: bool = cfg!(target_os = "linux") && !cfg!(miri);

/// A file in memory without a name, with these bytes, which nobody can change.
#[cfg(target_os = "linux")]
pub fn memory_file(bytes: &[u8]) -> io::Result<File> {
    use std::io::Write;
    use std::os::fd::FromRawFd;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is NUL-terminated.
    let descriptor = unsafe { libc::memfd_create(c"wasi-native".as_ptr(), flags) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and ours.
    let mut file = unsafe { File::from_raw_fd(descriptor) };
    file.write_all(bytes)?;
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: the descriptor is open, and the call has no pointer arguments.
    match unsafe { libc::fcntl(descriptor, libc::F_ADD_SEALS, seals) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
pub fn memory_file(_: &[u8]) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}
