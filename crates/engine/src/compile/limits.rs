//! How large a function may become on its way to machine code.
//!
//! Used by the translator and `driver.rs`. The validator bounds the bytes of a body, but what Cranelift
//! makes of them may be a thousand times as much. Invariant: a function within these limits takes
//! at most about 2 GiB while it is compiled, and no stack that grows with it; one beyond them is
//! a `CompileError`.

/// Instructions of Cranelift's IR, at up to a kilobyte each in register allocation.
pub const INSTRUCTIONS: usize = 2_000_000;

/// Results and block parameters. Each local that changes in a loop is one at every loop around.
pub const VALUES: usize = 4_000_000;

/// Room for the lists of operands of calls and branches.
pub const LISTED_VALUES: usize = 16_000_000;

/// Constructs inside each other. Branches out of empty ones are resolved one by one, in time
/// quadratic in the depth; at a million Cranelift panics.
pub const NESTING: usize = 50_000;

/// Locals times the blocks that know a value of them.
pub const LOCAL_DEFINITIONS: usize = 128_000_000;

/// Results and block parameters of the largest function whose registers are allocated with care,
/// in time that may be quadratic. Functions of real programs stay far below.
pub const CAREFULLY_ALLOCATED: usize = 300_000;

/// Blocks of the largest such function. A variable that changes in each of them lives in as many
/// pieces, all of which are looked through whenever one finds no register, and the optimiser looks
/// through all blocks around. The interpreter loop of CRuby has 13,000.
pub const CAREFULLY_ALLOCATED_BLOCKS: usize = 16_384;
