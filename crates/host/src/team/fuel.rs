//! The fuel of a guest with several threads.
//!
//! Used by `team` and `thread`. Invariant: what the threads have together and what is in the tank never grows by
//! itself, so all of them together execute no more operators than the guest was given.

use engine::Store;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Fuel that any thread of a guest may take.
pub struct Tank(AtomicU64);

/// The most that a thread takes at a time, and the least: seldom enough to cost nothing.
const MOST: u64 = 1 << 20;
const LEAST: u64 = 1 << 10;

/// What part of the fuel a thread takes, so that others find some.
const PART: u64 = 64;

impl Tank {
    pub fn new(fuel: u64) -> Tank {
        Tank(AtomicU64::new(fuel))
    }

    pub fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, fuel: u64) {
        self.0.store(fuel, Ordering::Relaxed);
    }

    /// Takes at most so much.
    pub fn take(&self, most: u64) -> u64 {
        let taken =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left - most.min(left)));
        taken.map_or(0, |left| most.min(left))
    }

    /// Takes what a thread needs for a while; 0 if nothing is left.
    pub fn take_some(&self) -> u64 {
        self.take((self.left() / PART).clamp(LEAST, MOST))
    }

    pub fn give(&self, fuel: u64) {
        let _ =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_add(fuel)));
    }
}

/// The fuel of one thread, out of the tank that it shares with others if there is one.
pub struct Fuel {
    tank: Option<Arc<Tank>>,
    /// Whether the running call may not take any from the tank.
    capped: Rc<Cell<bool>>,
}

impl Fuel {
    /// For the thread of this store, which takes from the tank when it needs some.
    pub fn new(tank: Option<Arc<Tank>>, store: &Store) -> Fuel {
        let capped = Rc::<Cell<bool>>::default();
        if let Some(tank) = &tank {
            let (tank, capped) = (tank.clone(), capped.clone());
            store.set_fuel_source(move || if capped.get() { 0 } else { tank.take_some() });
        }
        Fuel { tank, capped }
    }

    /// What other threads may still take.
    pub fn shared(&self) -> u64 {
        self.tank.as_ref().map_or(0, |tank| tank.left())
    }

    /// Makes a call that may use so much, after all have so much if `refuel` says so.
    pub fn lend<T>(
        &self,
        store: &Store,
        fuel: Option<u64>,
        refuel: Option<u64>,
        call: impl FnOnce() -> T,
    ) -> T {
        let Some(tank) = &self.tank else {
            if let Some(fuel) = refuel {
                store.set_fuel(fuel);
            }
            let all = store.fuel();
            let given = fuel.map_or(all, |fuel| fuel.min(all));
            store.set_fuel(given);
            let result = call();
            store.set_fuel(all - given.saturating_sub(store.fuel()));
            return result;
        };
        // What the store still has belongs to the tank.
        match refuel {
            Some(fuel) => tank.set(fuel),
            None => tank.give(store.fuel()),
        }
        store.set_fuel(fuel.map_or(0, |fuel| tank.take(fuel)));
        let outer = self.capped.replace(fuel.is_some());
        let result = call();
        self.capped.set(outer);
        result
    }
}
