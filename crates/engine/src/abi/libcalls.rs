//! The runtime functions that compiled code calls: their names, order and signatures.
//!
//! The compiler makes a trampoline for each. The runtime (`runtime/vm/libcalls.rs`) fills the table at
//! `VMHeader::libcalls` in this order. Every libcall takes the calling instance's `VMContext` first and
//! returns an `i64`. [`TRAPPED`] means that a trap is pending.

use super::offsets::POINTER;

/// A libcall or a host function returns this if a trap or error is pending. No libcall has it as a result.
pub const TRAPPED: i64 = i64::MIN;

/// Calls `$callback!` with every libcall. Parameters are `u32` or `u64`.
macro_rules! for_each_libcall {
    ($callback:ident) => {
        $callback! {
            /// Traps with the given `TrapCode`.
            raise(code: u32);
            memory_grow(memory: u32, delta: u64);
            memory_fill(memory: u32, dst: u64, value: u32, len: u64);
            memory_copy(dst_memory: u32, src_memory: u32, dst: u64, src: u64, len: u64);
            memory_init(memory: u32, data: u32, dst: u64, src: u32, len: u32);
            data_drop(data: u32);
            /// Sleeps while the `size` bytes at `address` equal `expected`: `memory.atomic.wait`.
            memory_wait(memory: u32, size: u32, address: u64, expected: u64, timeout: u64);
            memory_notify(memory: u32, address: u64, count: u32);
            table_grow(table: u32, delta: u64, init: u64);
            table_fill(table: u32, dst: u64, value: u64, len: u64);
            table_copy(dst_table: u32, src_table: u32, dst: u64, src: u64, len: u64);
            table_init(table: u32, elem: u32, dst: u64, src: u32, len: u32);
            elem_drop(elem: u32);
            /// Returns a reference to one of the module's own functions.
            ref_func(function: u32);
            /// Returns 1 if the function of `func_ref` may be called as the module's type `ty`, else 0.
            func_matches(func_ref: u64, ty: u32);
            /// Throws a new exception; `values` is the address of the tag's values.
            throw(tag: u32, values: u64);
            /// Throws an exception again; traps on null.
            throw_ref(exception: u64);
            /// Takes more fuel from the store's source; traps if there is none.
            refuel();
            /// Returns the address of better code for the loop at the offset `at` in the module, or 0. If there is
            /// any, it takes the `count` values of 8 bytes at `frame`. Called by the first tier.
            better_loop(at: u32, frame: u64, count: u32);
        }
    };
}
pub(crate) use for_each_libcall;

macro_rules! define {
    ($($(#[$doc:meta])* $name:ident($($param:ident: $ty:ident),*);)*) => {
        /// A runtime function called by compiled code. The number is its index in the table.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        #[allow(non_camel_case_types, reason = "libcalls keep their function names")]
        pub enum Libcall { $($(#[$doc])* $name,)* }

        impl Libcall {
            pub const ALL: &[Libcall] = &[$(Libcall::$name,)*];

            /// The parameters after the `VMContext`.
            pub fn params(self) -> &'static [cranelift_codegen::ir::Type] {
                #[allow(non_upper_case_globals)]
                mod ty {
                    pub use cranelift_codegen::ir::types::{I32 as u32, I64 as u64};
                }
                match self { $(Libcall::$name => &[$(ty::$ty),*],)* }
            }
        }
    };
}
for_each_libcall!(define);

/// The number of bytes that a bulk operation moves between checks for an interruption.
pub const STRIDE: usize = 1 << 20;

/// Functions that only move bytes of memories: their addresses, and the bytes in between, were checked. They follow the
/// libcalls in the table, take what `memmove` and `memset` take, and return nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Leaf {
    Copy,
    Fill,
}

impl Leaf {
    pub const COUNT: usize = 2;

    /// The offset in the table.
    pub fn offset(self) -> i32 {
        ((Libcall::ALL.len() as u32 + self as u32) * POINTER) as i32
    }
}
