//! Memories, tables and globals, behind the classes of those names.
//!
//! For the face, through Node-API. Single values cross in the window's first slot, by the type of the table
//! or global. The buffers of memories are in `buffers.rs`.

use super::failure::{self, Failure, Kind, run};
use super::realm::{Realm, address};
use super::types::EXOTIC;
use engine::{
    Error, Extern, ExternRef, Func, Global, GlobalType, Memory, MemoryType, Table, TableType, Val, ValRaw,
    ValType,
};
use napi::JsValue;
use napi::bindgen_prelude::{Env, External, Unknown};
use napi_derive::napi;
use std::rc::Rc;

/// A made object: its identity and its handle.
pub(super) type Made = napi::Result<(f64, External<Extern>)>;

pub(super) fn made(id: usize, object: Extern) -> (f64, External<Extern>) {
    (address(id), External::new(object))
}

// ---- memories

#[napi(catch_unwind)]
pub fn create_memory<'env>(
    env: &'env Env,
    realm: &External<Rc<Realm>>,
    minimum: f64,
    maximum: Option<f64>,
    wide: bool,
) -> napi::Result<(f64, Unknown<'env>)> {
    let memory = run(realm, || {
        let ty = MemoryType {
            minimum: minimum as u64,
            maximum: maximum.map(|pages| pages as u64),
            memory64: wide,
            shared: false,
            page_size_log2: 16,
        };
        let make = || Memory::new(&realm.store, ty);
        Ok(realm.with_room(make, |error| matches!(error, Error::OutOfMemory(_)))?)
    })?;
    let (id, group) = (address(memory.id()), memory.weak_group());
    let handle = External::new(Extern::Memory(memory)).into_unknown(env)?;
    realm.watch(handle.raw(), group);
    realm.account();
    Ok((id, handle))
}

/// Grows by `delta` pages and detaches the memory's buffer. Null if the memory cannot grow so far.
#[napi(catch_unwind)]
pub fn grow_memory(
    realm: &External<Rc<Realm>>,
    memory: &External<Extern>,
    delta: f64,
) -> napi::Result<Option<f64>> {
    run(realm, || {
        let memory = as_memory(memory);
        let old = memory.grow(delta as u64);
        if old.is_some() {
            super::buffers::detach_stale(realm, memory);
            realm.account();
        }
        Ok(old.map(|pages| pages as f64))
    })
}

// ---- tables

#[napi(catch_unwind)]
pub fn create_table(
    realm: &External<Rc<Realm>>,
    element: String,
    minimum: f64,
    maximum: Option<f64>,
    wide: bool,
) -> Made {
    run(realm, || {
        let ValType::Ref(element) = realm.val_type(element.chars().next().unwrap_or(EXOTIC)) else {
            unreachable!("the face knows the types of elements");
        };
        let maximum = maximum.map(|elements| elements as u64);
        let ty = TableType { element, minimum: minimum as u64, maximum, table64: wide };
        let initial = read_value(realm, 0, ValType::Ref(element));
        let table = Table::new(&realm.store, ty, initial).map_err(|error| match error {
            Error::OutOfMemory(_) => error.into(),
            _ => Failure::new(Kind::Range, failure::text(error)),
        })?;
        Ok(made(table.id(), Extern::Table(table)))
    })
}

#[napi(catch_unwind)]
pub fn table_size(table: &External<Extern>) -> f64 {
    as_table(table).size() as f64
}

/// Puts the element into the window; false if there is none at this index.
#[napi(catch_unwind)]
pub fn table_get(realm: &External<Rc<Realm>>, table: &External<Extern>, index: f64) -> napi::Result<bool> {
    run(realm, || {
        let value = as_table(table).get(index as u64);
        is_there(value.map(|value| write_value(realm, 0, &value)))
    })
}

/// Sets an element to the value in the window; false if there is none at this index.
#[napi(catch_unwind)]
pub fn table_set(realm: &External<Rc<Realm>>, table: &External<Extern>, index: f64) -> napi::Result<bool> {
    run(realm, || {
        let table = as_table(table);
        let value = read_value(realm, 0, ValType::Ref(table.ty().element));
        is_there(table.set(index as u64, value))
    })
}

/// Whether a table has the element that was accessed.
fn is_there(accessed: Result<(), Error>) -> Result<bool, Failure> {
    match accessed {
        Ok(()) => Ok(true),
        Err(Error::Trap(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Grows by `delta` elements, all the value in the window. Null if the table cannot grow so far.
#[napi(catch_unwind)]
pub fn grow_table(
    realm: &External<Rc<Realm>>,
    table: &External<Extern>,
    delta: f64,
) -> napi::Result<Option<f64>> {
    run(realm, || {
        let table = as_table(table);
        let value = read_value(realm, 0, ValType::Ref(table.ty().element));
        Ok(table.grow(delta as u64, value)?.map(|size| size as f64))
    })
}

// ---- globals

/// Makes a global of the type with this letter, from the value in the window.
#[napi(catch_unwind)]
pub fn create_global(realm: &External<Rc<Realm>>, content: String, mutable: bool) -> Made {
    run(realm, || {
        let content = realm.val_type(content.chars().next().unwrap_or(EXOTIC));
        let value = read_value(realm, 0, content);
        let ty = GlobalType { content, mutable };
        let global = Global::new(&realm.store, ty, value)?;
        Ok(made(global.id(), Extern::Global(global)))
    })
}

/// Puts the value into the window.
#[napi(catch_unwind)]
pub fn global_get(realm: &External<Rc<Realm>>, global: &External<Extern>) {
    write_value(realm, 0, &as_global(global).get());
}

/// Sets the value to that in the window.
#[napi(catch_unwind)]
pub fn global_set(realm: &External<Rc<Realm>>, global: &External<Extern>) -> napi::Result<()> {
    run(realm, || {
        let global = as_global(global);
        let value = read_value(realm, 0, global.ty().content);
        Ok(global.set(value)?)
    })
}

/// The letter of a table's elements or a global's content, with `m` for a mutable global and `w`
/// for a table or memory with 64-bit addresses; the letters of a tag's parameters.
#[napi(catch_unwind)]
pub fn object_type(realm: &External<Rc<Realm>>, object: &External<Extern>) -> String {
    let mark = |is: bool, mark| if is { mark } else { "" };
    match &**object {
        Extern::Table(table) => {
            let ty = table.ty();
            format!("{}{}", realm.letter(ValType::Ref(ty.element)), mark(ty.table64, "w"))
        }
        Extern::Memory(memory) => mark(memory.ty().memory64, "w").to_string(),
        Extern::Global(global) => {
            let ty = global.ty();
            format!("{}{}", realm.letter(ty.content), mark(ty.mutable, "m"))
        }
        Extern::Tag(tag) => realm.letters_of(&tag.ty().ty().params),
        Extern::Func(_) | Extern::Native(_) => String::new(),
    }
}

// ---- values and handles

/// The value of this type in a slot of the window.
pub(super) fn read_value(realm: &Realm, slot: usize, ty: ValType) -> Val {
    let raw = realm.slot(slot);
    // SAFETY: the face wrote the slot as a value of this type, and a function whose address it
    // wrote is held by a wrapper it has at hand.
    unsafe {
        match ty {
            ValType::I32 => Val::I32(raw.i32),
            ValType::I64 => Val::I64(raw.i64),
            ValType::F32 => Val::F32(raw.f32),
            ValType::F64 => Val::F64(raw.f64),
            ValType::V128 => Val::V128(raw.v128),
            ValType::Ref(ty) if ty.is_func() => {
                Val::Func(raw.func.map(|func| Func::from_raw(&realm.store, func)))
            }
            ValType::Ref(_) => Val::Extern(ExternRef::of(raw.externref)),
        }
    }
}

pub(super) fn write_value(realm: &Realm, slot: usize, value: &Val) {
    let mut raw = ValRaw { v128: 0 };
    match value {
        Val::I32(value) => raw.i32 = *value,
        Val::I64(value) => raw.i64 = *value,
        Val::F32(bits) => raw.f32 = *bits,
        Val::F64(bits) => raw.f64 = *bits,
        Val::V128(bits) => raw.v128 = *bits,
        Val::Func(func) => raw.func = func.as_ref().map(Func::raw),
        // JavaScript has no such values; the face says so when it is asked for one.
        Val::Exn(_) => {}
        Val::Extern(reference) => raw.externref = ExternRef::to_raw(*reference),
    }
    realm.set_slot(slot, raw);
}

pub(super) fn as_memory(handle: &Extern) -> &Memory {
    match handle {
        Extern::Memory(memory) => memory,
        _ => unreachable!("the face holds a memory"),
    }
}

fn as_table(handle: &Extern) -> &Table {
    match handle {
        Extern::Table(table) => table,
        _ => unreachable!("the face holds a table"),
    }
}

fn as_global(handle: &Extern) -> &Global {
    match handle {
        Extern::Global(global) => global,
        _ => unreachable!("the face holds a global"),
    }
}
