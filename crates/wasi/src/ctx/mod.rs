//! One program's view of its host: arguments, environment, descriptors.
//!
//! Made by whoever runs a guest, used by `abi/`. Invariants: a
//! [`WasiCtx`] holds nothing that its builder was not given, so nothing of the
//! process leaks in by default (no environment, no files, no standard
//! streams); it may be used by many threads at once, and none waits while it
//! holds a lock.

mod builder;
mod strings;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use crate::clock::Clock;
use crate::descriptor::{FdTable, KeptTable};
use crate::errno::Errno;
use crate::metrics::CallMetrics;
use crate::policy::{Grant, Policy};
use crate::random::Random;
use crate::trace::Trace;
use crate::wait::{Interrupt, Waiter};

pub use builder::{BuildError, Preopen, Stdio, WasiCtxBuilder, WasiLimits};
pub(crate) use strings::StringTable;

/// The state of one running program, and how its calls wait.
pub struct WasiCtx {
    state: Arc<State>,
    pub(crate) waiter: Arc<Waiter>,
}

impl Deref for WasiCtx {
    type Target = State;

    // Every call of every function goes through it, from another crate.
    #[inline]
    fn deref(&self) -> &State {
        &self.state
    }
}

/// What all calls of a program share, whoever makes them.
pub struct State {
    pub(crate) args: StringTable,
    pub(crate) env: StringTable,
    pub(crate) table: FdTable,
    pub(crate) limits: WasiLimits,
    pub(crate) policy: Policy,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) trace: Option<Trace>,
    pub(crate) metrics: Option<Arc<CallMetrics>>,
    peers: RwLock<BTreeMap<Vec<u8>, Weak<WasiCtx>>>,
    held: AtomicBool,
    /// What was given to `proc_exit` last, or [`NO_EXIT`].
    exit: AtomicU64,
}

/// No exit code, which has 32 bits.
const NO_EXIT: u64 = u64::MAX;

impl WasiCtx {
    pub fn builder() -> WasiCtxBuilder {
        WasiCtxBuilder::new()
    }

    /// This program's functions for another that imports them: what they wait
    /// for ends when the other is interrupted, and not when this one is.
    pub fn called_by(&self, other: &WasiCtx) -> WasiCtx {
        WasiCtx { state: self.state.clone(), waiter: other.waiter.clone() }
    }

    /// This program for others of its threads: what they wait for ends when they are interrupted, and not when
    /// this thread is.
    pub fn for_threads(&self) -> WasiCtx {
        WasiCtx { state: self.state.clone(), waiter: Arc::default() }
    }

    /// Lets this program hand descriptors to `peer`, which it knows by `name`,
    /// if it is granted `fd_give`. Not the other way round, and neither keeps
    /// the other alive.
    pub fn link(&self, name: &str, peer: &Arc<WasiCtx>) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.insert(name.as_bytes().to_vec(), Arc::downgrade(peer));
    }

    pub(crate) fn peer(&self, name: &[u8]) -> Option<Arc<WasiCtx>> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.get(name)?.upgrade()
    }

    /// What becomes of an import of the function with this number.
    pub fn grant(&self, number: usize) -> Grant {
        self.policy.grant(number)
    }

    /// Whether compiled code may call the function with this number straight,
    /// rather than through `functions::call`.
    pub fn is_direct(&self, number: usize) -> bool {
        self.trace.is_none() && self.metrics.is_none() && self.grant(number) == Grant::Granted
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether the program is held: its host has not started it, and whoever binds its functions
    /// refuses to call them. It is not, unless [`hold`](Self::hold) says so.
    #[inline]
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// What the program gave to `proc_exit`, also if its host has not let that end it.
    pub fn exit_code(&self) -> Option<u32> {
        u32::try_from(self.exit.load(Ordering::Relaxed)).ok()
    }

    pub(crate) fn set_exit_code(&self, code: u32) {
        self.exit.store(u64::from(code), Ordering::Relaxed);
    }

    /// Closes all descriptors, at once rather than when the last holder of the
    /// context goes. Calls under way finish with what they have.
    pub fn close(&self) {
        self.table.clear();
    }

    /// Closes all descriptors, also that of the interrupt: for a program that nobody runs any more, though
    /// somebody may hold its context for ever.
    pub fn end(&self) {
        self.close();
        self.waiter.disarm();
    }

    /// The descriptors that are open now, for [`WasiCtx::restore`].
    pub fn kept(&self) -> KeptTable {
        self.table.kept()
    }

    /// Has those descriptors open that were open then, and no others.
    pub fn restore(&self, kept: &KeptTable) {
        self.table.restore(kept);
    }

    /// A handle by which another thread ends whatever this program waits for,
    /// from then on until it is cleared. It takes a host descriptor on first use.
    pub fn interrupt(&self) -> Result<Arc<Interrupt>, Errno> {
        self.waiter.interrupt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<WasiCtx>();
    }
}
