//! Machine code: linked, cached, found by address, and freed with its last user.

mod artifact;
mod cache;
mod kept;
mod lazy;
mod link;
mod notes;
mod object;
mod pieces;
pub mod registry;

pub use artifact::{Artifact, Attached, Key, Refused};
pub use cache::Cache;
pub use kept::Kept;
pub use lazy::{LOOPS, LazyCode, Maker};
pub use link::link;
pub use notes::now;
pub use object::CodeObject;
pub use pieces::{Made, Piece, Pieces};
