//! Exceptions: tags, the live exceptions, and the search for a handler.
//!
//! Used by the libcalls, host functions and `call.rs`. Invariant: an exception lives while a
//! handle, a table, a global, another live exception or a frame of running wasm holds it. The
//! first four are known exactly. For frames, every word of the stack that could be an exnref counts.

use super::group::{Group, WeakGroup};
use super::limits::{Budget, Charge, OverLimit};
use super::store::Store;
use super::traps::Error;
use super::vm_box::VmBox;
use super::vmcontext::{ExternRef, VMException, VMStoreContext, VMUnwind, ValRaw};
use crate::code::registry;
use crate::types::{FuncType, SharedFuncType, ValType};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ptr::NonNull;

/// A handle to a tag.
#[derive(Clone)]
pub struct Tag {
    owner: Owner,
    obj: NonNull<TagObj>,
}

/// The owner that keeps a tag alive.
#[derive(Clone)]
enum Owner {
    Group(Group),
    /// For a tag that every instance of a store uses: it must not join them all into one group.
    Store {
        _store: Store,
    },
}

/// A tag, owned by its group or its store. Its address is its identity.
pub struct TagObj {
    ty: SharedFuncType,
}

impl TagObj {
    pub(crate) fn new(ty: SharedFuncType) -> VmBox<TagObj> {
        VmBox::new(TagObj { ty })
    }
}

impl Tag {
    pub fn new(store: &Store, ty: FuncType) -> Tag {
        let group = Group::new(store);
        let obj = TagObj::new(SharedFuncType::new(ty));
        let pointer = obj.as_ptr();
        group.add(|members| members.tags.push(obj));
        Tag { owner: Owner::Group(group), obj: pointer }
    }

    /// A tag that lives as long as the store.
    pub fn of_store(store: &Store, ty: FuncType) -> Tag {
        let obj = TagObj::new(SharedFuncType::new(ty));
        let pointer = obj.as_ptr();
        store.keep_tag(obj);
        Tag { owner: Owner::Store { _store: store.clone() }, obj: pointer }
    }

    pub(crate) fn of(group: Group, obj: NonNull<TagObj>) -> Tag {
        Tag { owner: Owner::Group(group), obj }
    }

    pub fn ty(&self) -> SharedFuncType {
        // SAFETY: the tag's owner keeps the object alive, and the object never changes.
        unsafe { self.obj.as_ref() }.ty.clone()
    }

    /// An identity: equal for two handles to the same tag.
    pub fn id(&self) -> usize {
        self.obj.as_ptr() as usize
    }

    pub(crate) fn group(&self) -> Option<&Group> {
        match &self.owner {
            Owner::Group(group) => Some(group),
            Owner::Store { .. } => None,
        }
    }

    pub(crate) fn as_ptr(&self) -> NonNull<TagObj> {
        self.obj
    }
}

/// A handle to an exception, which it keeps alive.
pub struct Exception {
    pub(crate) store: Store,
    /// Keeps the tag and the functions among the values.
    group: Option<Group>,
    obj: NonNull<ExceptionObj>,
}

#[repr(C)]
struct ExceptionObj {
    /// Must be the first field: an exnref points here, and it holds the address of the values.
    vm: VMException,
    values: VmBox<[ValRaw]>,
    ty: SharedFuncType,
    /// The group of the exception's creator.
    group: WeakGroup,
    charge: Charge,
    /// The host's object for this exception.
    host: Cell<Option<ExternRef>>,
    handles: Cell<usize>,
    marked: Cell<bool>,
}

impl ExceptionObj {
    /// Approximate bytes without the values: the object and its place in the map, with some spare.
    const ROUGHLY: usize = size_of::<ExceptionObj>() + 64;
}

/// The exceptions of a store.
#[derive(Default)]
pub(crate) struct Exceptions {
    /// Keyed by the address that an exnref holds.
    alive: RefCell<HashMap<usize, VmBox<ExceptionObj>>>,
    /// How many exceptions may be alive before the next sweep while wasm runs.
    threshold: Cell<usize>,
    /// The bytes of the live exceptions.
    bytes: Cell<usize>,
}

/// Under Miri there are fewer, since every step there takes long.
pub(crate) const FIRST_THRESHOLD: usize = if cfg!(miri) { 16 } else { 1024 };

/// The most bytes that the live exceptions of a store may take, even without other limits. Each exception
/// may hold the one before, and no program needs so many.
const MOST_BYTES: usize = 256 << 20;

impl Exceptions {
    pub(crate) fn any(&self) -> bool {
        !self.alive.borrow().is_empty()
    }
}

impl Exception {
    pub fn is(&self, tag: &Tag) -> bool {
        self.vm().tag == tag.as_ptr()
    }

    /// The tag, if it is still alive.
    pub fn tag(&self) -> Option<Tag> {
        Some(Tag::of(self.group.clone()?, self.vm().tag))
    }

    /// Makes another exception with the same tag and values, without a host's object.
    pub fn copy(&self) -> Option<Exception> {
        // SAFETY: a handle keeps the object alive.
        let obj = unsafe { self.obj.as_ref() };
        let group = self.group.as_ref()?;
        self.store
            .new_exception(obj.vm.tag, obj.ty.clone(), obj.values.as_ref().into(), group, self.store.budget())
            .ok()
    }

    /// The host's object for this exception. It lives as long as the exception.
    pub fn host(&self) -> Option<ExternRef> {
        // SAFETY: a handle keeps the object alive.
        unsafe { self.obj.as_ref() }.host.get()
    }

    pub fn set_host(&self, object: ExternRef) {
        // SAFETY: a handle keeps the object alive.
        unsafe { self.obj.as_ref() }.host.set(Some(object));
    }

    /// The exception's values with their types.
    pub(crate) fn raw_values(&self) -> impl Iterator<Item = (ValRaw, ValType)> {
        // SAFETY: a handle keeps the object alive.
        let obj = unsafe { self.obj.as_ref() };
        obj.values.iter().copied().zip(obj.ty.ty().params.iter().copied())
    }

    fn vm(&self) -> &VMException {
        // SAFETY: a handle keeps the object alive.
        unsafe { &self.obj.as_ref().vm }
    }

    pub(crate) fn raw(&self) -> *mut VMException {
        self.obj.as_ptr().cast()
    }

    pub(crate) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// # Safety
    /// `raw` is a live exception of the store.
    pub(crate) unsafe fn from_raw(store: &Store, raw: NonNull<VMException>) -> Exception {
        let obj = raw.cast::<ExceptionObj>();
        // SAFETY: by this function's contract.
        let group = unsafe {
            let obj = obj.as_ref();
            obj.handles.set(obj.handles.get() + 1);
            obj.group.upgrade()
        };
        Exception { store: store.clone(), group, obj }
    }
}

impl Clone for Exception {
    fn clone(&self) -> Exception {
        // SAFETY: a handle keeps the object alive.
        unsafe { Exception::from_raw(&self.store, self.obj.cast()) }
    }
}

impl Drop for Exception {
    fn drop(&mut self) {
        // SAFETY: this handle has kept the object alive until now.
        let handles = unsafe { &self.obj.as_ref().handles };
        handles.set(handles.get() - 1);
        if !self.store.is_running() {
            self.store.sweep_exceptions();
        }
    }
}

impl Store {
    /// Makes an exception for a member of `group`, charged to `budget`.
    pub(crate) fn new_exception(
        &self,
        tag: NonNull<TagObj>,
        ty: SharedFuncType,
        values: Box<[ValRaw]>,
        group: &Group,
        budget: Budget,
    ) -> Result<Exception, Error> {
        let charge = self.charge_to(budget);
        let bytes = ExceptionObj::ROUGHLY + size_of_val(&*values);
        let exceptions = self.exceptions();
        if exceptions.bytes.get() + bytes > MOST_BYTES || charge.set(bytes).is_err() {
            self.sweep_exceptions();
            // Otherwise a program near the limit would cause a sweep for each new exception.
            if exceptions.bytes.get() + bytes > MOST_BYTES / 4 * 3 {
                return Err(Error::Limit(OverLimit::Exceptions { limit: MOST_BYTES }));
            }
            charge.set(bytes)?;
        }
        exceptions.bytes.set(exceptions.bytes.get() + bytes);
        let values = VmBox::from(values);
        let obj = VmBox::new(ExceptionObj {
            vm: VMException { tag, values: values.as_ptr().as_ptr().cast() },
            values,
            ty,
            group: group.root().downgrade(),
            charge,
            host: Cell::new(None),
            handles: Cell::new(0),
            marked: Cell::new(false),
        });
        let raw = obj.as_ptr().cast::<VMException>();
        // SAFETY: the object was just made.
        let exception = unsafe { Exception::from_raw(self, raw) };
        exceptions.alive.borrow_mut().insert(raw.addr().get(), obj);
        self.call_for_attention();
        if exceptions.alive.borrow().len() > exceptions.threshold.get().max(FIRST_THRESHOLD) {
            self.sweep_exceptions();
            exceptions.threshold.set(exceptions.alive.borrow().len() * 2);
        }
        Ok(exception)
    }

    /// Calls `f` with every host value that an exception holds.
    pub(crate) fn for_each_externref_thrown(&self, f: &mut dyn FnMut(ExternRef)) {
        for obj in self.exceptions().alive.borrow().values() {
            obj.host.get().into_iter().for_each(&mut *f);
            for (value, ty) in obj.values.iter().zip(&obj.ty.ty().params) {
                if matches!(ty, ValType::Ref(r) if r.is_extern()) {
                    // SAFETY: by its type, the value is the index of a host value.
                    ExternRef::of(unsafe { value.externref }).into_iter().for_each(&mut *f);
                }
            }
        }
    }

    /// Frees the exceptions that nobody holds any more.
    pub(crate) fn sweep_exceptions(&self) {
        let exceptions = self.exceptions();
        if !exceptions.any() {
            return;
        }
        let mut alive = exceptions.alive.borrow_mut();
        {
            let alive = &*alive;
            let mut reached: Vec<&ExceptionObj> = Vec::new();
            let mut found = |word: u64| reached.extend(alive.get(&(word as usize)).map(|obj| &**obj));
            self.for_each_exnref(&mut found);
            self.for_each_word_of_stack(&mut found);
            for obj in alive.values() {
                obj.marked.set(false);
                if obj.handles.get() > 0 {
                    reached.push(obj);
                }
            }
            while let Some(obj) = reached.pop() {
                if obj.marked.replace(true) {
                    continue;
                }
                for (value, ty) in obj.values.iter().zip(&obj.ty.ty().params) {
                    if matches!(ty, ValType::Ref(r) if r.is_exn()) {
                        // SAFETY: by its type, the value is an exnref.
                        let inner = unsafe { value.exn };
                        reached.extend(alive.get(&inner.addr()).map(|obj| &**obj));
                    }
                }
            }
        }
        alive.retain(|_, obj| {
            let marked = obj.marked.get();
            if !marked {
                exceptions.bytes.set(exceptions.bytes.get() - obj.charge.bytes());
            }
            marked
        });
    }

    /// Sets where the last used exit trampoline continues: at the handler that catches the exception, or
    /// at the entry with the exception pending.
    ///
    /// # Safety
    /// Called from a function that wasm called through an exit trampoline.
    pub(crate) unsafe fn throw(&self, exception: Exception) {
        let vm = self.vm();
        // SAFETY: by this function's contract the exit record is that of a live frame.
        match unsafe { find_handler(vm) } {
            // SAFETY: this writes fields and keeps no reference to the context.
            Some(unwind) => unsafe {
                (*vm).unwind = VMUnwind { payload: exception.raw() as usize, ..unwind }
            },
            None => {
                self.set_pending(Error::Exception(exception));
                // SAFETY: as above.
                unsafe { VMStoreContext::unwind_to_entry(vm) };
            }
        }
    }
}

/// Finds the innermost handler among the frames of the innermost activation.
///
/// # Safety
/// Called while a function runs that wasm called through an exit trampoline.
unsafe fn find_handler(vm: *mut VMStoreContext) -> Option<VMUnwind> {
    // SAFETY: the exit trampoline wrote the record, and its frame is still on the stack. Every frame up
    // to the entry trampoline keeps frame pointers: the caller's, then the return address.
    unsafe {
        let mut pc = (*vm).exit_pc;
        let mut fp = *((*vm).exit_fp as *const usize);
        loop {
            let handler = registry::with_code_at(pc - 1, |code| code.handler_at(pc)).flatten();
            if let Some((handler, frame_size)) = handler {
                return Some(VMUnwind { pc: handler, sp: fp - frame_size, fp, payload: 0 });
            }
            if fp == (*vm).entry_fp {
                return None;
            }
            (fp, pc) = *(fp as *const (usize, usize));
        }
    }
}
