//! Linking and starting instances, behind `WebAssembly.Instance`.
//!
//! For the face, through Node-API. Invariant: the face has joined the groups of all imports before it asks,
//! and keeps the returned instance handle in the joined group, so an address that it holds as a number is
//! that of a living function.

use super::call::EntryScope;
use super::failure::{Failure, Kind, run};
use super::objects::as_memory;
use super::options::Template;
use super::realm::{Realm, address};
use engine::{
    Budget, Error, Extern, Func, Instance, InstanceOptions, InstantiateError, Limits, Memory, Module,
};
use napi::bindgen_prelude::{Env, External, FromNapiRef, ToNapiValue, Uint32Array, Unknown};
use napi::{JsValue, ValueType};
use napi_derive::napi;
use std::rc::Rc;
use std::sync::Arc;

/// What an instance may have; what is not given is not limited.
#[napi(object)]
pub struct EngineLimits {
    /// Bytes of a memory.
    pub memory: Option<f64>,
    /// Elements of a table.
    pub table: Option<f64>,
    /// Bytes of all memories, tables and exceptions together.
    pub total: Option<f64>,
    /// Bytes of stack, for a thread of its own.
    pub stack: Option<f64>,
    /// Operators, for a thread of its own and a module that counts them.
    pub fuel: Option<f64>,
}

/// What a program whose memory is limited may have beside one memory, if `total` is not given.
const BESIDE_MEMORY: usize = 64 << 20;

impl EngineLimits {
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        let beside = |bytes: f64| (bytes as usize).saturating_add(BESIDE_MEMORY);
        Limits {
            memory_bytes: self.memory.map_or(default.memory_bytes, |bytes| bytes as usize),
            table_elements: self.table.map_or(default.table_elements, |count| count as u64),
            total_bytes: match (self.total, self.memory) {
                (Some(total), _) => total as usize,
                (None, memory) => memory.map_or(default.total_bytes, beside),
            },
            stack_bytes: self.stack.map(|bytes| bytes as usize),
        }
    }
}

/// What the instances of one program may have. They count together in its budget.
pub struct ProgramLimits {
    limits: Limits,
    budget: Budget,
}

impl ProgramLimits {
    pub fn parts(&self) -> (Limits, Budget) {
        (self.limits, self.budget.clone())
    }
}

/// For a program of the `WASI` object with this template.
#[napi(catch_unwind)]
pub fn program_limits(limits: EngineLimits, template: &External<Arc<Template>>) -> External<ProgramLimits> {
    let limits = limits.limits();
    let budget = Budget::counted(limits.total_bytes, template.metrics.memory.clone());
    External::new(ProgramLimits { limits, budget })
}

/// Gives the bytes of an instance's memories back, and refuses calls from then on. Does nothing and returns
/// false while wasm runs.
#[napi(catch_unwind)]
pub fn close_instance(realm: &External<Rc<Realm>>, instance: &External<Instance>) -> bool {
    let closed = instance.close(&realm.store);
    super::buffers::detach_outgrown(realm);
    closed
}

/// Instantiates. `what` begins the message of a link error. An import is a handle, or a number: the address of a
/// function that we export. `shared` are the shared memories that the module defines. The face makes them,
/// except those that V8 lacks, which are null. `limits` hold for what the instance defines.
///
/// Returns the instance's handle. Then come two values for each export: a function's address and its index in
/// its module, or another object's identity and its handle. Then comes the identity of each tag that the
/// module defines.
#[napi(catch_unwind)]
pub fn instantiate<'env>(
    env: &'env Env,
    realm: &External<Rc<Realm>>,
    what: String,
    module: &External<Module>,
    imports: Vec<Unknown<'env>>,
    shared: Vec<Option<&External<Extern>>>,
    limits: Option<&External<ProgramLimits>>,
) -> napi::Result<Vec<Unknown<'env>>> {
    let imports = imports.iter().map(|value| import(env, realm, value));
    let imports = imports.collect::<napi::Result<Vec<Extern>>>()?;
    let instance = run(realm, || {
        let _scope = EntryScope::separate(realm);
        let shared_memories: Vec<Option<Memory>> =
            shared.into_iter().map(|memory| Some(as_memory(memory?).clone())).collect();
        let limits = limits.map(|program| program.parts());
        let options = InstanceOptions { shared_memories, limits };
        let make = || Instance::with_options(&realm.store, module, &imports, options.clone());
        let lacks_room = |error: &_| matches!(error, InstantiateError::Error(Error::OutOfMemory(_)));
        let made = realm.with_room(make, lacks_room);
        made.map_err(|error| match error {
            InstantiateError::Link(error) => Failure::new(Kind::Link, format!("{what}: {error}")),
            InstantiateError::Error(error) => error.into(),
        })
    });
    // The start function may have grown a memory, even if it trapped later.
    realm.refresh_buffers();
    realm.account();
    let instance = instance?;

    let exports = instance.exports();
    let tags = instance.defined_tags();
    let mut list = Vec::with_capacity(1 + 2 * exports.len() + tags.len());
    let group = instance.weak_group();
    let handle = External::new(instance).into_unknown(env)?;
    if module.defined_memories().next().is_some() {
        realm.watch(handle.raw(), group);
    }
    list.push(handle);
    for (_, export) in exports {
        let id = match &export {
            Extern::Func(func) => func.id(),
            Extern::Table(table) => table.id(),
            Extern::Memory(memory) => memory.id(),
            Extern::Global(global) => global.id(),
            Extern::Tag(tag) => tag.id(),
            Extern::Native(_) => 0,
        };
        list.push(address(id).into_unknown(env)?);
        list.push(match export {
            Extern::Func(func) => index(&func).into_unknown(env)?,
            other => External::new(other).into_unknown(env)?,
        });
    }
    for tag in tags {
        list.push(address(tag).into_unknown(env)?);
    }
    Ok(list)
}

fn import(env: &Env, realm: &Realm, value: &Unknown<'_>) -> napi::Result<Extern> {
    if value.get_type()? == ValueType::Number {
        // SAFETY: `value` is a number.
        let address = unsafe { value.cast::<f64>() }?;
        // SAFETY: the face takes the address from an exported function that it has at hand.
        return run(realm, || Ok(Extern::Func(unsafe { realm.func(address) }?)));
    }
    // SAFETY: a handle of this callback's scope; what is no `External<Extern>` is refused.
    let handle = unsafe { External::<Extern>::from_napi_ref(env.raw(), value.raw()) }?;
    Ok(Extern::clone(handle))
}

/// The number that JavaScript sees as the function's name; host functions have no index.
fn index(func: &Func) -> u32 {
    func.index().unwrap_or(0)
}

/// The signature of a function and its index in its module, for a function that came out of wasm.
#[napi(catch_unwind)]
pub fn describe_function(realm: &External<Rc<Realm>>, address: f64) -> napi::Result<(String, u32)> {
    run(realm, || {
        // SAFETY: the face has just read the address from the window, a table or a global of a
        // group that it holds.
        let func = unsafe { realm.func(address) }?;
        Ok((realm.signature(func.ty().ty()), index(&func)))
    })
}

/// Makes one group of the groups of two functions: one of them is about to be handed to the other.
#[napi(catch_unwind)]
pub fn link_functions(realm: &External<Rc<Realm>>, one: f64, other: f64) -> napi::Result<()> {
    run(realm, || {
        // SAFETY: the face holds both functions.
        let (one, other) = unsafe { (realm.func(one)?, realm.func(other)?) };
        Ok(one.link_with(&other)?)
    })
}

/// The numbers of the host values that wasm still holds, or its frames may hold, some of them often. Before
/// them comes at how many words it looked.
#[napi(catch_unwind)]
pub fn live_references(realm: &External<Rc<Realm>>) -> Uint32Array {
    let mut live = vec![0];
    let words = realm.store.for_each_externref(&mut |reference| live.push(reference.0.get()));
    live[0] = u32::try_from(words).unwrap_or(u32::MAX);
    live.into()
}
