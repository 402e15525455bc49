//! Machine code: linked, cached, found by address, and freed with its last user.

mod artifact;
mod cache;
mod link;
mod object;
pub mod registry;

pub use artifact::{Artifact, Key, Refused};
pub use cache::Cache;
pub use link::link;
pub use object::CodeObject;
