//! What is known about a place in guest code: names, and by DWARF the place in the source.

mod demangle;
mod dwarf;

pub use demangle::demangle;
pub use dwarf::{DebugInfo, SourceFrame, source_frames};

use std::sync::Arc;

/// A place in guest code.
#[derive(Clone, Debug)]
pub struct Frame {
    pub func_index: u32,
    pub name: Option<String>,
    /// Byte offset in the module.
    pub wasm_offset: Option<u64>,
    /// Of which entry into wasm the frame is: 0 for the innermost. Between two of them are frames of
    /// the host.
    pub entry: usize,
    /// What tells the place in the source: see `source_frames`.
    pub(crate) debug: Arc<DebugInfo>,
}

impl Frame {
    /// The module that the frame's function is of: `wasm://wasm/<name>-<hash>`.
    pub fn module_url(&self) -> String {
        self.debug.module_url()
    }
}
