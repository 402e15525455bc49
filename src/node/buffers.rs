//! The `ArrayBuffer`s over memories.
//!
//! For this room, and through Node-API for the face. Invariants: a buffer that is not detached covers
//! exactly the memory's present size whenever JavaScript runs. Bytes that a buffer was made over neither
//! move nor go while anybody can use them: through the buffer, through buffers that its bytes were handed
//! on to, or through a view. Views of detached buffers count too, since a thread of Node's pool may be at
//! work on one.
//!
//! V8's own memories have buffers that cannot be taken away. V8 has a *detach key* for buffers: nobody
//! detaches one without it, neither `transfer()` nor a stream. Node-API has no call for the key, so we call
//! V8's function where Node is known to bear it. (Before Node 24 `transfer()` and byte streams abort the
//! process at such a buffer.) Elsewhere a buffer can be taken, and then the finalizer of its bytes tells
//! when they are free. The exception is an environment that ends: it also runs the finalizers of bytes
//! that went to other threads, so what was taken stays mapped for ever.

use super::failure::{Failure, Kind, run};
use super::objects::as_memory;
use super::platform::symbol;
use super::raw::{self, HandleScope, Reference, Refused};
use super::realm::Realm;
use engine::{Extern, Memory, Pin};
use napi::bindgen_prelude::{Env, External, Unknown};
use napi::{JsValue, sys};
use napi_derive::napi;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::rc::{Rc, Weak};
use std::thread::{self, ThreadId};

/// The buffers over the memories of a realm.
#[derive(Default)]
pub struct Buffers {
    /// The buffer of a memory, by the memory's identity, while JavaScript may ask for it again.
    current: HashMap<usize, NonNull<Owner>>,
    /// All buffers whose bytes are still pinned.
    all: HashSet<NonNull<Owner>>,
    /// Whether the environment ends, and they were looked at for that.
    settled: bool,
}

/// What a buffer holds. It has two finalizers: that of the `ArrayBuffer` object, and that of the bytes,
/// which may live longer or less long. The last of the two drops the owner.
struct Owner {
    thread: ThreadId,
    realm: Rc<Realm>,
    memory: Memory,
    /// `None` when the runtime has let go of the bytes at the end of the environment.
    pin: Cell<Option<Pin>>,
    /// The memory's generation when the buffer was made.
    generation: u64,
    /// Weak.
    buffer: Option<Reference>,
    /// Whether nobody but us can detach the buffer.
    locked: Cell<bool>,
    /// Whether we have detached it.
    detached: Cell<bool>,
    /// Whether each of the two is over.
    object_gone: Cell<bool>,
    bytes_gone: Cell<bool>,
    /// Before this is set, whoever makes the buffer owns this.
    is_made: Cell<bool>,
}

/// The `ArrayBuffer` over a memory: the same one until the memory grows.
#[napi(catch_unwind)]
pub fn memory_buffer<'env>(
    env: &'env Env,
    realm: &External<Rc<Realm>>,
    memory: &External<Extern>,
) -> napi::Result<Unknown<'env>> {
    let realm: &Rc<Realm> = realm;
    let value = run(realm, || {
        let memory = as_memory(memory);
        detach_stale(realm, memory);
        match live_buffer(realm, memory) {
            Some(buffer) => Ok(buffer),
            None => new_buffer(realm, memory),
        }
    })?;
    // SAFETY: a handle of this callback's scope.
    Ok(unsafe { Unknown::from_raw_unchecked(env.raw(), value) })
}

/// Whether the buffers of memories cannot be taken away, as this one.
#[napi(catch_unwind)]
pub fn locks_buffers(realm: &External<Rc<Realm>>, buffer: Unknown) -> bool {
    set_detach_key(realm, buffer.raw()).is_some()
}

impl Owner {
    fn is_stale(&self) -> bool {
        self.memory.generation() != self.generation
    }

    /// Gives the memory back: the environment has ended, and the runtime has let go of the bytes. Bun does not tell
    /// of the object any more.
    fn unpin(&self) {
        if self.pin.take().is_some() {
            self.memory.weak_group().release_memories();
        }
    }

    /// Whether nobody but the memory can have the bytes.
    fn is_settled(&self) -> bool {
        self.bytes_gone.get() || self.detached.get()
    }

    /// The buffer, which the caller detaches now. `None` if it is gone, or if somebody else has detached
    /// it and may have the bytes.
    fn retire(&self) -> Option<sys::napi_value> {
        let buffer = self.value().filter(|buffer| !is_detached(self.realm.env, *buffer))?;
        self.detached.set(true);
        Some(buffer)
    }

    fn value(&self) -> Option<sys::napi_value> {
        self.buffer.as_ref().and_then(Reference::get)
    }
}

pub fn is_detached(env: sys::napi_env, buffer: sys::napi_value) -> bool {
    let mut detached = false;
    // SAFETY: `buffer` is a handle of the open scope.
    let asked = raw::check(unsafe { sys::napi_is_detached_arraybuffer(env, buffer, &mut detached) });
    asked.is_err() || detached
}

fn live_buffer(realm: &Realm, memory: &Memory) -> Option<sys::napi_value> {
    let owner = *realm.buffers.borrow().current.get(&memory.id())?;
    // SAFETY: an owner is taken out of the lists before it is dropped.
    let value = unsafe { owner.as_ref() }.value()?;
    (!is_detached(realm.env, value)).then_some(value)
}

fn new_buffer(realm: &Rc<Realm>, memory: &Memory) -> Result<sys::napi_value, Failure> {
    let length = memory.byte_len();
    let owner = NonNull::from(Box::leak(Box::new(Owner {
        thread: thread::current().id(),
        realm: realm.clone(),
        memory: memory.clone(),
        pin: Cell::new(Some(memory.pin())),
        generation: memory.generation(),
        buffer: None,
        locked: Cell::new(false),
        detached: Cell::new(false),
        object_gone: Cell::new(false),
        bytes_gone: Cell::new(false),
        is_made: Cell::new(false),
    })));
    let mut value = ptr::null_mut();
    let made = match length {
        0 => empty(realm.env, owner, &mut value),
        _ => external(realm.env, owner, memory.base(), length, &mut value),
    };
    let made = made.and_then(|()| {
        let buffer = Reference::weak(realm.env, value)?;
        let none = ptr::null_mut();
        // SAFETY: the owner lives until its finalizers have run.
        raw::check(unsafe {
            sys::napi_add_finalizer(
                realm.env,
                value,
                owner.as_ptr().cast(),
                Some(object_gone),
                none,
                none.cast(),
            )
        })?;
        // SAFETY: the owner is live, and nobody else refers to it now.
        unsafe { (*owner.as_ptr()).buffer = Some(buffer) };
        Ok(())
    });
    // SAFETY: the owner is live: before it is made no finalizer drops it.
    unsafe { owner.as_ref() }.is_made.set(true);
    if let Err(failure) = made {
        // SAFETY: as above.
        if unsafe { owner.as_ref() }.bytes_gone.get() {
            // SAFETY: the finalizer has been, and there is no other.
            drop(unsafe { Box::from_raw(owner.as_ptr()) });
        }
        // Else a finalizer may come for bytes that no object has: then the owner stays for ever.
        return Err(failure);
    }
    if watch_end(realm).is_ok() {
        // SAFETY: as above; the object's handle keeps it from being collected.
        unsafe { owner.as_ref() }.locked.set(lock(realm, value));
    }
    let mut buffers = realm.buffers.borrow_mut();
    buffers.current.insert(memory.id(), owner);
    buffers.all.insert(owner);
    Ok(value)
}

/// A buffer of no bytes. V8 would not tell when no bytes are gone.
fn empty(env: sys::napi_env, owner: NonNull<Owner>, value: &mut sys::napi_value) -> Result<(), Failure> {
    // SAFETY: the owner is live.
    unsafe { owner.as_ref() }.bytes_gone.set(true);
    let mut data = ptr::null_mut();
    // SAFETY: plain out pointers.
    Ok(raw::check(unsafe { sys::napi_create_arraybuffer(env, 0, &mut data, value) })?)
}

fn external(
    env: sys::napi_env,
    owner: NonNull<Owner>,
    base: *mut u8,
    length: usize,
    value: &mut sys::napi_value,
) -> Result<(), Failure> {
    let base = base.cast();
    // SAFETY: the owner's pin keeps `length` bytes from `base` mapped until both finalizers have run.
    let status = unsafe {
        sys::napi_create_external_arraybuffer(
            env,
            base,
            length,
            Some(bytes_gone),
            owner.as_ptr().cast(),
            value,
        )
    };
    if status == sys::Status::napi_ok {
        return Ok(());
    }
    if status == sys::Status::napi_no_external_buffers_allowed {
        // SAFETY: the owner is live. Node refuses before it keeps the finalizer.
        unsafe { owner.as_ref() }.bytes_gone.set(true);
        let text = "this runtime does not allow an ArrayBuffer over memory that is not V8's";
        return Err(Failure::new(Kind::Range, text));
    }
    // Node 20 has no Buffer above 4 GiB, and makes one for each external ArrayBuffer. It has called
    // the finalizer then.
    match raw::take_exception(env) {
        Some(_) => Err(Failure::new(
            Kind::Range,
            format!("this Node cannot make an ArrayBuffer of {length} bytes over a memory; a later one can"),
        )),
        None => Err(Failure::Stopped),
    }
}

unsafe extern "C" fn bytes_gone(_: sys::napi_env, _: *mut c_void, owner: *mut c_void) {
    // SAFETY: the owner that the buffer was made with.
    unsafe { gone(owner, |owner| &owner.bytes_gone) };
}

unsafe extern "C" fn object_gone(_: sys::napi_env, owner: *mut c_void, _: *mut c_void) {
    // SAFETY: the owner that the finalizer was added with.
    unsafe { gone(owner, |owner| &owner.object_gone) };
}

/// Bun tells on whatever thread had the bytes last. Then they stay.
///
/// # Safety
/// `owner` is one whose finalizer for this has not run before.
unsafe fn gone(owner: *mut c_void, which: fn(&Owner) -> &Cell<bool>) {
    raw::contained(|| {
        let Some(owner) = NonNull::new(owner.cast::<Owner>()) else { return };
        {
            // SAFETY: it is dropped only once both finalizers have run.
            let owner = unsafe { owner.as_ref() };
            if owner.thread != thread::current().id() {
                return;
            }
            which(owner).set(true);
            if owner.bytes_gone.get() && owner.realm.buffers.borrow().settled {
                owner.unpin();
            }
            if !(owner.is_made.get() && owner.bytes_gone.get() && owner.object_gone.get()) {
                return;
            }
        }
        // SAFETY: this was the last one.
        let owned = unsafe { Box::from_raw(owner.as_ptr()) };
        let mut buffers = owned.realm.buffers.borrow_mut();
        buffers.all.remove(&owner);
        let id = owned.memory.id();
        if buffers.current.get(&id) == Some(&owner) {
            buffers.current.remove(&id);
        }
        drop(buffers);
    });
}

/// Detaches the buffers of all memories that have grown.
#[cold]
pub fn detach_outgrown(realm: &Realm) {
    let mut detached = Vec::new();
    realm.buffers.borrow_mut().current.retain(|_, owner| {
        // SAFETY: an owner is taken out of the lists before it is dropped.
        let owner = unsafe { owner.as_ref() };
        let keep = !owner.is_stale();
        if !keep {
            detached.extend(owner.retire());
        }
        keep
    });
    // The list is free again for finalizers.
    detached.into_iter().for_each(|buffer| detach(realm, buffer));
}

/// Detaches the buffer of this memory, if it has grown.
pub fn detach_stale(realm: &Realm, memory: &Memory) {
    let Some(owner) = realm.buffers.borrow().current.get(&memory.id()).copied() else { return };
    // SAFETY: as in `detach_outgrown`.
    let owner = unsafe { owner.as_ref() };
    if owner.is_stale() {
        let buffer = owner.retire();
        realm.buffers.borrow_mut().current.remove(&memory.id());
        buffer.into_iter().for_each(|buffer| detach(realm, buffer));
    }
}

fn detach(realm: &Realm, buffer: sys::napi_value) {
    unlock(realm, buffer);
    // SAFETY: a handle of the open scope. Detaching one that JavaScript has transferred away already
    // does nothing.
    unsafe { sys::napi_detach_arraybuffer(realm.env, buffer) };
}

/// A Buffer with a copy of these bytes, for JavaScript.
pub fn copied<'env>(env: &'env Env, realm: &Realm, bytes: &[u8]) -> napi::Result<Unknown<'env>> {
    let value = run(realm, || {
        raw::buffer(env.raw(), bytes).map_err(|Refused| {
            // Node's own exception says no more.
            raw::take_exception(env.raw());
            Failure::new(Kind::Memory, format!("cannot allocate a Buffer of {} bytes", bytes.len()))
        })
    })?;
    // SAFETY: a handle of this callback's scope.
    Ok(unsafe { Unknown::from_raw_unchecked(env.raw(), value) })
}

// ---- the detach key

/// `v8::ArrayBuffer::SetDetachKey(v8::Local<v8::Value>)`.
pub type SetDetachKey = unsafe extern "C" fn(buffer: sys::napi_value, key: sys::napi_value);

const SET_DETACH_KEY: &std::ffi::CStr = c"_ZN2v811ArrayBuffer12SetDetachKeyENS_5LocalINS_5ValueEEE";

/// V8's function, if the process exports it and it can be used; `buffer` is any one.
fn set_detach_key(realm: &Realm, buffer: sys::napi_value) -> Option<SetDetachKey> {
    *realm.set_detach_key.get_or_init(|| {
        if !bears_keys(realm.env) {
            return None;
        }
        let found = symbol(SET_DETACH_KEY).filter(|_| handles_are_slots(realm.env, buffer))?;
        // SAFETY: the name tells the parameters. A handle of Node-API is V8's own, a pointer to a
        // slot, which is what V8 passes for both.
        Some(unsafe { std::mem::transmute::<*mut c_void, SetDetachKey>(found) })
    })
}

/// Whether this is a Node that is known to bear buffers with keys, also when it ends.
fn bears_keys(env: sys::napi_env) -> bool {
    let mut version = ptr::null();
    // SAFETY: a plain out pointer, to what stays.
    let major =
        unsafe { raw::check(sys::napi_get_node_version(env, &mut version)).map(|()| (*version).major) };
    matches!(major, Ok(24..=26))
}

/// Whether a handle is the address of a slot that holds the object's address. V8 can also be built so that
/// a handle is the object's address itself: then two handles of one object are equal.
fn handles_are_slots(env: sys::napi_env, buffer: sys::napi_value) -> bool {
    let Ok(reference) = Reference::weak(env, buffer) else { return false };
    match (reference.get(), reference.get()) {
        // SAFETY: two handles that differ are slots, and both are of the open scope.
        (Some(one), Some(other)) => one != other && unsafe { *one.cast::<usize>() == *other.cast::<usize>() },
        _ => false,
    }
}

/// Lets nobody detach the buffer but us, if the runtime can.
pub fn lock(realm: &Realm, buffer: sys::napi_value) -> bool {
    let mut key = ptr::null_mut();
    // SAFETY: a plain out pointer. Any value will do, because JavaScript has no way to give a key.
    let got = raw::check(unsafe { sys::napi_get_boolean(realm.env, true, &mut key) });
    let (Ok(()), Some(set)) = (got, set_detach_key(realm, buffer)) else { return false };
    // SAFETY: both are handles of the open scope.
    unsafe { set(buffer, key) };
    true
}

/// Takes the key off, because Node-API cannot give one when it detaches.
pub fn unlock(realm: &Realm, buffer: sys::napi_value) {
    if let (Ok(none), Some(set)) = (raw::undefined(realm.env), set_detach_key(realm, buffer)) {
        // SAFETY: both are handles of the open scope.
        unsafe { set(buffer, none) };
    }
}

// ---- the end of the environment

/// Makes the sentinel: a buffer that was made after all others. Node lets its buffers go in the reverse
/// order of their making when an environment ends, so the sentinel goes first. `Realm::sentinel` keeps it
/// from being collected before.
pub fn watch_end(realm: &Rc<Realm>) -> Result<(), Refused> {
    let watched = Box::into_raw(Box::new(Rc::downgrade(realm)));
    let mut value = ptr::null_mut();
    // SAFETY: the bytes, which nobody looks at, are those of the box, which the finalizer drops.
    let made = unsafe {
        let (data, length) = (watched.cast(), size_of_val(&*watched));
        sys::napi_create_external_arraybuffer(
            realm.env,
            data,
            length,
            Some(at_end),
            watched.cast(),
            &mut value,
        )
    };
    if made != sys::Status::napi_ok {
        // Another buffer was made just now, so the environment ends, and the finalizer may not come.
        return Err(Refused);
    }
    realm.sentinel.replace(Some(Reference::strong(realm.env, value)?));
    Ok(())
}

/// The finalizer of a sentinel. If it is that of the realm's present one, the environment ends: Node is
/// about to detach the buffers that it knows and to run all finalizers.
unsafe extern "C" fn at_end(_: sys::napi_env, _: *mut c_void, watched: *mut c_void) {
    raw::contained(|| {
        // SAFETY: made in `watch_end`, and handed back once.
        let watched = unsafe { Box::from_raw(watched.cast::<Weak<Realm>>()) };
        let Some(realm) = watched.upgrade() else { return };
        if is_ending(realm.env) {
            settle_all(&realm);
        }
    });
}

/// The environment ends: looks whose bytes others may have, before the runtime lets go of all buffers. The sentinel
/// is the first to tell under Node. Bun runs the cleanup hooks before all finalizers.
pub fn settle_all(realm: &Realm) {
    if std::mem::replace(&mut realm.buffers.borrow_mut().settled, true) {
        return;
    }
    let owners: Vec<NonNull<Owner>> = realm.buffers.borrow().all.iter().copied().collect();
    for owner in owners {
        // SAFETY: no finalizer runs here, so the owners of the list live.
        let owner = unsafe { owner.as_ref() };
        if settle(realm, owner).is_err()
            && let Some(pin) = owner.pin.take()
        {
            owner.memory.abandon(&pin);
            owner.pin.set(Some(pin));
        }
    }
    let ends: Vec<Rc<dyn Fn()>> = realm.ends.borrow().clone();
    ends.iter().for_each(|end| end());
}

/// Whether the environment lets no JavaScript run any more.
pub fn is_ending(env: sys::napi_env) -> bool {
    let Ok(_scope) = HandleScope::open(env) else { return true };
    let Ok(value) = raw::undefined(env) else { return true };
    let mut equal = false;
    // SAFETY: handles of the open scope. This is the cheapest of the calls that are refused at the end.
    raw::check(unsafe { sys::napi_strict_equals(env, value, value, &mut equal) }).is_err()
}

/// `Err` if the bytes may be in use on other threads, for who knows how long.
fn settle(realm: &Realm, owner: &Owner) -> Result<(), Refused> {
    let _scope = HandleScope::open(realm.env)?;
    let Some(buffer) = owner.value() else {
        // It was collected. Where it could be taken, nobody knows whether it was.
        return if owner.is_settled() || owner.locked.get() { Ok(()) } else { Err(Refused) };
    };
    if !is_detached(realm.env, buffer) {
        unlock(realm, buffer);
        return Ok(());
    }
    if owner.is_settled() { Ok(()) } else { Err(Refused) }
}
