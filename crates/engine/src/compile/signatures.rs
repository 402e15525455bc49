//! WebAssembly types as Cranelift types and signatures.

use crate::types::*;
use cranelift_codegen::ir::{AbiParam, ArgumentPurpose, Signature, Type, types};
use cranelift_codegen::isa::{CallConv, TargetIsa};

pub const POINTER: Type = types::I64;
/// References on the stack, in tables and in globals: a pointer, or an index of a host value.
pub const REFERENCE: Type = types::I64;
/// The type of vectors in locals, block parameters, calls and globals, for any lanes.
pub const VECTOR: Type = types::I8X16;

pub fn clif_type(ty: ValType) -> Type {
    match ty {
        ValType::I32 => types::I32,
        ValType::I64 => types::I64,
        ValType::F32 => types::F32,
        ValType::F64 => types::F64,
        ValType::V128 => VECTOR,
        ValType::Ref(_) => REFERENCE,
    }
}

/// The signature of compiled wasm functions: the callee's context, then the parameters.
/// `CallConv::Tail` because any wasm function may be the target of a tail call.
pub fn wasm_signature(ty: &FuncType) -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::special(POINTER, ArgumentPurpose::VMContext));
    signature.params.extend(ty.params.iter().map(|ty| AbiParam::new(clif_type(*ty))));
    signature.returns.extend(ty.results.iter().map(|ty| AbiParam::new(clif_type(*ty))));
    signature
}

/// The signature of code that continues a function of this type at a loop: its values are in the store.
pub fn loop_signature(ty: &FuncType) -> Signature {
    let mut signature = wasm_signature(ty);
    signature.params.truncate(1);
    signature
}

/// The signature of a function with the platform's C calling convention.
pub fn c_signature(isa: &dyn TargetIsa, params: &[Type], result: Option<Type>) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params.extend(params.iter().map(|ty| AbiParam::new(*ty)));
    signature.returns.extend(result.map(AbiParam::new));
    signature
}

/// Whether a typed native host function can have this type: parameters that a C function takes in registers of
/// their own or on the stack, and at most one `i32` result, as all functions of WASI and Node-API have.
pub fn is_native(ty: &FuncType) -> bool {
    ty.params.iter().all(|ty| matches!(ty, ValType::I32 | ValType::I64 | ValType::F64))
        && matches!(*ty.results, [] | [ValType::I32])
}
