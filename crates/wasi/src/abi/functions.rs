//! Every function a guest can import, as data: what binds, reports, traces or tests them is generated
//! from here and repeats no signature.
//!
//! Invariant: [`call`] is the one way to a function by number, and does nothing that the context's
//! policy does not grant.

use guest_memory::GuestMemory;

use crate::abi::params::Kind;
use crate::abi::{ext, p0, p1, trace};
use crate::ctx::WasiCtx;
use crate::errno::{Errno, Error};
use crate::names;
use crate::policy::Grant;

pub use crate::names::find;

/// One parameter: a wasm `i32`, or an `i64` if it is wide.
pub struct Param {
    pub name: &'static str,
    pub kind: Kind,
    pub wide: bool,
}

pub(super) type Body = fn(&WasiCtx, &GuestMemory<'_>, &[u64]) -> Result<(), Error>;

pub struct Function {
    pub module: &'static str,
    pub name: &'static str,
    pub params: &'static [Param],
    pub(super) body: Body,
}

impl Function {
    /// All return an errno but this one, which does not return.
    pub fn returns(&self) -> bool {
        self.name != "proc_exit"
    }
}

/// The functions of a module, from a table of `names.rs`: each takes the wasm integers of its
/// signature, has them decoded by their types, and calls the body of its name in `$bodies`.
macro_rules! face {
    ($module:expr, $bodies:ident; $($name:ident($($arg:ident: $ty:ty),*);)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "`, by the integers of its signature.")]
            #[inline]
            pub fn $name(
                ctx: &WasiCtx,
                mem: &GuestMemory<'_>,
                $($arg: <$ty as WasmParam>::Wasm),*
            ) -> Result<(), Error> {
                $bodies::$name(ctx, mem, $(<$ty as WasmParam>::from_wasm($arg)),*)
            }
        )*

        /// In the order of the table.
        pub(super) static FUNCTIONS: &[Function] = &[$(Function {
            module: $module,
            name: stringify!($name),
            params: &[$(Param {
                name: stringify!($arg),
                kind: <$ty as WasmParam>::KIND,
                wide: size_of::<<$ty as WasmParam>::Wasm>() == 8,
            }),*],
            body: |ctx, mem, args| {
                #[allow(unused_mut, unused_variables)] // some have no arguments
                let mut args = args.iter().copied();
                $(let $arg = args.next().unwrap_or(0) as <$ty as WasmParam>::Wasm;)*
                $name(ctx, mem, $($arg),*)
            },
        },)*];
    };
}
pub(super) use face;

/// All functions; their place is their number, as in [`names`].
pub fn all() -> impl Iterator<Item = &'static Function> {
    p1::FUNCTIONS.iter().chain(p0::FUNCTIONS).chain(ext::FUNCTIONS)
}

pub fn get(number: usize) -> Option<&'static Function> {
    all().nth(number)
}

/// The number of a module's first function; the others follow it in the order
/// of the table they are generated from.
pub fn first_of(module: &str) -> usize {
    names::all().take_while(|function| function.module != module).count()
}

/// Calls the function with this number: `args` in order, as far as the
/// context grants it, and traced if that is on.
pub fn call(ctx: &WasiCtx, number: usize, mem: &GuestMemory<'_>, args: &[u64]) -> Result<(), Error> {
    let function = get(number).ok_or(Errno::Nosys)?;
    let body = || match ctx.grant(number) {
        Grant::Granted => (function.body)(ctx, mem, args),
        Grant::Refused => Err(Errno::Notcapable.into()),
        Grant::Stub(errno) => Err(errno.into()),
    };
    let counted = || match &ctx.metrics {
        None => body(),
        Some(metrics) => metrics.counted(number, body),
    };
    match &ctx.trace {
        None => counted(),
        Some(trace) => {
            trace.wait_for_room(&ctx.waiter)?;
            trace::traced(&trace.sink, function, mem, args, counted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places() {
        assert_eq!(all().count(), names::all().count());
        for (number, (function, name)) in all().zip(names::all()).enumerate() {
            assert_eq!((function.module, function.name), (name.module, name.name));
            let found = get(number).map(|found| (found.module, found.name));
            assert_eq!(found, Some((function.module, function.name)));
            assert_eq!(find(function.module, function.name), Some(number));
        }
        assert!(get(all().count()).is_none());
        assert_eq!(find(p1::MODULE, "fd_raed"), None);
    }
}
