//! Where threads wait for each other: `memory.atomic.wait` and `memory.atomic.notify`.
//!
//! Used by the libcalls. A store's [`Parker`] is public so that another thread can interrupt the
//! wait. Waiters are keyed by host address, which is an identity because a shared memory never
//! moves and lives while a thread waits in it. Invariants: a waiter in a queue has not been
//! notified. Locks are taken queue first, then parker. Neither is held while the host is asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a store's thread sleeps on while its wasm waits.
#[derive(Default)]
pub struct Parker {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// Whether every wait ends at once.
    interrupted: bool,
    /// Whether the waiting thread must ask the host if it may continue.
    asked: bool,
}

/// How a wait ended. The first three numbers are those that the guest sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    Notified = 0,
    NotEqual = 1,
    TimedOut = 2,
    Interrupted = 3,
}

/// The waiters of all addresses with the same hash, in order of arrival.
type Queue = Mutex<Vec<Waiter>>;

struct Waiter {
    address: usize,
    parker: Arc<Parker>,
    /// Set under the parker's lock. Each wait has its own: code that the host runs when asked may wait too.
    notified: Arc<AtomicBool>,
}

/// There are many, so that unrelated locks of a program rarely share a queue.
static QUEUES: [Queue; 64] = [const { Mutex::new(Vec::new()) }; 64];

fn queue(address: usize) -> &'static Queue {
    // Neighbouring words go to different queues, and so does the same offset in different objects.
    let hash = (address as u64 >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
    &QUEUES[hash as usize]
}

/// Ignores poisoning: no code that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps until `address` is notified, unless `as_expected` returns false. `as_expected` is called under
/// the lock that [`notify`] takes, so a thread that changes the value and then notifies is not missed.
/// After [`Parker::ask`], `go_on` asks the host: if it returns false, the wait is interrupted.
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
            // A notification counted this wait before it could leave the queue.
            None => return Wait::Notified,
        }
    }
    end
}

/// Wakes at most `count` of the waiters at an address, in order of arrival. Returns how many.
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
        // A deadline that cannot be represented means no timeout.
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

    /// Makes the store's current wait and all later ones trap with `Interrupted`, or allows waiting
    /// again. It stays set because the thread may be just about to wait.
    pub fn set_interrupted(&self, interrupted: bool) {
        lock(&self.state).interrupted = interrupted;
        self.wake.notify_one();
    }

    /// Makes the waiting thread ask its host whether to continue, or the next wait do so if none waits now.
    pub(crate) fn ask(&self) {
        lock(&self.state).asked = true;
        self.wake.notify_one();
    }
}
