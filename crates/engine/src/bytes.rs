//! The binary of a module.
//!
//! Used by the code that makes modules and by everything that reads parts of a module later. Invariant: the
//! bytes never change. They are either the module's own, or a part of a mapped artifact, whose pages are read
//! from the file when they are used. Those of a large module can come to rest on a file.

use crate::sys::{Mmap, page_size};
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
    /// In pages of their own: so many bytes from the start.
    Paged(Arc<Mmap>, usize),
    Mapped(Arc<Mmap>, Range<usize>),
}

impl ModuleBytes {
    /// From this number of bytes on they have pages of their own.
    pub const PAGED: usize = 1 << 20;

    /// As many bytes as there are from a reader, up to `len`.
    pub fn read(reader: &mut impl Read, len: usize) -> io::Result<ModuleBytes> {
        if len < Self::PAGED {
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(len + 1).map_err(io::Error::from)?;
            reader.take(len as u64).read_to_end(&mut bytes)?;
            return Ok(bytes.into());
        }
        let memory = Mmap::reserve(len.next_multiple_of(page_size()))?;
        memory.make_writable(0..memory.len())?;
        // SAFETY: the pages are new, readable and writable, and nobody else has them yet.
        let pages = unsafe { std::slice::from_raw_parts_mut(memory.start(), len) };
        let mut count = 0;
        while count < len {
            match reader.read(&mut pages[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ModuleBytes(Kind::Paged(Arc::new(memory), count)))
    }

    /// Gives memory back: from now on a file has the bytes, from `offset` on. It must have the same ones, and neither
    /// change nor shrink. This does nothing for bytes without pages of their own, or if the system cannot do it.
    pub fn rest_on(&self, file: &File, offset: u64) {
        if let Kind::Paged(memory, _) = &self.0
            && offset.is_multiple_of(page_size() as u64)
        {
            let _ = memory.show_file(0..memory.len(), file, offset);
        }
    }

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
            // SAFETY: there are so many bytes in the pages, which are readable. Nobody writes to them: `read` did
            // before there was a `self`, and what `rest_on` puts in their place has the same bytes. They live as long
            // as `self`.
            Kind::Paged(memory, len) => unsafe { std::slice::from_raw_parts(memory.start(), *len) },
            // SAFETY: the mapping has these bytes, as was checked in `mapped`. It is readable, nothing writes
            // to it, and it lives as long as `self`.
            Kind::Mapped(memory, range) => unsafe {
                std::slice::from_raw_parts(memory.start().add(range.start), range.len())
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ModuleBytes;
    use std::io::Write;

    /// Not a multiple of the page size, so that the last page is not whole.
    const LEN: usize = ModuleBytes::PAGED + 123;

    fn sample() -> Vec<u8> {
        (0..LEN).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    #[test]
    fn bytes_are_the_same_when_they_rest_on_a_file() {
        let bytes = sample();
        let read = ModuleBytes::read(&mut &bytes[..], LEN).unwrap();
        assert!(read[..] == bytes[..]);
        let mut file = tempfile::tempfile().unwrap();
        let begin = crate::sys::page_size();
        file.write_all(&vec![0; begin]).unwrap();
        file.write_all(&bytes).unwrap();
        let other = read.clone();
        read.rest_on(&file, begin as u64);
        drop(file);
        assert!(read[..] == bytes[..] && other[..] == bytes[..]);
        // Where pages cannot stand for each other, nothing happens.
        let file = tempfile::tempfile().unwrap();
        read.rest_on(&file, 8);
        assert!(read[..] == bytes[..]);
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
