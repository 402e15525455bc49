//! What JavaScript's objects own of a guest: wrapped pointers, externals, finalizers; type tags.
//!
//! For `functions.rs`. The host has a pointer for each, which is the address of an [`Owned`] of ours. Invariant: a
//! pointer that the host gives back is looked at only if it is in the guest's own list. An object may have
//! been wrapped by another addon or another guest, whose pointers are none of this guest's business.

use super::call::Call;
use super::guest::Guest;
use super::status::{Done, Status, check};
use crate::node::raw::{self, HandleScope};
use engine::VMFuncRef;
use napi::sys;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::rc::{Rc, Weak};

pub struct Owned {
    guest: Weak<Guest>,
    kind: Kind,
    /// The guest's own pointer.
    data: u32,
    finalize: Option<NonNull<VMFuncRef>>,
    hint: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Wrap,
    External,
    Finalizer,
}

/// A new one, in the guest's list.
fn own(call: &Call<'_>, kind: Kind, data: u32, finalize: u32, hint: u32) -> Result<*mut Owned, Status> {
    let guest: Rc<Guest> = call.rc();
    let finalize = guest.finalizer(finalize)?;
    let mut owned = guest.owned.borrow_mut();
    owned.try_reserve(1).map_err(|_| Status::GENERIC_FAILURE)?;
    let made = Owned { guest: Rc::downgrade(&guest), kind, data, finalize, hint };
    let made = Box::into_raw(Box::new(made));
    owned.insert(made.cast_const());
    Ok(made)
}

/// Takes it out of the list. The guest's finalizer is not called.
///
/// # Safety
/// `owned` is in the list, and the host has let go of it.
unsafe fn disown(guest: &Guest, owned: *mut Owned) {
    guest.owned.borrow_mut().remove(&owned.cast_const());
    // SAFETY: made by `own`, and nobody has it any more.
    drop(unsafe { Box::from_raw(owned) });
}

/// The guest's own pointer behind a pointer of the host's.
fn look_up(call: &Call<'_>, pointer: *mut c_void, kind: Kind) -> Result<u32, Status> {
    let owned = pointer.cast::<Owned>().cast_const();
    if !call.guest.owned.borrow().contains(&owned) {
        return Err(Status::INVALID_ARG);
    }
    // SAFETY: what is in the list lives.
    let owned = unsafe { &*owned };
    if owned.kind == kind { Ok(owned.data) } else { Err(Status::INVALID_ARG) }
}

/// The host's finalizer of all three.
unsafe extern "C" fn on_finalize(env: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    raw::contained(|| {
        // SAFETY: the host gives back once what it was given.
        let owned = unsafe { Box::from_raw(data.cast::<Owned>()) };
        let Some(guest) = owned.guest.upgrade() else { return };
        guest.owned.borrow_mut().remove(&data.cast::<Owned>().cast_const());
        if let Some(func) = owned.finalize {
            let _scope = HandleScope::open(env);
            finalize(&guest, func, owned.data, owned.hint);
        }
    });
}

/// Calls a finalizer of the guest. What it fails with is told by later calls of the guest: nobody has called it.
pub fn finalize(guest: &Guest, func: NonNull<VMFuncRef>, data: u32, hint: u32) {
    if guest.is_dead() {
        return;
    }
    guest.activate(None, |_| {
        // SAFETY: `Guest::finalizer` has looked at the type.
        if let Err(error) = unsafe { guest.enter(func, [guest.env.get(), data, hint]) } {
            super::call::note(guest, error);
        }
    });
}

/// Calls all finalizers that have not been, because the guest ends.
pub fn finalize_all(guest: &Guest) {
    let all: Vec<*const Owned> = guest.owned.borrow_mut().drain().collect();
    for owned in all {
        // SAFETY: what was in the list lives, since the host calls `on_finalize` only later: no JavaScript
        // runs here. Its function is taken out, so it is not called again.
        let (func, data, hint) = unsafe {
            let owned = owned.cast_mut();
            ((*owned).finalize.take(), (*owned).data, (*owned).hint)
        };
        if let Some(func) = func {
            finalize(guest, func, data, hint);
        }
    }
}

/// A reference for the guest that does not keep the object.
fn give_reference(call: &Call<'_>, object: sys::napi_value, result: u32) -> Done {
    if result == 0 {
        return Ok(());
    }
    let mut reference = ptr::null_mut();
    // SAFETY: a handle of an open scope, and a local result.
    check(unsafe { sys::napi_create_reference(call.host(), object, 0, &mut reference) })?;
    let number = call.guest.references.keep(call.host(), reference)?;
    call.write_u32(result, number)
}

pub fn napi_wrap(call: &Call<'_>, object: u32, data: u32, finalize: u32, hint: u32, result: u32) -> Done {
    let object = call.value(object)?;
    call.reserve_optional(result, 4)?;
    let owned = own(call, Kind::Wrap, data, finalize, hint)?;
    let none = ptr::null_mut();
    // SAFETY: a handle of an open scope. The pointer lives until its finalizer, which runs once.
    let status = unsafe {
        sys::napi_wrap(call.host(), object, owned.cast(), Some(on_finalize), none, ptr::null_mut())
    };
    if let Err(status) = check(status) {
        // SAFETY: the host has refused it.
        unsafe { disown(call.guest, owned) };
        return Err(status);
    }
    give_reference(call, object, result)
}

/// The host's pointer of a wrapped object.
fn unwrap(call: &Call<'_>, object: sys::napi_value) -> Result<*mut c_void, Status> {
    let mut pointer = ptr::null_mut();
    // SAFETY: a handle of an open scope, and a local result.
    check(unsafe { sys::napi_unwrap(call.host(), object, &mut pointer) })?;
    Ok(pointer)
}

pub fn napi_unwrap(call: &Call<'_>, object: u32, result: u32) -> Done {
    let object = call.value(object)?;
    call.reserve(result, 4)?;
    let data = look_up(call, unwrap(call, object)?, Kind::Wrap)?;
    call.write_u32(result, data)
}

pub fn napi_remove_wrap(call: &Call<'_>, object: u32, result: u32) -> Done {
    let object = call.value(object)?;
    call.reserve_optional(result, 4)?;
    let data = look_up(call, unwrap(call, object)?, Kind::Wrap)?;
    let mut pointer = ptr::null_mut();
    // SAFETY: as above. What is removed was found to be ours.
    check(unsafe { sys::napi_remove_wrap(call.host(), object, &mut pointer) })?;
    // SAFETY: the host has let go of it and does not call its finalizer.
    unsafe { disown(call.guest, pointer.cast()) };
    call.write_u32_optional(result, data)
}

pub fn napi_create_external(call: &Call<'_>, data: u32, finalize: u32, hint: u32, result: u32) -> Done {
    call.reserve(result, 4)?;
    let owned = own(call, Kind::External, data, finalize, hint)?;
    let mut value = ptr::null_mut();
    let none = ptr::null_mut();
    // SAFETY: a local result. The pointer lives until its finalizer, which runs once.
    let status =
        unsafe { sys::napi_create_external(call.host(), owned.cast(), Some(on_finalize), none, &mut value) };
    if let Err(status) = check(status) {
        // SAFETY: the host has refused it.
        unsafe { disown(call.guest, owned) };
        return Err(status);
    }
    call.give(result, value)
}

pub fn napi_get_value_external(call: &Call<'_>, value: u32, result: u32) -> Done {
    let value = call.value(value)?;
    call.reserve(result, 4)?;
    let mut pointer = ptr::null_mut();
    // SAFETY: a handle of an open scope, and a local result.
    check(unsafe { sys::napi_get_value_external(call.host(), value, &mut pointer) })?;
    let data = look_up(call, pointer, Kind::External)?;
    call.write_u32(result, data)
}

pub fn napi_add_finalizer(
    call: &Call<'_>,
    object: u32,
    data: u32,
    finalize: u32,
    hint: u32,
    result: u32,
) -> Done {
    let object = call.value(object)?;
    call.reserve_optional(result, 4)?;
    if finalize == 0 {
        return Err(Status::INVALID_ARG);
    }
    add_finalizer(call, object, data, finalize, hint)?;
    give_reference(call, object, result)
}

/// Has the guest's finalizer called when the object is gone.
pub fn add_finalizer(call: &Call<'_>, object: sys::napi_value, data: u32, finalize: u32, hint: u32) -> Done {
    let owned = own(call, Kind::Finalizer, data, finalize, hint)?;
    let none = ptr::null_mut();
    // SAFETY: as for `napi_wrap`.
    let status = unsafe {
        let data = owned.cast();
        sys::napi_add_finalizer(call.host(), object, data, Some(on_finalize), none, ptr::null_mut())
    };
    if let Err(status) = check(status) {
        // SAFETY: the host has refused it.
        unsafe { disown(call.guest, owned) };
        return Err(status);
    }
    Ok(())
}

fn type_tag(call: &Call<'_>, tag: u32) -> Result<sys::napi_type_tag, Status> {
    if tag == 0 {
        return Err(Status::INVALID_ARG);
    }
    let memory = call.memory();
    memory.reserve(tag, 16)?;
    Ok(sys::napi_type_tag { lower: memory.read_u64(tag)?, upper: memory.read_u64(tag + 8)? })
}

pub fn napi_type_tag_object(call: &Call<'_>, object: u32, tag: u32) -> Done {
    let (object, tag) = (call.value(object)?, type_tag(call, tag)?);
    // SAFETY: a handle of an open scope, and a tag that the host copies.
    check(unsafe { sys::napi_type_tag_object(call.host(), object, &tag) })
}

pub fn napi_check_object_type_tag(call: &Call<'_>, object: u32, tag: u32, result: u32) -> Done {
    let (object, tag) = (call.value(object)?, type_tag(call, tag)?);
    // SAFETY: as above.
    call.ask(result, |env, answer| unsafe { sys::napi_check_object_type_tag(env, object, &tag, answer) })
}
