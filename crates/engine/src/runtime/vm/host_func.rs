//! Host functions as wasm calls them: closures, and typed native functions.
//!
//! Invariant: a host function's context and reference do not move while its group lives.

use super::group::{Group, WeakGroup};
use super::instance::InstanceObj;
use super::store::{Store, WeakStore};
use super::traps::Error;
use super::vm_box::VmBox;
use super::vmcontext::*;
use crate::code::CodeObject;
use crate::types::{FuncType, SharedFuncType};
use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// The body of a host function. Arguments come in and results go out in the same slots.
type Body = dyn Fn(&mut [ValRaw]) -> Result<(), Error>;

/// A host function in native code that takes its arguments unboxed: `code` is
/// `extern "C" fn(*mut VMHostContext, ...) -> i64` with a parameter of the same width for each
/// parameter of the type. It returns its `i32` result zero-extended, or a negative number after
/// [`VMHostContext::fail`].
#[derive(Clone)]
pub struct NativeFunc(Arc<Native>);

struct Native {
    ty: SharedFuncType,
    code: *const c_void,
    data: Arc<dyn Any + Send + Sync>,
}

// SAFETY: `code` is the address of a function, and `data` is `Send + Sync`.
unsafe impl Send for Native {}
// SAFETY: as above.
unsafe impl Sync for Native {}

impl NativeFunc {
    /// # Safety
    /// `code` is a function with the C signature that [`NativeFunc`] describes for `ty`, and it treats
    /// [`VMHostContext::data`] as a pointer to the `T` of `data`.
    pub unsafe fn new<T: Send + Sync + 'static>(
        ty: FuncType,
        code: *const c_void,
        data: Arc<T>,
    ) -> NativeFunc {
        NativeFunc(Arc::new(Native { ty: SharedFuncType::new(ty), code, data }))
    }

    pub fn ty(&self) -> &SharedFuncType {
        &self.0.ty
    }

    /// The data, if it is a `T`.
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.data.clone().downcast().ok()
    }

    /// The same function with other data, if its data is a `T` now.
    pub fn with_data<T: Send + Sync + 'static>(&self, data: Arc<T>) -> Option<NativeFunc> {
        let Native { ty, code, .. } = &*self.0;
        let native = |data| NativeFunc(Arc::new(Native { ty: ty.clone(), code: *code, data }));
        self.0.data.is::<T>().then(|| native(data))
    }
}

/// A host function, owned by its group. Compiled code has pointers to `context` and `func_ref`.
pub struct HostFunc {
    context: VMHostContext,
    func_ref: VMFuncRef,
    store: WeakStore,
    pub(crate) group: RefCell<WeakGroup>,
    body: HostBody,
    /// The function's own trampolines, if those of no module could be used.
    pub(crate) trampolines: OnceCell<Arc<CodeObject>>,
}

enum HostBody {
    Closure {
        ty: SharedFuncType,
        /// The number of values that a call has room for.
        slots: usize,
        body: Box<Body>,
    },
    /// Keeps the target of `VMHostContext::data` alive.
    Native(NativeFunc),
}

impl HostBody {
    fn ty(&self) -> &SharedFuncType {
        match self {
            HostBody::Closure { ty, .. } => ty,
            HostBody::Native(native) => native.ty(),
        }
    }
}

impl HostFunc {
    pub(crate) fn ty(&self) -> &SharedFuncType {
        self.body.ty()
    }

    pub(crate) fn set_group(&self, group: &Group) {
        *self.group.borrow_mut() = group.downgrade();
    }

    /// The pointers to the function itself are not set: see [`HostFunc::settle`].
    #[inline]
    fn new(
        group: &Group,
        context: VMHostContext,
        body: HostBody,
        (code, entry): (*const c_void, *const c_void),
    ) -> HostFunc {
        HostFunc {
            func_ref: VMFuncRef {
                code: Cell::new(code),
                entry: Cell::new(entry),
                vmctx: ptr::null_mut(),
                type_id: body.ty().id().0,
                index: 0,
            },
            context,
            store: group.store().downgrade(),
            group: RefCell::new(group.root().downgrade()),
            body,
            trampolines: OnceCell::new(),
        }
    }

    /// Sets the pointers to the function itself, and returns the reference to it.
    ///
    /// # Safety
    /// `this` was just made and put into the box that its group keeps, and no reference to it exists.
    unsafe fn settle(this: *mut HostFunc) -> NonNull<VMFuncRef> {
        // SAFETY: by this function's contract.
        unsafe {
            (*this).context.header.owner = this.cast();
            (*this).func_ref.vmctx = (&raw mut (*this).context).cast();
            NonNull::new_unchecked(&raw mut (*this).func_ref)
        }
    }

    /// Makes a host function that runs a closure.
    pub(crate) fn of_closure(
        group: &Group,
        ty: SharedFuncType,
        body: impl Fn(&mut [ValRaw]) -> Result<(), Error> + 'static,
    ) -> NonNull<VMFuncRef> {
        let context = VMHostContext {
            header: header(group.store()),
            code: call_closure as *const c_void,
            data: ptr::null(),
            memory: ptr::null(),
        };
        let none = (ptr::null(), ptr::null());
        let body = HostBody::Closure { slots: ty.ty().slots(), ty, body: Box::new(body) };
        HostFunc::add(group, vec![HostFunc::new(group, context, body, none)])[0]
    }

    /// Binds a typed native function to one importing instance, whose memory is `memory`. For [`HostFunc::add`].
    #[inline]
    pub(crate) fn of_native(
        group: &Group,
        native: &NativeFunc,
        memory: *const VMMemoryDefinition,
        trampolines: (*const c_void, *const c_void),
    ) -> HostFunc {
        let context = VMHostContext {
            header: header(group.store()),
            code: native.0.code,
            data: Arc::as_ptr(&native.0.data).cast(),
            memory,
        };
        HostFunc::new(group, context, HostBody::Native(native.clone()), trampolines)
    }

    /// Gives functions to a group, and returns the references to them. They lie together, because programs import
    /// dozens.
    pub(crate) fn add(group: &Group, funcs: Vec<HostFunc>) -> Vec<NonNull<VMFuncRef>> {
        let funcs: VmBox<[HostFunc]> = funcs.into_boxed_slice().into();
        let (first, count) = (funcs.as_ptr().cast::<HostFunc>(), funcs.len());
        if count > 0 {
            group.add(|members| members.funcs.push(funcs));
        }
        // SAFETY: they were just put into their box, and nobody knows of them yet.
        (0..count).map(|place| unsafe { HostFunc::settle(first.add(place).as_ptr()) }).collect()
    }
}

fn header(store: &Store) -> VMHeader {
    VMHeader { magic: HOST_MAGIC, _pad: 0, store: store.vm(), owner: ptr::null_mut(), libcalls: ptr::null() }
}

/// The type of a wasm or host function.
///
/// # Safety
/// The function is alive.
pub(crate) unsafe fn type_of(func_ref: NonNull<VMFuncRef>) -> SharedFuncType {
    // SAFETY: the function is alive by contract, and so is the owner of its context. The magic number tells
    // which kind of object the owner is.
    unsafe {
        let header = VMContext::header(func_ref.as_ref().vmctx);
        match (*header).magic {
            HOST_MAGIC => (*(*header).owner.cast::<HostFunc>()).ty().clone(),
            _ => (*(*header).owner.cast::<InstanceObj>()).func_type(func_ref),
        }
    }
}

impl VMHostContext {
    /// Stops the guest with an error. The native function must then return a negative number.
    ///
    /// # Safety
    /// `this` is the context that a native function was called with, and that call is still running.
    pub unsafe fn fail(this: *mut VMHostContext, error: Error) {
        // SAFETY: the owner of a host context is its `HostFunc`, which its group keeps alive while
        // wasm of the group runs.
        let func = unsafe { &*(*this).header.owner.cast::<HostFunc>() };
        if let Some(store) = func.store.upgrade() {
            // SAFETY: wasm called the function through an exit trampoline.
            unsafe { store.fail(error) };
        }
    }
}

/// Called by the exit trampoline of a closure. Returns 1, or 0 with an error pending.
unsafe extern "C" fn call_closure(context: *mut VMHostContext, values: *mut ValRaw) -> u8 {
    // SAFETY: the owner of a host context is its `HostFunc`, which its group keeps alive while wasm of
    // the group runs.
    let func = unsafe { &*(*context).header.owner.cast::<HostFunc>() };
    let HostBody::Closure { slots, body, .. } = &func.body else { return 0 };
    // SAFETY: the trampoline made room for this many values, with the arguments first, and waits for us.
    let values = unsafe { std::slice::from_raw_parts_mut(values, *slots) };
    // This frame must stay small, because programs recurse through it.
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
