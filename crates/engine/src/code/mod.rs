//! Machine code: linked, kept for later, found again by address, freed with its last user.

mod artifact;
mod cache;
mod link;
mod object;
pub mod registry;

pub use artifact::{Artifact, Key, Refused};
pub use cache::Cache;
pub use link::link;
pub use object::CodeObject;
