//! What an embedder holds: handles, and the code that makes instances of modules.

mod coredump;
mod exception;
mod exports;
mod externs;
mod func;
mod global;
mod instance;
mod link;
mod memory;
mod segments;
mod table;
mod value;

pub use externs::Extern;
pub use func::Func;
pub use global::Global;
pub use instance::{Instance, InstanceOptions};
pub use link::InstantiateError;
pub use memory::Memory;
pub use table::Table;
pub use value::Val;
