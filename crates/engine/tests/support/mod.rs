//! Shared by the engine's tests: every way to compile and run, values as bits, and a small
//! random number generator.

// Each test file uses only a part.
#![allow(dead_code)]

use engine::*;

/// Every way to compile and run: {signals, explicit} x {reserved, bounded} x {speed, none, speed with functions
/// that are compiled at their first call and replaced later}.
pub fn modes() -> Vec<Config> {
    let mut modes = Vec::new();
    let ways =
        [(OptLevel::Speed, Tiers::Eager), (OptLevel::None, Tiers::Eager), (OptLevel::Speed, Tiers::Stepped)];
    for (opt_level, tiers) in ways {
        for trap_mode in [TrapMode::Signals, TrapMode::Explicit] {
            for memory in [MemoryStyle::Reserved, MemoryStyle::Bounded] {
                modes.push(Config {
                    trap_mode,
                    memory: Some(memory),
                    opt_level,
                    tiers,
                    threads: 1,
                    ..Config::default()
                });
            }
        }
    }
    modes
}

pub fn mode_name(config: &Config) -> String {
    format!("{:?}/{:?}/{:?}/{:?}", config.trap_mode, config.memory, config.opt_level, config.tiers)
}

/// The bits of a number or vector, zero-extended.
pub fn bits(value: &Val) -> u128 {
    match *value {
        Val::I32(v) => u128::from(v as u32),
        Val::I64(v) => u128::from(v as u64),
        Val::F32(v) => u128::from(v),
        Val::F64(v) => u128::from(v),
        Val::V128(v) => v,
        ref other => panic!("{other:?} has no bits"),
    }
}

/// A value of a number or vector type from its low bits.
pub fn value(ty: ValType, bits: u128) -> Val {
    match ty {
        ValType::I32 => Val::I32(bits as i32),
        ValType::I64 => Val::I64(bits as i64),
        ValType::F32 => Val::F32(bits as u32),
        ValType::F64 => Val::F64(bits as u64),
        ValType::V128 => Val::V128(bits),
        other => panic!("{other} has no bits"),
    }
}

/// Hashes a number (the finaliser of splitmix64).
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A generator with the same numbers for the same seed, on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}
