//! A directory of artifacts for later processes.
//!
//! Used by the code that makes modules. Invariants: an artifact from here runs only if the directory and the
//! file belong to this user, no other user can write to them, and every byte is as it was written. That the
//! bytes are so is checked once for each state of the file, and noted (`notes.rs`). Any failure (a full disk, an unreadable directory, another process in between) only means that the module is
//! compiled. A file is first written under another name, so a partial one is never visible. Only files of pieces grow
//! where they are, by segments that are checked on their own.
//!
//! Anyone who can write to the directory as this user decides which code this user's programs run. See
//! SECURITY.md.

use super::artifact::{Artifact, Attached, Key};
use super::notes;
use super::pieces::{self, Piece, Pieces};
use crate::bytes::ModuleBytes;
use crate::sys::{self, FileState, Mmap};
use std::fs::{self, DirEntry, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A directory of artifacts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cache {
    pub directory: PathBuf,
    /// The maximum total size of the files. The least recently used ones are removed first.
    pub max_bytes: u64,
}

/// The extensions of artifact files, of notes, and of unfinished files.
pub const EXTENSION: &str = "wncode";
pub const NOTE: &str = "wnnote";
/// The extensions of files of incomplete modules: functions that were called, and others.
pub const CALLED: &str = "wnpart";
pub const OTHERS: &str = "wnrest";
const UNFINISHED: &str = "tmp";
/// An unfinished file of this age is abandoned.
const ABANDONED: Duration = Duration::from_secs(60 * 60);
/// The precision of a file's last use time: updating it is a write.
const NOTED: Duration = Duration::from_secs(60 * 60);
/// The space that a file takes at least.
const BLOCK: u64 = 4096;

impl Cache {
    /// The artifact with this key, and its file. `verified_only` says that it is only wanted if there is a note
    /// that it is as it was written. Then this takes no longer for a larger one.
    pub fn load(&self, key: &Key, verified_only: bool) -> Option<(Artifact, File)> {
        sys::check_private_directory(&self.directory).ok()?;
        let at = notes::now();
        let path = self.path(key);
        let (file, metadata) = sys::open_private_file(&path).ok()?;
        let (note, subject, state) = (path.with_extension(NOTE), digest(key), FileState::of(&file).ok()?);
        let verified = notes::read(&note, &subject, &state).is_some();
        if verified_only && !verified {
            return None;
        }
        let memory = Mmap::of_file(&file, usize::try_from(metadata.len()).ok()?).ok()?;
        match Artifact::open(memory, key, verified) {
            Ok(artifact) => {
                if verified {
                    note_use(&note);
                } else if state.is_settled(at) {
                    notes::write(&note, &subject, &state, at, &key.module, &[]);
                } else {
                    note_use(&path);
                }
                Some((artifact, file))
            }
            Err(_) => {
                // It would be rejected again. Artifacts of other versions have other names.
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// A module's bytes in a file without a name, which [`Cache::store`] makes that of an artifact without code. `fill`
    /// writes them, up to `len`, and returns how many there are. `None` if the system has no such files here.
    pub fn file_for(
        &self,
        len: usize,
        fill: impl FnOnce(&mut File) -> io::Result<u64>,
    ) -> Option<ModuleBytes> {
        if len < ModuleBytes::LARGE || !self.takes(len) {
            return None;
        }
        let start = Artifact::module_in_empty();
        let make = || -> io::Result<ModuleBytes> {
            let mut file = sys::unnamed_file(&self.directory)?;
            file.seek(SeekFrom::Start(start as u64))?;
            let count = fill(&mut file)?;
            ModuleBytes::in_file(file, start..start + count as usize)
        };
        make().ok()
    }

    /// Stores an artifact, if possible.
    pub fn store(&self, artifact: &Artifact, attached: &Attached<'_>) -> bool {
        if artifact.written_len(attached) as u64 > self.max_bytes / 2 {
            return false;
        }
        let path = self.path(artifact.key());
        let written = self.make_directory().and_then(|()| {
            let named = attached.module.file().filter(|_| artifact.text().is_empty()).is_some_and(|file| {
                let written = artifact.write_around(attached, file);
                written.and_then(|()| replace_whole(&path, |path| sys::name_file(file, path))).is_ok()
            });
            if named { Ok(()) } else { write_whole(&path, |file| artifact.write(attached, file)) }
        });
        if written.is_ok() {
            // They are all in the artifact.
            for extension in [CALLED, OTHERS] {
                let _ = fs::remove_file(self.file(&digest(artifact.key()), extension));
            }
            self.evict();
        }
        written.is_ok()
    }

    /// Whether an artifact with a module of so many bytes can be stored, as far as can be known.
    pub fn takes(&self, len: usize) -> bool {
        len as u64 <= self.max_bytes / 4 && self.make_directory().is_ok() && sys::can_write(&self.directory)
    }

    /// Removes an artifact.
    pub fn remove(&self, key: &Key) {
        let path = self.path(key);
        let _ = fs::remove_file(path.with_extension(NOTE));
        let _ = fs::remove_file(path);
    }

    /// The hash of the module in a file that is now in this state, if an earlier process has read it.
    pub fn module_in(&self, path: &Path, state: &FileState) -> Option<[u8; 32]> {
        sys::check_private_directory(&self.directory).ok()?;
        let subject = digest_of_path(path);
        let note = self.file(&subject, NOTE);
        let module = notes::read(&note, &subject, state)?;
        note_use(&note);
        Some(module)
    }

    /// Notes which module is in a file. `at` is from [`notes::now`], before the file was opened.
    pub fn note_module(&self, path: &Path, state: &FileState, at: i64, module: &[u8; 32]) {
        if state.is_settled(at) && self.make_directory().is_ok() {
            let subject = digest_of_path(path);
            let about = path.as_os_str().as_encoded_bytes();
            notes::write(&self.file(&subject, NOTE), &subject, state, at, module, about);
        }
    }

    /// The functions of an incomplete module with this key: those that were called, or others.
    pub fn load_pieces(&self, key: &Key, called: bool) -> Pieces {
        self.try_load_pieces(key, called).unwrap_or_default()
    }

    fn try_load_pieces(&self, key: &Key, called: bool) -> io::Result<Pieces> {
        sys::check_private_directory(&self.directory)?;
        let path = self.pieces(key, called);
        let (file, metadata) = sys::open_private_file(&path)?;
        let memory = Mmap::of_file(&file, usize::try_from(metadata.len()).unwrap_or(usize::MAX))?;
        let mut pieces = pieces::read(&Arc::new(memory), key);
        if !pieces.is_whole {
            // If another process writes now, it is good later.
            pieces.is_whole = file.try_lock().is_err();
            // The mapping would keep the lock.
            file.unlock()?;
        }
        Ok(pieces)
    }

    /// Adds functions of an incomplete module to those that are stored, if possible.
    pub fn add_pieces(&self, key: &Key, called: bool, pieces: &[Piece]) {
        const MEGABYTE: u64 = 1 << 20;
        let add = || -> io::Result<()> {
            self.make_directory()?;
            let (file, metadata) = sys::append_private_file(&self.pieces(key, called))?;
            // The bytes of two processes would mix. The other one has much the same to store.
            file.try_lock()?;
            let len = metadata.len() + pieces::written_len(pieces) as u64;
            if len > self.max_bytes / 2 {
                return Ok(());
            }
            let mut out = BufWriter::new(file);
            pieces::write(key, pieces, &mut out)?;
            out.flush()?;
            if metadata.len().div_ceil(MEGABYTE) < len.div_ceil(MEGABYTE) {
                self.evict();
            }
            Ok(())
        };
        // A part of a segment is not used, and the next reader writes the file anew.
        let _ = add();
    }

    /// Stores functions of an incomplete module in the place of those that are stored, if possible.
    pub fn replace_pieces(&self, key: &Key, called: bool, pieces: &[Piece]) {
        let path = self.pieces(key, called);
        let written =
            self.make_directory().and_then(|()| write_whole(&path, |file| pieces::write(key, pieces, file)));
        if written.is_ok() {
            self.evict();
        }
    }

    fn make_directory(&self) -> io::Result<()> {
        sys::create_private_directory(&self.directory)?;
        sys::check_private_directory(&self.directory)
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.file(&digest(key), EXTENSION)
    }

    fn pieces(&self, key: &Key, called: bool) -> PathBuf {
        self.file(&digest(key), if called { CALLED } else { OTHERS })
    }

    fn file(&self, digest: &[u8; 32], extension: &str) -> PathBuf {
        let name = blake3::Hash::from_bytes(*digest).to_hex();
        self.directory.join(&name[..32]).with_extension(extension)
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
                let _ = fs::remove_file(file.path.with_extension(NOTE));
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
        if !is_unfinished && ![EXTENSION, NOTE, CALLED, OTHERS].iter().any(|own| extension == *own) {
            return None;
        }
        let metadata = entry.metadata().ok().filter(|metadata| metadata.is_file())?;
        // Once there is a note, it is what each use touches: a touched artifact would be in another state.
        let noted = fs::metadata(path.with_extension(NOTE)).and_then(|metadata| metadata.modified());
        let used = metadata.modified().ok()?.max(noted.unwrap_or(UNIX_EPOCH));
        // A small file takes a block.
        Some((OldFile { len: metadata.len().max(BLOCK), used, path }, is_unfinished))
    }
}

/// The modification time is used as the time of the last use.
fn note_use(path: &Path) {
    let now = SystemTime::now();
    let known = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if known.and_then(|used| now.duration_since(used).ok()).is_none_or(|age| age > NOTED) {
        let _ = File::open(path).and_then(|file| file.set_modified(now));
    }
}

/// Writes a file that is not visible before it is complete.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    replace_whole(path, |unfinished| {
        let mut file = BufWriter::new(sys::create_private_file(unfinished)?);
        write(&mut file)?;
        file.flush()
    })
}

/// Puts a file in the place of another one. `make` makes it under another name.
fn replace_whole(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let unfinished = path.with_extension(format!("{}-{number}.{UNFINISHED}", std::process::id()));
    let made = make(&unfinished).and_then(|()| fs::rename(&unfinished, path));
    if made.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    made
}

fn digest(key: &Key) -> [u8; 32] {
    *blake3::hash(bytemuck::bytes_of(key)).as_bytes()
}

fn digest_of_path(path: &Path) -> [u8; 32] {
    digest_of_path_bytes(path.as_os_str().as_encoded_bytes())
}

/// What notes about a path are about.
pub fn digest_of_path_bytes(path: &[u8]) -> [u8; 32] {
    *blake3::hash(&[b"path ", path].concat()).as_bytes()
}
