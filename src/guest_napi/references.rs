//! References to values, and the scopes of a guest.
//!
//! For `functions.rs`. A reference to something with bytes keeps the guest's copy of them: see `copies.rs`.

use super::call::Call;
use super::slab::Slab;
use super::status::{Done, Status, check};
use napi::sys;
use std::cell::RefCell;
use std::ptr;

#[derive(Default)]
pub struct References {
    slab: RefCell<Slab<Reference>>,
}

struct Reference {
    host: sys::napi_ref,
    /// Whether the guest's copies of the value's bytes are kept for it.
    keeps_bytes: bool,
}

impl References {
    /// Lets the host's references go.
    pub fn release(&self, env: sys::napi_env) {
        for reference in self.slab.borrow_mut().drain() {
            // SAFETY: made by `keep` and deleted once.
            unsafe { sys::napi_delete_reference(env, reference.host) };
        }
    }

    /// A guest's number for a reference of the host's.
    pub fn keep(&self, env: sys::napi_env, host: sys::napi_ref) -> Result<u32, Status> {
        let kept = self.slab.borrow_mut().insert(Reference { host, keeps_bytes: false });
        kept.map_err(|_| {
            // SAFETY: just made, and nobody else has it.
            unsafe { sys::napi_delete_reference(env, host) };
            Status::GENERIC_FAILURE
        })
    }

    fn host(&self, number: u32) -> Result<sys::napi_ref, Status> {
        self.slab.borrow().get(number).map(|reference| reference.host).ok_or(Status::INVALID_ARG)
    }
}

pub fn napi_create_reference(call: &Call<'_>, value: u32, count: u32, result: u32) -> Done {
    let value = call.value(value)?;
    call.reserve(result, 4)?;
    let (guest, env) = (call.guest, call.host());
    let mut host = ptr::null_mut();
    // SAFETY: a handle of an open scope, and a local result.
    check(unsafe { sys::napi_create_reference(env, value, count, &mut host) })?;
    let number = guest.references.keep(env, host)?;
    if count > 0
        && guest.copies.hold(guest, number, value)
        && let Some(reference) = guest.references.slab.borrow_mut().get_mut(number)
    {
        reference.keeps_bytes = true;
    }
    call.write_u32(result, number)
}

pub fn napi_delete_reference(call: &Call<'_>, reference: u32) -> Done {
    let guest = call.guest;
    let taken = guest.references.slab.borrow_mut().remove(reference).ok_or(Status::INVALID_ARG)?;
    if taken.keeps_bytes {
        guest.copies.let_go(guest, reference);
    }
    // SAFETY: made by `keep` and deleted once.
    check(unsafe { sys::napi_delete_reference(call.host(), taken.host) })
}

pub fn napi_reference_ref(call: &Call<'_>, reference: u32, result: u32) -> Done {
    call.reserve_optional(result, 4)?;
    let host = call.guest.references.host(reference)?;
    let mut count = 0;
    // SAFETY: a live reference, and a local result.
    check(unsafe { sys::napi_reference_ref(call.host(), host, &mut count) })?;
    call.write_u32_optional(result, count)
}

pub fn napi_reference_unref(call: &Call<'_>, reference: u32, result: u32) -> Done {
    call.reserve_optional(result, 4)?;
    let guest = call.guest;
    let host = guest.references.host(reference)?;
    let mut count = 0;
    // SAFETY: as above.
    check(unsafe { sys::napi_reference_unref(call.host(), host, &mut count) })?;
    if count == 0 {
        let mut slab = guest.references.slab.borrow_mut();
        let kept =
            slab.get_mut(reference).is_some_and(|reference| std::mem::take(&mut reference.keeps_bytes));
        drop(slab);
        if kept {
            guest.copies.let_go(guest, reference);
        }
    }
    call.write_u32_optional(result, count)
}

pub fn napi_get_reference_value(call: &Call<'_>, reference: u32, result: u32) -> Done {
    call.reserve(result, 4)?;
    let host = call.guest.references.host(reference)?;
    let mut value = ptr::null_mut();
    // SAFETY: as above.
    check(unsafe { sys::napi_get_reference_value(call.host(), host, &mut value) })?;
    // A weak one whose value is gone.
    if value.is_null() { call.write_u32(result, 0) } else { call.give(result, value) }
}

// ---- scopes

fn open(call: &Call<'_>, result: u32, escapable: bool) -> Done {
    call.reserve(result, 4)?;
    call.guest.current()?;
    let number = call.guest.next_number();
    call.guest.handles.open(call.host(), number, escapable)?;
    call.write_u32(result, number)
}

pub fn napi_open_handle_scope(call: &Call<'_>, result: u32) -> Done {
    open(call, result, false)
}

pub fn napi_close_handle_scope(call: &Call<'_>, scope: u32) -> Done {
    let mark = call.guest.current()?.mark;
    call.guest.handles.close(call.host(), mark, scope, false)
}

pub fn napi_open_escapable_handle_scope(call: &Call<'_>, result: u32) -> Done {
    open(call, result, true)
}

pub fn napi_close_escapable_handle_scope(call: &Call<'_>, scope: u32) -> Done {
    let mark = call.guest.current()?.mark;
    call.guest.handles.close(call.host(), mark, scope, true)
}

pub fn napi_escape_handle(call: &Call<'_>, scope: u32, value: u32, result: u32) -> Done {
    call.reserve(result, 4)?;
    let mark = call.guest.current()?.mark;
    let value = call.value(value)?;
    let escaped = call.guest.handles.escape(call.host(), mark, scope, value)?;
    call.write_u32(result, escaped)
}
