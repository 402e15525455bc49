//! The state shared by a guest's thread and its owner: what is requested, and how the guest is stopped.

use super::asking::Asking;
use super::failure::GuestFailure;
use super::memory::IdleMemory;
use super::{Call, Reply, Values};
use crate::team::Team;
use crate::watchdog::Timed;
use engine::{InterruptHandle, SharedMemory, ValRaw};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use wasi::Interrupt;

/// A request to a guest.
pub(super) enum Task {
    Call(Call),
    Reset(u32),
}

impl Task {
    pub(super) fn number(&self) -> u32 {
        match self {
            Task::Call(call) => call.number,
            Task::Reset(number) => *number,
        }
    }
}

#[derive(Default)]
pub(super) struct Inbox {
    pub(super) tasks: VecDeque<Task>,
    /// Calls made by an import that the guest waits for. They run before its reply is read.
    pub(super) nested: VecDeque<Task>,
    /// The imports that the guest waits for, the innermost last.
    pub(super) frames: Vec<u32>,
    /// The other threads of the guest that wait for imports.
    pub(super) elsewhere: HashMap<ThreadId, Asking>,
    /// Keyed by frame: an outer import may be answered before an inner one.
    pub(super) replies: HashMap<u32, Reply>,
    /// The numbers of the running tasks, the innermost last.
    pub(super) running: Vec<u32>,
    /// The running task that must end, with all tasks inside it.
    pub(super) cancelled: Option<u32>,
    pub(super) sweep: bool,
    pub(super) stop: bool,
}

impl Inbox {
    /// Takes the next task out of a queue. Under the same lock it is marked as running, so that a
    /// cancelling thread finds it in one of the two places.
    pub(super) fn begin(&mut self, queue: fn(&mut Inbox) -> &mut VecDeque<Task>) -> Option<Wake> {
        let task = queue(self).pop_front()?;
        self.running.push(task.number());
        Some(Wake::Task(task))
    }

    pub(super) fn asked_to_sweep(&mut self) -> Option<Wake> {
        std::mem::take(&mut self.sweep).then_some(Wake::Sweep)
    }

    /// The values that the guest has not yet taken out.
    pub(super) fn values(&self) -> impl Iterator<Item = &ValRaw> {
        let asked = self.tasks.iter().chain(&self.nested).filter_map(|task| match task {
            Task::Call(call) => Some(&call.values),
            Task::Reset(_) => None,
        });
        asked.chain(self.replies.values().flatten()).flat_map(|Values(values)| values)
    }
}

/// The result of a wait.
pub(super) enum Wake {
    Task(Task),
    Reply(Reply),
    Sweep,
}

pub(super) struct Shared {
    pub(super) inbox: Mutex<Inbox>,
    pub(super) wake: Condvar,
    /// The exported memories in their order, while the guest is idle. The lock is held while bytes are
    /// copied, so that the guest cannot continue meanwhile.
    pub(super) idle_memories: Mutex<Option<Vec<IdleMemory>>>,
    /// The exported memories in their order, those that are shared, from when the guest is instantiated until it
    /// ends. The lock is held while bytes are copied.
    pub(super) shared_memories: Mutex<Vec<Option<SharedMemory>>>,
    /// The threads that the guest starts, if it can start any, from before it is instantiated until it ends.
    pub(super) team: Mutex<Option<Arc<Team>>>,
    /// The number of import calls so far, by any thread.
    pub(super) frames: AtomicU32,
    /// Tells the threads in `Inbox::elsewhere` of replies and calls.
    pub(super) answered: Condvar,
    /// Stops the guest's wasm. Set once the guest has a store.
    pub(super) interrupt: OnceLock<InterruptHandle>,
    /// Ends the waits of its WASI calls.
    pub(super) waits: Option<Arc<Interrupt>>,
    /// The fuel that was left when the guest was last idle.
    pub(super) fuel: AtomicU64,
    /// Whether the guest was stopped because its time is over.
    pub(super) expired: AtomicBool,
}

/// Ignores poisoning: no code that can panic runs under these locks.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Timed for Shared {
    fn expire(&self) {
        self.expired.store(true, Ordering::Release);
        lock(&self.inbox).stop = true;
        self.interrupt();
    }
}

impl Shared {
    /// The failure to report: an interruption may mean that the time is over.
    pub(super) fn reason(&self, failure: GuestFailure) -> GuestFailure {
        match failure {
            failure if failure.is_interruption() && self.expired.load(Ordering::Acquire) => {
                GuestFailure::Expired
            }
            other => other,
        }
    }

    pub(super) fn team_has_ended(&self) -> bool {
        lock(&self.team).as_ref().is_some_and(|team| team.has_ended())
    }

    /// Interrupts what the guest does, and all that it begins until it clears the interruption.
    pub(super) fn interrupt(&self) {
        self.wake.notify_one();
        self.answered.notify_all();
        if let Some(waits) = &self.waits {
            waits.fire();
        }
        if let Some(interrupt) = self.interrupt.get() {
            interrupt.interrupt();
        }
    }
}
