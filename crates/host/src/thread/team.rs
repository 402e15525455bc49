//! What the threads that a guest starts import: the same as the guest, in stores of their own.
//!
//! Used by `guest.rs`. Invariant: nothing here belongs to the guest's own store.

use super::asking::Asks;
use super::failure::{GuestFailure, Stopped};
use super::shared::{Shared, lock};
use super::values::{CANNOT_CROSS, can_cross};
use super::{Import, Plan, Sink, Value, Values};
use crate::import_for;
use crate::team::{Tank, Team, TeamPlan};
use engine::{
    Budget, Error, Extern, ExternType, Func, FuncType, Global, GlobalType, Memory, NativeFunc, SharedMemory,
    Store,
};
use std::sync::Arc;
use wasi::WasiCtx;

/// An import as any thread of the guest can have it.
enum ForThreads {
    Native(NativeFunc),
    Remote(FuncType),
    Value(Value),
    /// The position among the shared memories.
    Memory(usize),
    ThreadSpawn,
}

/// The shared memories that the plan has made, in the order of its imports.
pub(super) fn shared_memories(store: &Store, plan: &Plan) -> Result<Vec<SharedMemory>, GuestFailure> {
    let mut memories = Vec::new();
    for (import, asked) in plan.imports.iter().zip(plan.module.imports()) {
        let Import::SharedMemory = import else { continue };
        let shared = match asked.ty {
            ExternType::Memory(ty) if ty.shared => Memory::new(store, ty)?.share(),
            _ => None,
        };
        memories.push(shared.ok_or_else(|| GuestFailure::Internal("no shared memory is imported".into()))?);
    }
    Ok(memories)
}

pub(super) fn memory_for(store: &Store, memory: Option<&SharedMemory>) -> Result<Extern, GuestFailure> {
    let memory = memory.ok_or_else(|| GuestFailure::Internal("a shared memory is missing".into()))?;
    Ok(Extern::Memory(memory.to_memory(store)?))
}

/// The team of a guest.
pub(super) fn team_of(
    plan: &Plan,
    memories: &[SharedMemory],
    budget: Budget,
    tank: &Arc<Tank>,
    shared: &Arc<Shared>,
    sink: &Sink,
) -> Result<Arc<Team>, GuestFailure> {
    let ctx = plan.ctx.as_ref().map(|ctx| ctx.for_threads());
    let waits = ctx.as_ref().map(WasiCtx::interrupt).transpose().map_err(|errno| {
        GuestFailure::OutOfMemory(format!("no descriptor to interrupt the waits of threads by: {errno}"))
    })?;
    let imports = for_threads(plan, ctx.as_ref())?;
    // The guest has the team.
    let (memories, sink, of_calls) = (memories.to_vec(), sink.clone(), Arc::downgrade(shared));
    let team = Team::new(TeamPlan {
        module: plan.module.clone(),
        externs: Box::new(move |team, store, own| {
            let asks =
                Asks { team: team.clone(), own: own.clone(), shared: of_calls.clone(), sink: sink.clone() };
            let each =
                |(index, import): (usize, &ForThreads)| extern_for(store, import, index, &memories, &asks);
            imports.iter().enumerate().map(each).collect()
        }),
        limits: plan.limits,
        budget,
        tank: Some(tank.clone()),
        most: plan.threads,
        waits,
    });
    let of_guest = Arc::downgrade(shared);
    team.at_end(move || {
        if let Some(guest) = of_guest.upgrade() {
            lock(&guest.inbox).stop = true;
            guest.interrupt();
        }
    });
    Ok(team)
}

fn for_threads(plan: &Plan, ctx: Option<&WasiCtx>) -> Result<Vec<ForThreads>, GuestFailure> {
    let mut memories = 0;
    let mut imports = Vec::with_capacity(plan.imports.len());
    for (import, asked) in plan.imports.iter().zip(plan.module.imports()) {
        imports.push(match (import, asked.ty) {
            (Import::Native(native), _) => ForThreads::Native(match ctx {
                Some(ctx) => import_for(ctx, native),
                None => native.clone(),
            }),
            (Import::Value(value), _) => ForThreads::Value(*value),
            (Import::Remote, ExternType::Func(ty)) => ForThreads::Remote(ty.ty().clone()),
            (Import::Remote, _) => return Err(GuestFailure::Link("only functions can be remote".into())),
            (Import::SharedMemory, _) => {
                memories += 1;
                ForThreads::Memory(memories - 1)
            }
            (Import::ThreadSpawn, _) => ForThreads::ThreadSpawn,
        });
    }
    Ok(imports)
}

fn extern_for(
    store: &Store,
    import: &ForThreads,
    index: usize,
    memories: &[SharedMemory],
    asks: &Asks,
) -> Result<Extern, GuestFailure> {
    Ok(match import {
        ForThreads::Native(native) => Extern::Native(native.clone()),
        ForThreads::Value(value) => {
            let ty = GlobalType { content: value.ty(), mutable: false };
            Extern::Global(Global::new(store, ty, value.to_val())?)
        }
        ForThreads::Memory(place) => memory_for(store, memories.get(*place))?,
        ForThreads::ThreadSpawn => Extern::Native(asks.team.thread_spawn().ok_or(Stopped)?),
        ForThreads::Remote(ty) => {
            let (params, results) = (ty.params.len(), ty.results.len());
            let crosses = can_cross(ty);
            let asks = asks.clone();
            Extern::Func(Func::new(store, ty.clone(), move |values| {
                if !crosses {
                    return Err(Error::Internal(CANNOT_CROSS.into()));
                }
                let given = Values(values[..params].to_vec());
                let reply = asks.call(index, given)?;
                if reply.0.len() != results {
                    return Err(Error::Internal("an answer with the wrong number of results".into()));
                }
                values[..results].copy_from_slice(&reply.0);
                Ok(())
            }))
        }
    })
}
