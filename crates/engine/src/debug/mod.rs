//! Debug information for guest code: names, and source locations from DWARF.

mod demangle;
mod dwarf;
pub mod perf;

pub use demangle::demangle;
pub use dwarf::{DebugInfo, SourceFrame, source_frames};
pub use perf::{CodeLog, log_code};

use std::sync::Arc;

/// A location in guest code.
#[derive(Clone, Debug)]
pub struct Frame {
    pub func_index: u32,
    pub name: Option<String>,
    /// Byte offset in the module.
    pub wasm_offset: Option<u64>,
    /// The entry into wasm that the frame belongs to: 0 for the innermost. Host frames are between two
    /// entries.
    pub entry: usize,
    /// The debug information for the source location: see `source_frames`.
    pub(crate) debug: Arc<DebugInfo>,
}

impl Frame {
    /// The URL of the module of the frame's function: `wasm://wasm/<name>-<hash>`.
    pub fn module_url(&self) -> String {
        self.debug.module_url()
    }
}
