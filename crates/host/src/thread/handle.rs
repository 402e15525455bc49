//! The owner's handle to a guest thread.

use super::asking::Asking;
use super::crew::{Crew, spawn};
use super::failure::GuestFailure;
use super::guest::serve;
use super::memory::{IdleMemory, MemoryError};
use super::shared::{Inbox, Shared, Task, lock};
use super::{Call, Event, Plan, Reply, Sink};
use crate::watchdog::Timed;
use engine::pin_library;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};

/// The owner's handle to a guest thread. The thread continues if the handle is dropped.
#[derive(Clone)]
pub struct GuestThread(Arc<Shared>);

/// The default size of wasm's own stack: as much as main threads have. It is only address space until
/// it is used.
pub(crate) const GUEST_STACK: usize = 8 << 20;

/// The stack that the thread needs in addition to wasm's own: for WASI calls and the engine.
pub(crate) const HOST_STACK: usize = 512 << 10;

impl GuestThread {
    /// Starts a guest, on a thread of the crew.
    ///
    /// # Errors
    /// If the system cannot create a thread, or a descriptor to interrupt the guest's waits.
    pub fn start(crew: &Crew, plan: Plan, sink: Sink) -> io::Result<GuestThread> {
        pin_library();
        let waits = match &plan.ctx {
            Some(ctx) => Some(ctx.interrupt().map_err(|errno| {
                io::Error::other(format!("no descriptor to interrupt its waits by: {errno}"))
            })?),
            None => None,
        };
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            wake: Condvar::new(),
            idle_memories: Mutex::default(),
            interrupt: OnceLock::new(),
            shared_memories: Mutex::default(),
            team: Mutex::default(),
            frames: AtomicU32::new(0),
            answered: Condvar::new(),
            waits,
            fuel: AtomicU64::new(plan.fuel),
            expired: AtomicBool::new(false),
        });
        let stack = plan.limits.stack_bytes.unwrap_or(GUEST_STACK);
        let of_thread = shared.clone();
        let job = move || {
            let ctx = plan.ctx.clone();
            let outcome = catch_unwind(AssertUnwindSafe(|| serve(plan, &of_thread, &sink)));
            let bug = |_| Err(GuestFailure::Internal("a guest thread panicked".into()));
            let mut outcome = outcome.unwrap_or_else(bug);
            let team = lock(&of_thread.team).take();
            if let Some(team) = team {
                // Another thread may have ended the guest before us.
                if !team.end(None)
                    && let Some(failure) = team.take_failure()
                {
                    outcome = Err(failure);
                }
                team.join(None);
            }
            *lock(&of_thread.idle_memories) = None;
            lock(&of_thread.shared_memories).clear();
            if let Some(ctx) = ctx {
                ctx.close();
            }
            sink(Event::Ended(outcome.map_err(|failure| of_thread.reason(failure))));
        };
        // Only threads with a stack of the ordinary size wait for other guests.
        let size = stack.saturating_add(HOST_STACK);
        match stack {
            GUEST_STACK => crew.run(size, Box::new(job))?,
            _ => spawn(size, job)?,
        }
        Ok(GuestThread(shared))
    }

    /// Requests a call. [`Event::Returned`] reports how it ended. A call *within* the frame of an import
    /// that the guest waits for runs before the import's reply is read, on the thread that waits for it. Other
    /// calls run after all that was requested before.
    pub fn call(&self, mut call: Call, within: Option<u32>) {
        let mut inbox = lock(&self.0.inbox);
        let waits = |asking: &&mut Asking| within.is_some_and(|frame| asking.waits_for(frame));
        if let Some(asking) = inbox.elsewhere.values_mut().find(waits) {
            match asking.ask(call) {
                None => return self.0.answered.notify_all(),
                Some(refused) => call = refused,
            }
        }
        let nested = within.is_some_and(|frame| inbox.frames.contains(&frame));
        let queue = if nested { &mut inbox.nested } else { &mut inbox.tasks };
        queue.push_back(Task::Call(call));
        self.0.wake.notify_one();
    }

    /// Restores the guest to the state in which it was ready, after all that was requested before: its
    /// memories, tables, globals and segments (see [`Instance::reset`]), and which descriptors are
    /// open. [`Event::Returned`] reports when it is done.
    pub fn reset(&self, number: u32) {
        lock(&self.0.inbox).tasks.push_back(Task::Reset(number));
        self.0.wake.notify_one();
    }

    /// Cancels a call, with the calls that its imports make meanwhile. The guest continues with the next.
    /// Returns true if the call had not begun and never will. Then no event follows for it. Otherwise
    /// [`Event::Returned`] reports its end, as usual.
    pub fn cancel(&self, number: u32) -> bool {
        let mut inbox = lock(&self.0.inbox);
        if inbox.elsewhere.values_mut().any(|asking| asking.forget(number)) {
            return true;
        }
        if inbox.elsewhere.values_mut().any(|asking| asking.cancel(number)) {
            self.0.answered.notify_all();
            return false;
        }
        let Inbox { tasks, nested, running, cancelled, .. } = &mut *inbox;
        for queue in [tasks, nested] {
            let waiting = queue.len();
            queue.retain(|task| task.number() != number);
            if queue.len() < waiting {
                return true;
            }
        }
        let depth = |call: u32| running.iter().position(|other| *other == call);
        let Some(place) = depth(number) else { return false };
        if cancelled.and_then(depth).is_none_or(|outer| place < outer) {
            *cancelled = Some(number);
        }
        // Under the lock: the guest also clears an interruption under it, so it never clears a later one.
        self.0.interrupt();
        false
    }

    /// Answers an import. Returns false if the guest no longer waits for it.
    pub fn reply(&self, frame: u32, reply: Reply) -> bool {
        let mut inbox = lock(&self.0.inbox);
        if inbox.elsewhere.values().any(|asking| asking.waits_for(frame)) {
            inbox.replies.insert(frame, reply);
            self.0.answered.notify_all();
            return true;
        }
        let awaited = inbox.frames.contains(&frame);
        if awaited {
            inbox.replies.insert(frame, reply);
            self.0.wake.notify_one();
        }
        awaited
    }

    /// The fuel that was left when the guest was last idle.
    pub fn fuel(&self) -> u64 {
        self.0.fuel.load(Ordering::Relaxed)
    }

    /// Makes the guest report which host values it holds ([`Event::References`]), when it is next idle or
    /// waits for an import.
    pub fn sweep(&self) {
        lock(&self.0.inbox).sweep = true;
        self.0.wake.notify_one();
    }

    /// Stops the guest in any state: wasm traps at its next loop or call and in the middle of a long bulk
    /// operation, and waits end. (A call that waits in the kernel for a disk is finished first.)
    pub fn stop(&self) {
        lock(&self.0.inbox).stop = true;
        self.0.interrupt();
    }

    /// The guest for a watchdog. When its time is over it stops, and its running task fails with
    /// [`GuestFailure::Expired`].
    pub fn timed(&self) -> Weak<dyn Timed> {
        let shared: Arc<dyn Timed> = self.0.clone();
        Arc::downgrade(&shared)
    }

    /// The size in bytes of an exported memory, by its position among the module's exported memories.
    pub fn memory_size(&self, memory: usize) -> Result<usize, MemoryError> {
        self.with_memory(memory, |memory| Ok(memory.length))
    }

    /// Copies bytes out of an exported memory.
    pub fn read(&self, memory: usize, offset: usize, length: usize) -> Result<Vec<u8>, MemoryError> {
        // SAFETY: the guest is idle while `with_memory` holds the lock, or the memory is shared.
        self.with_memory(memory, |memory| unsafe {
            memory.copy(length, |bytes| bytes.copy_out(offset, length))
        })
    }

    /// Copies bytes into an exported memory.
    pub fn write(&self, memory: usize, offset: usize, from: &[u8]) -> Result<(), MemoryError> {
        // SAFETY: as in `read`.
        self.with_memory(memory, |memory| unsafe {
            memory.copy(from.len(), |bytes| bytes.copy_in(offset, from))
        })
    }

    fn with_memory<T>(
        &self,
        memory: usize,
        body: impl FnOnce(IdleMemory) -> Result<T, MemoryError>,
    ) -> Result<T, MemoryError> {
        // Other threads use a shared memory at any time, so the guest need not be idle.
        let shared_memories = lock(&self.0.shared_memories);
        if let Some(Some(memory)) = shared_memories.get(memory) {
            return body(IdleMemory { base: memory.base(), length: memory.byte_len() });
        }
        drop(shared_memories);
        let idle_memories = lock(&self.0.idle_memories);
        let memory = idle_memories.as_ref().and_then(|memories| memories.get(memory));
        body(*memory.ok_or(MemoryError::NotIdle)?)
    }
}
