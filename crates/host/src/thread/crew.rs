//! Threads that have had a guest and wait a moment for the next one.
//!
//! Used by `handle.rs`; who starts guests keeps a [`Crew`]. Making a thread and its stack takes longer than a
//! short program runs. Invariants: a thread has one guest at a time; no more threads wait than there are
//! processors, none waits longer than [`PATIENCE`], and none once the crew is gone. What is asked of a crew is
//! done in any case.

use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, available_parallelism};
use std::time::Duration;

/// Whoever runs more than a few programs a second finds a thread.
const PATIENCE: Duration = Duration::from_millis(100);

type Job = Box<dyn FnOnce() + Send>;

/// The threads of one host.
pub struct Crew(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    /// How many threads may wait.
    most: usize,
}

#[derive(Default)]
struct State {
    /// For threads that wait: no more than there are of those.
    jobs: VecDeque<Job>,
    waiting: usize,
    closed: bool,
}

impl Default for Crew {
    fn default() -> Crew {
        let most = available_parallelism().map_or(1, NonZero::get);
        Crew(Arc::new(Shared { state: Mutex::default(), wake: Condvar::new(), most }))
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_all();
    }
}

impl Crew {
    /// Runs a job on a thread that waits, or else on a new one with a stack of this size, which must always be
    /// the same.
    pub(super) fn run(&self, stack: usize, job: Job) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.jobs.len() < state.waiting {
            state.jobs.push_back(job);
            self.0.wake.notify_one();
            return Ok(());
        }
        drop(state);
        let shared = self.0.clone();
        spawn(stack, move || {
            let mut next = Some(job);
            while let Some(job) = next {
                job();
                next = shared.wait();
            }
        })
    }
}

/// Starts a thread for a guest.
pub(super) fn spawn(stack: usize, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    Builder::new().name("wasi-native guest".into()).stack_size(stack).spawn(body).map(drop)
}

impl Shared {
    /// Ignores poisoning: no code that can panic runs under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job of the calling thread. `None` if the thread is to end.
    fn wait(&self) -> Option<Job> {
        let mut state = self.lock();
        if state.waiting == self.most || state.closed {
            return None;
        }
        state.waiting += 1;
        let idle = |state: &mut State| state.jobs.is_empty() && !state.closed;
        let woken = self.wake.wait_timeout_while(state, PATIENCE, idle);
        state = woken.unwrap_or_else(PoisonError::into_inner).0;
        state.waiting -= 1;
        state.jobs.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread::{self, ThreadId};

    const STACK: usize = 256 << 10;

    fn thread_of_a_job(crew: &Crew) -> ThreadId {
        let (sender, receiver) = channel();
        crew.run(STACK, Box::new(move || sender.send(thread::current().id()).expect("is awaited")))
            .expect("a thread");
        receiver.recv().expect("the job runs")
    }

    fn until(condition: impl Fn() -> bool) {
        while !condition() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn one_program_after_the_other_has_the_same_thread() {
        let crew = Crew::default();
        let ended = || Arc::strong_count(&crew.0) == 1;
        // On a machine that stands still the thread may have waited for too long.
        let again = (0..100).any(|_| {
            let first = thread_of_a_job(&crew);
            until(|| crew.0.lock().waiting == 1 || ended());
            thread_of_a_job(&crew) == first
        });
        assert!(again);
    }

    #[test]
    fn a_thread_that_nobody_needs_ends() {
        let crew = Crew::default();
        thread_of_a_job(&crew);
        until(|| Arc::strong_count(&crew.0) == 1);
        assert_eq!(crew.0.lock().waiting, 0);
    }

    #[test]
    fn programs_at_the_same_time_do_not_wait_for_each_other() {
        let crew = Crew::default();
        let (there, arrived) = channel();
        let mut releases = Vec::new();
        for _ in 0..crew.0.most + 3 {
            // A thread that is about to wait is not counted on.
            thread_of_a_job(&crew);
            let (release, released) = channel::<()>();
            let there = there.clone();
            let job = move || {
                there.send(()).expect("is awaited");
                let _ = released.recv();
            };
            crew.run(STACK, Box::new(job)).expect("a thread");
            releases.push(release);
        }
        for _ in &releases {
            arrived.recv().expect("each runs while the others wait");
        }
        drop(releases);
        let shared = crew.0.clone();
        drop(crew);
        until(|| Arc::strong_count(&shared) == 1);
    }

    #[test]
    fn what_was_asked_of_a_crew_that_goes_is_done() {
        let (sender, receiver) = channel();
        let crew = Crew::default();
        for _ in 0..8 {
            let sender = sender.clone();
            crew.run(STACK, Box::new(move || sender.send(()).expect("is awaited"))).expect("a thread");
        }
        drop(crew);
        assert_eq!((0..8).map_while(|_| receiver.recv().ok()).count(), 8);
    }
}
