//! Calls that wait although what they are for seemed ready: none. Streams have calls that do not.

use crate::errno::Errno;

/// The calls of one context that are under way, as far as they have to be noted.
#[derive(Default)]
pub struct Calls {}

pub struct InCall;

impl Calls {
    pub const MAY_WAIT: bool = false;

    pub fn enter(&self) -> Result<InCall, Errno> {
        Ok(InCall)
    }

    pub fn cancel(&self) {}
}
