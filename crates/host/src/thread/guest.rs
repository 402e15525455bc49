//! A guest on its own thread, from start to end.

use super::failure::{GuestFailure, Stopped, Thrown};
use super::memory::IdleMemory;
use super::shared::{Inbox, Shared, Task, Wake, lock};
use super::team::{memory_for, shared_memories, team_of};
use super::values::{CANNOT_CROSS, can_cross};
use super::{Call, Event, Import, Plan, Sink, Values};
use crate::metrics::{Metrics, Running};
use crate::team::{Fuel, Tank};
use engine::{
    Budget, Error, Extern, ExternRef, ExternType, Func, Global, GlobalType, Instance, Memory, SharedMemory,
    Store, TrapCode, ValRaw,
};
use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::rc::{self, Rc};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// The guest as its own thread sees it.
struct RunningGuest {
    store: Store,
    shared: Arc<Shared>,
    sink: Sink,
    metrics: Option<Arc<Metrics>>,
    coredump: Option<PathBuf>,
    fuel: Fuel,
    /// Host functions, which the instance keeps, refer to us weakly to avoid a cycle.
    linked: OnceCell<Linked>,
}

struct Linked {
    instance: Instance,
    /// For each export, its function if it is one.
    funcs: Vec<Option<Func>>,
    memories: Vec<Memory>,
}

/// Runs a guest from start to end.
pub(super) fn serve(plan: Plan, shared: &Arc<Shared>, sink: &Sink) -> Result<(), GuestFailure> {
    let store = Store::new(plan.module.engine())?;
    let limit = plan.limits.total_bytes;
    let budget = match &plan.metrics {
        Some(metrics) => Budget::counted(limit, metrics.memory.clone()),
        None => Budget::new(limit),
    };
    let _running = plan.metrics.as_ref().map(Running::of);
    store.set_limits_within(plan.limits, budget.clone());
    let starts_threads = plan.imports.iter().any(|import| matches!(import, Import::ThreadSpawn));
    let tank = starts_threads.then(|| Arc::new(Tank::new(plan.fuel)));
    if tank.is_none() {
        store.set_fuel(plan.fuel);
    }
    let fuel = Fuel::new(tank.clone(), &store);
    let guest = Rc::new(RunningGuest {
        store,
        shared: shared.clone(),
        sink: sink.clone(),
        metrics: plan.metrics.clone(),
        coredump: plan.coredump.clone(),
        fuel,
        linked: OnceCell::new(),
    });
    // A thread that stops us first sets the flag and then reads the handle.
    let _ = shared.interrupt.set(guest.store.interrupt_handle());
    if lock(&shared.inbox).stop {
        return Err(TrapCode::Interrupted.into());
    }
    let memories = shared_memories(&guest.store, &plan)?;
    if let Some(tank) = &tank {
        let team = team_of(&plan, &memories, budget, tank, shared, sink)?;
        *lock(&shared.team) = Some(team);
    }
    let instance = Instance::new(&guest.store, &plan.module, &externs(&guest, &plan, &memories)?)?;
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
    *lock(&shared.shared_memories) = linked.memories.iter().map(Memory::share).collect();

    if let Some(command) = plan.command {
        let ended = guest.call(linked, command, Values(Vec::new())).map(drop);
        plan.module.keep_progress();
        return ended;
    }
    if let Some(initialize) = plan.initialize {
        guest.call(linked, initialize, Values(Vec::new()))?;
    }
    // If no code ran, the module alone describes the state.
    if plan.initialize.is_some() || plan.module.has_start() {
        linked.instance.keep_state(&guest.store)?;
    }
    let descriptors = plan.ctx.as_ref().map(|ctx| (ctx, ctx.kept()));
    guest.tell(Event::Ready);
    loop {
        match guest.wait(|inbox| {
            let sweep = inbox.asked_to_sweep();
            sweep.or_else(|| inbox.begin(|inbox| &mut inbox.tasks))
        })? {
            Wake::Task(Task::Call(call)) => guest.serve_call(call),
            Wake::Task(Task::Reset(number)) => {
                let result = linked.instance.reset(&guest.store);
                if let Some((ctx, kept)) = &descriptors {
                    ctx.restore(kept);
                }
                guest.ended(number)?;
                let result = result.map(|()| Values(Vec::new())).map_err(GuestFailure::from);
                guest.tell(Event::Returned { call: number, result });
            }
            Wake::Sweep => guest.tell_references(),
            Wake::Reply(_) => return Err(GuestFailure::Internal("a reply that nobody waits for".into())),
        }
    }
}

/// A new file for what nobody else may read: a guest's memory.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The plan's imports in this store.
fn externs(
    guest: &Rc<RunningGuest>,
    plan: &Plan,
    memories: &[SharedMemory],
) -> Result<Vec<Extern>, GuestFailure> {
    let mut memories = memories.iter();
    let store = &guest.store;
    let mut externs = Vec::with_capacity(plan.imports.len());
    for (index, (import, asked)) in plan.imports.iter().zip(plan.module.imports()).enumerate() {
        externs.push(match (import, asked.ty) {
            (Import::Native(native), _) => Extern::Native(native.clone()),
            (Import::Value(value), _) => {
                let ty = GlobalType { content: value.ty(), mutable: false };
                Extern::Global(Global::new(store, ty, value.to_val())?)
            }
            (Import::SharedMemory, _) => memory_for(store, memories.next())?,
            (Import::ThreadSpawn, _) => {
                let native = lock(&guest.shared.team).as_ref().and_then(|team| team.thread_spawn());
                Extern::Native(native.ok_or(Stopped)?)
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
                return Err(GuestFailure::Link(format!(
                    "import \"{}\" \"{}\": only functions and immutable globals can come from another \
                     thread",
                    asked.module, asked.name
                )));
            }
        });
    }
    Ok(externs)
}

/// Calls an import of the other side: sends the call, and waits for the answer.
fn call_remote(
    guest: &rc::Weak<RunningGuest>,
    index: usize,
    values: &mut [ValRaw],
    params: usize,
    results: usize,
) -> Result<(), Error> {
    let guest = guest.upgrade().ok_or_else(|| Error::Internal("the guest has ended".into()))?;
    let frame = guest.shared.frames.fetch_add(1, Ordering::Relaxed);
    lock(&guest.shared.inbox).frames.push(frame);
    guest.tell(Event::Import { frame, index, values: Values(values[..params].to_vec()) });
    let reply = loop {
        let wake = guest.wait(|inbox| {
            let sweep = inbox.asked_to_sweep();
            let task = sweep.or_else(|| inbox.begin(|inbox| &mut inbox.nested));
            task.or_else(|| inbox.replies.remove(&frame).map(Wake::Reply))
        });
        match wake {
            Ok(Wake::Task(Task::Call(call))) => guest.serve_call(call),
            Ok(Wake::Sweep) => guest.tell_references(),
            Ok(Wake::Reply(Ok(Values(reply)))) if reply.len() == results => break Ok(reply),
            Ok(_) => break Err(Error::Host(Box::new(Thrown(frame)))),
            Err(Stopped) => break Err(TrapCode::Interrupted.into()),
        }
    };
    let mut inbox = lock(&guest.shared.inbox);
    inbox.frames.pop();
    inbox.replies.remove(&frame);
    if inbox.frames.is_empty() {
        // The guest may have stopped waiting for an import. Calls within its frame become ordinary tasks.
        let Inbox { tasks, nested, .. } = &mut *inbox;
        tasks.extend(nested.drain(..));
    }
    drop(inbox);
    values[..results].copy_from_slice(&reply?);
    Ok(())
}

impl RunningGuest {
    /// Calls an exported function. Its time counts, and a trap leaves a core dump.
    fn call(&self, linked: &Linked, export: usize, values: Values) -> Result<Values, GuestFailure> {
        let result = self.timed(|| linked.call(export, values));
        if let (Some(path), Err(GuestFailure::Trap(trap))) = (&self.coredump, &result)
            && trap.code != TrapCode::Interrupted
        {
            let dump = |file| {
                let mut file = BufWriter::new(file);
                linked.instance.write_coredump("program", &trap.backtrace, &mut file)
            };
            // Who looks for the file finds that there is none, or a part. The trap is what is told.
            let _ = private_file(path).and_then(dump);
        }
        result
    }

    /// Counts the time of a call, but of one within another only as the outer one's.
    fn timed<T>(&self, call: impl FnOnce() -> T) -> T {
        match &self.metrics {
            Some(metrics) if !self.store.is_running() => metrics.timed(call),
            _ => call(),
        }
    }

    /// Reports an event after which the guest is idle. The receiver can then access its memories.
    fn tell(&self, event: Event) {
        let bytes = |memory: &Memory| IdleMemory { base: memory.base(), length: memory.byte_len() };
        let memories = self.linked.get().map(|linked| linked.memories.iter().map(bytes).collect());
        *lock(&self.shared.idle_memories) = memories;
        let fuel = self.store.fuel().saturating_add(self.fuel.shared());
        self.shared.fuel.store(fuel, Ordering::Relaxed);
        (self.sink)(event);
    }

    /// Sleeps until `look` finds something in the inbox. [`tell`](RunningGuest::tell) must have been called
    /// just before.
    fn wait(&self, mut look: impl FnMut(&mut Inbox) -> Option<Wake>) -> Result<Wake, Stopped> {
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
        *lock(&self.shared.idle_memories) = None;
        woken
    }

    fn tell_references(&self) {
        let mut live = Vec::new();
        self.store.for_each_externref(&mut |reference| live.push(reference.0.get()));
        for value in lock(&self.shared.inbox).values() {
            // SAFETY: every bit pattern is a valid index. A wrong one only keeps a value a little longer.
            live.extend(ExternRef::of(unsafe { value.externref }).map(|reference| reference.0.get()));
        }
        // A table of millions of elements may hold a single value.
        live.sort_unstable();
        live.dedup();
        // What the guest's other threads hold cannot be told.
        let alone = lock(&self.shared.team).as_ref().is_none_or(|team| team.is_empty());
        self.tell(Event::References(alone.then_some(live)));
    }

    fn serve_call(&self, Call { number, export, values, fuel, refuel }: Call) {
        let call = || match self.linked.get() {
            Some(linked) => self.call(linked, export, values),
            None => Err(GuestFailure::Internal("a call before the guest is instantiated".into())),
        };
        let mut result = self.fuel.lend(&self.store, fuel, refuel, call);
        if let Err(failure) = self.ended(number) {
            result = Err(failure);
        }
        // Why another thread ended the guest is told once, with the guest's end.
        if matches!(&result, Err(failure) if failure.is_interruption()) && self.shared.team_has_ended() {
            return;
        }
        let result = result.map_err(|failure| self.shared.reason(failure));
        self.tell(Event::Returned { call: number, result });
    }

    /// Ends the innermost task, which has this number. If it was cancelled, the guest can continue
    /// now.
    fn ended(&self, number: u32) -> Result<(), GuestFailure> {
        let mut inbox = lock(&self.shared.inbox);
        inbox.running.pop();
        if inbox.cancelled != Some(number) {
            return Ok(());
        }
        inbox.cancelled = None;
        // A stop is final, and its flag is set before the interruption.
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
    fn call(&self, export: usize, values: Values) -> Result<Values, GuestFailure> {
        let func = self.funcs.get(export).and_then(Option::as_ref);
        call_func(func.ok_or_else(|| GuestFailure::Internal("no such exported function".into()))?, values)
    }
}

/// Calls a function with these arguments.
pub(super) fn call_func(func: &Func, Values(mut values): Values) -> Result<Values, GuestFailure> {
    let internal = |message: &str| GuestFailure::Internal(message.into());
    let shared = func.ty();
    let ty = shared.ty();
    if values.len() != ty.params.len() {
        return Err(internal("a call with the wrong number of arguments"));
    }
    if !can_cross(ty) {
        return Err(internal(CANNOT_CROSS));
    }
    values.resize(ty.slots(), ValRaw::ZERO);
    // SAFETY: room and number were just checked, and for types without pointers any bits are a value.
    unsafe { func.call_raw(values.as_mut_ptr()) }?;
    values.truncate(ty.results.len());
    Ok(Values(values))
}
