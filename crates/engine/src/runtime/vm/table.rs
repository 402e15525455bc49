//! Tables of references.
//!
//! Invariants: the definition always holds the current address and size of the elements. An element
//! is null, a live function reference of the table's group, or a host value's index. What instantiation puts into a
//! large table is there when somebody looks: compiled code that uses a page of it for the first time faults, [`touched`]
//! fills the page, and the access is made again. All other code asks for elements before it uses them.

use super::instance::InstanceObj;
use super::limits::{Charge, Limits};
use super::store::Store;
use super::traps::{self, Error};
use super::vm_box::VmBox;
use super::vmcontext::{VMStoreContext, VMTableDefinition};
use crate::abi::TrapCode;
use crate::pages::check_spare;
use crate::parse::info::TableIndex;
use crate::table_pages::TablePages;
use crate::types::{RefType, TableType};
use std::alloc::{Layout, alloc_zeroed};
use std::cell::{Cell, RefCell, RefMut};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

/// A table, owned by its group.
pub struct TableObj {
    ty: TableType,
    limits: Limits,
    charge: Charge,
    /// Compiled code accesses them through the definition. Borrowed only while nothing can run that
    /// re-enters the table.
    elements: RefCell<Elements>,
    /// Points into the context of the instance that defines the table, or into a box of its own.
    definition: NonNull<VMTableDefinition>,
    _own: Option<VmBox<VMTableDefinition>>,
}

enum Elements {
    All(Vec<u64>),
    /// Those of the pages that are filled, and the instance whose segments say what the others are, with the table's index.
    Pages(TablePages, Cell<Option<(NonNull<InstanceObj>, TableIndex)>>),
}

impl Elements {
    fn base(&mut self) -> *mut u64 {
        match self {
            Elements::All(elements) => elements.as_mut_ptr(),
            Elements::Pages(pages, _) => pages.base(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Elements::All(elements) => elements.len(),
            Elements::Pages(pages, _) => pages.len(),
        }
    }

    /// Fills the pages with these elements.
    fn fill(&self, range: Range<usize>) -> Result<(), Error> {
        let Elements::Pages(pages, source) = self else { return Ok(()) };
        let unknown =
            || Error::Internal("a table was used before its instance was made: a bug in wasi-native".into());
        let (instance, table) = source.get().ok_or_else(unknown)?;
        // SAFETY: the instance defines the table, so both belong to one group, and it is dropped after the table.
        let instance = unsafe { instance.as_ref() };
        pages
            .fill(range, |first, slots| instance.write_initial_elements(table, first, slots))
            .map_err(no_pages)
    }

    /// The elements of a range, which are filled.
    fn filled(&mut self, range: Range<usize>) -> &mut [u64] {
        match self {
            Elements::All(elements) => &mut elements[range],
            // SAFETY: the range is inside the table, and its pages were filled, so they are accessible. They belong to
            // the table, and whoever has them has borrowed it, so nothing runs that uses them too.
            Elements::Pages(pages, _) => unsafe {
                std::slice::from_raw_parts_mut(pages.base().add(range.start), range.len())
            },
        }
    }

    /// The elements as a vector, which can grow.
    fn all(&mut self) -> Result<&mut Vec<u64>, Error> {
        if let Elements::Pages(..) = self {
            let range = 0..self.len();
            self.fill(range.clone())?;
            let mut all = Vec::new();
            all.try_reserve_exact(range.len()).map_err(|_| no_room(range.len() as u64))?;
            all.extend_from_slice(self.filled(range));
            *self = Elements::All(all);
        }
        match self {
            Elements::All(all) => Ok(all),
            Elements::Pages(..) => unreachable!("they were just made a vector"),
        }
    }
}

fn no_pages(e: std::io::Error) -> Error {
    Error::OutOfMemory(format!("cannot fill the pages of a table: {e}"))
}

fn no_room(elements: u64) -> Error {
    Error::OutOfMemory(format!("cannot allocate a table of {elements} elements"))
}

impl TableObj {
    /// Makes a table with every element `init`. `definition` is the place where an instance keeps it.
    pub(crate) fn new(
        store: &Store,
        ty: TableType,
        init: u64,
        definition: Option<NonNull<VMTableDefinition>>,
    ) -> Result<VmBox<TableObj>, Error> {
        TableObj::with(store, ty, definition, || {
            let elements = filled(ty.minimum, init).ok_or_else(|| no_room(ty.minimum))?;
            Ok(Elements::All(elements))
        })
    }

    fn with(
        store: &Store,
        ty: TableType,
        definition: Option<NonNull<VMTableDefinition>>,
        elements: impl FnOnce() -> Result<Elements, Error>,
    ) -> Result<VmBox<TableObj>, Error> {
        let limits = store.limits();
        limits.check_table(ty.minimum)?;
        let charge = store.charge();
        charge.set(bytes_of(ty.minimum))?;
        let mut own = None;
        let definition = definition.unwrap_or_else(|| {
            let empty = VMTableDefinition { base: ptr::null_mut(), length: 0 };
            own.insert(VmBox::new(empty)).as_ptr()
        });
        let elements = RefCell::new(elements()?);
        let table = TableObj { ty, limits, charge, elements, definition, _own: own };
        table.publish(&mut table.elements.borrow_mut());
        Ok(VmBox::new(table))
    }

    /// As [`TableObj::new`] with null, for a table that is filled where it is first used, once [`TableObj::fill_from`]
    /// has said with what.
    pub(crate) fn filled_later(
        store: &Store,
        ty: TableType,
        definition: NonNull<VMTableDefinition>,
        pages: TablePages,
    ) -> Result<VmBox<TableObj>, Error> {
        let elements = || Ok(Elements::Pages(pages, Cell::default()));
        let table = TableObj::with(store, ty, Some(definition), elements)?;
        if let Elements::Pages(pages, _) = &*table.elements.borrow() {
            pages.belong_to(table.as_ptr().cast());
        }
        Ok(table)
    }

    /// Has a table that is filled later get what the segments of `instance` say. It is the instance's table `index`.
    pub(crate) fn fill_from(&self, instance: NonNull<InstanceObj>, index: TableIndex) {
        if let Elements::Pages(_, source) = &*self.elements.borrow() {
            source.set(Some((instance, index)));
        }
    }

    /// Whether segments need not be written, because they are read when the table is used.
    pub(crate) fn is_filled_later(&self) -> bool {
        matches!(&*self.elements.borrow(), Elements::Pages(..))
    }

    /// Fills the page with the element at this address, which compiled code has accessed.
    pub(crate) fn fill_at(&self, address: usize) -> Result<(), Error> {
        let mut elements = self.elements.borrow_mut();
        let element = (address - elements.base() as usize) / size_of::<u64>();
        elements.fill(element..element + 1)
    }

    fn publish(&self, elements: &mut Elements) {
        let current = VMTableDefinition { base: elements.base(), length: elements.len() };
        // SAFETY: the definition lives as long as the group, and nobody ever has a reference to it.
        // Compiled code, the only other reader, is on this thread, so it waits.
        unsafe { self.definition.write(current) };
    }

    pub(crate) fn ty(&self) -> TableType {
        self.ty
    }

    pub(crate) fn definition(&self) -> *mut VMTableDefinition {
        self.definition.as_ptr()
    }

    /// The current number of elements.
    pub(crate) fn size(&self) -> u64 {
        self.elements.borrow().len() as u64
    }

    pub(crate) fn grow(&self, delta: u64, init: u64) -> Option<u64> {
        let mut elements = self.elements.borrow_mut();
        let old = elements.len() as u64;
        let size = old.checked_add(delta)?;
        if self.ty.maximum.is_some_and(|maximum| size > maximum) || !self.limits.allow_table(size) {
            return None;
        }
        let charged = self.charge.bytes();
        self.charge.set(bytes_of(size)).ok()?;
        // A growing vector doubles its capacity.
        let all = elements.all().ok().filter(|_| check_spare(2 * bytes_of(size)).is_ok());
        let Some(all) = all.and_then(|all| all.try_reserve(delta as usize).is_ok().then_some(all)) else {
            // They may be in another place now.
            self.publish(&mut elements);
            // A smaller charge cannot fail.
            let _ = self.charge.set(charged);
            return None;
        };
        all.resize(size as usize, init);
        self.publish(&mut elements);
        Some(old)
    }

    /// Replaces all elements.
    pub(crate) fn restore(&self, kept: &[u64]) -> Result<(), Error> {
        let mut elements = self.elements.borrow_mut();
        let mut all = match std::mem::replace(&mut *elements, Elements::All(Vec::new())) {
            Elements::All(all) => all,
            Elements::Pages(..) => Vec::new(),
        };
        all.clear();
        let room = all.try_reserve(kept.len());
        if room.is_ok() {
            all.extend_from_slice(kept);
        }
        *elements = Elements::All(all);
        self.publish(&mut elements);
        room.map_err(|_| Error::Internal("no memory for a table that is reset".into()))
    }

    /// Makes a table that is filled later as it was at first. Returns false, and changes nothing, if it is none.
    pub(crate) fn restart(&self) -> Result<bool, Error> {
        match &*self.elements.borrow() {
            Elements::All(_) => Ok(false),
            Elements::Pages(pages, _) => pages.empty().map(|()| true).map_err(no_pages),
        }
    }

    /// All elements. While they are borrowed, nothing may run that re-enters the table.
    pub(crate) fn elements(&self) -> Result<RefMut<'_, [u64]>, Error> {
        self.range(0, self.size())
    }

    /// The elements of a range. While they are borrowed, nothing may run that re-enters the table.
    ///
    /// # Errors
    /// [`TrapCode::TableOutOfBounds`] if the range is not inside, or if its pages cannot be filled.
    pub(crate) fn range(&self, start: u64, len: u64) -> Result<RefMut<'_, [u64]>, Error> {
        let elements = self.elements.borrow_mut();
        let end = start.checked_add(len).filter(|end| *end <= elements.len() as u64);
        let range = start as usize..end.ok_or(TrapCode::TableOutOfBounds)? as usize;
        elements.fill(range.clone())?;
        Ok(RefMut::map(elements, |elements| elements.filled(range)))
    }

    pub(crate) fn for_each_reference(&self, kind: fn(RefType) -> bool, f: &mut dyn FnMut(u64)) {
        // Tables that are filled later have functions, which nobody searches for.
        if let (true, Elements::All(elements)) = (kind(self.ty.element), &*self.elements.borrow()) {
            elements.iter().for_each(|element| f(*element));
        }
    }
}

fn bytes_of(elements: u64) -> usize {
    usize::try_from(elements).unwrap_or(usize::MAX).saturating_mul(size_of::<u64>())
}

/// A vector of `count` elements, if there is memory for it.
fn filled(count: u64, init: u64) -> Option<Vec<u64>> {
    check_spare(bytes_of(count)).ok()?;
    let count = usize::try_from(count).ok()?;
    let mut elements = Vec::new();
    if count == 0 {
        return Some(elements);
    }
    if init != 0 {
        elements.try_reserve_exact(count).ok()?;
        elements.resize(count, init);
        return Some(elements);
    }
    // Zeroed pages from the system take no memory until they are written.
    let layout = Layout::array::<u64>(count).ok()?;
    // SAFETY: the layout's size is not zero.
    let zeroes = NonNull::new(unsafe { alloc_zeroed(layout) })?;
    // SAFETY: this was just allocated by the global allocator for `count` u64, all of them zero.
    Some(unsafe { Vec::from_raw_parts(zeroes.as_ptr().cast(), count, count) })
}

/// Fills the page that compiled code has touched. `sys::arch::ask` calls it in place of the access, as an exit
/// trampoline calls a host function. `frame` holds the code's frame pointer and the pc of the access. Returns null
/// if the access is to be made again, else where to continue.
///
/// # Safety
/// Called by `sys::arch::ask` after the fault handler has noted the address in [`VMStoreContext::touched`].
pub(crate) unsafe extern "C" fn touched(frame: *const [usize; 2]) -> *const [usize; 4] {
    let vm = traps::current();
    // SAFETY: the fault handler has checked that there is a current store. It is alive because its wasm is on the
    // stack, so its engine is, too, and these fields are this thread's. The frame is that of our caller. An exit
    // record has a return address, and the instruction before that is the call.
    let (address, pool) = unsafe {
        ((*vm).exit_fp, (*vm).exit_pc) = (frame as usize, (*frame)[1] + 1);
        ((*vm).touched, &*(*vm).table_pool)
    };
    let fill = || {
        let table = pool.owner_at(address)?.cast::<TableObj>();
        // SAFETY: the owners of a pool's pages are tables. Compiled code uses only those of its own group, which is
        // alive while it runs.
        Some(unsafe { table.as_ref() }.fill_at(address))
    };
    // A panic must not unwind through wasm.
    let error = match catch_unwind(AssertUnwindSafe(fill)) {
        Ok(Some(Ok(()))) => return ptr::null(),
        Ok(Some(Err(error))) => error,
        Ok(None) | Err(_) => Error::Internal("an element of no table was used: a bug in wasi-native".into()),
    };
    // SAFETY: as above. The entry trampoline is in an older frame.
    unsafe {
        (*vm).failed = Some(Box::new(error));
        VMStoreContext::unwind_to_entry(vm);
        (&raw const (*vm).unwind).cast()
    }
}
