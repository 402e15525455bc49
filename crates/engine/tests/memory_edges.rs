//! The edges of linear memory: every load and store at every address where a bounds check could be
//! wrong by one, by address wrapping, or by an access wider than the operator's.
//!
//! Each access is compared with a model in plain `u64` arithmetic: either the exact value, or a trap
//! and no byte changed. Everything runs in all modes. Past escapes from similar engines were here
//! (CVE-2023-26489: an address computed in 64 bits; CVE-2026-24116 and -34944: a widened load).

mod support;

use engine::GUARD_SIZE;
use engine::{
    Config, Engine, Error, Extern, Func, Instance, Memory, MemoryType, Module, Store, Trap, TrapCode, Val,
};
use support::*;
use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    Instruction, MemArg, MemArgTarget, TypeSection, ValType,
};

const PAGE: u64 = 1 << 16;

// --- memories whose content is known ---

/// The content of the memory at an address: noise, so that a byte from elsewhere is noticed.
fn noise(address: u64) -> u8 {
    mix(address) as u8
}

/// A memory filled with noise where accesses come close to an edge, and with zeros elsewhere.
struct Filled {
    memory: Memory,
    windows: Vec<std::ops::Range<u64>>,
}

impl Filled {
    fn new(memory: Memory) -> Filled {
        let len = memory.byte_len() as u64;
        let edges = [0, GUARD_SIZE, 1 << 31, 1 << 32, len];
        let windows: Vec<_> = edges
            .into_iter()
            .map(|edge| edge.saturating_sub(4096).min(len)..(edge + 4096).min(len))
            .filter(|window| !window.is_empty())
            .collect();
        let filled = Filled { memory, windows };
        for window in filled.windows.clone() {
            filled.restore(window);
        }
        filled
    }

    fn len(&self) -> u64 {
        self.memory.byte_len() as u64
    }

    fn read(&self, address: u64, width: u64) -> Vec<u8> {
        assert!(address + width <= self.len());
        // SAFETY: the bytes are inside the memory, and no guest runs.
        (address..address + width).map(|at| unsafe { self.memory.base().add(at as usize).read() }).collect()
    }

    fn restore(&self, range: std::ops::Range<u64>) {
        for address in range {
            let byte =
                if self.windows.iter().any(|window| window.contains(&address)) { noise(address) } else { 0 };
            // SAFETY: the byte is inside the memory, and no guest runs.
            unsafe { self.memory.base().add(address as usize).write(byte) };
        }
    }

    /// The bytes that the range had when the memory was made.
    fn expected(&self, range: std::ops::Range<u64>) -> Vec<u8> {
        let known = |address: &u64| self.windows.iter().any(|window| window.contains(address));
        range.map(|address| if known(&address) { noise(address) } else { 0 }).collect()
    }

    fn assert_untouched(&self, what: &str) {
        for window in &self.windows {
            assert_eq!(
                self.read(window.start, window.end - window.start),
                self.expected(window.clone()),
                "{what}"
            );
        }
    }
}

// --- accesses and their models ---

enum Kind {
    /// Reads bytes as a value of the type.
    Load(ValType, fn(&[u8]) -> u128),
    /// Puts bytes into a lane of [`VECTOR`].
    LoadLane(fn(&[u8]) -> u128),
    /// Stores the low bytes of [`STORED`].
    Store(ValType),
    /// Stores the low lane of [`VECTOR`].
    StoreLane,
}

struct Access {
    name: &'static str,
    width: u64,
    op: fn(MemArg) -> Instruction<'static>,
    kind: Kind,
}

const STORED: u64 = 0x8f9e_adbc_cbda_e9f8;
const VECTOR: u128 = 0x1122_3344_5566_7788_99aa_bbcc_ddee_ff01;

fn unsigned(bytes: &[u8]) -> u128 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u128::from(*byte))
}

fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len() as u32;
    ((unsigned(bytes) as u64) << unused) as i64 >> unused
}

fn signed32(bytes: &[u8]) -> u128 {
    u128::from(signed(bytes) as i32 as u32)
}

fn signed64(bytes: &[u8]) -> u128 {
    u128::from(signed(bytes) as u64)
}

/// Widens each `N`-byte part to twice its size.
fn extend<const N: usize, const SIGNED: bool>(bytes: &[u8]) -> u128 {
    let bits = 16 * N as u32;
    let wide = |part: &[u8]| if SIGNED { signed64(part) & ((1 << bits) - 1) } else { unsigned(part) };
    bytes.chunks(N).rev().fold(0, |vector, part| vector << bits | wide(part))
}

fn splat<const N: usize>(bytes: &[u8]) -> u128 {
    (0..16 / N).fold(0, |vector, _| if N == 16 { 0 } else { vector << (8 * N) } | unsigned(bytes))
}

/// [`VECTOR`] with its highest lane replaced.
fn into_lane(bytes: &[u8]) -> u128 {
    let bits = 128 - 8 * bytes.len() as u32;
    VECTOR & ((1 << bits) - 1) | unsigned(bytes) << bits
}

fn accesses() -> Vec<Access> {
    use Instruction as I;
    use Kind::*;
    use ValType::*;
    let access = |name, width, op, kind| Access { name, width, op, kind };
    vec![
        access("i32.load", 4, I::I32Load, Load(I32, unsigned)),
        access("i64.load", 8, I::I64Load, Load(I64, unsigned)),
        access("f32.load", 4, I::F32Load, Load(F32, unsigned)),
        access("f64.load", 8, I::F64Load, Load(F64, unsigned)),
        access("i32.load8_s", 1, I::I32Load8S, Load(I32, signed32)),
        access("i32.load8_u", 1, I::I32Load8U, Load(I32, unsigned)),
        access("i32.load16_s", 2, I::I32Load16S, Load(I32, signed32)),
        access("i32.load16_u", 2, I::I32Load16U, Load(I32, unsigned)),
        access("i64.load8_s", 1, I::I64Load8S, Load(I64, signed64)),
        access("i64.load8_u", 1, I::I64Load8U, Load(I64, unsigned)),
        access("i64.load16_s", 2, I::I64Load16S, Load(I64, signed64)),
        access("i64.load16_u", 2, I::I64Load16U, Load(I64, unsigned)),
        access("i64.load32_s", 4, I::I64Load32S, Load(I64, signed64)),
        access("i64.load32_u", 4, I::I64Load32U, Load(I64, unsigned)),
        access("v128.load", 16, I::V128Load, Load(V128, unsigned)),
        access("v128.load8x8_s", 8, I::V128Load8x8S, Load(V128, extend::<1, true>)),
        access("v128.load8x8_u", 8, I::V128Load8x8U, Load(V128, extend::<1, false>)),
        access("v128.load16x4_s", 8, I::V128Load16x4S, Load(V128, extend::<2, true>)),
        access("v128.load16x4_u", 8, I::V128Load16x4U, Load(V128, extend::<2, false>)),
        access("v128.load32x2_s", 8, I::V128Load32x2S, Load(V128, extend::<4, true>)),
        access("v128.load32x2_u", 8, I::V128Load32x2U, Load(V128, extend::<4, false>)),
        access("v128.load8_splat", 1, I::V128Load8Splat, Load(V128, splat::<1>)),
        access("v128.load16_splat", 2, I::V128Load16Splat, Load(V128, splat::<2>)),
        access("v128.load32_splat", 4, I::V128Load32Splat, Load(V128, splat::<4>)),
        access("v128.load64_splat", 8, I::V128Load64Splat, Load(V128, splat::<8>)),
        access("v128.load32_zero", 4, I::V128Load32Zero, Load(V128, unsigned)),
        access("v128.load64_zero", 8, I::V128Load64Zero, Load(V128, unsigned)),
        access("v128.load8_lane", 1, |memarg| I::V128Load8Lane { memarg, lane: 15 }, LoadLane(into_lane)),
        access("v128.load16_lane", 2, |memarg| I::V128Load16Lane { memarg, lane: 7 }, LoadLane(into_lane)),
        access("v128.load32_lane", 4, |memarg| I::V128Load32Lane { memarg, lane: 3 }, LoadLane(into_lane)),
        access("v128.load64_lane", 8, |memarg| I::V128Load64Lane { memarg, lane: 1 }, LoadLane(into_lane)),
        access("i32.store", 4, I::I32Store, Store(I32)),
        access("i64.store", 8, I::I64Store, Store(I64)),
        access("f32.store", 4, I::F32Store, Store(F32)),
        access("f64.store", 8, I::F64Store, Store(F64)),
        access("i32.store8", 1, I::I32Store8, Store(I32)),
        access("i32.store16", 2, I::I32Store16, Store(I32)),
        access("i64.store8", 1, I::I64Store8, Store(I64)),
        access("i64.store16", 2, I::I64Store16, Store(I64)),
        access("i64.store32", 4, I::I64Store32, Store(I64)),
        access("v128.store", 16, I::V128Store, StoreLane),
        access("v128.store8_lane", 1, |memarg| I::V128Store8Lane { memarg, lane: 0 }, StoreLane),
        access("v128.store16_lane", 2, |memarg| I::V128Store16Lane { memarg, lane: 0 }, StoreLane),
        access("v128.store32_lane", 4, |memarg| I::V128Store32Lane { memarg, lane: 0 }, StoreLane),
        access("v128.store64_lane", 8, |memarg| I::V128Store64Lane { memarg, lane: 0 }, StoreLane),
    ]
}

impl Access {
    fn result(&self) -> Option<ValType> {
        match self.kind {
            Kind::Load(ty, _) => Some(ty),
            Kind::LoadLane(_) => Some(ValType::V128),
            Kind::Store(_) | Kind::StoreLane => None,
        }
    }

    /// The bytes that a store writes.
    fn stored(&self) -> Option<Vec<u8>> {
        let bits = match self.kind {
            Kind::Store(_) => u128::from(STORED),
            Kind::StoreLane => VECTOR,
            _ => return None,
        };
        Some(bits.to_le_bytes()[..self.width as usize].to_vec())
    }

    /// Emits the access. `address` pushes the index.
    fn emit(&self, f: &mut Function, memory: u32, offset: u64, address: impl FnOnce(&mut Function)) {
        address(f);
        match self.kind {
            Kind::Load(..) => {}
            Kind::Store(ValType::I32) => _ = f.instruction(&Instruction::I32Const(STORED as i32)),
            Kind::Store(ValType::I64) => _ = f.instruction(&Instruction::I64Const(STORED as i64)),
            Kind::Store(ValType::F32) => {
                _ = f.instruction(&Instruction::F32Const(f32::from_bits(STORED as u32).into()))
            }
            Kind::Store(_) => _ = f.instruction(&Instruction::F64Const(f64::from_bits(STORED).into())),
            Kind::LoadLane(_) | Kind::StoreLane => _ = f.instruction(&Instruction::V128Const(VECTOR as i128)),
        }
        f.instruction(&(self.op)(memarg(memory, offset)));
    }

    /// Calls a function that makes this access at `index + offset`, and compares it with the model.
    fn check(
        &self,
        func: &Func,
        args: &[Val],
        memory: &Filled,
        index: u64,
        offset: u64,
        what: &dyn Fn() -> String,
    ) {
        let address = u128::from(index) + u128::from(offset);
        let inside = address + u128::from(self.width) <= u128::from(memory.len());
        let result = func.call(args);
        let what = || format!("{} at {index:#x} + {offset:#x} of {:#x}: {}", self.name, memory.len(), what());
        if !inside {
            assert!(
                matches!(result, Err(Error::Trap(Trap { code: TrapCode::MemoryOutOfBounds, .. }))),
                "{} gave {result:?}",
                what()
            );
            // A trapping store must not even write the part that is inside.
            let near = memory.len().saturating_sub(32).max(address.min(memory.len().into()) as u64 & !31)
                ..memory.len();
            assert_eq!(memory.read(near.start, near.end - near.start), memory.expected(near), "{}", what());
            return;
        }
        let address = address as u64;
        let result = result.unwrap_or_else(|e| panic!("{} failed: {e:?}", what()));
        match (&self.kind, self.stored()) {
            (Kind::Load(_, model) | Kind::LoadLane(model), _) => {
                assert_eq!(bits(&result[0]), model(&memory.read(address, self.width)), "{}", what());
            }
            (_, Some(stored)) => {
                let around = address.saturating_sub(16)..(address + self.width + 16).min(memory.len());
                let mut expected = memory.expected(around.clone());
                let at = (address - around.start) as usize;
                expected[at..at + stored.len()].copy_from_slice(&stored);
                assert_eq!(memory.read(around.start, around.end - around.start), expected, "{}", what());
                memory.restore(address..address + self.width);
            }
            _ => unreachable!("it loads or stores"),
        }
    }
}

fn memarg(memory: u32, offset: u64) -> MemArg {
    MemArg { offset, align: 0, target: MemArgTarget::Memory(memory), ordering: None }
}

// --- modules of many functions over imported memories ---

/// A module that imports its memories and exports all its functions by number.
struct Batch {
    memories: Vec<wasm_encoder::MemoryType>,
    types: TypeSection,
    functions: FunctionSection,
    exports: ExportSection,
    code: CodeSection,
    known: Vec<(Vec<ValType>, Vec<ValType>)>,
}

impl Batch {
    fn new(memories: &[wasm_encoder::MemoryType]) -> Batch {
        Batch {
            memories: memories.to_vec(),
            types: TypeSection::new(),
            functions: FunctionSection::new(),
            exports: ExportSection::new(),
            code: CodeSection::new(),
            known: Vec::new(),
        }
    }

    fn function(&mut self, params: &[ValType], results: &[ValType], body: impl FnOnce(&mut Function)) {
        let ty = (params.to_vec(), results.to_vec());
        let place = self.known.iter().position(|known| *known == ty).unwrap_or_else(|| {
            self.types.ty().function(params.iter().copied(), results.iter().copied());
            self.known.push(ty);
            self.known.len() - 1
        });
        self.functions.function(place as u32);
        let mut function = Function::new([]);
        body(&mut function);
        function.instruction(&Instruction::End);
        self.exports.export(&self.code.len().to_string(), ExportKind::Func, self.code.len());
        self.code.function(&function);
    }

    fn finish(self) -> Vec<u8> {
        let mut module = wasm_encoder::Module::new();
        module.section(&self.types);
        let mut imports = ImportSection::new();
        for memory in &self.memories {
            imports.import("", "", EntityType::Memory(*memory));
        }
        module.section(&imports).section(&self.functions).section(&self.exports).section(&self.code);
        module.finish()
    }
}

fn functions(instance: &Instance) -> Vec<Func> {
    let mut functions = Vec::new();
    for (name, export) in instance.exports() {
        let Extern::Func(func) = export else { continue };
        assert_eq!(name, functions.len().to_string());
        functions.push(func);
    }
    functions
}

fn any_memory(memory64: bool) -> wasm_encoder::MemoryType {
    wasm_encoder::MemoryType { minimum: 0, maximum: None, memory64, shared: false, page_size_log2: None }
}

fn host_memory(store: &Store, memory64: bool, pages: u64) -> Memory {
    let ty = MemoryType { minimum: pages, maximum: None, memory64, shared: false, page_size_log2: 16 };
    Memory::new(store, ty).expect("a memory")
}

fn compile(config: &Config, bytes: &[u8]) -> (Store, Module) {
    let engine = Engine::new(config).expect("an engine");
    let store = Store::new(&engine).expect("a store");
    let module = Module::new(&engine, bytes).expect("compiles");
    (store, module)
}

fn index_type(memory64: bool) -> ValType {
    if memory64 { ValType::I64 } else { ValType::I32 }
}

fn index_value(memory64: bool, index: u64) -> Val {
    if memory64 { Val::I64(index as i64) } else { Val::I32(index as i32) }
}

// --- the tests ---

/// Offsets at which the kind of check changes, for an access of this width.
fn offsets(memory64: bool, width: u64) -> Vec<u64> {
    let mut offsets =
        vec![0, 1, GUARD_SIZE - width, GUARD_SIZE - width + 1, GUARD_SIZE - 1, GUARD_SIZE, GUARD_SIZE + 1];
    offsets.extend([(1 << 31) - 1, 1 << 31, (1 << 32) - width, (1 << 32) - 1]);
    if memory64 {
        offsets.extend([1 << 32, i64::MAX as u64, 1 << 63, u64::MAX - width, u64::MAX - width + 1, u64::MAX]);
    }
    offsets.sort();
    offsets.dedup();
    offsets
}

/// Indices on both sides of every edge, including those that only a wrapped sum would reach.
fn indices(memory64: bool, len: u64, width: u64, offset: u64) -> Vec<u64> {
    let top = if memory64 { u64::MAX } else { u64::from(u32::MAX) };
    let mut indices = Vec::new();
    for edge in [0, len, 1 << 31, 1 << 32, offset.wrapping_neg(), len.wrapping_sub(offset)] {
        for step in [0, 1, width, width - 1, width + 1] {
            indices.extend([edge.wrapping_sub(step), edge.wrapping_add(step)]);
        }
    }
    for index in &mut indices {
        *index &= top;
    }
    indices.sort();
    indices.dedup();
    indices
}

/// Tests every access at every offset and index, on memories of these sizes in pages. If `target` is 1,
/// memory 0 is not accessed.
fn sweep(memory64: bool, target: u32, sizes: &[u64]) {
    let accesses = accesses();
    let ty = any_memory(memory64);
    let mut batch = Batch::new(&vec![ty; target as usize + 1]);
    let mut cases = Vec::new();
    for access in &accesses {
        for offset in offsets(memory64, access.width) {
            let results: Vec<_> = access.result().into_iter().collect();
            batch.function(&[index_type(memory64)], &results, |f| {
                access.emit(f, target, offset, |f| _ = f.instruction(&Instruction::LocalGet(0)));
            });
            cases.push((access, offset));
        }
    }
    let bytes = batch.finish();
    let mut checked = 0;
    for config in modes() {
        let (store, module) = compile(&config, &bytes);
        let mode = mode_name(&config);
        for pages in sizes {
            let memory = Filled::new(host_memory(&store, memory64, *pages));
            let bystander = Filled::new(host_memory(&store, memory64, 3));
            let mut imports = vec![Extern::Memory(memory.memory.clone())];
            if target == 1 {
                imports.insert(0, Extern::Memory(bystander.memory.clone()));
            }
            let instance = Instance::new(&store, &module, &imports).expect("instantiates");
            for ((access, offset), func) in cases.iter().zip(functions(&instance)) {
                for index in indices(memory64, memory.len(), access.width, *offset) {
                    access.check(&func, &[index_value(memory64, index)], &memory, index, *offset, &|| {
                        mode.clone()
                    });
                    checked += 1;
                }
            }
            memory.assert_untouched(&mode);
            bystander.assert_untouched(&mode);
        }
    }
    println!("{} accesses, {} functions: {checked} checks", accesses.len(), cases.len());
}

/// A size beyond the guard, so that some accesses inside have an offset that needs a check.
const PAST_GUARD: u64 = GUARD_SIZE / PAGE + 1;

#[test]
fn every_access_of_a_32_bit_memory_is_exact_at_its_edges() {
    sweep(false, 0, &[0, 1, PAST_GUARD, 65536]);
}

#[test]
fn every_access_of_a_64_bit_memory_is_exact_at_its_edges() {
    sweep(true, 0, &[0, 1, PAST_GUARD, 65537]);
}

#[test]
fn every_access_of_a_second_memory_is_exact_and_leaves_the_first_alone() {
    sweep(false, 1, &[0, 1]);
    sweep(true, 1, &[1]);
}

#[test]
fn an_access_after_memory_grow_in_the_same_function_sees_the_grown_memory() {
    // The function also reads before it grows, so that base and length are in registers.
    for memory64 in [false, true] {
        let index_ty = index_type(memory64);
        let accesses = accesses();
        let mut batch = Batch::new(&[any_memory(memory64)]);
        for access in &accesses {
            let results: Vec<_> = access.result().into_iter().collect();
            batch.function(&[index_ty, index_ty], &results, |f| {
                f.instruction(&Instruction::LocalGet(1));
                f.instruction(&Instruction::I32Load8U(memarg(0, 0)));
                f.instruction(&Instruction::Drop);
                let one = if memory64 { Instruction::I64Const(1) } else { Instruction::I32Const(1) };
                f.instruction(&one);
                f.instruction(&Instruction::MemoryGrow(0));
                f.instruction(&Instruction::Drop);
                access.emit(f, 0, 0, |f| _ = f.instruction(&Instruction::LocalGet(0)));
            });
        }
        let bytes = batch.finish();
        for config in modes() {
            let (store, module) = compile(&config, &bytes);
            let mode = mode_name(&config);
            let memory = host_memory(&store, memory64, 1);
            let instance =
                Instance::new(&store, &module, &[Extern::Memory(memory.clone())]).expect("instantiates");
            let mut pages = 1;
            for (access, func) in accesses.iter().zip(functions(&instance)) {
                // Two growing calls: one accesses the last bytes of the new page, the other one byte too far.
                for past in [0, 1] {
                    let old_len = pages * PAGE;
                    pages += 1;
                    let index = pages * PAGE - access.width + past;
                    let args = [index_value(memory64, index), index_value(memory64, old_len - 1)];
                    let result = func.call(&args);
                    assert_eq!(memory.size(), pages, "{} {mode}", access.name);
                    match (past, result) {
                        (0, Ok(values)) => {
                            // SAFETY: the byte is inside the memory.
                            let read = |at: u64| unsafe { memory.base().add(at as usize).read() };
                            let found: Vec<u8> = (index..index + access.width).map(read).collect();
                            match (&access.kind, access.stored()) {
                                (Kind::Load(_, model) | Kind::LoadLane(model), _) => {
                                    assert_eq!(found, vec![0; access.width as usize], "a new page is zero");
                                    assert_eq!(bits(&values[0]), model(&found), "{} {mode}", access.name);
                                }
                                (_, stored) => assert_eq!(Some(found), stored, "{} {mode}", access.name),
                            }
                        }
                        (1, Err(Error::Trap(Trap { code: TrapCode::MemoryOutOfBounds, .. }))) => {}
                        (_, other) => panic!("{} past {past}: {other:?} {mode}", access.name),
                    }
                }
            }
        }
    }
}

// --- computed addresses ---

#[derive(Clone, Debug)]
enum Expr {
    /// Parameter 0 or 1, an `i32`.
    Param(u32),
    Const32(u32),
    Const64(u64),
    Binary32(Op, Box<Expr>, Box<Expr>),
    Binary64(Op, Box<Expr>, Box<Expr>),
    ExtendU(Box<Expr>),
    ExtendS(Box<Expr>),
    Wrap(Box<Expr>),
    Extend8S(Box<Expr>),
    Extend16S(Box<Expr>),
    Extend32S(Box<Expr>),
    /// The first operand if it is less than the second, as `i32`.
    Select(Box<Expr>, Box<Expr>),
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Add,
    Sub,
    Mul,
    Shl,
    ShrU,
    ShrS,
    And,
    Or,
    Xor,
    Rotl,
}

const OPS: [Op; 10] =
    [Op::Add, Op::Sub, Op::Mul, Op::Shl, Op::ShrU, Op::ShrS, Op::And, Op::Or, Op::Xor, Op::Rotl];

impl Expr {
    /// The value, as a zero-extended `i32`.
    fn eval(&self, params: [u32; 2]) -> u64 {
        let low = |e: &Expr| e.eval(params) as u32;
        match self {
            Expr::Param(i) => params[*i as usize].into(),
            Expr::Const32(c) => (*c).into(),
            Expr::Const64(c) => *c,
            Expr::Binary32(op, a, b) => {
                let (a, b) = (low(a), low(b));
                let value = match op {
                    Op::Add => a.wrapping_add(b),
                    Op::Sub => a.wrapping_sub(b),
                    Op::Mul => a.wrapping_mul(b),
                    Op::Shl => a.wrapping_shl(b),
                    Op::ShrU => a.wrapping_shr(b),
                    Op::ShrS => (a as i32).wrapping_shr(b) as u32,
                    Op::And => a & b,
                    Op::Or => a | b,
                    Op::Xor => a ^ b,
                    Op::Rotl => a.rotate_left(b % 32),
                };
                value.into()
            }
            Expr::Binary64(op, a, b) => {
                let (a, b) = (a.eval(params), b.eval(params));
                match op {
                    Op::Add => a.wrapping_add(b),
                    Op::Sub => a.wrapping_sub(b),
                    Op::Mul => a.wrapping_mul(b),
                    Op::Shl => a.wrapping_shl(b as u32),
                    Op::ShrU => a.wrapping_shr(b as u32),
                    Op::ShrS => (a as i64).wrapping_shr(b as u32) as u64,
                    Op::And => a & b,
                    Op::Or => a | b,
                    Op::Xor => a ^ b,
                    Op::Rotl => a.rotate_left((b % 64) as u32),
                }
            }
            Expr::ExtendU(e) | Expr::Wrap(e) => low(e).into(),
            Expr::ExtendS(e) => low(e) as i32 as i64 as u64,
            Expr::Extend8S(e) => (low(e) as i8 as i32 as u32).into(),
            Expr::Extend16S(e) => (low(e) as i16 as i32 as u32).into(),
            Expr::Extend32S(e) => e.eval(params) as i32 as i64 as u64,
            Expr::Select(a, b) => low(a).min(low(b)).into(),
        }
    }

    fn emit(&self, f: &mut Function) {
        use Instruction as I;
        let instruction = match self {
            Expr::Param(i) => I::LocalGet(*i),
            Expr::Const32(c) => I::I32Const(*c as i32),
            Expr::Const64(c) => I::I64Const(*c as i64),
            Expr::Binary32(op, a, b) => {
                a.emit(f);
                b.emit(f);
                match op {
                    Op::Add => I::I32Add,
                    Op::Sub => I::I32Sub,
                    Op::Mul => I::I32Mul,
                    Op::Shl => I::I32Shl,
                    Op::ShrU => I::I32ShrU,
                    Op::ShrS => I::I32ShrS,
                    Op::And => I::I32And,
                    Op::Or => I::I32Or,
                    Op::Xor => I::I32Xor,
                    Op::Rotl => I::I32Rotl,
                }
            }
            Expr::Binary64(op, a, b) => {
                a.emit(f);
                b.emit(f);
                match op {
                    Op::Add => I::I64Add,
                    Op::Sub => I::I64Sub,
                    Op::Mul => I::I64Mul,
                    Op::Shl => I::I64Shl,
                    Op::ShrU => I::I64ShrU,
                    Op::ShrS => I::I64ShrS,
                    Op::And => I::I64And,
                    Op::Or => I::I64Or,
                    Op::Xor => I::I64Xor,
                    Op::Rotl => I::I64Rotl,
                }
            }
            Expr::Select(a, b) => {
                for e in [a, b, a, b] {
                    e.emit(f);
                }
                f.instruction(&I::I32LtU);
                I::Select
            }
            Expr::ExtendU(e)
            | Expr::ExtendS(e)
            | Expr::Wrap(e)
            | Expr::Extend8S(e)
            | Expr::Extend16S(e)
            | Expr::Extend32S(e) => {
                e.emit(f);
                match self {
                    Expr::ExtendU(_) => I::I64ExtendI32U,
                    Expr::ExtendS(_) => I::I64ExtendI32S,
                    Expr::Wrap(_) => I::I32WrapI64,
                    Expr::Extend8S(_) => I::I32Extend8S,
                    Expr::Extend16S(_) => I::I32Extend16S,
                    _ => I::I64Extend32S,
                }
            }
        };
        f.instruction(&instruction);
    }

    fn random32(random: &mut Random, depth: u32) -> Expr {
        let sub = |random: &mut Random| Box::new(Expr::random32(random, depth - 1));
        if depth == 0 {
            return match random.below(3) {
                0 => Expr::Const32(constant(random) as u32),
                i => Expr::Param(i as u32 - 1),
            };
        }
        match random.below(14) {
            0 => Expr::Wrap(Box::new(Expr::random64(random, depth - 1))),
            1 => Expr::Extend8S(sub(random)),
            2 => Expr::Extend16S(sub(random)),
            3 => Expr::Select(sub(random), sub(random)),
            i => Expr::Binary32(OPS[i - 4], sub(random), sub(random)),
        }
    }

    fn random64(random: &mut Random, depth: u32) -> Expr {
        let sub = |random: &mut Random| Box::new(Expr::random64(random, depth - 1));
        if depth == 0 {
            return match random.below(3) {
                0 => Expr::Const64(constant(random)),
                1 => Expr::ExtendU(Box::new(Expr::random32(random, 0))),
                _ => Expr::ExtendS(Box::new(Expr::random32(random, 0))),
            };
        }
        match random.below(13) {
            0 => Expr::ExtendU(Box::new(Expr::random32(random, depth - 1))),
            1 => Expr::ExtendS(Box::new(Expr::random32(random, depth - 1))),
            2 => Expr::Extend32S(sub(random)),
            i => Expr::Binary64(OPS[i - 3], sub(random), sub(random)),
        }
    }
}

/// A small number, a number near a power of two, or its negative.
fn constant(random: &mut Random) -> u64 {
    let power = 1u64 << random.below(40);
    let near = power.wrapping_add(random.below(17) as u64).wrapping_sub(8);
    match random.below(3) {
        0 => random.below(33) as u64,
        1 => near,
        _ => near.wrapping_neg(),
    }
}

/// The shapes that code generators fold into addressing modes, followed by random ones.
fn address_shapes(memory64: bool) -> Vec<Expr> {
    use Expr::*;
    let (x, y) = (|| Box::new(Param(0)), || Box::new(Param(1)));
    let c = |c: u32| Box::new(Const32(c));
    let wide = |e: Box<Expr>| Box::new(ExtendU(e));
    let mut shapes = vec![Param(0)];
    for k in [1, 2, 3, 4, 31] {
        let shifted = || Box::new(Binary32(Op::Shl, x(), c(k)));
        shapes.extend([
            *shifted(),
            Binary32(Op::Add, shifted(), y()),
            Binary32(Op::Add, y(), shifted()),
            Binary32(Op::Add, shifted(), c(8)),
            Binary32(Op::Sub, shifted(), y()),
            Binary32(Op::Add, Box::new(Binary32(Op::Add, shifted(), y())), c(u32::MAX)),
            Binary32(Op::Shl, Box::new(Binary32(Op::Add, x(), y())), c(k)),
            Wrap(Box::new(Binary64(Op::Shl, wide(x()), Box::new(Const64(k.into()))))),
        ]);
    }
    shapes.extend([
        Binary32(Op::Shl, x(), y()),
        Binary32(Op::Add, x(), y()),
        Binary32(Op::Sub, x(), y()),
        Binary32(Op::Sub, c(0), x()),
        Binary32(Op::Mul, x(), c(8)),
        Binary32(Op::Mul, x(), c(9)),
        Wrap(Box::new(Binary64(Op::Add, wide(x()), wide(y())))),
        Wrap(Box::new(Binary64(Op::Sub, wide(x()), wide(y())))),
        Wrap(Box::new(ExtendS(x()))),
        Extend8S(x()),
        Extend16S(x()),
        Select(x(), y()),
    ]);
    for constant in [1, 8, 0x7fff_ffff, 0x8000_0000, 0xffff_fff8, u32::MAX] {
        shapes.extend([Binary32(Op::Add, x(), c(constant)), Binary32(Op::Sub, x(), c(constant))]);
    }
    if memory64 {
        let narrow = std::mem::take(&mut shapes);
        for shape in narrow {
            shapes.extend([ExtendU(Box::new(shape.clone())), ExtendS(Box::new(shape))]);
        }
        for k in [3, 32, 63] {
            let shifted = || Box::new(Binary64(Op::Shl, wide(x()), Box::new(Const64(k))));
            shapes.extend([
                *shifted(),
                Binary64(Op::Add, shifted(), wide(y())),
                Binary64(Op::Sub, shifted(), wide(y())),
            ]);
        }
    }
    let mut random = Random(23);
    for i in 0..120 {
        let depth = 1 + i % 4;
        shapes.push(if memory64 {
            Expr::random64(&mut random, depth)
        } else {
            Expr::random32(&mut random, depth)
        });
    }
    shapes
}

const ARGUMENTS: [u32; 16] = [
    0,
    1,
    7,
    8,
    0xfff8,
    0xffff,
    0x1_0000,
    0x1fff_ffff,
    0x2000_0000,
    0x2000_0001,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_1fff,
    0xffff_0000,
    0xffff_fff8,
    0xffff_ffff,
];

#[test]
fn a_computed_address_is_exact_however_it_is_computed() {
    let accesses = accesses();
    for memory64 in [false, true] {
        let mut batch = Batch::new(&[any_memory(memory64)]);
        let mut cases = Vec::new();
        for (i, shape) in address_shapes(memory64).into_iter().enumerate() {
            // The whole product would take minutes, so the combinations are random.
            let mut random = Random(i as u64);
            for offset in [0, 8, GUARD_SIZE, u64::from(u32::MAX) - 7] {
                let access = &accesses[random.below(accesses.len())];
                let results: Vec<_> = access.result().into_iter().collect();
                batch
                    .function(&[ValType::I32; 2], &results, |f| access.emit(f, 0, offset, |f| shape.emit(f)));
                cases.push((access, offset, shape.clone()));
            }
        }
        let bytes = batch.finish();
        let (mut inside, mut outside) = (0, 0);
        for config in modes() {
            let (store, module) = compile(&config, &bytes);
            let memory = Filled::new(host_memory(&store, memory64, 1));
            let imports = [Extern::Memory(memory.memory.clone())];
            let instance = Instance::new(&store, &module, &imports).expect("instantiates");
            for ((access, offset, shape), func) in cases.iter().zip(functions(&instance)) {
                for x in ARGUMENTS {
                    for y in ARGUMENTS {
                        let index = shape.eval([x, y]);
                        let what = || format!("{shape:?} of {x:#x}, {y:#x} in {}", mode_name(&config));
                        let args = [Val::I32(x as i32), Val::I32(y as i32)];
                        access.check(&func, &args, &memory, index, *offset, &what);
                        let end = u128::from(index) + u128::from(*offset) + u128::from(access.width);
                        *(if end <= u128::from(PAGE) { &mut inside } else { &mut outside }) += 1;
                    }
                }
            }
            memory.assert_untouched("at the end");
        }
        println!("{} functions: {inside} values, {outside} traps", cases.len());
        assert!(inside > 1000 && outside > 1000);
    }
}

#[test]
fn a_computed_address_reaches_its_own_byte_in_a_full_memory() {
    // In a memory of 4 GiB every address is valid. A wrong one does not trap: it writes elsewhere, and
    // the intended byte stays 0.
    let mut batch = Batch::new(&[any_memory(false)]);
    let shapes = address_shapes(false);
    for shape in &shapes {
        batch.function(&[ValType::I32; 2], &[], |f| {
            shape.emit(f);
            f.instruction(&Instruction::I32Const(0xa5));
            f.instruction(&Instruction::I32Store8(memarg(0, 0)));
        });
    }
    let bytes = batch.finish();
    for config in modes() {
        let (store, module) = compile(&config, &bytes);
        let memory = host_memory(&store, false, 65536);
        let instance =
            Instance::new(&store, &module, &[Extern::Memory(memory.clone())]).expect("instantiates");
        for (shape, func) in shapes.iter().zip(functions(&instance)) {
            for (i, x) in ARGUMENTS.into_iter().enumerate() {
                for y in &ARGUMENTS[i % 3..] {
                    func.call(&[Val::I32(x as i32), Val::I32(*y as i32)]).expect("inside");
                    // SAFETY: the byte is inside the memory.
                    let byte = unsafe { memory.base().add(shape.eval([x, *y]) as usize) };
                    // SAFETY: as above.
                    let found = unsafe { byte.replace(0) };
                    assert_eq!(found, 0xa5, "{shape:?} of {x:#x}, {y:#x} in {}", mode_name(&config));
                }
            }
        }
    }
}

// --- operators fed by a load at the end of memory ---

/// A way to load an operand from memory: the number of bytes it reads, and the instructions to emit
/// after the index is pushed.
type Feed = (u64, &'static [fn(MemArg) -> Instruction<'static>]);

fn feeds(ty: ValType) -> Vec<Feed> {
    use Instruction as I;
    match ty {
        ValType::I32 => vec![
            (4, &[I::I32Load]),
            (1, &[I::I32Load8S]),
            (1, &[I::I32Load8U]),
            (2, &[I::I32Load16U]),
            (4, &[I::F32Load, |_| I::I32ReinterpretF32]),
        ],
        ValType::I64 => vec![
            (8, &[I::I64Load]),
            (1, &[I::I64Load8U]),
            (4, &[I::I64Load32S]),
            (4, &[I::I64Load32U]),
            (8, &[I::F64Load, |_| I::I64ReinterpretF64]),
        ],
        ValType::F32 => vec![(4, &[I::F32Load]), (4, &[I::I32Load, |_| I::F32ReinterpretI32])],
        ValType::F64 => {
            vec![
                (8, &[I::F64Load]),
                (8, &[I::I64Load, |_| I::F64ReinterpretI64]),
                (4, &[I::F32Load, |_| I::F64PromoteF32]),
            ]
        }
        _ => vec![
            (16, &[I::V128Load]),
            (1, &[I::V128Load8Splat]),
            (4, &[I::V128Load32Splat]),
            (8, &[I::V128Load64Splat]),
            (4, &[I::V128Load32Zero]),
            (8, &[I::V128Load64Zero]),
            (8, &[I::V128Load8x8S]),
            (8, &[I::V128Load32x2U]),
            (8, &[I::F64Load, |_| I::F64x2Splat]),
            (4, &[I::F32Load, |_| I::F32x4Splat]),
            (2, &[I::I32Load16U, |_| I::I16x8Splat]),
        ],
    }
}

/// A numeric or vector operator that does not access memory.
struct Operator {
    code: Vec<u8>,
    params: Vec<ValType>,
    results: Vec<ValType>,
}

/// All such operators: every opcode that the validator accepts with some operands.
fn operators() -> Vec<Operator> {
    use ValType::*;
    let types = [I32, I64, F32, F64, V128];
    let mut signatures: Vec<Vec<ValType>> = types.map(|ty| vec![ty]).into();
    signatures.extend(types.map(|ty| vec![ty, ty]));
    signatures.extend([I32, I64, F32, F64].map(|ty| vec![V128, ty]));
    signatures.extend([vec![V128; 3], vec![I64; 4]]);
    let mut results: Vec<Vec<ValType>> = types.map(|ty| vec![ty]).into();
    results.push(vec![I64, I64]);

    // `select`.
    signatures.extend(types.map(|ty| vec![ty, ty, I32]));

    // Each opcode with the immediates it may need: none, sixteen lanes, or one.
    let shuffle: Vec<u8> = (0..16).map(|i| i * 7 % 32).collect();
    let prefixed = |prefix: u8, op: u32| match op {
        0..0x80 => vec![prefix, op as u8],
        _ => vec![prefix, op as u8 & 0x7f | 0x80, (op >> 7) as u8],
    };
    let mut codes: Vec<Vec<u8>> = [0x1b].into_iter().chain(0x45..=0xc4).map(|op| vec![op]).collect();
    codes.extend([0, 1, 2, 3, 4, 5, 6, 7, 0x13, 0x14, 0x15, 0x16].map(|op| prefixed(0xfc, op)));
    // Except loads, stores and v128.const.
    codes.extend((0x0d..=0x53).chain(0x5e..=0x113).map(|op| prefixed(0xfd, op)));

    let engine = Engine::new(&Config::default()).expect("an engine");
    let mut found = Vec::new();
    for code in codes {
        for immediates in [vec![&[][..]], vec![&shuffle[..]], vec![&[0], &[1]]] {
            let before = found.len();
            'immediates: for immediate in immediates {
                let code = [&code[..], immediate].concat();
                for params in &signatures {
                    for results in &results {
                        let mut batch = Batch::new(&[]);
                        batch.function(params, results, |f| apply(f, params, &code));
                        if Module::validate(&engine, &batch.finish()).is_ok() {
                            let (params, results) = (params.clone(), results.clone());
                            found.push(Operator { code: code.clone(), params, results });
                            // Each opcode has one signature, except `select`. (A unary one would also
                            // accept an extra operand below its own.)
                            if code[0] != 0x1b {
                                continue 'immediates;
                            }
                        }
                    }
                }
            }
            if found.len() > before {
                break;
            }
        }
    }
    found
}

fn apply(f: &mut Function, params: &[ValType], code: &[u8]) {
    for i in 0..params.len() {
        f.instruction(&Instruction::LocalGet(i as u32));
    }
    f.raw(code.iter().copied());
}

impl Operator {
    fn name(&self) -> String {
        let reader = wasmparser::BinaryReader::new(&self.code, 0);
        wasmparser::OperatorsReader::new(reader).read().map_or_else(|e| e.to_string(), |op| format!("{op:?}"))
    }
}

/// The results of a call as bits, or its trap code.
fn outcome(result: Result<Vec<Val>, Error>) -> Result<Vec<u128>, TrapCode> {
    match result {
        Ok(values) => Ok(values.iter().map(bits).collect()),
        Err(Error::Trap(trap)) => Err(trap.code),
        Err(other) => panic!("{other:?}"),
    }
}

fn engine_type(ty: ValType) -> engine::ValType {
    use engine::ValType as V;
    match ty {
        ValType::I32 => V::I32,
        ValType::I64 => V::I64,
        ValType::F32 => V::F32,
        ValType::F64 => V::F64,
        _ => V::V128,
    }
}

/// An operand that is not loaded from memory.
fn other_operand(ty: ValType) -> Val {
    let bits = match ty {
        ValType::F32 => 0xbfc0_0000,
        ValType::F64 => 0xc002_0000_0000_0000,
        ValType::V128 => 0x4029_0000_4042_0000_c00b_0000_3f80_0000,
        _ => 3,
    };
    value(engine_type(ty), bits)
}

enum Check {
    /// Operand `at` of the operator comes from this feed. The others are parameters.
    One { at: usize },
    /// All operands with the type of operand 0 come from the feed.
    All,
    /// As `One`, but the index is a constant.
    Constant { at: usize },
}

#[test]
fn every_operator_may_be_fed_by_the_last_bytes_of_memory() {
    let operators = operators();
    // 128 numeric ones, 8 saturating, `select`, 4 of wide arithmetic, 213 on vectors (14 of them are
    // tried on two lanes), and 20 relaxed.
    assert_eq!(operators.len(), 392);
    let types = [ValType::I32, ValType::I64, ValType::F32, ValType::F64, ValType::V128];
    // One page in which every aligned part is an ordinary number of every float type.
    let number = [0x00, 0x00, 0x20, 0x40];

    let mut batch = Batch::new(&[any_memory(false)]);
    let mut feed_functions = Vec::new();
    for ty in types {
        for (width, feed) in feeds(ty) {
            batch.function(&[ValType::I32], &[ty], |f| {
                f.instruction(&Instruction::LocalGet(0));
                for op in feed {
                    f.instruction(&op(memarg(0, 0)));
                }
            });
            feed_functions.push((ty, width));
        }
    }
    for operator in &operators {
        batch.function(&operator.params, &operator.results, |f| apply(f, &operator.params, &operator.code));
    }
    let mut cases = Vec::new();
    for (which, operator) in operators.iter().enumerate() {
        let index = operator.params.len() as u32;
        let mut params = operator.params.clone();
        params.push(ValType::I32);
        let mut case = |check: Check, ty: ValType, nth: usize| {
            let (width, feed) = feeds(ty)[nth];
            batch.function(&params, &operator.results, |f| {
                for (i, param) in operator.params.iter().enumerate() {
                    let (fed, constant) = match check {
                        Check::One { at } => (at == i, false),
                        Check::All => (*param == ty, false),
                        Check::Constant { at } => (at == i, true),
                    };
                    if !fed {
                        f.instruction(&Instruction::LocalGet(i as u32));
                        continue;
                    }
                    let last = Instruction::I32Const((PAGE - width) as i32);
                    f.instruction(&if constant { last } else { Instruction::LocalGet(index) });
                    for op in feed {
                        f.instruction(&op(memarg(0, 0)));
                    }
                }
                f.raw(operator.code.iter().copied());
            });
            cases.push((which, check, ty, nth));
        };
        for (at, ty) in operator.params.iter().enumerate() {
            for nth in 0..feeds(*ty).len() {
                case(Check::One { at }, *ty, nth);
            }
            case(Check::Constant { at }, *ty, 0);
        }
        case(Check::All, operator.params[0], 0);
    }
    let bytes = batch.finish();
    let mut checked = 0;
    for config in modes() {
        let (store, module) = compile(&config, &bytes);
        let memory = host_memory(&store, false, 1);
        for (at, byte) in number.iter().cycle().take(PAGE as usize).enumerate() {
            // SAFETY: the byte is inside the memory.
            unsafe { memory.base().add(at).write(*byte) };
        }
        let instance = Instance::new(&store, &module, &[Extern::Memory(memory)]).expect("instantiates");
        let functions = functions(&instance);
        let (feed_funcs, rest) = functions.split_at(feed_functions.len());
        let (plain, fed) = rest.split_at(operators.len());
        let fed_value = |ty: ValType, nth: usize| {
            let first = feed_functions.iter().position(|(known, _)| *known == ty).expect("it was made");
            let (func, (_, width)) = (&feed_funcs[first + nth], feed_functions[first + nth]);
            let index = PAGE - width;
            (index, func.call(&[Val::I32(index as i32)]).expect("inside").remove(0))
        };
        for ((which, check, ty, nth), func) in cases.iter().zip(fed) {
            let operator = &operators[*which];
            let (index, from_memory) = fed_value(*ty, *nth);
            let mut args: Vec<Val> = operator.params.iter().map(|ty| other_operand(*ty)).collect();
            let mut expected_args = args.clone();
            for (i, param) in operator.params.iter().enumerate() {
                let fed = match check {
                    Check::One { at } | Check::Constant { at } => *at == i,
                    Check::All => param == ty,
                };
                if fed {
                    expected_args[i] = from_memory.clone();
                }
            }
            let expected = outcome(plain[*which].call(&expected_args));
            let what = || format!("{} fed by way {nth} of {ty:?} in {}", operator.name(), mode_name(&config));
            args.push(Val::I32(index as i32));
            assert_eq!(outcome(func.call(&args)), expected, "{}", what());
            if !matches!(check, Check::Constant { .. }) {
                for past in [index + 1, PAGE, u64::from(u32::MAX)] {
                    args.pop();
                    args.push(Val::I32(past as i32));
                    assert_eq!(outcome(func.call(&args)), Err(TrapCode::MemoryOutOfBounds), "{}", what());
                }
            }
            checked += 1;
        }
    }
    println!("{} functions: {checked} checks", cases.len());
}

// --- bulk operators ---

#[test]
fn bulk_operators_trap_before_they_touch_memory() {
    for memory64 in [false, true] {
        let index_ty = index_type(memory64);
        let mut batch = Batch::new(&[any_memory(memory64)]);
        batch.function(&[index_ty; 2], &[], |f| {
            f.instruction(&Instruction::LocalGet(0));
            f.instruction(&Instruction::I32Const(0xa5));
            f.instruction(&Instruction::LocalGet(1));
            f.instruction(&Instruction::MemoryFill(0));
        });
        batch.function(&[index_ty; 3], &[], |f| {
            for i in 0..3 {
                f.instruction(&Instruction::LocalGet(i));
            }
            f.instruction(&Instruction::MemoryCopy { src_mem: 0, dst_mem: 0 });
        });
        let bytes = batch.finish();
        for config in modes() {
            let (store, module) = compile(&config, &bytes);
            for pages in [0, 1] {
                let memory = Filled::new(host_memory(&store, memory64, pages));
                let len = memory.len();
                let imports = [Extern::Memory(memory.memory.clone())];
                let instance = Instance::new(&store, &module, &imports).expect("instantiates");
                let [fill, copy] = &functions(&instance)[..] else { panic!("two functions") };
                let top = if memory64 { u64::MAX } else { u64::from(u32::MAX) };
                let edges = [0, 1, len.saturating_sub(1), len, len + 1, 1 << 31, top - len, top - 1, top];
                let inside = |start: u64, count: u64| start.checked_add(count).is_some_and(|end| end <= len);
                let arg = |v: u64| index_value(memory64, v);
                for to in edges {
                    for count in edges {
                        let what = format!("{to:#x}, {count:#x} of {len:#x} in {}", mode_name(&config));
                        match fill.call(&[arg(to), arg(count)]) {
                            Ok(_) => {
                                assert!(inside(to, count), "{what}");
                                assert_eq!(memory.read(to, count), vec![0xa5; count as usize], "{what}");
                                memory.restore(to..to + count);
                            }
                            Err(e) => {
                                assert!(!inside(to, count), "{what}");
                                assert_eq!(outcome(Err(e)), Err(TrapCode::MemoryOutOfBounds));
                            }
                        }
                        memory.assert_untouched(&what);
                        for from in edges {
                            let good = inside(to, count) && inside(from, count);
                            let expected = good.then(|| memory.read(from, count));
                            let result = copy.call(&[arg(to), arg(from), arg(count)]);
                            assert_eq!(result.is_ok(), good, "from {from:#x} {what}");
                            if let Some(expected) = expected {
                                assert_eq!(memory.read(to, count), expected, "from {from:#x} {what}");
                                memory.restore(to..to + count);
                            }
                        }
                        memory.assert_untouched(&what);
                    }
                }
            }
        }
    }
}
