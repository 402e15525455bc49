//! Who is told of the calls of a program, and what.
//!
//! `abi/trace.rs` puts calls in words. Invariant: a program waits while nobody takes its lines, and
//! that wait can be interrupted as any other.

use std::fmt;
use std::sync::Arc;

use crate::errno::{Ending, Errno, Error};
use crate::wait::{Backoff, Waiter};

/// One call that has ended. Displayed, it is a line without the newline:
/// `path_open(fd: 3, path: "f", ...) = ESUCCESS, opened_fd: 4`.
pub struct TracedCall {
    pub module: &'static str,
    pub name: &'static str,
    /// The decoded arguments, separated by commas.
    pub arguments: String,
    pub outcome: Result<(), Error>,
    /// What the call wrote to its result pointers, in the same way.
    pub results: String,
}

impl fmt::Display for TracedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}) = ", self.name, self.arguments)?;
        match self.outcome {
            Ok(()) => f.write_str(Errno::Success.name())?,
            Err(Error::Errno(errno)) => f.write_str(errno.name())?,
            Err(Error::Ending(Ending::Exit(_))) => f.write_str("?")?,
            Err(Error::Ending(Ending::Interrupted)) => f.write_str("? (interrupted)")?,
            Err(Error::Ending(Ending::OutputLimit(_))) => f.write_str("? (more than is captured)")?,
        }
        if !self.results.is_empty() {
            write!(f, ", {}", self.results)?;
        }
        Ok(())
    }
}

/// Takes each call of a context, on the thread that made it.
pub type TraceSink = Arc<dyn Fn(&TracedCall) + Send + Sync>;

/// Whether a sink takes another call now.
pub type TraceRoom = Arc<dyn Fn() -> bool + Send + Sync>;

/// Who is told of the calls of a context.
#[derive(Clone)]
pub struct Trace {
    pub sink: TraceSink,
    pub room: Option<TraceRoom>,
}

impl Trace {
    /// Waits until the sink takes another call: a program may call more quickly than anybody reads.
    pub fn wait_for_room(&self, waiter: &Waiter) -> Result<(), Error> {
        let Some(room) = &self.room else { return Ok(()) };
        let mut backoff = Backoff::default();
        while !room() {
            backoff.pause(waiter)?;
        }
        Ok(())
    }
}
