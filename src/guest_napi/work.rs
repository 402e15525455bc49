//! Asynchronous work: `napi_create_async_work` and what belongs to it.
//!
//! For `functions.rs` and `outside.rs`. A guest with a shared memory has a pool of threads, each with an instance
//! of its own, which the guest's `emnapi_async_worker_create` and `emnapi_async_worker_init` make ready. They
//! start with the first work. Where the guest lacks these, or has a memory that no thread can share, its work is
//! done on the realm's thread, in a turn of its own. Invariant: a work is in one state at a time, changed
//! under the lock.

use super::call::{self, Call};
use super::guest::Guest;
use super::outside::{Outside, What, lock};
use super::slab::Slab;
use super::status::{Done, Status};
use engine::{Error, Extern, Func, FuncType, Instance, Val, ValRaw, ValType};
use host::team::Member;
use host::thread::GuestFailure;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The works of a guest, and the threads that do them.
pub struct Works {
    state: Mutex<State>,
    /// Something is queued, or the guest has ended.
    changed: Condvar,
    /// How many threads there may be.
    most: usize,
}

#[derive(Default)]
struct State {
    works: Slab<Work>,
    queued: VecDeque<u32>,
    threads: usize,
    idle: usize,
    /// Whether the guest cannot have threads for this.
    here: bool,
}

struct Work {
    /// Places in the guest's table.
    execute: u32,
    complete: u32,
    data: u32,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It can be queued, or deleted.
    Idle,
    Queued,
    Running,
    /// What came of it is on its way.
    Over,
}

const CANCELLED: i32 = 11;
const EXECUTE: [ValType; 2] = [ValType::I32; 2];
const COMPLETE: [ValType; 3] = [ValType::I32; 3];

impl Works {
    pub fn new(most: usize) -> Works {
        Works { state: Mutex::default(), changed: Condvar::new(), most }
    }

    /// How many threads do the work, at most.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Has threads that wait look whether the guest has ended.
    pub fn wake(&self) {
        drop(lock(&self.state));
        self.changed.notify_all();
    }

    /// The next work, as its number, function and data: it runs from now on.
    fn take(state: &mut State) -> Option<(u32, u32, u32)> {
        let number = state.queued.pop_front()?;
        let work = state.works.get_mut(number)?;
        work.stage = Stage::Running;
        Some((number, work.execute, work.data))
    }

    /// A running work is over.
    fn finish(&self, number: u32) {
        if let Some(work) = lock(&self.state).works.get_mut(number) {
            work.stage = Stage::Over;
        }
    }
}

pub fn napi_create_async_work(
    call: &Call<'_>,
    resource: u32,
    name: u32,
    execute: u32,
    complete: u32,
    data: u32,
    result: u32,
) -> Done {
    call.reserve(result, 4)?;
    for value in [resource, name].into_iter().filter(|value| *value != 0) {
        call.value(value)?;
    }
    call.guest.function(execute, &EXECUTE, &[])?;
    if complete != 0 {
        call.guest.function(complete, &COMPLETE, &[])?;
    }
    let works = &call.guest.outside().ok_or(Status::GENERIC_FAILURE)?.works;
    let work = Work { execute, complete, data, stage: Stage::Idle };
    let number = lock(&works.state).works.insert(work).map_err(|_| Status::GENERIC_FAILURE)?;
    call.write_u32(result, number)
}

pub fn napi_delete_async_work(call: &Call<'_>, work: u32) -> Done {
    let works = &call.guest.outside().ok_or(Status::INVALID_ARG)?.works;
    let mut state = lock(&works.state);
    match state.works.get(work).ok_or(Status::INVALID_ARG)?.stage {
        Stage::Idle => _ = state.works.remove(work),
        // Somebody still uses it.
        _ => return Err(Status::GENERIC_FAILURE),
    }
    Ok(())
}

pub fn napi_queue_async_work(call: &Call<'_>, work: u32) -> Done {
    let guest = call.guest;
    let outside = guest.outside().ok_or(Status::INVALID_ARG)?;
    {
        let mut state = lock(&outside.works.state);
        let State { works, queued, .. } = &mut *state;
        let found = works.get_mut(work).ok_or(Status::INVALID_ARG)?;
        if found.stage != Stage::Idle {
            return Err(Status::GENERIC_FAILURE);
        }
        queued.try_reserve(1).map_err(|_| Status::GENERIC_FAILURE)?;
        found.stage = Stage::Queued;
        queued.push_back(work);
    }
    guest.hold_loop();
    if call_for_thread(guest, outside)? {
        outside.works.changed.notify_one();
    } else {
        outside.tell(What::DoWork);
    }
    Ok(())
}

/// Sees to it that a thread takes what was queued. False if the guest has none for that.
fn call_for_thread(guest: &Guest, outside: &Arc<Outside>) -> Result<bool, Status> {
    {
        let state = lock(&outside.works.state);
        if state.here || outside.works.most == 0 {
            return Ok(false);
        }
        if state.idle >= state.queued.len() || state.threads >= outside.works.most {
            return Ok(true);
        }
    }
    let (Some(team), Some((way, create))) = (outside.team(), way_of(guest)) else {
        lock(&outside.works.state).here = true;
        return Ok(false);
    };
    lock(&outside.works.state).threads += 1;
    let starts_itself = u32::from(way == Way::Itself);
    // SAFETY: `way_of` has looked at the type. We are in a call of the guest's, so it is entered.
    let block = unsafe {
        match way {
            Way::Older => guest.enter(create.raw(), []),
            Way::Itself | Way::Ours => guest.enter(create.raw(), [starts_itself, starts_itself]),
        }
    };
    let block = block.map_err(|error| call::fail_later(guest, error))?;
    let started = match way {
        Way::Itself => (block as i32) > 0,
        Way::Older | Way::Ours => {
            let of_thread = outside.clone();
            team.spawn(Box::new(move |member| begin(&of_thread, member, block))).is_ok()
        }
    };
    if !started {
        let mut state = lock(&outside.works.state);
        state.threads -= 1;
        // Others do it if there are any; otherwise this thread.
        return Ok(state.threads > 0);
    }
    Ok(true)
}

/// Who starts a thread for asynchronous work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The guest, by `thread-spawn`. The thread calls [`WORKER`].
    Itself,
    /// We, on a stack that the guest makes.
    Ours,
    /// The same where the guest knows of no other way, as older emnapi.
    Older,
}

/// What a guest imports that would have us start its thread in the middle of [`Way::Itself`].
const SPAWN: &str = "_emnapi_spawn_worker";

/// What a thread that the guest has started for asynchronous work calls.
pub const WORKER: &str = "_emnapi_async_worker";

/// How the guest has threads for asynchronous work, and the function that makes one. `None` if it cannot.
fn way_of(guest: &Guest) -> Option<(Way, Func)> {
    let create = guest.export("emnapi_async_worker_create")?;
    let (shared, instance) = (create.ty(), guest.instance()?);
    let ty = shared.ty();
    if ty.results[..] != [ValType::I32] {
        return None;
    }
    let imports = |name: &str| instance.module().imports().any(|import| import.name == name);
    let way = match ty.params[..] {
        [] => Way::Older,
        [ValType::I32, ValType::I32] if imports(WORKER) && !imports(SPAWN) => {
            return Some((Way::Itself, create));
        }
        [ValType::I32, ValType::I32] => Way::Ours,
        _ => return None,
    };
    let init = guest.export("emnapi_async_worker_init")?;
    (*init.ty().ty() == FuncType::new([ValType::I32], [])).then_some((way, create))
}

/// The life of a thread that we have started for work.
fn begin(outside: &Outside, member: &Member, block: u32) -> Result<(), GuestFailure> {
    let Some(Extern::Func(init)) = member.instance.export("emnapi_async_worker_init") else {
        return Err(GuestFailure::Internal("an export is gone".into()));
    };
    init.call(&[Val::I32(block as i32)])?;
    Ok(serve(outside, &member.instance)?)
}

/// Does work on this thread, which has this instance, until the guest ends.
pub fn serve(outside: &Outside, instance: &Instance) -> Result<(), Error> {
    let Some(team) = outside.team() else { return Ok(()) };
    let Some(Extern::Table(table)) = instance.export("__indirect_function_table") else {
        return Err(Error::Internal("the module does not export its table".into()));
    };
    let works = &outside.works;
    loop {
        let taken = {
            let mut state = lock(&works.state);
            loop {
                if team.has_ended() {
                    return Ok(());
                }
                if let Some(taken) = Works::take(&mut state) {
                    break taken;
                }
                state.idle += 1;
                state = works.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        };
        let (number, execute, data) = taken;
        let func = match table.get(execute.into()) {
            Ok(Val::Func(Some(func))) if *func.ty().ty() == FuncType::new(EXECUTE, []) => func,
            _ => return Err(Error::Internal("the function of an asynchronous work is gone".into())),
        };
        let env = outside.env.load(Ordering::Relaxed);
        let mut values = [ValRaw { i32: env as i32 }, ValRaw { i32: data as i32 }];
        // SAFETY: the type was just looked at.
        unsafe { func.call_raw(values.as_mut_ptr()) }?;
        works.finish(number);
        outside.tell(What::Work(number, 0));
    }
}

/// Does the next work on this thread.
pub fn do_next(guest: &Guest) {
    let Some(outside) = guest.outside() else { return };
    let Some((number, execute, data)) = Works::take(&mut lock(&outside.works.state)) else { return };
    if let Ok(func) = guest.function(execute, &EXECUTE, &[]) {
        // SAFETY: the type was just looked at.
        unsafe { guest.call_uncaught(func, [guest.env.get(), data]) };
    }
    outside.works.finish(number);
    outside.tell(What::Work(number, 0));
}

pub fn napi_cancel_async_work(call: &Call<'_>, work: u32) -> Done {
    let outside = call.guest.outside().ok_or(Status::INVALID_ARG)?;
    let mut state = lock(&outside.works.state);
    let State { works, queued, .. } = &mut *state;
    let found = works.get_mut(work).ok_or(Status::INVALID_ARG)?;
    if found.stage != Stage::Queued {
        return Err(Status::GENERIC_FAILURE);
    }
    found.stage = Stage::Over;
    queued.retain(|other| *other != work);
    drop(state);
    outside.tell(What::Work(work, CANCELLED));
    Ok(())
}

/// A work is over: the guest is told. It may delete the work, or queue it again.
pub fn complete(guest: &Guest, number: u32, status: i32) {
    guest.release_loop();
    let Some(outside) = guest.outside() else { return };
    let (complete, data) = {
        let mut state = lock(&outside.works.state);
        let Some(work) = state.works.get_mut(number) else { return };
        work.stage = Stage::Idle;
        (work.complete, work.data)
    };
    if complete == 0 {
        return;
    }
    if let Ok(func) = guest.function(complete, &COMPLETE, &[]) {
        // SAFETY: the type was just looked at.
        unsafe { guest.call_uncaught(func, [guest.env.get(), status as u32, data]) };
    }
}
