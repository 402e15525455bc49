//! Functions: of wasm, of the host, and typed native ones.

use super::call::{self, EntryOutcome};
use super::group::{Group, WeakGroup};
use super::instance::InstanceObj;
use super::store::{Store, WeakStore};
use super::traps::Error;
use super::value::Val;
use super::vmcontext::*;
use crate::code::CodeObject;
use crate::types::{FuncType, SharedFuncType};
use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// A handle to a function.
#[derive(Clone)]
pub struct Func {
    group: Group,
    raw: NonNull<VMFuncRef>,
}

/// What a host function runs: arguments in, results out, in the same slots.
type Body = dyn Fn(&mut [ValRaw]) -> Result<(), Error>;

/// A host function in native code that takes its arguments as they are: `code` is
/// `extern "C" fn(*mut VMHostContext, ...) -> i64` with a parameter for each of the type's, of
/// the same width. It returns its `i32` result zero-extended, or a negative number after
/// [`VMHostContext::fail`].
#[derive(Clone)]
pub struct NativeFunc {
    ty: FuncType,
    code: *const c_void,
    data: Arc<dyn Any + Send + Sync>,
}

// SAFETY: `code` is the address of a function, and `data` is `Send + Sync`.
unsafe impl Send for NativeFunc {}
// SAFETY: as above.
unsafe impl Sync for NativeFunc {}

impl NativeFunc {
    /// # Safety
    /// `code` is a function of the C signature described at [`NativeFunc`] for `ty`, and treats
    /// [`VMHostContext::data`] as a pointer to the `T` of `data`.
    pub unsafe fn new<T: Send + Sync + 'static>(
        ty: FuncType,
        code: *const c_void,
        data: Arc<T>,
    ) -> NativeFunc {
        NativeFunc { ty, code, data }
    }

    pub fn ty(&self) -> &FuncType {
        &self.ty
    }
}

/// A host function as its group owns it. Compiled code has pointers to `context` and `func_ref`.
pub struct HostFunc {
    context: VMHostContext,
    func_ref: VMFuncRef,
    ty: SharedFuncType,
    /// How many values a call has room for.
    slots: usize,
    store: WeakStore,
    group: RefCell<WeakGroup>,
    body: HostBody,
    /// Trampolines of its own, where none of a module served.
    edges: OnceCell<Arc<CodeObject>>,
}

enum HostBody {
    Closure(Box<Body>),
    /// Kept for `VMHostContext::data`.
    Native {
        _data: Arc<dyn Any + Send + Sync>,
    },
}

impl HostFunc {
    pub(super) fn set_group(&self, group: &Group) {
        *self.group.borrow_mut() = group.downgrade();
    }

    fn create(
        group: &Group,
        ty: SharedFuncType,
        context: VMHostContext,
        body: HostBody,
    ) -> NonNull<HostFunc> {
        let mut func = Box::new(HostFunc {
            func_ref: VMFuncRef {
                code: ptr::null(),
                entry: ptr::null(),
                vmctx: ptr::null_mut(),
                type_id: ty.id().0,
                _pad: 0,
            },
            context,
            slots: ty.ty().slots(),
            ty,
            store: group.store().downgrade(),
            group: RefCell::new(group.root().downgrade()),
            body,
            edges: OnceCell::new(),
        });
        let raw = &raw mut *func;
        func.context.header.owner = raw.cast();
        func.func_ref.vmctx = (&raw mut func.context).cast();
        let pointer = NonNull::from(&mut *func);
        group.add(|members| members.funcs.push(func));
        pointer
    }

    /// A typed native function bound for one importing instance, of which `memory` is.
    pub(super) fn bind_native(
        group: &Group,
        native: &NativeFunc,
        ty: SharedFuncType,
        memory: *const VMMemoryDefinition,
        (code, entry): (*const c_void, *const c_void),
    ) -> NonNull<VMFuncRef> {
        let context = VMHostContext {
            header: header(group.store()),
            code: native.code,
            data: Arc::as_ptr(&native.data).cast(),
            memory,
        };
        let body = HostBody::Native { _data: native.data.clone() };
        let mut func = HostFunc::create(group, ty, context, body);
        // SAFETY: just made, and nobody else refers to it yet.
        let func_ref = unsafe { &mut func.as_mut().func_ref };
        (func_ref.code, func_ref.entry) = (code, entry);
        NonNull::from(func_ref)
    }
}

fn header(store: &Store) -> VMHeader {
    VMHeader { magic: HOST_MAGIC, _pad: 0, store: store.vm(), owner: ptr::null_mut(), libcalls: ptr::null() }
}

impl VMHostContext {
    /// Ends the guest with an error; the native function must now return a negative number.
    ///
    /// # Safety
    /// `this` is the context a native function was called with, and that call still runs.
    pub unsafe fn fail(this: *mut VMHostContext, error: Error) {
        // SAFETY: a host context's owner is its `HostFunc`, which its group keeps while wasm of
        // the group runs.
        let func = unsafe { &*(*this).header.owner.cast::<HostFunc>() };
        if let Some(store) = func.store.upgrade() {
            // SAFETY: wasm called the function through an exit trampoline.
            unsafe { store.fail(error) };
        }
    }
}

/// What the exit trampoline of a closure calls: 1, or 0 with an error pending.
unsafe extern "C" fn call_closure(context: *mut VMHostContext, values: *mut ValRaw) -> u8 {
    // SAFETY: a host context's owner is its `HostFunc`, which its group keeps while wasm of the
    // group runs.
    let func = unsafe { &*(*context).header.owner.cast::<HostFunc>() };
    // SAFETY: the trampoline made room for this many values, arguments in front, and waits.
    let values = unsafe { std::slice::from_raw_parts_mut(values, func.slots) };
    let HostBody::Closure(body) = &func.body else { return 0 };
    // Little of this may be in this frame: programs recurse through it.
    match catch_unwind(AssertUnwindSafe(|| body(values).map_err(Box::new))) {
        Ok(Ok(())) => 1,
        failed => {
            // SAFETY: wasm called us through an exit trampoline.
            unsafe { fail_closure(func, failed) };
            0
        }
    }
}

/// Tells the store why a host function failed.
///
/// # Safety
/// As for [`Store::fail`].
#[cold]
#[inline(never)]
unsafe fn fail_closure(func: &HostFunc, failed: std::thread::Result<Result<(), Box<Error>>>) {
    let error = match failed {
        Ok(Ok(())) => return,
        Ok(Err(error)) => *error,
        Err(panic) => {
            let message = panic
                .downcast_ref::<&str>()
                .map(|message| message.to_string())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Error::Internal(format!("a host function panicked: {message}"))
        }
    };
    if let Some(store) = func.store.upgrade() {
        // SAFETY: by this function's contract.
        unsafe { store.fail(error) };
    }
}

impl Func {
    /// A function of the host.
    pub fn new(
        store: &Store,
        ty: FuncType,
        body: impl Fn(&mut [ValRaw]) -> Result<(), Error> + 'static,
    ) -> Func {
        let group = Group::new(store);
        let context = VMHostContext {
            header: header(store),
            code: call_closure as *const c_void,
            data: ptr::null(),
            memory: ptr::null(),
        };
        let body = HostBody::Closure(Box::new(body));
        let mut func = HostFunc::create(&group, SharedFuncType::new(ty), context, body);
        // SAFETY: just made, and owned by `group`.
        let raw = NonNull::from(unsafe { &mut func.as_mut().func_ref });
        Func { group, raw }
    }

    pub(super) fn of(group: Group, raw: NonNull<VMFuncRef>) -> Func {
        Func { group, raw }
    }

    /// The handle for a function reference found in a [`ValRaw`].
    ///
    /// # Safety
    /// `raw` is a live function reference of `store`.
    pub unsafe fn from_raw(store: &Store, raw: NonNull<VMFuncRef>) -> Func {
        // SAFETY: alive by contract; its context starts with a header whose owner is of the kind
        // that the magic number tells.
        let group = unsafe {
            let header = VMContext::header(raw.as_ref().vmctx);
            match (*header).magic {
                HOST_MAGIC => (*(*header).owner.cast::<HostFunc>()).group.borrow().upgrade(),
                _ => (*(*header).owner.cast::<InstanceObj>()).group(),
            }
        };
        // Without its group the reference would not be alive, which the contract excludes.
        Func { group: group.unwrap_or_else(|| Group::new(store)), raw }
    }

    /// The function reference itself, alive as long as a handle to its group.
    pub fn raw(&self) -> NonNull<VMFuncRef> {
        self.raw
    }

    /// The same for the same function.
    pub fn id(&self) -> usize {
        self.raw.as_ptr() as usize
    }

    pub fn ty(&self) -> SharedFuncType {
        // SAFETY: our group keeps the function, and the owner of its context.
        unsafe {
            let func_ref = self.raw.as_ref();
            match self.host() {
                Some(host) => host.ty.clone(),
                None => {
                    let header = VMContext::header(func_ref.vmctx);
                    (*(*header).owner.cast::<InstanceObj>()).func_type(self.raw)
                }
            }
        }
    }

    /// The function's index in the module that defines it; a function of the host has none.
    pub fn index(&self) -> Option<u32> {
        if self.host().is_some() {
            return None;
        }
        // SAFETY: our group keeps the function and the owner of its context, which is an
        // instance as it is no host function.
        let instance = unsafe {
            let header = VMContext::header(self.raw.as_ref().vmctx);
            &*(*header).owner.cast::<InstanceObj>()
        };
        Some(instance.func_index(self.raw).as_u32())
    }

    fn host(&self) -> Option<&HostFunc> {
        // SAFETY: our group keeps the function and the owner of its context, which for this
        // magic number is a `HostFunc`.
        unsafe {
            let header = VMContext::header(self.raw.as_ref().vmctx);
            ((*header).magic == HOST_MAGIC).then(|| &*(*header).owner.cast::<HostFunc>())
        }
    }

    /// Gives a host function trampolines, so that wasm can call it through a reference.
    pub(super) fn make_callable(&self) -> Result<(), Error> {
        let Some(host) = self.host() else { return Ok(()) };
        // SAFETY: our group keeps the function; the fields are read for a moment.
        if unsafe { !(*self.raw.as_ptr()).code.is_null() } {
            return Ok(());
        }
        let engine = self.group.store().engine();
        let edges = engine.compile_edges(&host.ty).map_err(|e| Error::Internal(e.to_string()))?;
        let edges = host.edges.get_or_init(|| edges);
        self.set_code(edges.host(host.ty.id()), edges.entry(host.ty.id()));
        Ok(())
    }

    /// Lets a host function without trampolines use those of a module of the same group.
    pub(super) fn offer_code(&self, code: Option<*const c_void>, entry: Option<*const c_void>) {
        // SAFETY: our group keeps the function; the fields are read for a moment.
        if self.host().is_some() && unsafe { (*self.raw.as_ptr()).code.is_null() } {
            self.set_code(code, entry);
        }
    }

    fn set_code(&self, code: Option<*const c_void>, entry: Option<*const c_void>) {
        // SAFETY: our group keeps the function; compiled code does not run while we do.
        unsafe {
            (*self.raw.as_ptr()).code = code.unwrap_or(ptr::null());
            (*self.raw.as_ptr()).entry = entry.unwrap_or(ptr::null());
        }
    }

    /// Calls the function with its arguments in `values` and leaves the results there.
    ///
    /// # Safety
    /// `values` has room for the parameters and the results and holds arguments of the parameter
    /// types; function references among them belong to this store and live as long as the
    /// function can reach them (see [`Func::link_with`]).
    pub unsafe fn call_raw(&self, values: *mut ValRaw) -> Result<(), Error> {
        // SAFETY: our group keeps the function.
        if unsafe { self.raw.as_ref() }.entry.is_null() {
            if self.host().is_none() {
                return Err(Error::Closed);
            }
            self.make_callable()?;
        }
        // SAFETY: by this function's contract; our handle keeps the group for the whole call.
        unsafe { call::enter(self.group.store(), self.raw, values) }
    }

    /// Ends what [`FastEntry::call`] began.
    ///
    /// # Safety
    /// As for [`FastEntry::call`], with its values; and its function if it is left to be called.
    pub unsafe fn finish_call(
        outcome: EntryOutcome,
        store: &Store,
        raw: NonNull<VMFuncRef>,
        values: *mut ValRaw,
    ) -> Result<(), Error> {
        // SAFETY: alive by contract.
        if outcome == EntryOutcome::NotEntered && unsafe { raw.as_ref() }.entry.is_null() {
            // SAFETY: as above.
            return unsafe { Func::from_raw(store, raw).call_raw(values) };
        }
        // SAFETY: by this function's contract.
        unsafe { call::finish(outcome, store, raw, values) }
    }

    /// Calls the function. Arguments of the wrong number or type are refused.
    pub fn call(&self, args: &[Val]) -> Result<Vec<Val>, Error> {
        let shared = self.ty();
        let ty = shared.ty();
        let fits =
            args.len() == ty.params.len() && args.iter().zip(&ty.params).all(|(arg, param)| arg.is_a(*param));
        if !fits {
            return Err(Error::Internal(format!("{args:?} are no arguments for {ty}")));
        }
        for arg in args {
            arg.live_with(&self.group)?;
        }
        let mut values = vec![ValRaw::ZERO; ty.slots()];
        for (slot, arg) in values.iter_mut().zip(args) {
            *slot = arg.to_raw();
        }
        // SAFETY: room and types were checked above, and references share our group.
        unsafe { self.call_raw(values.as_mut_ptr())? };
        let store = self.group.store();
        // SAFETY: the call left results of these types; references among them are alive, as
        // nothing ran since that could have dropped them.
        Ok(values
            .iter()
            .zip(&ty.results)
            .map(|(raw, ty)| unsafe { Val::from_raw(store, *raw, *ty) })
            .collect())
    }

    /// From now on the two functions live together: needed before one is passed to the other.
    pub fn link_with(&self, other: &Func) -> Result<(), Error> {
        if !self.group.store().same(other.group.store()) {
            return Err(Error::Internal("functions of two stores cannot be linked".into()));
        }
        other.make_callable()?;
        self.group.join(&other.group);
        Ok(())
    }

    pub(super) fn group(&self) -> &Group {
        &self.group
    }
}

impl std::fmt::Debug for Func {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Func({})", self.ty().ty())
    }
}
