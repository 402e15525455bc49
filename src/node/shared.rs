//! Shared memories, whose bytes are V8's. Only V8 can make a `SharedArrayBuffer`, and its own shared memories
//! stay where they are when they grow.
//!
//! V8 lacks some types that the engine has, such as memories with pages of another size. Their bytes are the
//! engine's, and JavaScript cannot have them as a buffer: it gets copies.
//!
//! For the face, through Node-API. Invariants: every handle to such a memory comes with a
//! `SharedArrayBuffer` of the handle's environment, which counts among V8's holders of the bytes. A native
//! memory is found by the address of its bytes only while a handle lives whose environment has not ended, so
//! while nothing else can be at that address.

use super::constants::named;
use super::failure::{Failure, Kind, run};
use super::module::limits;
use super::objects::{as_memory, made};
use super::raw::{self, HandleScope, Reference, Refused};
use super::realm::Realm;
use engine::{Error, Extern, Memory, MemoryHost, MemoryType, SharedMemory, Wait, WeakSharedMemory};
use napi::bindgen_prelude::{Env, External, Uint8Array, Unknown};
use napi::{JsValue, sys};
use napi_derive::napi;
use once_cell::sync::Lazy;
use std::collections::HashMap;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// The shared memories of the process by the address of their bytes. Threads that got the same bytes must
/// have one memory, so this cannot belong to a realm.
static KNOWN: Lazy<Mutex<HashMap<usize, Known>>> = Lazy::new(Mutex::default);

struct Known {
    memory: WeakSharedMemory,
    /// Those of the memory's handles that may live.
    holders: Vec<Weak<Holder>>,
}

/// What a handle keeps the bytes with.
struct Holder {
    /// Whether its environment has. Then the bytes may be gone though the handle is still there: Bun was seen to
    /// leave handles of Workers as they are.
    ended: Arc<AtomicBool>,
}

impl Known {
    fn memory(&self) -> Option<SharedMemory> {
        let holds = |holder: &Weak<Holder>| holder.upgrade().is_some_and(|holder| holder.holds());
        self.holders.iter().any(holds).then(|| self.memory.upgrade()).flatten()
    }
}

impl Holder {
    fn holds(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }
}

fn known() -> MutexGuard<'static, HashMap<usize, Known>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The memory with these bytes, and what holds them from now on. If `is_new`, they have just been made, so what was
/// known at this address is gone. Without a type only a known memory is found. V8 may not say where the bytes of an
/// empty memory will be; then they are unknown until there are some.
fn memory_at(
    realm: &Realm,
    base: *mut u8,
    length: usize,
    ty: Option<MemoryType>,
    is_new: bool,
) -> Option<(SharedMemory, Arc<Holder>)> {
    // SAFETY: V8's bytes, which each handle's host keeps (see `V8Memory`).
    let make = |ty| unsafe { SharedMemory::of_host(ty, base, length) };
    let holder = Arc::new(Holder { ended: realm.ended.clone() });
    if base.is_null() {
        return ty.map(|ty| (make(ty), holder));
    }
    let mut all = known();
    let found = all.get(&(base as usize)).and_then(Known::memory).filter(|_| !is_new);
    let memory = match found {
        Some(memory) => memory,
        None => {
            let memory = make(ty?);
            all.retain(|_, known| known.memory().is_some());
            all.insert(base as usize, Known { memory: memory.downgrade(), holders: Vec::new() });
            memory
        }
    };
    if let Some(known) = all.get_mut(&(base as usize)) {
        known.holders.retain(|holder| holder.strong_count() > 0);
        known.holders.push(Arc::downgrade(&holder));
    }
    Some((memory, holder))
}

/// Makes the handle to a shared memory whose bytes are `bytes`, a typed array over a buffer that nobody else
/// has. `host` is the face's function for what only V8 can do; the face's group of the memory must keep it.
/// Without limits there is a handle only for bytes that are known already, and null for others.
#[napi(catch_unwind)]
pub fn adopt_memory(
    realm: &External<Rc<Realm>>,
    bytes: Unknown,
    host: Unknown,
    limits: Option<Vec<f64>>,
    wide: bool,
    is_new: bool,
) -> napi::Result<Option<(f64, External<Extern>)>> {
    run(realm, || {
        let ty = match limits.as_deref() {
            Some([minimum, maximum]) => Some(MemoryType {
                minimum: *minimum as u64,
                maximum: Some(*maximum as u64),
                memory64: wide,
                shared: true,
                page_size_log2: 16,
            }),
            _ => None,
        };
        let (base, length) = extent(realm.env, bytes.raw())?;
        let Some((memory, holder)) = memory_at(realm, base, length, ty, is_new) else { return Ok(None) };
        let host = V8Memory {
            env: realm.env,
            host: Reference::weak(realm.env, host.raw())?,
            _bytes: Reference::strong(realm.env, bytes.raw())?,
            _holder: holder,
        };
        let memory = memory.with_host(&realm.store, Rc::new(host));
        memory.follow_host();
        Ok(Some(made(memory.id(), Extern::Memory(memory))))
    })
}

/// Whether the process has a memory over these bytes of V8's, a typed array.
#[napi(catch_unwind)]
pub fn knows_memory(realm: &External<Rc<Realm>>, bytes: Unknown) -> napi::Result<bool> {
    run(realm, || {
        let (base, _) = extent(realm.env, bytes.raw())?;
        Ok(known().get(&(base as usize)).and_then(Known::memory).is_some())
    })
}

/// Notes that V8 may have made the memory larger. Returns its pages.
#[napi(catch_unwind)]
pub fn follow_memory(memory: &External<Extern>) -> f64 {
    let memory = as_memory(memory);
    memory.follow_host();
    memory.size() as f64
}

/// The type of a shared memory whose bytes are the engine's (see [`limits`]); null for any other.
#[napi(catch_unwind)]
pub fn own_shared(memory: &External<Extern>) -> Option<Vec<f64>> {
    as_memory(memory).share().map(|memory| limits(memory.ty()).to_vec())
}

/// How many bytes a memory has.
#[napi(catch_unwind)]
pub fn memory_size(memory: &External<Extern>) -> f64 {
    as_memory(memory).byte_len() as f64
}

/// A copy of bytes of a memory.
#[napi(catch_unwind)]
pub fn read_memory<'env>(
    env: &'env Env,
    realm: &External<Rc<Realm>>,
    memory: &External<Extern>,
    offset: f64,
    length: f64,
) -> napi::Result<Unknown<'env>> {
    let bytes = run(realm, || {
        let (from, length) = (place(as_memory(memory), offset, length)?, length as usize);
        let mut copy = Vec::<u8>::new();
        copy.try_reserve_exact(length)
            .map_err(|_| Failure::new(Kind::Memory, format!("cannot allocate a copy of {length} bytes")))?;
        // SAFETY: inside the memory, which its handle keeps; as much room was just made.
        unsafe {
            ptr::copy_nonoverlapping(from, copy.as_mut_ptr(), length);
            copy.set_len(length);
        }
        Ok(copy)
    })?;
    super::buffers::copied(env, realm, &bytes)
}

/// Copies bytes into a memory.
#[napi(catch_unwind)]
pub fn write_memory(
    realm: &External<Rc<Realm>>,
    memory: &External<Extern>,
    offset: f64,
    bytes: Uint8Array,
) -> napi::Result<()> {
    run(realm, || {
        let to = place(as_memory(memory), offset, bytes.len() as f64)?;
        // SAFETY: inside the memory, which its handle keeps. What is written may be over the bytes of
        // a memory, too.
        unsafe { ptr::copy(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    })
}

/// The address of so many bytes at `offset`, if they are inside the memory.
fn place(memory: &Memory, offset: f64, length: f64) -> Result<*mut u8, Failure> {
    let size = memory.byte_len();
    if offset + length > size as f64 {
        return Err(Failure::new(Kind::Range, format!("outside of the memory, which has {size} bytes")));
    }
    Ok(memory.base().wrapping_add(offset as usize))
}

/// The address of a typed array's bytes, and how many there are.
fn extent(env: sys::napi_env, bytes: sys::napi_value) -> Result<(*mut u8, usize), Refused> {
    let (mut length, mut data) = (0, ptr::null_mut());
    // SAFETY: `bytes` is a handle of the open scope; null for what we do not ask for is allowed.
    raw::check(unsafe {
        let none = ptr::null_mut();
        sys::napi_get_typedarray_info(env, bytes, none, &mut length, &mut data, none.cast(), none.cast())
    })?;
    Ok((data.cast(), length))
}

named! {
    /// What the face's `host` is asked for.
    pub enum Request {
        Bytes = "bytes",
        Grow = "grow",
        Wait32 = "wait32",
        Wait64 = "wait64",
        Notify = "notify",
    }
}

named! {
    /// What `Atomics.wait` answers.
    pub enum Answer {
        Notified = "ok",
        NotEqual = "not-equal",
        TimedOut = "timed-out",
    }
}

struct V8Memory {
    env: sys::napi_env,
    host: Reference,
    /// Keeps the bytes.
    _bytes: Reference,
    _holder: Arc<Holder>,
}

impl V8Memory {
    /// The number that the face answers with.
    fn ask(&self, request: Request, args: &[f64]) -> Result<f64, Refused> {
        let _scope = HandleScope::open(self.env)?;
        let answer = self.call(request, args)?;
        let mut number = 0.0;
        // SAFETY: `answer` is a handle of the open scope.
        raw::check(unsafe { sys::napi_get_value_double(self.env, answer, &mut number) })?;
        Ok(number)
    }

    fn call(&self, request: Request, args: &[f64]) -> Result<sys::napi_value, Refused> {
        let host = self.host.get().ok_or(Refused)?;
        let numbers = [f64::from(request as u8)].into_iter().chain(args.iter().copied());
        let args = numbers.map(|number| raw::number(self.env, number)).collect::<Result<Vec<_>, _>>()?;
        let answer = raw::call(self.env, host, &args);
        if answer.is_err() {
            // What V8 throws here says only that it could not.
            raw::take_exception(self.env);
        }
        answer
    }
}

impl MemoryHost for V8Memory {
    fn grow(&self, delta: u64) -> bool {
        self.ask(Request::Grow, &[delta as f64]).is_ok_and(|grown| grown != 0.0)
    }

    fn bytes(&self) -> (*mut u8, usize) {
        let bytes = || {
            let _scope = HandleScope::open(self.env)?;
            extent(self.env, self.call(Request::Bytes, &[])?)
        };
        bytes().unwrap_or((ptr::null_mut(), 0))
    }

    fn wait(&self, address: u64, size: u32, expected: u64, timeout: Option<Duration>) -> Result<Wait, Error> {
        let request = if size == 4 { Request::Wait32 } else { Request::Wait64 };
        let milliseconds = timeout.map_or(f64::INFINITY, |timeout| timeout.as_secs_f64() * 1000.0);
        // A 64-bit word in two halves, each of which a double holds.
        let (low, high) = (expected as u32, (expected >> 32) as u32);
        let place = (address / u64::from(size)) as f64;
        let answer = self.ask(request, &[place, low.into(), high.into(), milliseconds]);
        match answer.map(|answer| Answer::ALL.get(answer as usize)) {
            Ok(Some((_, Answer::Notified))) => Ok(Wait::Notified),
            Ok(Some((_, Answer::NotEqual))) => Ok(Wait::NotEqual),
            Ok(_) => Ok(Wait::TimedOut),
            // The environment is going down.
            Err(Refused) => Err(Failure::Stopped.into()),
        }
    }

    fn notify(&self, address: u64, count: u32) -> u32 {
        let woken = self.ask(Request::Notify, &[(address / 4) as f64, count.into()]);
        woken.map_or(0, |woken| woken as u32)
    }
}
