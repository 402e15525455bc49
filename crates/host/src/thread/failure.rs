//! Why a guest did not finish.

use crate::HostExit;
use engine::{Error, InstantiateError, OverLimit, Trap, TrapCode};
use wasi::OutputLimit;

/// Why a guest did not finish: [`Error`], as far as it can cross threads.
#[derive(Debug)]
pub enum GuestFailure {
    Exit(u32),
    Trap(Trap),
    /// An import failed. The code that answered this frame knows the error.
    Thrown(u32),
    Link(String),
    Limit(OverLimit),
    Output(OutputLimit),
    /// The machine does not have what was asked for.
    OutOfMemory(String),
    /// A wasm exception that nothing caught.
    Exception,
    /// The guest's time is over.
    Expired,
    Internal(String),
}

/// The payload of [`Error::Host`] when an import failed.
pub(super) struct Thrown(pub(super) u32);

impl GuestFailure {
    /// Whether it only says that the guest was stopped.
    pub(super) fn is_interruption(&self) -> bool {
        matches!(self, GuestFailure::Trap(Trap { code: TrapCode::Interrupted, .. }))
    }
}

impl From<Error> for GuestFailure {
    fn from(error: Error) -> GuestFailure {
        match error {
            Error::Trap(trap) => GuestFailure::Trap(trap),
            Error::Exception(_) => GuestFailure::Exception,
            Error::Limit(over) => GuestFailure::Limit(over),
            Error::OutOfMemory(message) => GuestFailure::OutOfMemory(message),
            Error::Closed => GuestFailure::Internal("the instance is closed".into()),
            Error::Internal(message) => GuestFailure::Internal(message),
            Error::Host(payload) => {
                if let Some(Thrown(frame)) = payload.downcast_ref() {
                    GuestFailure::Thrown(*frame)
                } else if let Some(HostExit(code)) = payload.downcast_ref() {
                    GuestFailure::Exit(*code)
                } else if let Some(over) = payload.downcast_ref() {
                    GuestFailure::Output(*over)
                } else {
                    GuestFailure::Internal("a host function failed with an unknown value".into())
                }
            }
        }
    }
}

impl From<TrapCode> for GuestFailure {
    fn from(code: TrapCode) -> GuestFailure {
        GuestFailure::Trap(Trap { code, backtrace: Vec::new() })
    }
}

impl From<InstantiateError> for GuestFailure {
    fn from(error: InstantiateError) -> GuestFailure {
        match error {
            InstantiateError::Link(error) => GuestFailure::Link(error.to_string()),
            InstantiateError::Error(error) => error.into(),
        }
    }
}

/// The guest was told to stop.
pub(super) struct Stopped;

impl From<Stopped> for GuestFailure {
    fn from(_: Stopped) -> GuestFailure {
        TrapCode::Interrupted.into()
    }
}
