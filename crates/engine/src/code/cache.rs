//! A directory of artifacts for later processes.
//!
//! Used by the code that makes modules. Invariants: an artifact from here runs only if the directory and the
//! file belong to this user, no other user can write to them, and every byte is as it was written. Any
//! failure (a full disk, an unreadable directory, another process in between) only means that the module is
//! compiled. A file is first written under another name, so a partial one is never visible.
//!
//! Anyone who can write to the directory as this user decides which code this user's programs run. See
//! SECURITY.md.

use super::artifact::{Artifact, Key};
use crate::sys::{self, Mmap};
use std::fs::{self, DirEntry, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// A directory of artifacts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cache {
    pub directory: PathBuf,
    /// The maximum total size of the files. The least recently used ones are removed first.
    pub max_bytes: u64,
}

/// The extensions of artifact files and of unfinished ones.
const EXTENSION: &str = "wncode";
const UNFINISHED: &str = "tmp";
/// An unfinished file of this age is abandoned.
const ABANDONED: Duration = Duration::from_secs(60 * 60);
/// The precision of a file's last use time: updating it is a write.
const NOTED: Duration = Duration::from_secs(60 * 60);

impl Cache {
    /// The artifact with this key.
    pub fn load(&self, key: &Key) -> Option<Artifact> {
        sys::check_private_directory(&self.directory).ok()?;
        let path = self.path(key);
        let (file, metadata) = sys::open_private_file(&path).ok()?;
        let memory = Mmap::of_file(&file, usize::try_from(metadata.len()).ok()?).ok()?;
        match Artifact::open(memory, key) {
            Ok(artifact) => {
                note_use(&file, &metadata);
                Some(artifact)
            }
            Err(_) => {
                // It would be rejected again. Artifacts of other versions have other names.
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// Stores an artifact, if possible.
    pub fn store(&self, artifact: &Artifact) {
        if artifact.len() as u64 > self.max_bytes / 2 {
            return;
        }
        if self.write(artifact).is_ok() {
            self.evict();
        }
    }

    fn write(&self, artifact: &Artifact) -> io::Result<()> {
        sys::create_private_directory(&self.directory)?;
        sys::check_private_directory(&self.directory)?;
        static WRITTEN: AtomicU32 = AtomicU32::new(0);
        let path = self.path(artifact.key());
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let unfinished = path.with_extension(format!("{}-{number}.{UNFINISHED}", std::process::id()));
        let written = (|| {
            let mut file = BufWriter::new(sys::create_private_file(&unfinished)?);
            artifact.write(&mut file)?;
            file.flush()?;
            fs::rename(&unfinished, &path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    fn path(&self, key: &Key) -> PathBuf {
        let hash = blake3::hash(bytemuck::bytes_of(key)).to_hex();
        self.directory.join(&hash[..32]).with_extension(EXTENSION)
    }

    /// Frees space until a part is unused, so that not every new file removes another one.
    fn evict(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let now = SystemTime::now();
        let mut files = Vec::new();
        for entry in entries.flatten() {
            let Some((file, is_unfinished)) = OldFile::of(&entry) else { continue };
            let age = now.duration_since(file.used).unwrap_or_default();
            if is_unfinished && age > ABANDONED {
                let _ = fs::remove_file(&file.path);
            } else if !is_unfinished {
                files.push(file);
            }
        }
        let mut total: u64 = files.iter().map(|file| file.len).sum();
        if total <= self.max_bytes {
            return;
        }
        files.sort_by_key(|file| file.used);
        for file in files {
            if total <= self.max_bytes / 4 * 3 {
                break;
            }
            // A process that has the file mapped keeps it.
            if fs::remove_file(&file.path).is_ok() {
                total -= file.len;
            }
        }
    }
}

struct OldFile {
    path: PathBuf,
    len: u64,
    used: SystemTime,
}

impl OldFile {
    /// One of our files, and whether it is unfinished. Other files in the directory are left alone.
    fn of(entry: &DirEntry) -> Option<(OldFile, bool)> {
        let path = entry.path();
        let extension = path.extension()?;
        let is_unfinished = extension == UNFINISHED;
        if !is_unfinished && extension != EXTENSION {
            return None;
        }
        let metadata = entry.metadata().ok().filter(|metadata| metadata.is_file())?;
        Some((OldFile { len: metadata.len(), used: metadata.modified().ok()?, path }, is_unfinished))
    }
}

/// The modification time is used as the time of the last use.
fn note_use(file: &File, metadata: &fs::Metadata) {
    let now = SystemTime::now();
    let known = metadata.modified().ok().and_then(|used| now.duration_since(used).ok());
    if known.is_none_or(|age| age > NOTED) {
        let _ = file.set_modified(now);
    }
}
