//! Imports that are called by a thread which the guest started.
//!
//! Used by `team.rs`, `shared.rs` and `handle.rs`. Invariants: calls that such an import makes run on the thread that
//! waits for it, in that thread's instance. So they do not wait for the guest's first thread, which may itself be
//! waiting for this one. They come before the import's answer, as on the first thread.

use super::failure::{GuestFailure, Thrown};
use super::guest::call_func;
use super::shared::{Shared, Task, lock};
use super::{Call, Event, Reply, Sink, Values};
use crate::team::{Member, OwnMember, Team};
use engine::{Error, Extern, InterruptHandle, TrapCode};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::thread;

/// A thread that waits for imports, as other threads see it.
#[derive(Default)]
pub(super) struct Asking {
    /// The imports, the innermost last.
    frames: Vec<u32>,
    /// Calls that they have made.
    calls: VecDeque<Call>,
    /// The numbers of the running ones, the innermost last.
    running: Vec<u32>,
    /// The running call that must end, with all calls inside it.
    cancelled: Option<u32>,
    /// Stops the thread's wasm. None while the thread is instantiated: then it cannot be called.
    interrupt: Option<InterruptHandle>,
}

impl Asking {
    pub(super) fn waits_for(&self, frame: u32) -> bool {
        self.frames.contains(&frame)
    }

    /// Has the thread make a call. It is returned if that cannot be.
    pub(super) fn ask(&mut self, call: Call) -> Option<Call> {
        if self.interrupt.is_none() {
            return Some(call);
        }
        self.calls.push_back(call);
        None
    }

    /// Takes back a call. True if it had not begun.
    pub(super) fn forget(&mut self, number: u32) -> bool {
        let waiting = self.calls.len();
        self.calls.retain(|call| call.number != number);
        self.calls.len() < waiting
    }

    /// Ends a running call, with those inside it. True if it runs here. (A wait in a function of WASI's is not cut
    /// short: the threads share what would do that.)
    pub(super) fn cancel(&mut self, number: u32) -> bool {
        let depth = |call: u32| self.running.iter().position(|other| *other == call);
        let Some(place) = depth(number) else { return false };
        if self.cancelled.and_then(depth).is_none_or(|outer| place < outer) {
            self.cancelled = Some(number);
        }
        if let Some(interrupt) = &self.interrupt {
            interrupt.interrupt();
        }
        true
    }
}

/// What the imports of one thread need to call the other side.
#[derive(Clone)]
pub(super) struct Asks {
    pub team: Arc<Team>,
    pub own: OwnMember,
    pub shared: Weak<Shared>,
    pub sink: Sink,
}

enum Wake {
    Call(Call),
    Reply(Reply),
}

impl Asks {
    /// Calls the import at this place: sends the call, and waits for the answer.
    pub(super) fn call(&self, index: usize, values: Values) -> Result<Values, Error> {
        let shared = self.shared.upgrade().ok_or(TrapCode::Interrupted)?;
        let member = self.own.borrow().clone();
        let frame = shared.frames.fetch_add(1, Ordering::Relaxed);
        {
            let mut inbox = lock(&shared.inbox);
            let asking = inbox.elsewhere.entry(thread::current().id()).or_default();
            asking.frames.push(frame);
            if asking.interrupt.is_none() {
                asking.interrupt = member.as_ref().map(|member| member.store.interrupt_handle());
            }
        }
        (self.sink)(Event::Import { frame, index, values });
        let reply = loop {
            match (self.wait(&shared, frame), &member) {
                (Ok(Wake::Reply(reply)), _) => {
                    break reply.map_err(|()| Error::Host(Box::new(Thrown(frame))));
                }
                (Ok(Wake::Call(call)), Some(member)) => self.serve(&shared, member, call),
                // It was not asked while it had no instance.
                (Ok(Wake::Call(_)), None) => {}
                (Err(trap), _) => break Err(trap.into()),
            }
        };
        let mut inbox = lock(&shared.inbox);
        inbox.replies.remove(&frame);
        let me = thread::current().id();
        if let Some(asking) = inbox.elsewhere.get_mut(&me) {
            asking.frames.pop();
            if asking.frames.is_empty()
                && let Some(Asking { calls, .. }) = inbox.elsewhere.remove(&me)
            {
                // Calls that nobody has waited for become ordinary ones.
                inbox.tasks.extend(calls.into_iter().map(Task::Call));
                shared.wake.notify_one();
            }
        }
        reply
    }

    /// The next call that the imports of this thread make, or the answer to the innermost.
    fn wait(&self, shared: &Shared, frame: u32) -> Result<Wake, TrapCode> {
        let mut inbox = lock(&shared.inbox);
        loop {
            if self.team.has_ended() {
                return Err(TrapCode::Interrupted);
            }
            if let Some(asking) = inbox.elsewhere.get_mut(&thread::current().id()) {
                if asking.cancelled.is_some() {
                    return Err(TrapCode::Interrupted);
                }
                if let Some(call) = asking.calls.pop_front() {
                    asking.running.push(call.number);
                    return Ok(Wake::Call(call));
                }
            }
            if let Some(reply) = inbox.replies.remove(&frame) {
                return Ok(Wake::Reply(reply));
            }
            inbox = shared.answered.wait(inbox).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn serve(
        &self,
        shared: &Shared,
        member: &Rc<Member>,
        Call { number, export, values, fuel, refuel }: Call,
    ) {
        let call = || {
            let mut exports = member.instance.module().exports();
            match exports.nth(export).and_then(|export| member.instance.export(export.name)) {
                Some(Extern::Func(func)) => call_func(&func, values),
                _ => Err(GuestFailure::Internal("no such exported function".into())),
            }
        };
        let mut result = member.fuel.lend(&member.store, fuel, refuel, call);
        if let Err(failure) = self.ended(shared, member, number) {
            result = Err(failure);
        }
        // Why the guest ended is told once, with its end.
        if matches!(&result, Err(failure) if failure.is_interruption()) && self.team.has_ended() {
            return;
        }
        (self.sink)(Event::Returned {
            call: number,
            result: result.map_err(|failure| shared.reason(failure)),
        });
    }

    /// Ends the innermost call of this thread, which has this number.
    fn ended(&self, shared: &Shared, member: &Member, number: u32) -> Result<(), GuestFailure> {
        // Under the lock: it is held to cancel as well.
        let mut inbox = lock(&shared.inbox);
        let Some(asking) = inbox.elsewhere.get_mut(&thread::current().id()) else { return Ok(()) };
        asking.running.pop();
        if asking.cancelled != Some(number) {
            return Ok(());
        }
        asking.cancelled = None;
        Ok(self.team.resume(member)?)
    }
}
