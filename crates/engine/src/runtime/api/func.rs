//! Functions as the embedder holds them: wasm functions, host functions and typed native functions.

use super::value::Val;
use crate::runtime::vm::call::{self, EntryOutcome};
use crate::runtime::vm::group::Group;
use crate::runtime::vm::host_func::{self, HostFunc};
use crate::runtime::vm::instance::InstanceObj;
use crate::runtime::vm::store::Store;
use crate::runtime::vm::traps::Error;
use crate::runtime::vm::vmcontext::*;
use crate::types::{FuncType, SharedFuncType};
use std::ffi::c_void;
use std::ptr::{self, NonNull};

/// A handle to a function.
#[derive(Clone)]
pub struct Func {
    group: Group,
    raw: NonNull<VMFuncRef>,
}

impl Func {
    /// Makes a host function.
    pub fn new(
        store: &Store,
        ty: FuncType,
        body: impl Fn(&mut [ValRaw]) -> Result<(), Error> + 'static,
    ) -> Func {
        let group = Group::new(store);
        let raw = HostFunc::of_closure(&group, SharedFuncType::new(ty), body);
        Func { group, raw }
    }

    pub(crate) fn of(group: Group, raw: NonNull<VMFuncRef>) -> Func {
        Func { group, raw }
    }

    /// The handle for a function reference found in a [`ValRaw`].
    ///
    /// # Safety
    /// `raw` is a live function reference of `store`.
    pub unsafe fn from_raw(store: &Store, raw: NonNull<VMFuncRef>) -> Func {
        // SAFETY: the reference is alive by contract. Its context starts with a header, and the magic number
        // tells which kind of object the owner is.
        let group = unsafe {
            let header = VMContext::header(raw.as_ref().vmctx);
            match (*header).magic {
                HOST_MAGIC => (*(*header).owner.cast::<HostFunc>()).group.borrow().upgrade(),
                _ => (*(*header).owner.cast::<InstanceObj>()).group(),
            }
        };
        // A reference without a group would not be alive, which the contract excludes.
        Func { group: group.unwrap_or_else(|| Group::new(store)), raw }
    }

    fn func_ref(&self) -> &VMFuncRef {
        // SAFETY: our group keeps the function alive, and everything that changes in it is in cells.
        unsafe { self.raw.as_ref() }
    }

    /// The function reference itself. It is alive as long as a handle to its group.
    pub fn raw(&self) -> NonNull<VMFuncRef> {
        self.raw
    }

    /// An identity: equal for two handles to the same function.
    pub fn id(&self) -> usize {
        self.raw.as_ptr() as usize
    }

    pub fn ty(&self) -> SharedFuncType {
        // SAFETY: our group keeps the function alive.
        unsafe { host_func::type_of(self.raw) }
    }

    /// The function's index in the module that defines it. A host function has none.
    pub fn index(&self) -> Option<u32> {
        if self.host().is_some() {
            return None;
        }
        // SAFETY: our group keeps the function and the owner of its context alive. The owner is an
        // instance, because this is not a host function.
        let instance = unsafe {
            let header = VMContext::header(self.raw.as_ref().vmctx);
            &*(*header).owner.cast::<InstanceObj>()
        };
        Some(instance.func_index(self.raw).as_u32())
    }

    fn host(&self) -> Option<&HostFunc> {
        // SAFETY: our group keeps the function and the owner of its context alive. For this magic number
        // the owner is a `HostFunc`.
        unsafe {
            let header = VMContext::header(self.raw.as_ref().vmctx);
            ((*header).magic == HOST_MAGIC).then(|| &*(*header).owner.cast::<HostFunc>())
        }
    }

    /// Gives a host function trampolines, so that wasm can call it through a reference.
    pub(crate) fn make_callable(&self) -> Result<(), Error> {
        let Some(host) = self.host() else { return Ok(()) };
        if !self.func_ref().code.get().is_null() {
            return Ok(());
        }
        let engine = self.group.store().engine();
        let trampolines =
            engine.compile_trampolines(host.ty()).map_err(|e| Error::Internal(e.to_string()))?;
        let trampolines = host.trampolines.get_or_init(|| trampolines);
        self.set_code(trampolines.host(host.ty().id()), trampolines.entry(host.ty().id()));
        Ok(())
    }

    /// Lets a host function without trampolines use those of a module of the same group.
    pub(crate) fn offer_code(&self, code: Option<*const c_void>, entry: Option<*const c_void>) {
        if self.host().is_some() && self.func_ref().code.get().is_null() {
            self.set_code(code, entry);
        }
    }

    fn set_code(&self, code: Option<*const c_void>, entry: Option<*const c_void>) {
        self.func_ref().code.set(code.unwrap_or(ptr::null()));
        self.func_ref().entry.set(entry.unwrap_or(ptr::null()));
    }

    /// Calls the function with the arguments in `values` and leaves the results there.
    ///
    /// # Safety
    /// `values` has room for the parameters and the results, and holds arguments of the parameter
    /// types. Function references among them belong to this store and live as long as the function
    /// can reach them (see [`Func::link_with`]).
    pub unsafe fn call_raw(&self, values: *mut ValRaw) -> Result<(), Error> {
        if self.func_ref().entry.get().is_null() {
            if self.host().is_none() {
                return Err(Error::Closed);
            }
            self.make_callable()?;
        }
        // SAFETY: by this function's contract. Our handle keeps the group alive for the whole call.
        unsafe { call::enter(self.group.store(), self.raw, values) }
    }

    /// Completes a call that [`FastEntry::call`] began.
    ///
    /// # Safety
    /// As for [`FastEntry::call`], with the same values, and the same function if it is still to be called.
    pub unsafe fn finish_call(
        outcome: EntryOutcome,
        store: &Store,
        raw: NonNull<VMFuncRef>,
        values: *mut ValRaw,
    ) -> Result<(), Error> {
        // SAFETY: the function is alive by contract.
        if outcome == EntryOutcome::NotEntered && unsafe { raw.as_ref() }.entry.get().is_null() {
            // SAFETY: as above.
            return unsafe { Func::from_raw(store, raw).call_raw(values) };
        }
        // SAFETY: by this function's contract.
        unsafe { call::finish(outcome, store, raw, values) }
    }

    /// Calls the function. Fails if the number or the types of the arguments are wrong.
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
        // SAFETY: room and types were checked above, and references among the arguments share our group.
        unsafe { self.call_raw(values.as_mut_ptr())? };
        let store = self.group.store();
        // SAFETY: the call left results of these types. References among them are alive, because nothing
        // has run since that could have dropped them.
        Ok(values
            .iter()
            .zip(&ty.results)
            .map(|(raw, ty)| unsafe { Val::from_raw(store, *raw, *ty) })
            .collect())
    }

    /// Makes the two functions live together from now on. Required before one is passed to the other.
    pub fn link_with(&self, other: &Func) -> Result<(), Error> {
        if !self.group.store().same(other.group.store()) {
            return Err(Error::Internal("functions of two stores cannot be linked".into()));
        }
        other.make_callable()?;
        self.group.join(&other.group);
        Ok(())
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }
}

impl std::fmt::Debug for Func {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Func({})", self.ty().ty())
    }
}
