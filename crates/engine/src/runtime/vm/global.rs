//! Globals.
//!
//! Invariant: a global's value always has its type, and a function in it lives in its group.

use super::group::Group;
use super::store::Store;
use super::traps::Error;
use super::value::Val;
use super::vmcontext::VMGlobalDefinition;
use crate::types::{GlobalType, RefType, ValType};
use std::ptr::NonNull;

/// A handle to a global.
#[derive(Clone)]
pub struct Global {
    group: Group,
    ty: GlobalType,
    /// In the context of the instance that defines it, or in a [`HostGlobal`].
    definition: NonNull<VMGlobalDefinition>,
}

/// A global that the host made.
pub struct HostGlobal {
    ty: GlobalType,
    definition: VMGlobalDefinition,
}

impl HostGlobal {
    pub(super) fn for_each_reference(&self, kind: fn(RefType) -> bool, f: &mut dyn FnMut(u64)) {
        for_reference(self.ty, &self.definition, kind, f);
    }
}

/// Calls `f` with a global's value if it is a reference of the kind.
pub(super) fn for_reference(
    ty: GlobalType,
    definition: &VMGlobalDefinition,
    kind: fn(RefType) -> bool,
    f: &mut dyn FnMut(u64),
) {
    if matches!(ty.content, ValType::Ref(r) if kind(r)) {
        // SAFETY: the global's type says that the value is a reference, which has 8 bytes.
        f(unsafe { definition.value.externref });
    }
}

impl Global {
    pub fn new(store: &Store, ty: GlobalType, value: Val) -> Result<Global, Error> {
        let group = Group::new(store);
        let zero = VMGlobalDefinition { value: Val::default_of(ty.content).to_raw() };
        let own = Box::new(HostGlobal { ty, definition: zero });
        let definition = NonNull::from(&own.definition);
        group.add(|members| members.globals.push(own));
        let global = Global { group, ty, definition };
        global.store(value)?;
        Ok(global)
    }

    pub(super) fn of(group: Group, ty: GlobalType, definition: NonNull<VMGlobalDefinition>) -> Global {
        Global { group, ty, definition }
    }

    pub fn ty(&self) -> GlobalType {
        self.ty
    }

    pub fn get(&self) -> Val {
        // SAFETY: our group keeps the definition, and its value has the global's type.
        unsafe {
            let raw = (*self.definition.as_ptr()).value;
            Val::from_raw(self.group.store(), raw, self.ty.content)
        }
    }

    /// Fails for an immutable global and for a value of another type.
    pub fn set(&self, value: Val) -> Result<(), Error> {
        if !self.ty.mutable {
            return Err(Error::Internal("an immutable global cannot be set".into()));
        }
        self.store(value)
    }

    fn store(&self, value: Val) -> Result<(), Error> {
        if !value.is_a(self.ty.content) {
            return Err(Error::Internal(format!("a global of {} cannot hold {value:?}", self.ty.content)));
        }
        value.live_with(&self.group)?;
        // SAFETY: our group keeps the definition; compiled code does not run while we do.
        unsafe { (*self.definition.as_ptr()).value = value.to_raw() };
        Ok(())
    }

    /// The same for the same global.
    pub fn id(&self) -> usize {
        self.definition.as_ptr() as usize
    }

    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    pub(super) fn definition(&self) -> *mut VMGlobalDefinition {
        self.definition.as_ptr()
    }
}
