//! Handles of the host.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::errno::Errno;

pub type BorrowedHandle<'a> = BorrowedFd<'a>;
pub type OwnedHandle = OwnedFd;

#[inline]
pub fn borrow(file: &File) -> BorrowedHandle<'_> {
    file.as_fd()
}

pub fn borrow_handle(handle: &OwnedHandle) -> BorrowedHandle<'_> {
    handle.as_fd()
}

/// Standard input, output or error of this process, as a handle of our own.
pub fn inherit_stdio(number: u32) -> Result<OwnedFd, Errno> {
    let cloned = match number {
        0 => io::stdin().as_fd().try_clone_to_owned(),
        1 => io::stdout().as_fd().try_clone_to_owned(),
        2 => io::stderr().as_fd().try_clone_to_owned(),
        _ => return Err(Errno::Badf),
    };
    Ok(cloned?)
}
