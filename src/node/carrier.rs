//! Modules on their way to other threads.
//!
//! For the face, through Node-API. V8 posts only its own modules, so one of ours travels as an empty module
//! of V8's, the *carrier*, with two custom sections: the hash by which this process knows the module, and the
//! module's bytes. Invariant: a carrier is enough to have the module, in any thread, even if everybody
//! else has let go of it: then it is compiled anew. Copies of large modules would cost more than all the rest of
//! a start, so if the cache has the module then, its bytes are there and not in the carrier.

use super::failure::{Failure, Kind, run};
use super::realm::{Realm, engine};
use engine::Module;
use napi::bindgen_prelude::{External, Uint8Array};
use napi_derive::napi;
use std::rc::Rc;

/// The section with the hash of the module's bytes, and a byte more: 1 if the module counts its operators.
const WHICH: &str = "wasi-native.module";
const BYTES: &str = "wasi-native.bytes";

/// The names of a carrier's sections.
#[napi(catch_unwind)]
pub fn carrier_sections() -> Vec<&'static str> {
    vec![WHICH, BYTES]
}

/// A module of this size has its bytes in the carrier only if it is not sure that the cache has them.
const LARGE: usize = 256 << 10;

/// The bytes of a carrier for the module. A `whole` one has the module's bytes in it, or leaves them to the
/// cache.
#[napi(catch_unwind)]
pub fn carrier_of(
    realm: &External<Rc<Realm>>,
    module: &External<Module>,
    whole: bool,
) -> napi::Result<Uint8Array> {
    run(realm, || {
        let whole = whole && !(module.bytes().len() >= LARGE && module.promise_to_keep());
        let bytes = if whole { module.bytes() } else { &[] };
        let mut carrier = Vec::new();
        // The header, and both sections with their names.
        carrier.try_reserve_exact(bytes.len() + 128).map_err(|_| {
            let text = format!(
                "no memory for a copy of a module of {} bytes, by which it can be posted",
                bytes.len()
            );
            Failure::new(Kind::Resource, text)
        })?;
        carrier.extend_from_slice(b"\0asm\x01\0\0\0");
        let mut which = module.hash().to_vec();
        which.push(u8::from(module.engine().tunables().fuel));
        section(&mut carrier, WHICH, &which);
        if whole {
            section(&mut carrier, BYTES, bytes);
        }
        Ok(Uint8Array::new(carrier))
    })
}

/// A custom section.
fn section(module: &mut Vec<u8>, name: &str, content: &[u8]) {
    module.push(0);
    // One byte for the length of the name, which is short.
    size(module, 1 + name.len() + content.len());
    module.push(name.len() as u8);
    module.extend_from_slice(name.as_bytes());
    module.extend_from_slice(content);
}

/// LEB128.
fn size(module: &mut Vec<u8>, mut size: usize) {
    while size >= 0x80 {
        module.push(size as u8 | 0x80);
        size >>= 7;
    }
    module.push(size as u8);
}

/// The module that a carrier stands for: the one that somebody keeps, or with `bytes` the one compiled from
/// them, or the one in the cache if there are none. `None` if there is no such module.
#[napi(catch_unwind)]
pub fn carried_module(
    realm: &External<Rc<Realm>>,
    which: &[u8],
    bytes: Option<&[u8]>,
) -> napi::Result<Option<External<Module>>> {
    run(realm, || {
        let Some((hash, [fuel])) = which.split_first_chunk::<32>() else { return Ok(None) };
        let engine = engine(*fuel == 1)?;
        if let Some(module) = Module::known(&engine, hash) {
            return Ok(Some(External::new(module)));
        }
        let Some(bytes) = bytes else { return Ok(None) };
        if bytes.is_empty() {
            return Ok(Module::cached(&engine, hash).map(External::new));
        }
        // It was compiled before, so a failure now is the machine's.
        let compiled = Module::new(&engine, bytes);
        let module = compiled.map_err(|error| {
            Failure::new(Kind::Resource, format!("a posted module cannot be compiled here: {error}"))
        })?;
        Ok(Some(External::new(module)))
    })
}
