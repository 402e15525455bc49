//! References to less than all functions or all values, by letters, behind `lib/typed.js`.
//!
//! For `src/node`. A signature in JavaScript is a string with a letter for each value; these types have
//! letters among the characters for private use. Invariant: a letter stands for one type as long as
//! anything has that type; when the type is gone the letter is free for another one, of which `null`
//! is a value or not as before, so what the face remembers of letters stays true.

use super::failure::run;
use super::realm::Realm;
use engine::{HeapType, RefType, SharedFuncType, TypeId, Val, ValType};
use napi::bindgen_prelude::External;
use napi_derive::napi;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

const FIRST: u32 = 0xe000;
const LAST: u32 = 0xf8ff;

/// Those that name no type of a module. Each has a letter of its own.
const ABSTRACT: [RefType; 6] = {
    const fn of(nullable: bool, heap: HeapType) -> RefType {
        RefType { nullable, heap }
    }
    [
        of(false, HeapType::Func),
        of(false, HeapType::NoFunc),
        of(true, HeapType::NoFunc),
        of(false, HeapType::Extern),
        of(false, HeapType::NoExtern),
        of(true, HeapType::NoExtern),
    ]
};

/// The first letter for a type of functions that a module made: even places are not null.
const CONCRETE: u32 = FIRST + 16;
/// Of either kind.
const PLACES: u32 = (LAST + 1 - CONCRETE) / 2;

/// The types of functions that have letters.
#[derive(Default)]
struct Letters {
    /// By `nullable`.
    kinds: [Kind; 2],
}

#[derive(Default)]
struct Kind {
    types: Vec<TypeId>,
    places: HashMap<TypeId, u32>,
    free: Vec<u32>,
    /// How often there was none since one was free: not each time is it worth a look at all of them.
    refused: u32,
}

impl Kind {
    fn place(&mut self, ty: TypeId) -> Option<u32> {
        if let Some(place) = self.places.get(&ty) {
            return Some(*place);
        }
        if self.free.is_empty() && self.types.len() as u32 == PLACES {
            self.refused = self.refused.wrapping_add(1);
            if self.refused % 256 == 1 {
                self.sweep();
            }
        }
        if let Some(place) = self.free.pop() {
            self.refused = 0;
            self.types[place as usize] = ty;
            self.places.insert(ty, place);
            return Some(place);
        }
        let place = self.types.len() as u32;
        if place == PLACES {
            return None;
        }
        self.types.push(ty);
        self.places.insert(ty, place);
        Some(place)
    }

    /// Finds the letters whose types nothing has any more. The identity of a type is never used again.
    fn sweep(&mut self) {
        let free = &mut self.free;
        self.places.retain(|ty, place| {
            let alive = SharedFuncType::from_id(*ty).is_some();
            if !alive {
                free.push(*place);
            }
            alive
        });
    }
}

static LETTERS: LazyLock<Mutex<Letters>> = LazyLock::new(Mutex::default);

fn letters() -> MutexGuard<'static, Letters> {
    LETTERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The letter of a reference type; none while thousands of others are in use.
pub fn typed_letter(ty: RefType) -> Option<char> {
    let letter = match ty.heap {
        HeapType::Concrete(id) => {
            let place = letters().kinds[usize::from(ty.nullable)].place(id)?;
            CONCRETE + 2 * place + u32::from(ty.nullable)
        }
        _ => FIRST + ABSTRACT.iter().position(|other| *other == ty)? as u32,
    };
    char::from_u32(letter)
}

/// The type behind a letter that [`typed_letter`] gave.
pub fn typed_reference(letter: char) -> Option<RefType> {
    let number = u32::from(letter);
    match number.checked_sub(CONCRETE) {
        None => ABSTRACT.get(number.checked_sub(FIRST)? as usize).copied(),
        Some(_) if number > LAST => None,
        Some(place) => {
            let nullable = place % 2 == 1;
            let letters = letters();
            let id = letters.kinds[usize::from(nullable)].types.get(place as usize / 2)?;
            Some(RefType { nullable, heap: HeapType::Concrete(*id) })
        }
    }
}

/// What `lib/typed.js` must know of a type: `r` for functions or `e`, `?` if it may be null, and `0`
/// if it cannot be anything else.
#[napi(catch_unwind)]
pub fn reference_type(letter: String) -> String {
    let Some(ty) = letter.chars().next().and_then(typed_reference) else { return String::new() };
    let kind = if ty.is_func() { "r" } else { "e" };
    let empty = matches!(ty.heap, HeapType::NoFunc | HeapType::NoExtern);
    format!("{kind}{}{}", if ty.nullable { "?" } else { "" }, if empty { "0" } else { "" })
}

/// Whether the function at an address may stand where the type is asked for.
#[napi(catch_unwind)]
pub fn reference_fits(realm: &External<Rc<Realm>>, letter: String, address: f64) -> napi::Result<bool> {
    run(realm, || {
        // SAFETY: the face has the function's wrapper at hand.
        let func = unsafe { realm.func(address) }?;
        let ty = letter.chars().next().and_then(typed_reference);
        Ok(ty.is_some_and(|ty| Val::Func(Some(func)).is_a(ValType::Ref(ty))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::FuncType;

    /// A type that no other test has.
    fn ty(number: u32) -> SharedFuncType {
        let bits = (0..32).map(|bit| if number >> bit & 1 == 1 { ValType::I64 } else { ValType::I32 });
        SharedFuncType::new(FuncType::new(bits.collect::<Vec<_>>(), [ValType::F64; 3]))
    }

    #[test]
    fn letters_of_types_that_are_gone_serve_others() {
        let of = |ty: &SharedFuncType, nullable| RefType { nullable, heap: HeapType::Concrete(ty.id()) };
        let kept = ty(0);
        let first = typed_letter(of(&kept, true)).expect("there are letters");
        for round in 0..4 {
            let types: Vec<_> = (1..=3000).map(|number| ty(round * 3000 + number)).collect();
            for ty in &types {
                for nullable in [false, true] {
                    let letter = typed_letter(of(ty, nullable)).expect("others are free again");
                    assert_eq!(typed_reference(letter), Some(of(ty, nullable)));
                }
            }
        }
        assert_eq!(typed_letter(of(&kept, true)), Some(first));
        assert_eq!(typed_reference(first), Some(of(&kept, true)));
    }

    #[test]
    fn each_type_that_names_no_other_has_a_letter() {
        for ty in ABSTRACT {
            assert_eq!(typed_letter(ty).and_then(typed_reference), Some(ty));
        }
    }
}
