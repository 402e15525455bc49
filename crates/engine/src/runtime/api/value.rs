//! Values as the embedder holds them.

use super::func::Func;
use crate::runtime::vm::exception::Exception;
use crate::runtime::vm::group::Group;
use crate::runtime::vm::store::Store;
use crate::runtime::vm::traps::Error;
use crate::runtime::vm::vmcontext::{ExternRef, ValRaw};
use crate::types::*;
use std::ptr::NonNull;

/// A WebAssembly value. Floats are stored as bits, which preserves NaN payloads.
#[derive(Clone, Debug)]
pub enum Val {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(u128),
    Func(Option<Func>),
    Extern(Option<ExternRef>),
    Exn(Option<Exception>),
}

impl Val {
    /// The default value of a type: null or zero.
    pub fn default_of(ty: ValType) -> Val {
        match ty {
            ValType::I32 => Val::I32(0),
            ValType::I64 => Val::I64(0),
            ValType::F32 => Val::F32(0),
            ValType::F64 => Val::F64(0),
            ValType::V128 => Val::V128(0),
            ValType::Ref(r) if r.is_func() => Val::Func(None),
            ValType::Ref(r) if r.is_exn() => Val::Exn(None),
            ValType::Ref(_) => Val::Extern(None),
        }
    }

    /// Whether the value has type `ty` or a subtype of it.
    pub fn is_a(&self, ty: ValType) -> bool {
        match (self, ty) {
            (Val::I32(_), ValType::I32)
            | (Val::I64(_), ValType::I64)
            | (Val::F32(_), ValType::F32)
            | (Val::F64(_), ValType::F64)
            | (Val::V128(_), ValType::V128) => true,
            (Val::Func(None), ValType::Ref(r)) => r.is_func() && r.nullable,
            (Val::Extern(None), ValType::Ref(r)) => r.is_extern() && r.nullable,
            (Val::Exn(None), ValType::Ref(r)) => r.is_exn() && r.nullable,
            (Val::Exn(Some(_)), ValType::Ref(r)) => r.heap == HeapType::Exn,
            (Val::Func(Some(func)), ValType::Ref(r)) => match r.heap {
                HeapType::Concrete(id) => func.ty().is_a(id),
                heap => heap == HeapType::Func,
            },
            (Val::Extern(Some(_)), ValType::Ref(r)) => r.heap == HeapType::Extern,
            _ => false,
        }
    }

    /// Makes the referenced object live at least as long as the group.
    pub(crate) fn live_with(&self, group: &Group) -> Result<(), Error> {
        match self {
            Val::Func(Some(func)) => {
                func.make_callable()?;
                group.join(func.group());
            }
            Val::Exn(Some(exception)) => {
                if let Some(other) = exception.group() {
                    group.join(other);
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn to_raw(&self) -> ValRaw {
        let mut raw = ValRaw::ZERO;
        match self {
            Val::I32(v) => raw.i32 = *v,
            Val::I64(v) => raw.i64 = *v,
            Val::F32(v) => raw.f32 = *v,
            Val::F64(v) => raw.f64 = *v,
            Val::V128(v) => raw.v128 = *v,
            Val::Func(func) => raw.func = func.as_ref().map(Func::raw),
            Val::Exn(exception) => {
                raw.exn = exception.as_ref().map_or(std::ptr::null_mut(), Exception::raw);
            }
            Val::Extern(v) => raw.externref = ExternRef::to_raw(*v),
        }
        raw
    }

    /// # Safety
    /// `raw` holds a value of type `ty`. A function reference in it is alive and belongs to `store`.
    pub(crate) unsafe fn from_raw(store: &Store, raw: ValRaw, ty: ValType) -> Val {
        // SAFETY: by this function's contract, `ty` tells which field was written.
        unsafe {
            match ty {
                ValType::I32 => Val::I32(raw.i32),
                ValType::I64 => Val::I64(raw.i64),
                ValType::F32 => Val::F32(raw.f32),
                ValType::F64 => Val::F64(raw.f64),
                ValType::V128 => Val::V128(raw.v128),
                ValType::Ref(r) if r.is_func() => Val::Func(raw.func.map(|func| Func::from_raw(store, func))),
                ValType::Ref(r) if r.is_exn() => {
                    Val::Exn(NonNull::new(raw.exn).map(|exn| Exception::from_raw(store, exn)))
                }
                ValType::Ref(_) => Val::Extern(ExternRef::of(raw.externref)),
            }
        }
    }
}
