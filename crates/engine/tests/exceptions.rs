//! Exceptions: the legacy proposal, which the specification's test suite no longer covers, the host's
//! side, and lifetimes. Each test runs in both trap modes.

use engine::*;
use wasm_encoder::*;

/// A module with one tag (i32), an import `"" "throw" (func (param i32))` as function 0, and one
/// exported function `run` (i32) -> i32 with this body. The text format no longer has legacy exceptions,
/// so modules are encoded.
fn module(body: impl FnOnce(&mut InstructionSink<'_>)) -> Vec<u8> {
    let mut module = wasm_encoder::Module::new();
    let mut types = TypeSection::new();
    types.ty().function([wasm_encoder::ValType::I32], [wasm_encoder::ValType::I32]);
    types.ty().function([wasm_encoder::ValType::I32], []);
    module.section(&types);
    let mut imports = ImportSection::new();
    imports.import("", "throw", EntityType::Function(1));
    imports.import(
        "",
        "tag",
        EntityType::Tag(wasm_encoder::TagType { kind: TagKind::Exception, func_type_idx: 1 }),
    );
    module.section(&imports);
    let mut functions = FunctionSection::new();
    functions.function(0);
    module.section(&functions);
    let mut exports = ExportSection::new();
    exports.export("run", ExportKind::Func, 1);
    module.section(&exports);
    let mut function = Function::new([(1, wasm_encoder::ValType::I32)]);
    body(&mut function.instructions());
    function.instructions().end();
    let mut code = CodeSection::new();
    code.function(&function);
    module.section(&code);
    module.finish()
}

struct Guest {
    store: Store,
    run: Func,
    tag: Tag,
}

impl Guest {
    fn new(trap_mode: TrapMode, bytes: Vec<u8>) -> Guest {
        let engine = Engine::new(&Config { trap_mode, ..Config::default() }).expect("an engine");
        let store = Store::new(&engine).expect("a store");
        let module = engine::Module::new(&engine, bytes).expect("compiles");
        let tag = Tag::new(&store, engine::FuncType::new([engine::ValType::I32], []));
        let (thrown, in_store) = (tag.clone(), store.clone());
        let ty = engine::FuncType::new([engine::ValType::I32], []);
        let throw = Func::new(&store, ty, move |values| {
            // SAFETY: the function takes an i32.
            let value = unsafe { values[0].i32 };
            match value {
                0 => Ok(()),
                -1 => Err(Error::Host(Box::new("not an exception"))),
                value => Err(Error::Exception(Exception::new(&in_store, &thrown, &[Val::I32(value)])?)),
            }
        });
        let imports = [Extern::Func(throw), Extern::Tag(tag.clone())];
        let instance = Instance::new(&store, &module, &imports).expect("instantiates");
        let Some(Extern::Func(run)) = instance.export("run") else { panic!("run is exported") };
        Guest { store, run, tag }
    }

    fn run(&self, argument: i32) -> Result<i32, Error> {
        match self.run.call(&[Val::I32(argument)])?[..] {
            [Val::I32(result)] => Ok(result),
            _ => panic!("run returns an i32"),
        }
    }
}

fn in_both_modes(body: impl Fn(&mut InstructionSink<'_>), test: impl Fn(Guest)) {
    for mode in [TrapMode::Signals, TrapMode::Explicit] {
        test(Guest::new(mode, module(&body)));
    }
}

const I32: BlockType = BlockType::Result(wasm_encoder::ValType::I32);

#[test]
fn a_legacy_catch_gets_what_the_host_throws() {
    let body = |i: &mut InstructionSink<'_>| {
        i.try_(I32).local_get(0).call(0).i32_const(100).catch(0).i32_const(1).i32_add().end();
    };
    in_both_modes(body, |guest| {
        assert_eq!(guest.run(0).ok(), Some(100));
        assert_eq!(guest.run(41).ok(), Some(42));
    });
}

#[test]
fn a_legacy_catch_does_not_see_traps_and_host_errors() {
    let body = |i: &mut InstructionSink<'_>| {
        i.try_(I32).local_get(0).call(0).unreachable().catch_all().i32_const(1).end();
    };
    in_both_modes(body, |guest| {
        assert!(matches!(guest.run(-1), Err(Error::Host(_))));
        assert!(matches!(guest.run(0), Err(Error::Trap(Trap { code: TrapCode::Unreachable, .. }))));
        assert_eq!(guest.run(5).ok(), Some(1));
    });
}

#[test]
fn legacy_rethrow_throws_the_same_exception_out_of_the_catch() {
    let body = |i: &mut InstructionSink<'_>| {
        i.try_(I32)
            .try_(I32)
            .local_get(0)
            .call(0)
            .i32_const(0)
            .catch(0)
            .drop()
            .rethrow(0)
            .end()
            .catch(0)
            .i32_const(2)
            .i32_mul()
            .end();
    };
    in_both_modes(body, |guest| assert_eq!(guest.run(21).ok(), Some(42)));
}

#[test]
fn legacy_delegate_skips_the_try_between() {
    // The inner `try` delegates to the outer one. It skips the middle one, whose catch would return 1.
    let body = |i: &mut InstructionSink<'_>| {
        i.try_(I32)
            .try_(I32)
            .try_(I32)
            .local_get(0)
            .call(0)
            .i32_const(0)
            .delegate(1)
            .catch_all()
            .i32_const(1)
            .end()
            .catch(0)
            .end();
    };
    in_both_modes(body, |guest| {
        assert_eq!(guest.run(7).ok(), Some(7));
        assert_eq!(guest.run(0).ok(), Some(0));
    });
}

#[test]
fn legacy_delegate_to_the_function_leaves_it() {
    let body = |i: &mut InstructionSink<'_>| {
        i.try_(I32).try_(I32).local_get(0).call(0).i32_const(0).delegate(1).catch_all().i32_const(1).end();
    };
    in_both_modes(body, |guest| assert!(matches!(guest.run(7), Err(Error::Exception(_)))));
}

#[test]
fn locals_set_before_a_throw_are_seen_by_its_handler() {
    let body = |i: &mut InstructionSink<'_>| {
        i.try_(BlockType::Empty)
            .i32_const(10)
            .local_set(1)
            .local_get(0)
            .throw(0)
            .catch(0)
            .local_get(1)
            .i32_add()
            .local_set(1)
            .end()
            .local_get(1);
    };
    in_both_modes(body, |guest| assert_eq!(guest.run(5).ok(), Some(15)));
}

#[test]
fn an_uncaught_exception_reaches_the_host_with_its_values() {
    let body = |i: &mut InstructionSink<'_>| {
        i.local_get(0).throw(0);
    };
    in_both_modes(body, |guest| match guest.run(9) {
        Err(Error::Exception(exception)) => {
            assert!(exception.is(&guest.tag));
            assert!(matches!(exception.values()[..], [Val::I32(9)]));
            assert!(!guest.store.is_running());
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn exceptions_thrown_in_a_loop_do_not_pile_up() {
    // A million throws. Each is caught with its reference, which is kept in a local.
    let mut module = wasm_encoder::Module::new();
    let exnref = wasm_encoder::ValType::Ref(wasm_encoder::RefType::EXNREF);
    let mut types = TypeSection::new();
    types.ty().function([wasm_encoder::ValType::I32], []);
    module.section(&types);
    let mut functions = FunctionSection::new();
    functions.function(0);
    module.section(&functions);
    let mut tags = TagSection::new();
    tags.tag(wasm_encoder::TagType { kind: TagKind::Exception, func_type_idx: 0 });
    module.section(&tags);
    let mut exports = ExportSection::new();
    exports.export("run", ExportKind::Func, 0);
    module.section(&exports);
    let mut function = Function::new([(1, exnref)]);
    function
        .instructions()
        .loop_(BlockType::Empty)
        .block(BlockType::Result(exnref))
        .try_table(BlockType::Empty, [Catch::AllRef { label: 0 }])
        .local_get(0)
        .throw(0)
        .end()
        .unreachable()
        .end()
        .local_set(1)
        .local_get(0)
        .i32_const(1)
        .i32_sub()
        .local_tee(0)
        .br_if(0)
        .end()
        .local_get(1)
        .throw_ref()
        .end();
    let mut code = CodeSection::new();
    code.function(&function);
    module.section(&code);
    let bytes = module.finish();

    for trap_mode in [TrapMode::Signals, TrapMode::Explicit] {
        let engine = Engine::new(&Config { trap_mode, ..Config::default() }).expect("an engine");
        let store = Store::new(&engine).expect("a store");
        let module = engine::Module::new(&engine, bytes.clone()).expect("compiles");
        let instance = Instance::new(&store, &module, &[]).expect("instantiates");
        let Some(Extern::Func(run)) = instance.export("run") else { panic!("run is exported") };
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
            statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
        };
        let before = resident();
        match run.call(&[Val::I32(1_000_000)]) {
            Err(Error::Exception(exception)) => assert!(matches!(exception.values()[..], [Val::I32(1)])),
            other => panic!("{other:?}"),
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 16 << 20, "{grown} bytes more after a million exceptions");
    }
}

#[test]
fn an_exception_keeps_its_host_values() {
    let engine = Engine::new(&Config::default()).expect("an engine");
    let store = Store::new(&engine).expect("a store");
    let host_value = |index| ExternRef(std::num::NonZeroU32::new(index).expect("not null"));
    let params = [engine::ValType::EXTERNREF, engine::ValType::I32];
    let tag = Tag::of_store(&store, engine::FuncType::new(params, []));
    let values = [Val::Extern(Some(host_value(5))), Val::I32(1)];
    let exception = Exception::new(&store, &tag, &values).expect("fits the tag");
    exception.set_host(host_value(6));
    let copy = exception.copy().expect("its group is alive");
    assert!(copy.is(&tag) && copy.host().is_none());
    assert_eq!(exception.host(), Some(host_value(6)));

    let held = || {
        let mut held = Vec::new();
        store.for_each_externref(&mut |value| held.push(value.0.get()));
        held.sort();
        held
    };
    assert_eq!(held(), [5, 5, 6]);
    drop(exception);
    assert_eq!(held(), [5]);
    drop(copy);
    assert_eq!(held(), [0u32; 0]);
}
