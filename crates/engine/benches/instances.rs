//! What an instance of a compiled module costs from Rust, from making it to dropping it: two numbers on one
//! line, the least nanoseconds of many rounds, for benches/rows/instantiate.mjs. The first is in a store of its
//! own, as runs have it, the second in a store that stays.

use engine::*;
use std::sync::Arc;
use std::time::Instant;

const COUNT: u32 = 100;
const ROUNDS: usize = 200;

/// The least nanoseconds a turn, of several rounds.
fn best(mut turn: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        (0..COUNT).for_each(|_| turn());
        start.elapsed().as_secs_f64() * 1e9 / f64::from(COUNT)
    };
    (0..ROUNDS).map(time).fold(f64::INFINITY, f64::min)
}

fn main() {
    let Some(path) = std::env::args().nth(1).filter(|argument| !argument.starts_with("--")) else {
        println!("usage: instances <a module that imports functions at most>");
        return;
    };
    let engine = Engine::new(&Config::default()).expect("an engine");
    let module = Module::new(&engine, std::fs::read(path).expect("the module is there")).expect("compiles");
    let imports: Vec<Extern> = module.imports().map(|import| nothing(&import.ty)).collect();
    let instance = |store: &Store| drop(Instance::new(store, &module, &imports).expect("links"));
    let alone = best(|| instance(&Store::new(&engine).expect("a store")));
    let store = Store::new(&engine).expect("a store");
    println!("{alone} {}", best(|| instance(&store)));
}

/// A function like WASI's, which no instance here calls.
fn nothing(ty: &ExternType) -> Extern {
    let ExternType::Func(ty) = ty else { panic!("a module that imports functions at most") };
    extern "C" fn body(_: *mut VMHostContext) -> i64 {
        0
    }
    // SAFETY: nothing calls it, so what its parameters are does not matter. It does not look at its data.
    Extern::Native(unsafe { NativeFunc::new(ty.ty().clone(), body as *const _, Arc::new(())) })
}
