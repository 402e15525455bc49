//! The binary of a module.
//!
//! Used by the code that makes modules and by everything that reads parts of a module later. Invariant: the
//! bytes never change. They are either the module's own, or a part of a mapped artifact, whose pages are read
//! from the file when they are used.

use crate::sys::Mmap;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// The binary of a module. Clones share it.
#[derive(Clone)]
pub struct ModuleBytes(Kind);

#[derive(Clone)]
enum Kind {
    Own(Arc<Vec<u8>>),
    Mapped(Arc<Mmap>, Range<usize>),
}

impl ModuleBytes {
    /// A range of a mapping that is readable and never written. An empty one if the range is not inside.
    pub fn mapped(memory: Arc<Mmap>, range: Range<usize>) -> ModuleBytes {
        let inside = range.start <= range.end && range.end <= memory.len();
        ModuleBytes(Kind::Mapped(memory, if inside { range } else { 0..0 }))
    }
}

impl From<Vec<u8>> for ModuleBytes {
    fn from(bytes: Vec<u8>) -> ModuleBytes {
        ModuleBytes(Kind::Own(Arc::new(bytes)))
    }
}

impl Default for ModuleBytes {
    fn default() -> ModuleBytes {
        Vec::new().into()
    }
}

impl Deref for ModuleBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Own(bytes) => bytes,
            // SAFETY: the mapping has these bytes, as was checked in `mapped`. It is readable, nothing writes
            // to it, and it lives as long as `self`.
            Kind::Mapped(memory, range) => unsafe {
                std::slice::from_raw_parts(memory.start().add(range.start), range.len())
            },
        }
    }
}
