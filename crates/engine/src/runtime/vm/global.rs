//! Globals.
//!
//! Invariant: a global's value always has its type, and a function in it belongs to its group.

use super::vm_box::VmBox;
use super::vmcontext::{VMGlobalDefinition, ValRaw};
use crate::types::{GlobalType, RefType, ValType};
use std::cell::Cell;
use std::ptr::NonNull;

/// A global that the host made.
pub struct HostGlobal {
    ty: GlobalType,
    definition: VMGlobalDefinition,
}

impl HostGlobal {
    pub(crate) fn new(ty: GlobalType, value: ValRaw) -> VmBox<HostGlobal> {
        VmBox::new(HostGlobal { ty, definition: VMGlobalDefinition { value: Cell::new(value) } })
    }

    pub(crate) fn definition(&self) -> NonNull<VMGlobalDefinition> {
        NonNull::from(&self.definition)
    }

    pub(crate) fn for_each_reference(&self, kind: fn(RefType) -> bool, f: &mut dyn FnMut(u64)) {
        for_reference(self.ty, self.definition.value.get(), kind, f);
    }
}

/// Calls `f` with a global's value if the value is a reference of this kind.
pub(crate) fn for_reference(
    ty: GlobalType,
    value: ValRaw,
    kind: fn(RefType) -> bool,
    f: &mut dyn FnMut(u64),
) {
    if matches!(ty.content, ValType::Ref(r) if kind(r)) {
        // SAFETY: by the global's type the value is a reference, which has 8 bytes.
        f(unsafe { value.externref });
    }
}
