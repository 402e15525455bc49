//! The trap codes of the engine and their Cranelift counterparts.

use cranelift_codegen::ir;

macro_rules! trap_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $message:literal;)*) => {
        /// Why guest code trapped.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum TrapCode {
            $($(#[$doc])* $name = $number,)*
        }

        impl TrapCode {
            /// The specification's text for the trap.
            pub fn message(self) -> &'static str {
                match self { $(TrapCode::$name => $message,)* }
            }

            /// The code for a number obtained with `self as u8`.
            pub fn from_u8(number: u8) -> Option<TrapCode> {
                match number { $($number => Some(TrapCode::$name),)* _ => None }
            }
        }
    };
}

trap_codes! {
    Unreachable = 1, "unreachable";
    MemoryOutOfBounds = 2, "out of bounds memory access";
    TableOutOfBounds = 3, "out of bounds table access";
    /// `call_indirect` with an index past the table's end.
    UndefinedElement = 4, "undefined element";
    /// `call_indirect` of a null element.
    UninitializedElement = 5, "uninitialized element";
    IndirectCallTypeMismatch = 6, "indirect call type mismatch";
    IntegerDivideByZero = 7, "integer divide by zero";
    IntegerOverflow = 8, "integer overflow";
    InvalidConversionToInteger = 9, "invalid conversion to integer";
    StackExhausted = 10, "call stack exhausted";
    NullReference = 11, "null reference";
    NullFunctionReference = 12, "null function reference";
    NullException = 16, "null exception reference";
    UnalignedAtomic = 13, "unaligned atomic";
    /// `memory.atomic.wait` on a memory that is not shared.
    ExpectedSharedMemory = 14, "expected shared memory";
    /// The host asked the guest to stop.
    Interrupted = 15, "interrupted";
    /// The guest has used up the fuel set with `Store::set_fuel`.
    OutOfFuel = 17, "all fuel consumed";
}

impl TrapCode {
    /// The code in Cranelift's form.
    pub fn to_clif(self) -> ir::TrapCode {
        match self {
            TrapCode::StackExhausted => ir::TrapCode::STACK_OVERFLOW,
            TrapCode::IntegerOverflow => ir::TrapCode::INTEGER_OVERFLOW,
            TrapCode::MemoryOutOfBounds => ir::TrapCode::HEAP_OUT_OF_BOUNDS,
            TrapCode::IntegerDivideByZero => ir::TrapCode::INTEGER_DIVISION_BY_ZERO,
            TrapCode::InvalidConversionToInteger => ir::TrapCode::BAD_CONVERSION_TO_INTEGER,
            other => ir::TrapCode::unwrap_user(other as u8),
        }
    }

    /// The engine's code for a code from Cranelift.
    pub fn from_clif(code: ir::TrapCode) -> Option<TrapCode> {
        Some(match code {
            ir::TrapCode::STACK_OVERFLOW => TrapCode::StackExhausted,
            ir::TrapCode::INTEGER_OVERFLOW => TrapCode::IntegerOverflow,
            ir::TrapCode::HEAP_OUT_OF_BOUNDS => TrapCode::MemoryOutOfBounds,
            ir::TrapCode::INTEGER_DIVISION_BY_ZERO => TrapCode::IntegerDivideByZero,
            ir::TrapCode::BAD_CONVERSION_TO_INTEGER => TrapCode::InvalidConversionToInteger,
            user => return TrapCode::from_u8(user.as_raw().get()),
        })
    }
}
