//! How large a function may become during compilation.
//!
//! Used by the translator and `driver.rs`. The validator limits the bytes of a body, but Cranelift's data for
//! it may be a thousand times as large. Invariant: compiling a function within these limits takes at most
//! about 2 GiB, and its stack use does not grow with the function. A function above them is a `CompileError`.

/// Instructions of Cranelift IR. Each takes up to a kilobyte in register allocation.
pub const INSTRUCTIONS: usize = 2_000_000;

/// Results and block parameters. Each local that changes in a loop is one in every enclosing loop.
pub const VALUES: usize = 4_000_000;

/// Size of the operand lists of calls and branches.
pub const LISTED_VALUES: usize = 16_000_000;

/// Nested constructs. Branches out of empty ones are resolved one by one, in time quadratic in the depth. At
/// a depth of a million Cranelift panics.
pub const NESTING: usize = 50_000;

/// Locals times the blocks that know a value of them.
pub const LOCAL_DEFINITIONS: usize = 128_000_000;

/// Results and block parameters of the largest function that gets the better register allocator, whose time
/// may be quadratic. Functions of real programs are far smaller.
pub const CAREFULLY_ALLOCATED: usize = 300_000;

/// Blocks of the largest such function. A variable that changes in each block has as many live ranges, and
/// all of them are searched whenever one gets no register. The optimiser searches all surrounding blocks. The
/// interpreter loop of CRuby has 13,000 blocks.
pub const CAREFULLY_ALLOCATED_BLOCKS: usize = 16_384;

/// Bytes of the largest function whose small loops are unrolled. Larger ones are near the limits above.
pub const UNROLLED: usize = 32 << 10;
