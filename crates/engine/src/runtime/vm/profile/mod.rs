//! Samples what guests do, on all threads that run them: a [`Profiler`] makes a [`Profile`].
//!
//! Public. One runs at a time in a process. A thread of its own interrupts the threads that have stores, as often
//! as asked, and only those that were on a processor meanwhile: so nobody who waits is woken. Invariants: the
//! interrupted thread takes no lock and allocates nothing (`sample.rs`), and reads nothing but its own stack. Code
//! is kept as long as a profiler runs, so addresses are looked up at the end.

mod report;
mod sample;
mod tree;

pub use report::{Node, Profile, ProfiledFunction, ProfiledThread};

use crate::code::registry;
use crate::sys;
use sample::{Membership, Slot};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use tree::Tree;

/// Whether a profiler runs: what a new store looks at.
static RUNS: AtomicBool = AtomicBool::new(false);
/// The one that runs. The signal, whose handler has no argument, is the whole process's, too.
static RUNNING: Mutex<Option<Arc<Shared>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Samples until it is told to stop.
pub struct Profiler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    began: Instant,
    interval: Duration,
    state: Mutex<State>,
    stop: Condvar,
}

#[derive(Default)]
struct State {
    stopped: bool,
    threads: Vec<Sampled>,
}

/// A thread, and what is known of it.
struct Sampled {
    slot: Arc<Slot>,
    /// `None` when it has ended.
    thread: Option<sys::Thread>,
    name: Option<String>,
    /// How long it had been running when it was looked at.
    cpu_time: Option<u64>,
    /// When it was interrupted, in nanoseconds since the beginning.
    interrupted: u64,
    tree: Tree,
}

impl Profiler {
    /// Samples the calling thread, and all that make a store from now on.
    ///
    /// # Errors
    /// If one runs, or the system cannot do it.
    pub fn start(interval: Duration) -> io::Result<Profiler> {
        sys::install_sampling_handler(sample::take)?;
        let mut running = lock(&RUNNING);
        if running.is_some() {
            return Err(io::Error::other("this process is being profiled"));
        }
        let shared = Arc::new(Shared {
            began: Instant::now(),
            interval: interval.max(Duration::from_micros(50)),
            state: Mutex::default(),
            stop: Condvar::new(),
        });
        let of_thread = shared.clone();
        let thread = Builder::new().name("wasi-native profiler".into()).spawn(move || of_thread.serve())?;
        registry::keep_code();
        *running = Some(shared.clone());
        RUNS.store(true, Ordering::Release);
        drop(running);
        join();
        Ok(Profiler { shared, thread: Some(thread) })
    }

    /// Ends it: what was seen.
    pub fn stop(mut self) -> Profile {
        self.end();
        let threads = std::mem::take(&mut lock(&self.shared.state).threads);
        let ended = self.shared.began.elapsed();
        report::report(threads.into_iter().map(|thread| (thread.name, thread.tree)), ended)
    }

    fn end(&mut self) {
        lock(&self.shared.state).stopped = true;
        self.shared.stop.notify_all();
        if let Some(thread) = self.thread.take() {
            // If it has panicked, what it has seen until then is there.
            let _ = thread.join();
        }
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        self.end();
        let mut running = lock(&RUNNING);
        RUNS.store(false, Ordering::Release);
        *running = None;
        registry::free_code();
    }
}

/// Has the calling thread sampled until it ends, if a profiler runs. For threads that make a store.
pub(crate) fn join() {
    if !RUNS.load(Ordering::Acquire) {
        return;
    }
    let Some(shared) = lock(&RUNNING).clone() else { return };
    // A thread whose clock nobody knows is not sampled.
    let Ok(thread) = sys::Thread::current() else { return };
    let Some(slot) = Membership::begin(&shared) else { return };
    let name = std::thread::current().name().map(String::from);
    let (cpu_time, interrupted, tree) = (None, 0, Tree::default());
    lock(&shared.state).threads.push(Sampled {
        slot,
        thread: Some(thread),
        name,
        cpu_time,
        interrupted,
        tree,
    });
}

impl Shared {
    /// The thread of this slot ends. When this returns nobody interrupts it.
    fn leave(&self, slot: &Arc<Slot>) {
        let mut state = lock(&self.state);
        let mut threads = state.threads.iter_mut();
        if let Some(thread) = threads.find(|thread| Arc::ptr_eq(&thread.slot, slot)) {
            thread.thread = None;
            thread.collect();
            thread.tree.add(self.now(), &[tree::IDLE]);
        }
    }

    /// Nanoseconds since the beginning.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn serve(&self) {
        let mut state = lock(&self.state);
        let mut next = Instant::now();
        while !state.stopped {
            state.threads.iter_mut().for_each(|thread| thread.look(self.now(), self.interval));
            // What was missed, because the machine was busy, is not made up for.
            next = (next + self.interval).max(Instant::now());
            while !state.stopped && Instant::now() < next {
                let left = next.saturating_duration_since(Instant::now());
                state = self.stop.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        state.threads.iter_mut().for_each(Sampled::collect);
    }
}

impl Sampled {
    /// Takes what the thread has noted since, and interrupts it again if it has been running.
    fn look(&mut self, now: u64, interval: Duration) {
        self.collect();
        let Some(thread) = self.thread.as_ref().filter(|_| self.slot.is_free()) else { return };
        // SAFETY: a thread leaves, under the lock that our caller holds, before it ends.
        let cpu_time = unsafe { thread.cpu_time() };
        let before = std::mem::replace(&mut self.cpu_time, cpu_time);
        // To be interrupted takes some time itself.
        let little = u64::try_from(interval.as_nanos() / 8).unwrap_or(0);
        if cpu_time.zip(before).is_some_and(|(now, before)| now.saturating_sub(before) < little) {
            self.tree.add(now, &[tree::IDLE]);
            return;
        }
        self.interrupted = now;
        self.slot.ask();
        // SAFETY: as above.
        if !unsafe { thread.interrupt() } {
            self.thread = None;
        }
    }

    fn collect(&mut self) {
        let (tree, at) = (&mut self.tree, self.interrupted);
        self.slot.collect(|stack| tree.add(at, stack));
    }
}
