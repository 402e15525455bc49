//! Files and directories: paths, what can be done with what is open, and the back ends in memory and
//! on the host.

pub mod dir;
pub mod file;
pub mod host;
pub mod memory;
pub mod path;
pub mod sock;
