//! A guest on its own thread.
//!
//! Knows no Node. Used by the addon. The code that starts a guest keeps a [`GuestThread`]. Through it, any
//! thread requests calls, answers imports and stops the guest. The [`Sink`] receives events on the guest's
//! thread. Invariants: only the guest's thread touches its store, instance and memories, except for the
//! bytes of memories while the guest is *idle*: it waits for a call, or for the answer to an import. Shared
//! memories are always open to others. The threads that the guest starts itself are a
//! [`Team`](crate::team::Team), which ends with the guest.
//! However the thread ends, the sink's last event reports it, when nothing of the guest is left.

mod asking;
mod crew;
mod failure;
mod guest;
mod handle;
mod memory;
mod shared;
mod team;
mod values;

use crate::metrics::Metrics;
use engine::{Limits, Module, NativeFunc};
use std::path::PathBuf;
use std::sync::Arc;
use wasi::WasiCtx;

pub use crew::Crew;
pub use failure::GuestFailure;
pub use handle::GuestThread;
pub(crate) use handle::{GUEST_STACK, HOST_STACK};
pub use memory::MemoryError;
pub use values::{Value, Values};

/// What a guest thread must run.
pub struct Plan {
    pub module: Module,
    /// In the module's order.
    pub imports: Vec<Import>,
    /// How many threads the guest may have at a time that it started itself.
    pub threads: usize,
    /// Closed when the guest has ended.
    pub ctx: Option<Arc<WasiCtx>>,
    /// Where what it takes is counted.
    pub metrics: Option<Arc<Metrics>>,
    /// The file that gets a core dump if the guest's first thread traps.
    pub coredump: Option<PathBuf>,
    pub limits: Limits,
    /// The operators that the guest may execute, if its module counts them.
    pub fuel: u64,
    /// The position among the exports of a function to call before the guest is ready.
    pub initialize: Option<usize>,
    /// The position among the exports of the function to call. The thread ends after it. Without one,
    /// the thread stays for [`GuestThread::call`].
    pub command: Option<usize>,
}

/// An import that can come from another thread.
pub enum Import {
    Native(NativeFunc),
    /// A function of the other side: the sink receives the call, and the guest waits for
    /// [`GuestThread::reply`].
    Remote,
    /// An immutable global.
    Value(Value),
    /// A shared memory of the type that the module asks for, for all threads of the guest.
    SharedMemory,
    /// `wasi.thread-spawn`.
    ThreadSpawn,
}

/// An event of the guest.
pub enum Event {
    /// The guest is instantiated and waits for calls.
    Ready,
    /// The guest called the import at this position among the module's, with these arguments, and waits
    /// for the reply to this *frame*.
    Import { frame: u32, index: usize, values: Values },
    /// The call or reset with this number is over.
    Returned { call: u32, result: Result<Values, GuestFailure> },
    /// The indices of the host values that the guest, including its frames, may hold, or that are on their
    /// way to it. All others that it was given before [`GuestThread::sweep`] are free. None if that cannot be told,
    /// because threads of the guest's are at work.
    References(Option<Vec<u32>>),
    /// The thread is about to end. Nothing follows.
    Ended(Result<(), GuestFailure>),
}

/// Receives events on the guest's thread. Must not block it for long.
pub type Sink = Arc<dyn Fn(Event) + Send + Sync>;

/// A requested call.
pub struct Call {
    pub number: u32,
    /// The function's position among the module's exports.
    pub export: usize,
    pub values: Values,
    /// The operators that this call may execute, out of what the guest has left.
    pub fuel: Option<u64>,
    /// The operators that the guest has from now on, set before the call.
    pub refuel: Option<u64>,
}

/// The answer to an import: its results, or that it failed.
pub type Reply = Result<Values, ()>;
