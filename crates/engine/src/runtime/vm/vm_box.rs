//! A box for objects that compiled code, or another object of the runtime, has a pointer to.
//!
//! Used in `runtime/`. Invariant: from creation to drop there are only shared references and raw pointers
//! to the object, never a `&mut`. Everything that changes is in cells. So several users may read and write
//! it at the same time, for example a libcall and the collection that it starts, and pointers stay valid
//! when the owner is moved. (Moving a `Box` asserts that nobody else has a pointer.)

use std::ops::Deref;
use std::ptr::NonNull;

pub struct VmBox<T: ?Sized>(NonNull<T>);

impl<T> VmBox<T> {
    pub fn new(value: T) -> VmBox<T> {
        Box::new(value).into()
    }
}

impl<T: ?Sized> VmBox<T> {
    /// Valid as long as the box lives, even if the box is moved.
    pub fn as_ptr(&self) -> NonNull<T> {
        self.0
    }
}

impl<T: ?Sized> From<Box<T>> for VmBox<T> {
    fn from(value: Box<T>) -> VmBox<T> {
        VmBox(NonNull::from(Box::leak(value)))
    }
}

impl<T: ?Sized> Deref for VmBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the object is ours until it is dropped, and nobody makes a `&mut` to it.
        unsafe { self.0.as_ref() }
    }
}

impl<T: ?Sized> Drop for VmBox<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer was leaked from a box in `new`. No holder of a pointer uses it any more, which
        // the owner, a group or a store, ensures.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
