//! JavaScript's buffers over bytes of a guest.
//!
//! For `bytes.rs`. Invariants: the bytes stay mapped, and stay where they are, while any buffer or view of
//! JavaScript's, on whatever thread, can reach them. The guest's finalizer for them runs when none can.
//!
//! As in `node/buffers.rs`, a buffer's bytes may be taken away by `transfer()` where V8 has no key against it.
//! Node then tells when the bytes themselves are gone, except at the end of the environment, where it tells
//! of all. So the sentinel of that file, made after the newest buffer, has us look before that for those that
//! were taken. Those bytes stay for ever.

use super::call::Call;
use super::guest::Guest;
use super::status::{Status, check};
use super::wraps;
use crate::node::{buffers, raw};
use engine::{Memory, Pin, VMFuncRef};
use napi::sys;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::rc::{Rc, Weak};
use std::thread::{self, ThreadId};

#[derive(Default)]
pub struct Externals {
    all: RefCell<HashSet<*mut External>>,
    follows: Cell<bool>,
}

struct External {
    thread: ThreadId,
    guest: Weak<Guest>,
    /// Both keep the bytes.
    memory: Memory,
    pin: Pin,
    address: u32,
    len: u32,
    end: End,
    /// The `ArrayBuffer`, weak.
    buffer: Option<raw::Reference>,
    /// Whether nobody but us can detach it.
    locked: bool,
    /// Whether somebody may have the bytes for ever: then they are never the guest's again.
    taken: Cell<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ArrayBuffer,
    Buffer,
}

/// What happens when nobody has the bytes any more.
pub enum End {
    /// They go back to the guest's `malloc`.
    Free,
    /// The guest's finalizer is called, with this hint.
    Finalizer(Option<NonNull<VMFuncRef>>, u32),
}

/// A buffer over the guest's bytes. Where the host allows none, it has a copy of them, and they are gone at once.
pub fn over(
    call: &Call<'_>,
    address: u32,
    len: u32,
    kind: Kind,
    end: End,
) -> Result<sys::napi_value, Status> {
    let (guest, host): (Rc<Guest>, _) = (call.rc(), call.host());
    let start = call.memory().address(address, len as usize)?;
    let memory = guest.memory_handle().ok_or(Status::GENERIC_FAILURE)?;
    let external = External {
        thread: thread::current().id(),
        guest: Rc::downgrade(&guest),
        pin: memory.pin(),
        memory,
        address,
        len,
        end,
        buffer: None,
        locked: false,
        taken: Cell::new(false),
    };
    guest.externals.all.borrow_mut().try_reserve(1).map_err(|_| Status::GENERIC_FAILURE)?;
    let external = Box::into_raw(Box::new(external));
    let mut value = ptr::null_mut();
    // SAFETY: the external keeps the bytes until its finalizer.
    let status = unsafe {
        let (data, len, hint) = (start.cast::<c_void>(), len as usize, external.cast::<c_void>());
        match kind {
            Kind::ArrayBuffer => {
                sys::napi_create_external_arraybuffer(host, data, len, Some(on_gone), hint, &mut value)
            }
            Kind::Buffer => {
                sys::napi_create_external_buffer(host, len, data, Some(on_gone), hint, &mut value)
            }
        }
    };
    if status == Status::NO_EXTERNAL_BUFFERS.0 {
        // SAFETY: the host refuses before it keeps the finalizer.
        let external = unsafe { Box::from_raw(external) };
        let copied = copy(call, start, len, kind)?;
        finish(&guest, &external);
        return Ok(copied);
    }
    guest.externals.all.borrow_mut().insert(external);
    // The finalizer may have been called, and may still be. What it has not freed stays.
    check(status)?;
    let buffer = super::bytes::bytes_of(host, value).map(|bytes| bytes.buffer);
    if let Some(buffer) = buffer {
        // SAFETY: the external lives as long as its buffer, which is on the stack, and nobody else looks now.
        unsafe {
            (*external).buffer = raw::Reference::weak(host, buffer).ok();
            (*external).locked = buffers::lock(&guest.realm, buffer);
        }
    }
    guest.externals.follow_end(&guest);
    Ok(value)
}

fn copy(call: &Call<'_>, start: *mut u8, len: u32, kind: Kind) -> Result<sys::napi_value, Status> {
    let (mut bytes, mut value) = (ptr::null_mut(), ptr::null_mut());
    engine::check_spare(len as usize).map_err(|_| Status::GENERIC_FAILURE)?;
    // SAFETY: local results, and a fresh buffer of as many bytes as are copied.
    unsafe {
        match kind {
            Kind::Buffer => {
                let data = start.cast_const().cast();
                check(sys::napi_create_buffer_copy(call.host(), len as usize, data, &mut bytes, &mut value))?;
            }
            Kind::ArrayBuffer => {
                check(sys::napi_create_arraybuffer(call.host(), len as usize, &mut bytes, &mut value))?;
                ptr::copy_nonoverlapping(start, bytes.cast(), len as usize);
            }
        }
    }
    Ok(value)
}

/// The bytes are gone. Bun tells so on whatever thread had them last: then they are nobody's, and stay.
unsafe extern "C" fn on_gone(env: sys::napi_env, _: *mut c_void, external: *mut c_void) {
    raw::contained(|| {
        // SAFETY: it is there until the host has given it back on the thread of its guest.
        if unsafe { (*external.cast::<External>()).thread } != thread::current().id() {
            return;
        }
        let _scope = raw::HandleScope::open(env);
        // SAFETY: the host gives back once what it was given.
        let external = unsafe { Box::from_raw(external.cast::<External>()) };
        let Some(guest) = external.guest.upgrade() else { return };
        guest.externals.all.borrow_mut().remove(&(&raw const *external).cast_mut());
        finish(&guest, &external);
    });
}

/// Tells the guest that nobody has the bytes any more.
fn finish(guest: &Guest, external: &External) {
    match external.end {
        _ if external.taken.get() => {}
        End::Free if guest.is_dead() => {}
        End::Free => guest.activate(None, |_| {
            // A `free` that fails has made the guest tell so from now on.
            let _ = guest.free(external.address);
            let _ = raw::take_exception(guest.host);
        }),
        End::Finalizer(None, _) => {}
        End::Finalizer(Some(func), hint) => wraps::finalize(guest, func, external.address, hint),
    }
}

impl Externals {
    pub fn is_empty(&self) -> bool {
        self.all.borrow().is_empty()
    }

    /// Has the guest asked about its buffers when the environment ends, before Node lets go of the newest.
    fn follow_end(&self, guest: &Rc<Guest>) {
        if !self.follows.replace(true) {
            let owner = Rc::downgrade(guest);
            guest.realm.ends.borrow_mut().push(Rc::new(move || {
                if let Some(guest) = owner.upgrade() {
                    at_end(&guest);
                }
            }));
        }
        // If it cannot be made, the environment ends already.
        let _ = buffers::watch_end(&guest.realm);
    }
}

/// The environment ends, and Node is about to let go of all buffers.
fn at_end(guest: &Guest) {
    let Ok(_scope) = raw::HandleScope::open(guest.host) else { return };
    for external in guest.externals.all.borrow().iter() {
        // SAFETY: what is in the list lives, and no finalizer of these runs here.
        let external = unsafe { &**external };
        match external.buffer.as_ref().and_then(raw::Reference::get) {
            // Node has no key.
            Some(buffer) if !buffers::is_detached(guest.host, buffer) => {
                buffers::unlock(&guest.realm, buffer);
            }
            // It was collected, and nobody could have taken its bytes.
            None if external.locked => {}
            // Who has the bytes may be on another thread, for who knows how long.
            _ => {
                let start = external.address as usize;
                external.taken.set(true);
                external.memory.abandon_bytes(&external.pin, start..start + external.len as usize);
            }
        }
    }
}
