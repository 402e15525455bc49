//! Who is told of the calls of a program, and what.
//!
//! `abi/trace.rs` puts calls in words. Invariant: a program waits while nobody takes its lines, and
//! that wait can be interrupted as any other.

use std::borrow::Cow;
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
        self.line(f, &self.arguments, &self.results)
    }
}

impl TracedCall {
    /// The longest line that [`TracedCall::short`] gives.
    pub const SHORT: usize = 200;

    /// The line as it fits on a screen: what is too long of arguments and results is left out, the outcome never.
    pub fn short(&self) -> String {
        let whole = self.to_string();
        if whole.chars().nth(TracedCall::SHORT).is_none() {
            return whole;
        }
        let given: usize = [&self.arguments, &self.results].map(|text| text.chars().count()).iter().sum();
        let room = (TracedCall::SHORT + given).saturating_sub(whole.chars().count());
        let results = cut(&self.results, room.saturating_sub(self.arguments.chars().count()).max(room / 2));
        let arguments = cut(&self.arguments, room.saturating_sub(results.chars().count()));
        let mut line = String::new();
        // Writing to a string cannot fail.
        let _ = self.line(&mut line, &arguments, &results);
        line
    }

    fn line(&self, f: &mut impl fmt::Write, arguments: &str, results: &str) -> fmt::Result {
        write!(f, "{}({arguments}) = ", self.name)?;
        match self.outcome {
            Ok(()) => f.write_str(Errno::Success.name())?,
            Err(Error::Errno(errno)) => f.write_str(errno.name())?,
            Err(Error::Ending(Ending::Exit(_))) => f.write_str("?")?,
            Err(Error::Ending(Ending::Interrupted)) => f.write_str("? (interrupted)")?,
            Err(Error::Ending(Ending::OutputLimit(_))) => f.write_str("? (more than is captured)")?,
        }
        if !results.is_empty() {
            write!(f, ", {results}")?;
        }
        Ok(())
    }
}

/// The beginning of a text, with dots in the place of the rest.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    const DOTS: &str = "...";
    if text.chars().nth(most).is_none() {
        return Cow::Borrowed(text);
    }
    let begin: String = text.chars().take(most.saturating_sub(DOTS.len())).collect();
    Cow::Owned(begin + DOTS)
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
