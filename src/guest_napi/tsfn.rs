//! Thread-safe functions: JavaScript that any thread of a guest has called.
//!
//! For `functions.rs`, `elsewhere.rs` and `outside.rs`. Invariants: each call is delivered on the realm's thread
//! in a turn of its own, in order. When the last user has let go, or one has aborted, the guest's
//! finalizer runs once, after what was queued: which is delivered, or, when it was aborted, handed back
//! without an environment, so that the guest can free it.

use super::call::Call;
use super::guest::Guest;
use super::outside::{Outside, What, lock};
use super::slab::Slab;
use super::status::{Done, Status};
use crate::node::raw;
use engine::ValType;
use napi::sys;
use std::collections::VecDeque;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The thread-safe functions of a guest.
#[derive(Default)]
pub struct Functions(Mutex<Slab<Arc<Function>>>);

pub struct Function {
    state: Mutex<State>,
    /// There is room in the queue, or the function is closing.
    changed: Condvar,
    /// How many calls may wait; 0 for any number.
    most: usize,
    context: u32,
    /// Places in the guest's table.
    call_js: u32,
    finalize: u32,
    finalize_data: u32,
}

struct State {
    queue: VecDeque<u32>,
    threads: usize,
    closing: bool,
    finalized: bool,
    /// Whether it keeps the event loop running.
    holds: bool,
}

const QUEUE_FULL: Status = Status(15);
const CLOSING: Status = Status(16);
const WOULD_DEADLOCK: Status = Status(21);

const BLOCKING: i32 = 1;
const ABORT: i32 = 1;

impl Functions {
    fn get(&self, number: u32) -> Result<Arc<Function>, Status> {
        lock(&self.0).get(number).cloned().ok_or(Status::INVALID_ARG)
    }

    /// The guest has ended: who waits for room goes on, and nobody calls any more.
    pub fn close(&self) {
        let all: Vec<Arc<Function>> = lock(&self.0).iter().cloned().collect();
        for function in all {
            lock(&function.state).closing = true;
            function.changed.notify_all();
        }
    }

    pub fn numbers(&self) -> Vec<u32> {
        lock(&self.0).numbers()
    }
}

#[expect(clippy::too_many_arguments, reason = "they are the function's")]
pub fn napi_create_threadsafe_function(
    call: &Call<'_>,
    function: u32,
    resource: u32,
    name: u32,
    max_queue_size: u32,
    initial_thread_count: u32,
    finalize_data: u32,
    finalize: u32,
    context: u32,
    call_js: u32,
    result: u32,
) -> Done {
    const CALL_JS: [ValType; 4] = [ValType::I32; 4];
    call.reserve(result, 4)?;
    let guest = call.guest;
    if name == 0 || initial_thread_count == 0 || function == 0 && call_js == 0 {
        return Err(Status::INVALID_ARG);
    }
    for value in [resource, name].into_iter().filter(|value| *value != 0) {
        call.value(value)?;
    }
    guest.finalizer(finalize)?;
    if call_js != 0 {
        guest.function(call_js, &CALL_JS, &[])?;
    }
    let javascript = match function {
        0 => None,
        function => {
            let value = call.value(function)?;
            let mut kind = 0;
            // SAFETY: a handle of an open scope, and a local result.
            super::status::check(unsafe { sys::napi_typeof(call.host(), value, &mut kind) })?;
            if kind != sys::ValueType::napi_function {
                return Err(Status::INVALID_ARG);
            }
            Some(raw::Reference::strong(call.host(), value)?)
        }
    };
    let outside = guest.outside().ok_or(Status::GENERIC_FAILURE)?;
    let made = Arc::new(Function {
        state: Mutex::new(State {
            queue: VecDeque::new(),
            threads: initial_thread_count as usize,
            closing: false,
            finalized: false,
            holds: true,
        }),
        changed: Condvar::new(),
        most: max_queue_size as usize,
        context,
        call_js,
        finalize,
        finalize_data,
    });
    let number = lock(&outside.functions.0).insert(made).map_err(|_| Status::GENERIC_FAILURE)?;
    if let Some(javascript) = javascript {
        guest.thread_safe.borrow_mut().insert(number, javascript);
    }
    guest.hold_loop();
    call.write_u32(result, number)
}

/// `napi_call_threadsafe_function`, on any thread.
pub fn call(outside: &Outside, number: u32, data: u32, mode: i32) -> Done {
    let function = outside.functions.get(number)?;
    let mut state = lock(&function.state);
    loop {
        if state.closing {
            if state.threads == 0 {
                return Err(Status::INVALID_ARG);
            }
            state.threads -= 1;
            return Err(CLOSING);
        }
        if function.most == 0 || state.queue.len() < function.most {
            break;
        }
        if mode != BLOCKING {
            return Err(QUEUE_FULL);
        }
        if outside.is_realms_thread() {
            // Nobody else would ever make room.
            return Err(WOULD_DEADLOCK);
        }
        if outside.team().is_none_or(|team| team.has_ended()) {
            return Err(CLOSING);
        }
        // Looks from time to time whether the guest has ended.
        let waited = function.changed.wait_timeout(state, Duration::from_millis(100));
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    state.queue.try_reserve(1).map_err(|_| Status::GENERIC_FAILURE)?;
    state.queue.push_back(data);
    drop(state);
    outside.tell(What::Function(number));
    Ok(())
}

/// `napi_acquire_threadsafe_function`, on any thread.
pub fn acquire(outside: &Outside, number: u32) -> Done {
    let function = outside.functions.get(number)?;
    let mut state = lock(&function.state);
    if state.closing {
        return Err(CLOSING);
    }
    state.threads = state.threads.checked_add(1).ok_or(Status::GENERIC_FAILURE)?;
    Ok(())
}

/// `napi_release_threadsafe_function`, on any thread.
pub fn release(outside: &Outside, number: u32, mode: i32) -> Done {
    let function = outside.functions.get(number)?;
    let mut state = lock(&function.state);
    if state.threads == 0 {
        return Err(Status::INVALID_ARG);
    }
    state.threads -= 1;
    if state.threads == 0 || mode == ABORT {
        state.closing |= mode == ABORT;
        drop(state);
        function.changed.notify_all();
        outside.tell(What::Function(number));
    }
    Ok(())
}

pub fn context(outside: &Outside, number: u32) -> Result<u32, Status> {
    Ok(outside.functions.get(number)?.context)
}

pub fn napi_ref_threadsafe_function(call: &Call<'_>, number: u32) -> Done {
    hold(call.guest, number, true)
}

pub fn napi_unref_threadsafe_function(call: &Call<'_>, number: u32) -> Done {
    hold(call.guest, number, false)
}

fn hold(guest: &Guest, number: u32, hold: bool) -> Done {
    let outside = guest.outside().ok_or(Status::INVALID_ARG)?;
    let function = outside.functions.get(number)?;
    let before = std::mem::replace(&mut lock(&function.state).holds, hold);
    match (before, hold) {
        (false, true) => guest.hold_loop(),
        (true, false) => guest.release_loop(),
        _ => {}
    }
    Ok(())
}

/// Delivers the next call, or ends the function if there will be none.
pub fn deliver(guest: &Guest, number: u32) {
    let Some(outside) = guest.outside() else { return };
    let Ok(function) = outside.functions.get(number) else { return };
    let (next, over) = {
        let mut state = lock(&function.state);
        let next = if state.closing { None } else { state.queue.pop_front() };
        function.changed.notify_one();
        (next, state.closing || state.threads == 0 && state.queue.is_empty())
    };
    if let Some(data) = next {
        call_javascript(guest, number, &function, data);
    }
    // The call may have queued more, or released the function.
    let again = lock(&function.state).queue.is_empty();
    if over && (again || lock(&function.state).closing) {
        finish(guest, number, &function);
    }
}

fn call_javascript(guest: &Guest, number: u32, function: &Function, data: u32) {
    if guest.is_dead() {
        return;
    }
    let javascript = guest.thread_safe.borrow().get(&number).and_then(|javascript| javascript.get());
    if function.call_js != 0 {
        const CALL_JS: [ValType; 4] = [ValType::I32; 4];
        let Ok(func) = guest.function(function.call_js, &CALL_JS, &[]) else { return };
        let value = match javascript {
            Some(value) => guest.handles.push(value).unwrap_or(0),
            None => 0,
        };
        // SAFETY: the type was just looked at.
        unsafe { guest.call_uncaught(func, [guest.env.get(), value, function.context, data]) };
        return;
    }
    let (Some(javascript), Ok(receiver)) = (javascript, raw::undefined(guest.host)) else { return };
    let mut result = ptr::null_mut();
    // SAFETY: both are handles of an open scope. What it throws stays pending, and is reported.
    unsafe { sys::napi_call_function(guest.host, receiver, javascript, 0, ptr::null(), &mut result) };
    super::emnapi::report(guest);
}

/// The end of a function: what was not delivered goes back without an environment, and the finalizer is called.
fn finish(guest: &Guest, number: u32, function: &Function) {
    let (left, holds) = {
        let mut state = lock(&function.state);
        if std::mem::replace(&mut state.finalized, true) {
            return;
        }
        state.closing = true;
        (std::mem::take(&mut state.queue), std::mem::take(&mut state.holds))
    };
    function.changed.notify_all();
    if holds {
        guest.release_loop();
    }
    if function.call_js != 0
        && let Ok(func) = guest.function(function.call_js, &[ValType::I32; 4], &[])
    {
        for data in left {
            // SAFETY: the type was just looked at.
            unsafe { guest.call_uncaught(func, [0, 0, function.context, data]) };
        }
    }
    if let Ok(Some(func)) = guest.finalizer(function.finalize) {
        // SAFETY: as above.
        unsafe { guest.call_uncaught(func, [guest.env.get(), function.finalize_data, function.context]) };
    }
    let javascript = guest.thread_safe.borrow_mut().remove(&number);
    drop(javascript);
    if let Some(outside) = guest.outside() {
        // Threads that still have it are told that it is closing, as long as there are any.
        if lock(&function.state).threads == 0 {
            lock(&outside.functions.0).remove(number);
        }
    }
}

/// Ends all functions: the guest is closed.
pub fn finish_all(guest: &Guest) {
    let Some(outside) = guest.outside() else { return };
    for number in outside.functions.numbers() {
        if let Ok(function) = outside.functions.get(number) {
            let mut state = lock(&function.state);
            state.closing = true;
            // What was not delivered goes with the guest's memory, so there is nothing to give back. (Some versions of
            // napi-rs take that for a call with an environment, and panic.)
            state.queue.clear();
            drop(state);
            finish(guest, number, &function);
        }
    }
}
