//! The threads that a guest starts: `wasi.thread-spawn`, as the wasi-threads proposal has it.
//!
//! Knows no Node. Whoever runs a guest makes its [`Team`], gives the guest [`Team::thread_spawn`] to import, and
//! ends and joins the team before it lets go of what the guest may use. Invariants: each thread has a store
//! and an instance of its own of the guest's module, over the memory that all share. The first failure or
//! exit ends all threads. A thread leaves the team when nothing of its store is left, and holds the module
//! and the memory until then.

mod fuel;

use crate::thread::GuestFailure;
use crate::thread::{GUEST_STACK, HOST_STACK};
use engine::{
    Budget, Error, Extern, FuncType, Instance, InterruptHandle, Limits, Module, NativeFunc, Store, TrapCode,
    VMHostContext, ValRaw, ValType, pin_library,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::Builder;
use std::time::{Duration, Instant};
use wasi::{Errno, Interrupt};

pub use fuel::{Fuel, Tank};

/// The imports of an instance in a thread's store, in the module's order.
pub type Externs =
    Box<dyn Fn(&Arc<Team>, &Store, &OwnMember) -> Result<Vec<Extern>, GuestFailure> + Send + Sync>;

/// The thread, for host functions among its imports: there from when it is instantiated until it ends.
pub type OwnMember = Rc<RefCell<Option<Rc<Member>>>>;

/// What one thread does with its instance.
pub type Job = Box<dyn FnOnce(&Member) -> Result<(), GuestFailure> + Send>;

/// What the threads of a guest have in common.
pub struct TeamPlan {
    pub module: Module,
    pub externs: Externs,
    pub limits: Limits,
    /// What the limit on all bytes together is counted in, also for the guest's first thread.
    pub budget: Budget,
    /// Where the threads have their fuel from, if the module counts its operators.
    pub tank: Option<Arc<Tank>>,
    /// How many threads there may be at a time, beside the guest's first.
    pub most: usize,
    /// Ends the waits of the WASI functions among the threads' imports.
    pub waits: Option<Arc<Interrupt>>,
}

/// The threads of one guest, but for its first.
pub struct Team {
    plan: TeamPlan,
    me: Weak<Team>,
    state: Mutex<State>,
    /// A thread has left, or the team has ended.
    changed: Condvar,
    has_ended: AtomicBool,
    /// Whether the guest may start threads now.
    is_open: AtomicBool,
}

#[derive(Default)]
struct State {
    /// The threads by their number, with what stops them as soon as they have a store.
    live: HashMap<i32, Option<InterruptHandle>>,
    /// The number that was given out last.
    last: i32,
    ended: bool,
    failure: Option<GuestFailure>,
    at_end: Option<Box<dyn FnOnce() + Send>>,
}

/// A thread of a team, for its [`Job`].
pub struct Member {
    pub id: i32,
    pub store: Store,
    pub instance: Instance,
    pub fuel: Rc<Fuel>,
}

/// The payload of [`Error::Host`] when a thread leaves all of its functions, as if the outermost had returned.
pub struct Unwound;

/// The numbers of threads: from 1 to this, as the proposal has it.
const LAST_ID: i32 = (1 << 29) - 1;

/// How long a spawn waits for another thread to leave, if there are as many as there may be: a guest that has
/// joined one of its threads goes on a little before that thread has left.
const LEAVING: Duration = Duration::from_millis(200);

/// Why there is no new thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoThread {
    /// There are as many as there may be, or the system has no more.
    Again,
    /// The module cannot start threads, or not now.
    Unsupported,
    /// The team has ended.
    Ended,
}

impl Team {
    pub fn new(plan: TeamPlan) -> Arc<Team> {
        Arc::new_cyclic(|me| Team {
            plan,
            me: me.clone(),
            state: Mutex::default(),
            changed: Condvar::new(),
            has_ended: AtomicBool::new(false),
            is_open: AtomicBool::new(true),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The function `wasi.thread-spawn` of this guest, for instances on any thread.
    pub fn thread_spawn(&self) -> Option<NativeFunc> {
        let ty = FuncType::new([ValType::I32], [ValType::I32]);
        let code: unsafe extern "C" fn(*mut VMHostContext, u32) -> i64 = thread_spawn;
        // SAFETY: the function has the C signature of this type, and takes its data for a `Team`.
        self.me.upgrade().map(|team| unsafe { NativeFunc::new(ty, code as *const c_void, team) })
    }

    /// Starts a thread that calls the guest's `wasi_thread_start` with its number, which is returned, and `arg`.
    pub fn start_thread(&self, arg: u32) -> Result<i32, NoThread> {
        if !self.is_open.load(Ordering::Relaxed) {
            return Err(NoThread::Unsupported);
        }
        let start = |export: engine::ExportType<'_>| match export.ty {
            engine::ExternType::Func(ty) => *ty.ty() == FuncType::new([ValType::I32; 2], []),
            _ => false,
        };
        let mut exports = self.plan.module.exports();
        if !exports.any(|export| export.name == "wasi_thread_start" && start(export)) {
            return Err(NoThread::Unsupported);
        }
        self.spawn(Box::new(move |member| {
            let Some(Extern::Func(func)) = member.instance.export("wasi_thread_start") else {
                return Err(GuestFailure::Internal("an export is gone".into()));
            };
            let mut values = [ValRaw { i32: member.id }, ValRaw { i32: arg as i32 }];
            // SAFETY: the function has two parameters of this type and no results, as was seen above.
            match unsafe { func.call_raw(values.as_mut_ptr()) } {
                Err(Error::Host(payload)) if payload.is::<Unwound>() => Ok(()),
                returned => Ok(returned?),
            }
        }))
    }

    /// Starts a thread that does something else with an instance. Returns its number.
    pub fn spawn(&self, job: Job) -> Result<i32, NoThread> {
        let team = self.me.upgrade().ok_or(NoThread::Ended)?;
        pin_library();
        let id = self.enter()?;
        let stack = self.plan.limits.stack_bytes.unwrap_or(GUEST_STACK).saturating_add(HOST_STACK);
        let thread = Builder::new().name("wasi-native thread".into()).stack_size(stack);
        let started = thread.spawn(move || {
            let bug = |_| Err(GuestFailure::Internal("a thread of a guest panicked".into()));
            if let Err(failure) = catch_unwind(AssertUnwindSafe(|| team.run(id, job))).unwrap_or_else(bug) {
                team.end(Some(failure));
            }
            team.leave(id);
        });
        started.map(|_| id).map_err(|_| {
            self.leave(id);
            NoThread::Again
        })
    }

    /// A number for a new thread.
    fn enter(&self) -> Result<i32, NoThread> {
        let deadline = Instant::now() + LEAVING;
        let mut state = self.lock();
        loop {
            if state.ended {
                return Err(NoThread::Ended);
            }
            if state.live.len() < self.plan.most {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.plan.most == 0 || left.is_zero() {
                return Err(NoThread::Again);
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.live.try_reserve(1).map_err(|_| NoThread::Again)?;
        let State { live, last, .. } = &mut *state;
        loop {
            *last = *last % LAST_ID + 1;
            if let Entry::Vacant(free) = live.entry(*last) {
                free.insert(None);
                return Ok(*last);
            }
        }
    }

    /// The life of a thread.
    fn run(self: &Arc<Team>, id: i32, job: Job) -> Result<(), GuestFailure> {
        let TeamPlan { module, externs, limits, budget, tank, .. } = &self.plan;
        let store = Store::new(module.engine())?;
        store.set_limits_within(*limits, budget.clone());
        let fuel = Rc::new(Fuel::new(tank.clone(), &store));
        {
            let mut state = self.lock();
            if state.ended {
                return Err(TrapCode::Interrupted.into());
            }
            state.live.insert(id, Some(store.interrupt_handle()));
        }
        let own = OwnMember::default();
        let instance = Instance::new(&store, module, &externs(self, &store, &own)?)?;
        let member = Rc::new(Member { id, store, instance, fuel });
        own.replace(Some(member.clone()));
        let done = job(&member);
        // Functions of the instance's refer to it by this.
        own.take();
        if let Some(tank) = tank {
            tank.give(member.store.fuel());
        }
        done
    }

    fn leave(&self, id: i32) {
        self.lock().live.remove(&id);
        self.changed.notify_all();
    }

    /// Ends all threads, whatever they do: wasm traps at its next loop or call, and waits end. The first to call
    /// this tells why, and true is returned only for that.
    pub fn end(&self, failure: Option<GuestFailure>) -> bool {
        let mut state = self.lock();
        if std::mem::replace(&mut state.ended, true) {
            return false;
        }
        self.has_ended.store(true, Ordering::Release);
        state.failure = failure;
        state.live.values().flatten().for_each(InterruptHandle::interrupt);
        if let Some(waits) = &self.plan.waits {
            waits.fire();
        }
        let at_end = state.at_end.take();
        drop(state);
        self.changed.notify_all();
        at_end.into_iter().for_each(|at_end| at_end());
        true
    }

    /// Has a thread, which calls this, go on after what it did was interrupted: but if the team has ended, it ends.
    pub(crate) fn resume(&self, member: &Member) -> Result<(), Error> {
        let state = self.lock();
        if state.ended { Err(TrapCode::Interrupted.into()) } else { member.store.clear_interrupt() }
    }

    /// Has `f` called on the thread that ends the team, once it has ended: to stop the guest's first thread. At
    /// once if that is so already.
    pub fn at_end(&self, f: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        if state.ended {
            drop(state);
            return f();
        }
        state.at_end = Some(Box::new(f));
    }

    /// Sets whether the guest may start threads, which it may at first.
    pub fn set_open(&self, open: bool) {
        self.is_open.store(open, Ordering::Relaxed);
    }

    #[inline]
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Why a thread ended the team, if one did and nobody has asked.
    pub fn take_failure(&self) -> Option<GuestFailure> {
        self.lock().failure.take()
    }

    /// How many threads there are now.
    pub fn len(&self) -> usize {
        self.lock().live.len()
    }

    /// Whether there are no threads now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for all threads to leave, once the team has ended. False if they have not in this time.
    pub fn join(&self, patience: Option<Duration>) -> bool {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut state = self.lock();
        while !state.live.is_empty() {
            state = match deadline {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }
}

/// `wasi.thread-spawn`: the new thread's number, or a negative errno.
///
/// # Safety
/// `context` belongs to a [`NativeFunc`] of [`Team::thread_spawn`], and its native function is running.
unsafe extern "C" fn thread_spawn(context: *mut VMHostContext, arg: u32) -> i64 {
    // SAFETY: the function was bound with a team, which its group keeps alive.
    let team = unsafe { &*(*context).data.cast::<Team>() };
    let fail = |error: Error| {
        // SAFETY: the native function this context belongs to is running.
        unsafe { VMHostContext::fail(context, error) };
        -1
    };
    let number = |number: i32| i64::from(number as u32);
    match catch_unwind(AssertUnwindSafe(|| team.start_thread(arg))) {
        Ok(Ok(id)) => number(id),
        Ok(Err(NoThread::Again)) => number(-(Errno::Again as i32)),
        Ok(Err(NoThread::Unsupported)) => number(-(Errno::Notsup as i32)),
        Ok(Err(NoThread::Ended)) => fail(TrapCode::Interrupted.into()),
        Err(_) => fail(Error::Internal("thread-spawn panicked: a bug in wasi-native".into())),
    }
}
