//! Allocations whose size a guest chooses: they fail with `ENOMEM`.
//!
//! Invariant: what is made here takes as many elements as were asked for without another allocation.
//! The caller checks that the number is within a limit.

use crate::errno::Errno;

/// An empty vector with room for so many.
pub fn vec_for<T>(count: usize) -> Result<Vec<T>, Errno> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(count).map_err(|_| Errno::Nomem)?;
    Ok(vec)
}

pub fn bytes_of(bytes: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut vec = vec_for(bytes.len())?;
    vec.extend_from_slice(bytes);
    Ok(vec)
}

pub fn text_of(text: &str) -> Result<Box<str>, Errno> {
    let mut string = String::new();
    string.try_reserve_exact(text.len()).map_err(|_| Errno::Nomem)?;
    string.push_str(text);
    Ok(string.into_boxed_str())
}
