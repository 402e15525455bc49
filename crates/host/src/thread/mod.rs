//! A guest on a thread of its own.
//!
//! Knows no Node; the addon uses it. Whoever starts a guest keeps a [`GuestThread`], by which any thread
//! asks for calls, answers imports and stops the guest. The [`Sink`] is told what happens, on the guest's
//! thread. Invariants: only the guest's thread touches its store, instance and memories, except for the
//! bytes of memories while the guest is *idle*: it waits for a call, or for the answer to an import.
//! Whatever ends the thread, the sink is told so last, when nothing of the guest is left.

mod failure;
mod guest;
mod handle;
mod memory;
mod shared;
mod values;

use engine::{Limits, Module, NativeFunc};
use std::sync::Arc;
use wasi::WasiCtx;

pub use failure::GuestFailure;
pub use handle::GuestThread;
pub use memory::MemoryError;
pub use values::{Value, Values};

/// What a guest thread is to do.
pub struct Plan {
    pub module: Module,
    /// In the module's order.
    pub imports: Vec<Import>,
    /// Closed when the guest has ended.
    pub ctx: Option<Arc<WasiCtx>>,
    pub limits: Limits,
    /// Operators that the guest may pass, where its module counts them.
    pub fuel: u64,
    /// The place among the exports of a function to call before the guest is ready.
    pub initialize: Option<usize>,
    /// The place among the exports of the function to call, after which the thread ends. Without
    /// one it stays for [`GuestThread::call`].
    pub command: Option<usize>,
}

/// An import that can come from another thread.
pub enum Import {
    Native(NativeFunc),
    /// A function of the other side: the sink is told, and the guest waits for
    /// [`GuestThread::reply`].
    Remote,
    /// An immutable global.
    Value(Value),
}

/// What happens at the guest.
pub enum Event {
    /// It is instantiated and waits for calls.
    Ready,
    /// It called the import at this place among the module's, with these arguments, and waits for
    /// the reply to this *frame*.
    Import { frame: u32, index: usize, values: Values },
    /// The call or reset with this number is over.
    Returned { call: u32, result: Result<Values, GuestFailure> },
    /// The indices of the host values that the guest may hold, its frames too, or that are on their way to
    /// it. All others that it was given before [`GuestThread::sweep`] are free.
    References(Vec<u32>),
    /// The thread is about to end. Nothing follows.
    Ended(Result<(), GuestFailure>),
}

/// Is told of events on the guest's thread, and must not block it for long.
pub type Sink = Arc<dyn Fn(Event) + Send + Sync>;

/// A call that is asked for.
pub struct Call {
    pub number: u32,
    /// The function's place among the module's exports.
    pub export: usize,
    pub values: Values,
    /// Operators that this call may pass of what the guest has left.
    pub fuel: Option<u64>,
    /// Operators that the guest has from now on, before the call.
    pub refuel: Option<u64>,
}

/// An answer to an import: its results, or that it failed.
pub type Reply = Result<Values, ()>;
