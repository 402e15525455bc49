//! The pages of a memory, and a pool of reservations for later memories.
//!
//! Used by `runtime/vm/memory.rs` and `runtime/vm/shared_memory.rs`. The engine owns the pool. Invariants:
//! pages never move. Pages that are not yet in use fault. When they are first used they read as zero, or as the
//! memory's image. What another memory wrote has been given back to the kernel before.

use crate::sys::{DISCARDS, Mmap, page_size};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Bytes of inaccessible guard after the 4 GiB of a reserved memory. More than a large stack and the static data after
/// it: linkers put the stack first, some modules are built with one of 64 MB, and all static data is accessed at offsets
/// behind that.
pub const GUARD_SIZE: u64 = 128 << 20;
/// And before them.
const GUARD_BEFORE: usize = 32 << 20;

/// Bytes of a reserved memory between its guards: the range of a 32-bit index.
pub const RESERVED: usize = 4 << 30;

pub fn round_to_page(bytes: usize) -> usize {
    bytes.next_multiple_of(page_size())
}

/// What memories start with, as pages of a file. A memory has its own copy of those that it writes.
pub struct Image {
    file: Arc<File>,
    /// Ranges of the memory in order, and their offsets in the file. All are multiples of the page size.
    runs: Vec<(Range<usize>, u64)>,
}

impl Image {
    /// `None` where memories cannot have images. The file must stay as it is.
    pub fn new(file: Arc<File>, runs: Vec<(Range<usize>, u64)>) -> Option<Arc<Image>> {
        DISCARDS.then(|| Arc::new(Image { file, runs }))
    }

    fn end(&self) -> usize {
        self.runs.last().map_or(0, |(range, _)| range.end)
    }

    fn overlaps(&self, range: &Range<usize>) -> bool {
        !range.is_empty() && self.runs.iter().any(|(run, _)| run.start < range.end && range.start < run.end)
    }
}

/// A reservation that no memory uses. Its accessible pages are as a new memory's.
struct Slot {
    mapping: Mmap,
    /// The number of accessible bytes.
    used: usize,
    /// The image that is mapped there. A module that nobody has any more need not keep its file open for it.
    image: Option<Weak<Image>>,
}

/// Unused address space, for reserved memories and for the stores of runs. An engine has one pool.
#[derive(Default)]
pub struct Pool {
    memories: Mutex<Vec<Slot>>,
    contexts: Mutex<Vec<Mmap>>,
}

/// The maximum number of reservations in a pool for memories of up to [`SMALL`] bytes: 4 TiB of the 128 that there
/// are. A garbage collector ends hundreds of instances at once, and as many begin until it comes again.
const KEPT: usize = 1000;

/// The maximum number of contexts in a pool, and of reservations of memories that were larger: the kernel keeps its
/// tables of their pages, 2 KB for each MB.
const KEPT_LARGE: usize = 32;

const SMALL: usize = 32 << 20;

impl Slot {
    fn has(&self, image: &Option<Arc<Image>>) -> bool {
        match (&self.image, image) {
            (Some(own), Some(image)) => std::ptr::eq(own.as_ptr(), Arc::as_ptr(image)),
            (own, image) => own.is_none() && image.is_none(),
        }
    }
}

impl Pool {
    /// Takes the reservation that needs least to become a memory with this image and size.
    fn take(&self, image: &Option<Arc<Image>>, bytes: usize) -> Option<Slot> {
        let mut free = lock(&self.memories);
        let cost = |slot: &Slot| (!slot.has(image), slot.image.is_some(), slot.used != bytes);
        let fits = free.iter().rposition(|slot| slot.used == bytes && slot.has(image));
        let least = || Some(free.iter().enumerate().rev().min_by_key(|(_, slot)| cost(slot))?.0);
        let place = fits.or_else(least)?;
        Some(free.swap_remove(place))
    }

    /// Whether a reservation of which so many bytes were used is worth keeping.
    fn has_room(&self, used: usize) -> bool {
        lock(&self.memories).len() < if used <= SMALL { KEPT } else { KEPT_LARGE }
    }

    fn give(&self, slot: Slot) {
        let mut free = lock(&self.memories);
        if free.len() < KEPT {
            free.push(slot);
        }
    }

    /// Writable pages for the context of a store. What they contain is undefined.
    pub fn take_context(&self, bytes: usize) -> io::Result<Mmap> {
        let kept = lock(&self.contexts).pop();
        if let Some(kept) = kept.filter(|kept| kept.len() == bytes) {
            return Ok(kept);
        }
        let mapping = Mmap::reserve(bytes)?;
        mapping.make_writable(0..bytes)?;
        Ok(mapping)
    }

    /// Takes the pages of a context back, all of which must be writable.
    pub fn give_context(&self, mapping: Mmap) {
        let mut free = lock(&self.contexts);
        if free.len() < KEPT_LARGE {
            free.push(mapping);
        }
    }
}

/// Ignores poisoning: no code that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Address space that must remain after an allocation. Otherwise the host fails, and even the error cannot be
/// reported.
const SPARE: usize = 64 << 20;

/// Address space that must remain after reserving more than is needed now.
const AMPLE: usize = 256 << 20;

/// Fails if an allocation of this size leaves too little address space. Small ones are not checked.
pub fn check_spare(bytes: usize) -> io::Result<()> {
    if bytes < 1 << 20 {
        return Ok(());
    }
    Mmap::reserve(bytes.saturating_add(SPARE)).map(drop)
}

pub struct Pages {
    mapping: Mmap,
    /// The offset of byte 0 in the mapping.
    start: usize,
    /// The number of accessible bytes from there.
    used: AtomicUsize,
    /// The pool that the mapping is returned to. Bounded mappings are unmapped.
    pool: Option<Arc<Pool>>,
    /// The image that is mapped, or of which parts are.
    image: Mutex<Option<Mapped>>,
    /// Parts of the mapping, in whole pages, that are never unmapped.
    kept: Mutex<Vec<Range<usize>>>,
}

struct Mapped {
    image: Arc<Image>,
    /// Whether all of it is mapped.
    whole: bool,
}

impl Pages {
    /// 4 GiB between guards, of which `bytes` are accessible. They are those of the image, and zero elsewhere.
    pub fn reserved(pool: &Arc<Pool>, bytes: usize, image: Option<Arc<Image>>) -> io::Result<Pages> {
        let end = round_to_page(bytes);
        let Some(slot) = pool.take(&image, end) else {
            let mapping = Mmap::reserve(GUARD_BEFORE + RESERVED + GUARD_SIZE as usize)?;
            return Pages::new(mapping, GUARD_BEFORE, Some(pool.clone()), bytes, image);
        };
        let fits = slot.has(&image);
        let Slot { mapping, mut used, image: mapped } = slot;
        if !fits && mapped.is_some() {
            mapping.renew(GUARD_BEFORE..GUARD_BEFORE + used)?;
            used = 0;
        }
        if end < used {
            // What is behind the end was never written, or given back.
            mapping.make_inaccessible(GUARD_BEFORE + end..GUARD_BEFORE + used)?;
            used = end;
        }
        let (used, none) = (AtomicUsize::new(used), Mutex::new(None));
        let pages = Pages {
            mapping,
            start: GUARD_BEFORE,
            used,
            pool: Some(pool.clone()),
            image: none,
            kept: Mutex::default(),
        };
        pages.make_accessible(bytes)?;
        if fits {
            *pages.mapped() = image.map(|image| Mapped { image, whole: true });
        } else {
            pages.map_image(image)?;
        }
        Ok(pages)
    }

    /// `bytes` accessible bytes, with address space for as much of `most` as leaves plenty for others. They are
    /// those of the image, and zero elsewhere.
    pub fn bounded(bytes: usize, most: usize, image: Option<Arc<Image>>) -> io::Result<Pages> {
        let (bytes, mut room) = (round_to_page(bytes), round_to_page(most.min(isize::MAX as usize)));
        while room > bytes && Mmap::reserve(room.saturating_add(room.max(AMPLE))).is_err() {
            // Try less each time, down to nothing.
            room = (room / 2).next_multiple_of(page_size()).min(room - page_size());
        }
        if room <= bytes {
            check_spare(bytes)?;
        }
        Pages::new(Mmap::reserve(room.max(bytes))?, 0, None, bytes, image)
    }

    fn new(
        mapping: Mmap,
        start: usize,
        pool: Option<Arc<Pool>>,
        bytes: usize,
        image: Option<Arc<Image>>,
    ) -> io::Result<Pages> {
        let (used, none) = (AtomicUsize::new(0), Mutex::new(None));
        let pages = Pages { mapping, start, used, pool, image: none, kept: Mutex::default() };
        pages.make_accessible(bytes)?;
        pages.map_image(image)?;
        Ok(pages)
    }

    /// Maps an image over zeros.
    fn map_image(&self, image: Option<Arc<Image>>) -> io::Result<()> {
        let Some(image) = image else { return Ok(()) };
        if image.end() > self.used.load(Ordering::Relaxed) {
            return Err(io::Error::other("an image that is larger than its memory"));
        }
        let mut mapped = self.mapped();
        // If a part cannot be mapped, the pages must not go to another memory as they are.
        let now = mapped.insert(Mapped { image, whole: false });
        for (range, offset) in &now.image.runs {
            let range = self.start + range.start..self.start + range.end;
            self.mapping.map_file(range, &now.image.file, *offset)?;
        }
        now.whole = true;
        Ok(())
    }

    fn mapped(&self) -> MutexGuard<'_, Option<Mapped>> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes all bytes what they were at first, if there is an image and all of it is still mapped. Returns
    /// whether that is so.
    pub fn restart(&self) -> io::Result<bool> {
        if !self.mapped().as_ref().is_some_and(|mapped| mapped.whole) {
            return Ok(false);
        }
        self.mapping.discard(self.start..self.start + self.used.load(Ordering::Relaxed))?;
        Ok(true)
    }

    /// No pages and no address space.
    pub fn none() -> Pages {
        Pages {
            mapping: Mmap::none(),
            start: 0,
            used: AtomicUsize::new(0),
            pool: None,
            image: Mutex::new(None),
            kept: Mutex::default(),
        }
    }

    pub fn base(&self) -> *mut u8 {
        self.mapping.start().wrapping_add(self.start)
    }

    /// The size of the address space in bytes.
    fn capacity(&self) -> usize {
        if self.pool.is_some() { RESERVED } else { self.mapping.len() - self.start }
    }

    /// Makes this many bytes accessible, if there is address space. Only one thread may call this at a time.
    pub fn make_accessible(&self, bytes: usize) -> io::Result<()> {
        let (used, end) = (self.used.load(Ordering::Relaxed), round_to_page(bytes));
        if end > self.capacity() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if end > used {
            self.mapping.make_writable(self.start + used..self.start + end)?;
            self.used.store(end, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Like [`Pages::make_accessible`], but extends the address space if needed and possible.
    pub fn extend(&mut self, bytes: usize) -> io::Result<()> {
        let end = round_to_page(bytes);
        if end > self.capacity() && self.pool.is_none() {
            check_spare(end - self.capacity())?;
            self.mapping.extend(self.start + end)?;
        }
        self.make_accessible(bytes)
    }

    /// Returns the contents of pages to the system. They read as zero from then on.
    pub fn discard(&self, range: Range<usize>) -> io::Result<()> {
        let own = self.start + range.start..self.start + range.end;
        match &mut *self.mapped() {
            Some(mapped) if mapped.image.overlaps(&range) => {
                mapped.whole = false;
                self.mapping.renew_writable(own)
            }
            _ => self.mapping.discard(own),
        }
    }

    /// New pages of the same kind. Only for reserved ones.
    pub fn fresh(&self, bytes: usize) -> io::Result<Pages> {
        let pool = self.pool.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        Pages::reserved(pool, bytes, None)
    }

    /// Makes everything after the first `from` bytes inaccessible again.
    pub fn make_inaccessible(&self, from: usize) -> io::Result<()> {
        let (used, end) = (self.used.load(Ordering::Relaxed), round_to_page(from));
        if end < used {
            if let Some(mapped) = &mut *self.mapped() {
                mapped.whole &= !mapped.image.overlaps(&(end..used));
            }
            self.mapping.renew(self.start + end..self.start + used)?;
            self.used.store(end, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Keeps bytes mapped for ever, because there may be users whose end is not reported. No address outside of
    /// the accessible bytes counts.
    pub fn keep(&self, bytes: Range<usize>) {
        let used = self.used.load(Ordering::Relaxed);
        let (start, end) = (bytes.start - bytes.start % page_size(), round_to_page(bytes.end).min(used));
        if start < end {
            self.kept().push(self.start + start..self.start + end);
        }
    }

    /// The same for all that are accessible.
    pub fn keep_all(&self) {
        self.keep(0..self.used.load(Ordering::Relaxed));
    }

    /// Whether some are kept.
    pub fn keeps_any(&self) -> bool {
        !self.kept().is_empty()
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Range<usize>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let mapping = std::mem::replace(&mut self.mapping, Mmap::none());
        let kept = std::mem::take(&mut *self.kept());
        let used = *self.used.get_mut();
        if !kept.is_empty() {
            mapping.unmap_but(kept);
        } else if let Some(pool) = self.pool.take().filter(|pool| pool.has_room(used)) {
            let mapped = self.image.get_mut().unwrap_or_else(PoisonError::into_inner).take();
            let pages = self.start..self.start + used;
            // Pages whose contents were given back, all of them, are a new memory's. Where the system may keep
            // them, or parts of an image are left, others take their place.
            let (slot, ready) = match mapped {
                Some(Mapped { whole: false, .. }) => (Slot { mapping, used: 0, image: None }, false),
                mapped => {
                    let image = mapped.map(|mapped| Arc::downgrade(&mapped.image));
                    let ready = DISCARDS && mapping.discard(pages.clone()).is_ok();
                    (
                        Slot { used: if ready { used } else { 0 }, image: image.filter(|_| ready), mapping },
                        ready,
                    )
                }
            };
            // A mapping that cannot be renewed is unmapped.
            if ready || slot.mapping.renew(pages).is_ok() {
                pool.give(slot);
            }
        }
    }
}
