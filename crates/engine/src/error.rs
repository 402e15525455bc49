//! Errors before guest code runs. Traps, which occur while it runs, are in `runtime/vm/traps.rs`.

use std::fmt;

/// A module was rejected (JS API: `WebAssembly.CompileError`).
#[derive(Clone, Debug, PartialEq)]
pub struct CompileError {
    pub message: String,
    /// Byte offset in the module, if known.
    pub offset: Option<u64>,
}

impl CompileError {
    pub fn new(message: impl Into<String>, offset: u64) -> CompileError {
        CompileError { message: message.into(), offset: Some(offset) }
    }

    /// An error without a location in the module: a limit of the engine or of the machine.
    pub fn general(message: impl Into<String>) -> CompileError {
        CompileError { message: message.into(), offset: None }
    }

    /// Adds an offset if the error has none.
    pub(crate) fn or_at(self, offset: u64) -> CompileError {
        CompileError { offset: self.offset.or(Some(offset)), ..self }
    }
}

impl From<wasmparser::BinaryReaderError> for CompileError {
    fn from(error: wasmparser::BinaryReaderError) -> CompileError {
        CompileError::new(error.message(), error.offset())
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{} (at offset {offset:#x})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for CompileError {}

/// The imports do not match what the module requires (JS API: `WebAssembly.LinkError`).
#[derive(Clone, Debug, PartialEq)]
pub struct LinkError(pub String);

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LinkError {}
