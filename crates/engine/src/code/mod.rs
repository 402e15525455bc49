//! Machine code in memory: loaded, found again by address, freed with its last user.

mod image;
pub mod registry;

pub use image::CodeObject;
