//! What it costs to enter wasm from Rust and to call the host from wasm: three numbers on one
//! line, nanoseconds a call, for benches/rows/edges.mjs.

use engine::*;
use std::ffi::c_void;
use std::sync::Arc;
use std::time::Instant;

// Short rounds, so that many are undisturbed.
const CALLS: i32 = 10_000;
const ROUNDS: usize = 300;

extern "C" fn increment(_: *mut VMHostContext, value: u32) -> i64 {
    i64::from(value.wrapping_add(1))
}

/// The least nanoseconds a call, of several rounds.
fn best(mut round: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        round();
        start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    (0..ROUNDS).map(time).fold(f64::INFINITY, f64::min)
}

fn main() {
    let Some(path) = std::env::args().nth(1).filter(|argument| !argument.starts_with("--")) else {
        println!("usage: edges <boundary.wasm>");
        return;
    };
    let engine = Engine::new(&Config::default()).expect("an engine");
    let store = Store::new(&engine).expect("a store");
    let module = Module::new(&engine, std::fs::read(path).expect("the module is there")).expect("compiles");
    let ty = FuncType::new([ValType::I32], [ValType::I32]);
    // SAFETY: `increment` has the C signature of this type and does not look at its data.
    let native = unsafe { NativeFunc::new(ty.clone(), increment as *const c_void, Arc::new(())) };
    let closure = Func::new(&store, ty, |values| {
        // SAFETY: the function takes an i32.
        values[0].i32 = unsafe { values[0].i32 }.wrapping_add(1);
        Ok(())
    });
    let export = |import: Extern, name: &str| {
        let instance = Instance::new(&store, &module, &[import]).expect("links");
        match instance.export(name) {
            Some(Extern::Func(func)) => func,
            _ => panic!("{name} is exported"),
        }
    };
    let add = export(Extern::Native(native.clone()), "add");
    let through_native = export(Extern::Native(native), "call_import");
    let through_closure = export(Extern::Func(closure), "call_import");

    let enter = best(|| {
        let mut values = [ValRaw { i32: 0 }, ValRaw { i32: 1 }];
        for _ in 0..CALLS {
            // SAFETY: `add` takes two i32 and returns one, which is the next call's first.
            unsafe { add.call_raw(values.as_mut_ptr()).expect("returns") };
        }
    });
    let host = |func: &Func| best(|| drop(func.call(&[Val::I32(CALLS)]).expect("returns")));
    println!("{enter} {} {}", host(&through_native), host(&through_closure));
}
