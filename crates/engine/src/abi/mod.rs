//! What compiled code and the runtime agree on: layouts, checks, trap codes and libcalls.
//!
//! For `compile/`, `code/` and `runtime/`. Invariant: whatever both sides have to know is written here,
//! once.

pub mod libcalls;
pub mod offsets;
mod trap;

pub use trap::TrapCode;

use crate::types::MemoryType;

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

impl Tunables {
    /// How the memories of this type lie.
    pub fn style_of(&self, ty: &MemoryType) -> MemoryStyle {
        match ty {
            _ if ty.memory64 || ty.page_size_log2 != 16 => MemoryStyle::Bounded,
            _ if ty.shared => self.shared_memory,
            _ => self.memory,
        }
    }
}

/// Bytes of the poll area that lies before a `VMStoreContext`: a multiple of any page size. Loops
/// read from it; to stop them it is made inaccessible, or, without signals, filled with ones.
pub const POLL_SIZE: u32 = 64 << 10;
