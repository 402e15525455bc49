//! Values that may cross threads.

use engine::{ExternRef, FuncType, Val, ValRaw, ValType};

/// A [`Val`] that may cross threads: it has no pointer to anything in a store.
#[derive(Clone, Copy)]
pub enum Value {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    Extern(Option<ExternRef>),
}

impl Value {
    pub fn of(val: &Val) -> Option<Value> {
        Some(match val {
            Val::I32(value) => Value::I32(*value),
            Val::I64(value) => Value::I64(*value),
            Val::F32(bits) => Value::F32(*bits),
            Val::F64(bits) => Value::F64(*bits),
            Val::Extern(reference) => Value::Extern(*reference),
            _ => return None,
        })
    }

    pub fn to_val(self) -> Val {
        match self {
            Value::I32(value) => Val::I32(value),
            Value::I64(value) => Val::I64(value),
            Value::F32(bits) => Val::F32(bits),
            Value::F64(bits) => Val::F64(bits),
            Value::Extern(reference) => Val::Extern(reference),
        }
    }

    pub(super) fn ty(self) -> ValType {
        match self {
            Value::I32(_) => ValType::I32,
            Value::I64(_) => ValType::I64,
            Value::F32(_) => ValType::F32,
            Value::F64(_) => ValType::F64,
            Value::Extern(_) => ValType::EXTERNREF,
        }
    }
}

/// Arguments or results.
pub struct Values(pub Vec<ValRaw>);

// SAFETY: the values belong to functions without function references and exceptions, which `can_cross`
// refuses. So they are numbers and indices of host values, and nobody follows a pointer in them.
unsafe impl Send for Values {}

pub(super) fn can_cross(ty: &FuncType) -> bool {
    let is_pointer = |ty: &ValType| matches!(ty, ValType::Ref(r) if !r.is_extern());
    !ty.params.iter().chain(&ty.results).any(is_pointer)
}

pub(super) const CANNOT_CROSS: &str = "a function reference or an exception cannot leave its thread";
