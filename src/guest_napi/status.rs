//! The statuses of Node-API, and their texts.
//!
//! For this room. A status of the host goes to the guest as it is. Invariant: [`Status::LEAVE`] never reaches
//! a guest. It says that the call does not come back, because an error is pending in the store.

use guest_memory::Error;
use napi::sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub i32);

/// What the body of a function returns.
pub type Done = Result<(), Status>;

impl Status {
    pub const INVALID_ARG: Status = Status(1);
    pub const GENERIC_FAILURE: Status = Status(9);
    pub const PENDING_EXCEPTION: Status = Status(10);
    pub const HANDLE_SCOPE_MISMATCH: Status = Status(13);
    pub const NO_EXTERNAL_BUFFERS: Status = Status(22);
    /// The call does not return: see [`super::call::Call::leave`].
    pub const LEAVE: Status = Status(-1);
}

/// `Err` with the status unless it is `napi_ok`.
#[inline(always)]
pub fn check(status: sys::napi_status) -> Done {
    if status == sys::Status::napi_ok { Ok(()) } else { Err(Status(status)) }
}

/// Memory that a guest names and does not have is a wrong argument.
impl From<Error> for Status {
    fn from(error: Error) -> Status {
        match error {
            Error::OutOfBounds => Status::INVALID_ARG,
            Error::TooLong | Error::OutOfMemory => Status::GENERIC_FAILURE,
        }
    }
}

/// The texts of `napi_get_last_error_info`, by status. `napi_ok` has none.
pub const MESSAGES: [&str; 24] = [
    "",
    "Invalid argument",
    "An object was expected",
    "A string was expected",
    "A string or symbol was expected",
    "A function was expected",
    "A number was expected",
    "A boolean was expected",
    "An array was expected",
    "Unknown failure",
    "An exception is pending",
    "The async work item was cancelled",
    "napi_escape_handle already called on scope",
    "Invalid handle scope usage",
    "Invalid callback scope usage",
    "Thread-safe function queue is full",
    "Thread-safe function handle is closing",
    "A bigint was expected",
    "A date was expected",
    "An arraybuffer was expected",
    "A detachable arraybuffer was expected",
    "Main thread would deadlock",
    "External buffers are not allowed",
    "Cannot run JavaScript",
];
