//! A guest's own data, and what it wants called when it ends.
//!
//! For `functions.rs` and `guest.rs`. Cleanup hooks run in the reverse order of their adding, then the finalizers
//! that have not run, then that of the instance data. All of it is the guest's own: the host's environment, which
//! guests share, knows nothing of it.

use super::call::Call;
use super::guest::Guest;
use super::slab::Slab;
use super::status::{Done, Status};
use super::wraps;
use crate::node::raw::HandleScope;
use engine::{VMFuncRef, ValType};
use napi::sys;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

#[derive(Default)]
pub struct Lifetime {
    hooks: RefCell<Vec<Hook>>,
    handles: RefCell<Slab<()>>,
    data: Cell<u32>,
    /// Bytes that V8's collector was told of.
    told: Cell<i64>,
    finalize: Cell<Option<(NonNull<VMFuncRef>, u32)>>,
    /// The function of a module that has registered itself: the place in the guest's table.
    pub registered: Cell<Option<u32>>,
}

#[derive(Clone, Copy)]
struct Hook {
    place: u32,
    func: NonNull<VMFuncRef>,
    arg: u32,
    /// The handle of an asynchronous one. It gets that first.
    handle: Option<u32>,
}

/// Calls what the guest wants to be called at its end.
pub fn run_end(guest: &Guest) {
    let Ok(_scope) = HandleScope::open(guest.host) else { return };
    loop {
        let Some(hook) = guest.lifetime.hooks.borrow_mut().pop() else { break };
        if guest.is_dead() {
            return;
        }
        guest.activate(None, |_| {
            // SAFETY: the functions that add a hook have looked at the type.
            let ran = unsafe {
                match hook.handle {
                    None => guest.enter(hook.func, [hook.arg]),
                    Some(handle) => guest.enter(hook.func, [handle, hook.arg]),
                }
            };
            if let Err(error) = ran {
                super::call::note(guest, error);
            }
        });
    }
    wraps::finalize_all(guest);
    if let Some((func, hint)) = guest.lifetime.finalize.take() {
        wraps::finalize(guest, func, guest.lifetime.data.get(), hint);
    }
}

pub fn napi_set_instance_data(call: &Call<'_>, data: u32, finalize: u32, hint: u32) -> Done {
    let finalize = call.guest.finalizer(finalize)?;
    // As the host has it, what was there before is only forgotten.
    call.guest.lifetime.data.set(data);
    call.guest.lifetime.finalize.set(finalize.map(|func| (func, hint)));
    Ok(())
}

pub fn napi_get_instance_data(call: &Call<'_>, result: u32) -> Done {
    call.reserve(result, 4)?;
    call.write_u32(result, call.guest.lifetime.data.get())
}

fn add(call: &Call<'_>, hook: Hook) -> Done {
    let mut hooks = call.guest.lifetime.hooks.borrow_mut();
    hooks.try_reserve(1).map_err(|_| Status::GENERIC_FAILURE)?;
    hooks.push(hook);
    Ok(())
}

pub fn napi_add_env_cleanup_hook(call: &Call<'_>, place: u32, arg: u32) -> Done {
    let func = call.guest.function(place, &[ValType::I32], &[])?;
    add(call, Hook { place, func, arg, handle: None })
}

pub fn napi_remove_env_cleanup_hook(call: &Call<'_>, place: u32, arg: u32) -> Done {
    let mut hooks = call.guest.lifetime.hooks.borrow_mut();
    let is_it = |hook: &Hook| hook.handle.is_none() && (hook.place, hook.arg) == (place, arg);
    if let Some(found) = hooks.iter().rposition(is_it) {
        hooks.remove(found);
    }
    Ok(())
}

pub fn napi_add_async_cleanup_hook(call: &Call<'_>, place: u32, arg: u32, result: u32) -> Done {
    call.reserve_optional(result, 4)?;
    let func = call.guest.function(place, &[ValType::I32; 2], &[])?;
    let handle = call.guest.lifetime.handles.borrow_mut().insert(());
    let handle = handle.map_err(|()| Status::GENERIC_FAILURE)?;
    add(call, Hook { place, func, arg, handle: Some(handle) })?;
    call.write_u32_optional(result, handle)
}

/// The guest tells that the work of an asynchronous hook is done, or takes the hook back.
pub fn napi_remove_async_cleanup_hook(call: &Call<'_>, handle: u32) -> Result<u32, Status> {
    let lifetime = &call.guest.lifetime;
    if lifetime.handles.borrow_mut().remove(handle).is_none() {
        return Ok(Status::INVALID_ARG.0 as u32);
    }
    lifetime.hooks.borrow_mut().retain(|hook| hook.handle != Some(handle));
    Ok(0)
}

/// What a guest holds outside of V8's heap counts for V8's collector, as that of any addon does: what it has of
/// its own memory, and no more, lest V8 collect without end.
pub fn napi_adjust_external_memory(call: &Call<'_>, change: i64, result: u32) -> Done {
    const MOST: i64 = 1 << 32;
    call.reserve(result, 8)?;
    let told = &call.guest.lifetime.told;
    let now = told.get().saturating_add(change).clamp(0, MOST);
    let mut all = 0;
    // SAFETY: the environment of this thread, and a local result.
    super::status::check(unsafe {
        sys::napi_adjust_external_memory(call.host(), now - told.replace(now), &mut all)
    })?;
    call.write_u64(result, all as u64)
}

/// A module that registers itself by a constructor, as modules before `NAPI_MODULE_INIT` do: `nm_version`,
/// `nm_flags`, `nm_filename`, `nm_register_func`.
pub fn napi_module_register(call: &Call<'_>, module: u32) -> Result<u32, Status> {
    let place = module.checked_add(12).ok_or(Status::INVALID_ARG)?;
    call.guest.lifetime.registered.set(Some(call.memory().read_u32(place)?));
    Ok(0)
}
