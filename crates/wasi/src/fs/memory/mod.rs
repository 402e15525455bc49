//! File systems in memory, as the host holds them.
//!
//! Made by the host, mounted as preopened directories of any number of
//! contexts. `tree.rs` has what all its nodes share, `node.rs` nodes and names, `walk.rs` the way to
//! them, `file.rs` what can be done with an open one. Guests reach them through the same descriptors,
//! path gate, rights and permissions as host files: this is a back end, not another WASI. Invariants: what is stored, names and bookkeeping
//! included, never exceeds the quota; no lookup leaves the directory it starts
//! from.

mod file;
mod node;
mod tree;
mod walk;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::alloc::text_of;
use crate::clock::{Clock, VirtualClock};
use crate::errno::Errno;
use crate::fs::path::GuestPath;
use crate::types::Filetype;
pub use file::MemoryFile;
use node::Node;
use tree::Tree;

/// A file system in memory. Clones are the same one.
#[derive(Clone)]
pub struct MemoryFs {
    root: Arc<Node>,
}

impl MemoryFs {
    /// An empty one that takes at most `quota` bytes; more is `ENOSPC`. Contents and names count, and a
    /// few hundred bytes for each file.
    pub fn new(quota: u64) -> MemoryFs {
        MemoryFs { root: Tree::root(quota, Clock::default()) }
    }

    /// One whose times are the same in every run: they start at `now`,
    /// nanoseconds since the epoch, and move a little with each change.
    pub fn reproducible(quota: u64, now: u64) -> MemoryFs {
        MemoryFs { root: Tree::root(quota, Clock::Virtual(VirtualClock::new(now))) }
    }

    /// What a context mounts.
    pub(crate) fn open_root(&self) -> MemoryFile {
        MemoryFile::new(self.root.clone())
    }

    /// Bytes taken out of the quota.
    pub fn used(&self) -> u64 {
        self.root.tree().used()
    }

    /// Puts a file there, in place of one that is, with the directories above
    /// it. Paths are relative to the root, with or without a slash in front.
    pub fn set_file(&self, path: &str, bytes: &[u8]) -> Result<(), Errno> {
        let path = host_path(path)?;
        if let Some((above, _)) = path.as_str().rsplit_once('/') {
            self.create_directory(above)?;
        }
        let file = MemoryFile::new(self.root.clone()).create(&path)?;
        file.set_size(0)?;
        file.put(bytes, 0)
    }

    /// Makes a directory and those above it; those that exist are left.
    pub fn create_directory(&self, path: &str) -> Result<(), Errno> {
        let path = host_path(path)?;
        let root = self.open_root();
        let ends = path.as_str().match_indices('/').map(|(at, _)| at);
        for end in ends.chain([path.as_str().len()]) {
            let part = path.as_str().get(..end).unwrap_or_default();
            let part = GuestPath::parse(part.as_bytes())?;
            match root.create_directory(&part) {
                Err(Errno::Exist) => match root.stat_path(&part, true)?.filetype {
                    Filetype::Directory => {}
                    _ => return Err(Errno::Notdir),
                },
                made => made?,
            }
        }
        Ok(())
    }

    /// Makes a symbolic link. A guest follows it only to what lies beneath the
    /// directory it started from, whatever is written here.
    pub fn set_link(&self, path: &str, contents: &str) -> Result<(), Errno> {
        self.open_root().symlink(contents, &host_path(path)?)
    }

    pub fn read_file(&self, path: &str) -> Result<Vec<u8>, Errno> {
        self.open_root().find(&host_path(path)?, true)?.contents()
    }

    /// Takes a file or a link away.
    pub fn remove_file(&self, path: &str) -> Result<(), Errno> {
        self.open_root().remove_file(&host_path(path)?)
    }

    /// What [`MemoryFs::paths`] gives at most, in bytes of all paths together.
    /// The quota does not limit it: each path repeats those above it.
    pub const PATHS_MAX: usize = 128 << 20;

    /// The paths of everything there is, from the root, sorted; those of
    /// directories end in a slash. `EOVERFLOW` if they are longer than
    /// [`MemoryFs::PATHS_MAX`].
    pub fn paths(&self) -> Result<Vec<String>, Errno> {
        let mut paths: Vec<String> = Vec::new();
        let mut todo = vec![(None, self.root.clone())];
        let mut total = 0;
        while let Some((above, node)) = todo.pop() {
            let above = match above {
                None => Box::default(),
                Some(at) => text_of(paths.get(at).map_or("", String::as_str))?,
            };
            node.each_child(|name, node| {
                let is_directory = node.filetype() == Filetype::Directory;
                let len = above.len() + name.len() + usize::from(is_directory);
                total += len;
                if total > MemoryFs::PATHS_MAX {
                    return Err(Errno::Overflow);
                }
                let mut path = String::new();
                path.try_reserve_exact(len).map_err(|_| Errno::Nomem)?;
                path.push_str(&above);
                path.push_str(name);
                if is_directory {
                    path.push('/');
                    todo.try_reserve(1).map_err(|_| Errno::Nomem)?;
                    todo.push((Some(paths.len()), node.clone()));
                }
                paths.try_reserve(1).map_err(|_| Errno::Nomem)?;
                paths.push(path);
                Ok(())
            })?;
        }
        paths.sort_unstable();
        Ok(paths)
    }
}

/// A panic elsewhere leaves these values whole, so a poisoned lock is no
/// reason to fail.
#[inline]
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The gate that guests' paths pass, but for the slash in front.
fn host_path(path: &str) -> Result<GuestPath<'_>, Errno> {
    GuestPath::parse(path.trim_start_matches('/').as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nested directories: more than a stack has room for. Less under Miri, which takes a millisecond for each.
    const DEPTH: u64 = if cfg!(miri) { 400 } else { 200_000 };

    #[test]
    fn the_host_sets_reads_and_lists() {
        let fs = MemoryFs::new(1 << 20);
        fs.set_file("/a/b/c.txt", b"text").unwrap();
        fs.set_file("a/b/c.txt", b"shorter").unwrap();
        fs.set_file("top", b"").unwrap();
        assert_eq!(fs.read_file("a/b/c.txt"), Ok(b"shorter".to_vec()));
        assert_eq!(fs.paths().unwrap(), ["a/", "a/b/", "a/b/c.txt", "top"]);
        assert_eq!(fs.read_file("a/b"), Err(Errno::Isdir));
        assert_eq!(fs.read_file("../x"), Err(Errno::Notcapable));
        assert_eq!(fs.set_file("top/x", b""), Err(Errno::Notdir));
        fs.remove_file("a/b/c.txt").unwrap();
        assert_eq!(fs.read_file("a/b/c.txt"), Err(Errno::Noent));
    }

    #[test]
    #[cfg_attr(miri, ignore = "megabytes are too much for an interpreter")]
    fn what_is_removed_is_given_back() {
        let fs = MemoryFs::new(1 << 20);
        let empty = fs.used();
        for _ in 0..3 {
            fs.set_file("d/f", &[7; 500_000]).unwrap();
            assert_eq!(fs.set_file("d/g", &[7; 600_000]), Err(Errno::Nospc));
            fs.remove_file("d/g").unwrap();
            fs.remove_file("d/f").unwrap();
        }
        let root = fs.open_root();
        root.remove_directory(&host_path("d").unwrap()).unwrap();
        assert_eq!(fs.used(), empty);
    }

    #[test]
    #[cfg_attr(miri, ignore = "thousands of names are too much for an interpreter")]
    fn names_count_too() {
        let fs = MemoryFs::new(1 << 20);
        let mut made = 0;
        while fs.set_file(&format!("{made}"), b"").is_ok() {
            made += 1;
        }
        assert!((100..10_000).contains(&made), "{made}");
        assert!(fs.used() <= 1 << 20);
    }

    /// 100,000 nested directories have 10 GB of paths.
    #[test]
    #[cfg_attr(miri, ignore = "its bound needs more than an interpreter can make")]
    fn paths_that_repeat_each_other_are_bounded() {
        let fs = MemoryFs::new(1 << 30);
        let mut dir = fs.open_root();
        let name = host_path("d").unwrap();
        let mut nest = |levels| {
            for _ in 0..levels {
                dir.create_directory(&name).unwrap();
                dir = dir.find(&name, false).unwrap();
            }
        };
        nest(8_000);
        assert_eq!(fs.paths().map(|paths| paths.len()), Ok(8_000));
        nest(92_000);
        assert_eq!(fs.paths(), Err(Errno::Overflow));
    }

    /// Each directory with a file and a directory in it, so that letting go
    /// has to come back to each.
    #[test]
    fn a_deep_tree_with_leaves_is_given_back() {
        let fs = MemoryFs::new(1 << 30);
        let (tree, empty) = (fs.root.tree().clone(), fs.used());
        let name = host_path("d").unwrap();
        let mut dir = fs.open_root();
        for _ in 0..DEPTH / 4 {
            dir.create_directory(&name).unwrap();
            for leaf in ["a", "z"] {
                dir.create(&host_path(leaf).unwrap()).unwrap().put(b"text", 0).unwrap();
            }
            dir = dir.find(&name, false).unwrap();
        }
        assert!(tree.used() > empty + DEPTH / 4 * 1024);
        drop((fs, dir));
        assert_eq!(tree.used(), 0);
    }

    #[test]
    fn a_tree_of_any_depth_is_let_go() {
        let fs = MemoryFs::new(1 << 30);
        let mut dir = fs.open_root();
        let name = host_path("d").unwrap();
        for _ in 0..DEPTH {
            dir.create_directory(&name).unwrap();
            dir = dir.find(&name, false).unwrap();
        }
        drop((fs, dir));
    }
}
