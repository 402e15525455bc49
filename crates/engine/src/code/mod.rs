//! Machine code: linked, cached, found by address, and freed with its last user.

mod artifact;
mod cache;
mod link;
mod notes;
mod object;
pub mod registry;

pub use artifact::{Artifact, Attached, Key, Refused};
pub use cache::Cache;
pub use link::link;
pub use notes::now;
pub use object::CodeObject;
