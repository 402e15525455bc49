//! What compiling makes: plain data, nothing of which points into the process.

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
    /// Of instructions that may fault and of calls, in order of the code. What follows one up to the next is of
    /// the same operator.
    pub source_map: Vec<SourceLocation>,
    /// Calls that catch exceptions, in order of the code.
    pub handlers: Vec<Handler>,
}

/// Where code of a wasm operator starts, and the operator's byte offset in the module.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct SourceLocation {
    pub code: u32,
    pub wasm: u32,
}

/// Where a call continues when an exception comes out of it.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Handler {
    /// The call's return address.
    pub call: u32,
    pub handler: u32,
    /// From the frame pointer down to the stack pointer at the call, in bytes.
    pub frame_size: u32,
}

/// A module as machine code.
pub struct CompiledModule {
    /// The module's own functions, then the libcall trampolines, then those of `trampolines`. A
    /// relocation names a function by its place here. `None` for a libcall that nobody calls.
    pub functions: Vec<Option<Arc<CompiledFunction>>>,
    /// How many are the module's own.
    pub bodies: usize,
    /// Each kind and type at most once.
    pub trampolines: Vec<TypeTrampoline>,
}

/// A trampoline for functions of a type.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct TypeTrampoline {
    /// A [`TrampolineKind`].
    pub kind: u32,
    /// The index of the type in the module, or of the first that is equal to it.
    pub ty: u32,
    /// The place among [`CompiledModule::functions`].
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
    /// Wasm to a host function of its own C signature.
    Native,
}
