//! Every function a guest can import, as data: what binds, reports, traces or
//! tests them is generated from here and repeats no signature.
//!
//! Used by `host.rs`, `policy.rs` and `trace.rs`. Invariant: a function's
//! number is its place in [`all`] and never changes while a process runs;
//! [`call`] is the one way to a function by number, and does nothing that the
//! context's policy does not grant.

#![forbid(unsafe_code)]

use super::{ext, p0, p1, trace};
use crate::ctx::WasiCtx;
use crate::errno::{Errno, Error};
use crate::policy::Grant;
use guest_memory::GuestMemory;

/// One parameter: a wasm `i32`, or an `i64` if it is wide.
pub struct Param {
    pub name: &'static str,
    pub wide: bool,
}

type Body = fn(&WasiCtx, &GuestMemory<'_>, &[u64]) -> Result<(), Error>;

pub struct Function {
    pub module: &'static str,
    pub name: &'static str,
    pub params: &'static [Param],
    body: Body,
}

impl Function {
    /// All return an errno but this one, which does not return.
    pub fn returns(&self) -> bool {
        self.name != "proc_exit"
    }
}

macro_rules! rows {
    ($table:ident $module:ident; $($name:ident($($arg:ident: $ty:ident),*);)*) => {
        static $table: &[Function] = &[$(Function {
            module: $module::MODULE,
            name: stringify!($name),
            params: &[$(Param { name: stringify!($arg), wide: size_of::<$ty>() == 8 }),*],
            body: |ctx, mem, args| {
                #[allow(unused_mut, unused_variables)] // some have no arguments
                let mut args = args.iter().copied();
                $(let $arg = args.next().unwrap_or(0) as $ty;)*
                $module::$name(ctx, mem, $($arg),*)
            },
        },)*];
    };
}

macro_rules! p1_rows {
    ($($rows:tt)*) => { rows! { P1 p1; $($rows)* } };
}

macro_rules! p0_rows {
    ($($rows:tt)*) => { rows! { P0 p0; $($rows)* } };
}

macro_rules! ext_rows {
    ($($rows:tt)*) => { rows! { EXT ext; $($rows)* } };
}

crate::for_each_p1_function!(p1_rows);
crate::for_each_p1_function!(p0_rows);
crate::for_each_ext_function!(ext_rows);

pub fn all() -> impl Iterator<Item = &'static Function> {
    P1.iter().chain(P0).chain(EXT)
}

pub fn get(number: usize) -> Option<&'static Function> {
    all().nth(number)
}

/// The number of a module's first function; the others follow it in the order
/// of the table they are generated from.
pub fn first_of(module: &str) -> usize {
    all().take_while(|function| function.module != module).count()
}

/// The number of a function.
pub fn find(module: &str, name: &str) -> Option<usize> {
    all().position(|function| function.module == module && function.name == name)
}

/// Calls the function with this number: `args` in order, as far as the
/// context grants it, and traced if that is on.
pub fn call(ctx: &WasiCtx, number: usize, mem: &GuestMemory<'_>, args: &[u64]) -> Result<(), Error> {
    let function = get(number).ok_or(Errno::Nosys)?;
    let body = || match ctx.policy.grant(number) {
        Grant::Granted => (function.body)(ctx, mem, args),
        Grant::Refused => Err(Errno::Notcapable.into()),
        Grant::Stub(errno) => Err(errno.into()),
    };
    match &ctx.trace {
        None => body(),
        Some(trace) => {
            trace.wait_for_room(&ctx.waiter)?;
            trace::traced(&trace.sink, function, mem, args, body)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places() {
        for (number, function) in all().enumerate() {
            let found = get(number).map(|found| (found.module, found.name));
            assert_eq!(found, Some((function.module, function.name)));
            assert_eq!(find(function.module, function.name), Some(number));
        }
        assert!(get(all().count()).is_none());
        assert_eq!(find(p1::MODULE, "fd_raed"), None);
    }
}
