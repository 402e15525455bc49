//! Handles of the host.

use std::fs::File;
use std::io;
use std::os::windows::io::AsHandle;

pub use std::os::windows::io::{BorrowedHandle, OwnedHandle};

use crate::errno::Errno;

#[inline]
pub fn borrow(file: &File) -> BorrowedHandle<'_> {
    file.as_handle()
}

pub fn borrow_handle(handle: &OwnedHandle) -> BorrowedHandle<'_> {
    handle.as_handle()
}

/// Standard input, output or error of this process, as a handle of our own.
pub fn inherit_stdio(number: u32) -> Result<OwnedHandle, Errno> {
    let cloned = match number {
        0 => io::stdin().as_handle().try_clone_to_owned(),
        1 => io::stdout().as_handle().try_clone_to_owned(),
        2 => io::stderr().as_handle().try_clone_to_owned(),
        _ => return Err(Errno::Badf),
    };
    Ok(cloned?)
}
