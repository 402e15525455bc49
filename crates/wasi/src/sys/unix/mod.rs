//! Unix, by rustix and cap-primitives: one concept a file. See `../mod.rs` for what may be here.
//!
//! Run on Linux so far. For macOS it is compiled, and `portable.rs` has what takes the place of Linux's own calls.

mod calls;
mod clock;
#[cfg(target_os = "linux")]
mod directory;
mod errno;
#[cfg(target_os = "linux")]
mod event;
mod file;
mod handle;
mod names;
mod open;
#[cfg(any(not(target_os = "linux"), test))]
mod portable;
mod socket;
mod stat;
mod times;
mod wait;
mod watch;

pub use calls::Calls;
pub use clock::{clock_resolution, clock_time};
#[cfg(target_os = "linux")]
pub use directory::{read_directory, seek_directory};
pub use errno::errno_from_raw;
#[cfg(target_os = "linux")]
pub use event::Event;
#[cfg(target_os = "linux")]
pub use file::allocate;
pub use file::{advise, datasync, seek, set_fdflags, set_size, sync, try_lock};
pub use handle::{BorrowedHandle, OwnedHandle, borrow, borrow_handle, inherit_stdio};
pub use names::{
    link_bytes, link_name, read_link_name, remove_directory_name, rename_name, symlink, unlink_name,
};
pub use open::{hold_directory, open, reopen_directory};
#[cfg(not(target_os = "linux"))]
pub use portable::{Event, accept, allocate, is_listening, read_directory, seek_directory};
pub use socket::shutdown;
#[cfg(target_os = "linux")]
pub use socket::{accept, is_listening};
pub use stat::{fstat, is_terminal, stat_name, stat_path};
pub use times::{set_times, set_times_of_name};
pub use wait::{WriterProbe, readable_bytes, wait};
pub use watch::{read_watch, watch};
