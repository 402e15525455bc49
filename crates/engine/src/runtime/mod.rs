//! What compiled code runs on: stores, instances and their parts, calls and traps.
//!
//! Invariant: objects that can reach each other through imports, tables or stored references
//! belong to one [`group`], which lives as long as any handle to a member. Compiled code and the
//! objects refer to each other by pointer, and those pointers never leave their group.

mod api;
#[cfg(test)]
mod tests;
mod vm;

pub use api::*;
pub use vm::call::{EntryOutcome, FastEntry};
pub use vm::exception::{Exception, Tag};
pub use vm::group::WeakGroup;
pub use vm::host_func::NativeFunc;
pub use vm::interrupt::InterruptHandle;
pub use vm::limits::{Budget, Limits, OverLimit, Usage};
pub use vm::memory::Pin;
pub use vm::parking::{Parker, Wait};
pub use vm::profile::{Node, Profile, ProfiledFunction, ProfiledThread, Profiler};
pub use vm::shared_memory::{MemoryHost, SharedMemory, WeakSharedMemory};
pub use vm::store::Store;
pub use vm::traps::{Error, Trap};
pub use vm::vmcontext::{ExternRef, VMFuncRef, VMHostContext, VMMemoryDefinition, ValRaw};
