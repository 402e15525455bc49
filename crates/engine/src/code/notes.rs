//! What earlier processes found out about files, so that this one need not read them: that an artifact is as it
//! was written, and which module a file has.
//!
//! Used by `cache.rs`. A note is a small file beside the artifacts. It names the state of the file that it is
//! about, and one about the module in a file has that file's path at its end, for people. Invariant: a note counts only if the file is in that state now, and if a later change would have given
//! it another one ([`FileState::is_settled`]). Like the artifacts, notes are this user's alone.

use super::cache::write_whole;
use crate::sys::{self, FileState};
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use twox_hash::XxHash3_64;

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Note {
    magic: [u8; 8],
    /// Covers everything after it.
    checksum: u64,
    fact: Fact,
}

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Fact {
    /// What the note is about: the key of the artifact, or the hash of the path.
    subject: [u8; 32],
    state: FileState,
    /// When the file was looked at, in nanoseconds since 1970.
    at: i64,
    /// The hash of the module in the file.
    module: [u8; 32],
}

const MAGIC: [u8; 8] = *b"wn-note\0";
/// More than a note with the longest path has.
const LONGEST: u64 = 16 << 10;

/// Nanoseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The module that a file in this state has, according to the note at `path`.
pub fn read(path: &Path, subject: &[u8; 32], state: &FileState) -> Option<[u8; 32]> {
    let (mut file, _) = sys::open_private_file(path).ok()?;
    let mut bytes = [0; size_of::<Note>()];
    file.read_exact(&mut bytes).ok()?;
    let note: Note = bytemuck::pod_read_unaligned(&bytes);
    let intact = note.magic == MAGIC && note.checksum == checksum(&note.fact);
    let Fact { subject: about, state: then, at, module } = note.fact;
    (intact && about == *subject && then == *state && state.is_settled(at)).then_some(module)
}

/// What a note says to people: the module, and the hash and bytes of the path that it is about, if it has one.
pub struct Told {
    pub module: [u8; 32],
    pub subject: [u8; 32],
    pub about: Vec<u8>,
}

/// What the note at `path` says, whether it counts now or not.
pub fn tell(path: &Path) -> Option<Told> {
    let (file, _) = sys::open_private_file(path).ok()?;
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).ok()?;
    let (note, about) = bytes.split_at_checked(size_of::<Note>())?;
    let note: Note = bytemuck::pod_read_unaligned(note);
    let intact = note.magic == MAGIC && note.checksum == checksum(&note.fact);
    let Fact { subject, module, .. } = note.fact;
    intact.then(|| Told { module, subject, about: about.to_vec() })
}

/// Writes a note, if possible and if it could ever count. `about` is for people.
pub fn write(path: &Path, subject: &[u8; 32], state: &FileState, at: i64, module: &[u8; 32], about: &[u8]) {
    if state.is_settled(at) {
        let fact = Fact { subject: *subject, state: *state, at, module: *module };
        let note = Note { magic: MAGIC, checksum: checksum(&fact), fact };
        // Without it, the file is read the next time.
        let _ = write_whole(path, |file| {
            file.write_all(bytemuck::bytes_of(&note))?;
            file.write_all(about)
        });
    }
}

fn checksum(fact: &Fact) -> u64 {
    XxHash3_64::oneshot(bytemuck::bytes_of(fact))
}
