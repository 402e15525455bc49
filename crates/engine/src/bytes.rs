//! The binary of a module.
//!
//! Used by the code that makes modules and by everything that reads parts of a module later. Invariant: the
//! bytes never change. They are either in memory of their own, or a part of a mapped file that nobody writes to, whose
//! pages are read when they are used and can be given back.

use crate::sys::{DISCARDS, Mmap, page_size};
use std::fs::File;
use std::io::{self, Read};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// The binary of a module. Clones share it.
#[derive(Clone)]
pub struct ModuleBytes(Kind);

#[derive(Clone)]
enum Kind {
    Own(Arc<Vec<u8>>),
    /// A part of an artifact.
    Mapped(Arc<Mmap>, Range<usize>),
    /// A part of a file that is no artifact yet.
    Filed(Arc<Filed>),
}

struct Filed {
    file: File,
    memory: Mmap,
    range: Range<usize>,
}

impl ModuleBytes {
    /// So many bytes are worth a file.
    pub const LARGE: usize = 1 << 20;

    /// As many bytes as there are from a reader, up to `len`.
    pub fn read(reader: &mut impl Read, len: usize) -> io::Result<ModuleBytes> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len + 1).map_err(io::Error::from)?;
        reader.take(len as u64).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    /// A range of a file. Nobody writes to that range any more, and the file does not shrink.
    pub fn in_file(file: File, range: Range<usize>) -> io::Result<ModuleBytes> {
        if range.start > range.end {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let memory = Mmap::of_file(&file, range.end)?;
        Ok(ModuleBytes(Kind::Filed(Arc::new(Filed { file, memory, range }))))
    }

    /// A range of a mapping that is readable and never written. An empty one if the range is not inside.
    pub fn mapped(memory: Arc<Mmap>, range: Range<usize>) -> ModuleBytes {
        let inside = range.start <= range.end && range.end <= memory.len();
        ModuleBytes(Kind::Mapped(memory, if inside { range } else { 0..0 }))
    }

    /// The file of [`ModuleBytes::in_file`].
    pub fn file(&self) -> Option<&File> {
        match &self.0 {
            Kind::Filed(filed) => Some(&filed.file),
            _ => None,
        }
    }

    /// Gives memory back, if a file has the bytes. They are read again when they are used.
    pub fn give_back(&self) {
        self.give_back_range(0..self.len());
    }

    fn give_back_range(&self, range: Range<usize>) {
        if let Kind::Filed(filed) = &self.0
            && DISCARDS
        {
            let start = (filed.range.start + range.start).next_multiple_of(page_size());
            let end = (filed.range.start + range.end) / page_size() * page_size();
            if start < end {
                let _ = filed.memory.discard(start..end);
            }
        }
    }

    /// Calls `f` with all bytes in order, a part at a time. This takes little memory if a file has them.
    pub fn for_each_part(&self, mut f: impl FnMut(&[u8])) {
        for start in (0..self.len()).step_by(Self::LARGE) {
            let range = start..self.len().min(start + Self::LARGE);
            f(&self[range.clone()]);
            self.give_back_range(range);
        }
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
            Kind::Filed(filed) => &filed.memory.bytes_of_file()[filed.range.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ModuleBytes;
    use std::io::Write;

    /// Not a multiple of the page size, so that the last page is not whole.
    const LEN: usize = 2 * ModuleBytes::LARGE + 123;

    fn sample() -> Vec<u8> {
        (0..LEN).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    #[test]
    fn bytes_in_a_file_are_the_same_when_they_were_given_back() {
        let bytes = sample();
        let mut file = tempfile::tempfile().unwrap();
        // Beside other bytes in the same pages.
        file.write_all(b"begin").unwrap();
        file.write_all(&bytes).unwrap();
        let read = ModuleBytes::in_file(file, 5..5 + LEN).unwrap();
        assert!(read[..] == bytes[..]);
        read.give_back();
        assert!(read[..] == bytes[..]);
        let mut parts = Vec::new();
        read.for_each_part(|part| parts.extend_from_slice(part));
        assert!(parts == bytes && read[..] == bytes[..]);
    }

    #[test]
    fn no_more_is_read_than_there_is() {
        for len in [100, LEN] {
            let bytes = &sample()[..len];
            assert!(ModuleBytes::read(&mut &bytes[..], len + 5).unwrap()[..] == *bytes);
            assert!(ModuleBytes::read(&mut &bytes[..], len - 5).unwrap()[..] == bytes[..len - 5]);
        }
    }
}
