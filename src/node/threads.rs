//! Guests on threads of their own, and their way back to JavaScript.
//!
//! For the face, through Node-API. Invariants: everything that a guest thread tells goes through one queue
//! of the realm and is delivered on the realm's thread, in order; when the environment
//! goes, all its guests are stopped, and nothing is put into the queue from then on. As long as it
//! lives no event is lost: a promise waits for each.

use super::constants::named;
use super::failure::{self, Failure, Kind, run};
use super::instance::EngineLimits;
use super::queue::{self, Queue};
use super::raw::{self, HandleScope, Reference, Refused};
use super::realm::Realm;
use super::wasi::Program;
use engine::{Extern, Module, ValRaw};
use host::thread::{self, Call, Crew, Event, GuestThread, Import, MemoryError, Plan, Value, Values};
use napi::bindgen_prelude::{Env, External, FromNapiRef, Uint8Array, Unknown};
use napi::{JsValue, ValueType};
use napi_derive::napi;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A realm's guest threads.
pub struct Threads {
    queue: Arc<Queue<Told>>,
    guests: Arc<Guests>,
    crew: Crew,
    /// `deliver(thread, what, number, last)`.
    deliver: Reference,
}

/// The guests that have not told their end, by number.
#[derive(Default)]
struct Guests {
    alive: Mutex<HashMap<u32, GuestThread>>,
    gone: Condvar,
}

/// What a guest thread tells.
struct Told {
    thread: u32,
    event: Event,
}

/// How long an environment that ends waits for its guests. A guest that is not back by then is in a call
/// that the kernel does not let go. It will find the queue closed.
const PATIENCE: Duration = Duration::from_secs(2);

impl Guests {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, GuestThread>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops all guests and waits for them.
    fn end(&self) {
        let mut alive = self.lock();
        alive.values().for_each(GuestThread::stop);
        let deadline = Instant::now() + PATIENCE;
        while !alive.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            alive = self.gone.wait_timeout(alive, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

named! {
    /// What happened to a guest, for `deliver`.
    pub enum EventKind {
        /// It waits for calls.
        Ready = "ready",
        /// It called an import, whose index is `number`, in the frame `last`. The arguments are in the
        /// window.
        Import = "import",
        /// The call `number` ended: with its results in the window, or with the error `last`.
        Returned = "returned",
        /// It answers `sweep_thread`: `last` lists the references that it holds.
        References = "references",
        /// It ended, with the error `last` if that was not in order.
        Ended = "ended",
    }
}

/// Opens the realm's queue. `deliver` is called with a guest's number, the [`EventKind`] of what happened to
/// it, and the arguments `number` and `last`. An error is undefined if nothing went wrong, and a number if
/// it is what the import of that frame threw.
#[napi(catch_unwind)]
pub fn open_threads(realm: &External<Rc<Realm>>, deliver: Unknown) -> napi::Result<()> {
    let realm: &Rc<Realm> = realm;
    run(realm, || {
        let guests = Arc::<Guests>::default();
        let at_end = guests.clone();
        let queue = Queue::open(realm, move || at_end.end())?;
        let deliver = Reference::strong(realm.env, deliver.raw())?;
        let _ = realm.threads.set(Threads { queue, guests, crew: Crew::default(), deliver });
        Ok(())
    })
}

impl queue::Message for Told {
    fn deliver(self, realm: &Realm) -> Result<(), Failure> {
        deliver(realm, self)
    }
}

fn deliver(realm: &Realm, Told { thread, event }: Told) -> Result<(), Failure> {
    let Some(threads) = realm.threads.get() else { return Ok(()) };
    let _scope = HandleScope::open(realm.env)?;
    let undefined = || raw::undefined(realm.env);
    let error = |failure| match failure {
        thread::GuestFailure::Thrown(frame) => raw::number(realm.env, frame.into()),
        // A panic here is told in place of the failure. Whatever becomes of its text, the promise that
        // waits for the event is rejected.
        failure => {
            let failure = failure::caught(|| Ok(failure.into())).unwrap_or_else(|bug| bug);
            failure::to_value(realm, &failure).ok_or(Refused)
        }
    };
    let (what, number, values, last) = match event {
        Event::Ready => (EventKind::Ready, 0, None, undefined()?),
        Event::Import { frame, index, values } => {
            (EventKind::Import, index as u32, Some(values), raw::number(realm.env, frame.into())?)
        }
        Event::Returned { call, result: Ok(values) } => {
            (EventKind::Returned, call, Some(values), undefined()?)
        }
        Event::Returned { call, result: Err(failure) } => (EventKind::Returned, call, None, error(failure)?),
        // Without the list all references are kept.
        Event::References(live) => {
            let list = live.and_then(|live| raw::numbers(realm.env, &live).ok());
            (EventKind::References, 0, None, list.map_or_else(undefined, Ok)?)
        }
        Event::Ended(Ok(())) => (EventKind::Ended, 0, None, undefined()?),
        Event::Ended(Err(failure)) => (EventKind::Ended, 0, None, error(failure)?),
    };
    for (slot, value) in values.iter().flat_map(|Values(values)| values).enumerate() {
        realm.set_slot(slot, *value);
    }
    let function = threads.deliver.get().ok_or(Refused)?;
    let numbers = [thread, what as u32, number].map(|number| raw::number(realm.env, number.into()));
    let [thread, what, number] = numbers;
    let called = raw::call(realm.env, function, &[thread?, what?, number?, last]);
    // If `deliver` throws, it has a bug. The exception stays pending, and Node reports it.
    called.map(drop).or(Ok(()))
}

/// Sets whether guests keep the event loop running.
#[napi(catch_unwind)]
pub fn hold_event_loop(realm: &External<Rc<Realm>>, hold: bool) {
    let Some(threads) = realm.threads.get() else { return };
    threads.queue.hold_event_loop(realm, hold);
}

/// A guest thread as JavaScript holds it. Letting go of the handle stops the guest.
pub struct GuestHandle {
    thread: GuestThread,
    /// Whose window the guest's calls use.
    realm: Rc<Realm>,
}

impl Drop for GuestHandle {
    fn drop(&mut self) {
        self.thread.stop();
    }
}

/// What a guest is to do.
#[napi(object)]
pub struct GuestPlan {
    pub limits: EngineLimits,
    /// The place among the exports of the function to call, after which the guest ends. Without one it
    /// waits for calls.
    pub command: Option<u32>,
    /// The place of the function to call before the guest waits for calls, if there is one.
    pub initialize: Option<u32>,
    /// How long the guest may take.
    pub milliseconds: Option<f64>,
    /// How many threads it may start that are there at the same time.
    pub threads: Option<u32>,
    /// The path of a file for a core dump.
    pub coredump: Option<String>,
}

/// Starts the guest `number`. Each import is an `External` (of a WASI function or an immutable global), null
/// for a function that `deliver` is told of, or the [`OfThreads`] that the guest gets from us.
#[napi(catch_unwind)]
pub fn start_thread<'env>(
    env: &'env Env,
    realm: &External<Rc<Realm>>,
    number: u32,
    module: &External<Module>,
    program: Option<&External<Program>>,
    imports: Vec<Unknown<'env>>,
    wanted: GuestPlan,
) -> napi::Result<External<GuestHandle>> {
    let imports = imports.iter().map(|value| import(env, value));
    let imports = imports.collect::<napi::Result<Vec<Import>>>()?;
    run(realm, || {
        let threads = realm.threads.get().ok_or(Failure::Stopped)?;
        let plan = Plan {
            module: Module::clone(module),
            imports,
            threads: wanted.threads.map_or(0, |threads| threads as usize),
            ctx: program.map(|program| program.ctx.clone()),
            coredump: wanted.coredump.map(PathBuf::from),
            metrics: program.map(|program| program.metrics.clone()),
            // Infinity becomes the most that there can be.
            fuel: wanted.limits.fuel.map_or(u64::MAX, |fuel| fuel as u64),
            limits: wanted.limits.limits(),
            command: wanted.command.map(|place| place as usize),
            initialize: wanted.initialize.map(|place| place as usize),
        };
        if !threads.queue.is_open() {
            return Err(Failure::Stopped);
        }
        // The lock is held until the guest is listed: it may end at once, and then takes itself off the list.
        let mut alive = threads.guests.lock();
        let (queue, guests) = (threads.queue.clone(), threads.guests.clone());
        let sink = Arc::new(move |event| {
            if matches!(event, Event::Ended(_)) {
                guests.lock().remove(&number);
                guests.gone.notify_all();
            }
            queue.send(Told { thread: number, event });
        });
        let guest = GuestThread::start(&threads.crew, plan, sink).map_err(|error| {
            let advice = "; let fewer programs run at the same time";
            Failure::new(Kind::Resource, format!("cannot start a thread for the program: {error}{advice}"))
        })?;
        alive.insert(number, guest.clone());
        drop(alive);
        // Without a watchdog there is still the face's timer, which is late when this thread is busy.
        if let Some(left) = wanted.milliseconds
            && let Ok(watchdog) = realm.watchdog()
        {
            let at = Instant::now() + Duration::from_secs_f64(left.max(0.0) / 1000.0);
            watchdog.watch(at, guest.timed());
        }
        Ok(External::new(GuestHandle { thread: guest, realm: Rc::clone(realm) }))
    })
}

named! {
    /// What only guests with threads of their own import.
    pub enum OfThreads {
        Memory = "memory",
        Spawn = "spawn",
    }
}

fn import(env: &Env, value: &Unknown<'_>) -> napi::Result<Import> {
    match value.get_type()? {
        ValueType::Null => return Ok(Import::Remote),
        ValueType::Number => {
            // SAFETY: `value` is a number.
            let number = unsafe { value.cast::<u32>() }?;
            let import = match OfThreads::ALL.get(number as usize) {
                Some((_, OfThreads::Memory)) => Import::SharedMemory,
                _ => Import::ThreadSpawn,
            };
            return Ok(import);
        }
        _ => {}
    }
    // SAFETY: a handle of this callback's scope; what is no `External<Extern>` is refused.
    let handle = unsafe { External::<Extern>::from_napi_ref(env.raw(), value.raw()) }?;
    let import = match &**handle {
        Extern::Native(native) => Some(Import::Native(native.clone())),
        Extern::Global(global) => Value::of(&global.get()).map(Import::Value),
        _ => None,
    };
    import.ok_or_else(|| napi::Error::from_reason("this import cannot go to another thread"))
}

/// The values in the window's first slots.
fn window(realm: &Realm, count: u32) -> Values {
    Values((0..count as usize).map(|index| realm.slot(index)).collect::<Vec<ValRaw>>())
}

/// Asks for a call, with `count` arguments in the window; see [`GuestThread::call`].
#[napi(catch_unwind)]
pub fn call_thread(
    guest: &External<GuestHandle>,
    number: u32,
    export: u32,
    count: u32,
    within: Option<u32>,
    fuel: Option<f64>,
    refuel: Option<f64>,
) {
    let call = Call {
        number,
        export: export as usize,
        values: window(&guest.realm, count),
        fuel: fuel.map(|fuel| fuel as u64),
        refuel: refuel.map(|fuel| fuel as u64),
    };
    guest.thread.call(call, within);
}

/// Ends a call or reset; see [`GuestThread::cancel`].
#[napi(catch_unwind)]
pub fn cancel_call(guest: &External<GuestHandle>, number: u32) -> bool {
    guest.thread.cancel(number)
}

/// Asks for a reset; see [`GuestThread::reset`].
#[napi(catch_unwind)]
pub fn reset_thread(guest: &External<GuestHandle>, number: u32) {
    guest.thread.reset(number);
}

/// What was left of the fuel when the guest last rested.
#[napi(catch_unwind)]
pub fn thread_fuel(guest: &External<GuestHandle>) -> f64 {
    guest.thread.fuel() as f64
}

/// Answers the import of a frame: with `count` results in the window, or without any if it failed.
/// False if nobody waits for it any more.
#[napi(catch_unwind)]
pub fn reply_to_thread(guest: &External<GuestHandle>, frame: u32, count: Option<u32>) -> bool {
    guest.thread.reply(frame, count.map(|count| window(&guest.realm, count)).ok_or(()))
}

/// Asks which host values the guest holds the next time that it rests with no call under way.
#[napi(catch_unwind)]
pub fn sweep_thread(guest: &External<GuestHandle>) {
    guest.thread.sweep();
}

#[napi(catch_unwind)]
pub fn stop_thread(guest: &External<GuestHandle>) {
    guest.thread.stop();
}

/// The size in bytes of an exported memory, by its place among the exported memories.
#[napi(catch_unwind)]
pub fn thread_memory_size(guest: &External<GuestHandle>, memory: u32) -> napi::Result<f64> {
    run(&guest.realm, || Ok(guest.thread.memory_size(memory as usize).map_err(memory_failure)? as f64))
}

/// A copy of bytes of an exported memory.
#[napi(catch_unwind)]
pub fn read_thread_memory<'env>(
    env: &'env Env,
    guest: &External<GuestHandle>,
    memory: u32,
    offset: f64,
    length: f64,
) -> napi::Result<Unknown<'env>> {
    let bytes = run(&guest.realm, || {
        let bytes = guest.thread.read(memory as usize, offset as usize, length as usize);
        bytes.map_err(memory_failure)
    })?;
    super::buffers::copied(env, &guest.realm, &bytes)
}

/// Copies bytes into an exported memory.
#[napi(catch_unwind)]
pub fn write_thread_memory(
    guest: &External<GuestHandle>,
    memory: u32,
    offset: f64,
    bytes: Uint8Array,
) -> napi::Result<()> {
    run(&guest.realm, || guest.thread.write(memory as usize, offset as usize, &bytes).map_err(memory_failure))
}

fn memory_failure(error: MemoryError) -> Failure {
    match error {
        MemoryError::NotIdle => Failure::new(
            Kind::Busy,
            "the instance is at work on its thread, or has ended: its memory can be looked at when \
             no call is under way, or from an import while the instance waits for it",
        ),
        MemoryError::OutOfBounds { size } => {
            Failure::new(Kind::Range, format!("outside of the memory, which has {size} bytes"))
        }
        MemoryError::NoRoom { length } => {
            Failure::new(Kind::Memory, format!("cannot allocate a copy of {length} bytes"))
        }
    }
}
