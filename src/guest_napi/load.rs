//! A module that imports Node-API becomes its exports.
//!
//! For the face, through Node-API. The order is that of emnapi's loaders: the instance with its start function,
//! `_initialize`, the environment, `__napi_register__*` in the order of the exports, `napi_register_wasm_v1`. A
//! guest that fails on the way is closed.

use super::elsewhere::{self, ForThreads};
use super::functions;
use super::guest::{Guest, GuestRef, Live};
use super::outside::{Guests, Hurry, Outside};
use crate::node::buffers;
use crate::node::failure::{Failure, Kind, run};
use crate::node::instance::ProgramLimits;
use crate::node::raw;
use crate::node::realm::Realm;
use crate::node::wasi::Program;
use engine::{
    Extern, ExternType, Func, FuncType, Instance, InstanceOptions, InstantiateError, Memory, Module, Table,
    Val, ValType,
};
use host::team::{Tank, Team, TeamPlan};
use host::watchdog::Watchdog;
use napi::bindgen_prelude::{Env, External, Object, Unknown};
use napi::sys;
use napi_derive::napi;
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use std::sync::{self, Arc};
use wasi::WasiCtx;

/// Whether a module is a Node-API guest.
#[napi(catch_unwind)]
pub fn is_napi_guest(module: &External<Module>) -> bool {
    const REGISTER: [&str; 2] = ["napi_register_wasm_v1", "napi_register_module_v1"];
    let registers = module.exports().any(|export| REGISTER.contains(&export.name));
    registers || module.imports().any(|import| import.module == "napi" && import.name.starts_with("napi_"))
}

/// The functions that guests are served, two strings each: the name, and a letter for each parameter.
#[napi(catch_unwind)]
pub fn guest_functions(realm: &External<Rc<Realm>>) -> Vec<String> {
    functions::all().flat_map(|each| [each.name.to_string(), realm.letters_of(&each.ty().params)]).collect()
}

#[napi(object)]
pub struct GuestOptions {
    /// Where the module comes from.
    pub url: String,
    /// How many threads the guest may have that it starts itself.
    pub threads: u32,
    /// How many threads do its asynchronous work.
    pub pool: u32,
}

/// What a guest becomes: `{exports, guest}`. `what` begins the message of a link error.
#[napi(catch_unwind)]
pub fn load_guest<'env>(
    env: &'env Env,
    realm: &External<Rc<Realm>>,
    what: String,
    module: &External<Module>,
    program: &External<Program>,
    limits: &External<ProgramLimits>,
    options: GuestOptions,
) -> napi::Result<Object<'env>> {
    let realm: &Rc<Realm> = realm;
    let GuestOptions { url, threads, pool } = options;
    let guest = Guest::new(realm, url);
    let loaded = run(realm, || {
        let guests = Guests::of(realm)?;
        follow_environment(&guest)?;
        enroll(&guest, guests, module, program, pool)?;
        load(&guest, &what, module, program, limits, threads)
    });
    realm.account();
    let exports = match loaded {
        Ok(exports) => exports,
        Err(error) => {
            let pending = raw::take_exception(realm.env);
            guest.close("it could not be loaded");
            raw::throw(realm.env, pending);
            return Err(error);
        }
    };
    let mut made = Object::new(env)?;
    // SAFETY: a handle of this callback's scope.
    made.set("exports", unsafe { Unknown::from_raw_unchecked(env.raw(), exports) })?;
    made.set("guest", External::new(guest))?;
    Ok(made)
}

/// Closes a guest. False while it runs.
#[napi(catch_unwind)]
pub fn close_guest(realm: &External<Rc<Realm>>, guest: &External<Rc<Guest>>) -> bool {
    let closed = guest.close("the module was closed");
    realm.account();
    closed
}

/// Keeps what was compiled for the realm's guests so far. Call this when the process is about to end: the next one would
/// compile it again.
#[napi(catch_unwind)]
pub fn keep_guests(realm: &External<Rc<Realm>>) {
    if let Some(guests) = realm.guests.get() {
        guests.keep_progress();
    }
}

/// Has the guest end with its environment. The hook keeps what is left of the guest until then, because
/// JavaScript can call functions of classes for as long.
fn follow_environment(guest: &Rc<Guest>) -> Result<(), Failure> {
    unsafe extern "C" fn at_end(guest: *mut c_void) {
        raw::contained(|| {
            // SAFETY: counted below, and handed back once.
            let guest = unsafe { Rc::from_raw(guest.cast_const().cast::<Guest>()) };
            // A hook has none of its own. If there can be none, no more can be done for the guest's handles.
            let _scope = raw::HandleScope::open(guest.host);
            buffers::settle_all(&guest.realm);
            let hurry = guest.outside().map(|outside| Arc::new(Hurry(outside.clone())));
            // Not the realm's, which would stay where the runtime keeps the realm.
            let watchdog = Watchdog::start();
            if let (Some(hurry), Ok(watchdog)) = (&hurry, &watchdog) {
                let watched: sync::Weak<Hurry> = Arc::downgrade(hurry);
                watchdog.watch(Hurry::deadline(), watched);
            }
            guest.close("its environment has ended");
        });
    }
    let counted = Rc::into_raw(guest.clone());
    // SAFETY: the environment of this thread, and data that the hook takes back.
    let added =
        unsafe { sys::napi_add_env_cleanup_hook(guest.host, Some(at_end), counted.cast_mut().cast()) };
    raw::check(added).map_err(|refused| {
        // SAFETY: nobody else has it.
        drop(unsafe { Rc::from_raw(counted) });
        refused.into()
    })
}

fn load(
    guest: &Rc<Guest>,
    what: &str,
    module: &Module,
    program: &Program,
    limits: &ProgramLimits,
    threads: u32,
) -> Result<sys::napi_value, Failure> {
    let realm = &guest.realm;
    let imports = imports_of(guest, what, module, program, limits, threads)?;
    let options = InstanceOptions { shared_memories: Vec::new(), limits: Some(limits.parts()) };
    let lacks_room = |error: &_| matches!(error, InstantiateError::Error(engine::Error::OutOfMemory(_)));
    guest.activate(None, |_| {
        let make = || Instance::with_options(&realm.store, module, &imports, options.clone());
        let instance = realm.with_room(make, lacks_room).map_err(|error| match error {
            InstantiateError::Link(error) => Failure::new(Kind::Link, format!("{what}: {error}")),
            InstantiateError::Error(error) => error.into(),
        })?;
        let memory = memory_of(&instance, &imports).ok_or_else(|| {
            let text = format!("{what}: the module has no memory that Node-API could work on");
            Failure::new(Kind::Link, format!("{text}; export it as \"memory\""))
        })?;
        let table = table_of(&instance, &imports);
        guest.adopt(Live { instance, memory, table });
        start(guest, what)
    })
}

/// Has the guest make itself ready: what it exports.
fn start(guest: &Rc<Guest>, what: &str) -> Result<sys::napi_value, Failure> {
    let call = |func: &Func, args: &[u32]| -> Result<u32, Failure> {
        let args: Vec<Val> = args.iter().map(|arg| Val::I32(*arg as i32)).collect();
        match func.call(&args)?.first() {
            Some(Val::I32(result)) => Ok(*result as u32),
            _ => Ok(0),
        }
    };
    let no_arguments = |func: &Func| func.ty().ty().params.is_empty();
    // C code of emnapi's in the guest reads its environment. Others only hand it back.
    guest.set_env(1);
    if let Some(initialize) = guest.export("_initialize").filter(no_arguments) {
        call(&initialize, &[])?;
    }
    if let Some(create) = guest.export("emnapi_create_env").filter(no_arguments) {
        const HEADER: u32 = 8;
        const ID: u32 = 16;
        let address = call(&create, &[])?.wrapping_add(HEADER);
        let outside = |_| Failure::new(Kind::Link, format!("{what}: emnapi_create_env gave no environment"));
        guest.memory().reserve(address, 64).map_err(outside)?;
        guest.memory().write_u32(address + ID, 1).map_err(outside)?;
        guest.set_env(address);
    }
    // `register_module` has the constructors of a guest that was made for the package napi-wasm.
    let registers = |name: &&str| name.starts_with("__napi_register__") || *name == "register_module";
    let names: Vec<String> = guest.instance().map_or_else(Vec::new, |instance| {
        let names = instance.module().exports().map(|export| export.name);
        names.filter(registers).map(str::to_string).collect()
    });
    for name in names {
        if let Some(register) = guest.export(&name).filter(no_arguments) {
            call(&register, &[])?;
        }
    }
    check_pending(guest)?;
    let mut exports = ptr::null_mut();
    // SAFETY: the environment of this thread, and a local result.
    raw::check(unsafe { sys::napi_create_object(guest.host, &mut exports) })?;
    let handle = guest.handles.push(exports).map_err(|_| Failure::Stopped)?;
    let takes_two = |func: &Func| func.ty().ty().params[..] == [ValType::I32; 2];
    let registers = ["napi_register_wasm_v1", "napi_register_module_v1"];
    let register = registers.iter().find_map(|name| guest.export(name)).or_else(|| {
        // One that has registered itself.
        let place = guest.lifetime.registered.get()?;
        match guest.instance()?.export("__indirect_function_table")? {
            Extern::Table(table) => match table.get(place.into()).ok()? {
                Val::Func(func) => func,
                _ => None,
            },
            _ => None,
        }
    });
    let register = register.filter(takes_two).ok_or_else(|| {
        let text = "the module exports no function napi_register_wasm_v1(env, exports)";
        Failure::new(Kind::Link, format!("{what}: {text}; link it with --export=napi_register_wasm_v1"))
    })?;
    let result = call(&register, &[guest.env.get(), handle])?;
    check_pending(guest)?;
    let given = guest.handles.get(result).unwrap_or(exports);
    for value in [exports, given] {
        guest.keep_exports(value);
    }
    Ok(given)
}

/// What the guest has thrown goes on as it is.
fn check_pending(guest: &Guest) -> Result<(), Failure> {
    match raw::take_exception(guest.host) {
        Some(value) => Err(Failure::kept(guest.host, value)),
        None => Ok(()),
    }
}

/// The memory that the guest works on: the one that it exports, or imports.
fn memory_of(instance: &Instance, imports: &[Extern]) -> Option<Memory> {
    let exported = match instance.export("memory") {
        Some(Extern::Memory(memory)) => Some(memory),
        _ => None,
    };
    exported.or_else(|| {
        imports.iter().find_map(|import| match import {
            Extern::Memory(memory) => Some(memory.clone()),
            _ => None,
        })
    })
}

/// The table of the guest's functions.
fn table_of(instance: &Instance, imports: &[Extern]) -> Option<Table> {
    let is_of_functions = |table: &Table| table.ty().element.is_func();
    let named = match instance.export("__indirect_function_table") {
        Some(Extern::Table(table)) => Some(table),
        _ => None,
    };
    let all = instance.exports().into_iter().map(|(_, export)| export).chain(imports.iter().cloned());
    named
        .into_iter()
        .chain(all.filter_map(|item| match item {
            Extern::Table(table) => Some(table),
            _ => None,
        }))
        .find(is_of_functions)
}

/// Makes what the guest has outside of this thread.
fn enroll(
    guest: &Rc<Guest>,
    guests: &Guests,
    module: &Module,
    program: &Program,
    pool: u32,
) -> Result<(), Failure> {
    let shares = module.imports().any(|import| is_shared_memory(&import.ty));
    // A guest without a shared memory has no threads that could end it while it waits.
    let waits = shares.then(|| program.ctx.interrupt()).transpose().map_err(|errno| {
        Failure::new(Kind::Resource, format!("no descriptor to end the waits of a module by: {errno}"))
    })?;
    let _ = guest.outside.set(guests.enroll(guest, waits, pool as usize));
    Ok(())
}

fn is_shared_memory(ty: &ExternType) -> bool {
    matches!(ty, ExternType::Memory(ty) if ty.shared)
}

/// The guest's threads, for one with a shared memory. `imports` are those of each.
fn team_of(
    outside: &Arc<Outside>,
    module: &Module,
    ctx: &WasiCtx,
    limits: &ProgramLimits,
    imports: Vec<ForThreads>,
    threads: u32,
) -> Result<Arc<Team>, Failure> {
    let waits = ctx.interrupt().map_err(|errno| {
        Failure::new(Kind::Resource, format!("no descriptor to end the waits of threads by: {errno}"))
    })?;
    let (limits, budget) = limits.parts();
    let team = Team::new(TeamPlan {
        module: module.clone(),
        externs: elsewhere::externs(imports),
        limits,
        budget,
        tank: Some(Arc::new(Tank::new(u64::MAX))),
        // Those that do asynchronous work come on top.
        most: threads as usize + outside.works.most(),
        waits: Some(waits),
    });
    let of_team = outside.clone();
    team.at_end(move || of_team.ended_by_thread());
    outside.set_team(team.clone());
    Ok(team)
}

fn imports_of(
    guest: &Rc<Guest>,
    what: &str,
    module: &Module,
    program: &Program,
    limits: &ProgramLimits,
    threads: u32,
) -> Result<Vec<Extern>, Failure> {
    let realm = &guest.realm;
    let address = Arc::new(GuestRef(Rc::as_ptr(guest)));
    let outside = guest.outside().ok_or(Failure::Stopped)?;
    let of_threads = Arc::new(program.ctx.for_threads());
    let mut shared = Vec::new();
    let mut spawns = Vec::new();
    let mut list: Vec<Extern> = Vec::new();
    for import in module.imports() {
        let (from, name) = (import.module, import.name);
        let made = match &import.ty {
            ExternType::Func(ty) => {
                let known = functions::find(name).filter(|_| functions::is_module(from));
                // One of another type is another function, whatever its name.
                let known = known.filter(|function| function.ty() == *ty.ty());
                shared.push(elsewhere::for_threads(outside, &of_threads, from, name, ty.ty()));
                if (from, name) == ("wasi", "thread-spawn") {
                    spawns.push(list.len());
                }
                let any =
                    if functions::is_module(from) { elsewhere::find(outside, name, ty.ty()) } else { None };
                match (known, any) {
                    (Some(function), _) => Extern::Native(function.bind(&address)),
                    (None, Some(native)) => Extern::Native(native),
                    (None, None) if functions::is_module(from) && elsewhere::is_now(name, ty.ty()) => {
                        elsewhere::now(&realm.store, ty.ty())
                    }
                    (None, None) => other_function(guest, program, from, name, ty.ty()),
                }
            }
            ExternType::Memory(ty) => {
                let (bounds, budget) = limits.parts();
                let make = || {
                    realm.store.with_limits(bounds, &budget, || Memory::for_module(&realm.store, module, *ty))
                };
                let lacks_room = |error: &engine::Error| matches!(error, engine::Error::OutOfMemory(_));
                Extern::Memory(realm.with_room(make, lacks_room)?)
            }
            ExternType::Table(ty) => {
                let none = Val::default_of(ValType::Ref(ty.element));
                Extern::Table(Table::new(&realm.store, *ty, none)?)
            }
            ty => {
                let text = format!("{what}: the module imports the {} {from}.{name}", ty.kind());
                return Err(Failure::new(Kind::Link, format!("{text}, which Node-API does not have")));
            }
        };
        shared.extend(elsewhere::other_for_threads(&import.ty, &made));
        list.push(made);
    }
    if shared.iter().any(|import| matches!(import, ForThreads::Memory(_))) {
        let team = team_of(outside, module, &of_threads, limits, shared, threads)?;
        for place in spawns {
            let fits = module.import_type(place).is_some_and(|ty| match ty {
                ExternType::Func(ty) => *ty.ty() == FuncType::new([ValType::I32], [ValType::I32]),
                _ => false,
            });
            if let (Some(import), Some(spawn), true) = (list.get_mut(place), team.thread_spawn(), fits) {
                *import = Extern::Native(spawn);
            }
        }
    }
    Ok(list)
}

/// A function that is none of Node-API's: WASI's, or one that nobody has. That one fails when it is called, so
/// that a module can be loaded whatever it does not use.
fn other_function(
    guest: &Rc<Guest>,
    program: &Program,
    from: &str,
    name: &str,
    ty: &engine::FuncType,
) -> Extern {
    let why = match host::import_from(&program.ctx, from, name) {
        Ok(native) if native.ty().ty() == ty => return Extern::Native(native),
        Err(refused @ host::Unavailable::Refused { .. }) => refused.to_string(),
        _ => format!("the module called {from}.{name}, which wasi-native does not have"),
    };
    let stub = Func::new(&guest.realm.store, ty.clone(), move |_| {
        Err(Failure::new(Kind::Import, why.clone()).into())
    });
    Extern::Func(stub)
}
