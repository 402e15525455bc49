//! Compiling, validating and describing modules, behind `WebAssembly.Module`.
//!
//! For `src/node` and, through Node-API, `lib/module.js`. Invariant: bytes are copied before
//! anything else happens, so JavaScript may change them while we compile.

use super::failure::{Failure, Kind, caught, run};
use super::realm::{Realm, engine};
use crate::engine::{
    CompileError, Engine, ExternType, FuncType, HeapType, MemoryType, Module, RefType, Val, ValType,
};
use napi::bindgen_prelude::{ArrayBuffer, AsyncTask, Env, External, ToNapiValue, Unknown};
use napi::{Error, ScopedTask};
use napi_derive::napi;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

/// Compiles now. `what` begins the message of an error.
#[napi(catch_unwind)]
pub fn compile(
    realm: &External<Rc<Realm>>,
    what: String,
    bytes: &[u8],
    fuel: bool,
) -> napi::Result<External<Module>> {
    run(realm, || {
        let compiled = Module::new(engine(fuel)?, bytes);
        let failed = |error| Failure::new(Kind::Compile, format!("{what}: {error}"));
        Ok(External::new(compiled.map_err(failed)?))
    })
}

#[napi(catch_unwind)]
pub fn validate(realm: &External<Rc<Realm>>, bytes: &[u8]) -> napi::Result<bool> {
    run(realm, || Ok(Module::validate(engine(false)?, bytes).is_ok()))
}

/// Compiles on another thread. The promise resolves to the module, or to the message of a
/// `CompileError`: an error object can only be made by the face.
#[napi(catch_unwind)]
pub fn compile_async(bytes: &[u8], fuel: bool) -> napi::Result<AsyncTask<CompileTask>> {
    let engine = engine(fuel).map_err(|error| Error::from_reason(error.to_string()))?;
    Ok(AsyncTask::new(CompileTask { engine, bytes: Some(bytes.into()) }))
}

pub struct CompileTask {
    engine: &'static Engine,
    bytes: Option<Arc<[u8]>>,
}

impl<'env> ScopedTask<'env> for CompileTask {
    type Output = Result<Module, String>;
    type JsValue = Unknown<'env>;

    fn compute(&mut self) -> napi::Result<Self::Output> {
        let bytes = self.bytes.take().unwrap_or_default();
        let compiled = caught(|| Ok(Module::new(self.engine, bytes)));
        Ok(match compiled {
            Ok(module) => module.map_err(|error: CompileError| error.to_string()),
            Err(Failure::Error { message, .. }) => Err(format!("a bug in wasi-native: {message}")),
            Err(_) => Err("the environment is shutting down".to_string()),
        })
    }

    fn resolve(&mut self, env: &'env Env, output: Self::Output) -> napi::Result<Unknown<'env>> {
        match output {
            Ok(module) => External::new(module).into_unknown(env),
            Err(message) => message.into_unknown(env),
        }
    }
}

/// Whether instantiating a module runs code of its own.
#[napi(catch_unwind)]
pub fn has_start(module: &External<Module>) -> bool {
    module.has_start()
}

/// Whether the module counts its operators, for `limits.fuel`.
#[napi(catch_unwind)]
pub fn counts_fuel(module: &External<Module>) -> bool {
    module.engine().tunables().fuel
}

/// The imports of a module, four strings each: module, name, kind, type (see [`type_text`]).
#[napi(catch_unwind)]
pub fn imports(module: &External<Module>) -> Vec<String> {
    let each = |import: crate::engine::ImportType<'_>| {
        let (kind, ty) = (import.ty.kind().to_string(), type_text(&import.ty));
        [import.module.to_string(), import.name.to_string(), kind, ty]
    };
    module.imports().flat_map(each).collect()
}

/// The exports of a module, three strings each: name, kind, type.
#[napi(catch_unwind)]
pub fn exports(module: &External<Module>) -> Vec<String> {
    let each = |export: crate::engine::ExportType<'_>| {
        [export.name.to_string(), export.ty.kind().to_string(), type_text(&export.ty)]
    };
    module.exports().flat_map(each).collect()
}

/// The shared memories that the module defines: initial and maximum pages of each, and 1 if its
/// addresses are 64 bits wide.
#[napi(catch_unwind)]
pub fn shared_memories(module: &External<Module>) -> Vec<f64> {
    let each = |ty: MemoryType| {
        let maximum = ty.maximum.unwrap_or(ty.minimum);
        [ty.minimum as f64, maximum as f64, f64::from(u8::from(ty.memory64))]
    };
    module.defined_memories().filter(|ty| ty.shared).flat_map(each).collect()
}

/// Copies of the custom sections of this name.
#[napi(catch_unwind)]
pub fn custom_sections<'env>(
    env: &'env Env,
    module: &External<Module>,
    name: String,
) -> napi::Result<Vec<ArrayBuffer<'env>>> {
    module.custom_sections(&name).map(|bytes| ArrayBuffer::from_data(env, bytes)).collect()
}

/// A type as the face reads it: `lib/types.js` has the same letters.
/// A function is `params:results`, a global `letter` and `m` if mutable, a table `letter`.
fn type_text(ty: &ExternType) -> String {
    match ty {
        ExternType::Func(ty) | ExternType::Tag(ty) => signature(ty.ty()),
        ExternType::Table(ty) => letter(ValType::Ref(ty.element)).to_string(),
        ExternType::Memory(_) => String::new(),
        ExternType::Global(ty) => {
            let mutable = if ty.mutable { "m" } else { "" };
            format!("{}{mutable}", letter(ty.content))
        }
    }
}

pub fn signature(ty: &FuncType) -> String {
    let letters = |types: &[ValType]| types.iter().copied().map(letter).collect::<String>();
    format!("{}:{}", letters(&ty.params), letters(&ty.results))
}

/// The types of references that have letters among the characters for private use, in order.
static TYPED: Mutex<Vec<RefType>> = Mutex::new(Vec::new());
const TYPED_LETTERS: RangeInclusive<u32> = 0xe000..=0xf8ff;

/// The letter of a reference type; none when a process has met thousands.
fn typed_letter(ty: RefType) -> Option<char> {
    let mut known = TYPED.lock().unwrap_or_else(PoisonError::into_inner);
    let place = known.iter().position(|other| *other == ty).unwrap_or(known.len());
    let letter = TYPED_LETTERS.start() + u32::try_from(place).ok()?;
    if !TYPED_LETTERS.contains(&letter) {
        return None;
    }
    if place == known.len() {
        known.push(ty);
    }
    char::from_u32(letter)
}

/// The type behind a letter that [`typed_letter`] gave.
pub fn typed_reference(letter: char) -> Option<RefType> {
    let place = u32::from(letter).checked_sub(*TYPED_LETTERS.start())?;
    TYPED.lock().unwrap_or_else(PoisonError::into_inner).get(place as usize).copied()
}

/// What `lib/typed.js` must know of a type: `r` for functions or `e`, `?` if it may be null, and `0`
/// if it cannot be anything else.
#[napi(catch_unwind)]
pub fn reference_type(letter: String) -> String {
    let Some(ty) = letter.chars().next().and_then(typed_reference) else { return String::new() };
    let kind = if ty.is_func() { "r" } else { "e" };
    let empty = matches!(ty.heap, HeapType::NoFunc | HeapType::NoExtern);
    format!("{kind}{}{}", if ty.nullable { "?" } else { "" }, if empty { "0" } else { "" })
}

/// Whether the function at an address may stand where the type is asked for.
#[napi(catch_unwind)]
pub fn reference_fits(realm: &External<Rc<Realm>>, letter: String, address: f64) -> napi::Result<bool> {
    run(realm, || {
        // SAFETY: the face has the function's wrapper at hand.
        let func = unsafe { realm.func(address) }?;
        let ty = letter.chars().next().and_then(typed_reference);
        Ok(ty.is_some_and(|ty| Val::Func(Some(func)).is_a(ValType::Ref(ty))))
    })
}

/// The letter of a value type. `x` stands for those that JavaScript cannot have.
pub fn letter(ty: ValType) -> char {
    match ty {
        ValType::I32 => 'i',
        ValType::I64 => 'l',
        ValType::F32 => 'f',
        ValType::F64 => 'd',
        ValType::Ref(ty) if ty.nullable && ty.heap == HeapType::Func => 'r',
        ValType::Ref(ty) if ty.nullable && ty.heap == HeapType::Extern => 'e',
        ValType::Ref(ty) if !ty.is_exn() => typed_letter(ty).unwrap_or('x'),
        ValType::V128 | ValType::Ref(_) => 'x',
    }
}
