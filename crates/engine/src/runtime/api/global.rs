//! Globals as the embedder holds them.

use super::value::Val;
use crate::runtime::vm::global::HostGlobal;
use crate::runtime::vm::group::Group;
use crate::runtime::vm::store::Store;
use crate::runtime::vm::traps::Error;
use crate::runtime::vm::vmcontext::VMGlobalDefinition;
use crate::types::GlobalType;
use std::ptr::NonNull;

/// A handle to a global.
#[derive(Clone)]
pub struct Global {
    group: Group,
    ty: GlobalType,
    /// Points into the context of the instance that defines the global, or into a [`HostGlobal`].
    definition: NonNull<VMGlobalDefinition>,
}

impl Global {
    pub fn new(store: &Store, ty: GlobalType, value: Val) -> Result<Global, Error> {
        let group = Group::new(store);
        let own = HostGlobal::new(ty, Val::default_of(ty.content).to_raw());
        let definition = own.definition();
        group.add(|members| members.globals.push(own));
        let global = Global { group, ty, definition };
        global.store(value)?;
        Ok(global)
    }

    pub(crate) fn of(group: Group, ty: GlobalType, definition: NonNull<VMGlobalDefinition>) -> Global {
        Global { group, ty, definition }
    }

    pub fn ty(&self) -> GlobalType {
        self.ty
    }

    pub fn get(&self) -> Val {
        // SAFETY: our group keeps the definition alive, and its value has the global's type.
        unsafe { Val::from_raw(self.group.store(), self.definition.as_ref().value.get(), self.ty.content) }
    }

    /// Sets the value. Fails for an immutable global and for a value of another type.
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
        // SAFETY: our group keeps the definition alive.
        unsafe { self.definition.as_ref() }.value.set(value.to_raw());
        Ok(())
    }

    /// An identity: equal for two handles to the same global.
    pub fn id(&self) -> usize {
        self.definition.as_ptr() as usize
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    pub(crate) fn definition(&self) -> *mut VMGlobalDefinition {
        self.definition.as_ptr()
    }
}
