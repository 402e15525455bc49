//! The constants that Rust and JavaScript share. This side defines them, and hands them to the face as
//! plain data when a realm opens.
//!
//! For this room. Invariant: what crosses as a bare number or letter is listed here, so that the face
//! takes it by its name and has no table of its own.

use super::shared::{Answer, Request};
use super::threads::{EventKind, OfThreads};
use super::types::NAMED;
use engine::ExternRef;
use napi::bindgen_prelude::{Env, Object};

/// Makes an enum whose variants JavaScript knows by name or by number.
macro_rules! named {
    ($(#[$meta:meta])* $vis:vis enum $enum:ident {
        $($(#[$doc:meta])* $variant:ident = $name:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        $vis enum $enum {
            $($(#[$doc])* $variant,)*
        }

        impl $enum {
            /// The variants and their names, in the order of their numbers.
            pub const ALL: &[(&str, $enum)] = &[$(($name, $enum::$variant)),*];
        }
    };
}

pub(super) use named;

/// `{types: [[name, letter], ...], externref: word - number, events: [...], requests: [...], answers: [...],
/// ofThreads: [...]}`.
pub fn constants(env: &Env) -> napi::Result<Object<'_>> {
    let mut constants = Object::new(env)?;
    let types: Vec<_> =
        NAMED.iter().map(|(name, letter, _)| vec![name.to_string(), letter.to_string()]).collect();
    constants.set("types", types)?;
    constants.set("externref", ExternRef::BASE)?;
    constants.set("events", names(EventKind::ALL))?;
    constants.set("requests", names(Request::ALL))?;
    constants.set("answers", names(Answer::ALL))?;
    constants.set("ofThreads", names(OfThreads::ALL))?;
    Ok(constants)
}

fn names<T>(all: &[(&'static str, T)]) -> Vec<&'static str> {
    all.iter().map(|(name, _)| *name).collect()
}
