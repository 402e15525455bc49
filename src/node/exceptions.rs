//! Exceptions across the edge, behind `WebAssembly.Tag` and `WebAssembly.Exception`.
//!
//! For this room and, through Node-API, the face. All of it is off the path of calls that return.
//! Invariants: the JavaScript object for an exception lives as long as the exception, as its *host value*,
//! and holds the payload as JavaScript values or in a copy, so that no cycle runs through native code. What
//! JavaScript throws is an exception of the realm's `JSTag`, except where the face says that wasm must not
//! catch it.

use super::failure::{Failure, run};
use super::objects::{Made, made, read_value, write_value};
use super::raw::{self, HandleScope, Reference, Refused};
use super::realm::{Realm, address};
use super::types::EXOTIC;
use engine::{Error, Exception, Extern, ExternRef, FuncType, Tag, Val, ValType};
use napi::bindgen_prelude::{Env, External, FromNapiRef, ToNapiValue, Unknown};
use napi::{JsValue, sys};
use napi_derive::napi;
use std::num::NonZeroU32;
use std::rc::Rc;

/// The face's side of exceptions.
pub struct Exceptions {
    js_tag: Tag,
    /// `(value) => tag, exception or undefined`: what a value that JavaScript threw is to wasm.
    /// Leaves the payload in the window and the host value in the target slot.
    caught: Reference,
    /// `(host, address, tag, exception) => value`: what JavaScript sees of an exception, whose
    /// payload is in the window. Leaves a new object's host value in the target slot.
    seen: Reference,
}

/// Registers the face's side. Returns the identity and the handle of the `JSTag`.
#[napi(catch_unwind)]
pub fn handle_exceptions(realm: &External<Rc<Realm>>, caught: Unknown, seen: Unknown) -> Made {
    run(realm, || {
        let js_tag = Tag::of_store(&realm.store, FuncType::new([ValType::EXTERNREF], []));
        let caught = Reference::strong(realm.env, caught.raw())?;
        let seen = Reference::strong(realm.env, seen.raw())?;
        // The face is loaded once for each realm.
        let _ = realm.exceptions.set(Exceptions { js_tag: js_tag.clone(), caught, seen });
        Ok(made(js_tag.id(), Extern::Tag(js_tag)))
    })
}

/// Makes a tag whose parameters have these letters.
#[napi(catch_unwind)]
pub fn create_tag(realm: &External<Rc<Realm>>, params: String) -> Made {
    run(realm, || {
        let params: Vec<ValType> = params.chars().map(|letter| realm.val_type(letter)).collect();
        let tag = Tag::new(&realm.store, FuncType::new(params, []));
        Ok(made(tag.id(), Extern::Tag(tag)))
    })
}

/// Puts a value that an exception carries into the window.
#[napi(catch_unwind)]
pub fn exception_value(realm: &External<Rc<Realm>>, exception: &External<Exception>, index: u32) {
    if let Some(value) = exception.values().get(index as usize) {
        write_value(realm, 0, value);
    }
}

/// The error for wasm of what JavaScript has just thrown.
#[cold]
pub fn thrown(realm: &Realm) -> Error {
    let Ok(_scope) = HandleScope::open(realm.env) else { return Failure::Stopped.into() };
    let Some(value) = raw::take_exception(realm.env) else { return Failure::Stopped.into() };
    match catchable(realm, value) {
        Ok(Some(exception)) => Error::Exception(exception),
        Ok(None) => Failure::kept(realm.env, value).into(),
        Err(failure) => {
            // The face could not tell, for want of stack. The caller must see what was thrown, and not what
            // the face met.
            raw::take_exception(realm.env);
            match Failure::kept(realm.env, value) {
                Failure::Stopped => failure.into(),
                kept => kept.into(),
            }
        }
    }
}

/// The exception that wasm may catch for a JavaScript value; `None` if it must not.
fn catchable(realm: &Realm, value: sys::napi_value) -> Result<Option<Exception>, Failure> {
    let Some(face) = realm.exceptions.get() else { return Ok(None) };
    let caught = raw::call(realm.env, face.caught.get().ok_or(Refused)?, &[value])?;
    let host = host_value(realm);
    // SAFETY: `caught` is a handle of the open scope; anything but an `External` of the type is refused.
    let exception = unsafe {
        if let Ok(object) = External::<Extern>::from_napi_ref(realm.env, caught) {
            let Extern::Tag(tag) = &**object else { return Ok(None) };
            let ty = tag.ty();
            let values = (0..).zip(&ty.ty().params).map(|(slot, ty)| read_value(realm, slot, *ty));
            Exception::new(&realm.store, tag, &values.collect::<Vec<Val>>())?
        } else if let Ok(original) = External::<Exception>::from_napi_ref(realm.env, caught) {
            let Some(copy) = original.copy() else { return Ok(None) };
            copy
        } else {
            return Ok(None);
        }
    };
    if let Some(host) = host {
        exception.set_host(host);
    }
    Ok(Some(exception))
}

/// What JavaScript sees of an exception that leaves wasm.
pub fn seen(realm: &Realm, exception: &Exception) -> Result<sys::napi_value, Failure> {
    let face = realm.exceptions.get().ok_or(Refused)?;
    let values = exception.values();
    let host = match values.first() {
        Some(Val::Extern(value)) if exception.is(&face.js_tag) => value.map_or(0, index),
        _ => exception.host().map_or(0, index),
    };
    let known = host != 0 || exception.is(&face.js_tag);
    let env = Env::from_raw(realm.env);
    let outcome = (|| -> napi::Result<_> {
        let mut args = vec![host.into_unknown(&env)?.raw()];
        if !known && let Some(tag) = exception.tag() {
            args.push(address(tag.id()).into_unknown(&env)?.raw());
            let exotic = realm.letters_of(&tag.ty().ty().params).contains(EXOTIC);
            args.push(External::new(Extern::Tag(tag)).into_unknown(&env)?.raw());
            if exotic {
                let copy = exception.copy();
                args.extend(
                    copy.map(|copy| External::new(copy).into_unknown(&env))
                        .transpose()?
                        .map(|copy| copy.raw()),
                );
            }
        }
        Ok(args)
    })();
    let args = outcome.map_err(|_| Refused)?;
    for (slot, value) in (0..).zip(&values) {
        write_value(realm, slot, value);
    }
    let value = raw::call(realm.env, face.seen.get().ok_or(Refused)?, &args)?;
    if !known && let Some(host) = host_value(realm) {
        exception.set_host(host);
    }
    Ok(value)
}

/// What the face left in the target slot.
fn host_value(realm: &Realm) -> Option<ExternRef> {
    NonZeroU32::new(realm.target_number() as u32).map(ExternRef)
}

fn index(reference: ExternRef) -> u32 {
    reference.0.get()
}
