//! The output of compilation: plain data without pointers into the process.

use crate::abi::TrapCode;
use cranelift_module::ModuleReloc;
use std::sync::Arc;

/// One function as machine code. All positions are byte offsets from its start.
#[derive(Clone, Default)]
pub struct CompiledFunction {
    pub code: Vec<u8>,
    pub alignment: u32,
    pub relocs: Vec<ModuleReloc>,
    /// Instructions that may fault, in order.
    pub traps: Vec<(u32, TrapCode)>,
    /// For calls and instructions that may fault, in code order. Such instructions up to the next entry
    /// belong to the same operator. Of an operator of an inlined function there are several entries with the same
    /// `code`: the calls that it is inlined by, the outermost first, then itself.
    pub source_map: Vec<SourceLocation>,
    /// Calls that catch exceptions, in order of the code.
    pub handlers: Vec<Handler>,
}

/// The code offset where a wasm operator starts, and the operator's byte offset in the module.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct SourceLocation {
    pub code: u32,
    pub wasm: u32,
}

impl SourceLocation {
    /// The entries of a source map for the instruction at this offset in the code.
    pub fn at(map: &[SourceLocation], offset: u32) -> &[SourceLocation] {
        let after = map.partition_point(|at| at.code <= offset);
        let Some(last) = after.checked_sub(1).and_then(|place| map.get(place)) else { return &[] };
        &map[map.partition_point(|at| at.code < last.code)..after]
    }
}

/// Where a call continues when it throws an exception.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Handler {
    /// The call's return address.
    pub call: u32,
    pub handler: u32,
    /// The distance in bytes from the stack pointer at the call up to the frame pointer.
    pub frame_size: u32,
}

/// A module as machine code.
pub struct CompiledModule {
    /// The module's own functions, then the libcall trampolines, then the trampolines in `trampolines`. A
    /// relocation refers to a function by its index here. `None` for a libcall that is never called.
    pub functions: Vec<Option<Arc<CompiledFunction>>>,
    /// The number of the module's own functions.
    pub bodies: usize,
    /// At most one per kind and type.
    pub trampolines: Vec<TypeTrampoline>,
}

/// A trampoline for functions of a type.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct TypeTrampoline {
    /// A [`TrampolineKind`].
    pub kind: u32,
    /// The index of the type in the module, or of the first type that is equal to it.
    pub ty: u32,
    /// The index in [`CompiledModule::functions`].
    pub function: u32,
}

/// What a [`TypeTrampoline`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum TrampolineKind {
    /// Host to wasm: see `VMEntry`.
    Entry,
    /// Wasm to a host function that takes its arguments in an array.
    Host,
    /// Wasm to a host function with its own C signature.
    Native,
}
