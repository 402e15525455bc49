//! Where a test's files are: in a directory of the host or in memory, set up
//! and looked at in the same words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;
use wasi::{MemoryFs, Perms, WasiCtx, WasiCtxBuilder};

use super::{FOLLOW, Guest, ROOT, preopen};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    Host,
    Memory,
}

/// Runs a test on both.
pub fn on_each(test: fn(Back)) {
    test(Back::Host);
    test(Back::Memory);
}

pub enum Disk {
    Host(TempDir),
    Memory(MemoryFs),
}

impl Disk {
    pub fn new(back: Back) -> Disk {
        match back {
            Back::Host => Disk::Host(tempfile::tempdir().unwrap()),
            Back::Memory => Disk::Memory(MemoryFs::new(1 << 30)),
        }
    }

    pub fn mount(&self, builder: WasiCtxBuilder, path: &str, perms: Perms) -> WasiCtxBuilder {
        match self {
            Disk::Host(dir) => builder.preopen(preopen(dir.path(), path, perms)),
            Disk::Memory(fs) => builder.preopen_memory(fs.clone(), path.to_owned(), perms),
        }
    }

    pub fn guest(&self, perms: Perms) -> Guest {
        Guest::with(self.mount(WasiCtx::builder(), "/", perms))
    }

    pub fn write(&self, path: impl AsRef<str>, bytes: impl AsRef<[u8]>) {
        let (path, bytes) = (path.as_ref(), bytes.as_ref());
        match self {
            Disk::Host(dir) => std::fs::write(dir.path().join(path), bytes).unwrap(),
            Disk::Memory(fs) => fs.set_file(path, bytes).unwrap(),
        }
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        match self {
            Disk::Host(dir) => std::fs::read(dir.path().join(path)).unwrap(),
            Disk::Memory(fs) => fs.read_file(path).unwrap(),
        }
    }

    pub fn mkdir(&self, path: &str) {
        match self {
            Disk::Host(dir) => std::fs::create_dir_all(dir.path().join(path)).unwrap(),
            Disk::Memory(fs) => fs.create_directory(path).unwrap(),
        }
    }

    pub fn symlink(&self, contents: impl AsRef<str>, path: &str) {
        let contents = contents.as_ref();
        match self {
            Disk::Host(dir) => std::os::unix::fs::symlink(contents, dir.path().join(path)).unwrap(),
            Disk::Memory(fs) => fs.set_link(path, contents).unwrap(),
        }
    }

    /// An absolute path that leads there, as far as there is one.
    pub fn absolute(&self, path: &str) -> String {
        match self {
            Disk::Host(dir) => dir.path().join(path).display().to_string(),
            Disk::Memory(_) => format!("/{path}"),
        }
    }

    pub fn paths(&self, below: &str) -> Vec<String> {
        let all = match self {
            Disk::Memory(fs) => fs.paths().unwrap(),
            Disk::Host(dir) => {
                let (mut paths, mut todo) = (Vec::new(), vec![PathBuf::new()]);
                while let Some(below) = todo.pop() {
                    for entry in std::fs::read_dir(dir.path().join(&below)).unwrap() {
                        let entry = entry.unwrap();
                        let path = below.join(entry.file_name());
                        if entry.file_type().unwrap().is_dir() {
                            todo.push(path.clone());
                        }
                        paths.push(path.display().to_string());
                    }
                }
                paths
            }
        };
        all.into_iter().filter(|path| path.starts_with(below)).collect()
    }

    /// Names, contents, times and links of what lies below, to see that
    /// nothing changed.
    pub fn snapshot(&self, below: &str) -> BTreeMap<String, (Vec<u8>, u64, u64)> {
        let mut guest = self.guest(Perms::READ_ONLY);
        let mut all = BTreeMap::new();
        for path in self.paths(below) {
            let path = path.trim_end_matches('/').to_owned();
            let stat = guest.stat_in(ROOT, &path, 0).unwrap();
            let contents = match stat.filetype {
                4 => self.read(&path),
                _ => Vec::new(),
            };
            all.insert(path, (contents, stat.mtim, stat.nlink));
        }
        let root = guest.stat_in(ROOT, below, FOLLOW).unwrap();
        all.insert(String::new(), (Vec::new(), root.mtim, root.nlink));
        all
    }
}
