//! How calls wait: for a descriptor or for time, so that one event can end any wait.
//!
//! At the ground; used by whatever blocks. Invariants: no lock is held while waiting; once
//! interrupted, a context stays interrupted until that is cleared, and every wait in it ends at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::alloc::vec_for;
use crate::errno::{Ending, Errno, Error};
use crate::sys::{self, BorrowedHandle, Interest, Readiness};

/// Ends the waits of a context, from any thread.
pub struct Interrupt {
    event: sys::Event,
    fired: AtomicBool,
    calls: sys::Calls,
}

impl Interrupt {
    pub fn fire(&self) {
        self.fired.store(true, Ordering::Release);
        self.event.set();
        self.calls.cancel();
    }

    /// Lets the context wait again. Only for a caller who knows that nobody fires it at the same time.
    pub fn clear(&self) {
        self.event.clear();
        self.fired.store(false, Ordering::Release);
    }

    pub fn has_fired(&self) -> bool {
        self.fired.load(Ordering::Acquire)
    }
}

/// Whose turn it is to read from a descriptor. Bytes that several threads see coming go to one of them, and the others
/// would then be in a call of the host's that nothing interrupts.
#[derive(Default)]
pub struct Turn {
    taken: Mutex<bool>,
    given_back: Condvar,
}

/// A thread's turn, until this is dropped.
pub struct Taken<'a>(&'a Turn);

/// How often a thread that waits for its turn looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

impl Turn {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if it is another thread's turn.
    pub fn try_take(&self) -> Option<Taken<'_>> {
        (!std::mem::replace(&mut *self.lock(), true)).then_some(Taken(self))
    }

    pub fn take(&self, waiter: &Waiter) -> Result<Taken<'_>, Error> {
        let mut taken = self.lock();
        while *taken {
            waiter.check()?;
            taken = self.given_back.wait_timeout(taken, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Ok(Taken(self))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.lock() = false;
        self.0.given_back.notify_one();
    }
}

/// How the calls of one context wait. It costs no descriptor until someone asks for the means to
/// interrupt.
#[derive(Default)]
pub struct Waiter {
    interrupt: Mutex<Option<Arc<Interrupt>>>,
    /// Whether there is one: most contexts have none, and their calls do not lock.
    armed: AtomicBool,
}

impl Waiter {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Interrupt>>> {
        self.interrupt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn interrupt(&self) -> Result<Arc<Interrupt>, Errno> {
        let mut interrupt = self.lock();
        if let Some(existing) = &*interrupt {
            return Ok(existing.clone());
        }
        let new = Arc::new(Interrupt {
            event: sys::Event::new()?,
            fired: AtomicBool::new(false),
            calls: sys::Calls::default(),
        });
        self.armed.store(true, Ordering::Release);
        Ok(interrupt.insert(new).clone())
    }

    /// Lets go of the interrupt: no wait ends by it from now on.
    pub fn disarm(&self) {
        let mut interrupt = self.lock();
        self.armed.store(false, Ordering::Release);
        interrupt.take();
    }

    fn present(&self) -> Option<Arc<Interrupt>> {
        if self.is_armed() { self.lock().clone() } else { None }
    }

    /// Whether waits have to watch for an interrupt.
    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Acquire)
    }

    pub fn check(&self) -> Result<(), Error> {
        match self.present() {
            Some(interrupt) if interrupt.has_fired() => Err(Ending::Interrupted.into()),
            _ => Ok(()),
        }
    }

    /// Makes a call that may wait although what it is for was ready, in such a way that an interrupt ends it.
    pub fn in_call<T>(&self, call: impl FnOnce() -> Result<T, Errno>) -> Result<Result<T, Errno>, Error> {
        if !sys::Calls::MAY_WAIT {
            return Ok(call());
        }
        let Some(interrupt) = self.present() else { return Ok(call()) };
        let _noted = interrupt.calls.enter()?;
        // Who fires later sees the note.
        match interrupt.has_fired() {
            true => Err(Ending::Interrupted.into()),
            false => Ok(call()),
        }
    }

    /// Waits for one descriptor, however long it takes.
    pub fn wait_for(&self, fd: BorrowedHandle<'_>, interest: Interest) -> Result<(), Error> {
        let mut found = Vec::new();
        self.wait(&[(fd, interest)], None, &mut found)
    }

    /// Waits for nothing but time, or the interrupt.
    pub fn pause(&self, duration: Duration) -> Result<(), Error> {
        let mut found = Vec::new();
        self.wait(&[], Some(duration), &mut found)
    }

    /// Waits until somebody has the other end of a named pipe open, or had.
    pub fn wait_for_writer(&self, pipe: BorrowedHandle<'_>) -> Result<(), Error> {
        let probe = sys::WriterProbe::new()?;
        let mut backoff = Backoff::default();
        let mut found = Vec::new();
        while !probe.has_writer(pipe)? {
            // Data wakes it, and a writer that goes, but not one that comes.
            let pause = Some(backoff.next());
            self.wait(&[(pipe, Interest::Read)], pause, &mut found)?;
            if found.iter().any(|readiness| readiness.ready) {
                break;
            }
        }
        Ok(())
    }

    /// Whether a descriptor is ready now.
    pub fn is_ready(&self, fd: BorrowedHandle<'_>, interest: Interest) -> Result<bool, Error> {
        let mut found = Vec::new();
        self.wait(&[(fd, interest)], Some(Duration::ZERO), &mut found)?;
        Ok(found.iter().any(|readiness| readiness.ready))
    }

    /// Waits until something is ready, the time is over, or a signal came.
    pub fn wait(
        &self,
        interests: &[(BorrowedHandle<'_>, Interest)],
        timeout: Option<Duration>,
        found: &mut Vec<Readiness>,
    ) -> Result<(), Error> {
        match self.present() {
            None => sys::wait(interests, timeout, found)?,
            Some(interrupt) => {
                let mut all = vec_for(interests.len() + 1)?;
                all.extend_from_slice(interests);
                all.push((interrupt.event.handle(), Interest::Read));
                sys::wait(&all, timeout, found)?;
                found.pop();
                self.check()?;
            }
        }
        Ok(())
    }
}

/// How long to pause between trials, briefly at first: for what the host cannot tell, or only by a wait
/// that cannot be interrupted.
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff(Duration::from_micros(100))
    }
}

impl Backoff {
    const LONGEST: Duration = Duration::from_millis(20);

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Backoff::LONGEST);
        pause
    }

    pub fn pause(&mut self, waiter: &Waiter) -> Result<(), Error> {
        waiter.pause(self.next())
    }
}
