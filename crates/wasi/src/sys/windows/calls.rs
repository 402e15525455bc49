//! Calls that wait although what they are for seemed ready, and how other threads end them.
//!
//! A pipe takes a write at once and keeps the writer until somebody has read enough; a console that has a key keeps the
//! reader until there is a line. Invariant: a thread is noted while it is in such a call, and no longer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use windows_calls::Thread;

use crate::errno::Errno;

/// How often a thread is asked to leave its call, and how often without a pause. It may have been noted and not be in the
/// call yet, and there are devices whose calls cannot be ended.
const TRIALS: usize = 100;
const AT_ONCE: usize = 50;
const PAUSE: Duration = Duration::from_millis(1);

/// The calls of one context that are under way.
#[derive(Default)]
pub struct Calls(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    threads: Vec<(u64, Thread)>,
    next: u64,
}

/// A thread is noted as long as this lives.
pub struct InCall<'a> {
    calls: &'a Calls,
    number: u64,
}

impl Calls {
    /// Whether calls have to be noted.
    pub const MAY_WAIT: bool = true;

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the calling thread. Whether the call is still wanted has to be asked after that.
    pub fn enter(&self) -> Result<InCall<'_>, Errno> {
        let thread = Thread::current()?;
        let mut noted = self.lock();
        noted.threads.try_reserve(1).map_err(|_| Errno::Nomem)?;
        let number = noted.next;
        noted.next += 1;
        noted.threads.push((number, thread));
        Ok(InCall { calls: self, number })
    }

    /// Ends all calls that are under way.
    pub fn cancel(&self) {
        for trial in 0..TRIALS {
            let noted = self.lock();
            if noted.threads.is_empty() {
                return;
            }
            for (_, thread) in &noted.threads {
                thread.cancel_call();
            }
            drop(noted);
            if trial < AT_ONCE { thread::yield_now() } else { thread::sleep(PAUSE) }
        }
    }
}

impl Drop for InCall<'_> {
    fn drop(&mut self) {
        self.calls.lock().threads.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc;
    use std::time::Duration;

    use crate::errno::{Ending, Error};
    use crate::fs::file::OpenFile;
    use crate::wait::Waiter;
    use guest_memory::GuestMemory;

    #[test]
    fn a_write_to_a_pipe_that_nobody_reads_is_ended_by_the_interrupt() {
        // The reader is there, and does not read.
        let (_reader, writer) = io::pipe().unwrap();
        let file = OpenFile::inherited(writer.into()).unwrap();
        let waiter = Waiter::default();
        let interrupt = waiter.interrupt().unwrap();
        let (tell, told) = mpsc::channel();
        let guest = std::thread::spawn(move || {
            // One buffer, of all that follows its description.
            let mut bytes = vec![0; 1 << 20];
            bytes[..4].copy_from_slice(&8u32.to_le_bytes());
            bytes[4..8].copy_from_slice(&((1 << 20) - 8u32).to_le_bytes());
            let memory = GuestMemory::from_slice(&mut bytes);
            loop {
                tell.send(()).unwrap();
                if let Err(error) = file.write(&memory.iovecs(0, 1, 1).unwrap(), &waiter) {
                    return error;
                }
            }
        });
        told.recv().unwrap();
        std::thread::sleep(Duration::from_millis(200));
        interrupt.fire();
        assert!(matches!(guest.join().unwrap(), Error::Ending(Ending::Interrupted)));
    }
}
