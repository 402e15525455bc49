//! What compiled code runs on: stores, instances and what they are made of, calls and traps.
//!
//! Invariant: objects that can reach each other through imports, tables or stored references
//! belong to one [`group`], which lives as long as any handle to a member. Compiled code and the
//! objects refer to each other by pointer, and those pointers never leave their group.

mod call;
mod exception;
mod func;
mod global;
mod group;
mod instance;
mod interrupt;
mod libcalls;
mod limits;
mod memory;
mod pages;
mod parking;
mod shared_memory;
mod state;
mod store;
mod table;
pub mod traps;
mod value;
pub mod vmcontext;

pub use call::{EntryOutcome, FastEntry};
pub use exception::{Exception, Tag};
pub use func::{Func, NativeFunc};
pub use global::Global;
pub use group::WeakGroup;
pub use instance::{Extern, Instance, InstantiateError};
pub use interrupt::InterruptHandle;
pub use limits::{Budget, Limits, OverLimit};
pub use memory::{Memory, Pin};
pub(super) use pages::Pool;
pub use pages::check_spare;
pub use parking::{Parker, Wait};
pub use shared_memory::{MemoryHost, SharedMemory, WeakSharedMemory};
pub use store::Store;
pub use table::Table;
pub use traps::{Error, Trap};
pub use value::{ExternRef, Val};
pub use vmcontext::{VMFuncRef, VMHostContext, ValRaw};
