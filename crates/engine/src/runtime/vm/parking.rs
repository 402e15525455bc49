//! Where threads wait for each other: `memory.atomic.wait` and `memory.atomic.notify`.
//!
//! Used by the libcalls; a store's [`Parker`] is public so that another thread can interrupt the
//! wait. Waiters are keyed by host address, which is an identity because a shared memory never
//! moves and lives while a thread waits in it. Invariants: who is in a queue has not been
//! notified; locks are taken queue first, then parker; neither is held while the host is asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the thread of a store sleeps on while its wasm waits.
#[derive(Default)]
pub struct Parker {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// Whether every wait ends at once.
    interrupted: bool,
    /// Whether who waits is to ask the host if it may go on.
    asked: bool,
}

/// How a wait ended. The first three are numbered as the guest sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    Notified = 0,
    NotEqual = 1,
    TimedOut = 2,
    Interrupted = 3,
}

/// Waiters of all addresses with the same hash, in the order in which they came.
type Queue = Mutex<Vec<Waiter>>;

struct Waiter {
    address: usize,
    parker: Arc<Parker>,
    /// Set under the parker's lock, of this wait alone: what the host runs when it is asked may wait, too.
    notified: Arc<AtomicBool>,
}

/// Many, so that unrelated locks of a program rarely meet in one.
static QUEUES: [Queue; 64] = [const { Mutex::new(Vec::new()) }; 64];

fn queue(address: usize) -> &'static Queue {
    // Neighbouring words, and the same place in different objects, go to different queues.
    let hash = (address as u64 >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
    &QUEUES[hash as usize]
}

/// No code that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps until `address` is notified, unless `as_expected` says no. It is asked under the lock
/// that [`notify`] takes, so who changes the value and then notifies is not missed. `go_on` is what the
/// host says when somebody has asked ([`Parker::ask`]): the wait is interrupted if it says no.
pub(crate) fn wait(
    parker: &Arc<Parker>,
    address: usize,
    as_expected: impl FnOnce() -> bool,
    timeout: Option<Duration>,
    go_on: impl Fn() -> bool,
) -> Wait {
    let notified = Arc::<AtomicBool>::default();
    let queue = queue(address);
    {
        let mut waiters = lock(queue);
        if !as_expected() {
            return Wait::NotEqual;
        }
        waiters.push(Waiter { address, parker: parker.clone(), notified: notified.clone() });
    }
    let end = parker.sleep(&notified, timeout, go_on);
    if end != Wait::Notified {
        let mut waiters = lock(queue);
        match waiters.iter().position(|waiter| Arc::ptr_eq(&waiter.notified, &notified)) {
            Some(place) => {
                waiters.remove(place);
            }
            // A notification counted us before we could leave.
            None => return Wait::Notified,
        }
    }
    end
}

/// Wakes at most `count` of those who wait at an address, the first who came first. Returns how
/// many.
pub(crate) fn notify(address: usize, count: u32) -> u32 {
    let mut woken = 0;
    lock(queue(address)).retain(|waiter| {
        let chosen = waiter.address == address && woken < count;
        if chosen {
            woken += 1;
            let _state = lock(&waiter.parker.state);
            waiter.notified.store(true, Ordering::Relaxed);
            waiter.parker.wake.notify_one();
        }
        !chosen
    });
    woken
}

impl Parker {
    fn sleep(&self, notified: &AtomicBool, timeout: Option<Duration>, go_on: impl Fn() -> bool) -> Wait {
        // A time too far to tell is never.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = lock(&self.state);
        loop {
            if notified.load(Ordering::Relaxed) {
                return Wait::Notified;
            }
            if state.interrupted {
                return Wait::Interrupted;
            }
            if std::mem::take(&mut state.asked) {
                drop(state);
                if !go_on() {
                    return Wait::Interrupted;
                }
                state = lock(&self.state);
                continue;
            }
            state = match deadline {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Wait::TimedOut;
                    }
                    self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Makes the store's current wait and all later ones trap with `Interrupted`, or lets it wait
    /// again. It stays set because the thread may just be on its way into a wait.
    pub fn set_interrupted(&self, interrupted: bool) {
        lock(&self.state).interrupted = interrupted;
        self.wake.notify_one();
    }

    /// Has the thread that waits, or the next time that it does, ask its host whether to go on.
    pub(crate) fn ask(&self) {
        lock(&self.state).asked = true;
        self.wake.notify_one();
    }
}
