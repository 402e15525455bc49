//! A call of a Node-API function by a guest, and the guest's activations.
//!
//! For this room. What the bodies of the functions share: checked memory, handles, results. Invariants: a body
//! reads and writes guest memory only through [`Call`]. What runs JavaScript goes through
//! [`Call::javascript`], after which the guest may be dead, its memory larger, and a host pointer
//! stale. Nothing unwinds out of [`serve`].

use super::guest::{Guest, GuestRef};
use super::handles::Mark;
use super::status::{Done, Status, check};
use crate::node::failure::{self, Failure, Kind};
use crate::node::raw;
use engine::{Error, TrapCode, VMHostContext};
use guest_memory::GuestMemory;
use napi::sys;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::Ordering;

/// The longest text that a property's name or an error's text may have.
const MAX_TEXT: usize = 1 << 20;

/// One entry into the guest. The entries are a list on the stack.
pub struct Activation {
    outer: *const Activation,
    pub mark: Mark,
    /// What the guest passes as `napi_callback_info`; 0 if it was not called by JavaScript.
    pub number: u32,
    /// In a frame that is on the stack for as long as this one; null if it was not called by JavaScript.
    arguments: *const Arguments,
}

/// What JavaScript called with.
pub struct Arguments {
    pub info: sys::napi_callback_info,
    pub this: sys::napi_value,
    pub count: usize,
    pub first: [sys::napi_value; Arguments::FIRST],
    /// The guest's own word.
    pub data: u32,
}

impl Arguments {
    /// So many are asked for at once.
    pub const FIRST: usize = 6;
}

impl Guest {
    /// Runs `body` inside a new activation and lets go what was made in it.
    #[inline(always)]
    pub fn activate<T>(&self, arguments: Option<&Arguments>, body: impl FnOnce(&Activation) -> T) -> T {
        struct Inside<'a>(&'a Guest, &'a Activation);
        impl Drop for Inside<'_> {
            #[inline(always)]
            fn drop(&mut self) {
                let Inside(guest, activation) = self;
                guest.callback_scopes.end(guest.host, *activation);
                guest.handles.reset(guest.host, activation.mark);
                guest.activation.set(activation.outer);
                if activation.outer.is_null() {
                    guest.realm.refresh_buffers();
                    if let Some(outside) = guest.outside() {
                        outside.note_inside(false);
                        if outside.has_ended() {
                            outside.settle(guest);
                        }
                    }
                }
            }
        }
        let number = if arguments.is_some() { self.next_number() } else { 0 };
        let outer = self.activation.get();
        let arguments = arguments.map_or(ptr::null(), ptr::from_ref);
        let activation = Activation { outer, mark: self.handles.mark(), number, arguments };
        self.activation.set(&activation);
        if outer.is_null()
            && let Some(outside) = self.outside()
        {
            outside.note_inside(true);
        }
        let inside = Inside(self, &activation);
        self.copies.begin(self);
        let value = body(&activation);
        self.copies.end(self, &activation);
        drop(inside);
        value
    }

    /// The innermost activation.
    #[inline]
    pub fn current(&self) -> Result<&Activation, Status> {
        // SAFETY: set by `activate`, whose frame is on the stack as long as it is set.
        unsafe { self.activation.get().as_ref() }.ok_or(Status::GENERIC_FAILURE)
    }

    /// The call of JavaScript's with this number, if it is still under way.
    pub fn called_with(&self, number: u32) -> Result<&Arguments, Status> {
        let mut next = self.activation.get();
        // SAFETY: as in `current`, for all of the list.
        while let Some(activation) = unsafe { next.as_ref() } {
            if activation.number == number {
                // SAFETY: whoever opened the activation has lent them until it is over.
                return unsafe { activation.arguments.as_ref() }.ok_or(Status::INVALID_ARG);
            }
            next = activation.outer;
        }
        Err(Status::INVALID_ARG)
    }
}

/// The payload of an error that only leaves the guest's frames: what JavaScript is to see is known already.
pub struct Leaving;

/// A function of the guest that we called ourselves did not return. The call that it was for cannot go on.
#[cold]
pub fn fail_later(guest: &Guest, error: Error) -> Status {
    throw(guest, error);
    Status::LEAVE
}

/// The guest has stopped with this error: it is dead, and JavaScript sees why.
#[cold]
pub fn throw(guest: &Guest, error: Error) {
    let failure = match error {
        // JavaScript in between may have caught what it was.
        Error::Host(payload) if payload.is::<Leaving>() => {
            return failure::throw(&guest.realm, guest.dead_error());
        }
        error => guest.failure_of(error),
    };
    guest.die(&failure.summary(), false);
    // What the guest left pending was on its way while this happened.
    let _ = raw::take_exception(guest.host);
    failure::throw(&guest.realm, failure);
}

/// The same where nobody has called the guest: later calls tell why it runs no more.
#[cold]
pub fn note(guest: &Guest, error: Error) {
    match error {
        Error::Host(payload) if payload.is::<Leaving>() => {}
        error => guest.die(&guest.failure_of(error).summary(), false),
    }
}

/// A call of a function by the guest.
pub struct Call<'a> {
    pub guest: &'a Guest,
    pub context: *mut VMHostContext,
}

impl<'a> Call<'a> {
    #[inline(always)]
    pub fn host(&self) -> sys::napi_env {
        self.guest.host
    }

    /// The guest's memory as it is now. Calls into the guest may grow it, and one that is not reserved may
    /// move then, so this is asked anew after each.
    #[inline(always)]
    pub fn memory(&self) -> GuestMemory<'a> {
        // SAFETY: the context is that of the running call, and the memory belongs to the group of the instance
        // that calls. Its definition has the base and length of the moment.
        unsafe {
            match (*self.context).memory.as_ref() {
                Some(memory) => GuestMemory::from_raw(
                    memory.base.load(Ordering::Relaxed),
                    memory.length.load(Ordering::Relaxed),
                ),
                None => GuestMemory::from_raw(std::ptr::NonNull::dangling().as_ptr(), 0),
            }
        }
    }

    /// The host's value for a handle.
    #[inline(always)]
    pub fn value(&self, handle: u32) -> Result<sys::napi_value, Status> {
        self.guest.handles.get(handle)
    }

    /// Refuses a result pointer that is null or outside of the memory, before anything happens.
    #[inline(always)]
    pub fn reserve(&self, address: u32, len: usize) -> Done {
        if address == 0 {
            return Err(Status::INVALID_ARG);
        }
        Ok(self.memory().reserve(address, len)?)
    }

    /// The same for a result that need not be wanted.
    #[inline(always)]
    pub fn reserve_optional(&self, address: u32, len: usize) -> Done {
        if address == 0 { Ok(()) } else { self.reserve(address, len) }
    }

    /// Gives the guest a value.
    #[inline(always)]
    pub fn give(&self, address: u32, value: sys::napi_value) -> Done {
        let handle = self.guest.handles.push(value)?;
        self.write_u32(address, handle)
    }

    /// The same where null means that the guest does not want it.
    #[inline(always)]
    pub fn give_optional(&self, address: u32, value: sys::napi_value) -> Done {
        if address == 0 { Ok(()) } else { self.give(address, value) }
    }

    #[inline(always)]
    pub fn write_u32(&self, address: u32, value: u32) -> Done {
        Ok(self.memory().write_u32(address, value)?)
    }

    pub fn write_u32_optional(&self, address: u32, value: u32) -> Done {
        if address == 0 { Ok(()) } else { self.write_u32(address, value) }
    }

    #[inline(always)]
    pub fn write_u64(&self, address: u32, value: u64) -> Done {
        Ok(self.memory().write_u64(address, value)?)
    }

    #[inline(always)]
    pub fn write_bool(&self, address: u32, value: bool) -> Done {
        Ok(self.memory().write_u8(address, value.into())?)
    }

    /// Asks the host for a value, and gives it to the guest.
    #[inline(always)]
    pub fn make(
        &self,
        address: u32,
        ask: impl FnOnce(sys::napi_env, *mut sys::napi_value) -> sys::napi_status,
    ) -> Done {
        self.reserve(address, 4)?;
        let mut value = ptr::null_mut();
        check(ask(self.host(), &mut value))?;
        self.give(address, value)
    }

    /// Asks the host a question, and gives the guest the answer.
    #[inline(always)]
    pub fn ask(&self, address: u32, ask: impl FnOnce(sys::napi_env, *mut bool) -> sys::napi_status) -> Done {
        self.reserve(address, 1)?;
        let mut answer = false;
        check(ask(self.host(), &mut answer))?;
        self.write_bool(address, answer)
    }

    /// Runs what may run JavaScript: the guest's copies of JavaScript's bytes are brought up to date on both
    /// sides, and nothing of a guest that died meanwhile goes on, nor in a thread that is being terminated.
    pub fn javascript(&self, run: impl FnOnce() -> sys::napi_status) -> Done {
        let guest = self.guest;
        guest.copies.write_to_javascript(guest);
        guest.realm.refresh_buffers();
        let stack = &guest.realm.v8_stack;
        let status = if stack.is_near_end() { stack.with_all(run) } else { run() };
        guest.copies.read_from_javascript(guest);
        let failed = [sys::Status::napi_pending_exception, sys::Status::napi_cannot_run_js].contains(&status);
        if failed && !guest.realm.goes_on() {
            // Real Node-API would go on in the guest, to whom this looks like any exception.
            guest.left.set(true);
            return Err(self.leave(TrapCode::Interrupted.into()));
        }
        check(status)
    }

    /// Ends the guest with this error.
    #[cold]
    pub fn leave(&self, error: Error) -> Status {
        // SAFETY: the native function this context belongs to is running.
        unsafe { VMHostContext::fail(self.context, error) };
        Status::LEAVE
    }

    /// The values behind an array of handles.
    pub fn values<R>(
        &self,
        address: u32,
        count: u32,
        run: impl FnOnce(&[sys::napi_value]) -> Result<R, Status>,
    ) -> Result<R, Status> {
        const FEW: usize = 8;
        let memory = self.memory();
        let count = count as usize;
        if count > 0 && address == 0 {
            return Err(Status::INVALID_ARG);
        }
        memory.reserve(address, count.checked_mul(4).ok_or(Status::INVALID_ARG)?)?;
        let value = |place: usize| self.value(memory.read_u32(address + 4 * place as u32)?);
        if count <= FEW {
            let mut few = [ptr::null_mut(); FEW];
            for (place, slot) in few.iter_mut().take(count).enumerate() {
                *slot = value(place)?;
            }
            return run(&few[..count]);
        }
        let mut many = Vec::new();
        many.try_reserve_exact(count).map_err(|_| Status::GENERIC_FAILURE)?;
        for place in 0..count {
            many.push(value(place)?);
        }
        run(&many)
    }

    /// A text that ends with NUL, copied out, with its NUL.
    #[inline]
    pub fn c_string(&self, address: u32) -> Result<Text, Status> {
        if address == 0 {
            return Err(Status::INVALID_ARG);
        }
        let memory = self.memory();
        let length = memory.c_string_len(address, MAX_TEXT)?;
        Text::read(&memory, address, length)
    }

    /// A text of this length, or up to its NUL if the length is `NAPI_AUTO_LENGTH`.
    #[inline]
    pub fn text(&self, address: u32, length: u32) -> Result<Text, Status> {
        if length == AUTO_LENGTH {
            return self.c_string(address);
        }
        if length as usize > MAX_TEXT || address == 0 && length > 0 {
            return Err(Status::INVALID_ARG);
        }
        Text::read(&self.memory(), address, length as usize)
    }

    /// Fails the guest with an error for JavaScript, which it cannot catch.
    #[cold]
    pub fn fail(&self, kind: Kind, message: String) -> Status {
        self.leave(Failure::new(kind, message).into())
    }
}

pub const AUTO_LENGTH: u32 = u32::MAX;

/// A text copied out of guest memory, with a NUL behind it: other threads may write where it was.
pub struct Text {
    length: usize,
    inline: [u8; Text::INLINE],
    heap: Vec<u8>,
}

impl Text {
    const INLINE: usize = 64;

    #[inline]
    fn read(memory: &GuestMemory<'_>, address: u32, length: usize) -> Result<Text, Status> {
        memory.reserve(address, length)?;
        let mut text = Text { length, inline: [0; Text::INLINE], heap: Vec::new() };
        if length < Text::INLINE {
            memory.read_into(address, &mut text.inline[..length])?;
        } else {
            text.heap.try_reserve_exact(length + 1).map_err(|_| Status::GENERIC_FAILURE)?;
            text.heap.resize(length + 1, 0);
            memory.read_into(address, &mut text.heap[..length])?;
        }
        Ok(text)
    }

    #[inline]
    pub fn as_ptr(&self) -> *const std::ffi::c_char {
        if self.length < Text::INLINE { self.inline.as_ptr().cast() } else { self.heap.as_ptr().cast() }
    }

    #[inline]
    pub fn len(&self) -> isize {
        self.length as isize
    }

    pub fn lossy(&self) -> String {
        let bytes = if self.length < Text::INLINE { &self.inline[..] } else { &self.heap[..] };
        String::from_utf8_lossy(&bytes[..self.length]).into_owned()
    }
}

/// Serves one call of a function whose first parameter is the environment, and which runs no JavaScript.
///
/// # Safety
/// `context` is that of a native function bound with a [`GuestRef`], which compiled code is calling.
#[inline(always)]
pub unsafe fn serve_quiet(
    context: *mut VMHostContext,
    env: u32,
    body: impl FnOnce(&Call<'_>) -> Done,
) -> i64 {
    // SAFETY: by this function's contract.
    unsafe { serve_with(context, env, run, body) }
}

/// As [`serve_quiet`] for a function that may run JavaScript: a getter, a trap of a proxy, a hook.
///
/// # Safety
/// As for [`serve_quiet`].
#[inline(always)]
pub unsafe fn serve(context: *mut VMHostContext, env: u32, body: impl FnOnce(&Call<'_>) -> Done) -> i64 {
    // SAFETY: by this function's contract.
    unsafe { serve_with(context, env, run_with_javascript, body) }
}

/// # Safety
/// As for [`serve_quiet`].
#[inline(always)]
unsafe fn serve_with<B: FnOnce(&Call<'_>) -> Done>(
    context: *mut VMHostContext,
    env: u32,
    run: unsafe fn(&Guest, *mut VMHostContext, B) -> i64,
    body: B,
) -> i64 {
    // SAFETY: by this function's contract.
    let guest = unsafe { guest_of(context) };
    let status = if guest.answers(env) {
        // SAFETY: as above.
        unsafe { run(guest, context, body) }
    } else {
        i64::from(Status::INVALID_ARG.0)
    };
    guest.last_status.set(status as i32);
    status
}

/// As [`serve`] for the function that tells of the last call: it is not the last one itself.
///
/// # Safety
/// As for [`serve_quiet`].
pub unsafe fn serve_last_error(
    context: *mut VMHostContext,
    env: u32,
    body: impl FnOnce(&Call<'_>) -> Done,
) -> i64 {
    // SAFETY: by this function's contract.
    let guest = unsafe { guest_of(context) };
    let last = guest.last_status.get();
    // SAFETY: as above.
    let status = unsafe { serve(context, env, body) };
    guest.last_status.set(last);
    status
}

/// As [`serve`] for functions that take no environment and leave no status behind.
///
/// # Safety
/// As for [`serve_quiet`].
#[inline(always)]
pub unsafe fn serve_plain(
    context: *mut VMHostContext,
    body: impl FnOnce(&Call<'_>) -> Result<u32, Status>,
) -> i64 {
    let mut result = 0;
    // SAFETY: by this function's contract.
    let status = unsafe {
        run_with_javascript(guest_of(context), context, |call| {
            result = body(call)?;
            Ok(())
        })
    };
    if status == 0 { i64::from(result) } else { status }
}

/// # Safety
/// As for [`serve_quiet`].
#[inline(always)]
unsafe fn guest_of<'a>(context: *mut VMHostContext) -> &'a Guest {
    // SAFETY: the guest entered the wasm that calls, so it lives and is on the stack below.
    unsafe { &*(*(*context).data.cast::<GuestRef>()).0 }
}

/// # Safety
/// As for [`serve_quiet`].
#[inline(always)]
unsafe fn run_with_javascript(
    guest: &Guest,
    context: *mut VMHostContext,
    body: impl FnOnce(&Call<'_>) -> Done,
) -> i64 {
    guest.copies.write_small_to_javascript(guest);
    guest.realm.refresh_buffers();
    // SAFETY: by this function's contract.
    let status = unsafe { run(guest, context, body) };
    guest.copies.read_small_from_javascript(guest);
    status
}

/// # Safety
/// As for [`serve_quiet`].
#[inline(always)]
unsafe fn run(guest: &Guest, context: *mut VMHostContext, body: impl FnOnce(&Call<'_>) -> Done) -> i64 {
    let call = Call { guest, context };
    match catch_unwind(AssertUnwindSafe(|| body(&call))) {
        // The guest may have died in JavaScript that ran meanwhile. Nothing of it goes on then.
        Ok(_) if guest.is_dead() => i64::from(call.leave(Error::Host(Box::new(Leaving))).0),
        Ok(Ok(())) => 0,
        Ok(Err(status)) => i64::from(status.0),
        Err(_) => {
            let text = "a function of Node-API for guests panicked".to_string();
            i64::from(call.leave(Error::Internal(text)).0)
        }
    }
}
