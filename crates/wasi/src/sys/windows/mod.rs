//! Windows, by cap-primitives, std and the crate `windows-calls`: one concept a file. See `../mod.rs` for what may
//! be here.
//!
//! Files, directories and standard streams are served. Sockets are not yet: a host that hands one in is told so.

mod calls;
mod clock;
mod directory;
mod errno;
mod file;
mod handle;
mod names;
mod open;
mod socket;
mod stat;
mod times;
mod wait;
mod watch;

pub use calls::Calls;
pub use clock::{clock_resolution, clock_time};
pub use directory::{read_directory, seek_directory};
pub use errno::errno_from_raw;
pub use file::{advise, allocate, datasync, seek, set_fdflags, set_size, sync, try_lock};
pub use handle::{BorrowedHandle, OwnedHandle, borrow, borrow_handle, inherit_stdio};
pub use names::{
    link_bytes, link_name, read_link_name, remove_directory_name, rename_name, symlink, unlink_name,
};
pub use open::{hold_directory, open, reopen_directory};
pub use socket::{accept, is_listening, shutdown};
pub use stat::{fstat, is_terminal, stat_name, stat_path};
pub use times::{set_times, set_times_of_name};
pub use wait::{Event, WriterProbe, readable_bytes, wait};
pub use watch::{read_watch, watch};
