//! What compiled code touches, and what that is built on: contexts, the objects of instances, calls,
//! traps and exceptions.
//!
//! Used by `runtime/api/`.

pub mod call;
pub mod const_expr;
pub mod exception;
pub mod global;
pub mod group;
pub mod host_func;
pub mod instance;
pub mod interrupt;
pub mod lazy;
pub mod libcalls;
pub mod limits;
pub mod memory;
pub mod parking;
pub mod profile;
pub mod shared_memory;
pub mod state;
pub mod store;
pub mod table;
pub mod traps;
pub mod vm_box;
pub mod vmcontext;
