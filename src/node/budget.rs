//! Calls on the realm's own thread that may take only so long, or use only so much fuel.
//!
//! For the face, through Node-API. Invariants: budgets are begun and ended like the calls they are for,
//! the innermost first. While a spent one lasts, all wasm of the realm stops, because all of it runs
//! inside that call. When it has ended, wasm runs again unless an outer one is spent, too.

use super::failure::{Failure, Kind, run};
use super::realm::Realm;
use super::wasi::Program;
use engine::InterruptHandle;
use host::watchdog::Timed;
use napi::bindgen_prelude::External;
use napi_derive::napi;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use wasi::Interrupt;

/// What one call may take.
pub struct Budget {
    state: Mutex<State>,
    interrupt: InterruptHandle,
    /// Ends the waits of the instance's own WASI calls.
    waits: Option<Arc<Interrupt>>,
    /// What wasm could use before, and what of it this call was given.
    fuel: (u64, u64),
}

#[derive(Default)]
struct State {
    spent: bool,
    ended: bool,
}

impl Budget {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the call, if it is still under way.
    fn spend(&self) {
        let mut state = self.lock();
        if !state.ended {
            state.spent = true;
            // Under the lock: nothing is stopped after `end`.
            self.stop();
        }
    }

    fn stop(&self) {
        self.interrupt.interrupt();
        if let Some(waits) = &self.waits {
            waits.fire();
        }
    }

    /// Whether it was spent. It cannot be spent any more from now on.
    fn end(&self) -> bool {
        let mut state = self.lock();
        state.ended = true;
        state.spent
    }
}

impl Timed for Budget {
    fn expire(&self) {
        self.spend();
    }
}

impl Realm {
    /// After an interruption was cleared: wasm of the realm stops again if a budget of a call under way is spent.
    pub fn stop_for_spent_budgets(&self) {
        for outer in self.budgets.borrow().iter().filter(|outer| outer.lock().spent) {
            outer.stop();
        }
    }
}

/// Begins a budget for the call that comes next: milliseconds, and operators. `program` is that of
/// the instance.
#[napi(catch_unwind)]
pub fn begin_budget(
    realm: &External<Rc<Realm>>,
    program: Option<&External<Program>>,
    timeout: Option<f64>,
    fuel: Option<f64>,
) -> napi::Result<External<Arc<Budget>>> {
    run(realm, || {
        let resource = |what: String| Failure::new(Kind::Resource, what);
        let waits = match program {
            Some(program) => Some(program.ctx.interrupt().map_err(|errno| {
                resource(format!("no descriptor to end the waits of a call by: {errno}"))
            })?),
            None => None,
        };
        let tank = realm.store.fuel();
        let given = fuel.map_or(tank, |fuel| tank.min(fuel as u64));
        let budget = Arc::new(Budget {
            state: Mutex::default(),
            interrupt: realm.store.interrupt_handle(),
            waits,
            fuel: (tank, given),
        });
        if let Some(timeout) = timeout {
            let watchdog = realm
                .watchdog()
                .map_err(|error| resource(format!("no thread to watch the time of a call: {error}")))?;
            let watched: Weak<Budget> = Arc::downgrade(&budget);
            watchdog.watch(Instant::now() + Duration::from_secs_f64(timeout / 1000.0), watched);
        }
        realm.store.set_fuel(given);
        realm.budgets.borrow_mut().push(budget.clone());
        Ok(External::new(budget))
    })
}

/// Ends the call that a budget is for: its signal has fired.
#[napi(catch_unwind)]
pub fn spend_budget(budget: &External<Arc<Budget>>) {
    budget.spend();
}

/// Ends the innermost budget, whose call is over. Tells whether it was spent before that.
#[napi(catch_unwind)]
pub fn end_budget(realm: &External<Rc<Realm>>, budget: &External<Arc<Budget>>) -> napi::Result<bool> {
    run(realm, || {
        let mut budgets = realm.budgets.borrow_mut();
        budgets.retain(|other| !Arc::ptr_eq(other, budget));
        let (tank, given) = budget.fuel;
        let used = given.saturating_sub(realm.store.fuel());
        realm.store.set_fuel(tank - used);
        if !budget.end() {
            return Ok(false);
        }
        realm.store.clear_interrupt()?;
        if let Some(waits) = &budget.waits {
            waits.clear();
        }
        drop(budgets);
        // This comes last: a budget that is spent in the meantime has interrupted after we cleared.
        realm.stop_for_spent_budgets();
        Ok(true)
    })
}

/// Brings an instance back to what it was when it was made. False while wasm runs.
#[napi(catch_unwind)]
pub fn reset_instance(
    realm: &External<Rc<Realm>>,
    instance: &External<engine::Instance>,
) -> napi::Result<bool> {
    run(realm, || {
        if realm.store.is_running() {
            return Ok(false);
        }
        let reset = instance.reset(&realm.store);
        super::buffers::detach_outgrown(realm);
        reset?;
        Ok(true)
    })
}

/// Keeps what an instance is now, to be brought back by [`reset_instance`].
#[napi(catch_unwind)]
pub fn keep_instance(realm: &External<Rc<Realm>>, instance: &External<engine::Instance>) -> napi::Result<()> {
    run(realm, || Ok(instance.keep_state(&realm.store)?))
}
