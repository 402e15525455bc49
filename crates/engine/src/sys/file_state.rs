//! What tells whether a file is as it was.
//!
//! For the cache. `unix/` and `windows/` say how it is found out.

/// Which file something is, and in which state. Every change of its contents or attributes changes the state:
/// the system sets the time of change. On Unix nobody can set that back, and on Windows only a program that means to
/// deceive.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct FileState {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    /// Nanoseconds since 1970, as a note needs them for its own time.
    pub(super) modified: i64,
    pub(super) changed: i64,
}

impl FileState {
    /// Whether a change after this moment would have given the file another state. The clock of a file system
    /// has steps, so of a file that was changed just before nobody can tell.
    pub fn is_settled(&self, now: i64) -> bool {
        /// The longest step of the file systems in use (FAT), and a little for clocks that differ.
        const STEP: i64 = 3_000_000_000;
        self.changed.saturating_add(STEP) < now && self.modified.saturating_add(STEP) < now
    }
}
