//! What the polls of loops cost: the hot kernels with them and without, interleaved.
//!
//! Run by `npm run bench -- --only polls`, which compiles the kernels first: `kernels` names the
//! folder with their modules. Prints a row a kernel and the geometric mean.

use engine::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 12;
const KERNELS: [(&str, i32); 13] = [
    ("fib", 35),
    ("sieve", 6),
    ("nbody", 200_000),
    ("matmul", 15),
    ("sha256", 60_000),
    ("crc32", 150),
    ("quicksort", 5),
    ("mandelbrot_simd", 1200),
    ("spectral_norm", 800),
    ("hash_map", 1_000_000),
    ("string_search", 12),
    ("dispatch", 5_000_000),
    ("interpreter", 2_000_000),
];

struct Kernel {
    run: Func,
    size: i32,
}

impl Kernel {
    fn load(bytes: &[u8], size: i32, interruptible: bool) -> Kernel {
        let engine = Engine::new(&Config { interruptible, ..Config::default() }).expect("an engine");
        let store = Store::new(&engine).expect("a store");
        let module = Module::new(&engine, bytes).expect("the kernel compiles");
        let context = Arc::new(wasi::WasiCtxBuilder::new().build().expect("an empty context"));
        let import = |import: ImportType<'_>| match host::import_from(&context, import.module, import.name) {
            Ok(native) => Extern::Native(native),
            Err(refused) => panic!("{refused}"),
        };
        let imports: Vec<Extern> = module.imports().map(import).collect();
        let instance = Instance::new(&store, &module, &imports).expect("the kernel links");
        if let Some(Extern::Func(initialize)) = instance.export("_initialize") {
            initialize.call(&[]).expect("the kernel starts");
        }
        let Some(Extern::Func(run)) = instance.export("kernel") else { panic!("kernels export `kernel`") };
        Kernel { run, size }
    }

    fn time(&self) -> Duration {
        let start = Instant::now();
        self.run.call(&[Val::I32(self.size)]).expect("the kernel runs");
        start.elapsed()
    }
}

fn main() {
    let Some(folder) = std::env::args().nth(1).filter(|argument| !argument.starts_with("--")) else {
        println!("usage: interruption <folder with the kernels' modules>");
        return;
    };
    let mut logarithms = Vec::new();
    for (name, size) in KERNELS {
        let Ok(bytes) = std::fs::read(format!("{folder}/{name}.wasm")) else {
            println!("  {name:<18} is not compiled: run `npm run bench -- --only hot` first");
            continue;
        };
        let with = Kernel::load(&bytes, size, true);
        let without = Kernel::load(&bytes, size, false);
        let (mut best_with, mut best_without) = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            best_with = best_with.min(with.time());
            best_without = best_without.min(without.time());
        }
        let ratio = best_with.as_secs_f64() / best_without.as_secs_f64();
        logarithms.push(ratio.ln());
        println!("  {name:<18} {best_with:>10.2?} with polls {best_without:>10.2?} without {ratio:>8.3}");
    }
    let mean = logarithms.iter().sum::<f64>() / logarithms.len().max(1) as f64;
    println!("  {:<18} {:>46.3}", "geometric mean", mean.exp());
}
