//! Listing a directory of the host.
//!
//! Invariant: positions are the kernel's.

use std::fs::File;

use crate::errno::Errno;
use crate::sys;
use crate::types::{DirEntry, Filetype};

/// A listing in progress. It has an open file description of its own and remembers its cookie. The usual
/// guest goes on from the last whole entry it got, which then costs no seek and no second read.
pub struct Listing {
    dir: File,
    inode: u64,
    /// What the host gave at once; the entries before `at` are delivered.
    batch: Vec<Entry>,
    /// The names of the batch, one after the other.
    names: Vec<u8>,
    at: usize,
    /// Where the entry at `at` begins.
    cookie: u64,
    fresh: bool,
}

struct Entry {
    next: u64,
    ino: u64,
    filetype: Filetype,
    /// Where its name lies among the names.
    name: (usize, usize),
}

impl Listing {
    pub fn new(dir: &File) -> Result<Listing, Errno> {
        let dir = sys::reopen_directory(dir)?;
        let inode = sys::fstat(sys::borrow(&dir))?.ino;
        Ok(Listing { dir, inode, batch: Vec::new(), names: Vec::new(), at: 0, cookie: 0, fresh: true })
    }

    /// Cookie 0 starts over, and then sees the directory as it is now.
    pub fn seek(&mut self, cookie: u64) -> Result<(), Errno> {
        let stay = if cookie == 0 { self.fresh } else { cookie == self.cookie };
        if !stay {
            sys::seek_directory(&self.dir, cookie)?;
            self.clear();
            self.cookie = cookie;
        }
        self.fresh = false;
        Ok(())
    }

    fn clear(&mut self) {
        self.batch.clear();
        self.names.clear();
        self.at = 0;
    }

    pub fn peek(&mut self) -> Result<Option<DirEntry<'_>>, Errno> {
        if self.at >= self.batch.len() {
            self.clear();
            let Listing { dir, inode, batch, names, cookie, .. } = self;
            let any = sys::read_directory(dir, *cookie, *inode, |DirEntry { next, ino, filetype, name }| {
                let start = names.len();
                names.try_reserve(name.len()).map_err(|_| Errno::Nomem)?;
                names.extend_from_slice(name);
                batch.try_reserve(1).map_err(|_| Errno::Nomem)?;
                batch.push(Entry { next, ino, filetype, name: (start, names.len()) });
                Ok(())
            })?;
            if !any {
                return Ok(None);
            }
        }
        let Entry { next, ino, filetype, name: (start, end) } = self.batch.get(self.at).ok_or(Errno::Io)?;
        let name = self.names.get(*start..*end).ok_or(Errno::Io)?;
        Ok(Some(DirEntry { next: *next, ino: *ino, filetype: *filetype, name }))
    }

    pub fn advance(&mut self, next: u64) {
        self.cookie = next;
        self.at += 1;
    }
}
