//! Validated bodies to machine code as plain data.
//!
//! Called by `Module::new`. Invariant: nothing that comes out of here points into the process:
//! a [`CompiledModule`] is bytes and offsets, the same ones however many threads made them.

mod atomics;
mod bounds;
mod driver;
mod environ;
mod exceptions;
pub mod libcalls;
mod limits;
mod numeric;
pub mod offsets;
pub mod pool;
mod signatures;
mod simd;
mod stack;
mod trampolines;
mod translate;
pub mod trap;

pub use driver::{CompiledFunction, CompiledModule, Compiler, Handler, OptLevel, Stop, Trampolines};

/// Which checks compiled code carries. Part of a compiled module's identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunables {
    /// How memories lie in the address space, as the code may assume.
    pub memory: MemoryStyle,
    /// The same of shared memories.
    pub shared_memory: MemoryStyle,
    /// Whether a fault may be a trap. Otherwise every trap is an explicit check and a libcall.
    pub signals: bool,
    /// Whether loops look for a request to stop.
    pub interruptible: bool,
    /// Whether operators are counted: see `VMStoreContext::fuel`.
    pub fuel: bool,
}

/// How a linear memory lies in the address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryStyle {
    /// All of a 32-bit index plus [`GUARD_SIZE`] is reserved: an access whose static offset is
    /// below the guard needs no check.
    Reserved,
    /// Every access is checked against the current length.
    Bounded,
}

/// Bytes of the poll area that lies before a `VMStoreContext`: a multiple of any page size. Loops
/// read from it; to stop them it is made inaccessible, or, without signals, filled with ones.
pub const POLL_SIZE: u32 = 64 << 10;

/// Bytes that fault behind (and before) the 4 GiB of a reserved memory.
pub const GUARD_SIZE: u64 = 32 << 20;
