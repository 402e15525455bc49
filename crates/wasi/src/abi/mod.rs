//! WASI as guests import it: numbers and records in guest memory.
//!
//! Thin faces over the core beside this directory, which speaks in structs and knows no number, no
//! address and no layout: a function decodes, looks up, checks, calls and encodes. Another face, with
//! resources instead of numbers, would stand beside these. Invariants: result pointers are checked
//! before anything has an effect, so a call that returns `EFAULT` did nothing (a listing or a vectored
//! read may have filled buffers that were given); descriptors are cloned out of the table, so that a
//! call which waits holds nothing.

mod encoded;
pub mod ext;
pub mod functions;
pub mod p0;
pub mod p1;
pub mod params;
mod records;
mod trace;
