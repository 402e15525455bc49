//! Programs with threads on the realm's own thread: behind `WASI.start`.
//!
//! For the face, through Node-API. The program's first thread is the realm's; the others are a
//! [`Team`](host::team::Team). Invariants: there are others only while the program runs, between [`begin_team`] and
//! [`end_team`], and none when `end_team` has returned or the environment ends. A thread cannot call JavaScript,
//! which waits in the program.

use super::failure::{Failure, Kind, run};
use super::instance::ProgramLimits;
use super::objects::made;
use super::raw;
use super::realm::Realm;
use super::wasi::Program;
use engine::{
    Error, Extern, ExternType, Func, FuncType, Global, GlobalType, InterruptHandle, Memory, Module,
    NativeFunc, SharedMemory,
};
use host::team::{Tank, Team, TeamPlan};
use host::thread::GuestFailure;
use napi::bindgen_prelude::{Env, External, FromNapiRef, Unknown};
use napi::{JsValue, ValueType, sys};
use napi_derive::napi;
use std::ffi::c_void;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wasi::Interrupt;

/// A shared memory for the import at this place, of a program and its threads: its address and handle.
#[napi(catch_unwind)]
pub fn program_memory(
    realm: &External<Rc<Realm>>,
    module: &External<Module>,
    place: u32,
    limits: Option<&External<ProgramLimits>>,
) -> napi::Result<(f64, External<Extern>)> {
    run(realm, || {
        let ty = match module.import_type(place as usize) {
            Some(ExternType::Memory(ty)) if ty.shared => ty,
            _ => return Err(Failure::new(Kind::Internal, "the import is no shared memory")),
        };
        let make = || match limits {
            Some(limits) => {
                let (limits, budget) = limits.parts();
                realm.store.with_limits(limits, &budget, || Memory::for_module(&realm.store, module, ty))
            }
            None => Memory::for_module(&realm.store, module, ty),
        };
        let memory = realm.with_room(make, |error| matches!(error, Error::OutOfMemory(_)))?;
        Ok(made(memory.id(), Extern::Memory(memory)))
    })
}

/// A program's threads, as JavaScript holds them.
pub struct ProgramTeam {
    team: Arc<Team>,
    first: Arc<First>,
}

/// The realm's thread, which others end when they end the program.
struct First {
    state: Mutex<State>,
    interrupt: InterruptHandle,
    waits: Arc<Interrupt>,
}

#[derive(Default)]
struct State {
    /// Whether the program runs.
    runs: bool,
    stopped: bool,
}

impl First {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        let mut state = self.lock();
        if state.runs {
            state.stopped = true;
            self.interrupt.interrupt();
            self.waits.fire();
        }
    }
}

impl Drop for ProgramTeam {
    fn drop(&mut self) {
        self.team.end(None);
    }
}

/// An import as any thread of the program can have it.
enum ForThreads {
    Native(NativeFunc),
    Value(GlobalType, host::thread::Value),
    Memory(SharedMemory),
    ThreadSpawn,
    /// What belongs to the thread of JavaScript: it fails when it is called.
    Stub(FuncType, String),
}

/// The threads of a program of this module, and the function that starts them, for its first instance to import.
/// Each import is a handle, or null for what other threads cannot have and for `thread-spawn`.
#[napi(catch_unwind)]
pub fn open_team<'env>(
    env: &'env Env,
    realm: &External<Rc<Realm>>,
    module: &External<Module>,
    program: &External<Program>,
    imports: Vec<Unknown<'env>>,
    limits: Option<&External<ProgramLimits>>,
    threads: u32,
) -> napi::Result<(External<ProgramTeam>, External<Extern>)> {
    let imports = imports.iter().map(|value| {
        if value.get_type()? == ValueType::Null {
            return Ok(None);
        }
        // SAFETY: a handle of this callback's scope; what is no `External<Extern>` is refused.
        let handle = unsafe { External::<Extern>::from_napi_ref(env.raw(), value.raw()) }?;
        Ok(Some(Extern::clone(handle)))
    });
    let imports = imports.collect::<napi::Result<Vec<Option<Extern>>>>()?;
    run(realm, || {
        let descriptor = |errno| {
            Failure::new(Kind::Resource, format!("no descriptor to end the waits of threads by: {errno}"))
        };
        let ctx = program.ctx.for_threads();
        let each = module.imports().zip(&imports).map(|(asked, given)| match (given, asked.ty) {
            (Some(Extern::Native(native)), _) => Ok(ForThreads::Native(host::import_for(&ctx, native))),
            (Some(Extern::Memory(memory)), _) => match memory.share() {
                Some(memory) => Ok(ForThreads::Memory(memory)),
                None => Err(cannot(asked.name, "memory of V8's")),
            },
            (Some(Extern::Global(global)), _) => match host::thread::Value::of(&global.get()) {
                Some(value) if !global.ty().mutable => Ok(ForThreads::Value(global.ty(), value)),
                _ => Err(cannot(asked.name, "global")),
            },
            (None, ExternType::Func(_)) if (asked.module, asked.name) == ("wasi", "thread-spawn") => {
                Ok(ForThreads::ThreadSpawn)
            }
            (_, ExternType::Func(ty)) => Ok(ForThreads::Stub(
                ty.ty().clone(),
                format!(
                    "a thread called the import {}.{}, which belongs to the thread of JavaScript; run the program \
                     by wasi.run(), where threads can",
                    asked.module, asked.name
                ),
            )),
            (_, ty) => Err(cannot(asked.name, ty.kind())),
        });
        let imports = each.collect::<Result<Vec<ForThreads>, Failure>>()?;
        let (limits, budget) = limits.map_or_else(
            || (engine::Limits::default(), engine::Budget::new(usize::MAX)),
            |limits| limits.parts(),
        );
        let team = Team::new(TeamPlan {
            module: Module::clone(module),
            externs: Box::new(move |team, store, _| {
                imports.iter().map(|import| extern_for(team, store, import)).collect()
            }),
            limits,
            budget,
            // On this thread there is no limit on operators.
            tank: Some(Arc::new(Tank::new(u64::MAX))),
            most: threads as usize,
            waits: Some(ctx.interrupt().map_err(descriptor)?),
        });
        team.set_open(false);
        let first = Arc::new(First {
            state: Mutex::default(),
            interrupt: realm.store.interrupt_handle(),
            waits: program.ctx.interrupt().map_err(descriptor)?,
        });
        let of_team = first.clone();
        team.at_end(move || of_team.stop());
        let spawn = team.thread_spawn().ok_or(Failure::Stopped)?;
        Ok((External::new(ProgramTeam { team, first }), External::new(Extern::Native(spawn))))
    })
}

fn cannot(name: &str, what: &str) -> Failure {
    Failure::new(Kind::Link, format!("the import {name:?} is a {what}, which threads cannot share"))
}

fn extern_for(team: &Arc<Team>, store: &engine::Store, import: &ForThreads) -> Result<Extern, GuestFailure> {
    Ok(match import {
        ForThreads::Native(native) => Extern::Native(native.clone()),
        ForThreads::Memory(memory) => Extern::Memory(memory.to_memory(store)?),
        ForThreads::Value(ty, value) => Extern::Global(Global::new(store, *ty, value.to_val())?),
        ForThreads::ThreadSpawn => {
            let spawn = team.thread_spawn();
            Extern::Native(spawn.ok_or_else(|| GuestFailure::Internal("the team is gone".into()))?)
        }
        ForThreads::Stub(ty, why) => {
            let why = why.clone();
            Extern::Func(Func::new(store, ty.clone(), move |_| Err(Error::Internal(why.clone()))))
        }
    })
}

/// The program begins to run on this thread, and may start others.
#[napi(catch_unwind)]
pub fn begin_team(realm: &External<Rc<Realm>>, team: &External<ProgramTeam>) -> napi::Result<()> {
    run(realm, || {
        let counted = Arc::into_raw(team.team.clone());
        // SAFETY: the environment of this thread, and data that the hook or `end_team` takes back.
        let added = unsafe {
            sys::napi_add_env_cleanup_hook(realm.env, Some(at_end), counted.cast_mut().cast::<c_void>())
        };
        if raw::check(added).is_err() {
            // SAFETY: nobody else has it.
            drop(unsafe { Arc::from_raw(counted) });
            return Err(Failure::Stopped);
        }
        team.first.lock().runs = true;
        team.team.set_open(true);
        Ok(())
    })
}

/// How long an environment that ends waits for the threads.
const PATIENCE: Duration = Duration::from_secs(2);

/// The environment ends while the program runs.
unsafe extern "C" fn at_end(team: *mut c_void) {
    raw::contained(|| {
        // SAFETY: counted by `begin_team`, and handed back once.
        let team = unsafe { Arc::from_raw(team.cast_const().cast::<Team>()) };
        team.end(None);
        team.join(Some(PATIENCE));
    });
}

/// The program has ended on this thread, and so do all others. Throws what one of them ended it with, if one did.
#[napi(catch_unwind)]
pub fn end_team(realm: &External<Rc<Realm>>, team: &External<ProgramTeam>) -> napi::Result<()> {
    run(realm, || {
        let ProgramTeam { team, first } = &**team;
        team.end(None);
        team.join(None);
        let counted = Arc::as_ptr(team);
        // SAFETY: the hook that `begin_team` added, which has not run, as its environment is alive; nobody else
        // takes back what it has counted.
        unsafe {
            sys::napi_remove_env_cleanup_hook(realm.env, Some(at_end), counted.cast_mut().cast::<c_void>());
            drop(Arc::from_raw(counted));
        }
        let stopped = {
            let mut state = first.lock();
            state.runs = false;
            std::mem::take(&mut state.stopped)
        };
        if stopped {
            realm.store.clear_interrupt()?;
            first.waits.clear();
            realm.stop_for_spent_budgets();
        }
        match team.take_failure() {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    })
}
