//! A guest on a thread of its own.
//!
//! Used by `node/threads.rs`; knows no Node. Whoever starts a guest keeps a [`GuestThread`]: with
//! it he asks for calls, answers imports and stops the guest, from any thread. What happens is told
//! to the [`Sink`], on the guest's thread. Invariants: the guest's store, instance and memories are
//! touched by its thread alone, but for the bytes of memories while the guest *rests* (it waits
//! for a call, or for the answer to an import); whatever ends the thread, the sink is told so last,
//! when nothing of the guest is left.

use super::HostExit;
use super::watchdog::Timed;
use engine::{
    Error, Extern, ExternRef, ExternType, Func, FuncType, Global, GlobalType, Instance, InstantiateError,
    InterruptHandle, Limits, Memory, Module, NativeFunc, OverLimit, Store, Trap, TrapCode, Val, ValRaw,
    ValType, pin_library,
};
use guest_memory::GuestMemory;
use std::cell::{Cell, OnceCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{self, Rc};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::Builder;
use wasi::{Interrupt, OutputLimit, WasiCtx};

/// What a guest thread is to do.
pub struct Plan {
    pub module: Module,
    /// In the module's order.
    pub imports: Vec<Import>,
    /// Closed when the guest has ended.
    pub ctx: Option<Arc<WasiCtx>>,
    pub limits: Limits,
    /// Operators that the guest may pass, where its module counts them.
    pub fuel: u64,
    /// The place among the exports of a function to call before the guest is ready.
    pub initialize: Option<usize>,
    /// The place among the exports of the function to call, after which the thread ends. Without
    /// one it stays for [`GuestThread::call`].
    pub command: Option<usize>,
}

/// An import that can come from another thread.
pub enum Import {
    Native(NativeFunc),
    /// A function of the other side: the sink is told, and the guest waits for
    /// [`GuestThread::reply`].
    Remote,
    /// An immutable global.
    Value(Value),
}

/// A [`Val`] that may cross threads: no pointer to anything of a store.
#[derive(Clone, Copy)]
pub enum Value {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    Extern(Option<ExternRef>),
}

impl Value {
    pub fn of(val: &Val) -> Option<Value> {
        Some(match val {
            Val::I32(value) => Value::I32(*value),
            Val::I64(value) => Value::I64(*value),
            Val::F32(bits) => Value::F32(*bits),
            Val::F64(bits) => Value::F64(*bits),
            Val::Extern(reference) => Value::Extern(*reference),
            _ => return None,
        })
    }

    fn to_val(self) -> Val {
        match self {
            Value::I32(value) => Val::I32(value),
            Value::I64(value) => Val::I64(value),
            Value::F32(bits) => Val::F32(bits),
            Value::F64(bits) => Val::F64(bits),
            Value::Extern(reference) => Val::Extern(reference),
        }
    }

    fn ty(self) -> ValType {
        match self {
            Value::I32(_) => ValType::I32,
            Value::I64(_) => ValType::I64,
            Value::F32(_) => ValType::F32,
            Value::F64(_) => ValType::F64,
            Value::Extern(_) => ValType::EXTERNREF,
        }
    }
}

/// Arguments or results.
pub struct Values(pub Vec<ValRaw>);

// SAFETY: those of functions without function references and exceptions, which `can_cross`
// refuses, so numbers and indices of host values. Nobody follows a pointer in them.
unsafe impl Send for Values {}

fn can_cross(ty: &FuncType) -> bool {
    let is_pointer = |ty: &ValType| matches!(ty, ValType::Ref(r) if !r.is_extern());
    !ty.params.iter().chain(&ty.results).any(is_pointer)
}

const CANNOT_CROSS: &str = "a function reference or an exception cannot leave its thread";

/// What happens at the guest.
pub enum Event {
    /// It is instantiated and waits for calls.
    Ready,
    /// It called the import at this place among the module's, with these arguments, and waits for
    /// the reply to this *frame*.
    Import { frame: u32, index: usize, values: Values },
    /// The call or reset with this number is over.
    Returned { call: u32, result: Result<Values, Failure> },
    /// The indices of the host values that globals, tables and segments hold.
    References(Vec<u32>),
    /// The thread is about to end. Nothing follows.
    Ended(Result<(), Failure>),
}

/// Is told of events on the guest's thread, and must not block it for long.
pub type Sink = Arc<dyn Fn(Event) + Send + Sync>;

/// Why a guest did not come to its end: [`Error`] as far as it can cross threads.
#[derive(Debug)]
pub enum Failure {
    Exit(u32),
    Trap(Trap),
    /// An import failed: who answered this frame knows with what.
    Thrown(u32),
    Link(String),
    Limit(OverLimit),
    Output(OutputLimit),
    /// The machine has not what was asked for.
    OutOfMemory(String),
    /// A wasm exception that nothing caught.
    Exception,
    /// The time that the guest had is over.
    Expired,
    Internal(String),
}

/// The payload of [`Error::Host`] when an import failed.
struct Thrown(u32);

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Trap(trap) => Failure::Trap(trap),
            Error::Exception(_) => Failure::Exception,
            Error::Limit(over) => Failure::Limit(over),
            Error::OutOfMemory(message) => Failure::OutOfMemory(message),
            Error::Closed => Failure::Internal("the instance is closed".into()),
            Error::Internal(message) => Failure::Internal(message),
            Error::Host(payload) => {
                if let Some(Thrown(frame)) = payload.downcast_ref() {
                    Failure::Thrown(*frame)
                } else if let Some(HostExit(code)) = payload.downcast_ref() {
                    Failure::Exit(*code)
                } else if let Some(over) = payload.downcast_ref() {
                    Failure::Output(*over)
                } else {
                    Failure::Internal("a host function failed with an unknown value".into())
                }
            }
        }
    }
}

impl From<TrapCode> for Failure {
    fn from(code: TrapCode) -> Failure {
        Failure::Trap(Trap { code, backtrace: Vec::new() })
    }
}

impl From<InstantiateError> for Failure {
    fn from(error: InstantiateError) -> Failure {
        match error {
            InstantiateError::Link(error) => Failure::Link(error.to_string()),
            InstantiateError::Error(error) => error.into(),
        }
    }
}

/// A call that is asked for.
pub struct Call {
    pub number: u32,
    /// The function's place among the module's exports.
    pub export: usize,
    pub values: Values,
    /// Operators that this call may pass of what the guest has left.
    pub fuel: Option<u64>,
    /// Operators that the guest has from now on, before the call.
    pub refuel: Option<u64>,
}

/// What a guest is asked for.
enum Task {
    Call(Call),
    Reset(u32),
}

impl Task {
    fn number(&self) -> u32 {
        match self {
            Task::Call(call) => call.number,
            Task::Reset(number) => *number,
        }
    }
}

/// An answer to an import: its results, or that it failed.
pub type Reply = Result<Values, ()>;

#[derive(Default)]
struct Inbox {
    tasks: VecDeque<Task>,
    /// Calls made by an import that the guest waits for: they come in between.
    nested: VecDeque<Task>,
    /// The imports that the guest waits for, the innermost last.
    frames: Vec<u32>,
    /// By frame: an outer import may be answered before an inner one is.
    replies: HashMap<u32, Reply>,
    /// The numbers of what is under way, the innermost last.
    running: Vec<u32>,
    /// The one of them that is to end, with all that is inside.
    cancelled: Option<u32>,
    sweep: bool,
    stop: bool,
}

impl Inbox {
    /// Takes what comes next out of a queue. Under the same lock it counts as under way, so that
    /// who cancels it finds it in one of the two places.
    fn begin(&mut self, queue: fn(&mut Inbox) -> &mut VecDeque<Task>) -> Option<Wake> {
        let task = queue(self).pop_front()?;
        self.running.push(task.number());
        Some(Wake::Task(task))
    }
}

/// Where a memory lies while its guest rests.
#[derive(Clone, Copy)]
struct Bytes {
    base: *mut u8,
    length: usize,
}

// SAFETY: a place in memory; `Shared::resting` says when it may be used.
unsafe impl Send for Bytes {}

struct Shared {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    /// The exported memories in their order, while the guest rests. Held while bytes are copied, so
    /// that the guest cannot go on meanwhile.
    resting: Mutex<Option<Vec<Bytes>>>,
    /// Stops the guest's wasm, from when it has a store.
    interrupt: OnceLock<InterruptHandle>,
    /// Ends the waits of its WASI calls.
    waits: Option<Arc<Interrupt>>,
    /// What was left of the fuel when the guest last rested.
    fuel: AtomicU64,
    /// Whether it was stopped because its time is over.
    expired: AtomicBool,
}

/// No code that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why the bytes of a memory cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryError {
    /// The guest is at work or has ended.
    NotResting,
    OutOfBounds {
        size: usize,
    },
    /// For a copy of so many bytes.
    NoRoom {
        length: usize,
    },
}

/// The owner's end of a guest thread. The thread goes on without it.
#[derive(Clone)]
pub struct GuestThread(Arc<Shared>);

/// Wasm's own stack, unless the plan says: as much as main threads have. It is address space until it is
/// used.
const GUEST_STACK: usize = 8 << 20;

/// What the thread needs beside wasm's own stack: WASI calls, and what the engine does.
const HOST_STACK: usize = 512 << 10;

impl GuestThread {
    /// Starts a guest.
    ///
    /// # Errors
    /// If the system has no thread for it, or no descriptor by which to interrupt its waits.
    pub fn start(plan: Plan, sink: Sink) -> io::Result<GuestThread> {
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
            resting: Mutex::default(),
            interrupt: OnceLock::new(),
            waits,
            fuel: AtomicU64::new(plan.fuel),
            expired: AtomicBool::new(false),
        });
        let stack = plan.limits.stack_bytes.unwrap_or(GUEST_STACK);
        let of_thread = shared.clone();
        Builder::new().name("wasi-native guest".into()).stack_size(stack.saturating_add(HOST_STACK)).spawn(
            move || {
                let ctx = plan.ctx.clone();
                let outcome = catch_unwind(AssertUnwindSafe(|| serve(plan, &of_thread, &sink)));
                *lock(&of_thread.resting) = None;
                if let Some(ctx) = ctx {
                    ctx.close();
                }
                let bug = || Err(Failure::Internal("a guest thread panicked".into()));
                let outcome = outcome.unwrap_or_else(|_| bug());
                sink(Event::Ended(outcome.map_err(|failure| of_thread.reason(failure))));
            },
        )?;
        Ok(GuestThread(shared))
    }

    /// Asks for a call; [`Event::Returned`] tells how it ended. A call *within* the frame of an
    /// import that the guest waits for comes before the import's reply is looked at. Others come
    /// when the guest has done what was asked before.
    pub fn call(&self, call: Call, within: Option<u32>) {
        let mut inbox = lock(&self.0.inbox);
        let nested = within.is_some_and(|frame| inbox.frames.contains(&frame));
        let queue = if nested { &mut inbox.nested } else { &mut inbox.tasks };
        queue.push_back(Task::Call(call));
        self.0.wake.notify_one();
    }

    /// Has the guest become what it was when it was ready, once it has done what was asked before:
    /// its memories, tables, globals and segments (see [`Instance::reset`]), and which descriptors
    /// are open. [`Event::Returned`] tells when.
    pub fn reset(&self, number: u32) {
        lock(&self.0.inbox).tasks.push_back(Task::Reset(number));
        self.0.wake.notify_one();
    }

    /// Ends a call, with those that its imports make meanwhile; the guest goes on with the next.
    /// True if it had not begun and never will, so that nothing more is told of it. Otherwise
    /// [`Event::Returned`] tells, as usual.
    pub fn cancel(&self, number: u32) -> bool {
        let mut inbox = lock(&self.0.inbox);
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
        // Under the lock, so that the guest, which clears these under it, clears no later ones.
        self.0.interrupt();
        false
    }

    /// Answers an import. False if the guest does not wait for it any more.
    pub fn reply(&self, frame: u32, reply: Reply) -> bool {
        let mut inbox = lock(&self.0.inbox);
        let awaited = inbox.frames.contains(&frame);
        if awaited {
            inbox.replies.insert(frame, reply);
            self.0.wake.notify_one();
        }
        awaited
    }

    /// What was left of the fuel when the guest last rested.
    pub fn fuel(&self) -> u64 {
        self.0.fuel.load(Ordering::Relaxed)
    }

    /// Has the guest tell which host values it holds, when it waits for calls.
    pub fn sweep(&self) {
        lock(&self.0.inbox).sweep = true;
        self.0.wake.notify_one();
    }

    /// Stops the guest, whatever it does: wasm traps at its next loop or call, waits end. (A bulk
    /// operation on memory, or a call that waits in the kernel for a disk, is finished first.)
    pub fn stop(&self) {
        lock(&self.0.inbox).stop = true;
        self.0.interrupt();
    }

    /// The guest as a watchdog has it: when its time is over it stops, and what it does ends with
    /// [`Failure::Expired`].
    pub fn timed(&self) -> Weak<dyn Timed> {
        let shared: Arc<dyn Timed> = self.0.clone();
        Arc::downgrade(&shared)
    }

    /// Bytes of the exported memory at this place among the module's exported memories.
    pub fn memory_size(&self, memory: usize) -> Result<usize, MemoryError> {
        let resting = lock(&self.0.resting);
        let bytes = resting.as_ref().and_then(|memories| memories.get(memory));
        bytes.map(|bytes| bytes.length).ok_or(MemoryError::NotResting)
    }

    /// Copies bytes out of an exported memory.
    pub fn read(&self, memory: usize, offset: usize, length: usize) -> Result<Vec<u8>, MemoryError> {
        self.with_memory(memory, length, |bytes| bytes.copy_out(offset, length))
    }

    /// Copies bytes into an exported memory.
    pub fn write(&self, memory: usize, offset: usize, from: &[u8]) -> Result<(), MemoryError> {
        self.with_memory(memory, from.len(), |bytes| bytes.copy_in(offset, from))
    }

    /// Copies `length` bytes out of a memory or into it.
    fn with_memory<T>(
        &self,
        memory: usize,
        length: usize,
        copy: impl FnOnce(GuestMemory<'_>) -> Result<T, guest_memory::Error>,
    ) -> Result<T, MemoryError> {
        let resting = lock(&self.0.resting);
        let bytes = resting.as_ref().and_then(|memories| memories.get(memory));
        let &Bytes { base, length: size } = bytes.ok_or(MemoryError::NotResting)?;
        // SAFETY: a memory of a guest that rests, and so neither moves it nor lets it go, as long as
        // we hold the lock.
        let memory = unsafe { GuestMemory::from_raw(base, size) };
        copy(memory).map_err(|error| match error {
            guest_memory::Error::OutOfBounds => MemoryError::OutOfBounds { size },
            _ => MemoryError::NoRoom { length },
        })
    }
}

impl Timed for Shared {
    fn expire(&self) {
        self.expired.store(true, Ordering::Release);
        lock(&self.inbox).stop = true;
        self.interrupt();
    }
}

impl Shared {
    /// What is told of a failure: an interruption may be because the time is over.
    fn reason(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Trap(Trap { code: TrapCode::Interrupted, .. })
                if self.expired.load(Ordering::Acquire) =>
            {
                Failure::Expired
            }
            other => other,
        }
    }

    /// Ends what the guest does, and all that it begins until it clears that.
    fn interrupt(&self) {
        self.wake.notify_one();
        if let Some(waits) = &self.waits {
            waits.fire();
        }
        if let Some(interrupt) = self.interrupt.get() {
            interrupt.interrupt();
        }
    }
}

/// The guest as its own thread sees it.
struct Guest {
    store: Store,
    shared: Arc<Shared>,
    sink: Sink,
    /// How many imports have been called.
    frames: Cell<u32>,
    /// Host functions, which the instance keeps, refer to us weakly: no cycle.
    linked: OnceCell<Linked>,
}

struct Linked {
    instance: Instance,
    /// For each export its function, if it is one.
    funcs: Vec<Option<Func>>,
    memories: Vec<Memory>,
}

/// What a wait brought.
enum Wake {
    Task(Task),
    Reply(Reply),
    Sweep,
}

/// The whole life of a guest.
fn serve(plan: Plan, shared: &Arc<Shared>, sink: &Sink) -> Result<(), Failure> {
    let store = Store::new(plan.module.engine())?;
    store.set_limits(plan.limits);
    store.set_fuel(plan.fuel);
    let guest = Rc::new(Guest {
        store,
        shared: shared.clone(),
        sink: sink.clone(),
        frames: Cell::new(0),
        linked: OnceCell::new(),
    });
    // Whoever stops us sets the flag first and looks for the handle then.
    let _ = shared.interrupt.set(guest.store.interrupt_handle());
    if lock(&shared.inbox).stop {
        return Err(TrapCode::Interrupted.into());
    }
    let instance = Instance::new(&guest.store, &plan.module, &externs(&guest, &plan)?)?;
    let exports: Vec<Extern> = instance.exports().into_iter().map(|(_, export)| export).collect();
    let as_func = |export: &Extern| match export {
        Extern::Func(func) => Some(func.clone()),
        _ => None,
    };
    let as_memory = |export: &Extern| match export {
        Extern::Memory(memory) => Some(memory.clone()),
        _ => None,
    };
    let linked = guest.linked.get_or_init(|| Linked {
        instance,
        funcs: exports.iter().map(as_func).collect(),
        memories: exports.iter().filter_map(as_memory).collect(),
    });
    drop(exports);

    if let Some(command) = plan.command {
        return linked.call(command, Values(Vec::new())).map(drop);
    }
    if let Some(initialize) = plan.initialize {
        linked.call(initialize, Values(Vec::new()))?;
    }
    // Without code that ran, what the module says is all there is to know.
    if plan.initialize.is_some() || plan.module.has_start() {
        linked.instance.keep_state(&guest.store)?;
    }
    let descriptors = plan.ctx.as_ref().map(|ctx| (ctx, ctx.kept()));
    guest.tell(Event::Ready);
    loop {
        match guest.rest(|inbox| {
            let task = inbox.begin(|inbox| &mut inbox.tasks);
            task.or_else(|| std::mem::take(&mut inbox.sweep).then_some(Wake::Sweep))
        })? {
            Wake::Task(Task::Call(call)) => guest.serve_call(call),
            Wake::Task(Task::Reset(number)) => {
                let result = linked.instance.reset(&guest.store);
                if let Some((ctx, kept)) = &descriptors {
                    ctx.restore(kept);
                }
                guest.ended(number)?;
                let result = result.map(|()| Values(Vec::new())).map_err(Failure::from);
                guest.tell(Event::Returned { call: number, result });
            }
            Wake::Sweep => {
                let mut live = Vec::new();
                guest.store.for_each_externref(&mut |reference| live.push(reference.0.get()));
                // A table of millions may hold one value.
                live.sort_unstable();
                live.dedup();
                guest.tell(Event::References(live));
            }
            Wake::Reply(_) => return Err(Failure::Internal("a reply that nobody waits for".into())),
        }
    }
}

/// The plan's imports in this store.
fn externs(guest: &Rc<Guest>, plan: &Plan) -> Result<Vec<Extern>, Failure> {
    let store = &guest.store;
    let mut externs = Vec::with_capacity(plan.imports.len());
    for (index, (import, asked)) in plan.imports.iter().zip(plan.module.imports()).enumerate() {
        externs.push(match (import, asked.ty) {
            (Import::Native(native), _) => Extern::Native(native.clone()),
            (Import::Value(value), _) => {
                let ty = GlobalType { content: value.ty(), mutable: false };
                Extern::Global(Global::new(store, ty, value.to_val())?)
            }
            (Import::Remote, ExternType::Func(ty)) => {
                let ty = ty.ty().clone();
                let (params, results) = (ty.params.len(), ty.results.len());
                let crosses = can_cross(&ty);
                let guest = Rc::downgrade(guest);
                Extern::Func(Func::new(store, ty, move |values| {
                    if !crosses {
                        return Err(Error::Internal(CANNOT_CROSS.into()));
                    }
                    call_remote(&guest, index, values, params, results)
                }))
            }
            (Import::Remote, _) => {
                return Err(Failure::Link(format!(
                    "import \"{}\" \"{}\": only functions and immutable globals can come from another \
                     thread",
                    asked.module, asked.name
                )));
            }
        });
    }
    Ok(externs)
}

/// An import of the other side: tells it, and waits for the answer.
fn call_remote(
    guest: &rc::Weak<Guest>,
    index: usize,
    values: &mut [ValRaw],
    params: usize,
    results: usize,
) -> Result<(), Error> {
    let guest = guest.upgrade().ok_or_else(|| Error::Internal("the guest has ended".into()))?;
    let frame = guest.frames.get();
    guest.frames.set(frame.wrapping_add(1));
    lock(&guest.shared.inbox).frames.push(frame);
    guest.tell(Event::Import { frame, index, values: Values(values[..params].to_vec()) });
    let reply = loop {
        let wake = guest.rest(|inbox| {
            let task = inbox.begin(|inbox| &mut inbox.nested);
            task.or_else(|| inbox.replies.remove(&frame).map(Wake::Reply))
        });
        match wake {
            Ok(Wake::Task(Task::Call(call))) => guest.serve_call(call),
            Ok(Wake::Reply(Ok(Values(reply)))) if reply.len() == results => break Ok(reply),
            Ok(_) => break Err(Error::Host(Box::new(Thrown(frame)))),
            Err(Stopped) => break Err(TrapCode::Interrupted.into()),
        }
    };
    let mut inbox = lock(&guest.shared.inbox);
    inbox.frames.pop();
    inbox.replies.remove(&frame);
    if inbox.frames.is_empty() {
        // Calls of an import that was not waited for to the end have nowhere to come in between.
        let Inbox { tasks, nested, .. } = &mut *inbox;
        tasks.extend(nested.drain(..));
    }
    drop(inbox);
    values[..results].copy_from_slice(&reply?);
    Ok(())
}

/// The guest was told to stop.
struct Stopped;

impl From<Stopped> for Failure {
    fn from(_: Stopped) -> Failure {
        TrapCode::Interrupted.into()
    }
}

impl Guest {
    /// Tells of an event after which the guest rests: whoever hears of it can look at memories.
    fn tell(&self, event: Event) {
        let bytes = |memory: &Memory| Bytes { base: memory.base(), length: memory.byte_len() };
        let memories = self.linked.get().map(|linked| linked.memories.iter().map(bytes).collect());
        *lock(&self.shared.resting) = memories;
        self.shared.fuel.store(self.store.fuel(), Ordering::Relaxed);
        (self.sink)(event);
    }

    /// Sleeps until `look` finds something in the inbox. The last thing before was to [`tell`]
    /// (Guest::tell).
    fn rest(&self, mut look: impl FnMut(&mut Inbox) -> Option<Wake>) -> Result<Wake, Stopped> {
        let mut inbox = lock(&self.shared.inbox);
        let woken = loop {
            if inbox.stop || inbox.cancelled.is_some() {
                break Err(Stopped);
            }
            if let Some(wake) = look(&mut inbox) {
                break Ok(wake);
            }
            inbox = self.shared.wake.wait(inbox).unwrap_or_else(PoisonError::into_inner);
        };
        drop(inbox);
        *lock(&self.shared.resting) = None;
        woken
    }

    fn serve_call(&self, Call { number, export, values, fuel, refuel }: Call) {
        if let Some(fuel) = refuel {
            self.store.set_fuel(fuel);
        }
        let tank = self.store.fuel();
        let given = fuel.map_or(tank, |fuel| fuel.min(tank));
        self.store.set_fuel(given);
        let mut result = match self.linked.get() {
            Some(linked) => linked.call(export, values),
            None => Err(Failure::Internal("a call before the guest is instantiated".into())),
        };
        self.store.set_fuel(tank - given.saturating_sub(self.store.fuel()));
        if let Err(failure) = self.ended(number) {
            result = Err(failure);
        }
        let result = result.map_err(|failure| self.shared.reason(failure));
        self.tell(Event::Returned { call: number, result });
    }

    /// What was under way with this number, the innermost, is over. If it was cancelled the guest can
    /// go on now.
    fn ended(&self, number: u32) -> Result<(), Failure> {
        let mut inbox = lock(&self.shared.inbox);
        inbox.running.pop();
        if inbox.cancelled != Some(number) {
            return Ok(());
        }
        inbox.cancelled = None;
        // Who stops the guest stops it for good, and says so before he interrupts.
        if inbox.stop {
            return Ok(());
        }
        if let Some(waits) = &self.shared.waits {
            waits.clear();
        }
        Ok(self.store.clear_interrupt()?)
    }
}

impl Linked {
    /// Calls an exported function with these arguments.
    fn call(&self, export: usize, Values(mut values): Values) -> Result<Values, Failure> {
        let internal = |message: &str| Failure::Internal(message.into());
        let func = self.funcs.get(export).and_then(Option::as_ref);
        let func = func.ok_or_else(|| internal("no such exported function"))?;
        let shared = func.ty();
        let ty = shared.ty();
        if values.len() != ty.params.len() {
            return Err(internal("a call with the wrong number of arguments"));
        }
        if !can_cross(ty) {
            return Err(internal(CANNOT_CROSS));
        }
        values.resize(ty.slots(), ValRaw::ZERO);
        // SAFETY: room and number were just checked, and for types without pointers any bits are
        // a value.
        unsafe { func.call_raw(values.as_mut_ptr()) }?;
        values.truncate(ty.results.len());
        Ok(Values(values))
    }
}
