//! Value types as JavaScript has them: by letters.
//!
//! For this room, and through Node-API for the face. A signature in JavaScript is a string with a letter
//! for each value. The types of [`NAMED`] have the letters that stand there. References to less than all
//! functions or all values have letters among the characters for private use, which a realm gives out. Those of
//! types that a module made take two places of a JavaScript string, which is read by characters.
//! Invariant: such a letter stands for one type as long as anything has that type. When the type is gone
//! the letter is free for another one, of which `null` is a value or not as before, so what the face
//! remembers of letters stays true.

use super::failure::run;
use super::realm::Realm;
use engine::{ExternType, FuncType, HeapType, RefType, SharedFuncType, TypeId, Val, ValType};
use napi::bindgen_prelude::External;
use napi_derive::napi;
use std::collections::HashMap;
use std::rc::Rc;

/// The types that have a name in the JavaScript interface, with their letters. The face gets this list
/// when it opens a realm. The letter of `v128` also stands for whatever else JavaScript cannot have.
pub const NAMED: [(&str, char, ValType); 7] = [
    ("i32", 'i', ValType::I32),
    ("i64", 'l', ValType::I64),
    ("f32", 'f', ValType::F32),
    ("f64", 'd', ValType::F64),
    ("v128", EXOTIC, ValType::V128),
    ("funcref", 'r', ValType::FUNCREF),
    ("externref", 'e', ValType::EXTERNREF),
];

/// The letter of what JavaScript cannot have.
pub const EXOTIC: char = 'x';

const FIRST: u32 = 0xe000;

/// The other references that name no type of a module. Each has a letter of its own.
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

/// The first letter for a type of functions that a module made, and the last: even places are not null.
const CONCRETE: u32 = 0xf_0000;
const LAST: u32 = 0x10_fffd;
/// Of either kind.
const PLACES: u32 = (LAST + 1 - CONCRETE) / 2;
/// With fewer letters than this, nobody looks for types that are gone.
const FEW: usize = 1000;

/// The types of functions that have letters in a realm, by `nullable`.
#[derive(Default)]
pub struct Letters([Kind; 2]);

#[derive(Default)]
struct Kind {
    types: Vec<TypeId>,
    places: HashMap<TypeId, u32>,
    free: Vec<u32>,
    /// How many of them were in use when those that are gone were last looked for.
    used: usize,
    /// How often there was no letter since one was free. Looking through all types does not pay each time.
    refused: u32,
}

impl Kind {
    fn place(&mut self, ty: TypeId) -> Option<u32> {
        if let Some(place) = self.places.get(&ty) {
            return Some(*place);
        }
        if self.free.is_empty() {
            if self.types.len() as u32 == PLACES {
                self.refused = self.refused.wrapping_add(1);
                if self.refused % 256 == 1 {
                    self.sweep();
                }
            } else if self.types.len() >= FEW.max(2 * self.used) {
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

    /// Frees the letters whose types nothing has any more. The identity of a type is never used again.
    fn sweep(&mut self) {
        let free = &mut self.free;
        self.places.retain(|ty, place| {
            let alive = SharedFuncType::from_id(*ty).is_some();
            if !alive {
                free.push(*place);
            }
            alive
        });
        self.used = self.places.len();
    }
}

impl Letters {
    /// The letter of a reference type; none while thousands of others are in use.
    fn of(&mut self, ty: RefType) -> Option<char> {
        let letter = match ty.heap {
            HeapType::Concrete(id) => {
                let place = self.0[usize::from(ty.nullable)].place(id)?;
                CONCRETE + 2 * place + u32::from(ty.nullable)
            }
            _ => FIRST + ABSTRACT.iter().position(|other| *other == ty)? as u32,
        };
        char::from_u32(letter)
    }

    /// The type behind a letter that [`Letters::of`] gave.
    fn reference(&self, letter: char) -> Option<RefType> {
        let number = u32::from(letter);
        match number.checked_sub(CONCRETE) {
            None => ABSTRACT.get(number.checked_sub(FIRST)? as usize).copied(),
            Some(_) if number > LAST => None,
            Some(place) => {
                let nullable = place % 2 == 1;
                let id = self.0[usize::from(nullable)].types.get(place as usize / 2)?;
                Some(RefType { nullable, heap: HeapType::Concrete(*id) })
            }
        }
    }
}

impl Realm {
    /// The letter of a value type.
    pub fn letter(&self, ty: ValType) -> char {
        if let Some((_, letter, _)) = NAMED.iter().find(|(.., named)| *named == ty) {
            return *letter;
        }
        match ty {
            ValType::Ref(ty) if !ty.is_exn() => self.letters.borrow_mut().of(ty).unwrap_or(EXOTIC),
            _ => EXOTIC,
        }
    }

    /// The type that a letter stands for.
    pub fn val_type(&self, letter: char) -> ValType {
        match NAMED.iter().find(|(_, named, _)| *named == letter) {
            Some((.., ty)) => *ty,
            None => self.letters.borrow().reference(letter).map_or(ValType::V128, ValType::Ref),
        }
    }

    /// The letters of several types.
    pub fn letters_of(&self, types: &[ValType]) -> String {
        types.iter().map(|ty| self.letter(*ty)).collect()
    }

    /// The type of a function as the face reads it: `params:results`.
    pub fn signature(&self, ty: &FuncType) -> String {
        format!("{}:{}", self.letters_of(&ty.params), self.letters_of(&ty.results))
    }

    /// A type as the face reads it. A function or tag is its signature, a table the letter of its
    /// elements, a global the letter of its content and `m` if it is mutable, a memory `s` if it is shared.
    pub fn type_text(&self, ty: &ExternType) -> String {
        match ty {
            ExternType::Func(ty) | ExternType::Tag(ty) => self.signature(ty.ty()),
            ExternType::Table(ty) => self.letter(ValType::Ref(ty.element)).to_string(),
            ExternType::Memory(ty) => if ty.shared { "s" } else { "" }.to_string(),
            ExternType::Global(ty) => {
                let mutable = if ty.mutable { "m" } else { "" };
                format!("{}{mutable}", self.letter(ty.content))
            }
        }
    }
}

/// What the face must know of a type with a letter for private use: the letter of the references among
/// which it is, `?` if it may be null, and `0` if it cannot be anything else.
#[napi(catch_unwind)]
pub fn reference_type(realm: &External<Rc<Realm>>, letter: String) -> String {
    let ty = letter.chars().next().and_then(|letter| realm.letters.borrow().reference(letter));
    let Some(ty) = ty else { return String::new() };
    let all = if ty.is_func() { ValType::FUNCREF } else { ValType::EXTERNREF };
    let empty = matches!(ty.heap, HeapType::NoFunc | HeapType::NoExtern);
    let mark = |is: bool, mark| if is { mark } else { "" };
    format!("{}{}{}", realm.letter(all), mark(ty.nullable, "?"), mark(empty, "0"))
}

/// Whether the function at an address may stand where the type is asked for.
#[napi(catch_unwind)]
pub fn reference_fits(realm: &External<Rc<Realm>>, letter: String, address: f64) -> napi::Result<bool> {
    run(realm, || {
        // SAFETY: the face has the function's wrapper at hand.
        let func = unsafe { realm.func(address) }?;
        let ty = letter.chars().next().and_then(|letter| realm.letters.borrow().reference(letter));
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
        let mut letters = Letters::default();
        let kept = ty(0);
        let first = letters.of(of(&kept, true)).expect("there are letters");
        for round in 0..4 {
            let types: Vec<_> = (1..=3000).map(|number| ty(round * 3000 + number)).collect();
            for ty in &types {
                for nullable in [false, true] {
                    let letter = letters.of(of(ty, nullable)).expect("others are free again");
                    assert_eq!(letters.reference(letter), Some(of(ty, nullable)));
                }
            }
        }
        assert_eq!(letters.of(of(&kept, true)), Some(first));
        assert_eq!(letters.reference(first), Some(of(&kept, true)));
    }

    #[test]
    fn each_type_that_names_no_other_has_a_letter() {
        let mut letters = Letters::default();
        for ty in ABSTRACT {
            let letter = letters.of(ty).expect("it has one");
            assert_eq!(letters.reference(letter), Some(ty));
        }
    }
}
