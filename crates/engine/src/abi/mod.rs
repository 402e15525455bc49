//! What compiled code and the runtime agree on: layouts, checks, trap codes and libcalls.
//!
//! Used by `compile/`, `code/` and `runtime/`. Invariant: everything that both sides must know is defined
//! here, once.

pub mod libcalls;
pub mod offsets;
mod trap;

pub use trap::TrapCode;

use crate::types::MemoryType;

/// The checks in compiled code. Part of a compiled module's identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunables {
    /// The memory style that the code assumes.
    pub memory: MemoryStyle,
    /// The same for shared memories.
    pub shared_memory: MemoryStyle,
    /// Whether traps may be faults. Otherwise every trap is an explicit check and a libcall.
    pub signals: bool,
    /// Whether loops poll for a request to stop.
    pub interruptible: bool,
    /// Whether operators are counted: see `VMStoreContext::fuel`.
    pub fuel: bool,
}

/// How a linear memory is placed in the address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryStyle {
    /// The range of a 32-bit index plus [`GUARD_SIZE`] is reserved: an access whose static offset is below
    /// the guard needs no check.
    Reserved,
    /// Every access is checked against the current length.
    Bounded,
}

impl Tunables {
    pub fn style_of(&self, ty: &MemoryType) -> MemoryStyle {
        match ty {
            _ if ty.memory64 || ty.page_size_log2 != 16 => MemoryStyle::Bounded,
            _ if ty.shared => self.shared_memory,
            _ => self.memory,
        }
    }
}

/// Bytes of the poll area before a `VMStoreContext`: a multiple of every page size. Loops read from it. To
/// stop them it is made inaccessible or, without signals, filled with ones.
pub const POLL_SIZE: u32 = 64 << 10;
