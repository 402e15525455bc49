//! Validates function bodies.
//!
//! Used by the parser. Invariant: a body without an error here is valid in its module and has no operator that the
//! engine lacks.

use super::info::{DefinedFuncIndex, ModuleInfo};
use super::unsupported;
use crate::error::CompileError;
use crate::pool::{self, Stop};
use cranelift_entity::EntityRef;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmparser::{
    BinaryReader, FuncToValidate, FuncValidatorAllocations, FunctionBody, ValidatorResources, WasmFeatures,
};

/// What the bodies of a module are validated against.
pub struct BodyValidator {
    resources: ValidatorResources,
    features: WasmFeatures,
}

impl BodyValidator {
    /// The validator of all bodies in the module of this one.
    pub fn of(body: FuncToValidate<ValidatorResources>) -> BodyValidator {
        BodyValidator { resources: body.resources, features: body.features }
    }

    /// Validates one body. `info` is that of the module with the binary `bytes`.
    fn validate(
        &self,
        info: &ModuleInfo,
        bytes: &[u8],
        index: DefinedFuncIndex,
        allocations: &mut FuncValidatorAllocations,
    ) -> Result<(), CompileError> {
        let range = info.bodies[index].clone();
        let func = info.func_index(index);
        let to_validate = FuncToValidate {
            resources: self.resources.clone(),
            index: func.as_u32(),
            ty: info.functions[func].ty.as_u32(),
            features: self.features,
        };
        let mut validator = to_validate.into_validator(std::mem::take(allocations));
        let body = FunctionBody::new(BinaryReader::new(&bytes[range.clone()], range.start as u64));
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        reader.set_features(self.features);
        let mut of_gc = None;
        while !reader.eof() {
            let at = reader.original_position();
            if is_of_gc(bytes[at as usize]) {
                of_gc.get_or_insert(at);
            }
            reader.visit_operator(&mut validator.visitor(at))??;
        }
        reader.finish_expression(&validator.visitor(reader.original_position()))?;
        *allocations = validator.into_allocations();
        match of_gc {
            Some(at) => Err(unsupported("the operators of the gc proposal").or_at(at)),
            None => Ok(()),
        }
    }

    /// Validates all bodies on up to `threads` threads. Among several errors the first by byte offset is returned, for
    /// any number of threads.
    pub fn validate_all(
        &self,
        info: &ModuleInfo,
        bytes: &[u8],
        threads: usize,
        stop: &Stop<'_>,
    ) -> Result<(), CompileError> {
        // Below this many bodies a thread costs more than it saves.
        const WORTH_A_THREAD: usize = 256;
        let threads = threads.min(info.bodies.len() / WORTH_A_THREAD).max(1);
        let next = AtomicUsize::new(0);
        let first_error: Mutex<Option<CompileError>> = Mutex::new(None);
        let flag = stop.flag;
        let work = |stopped: &dyn Fn() -> bool| {
            let mut allocations = FuncValidatorAllocations::default();
            while !stopped() {
                let index = DefinedFuncIndex::new(next.fetch_add(1, Ordering::Relaxed));
                if !info.bodies.is_valid(index) {
                    break;
                }
                if let Err(error) = self.validate(info, bytes, index, &mut allocations) {
                    let mut first = first_error.lock().unwrap_or_else(|e| e.into_inner());
                    if first.as_ref().is_none_or(|known| error.offset < known.offset) {
                        *first = Some(error);
                    }
                }
            }
        };
        pool::together(threads - 1, &|| work(&|| flag.load(Ordering::Relaxed)), || work(&|| stop.is_set()));
        if flag.load(Ordering::Relaxed) {
            return Err(Stop::error());
        }
        match first_error.into_inner().unwrap_or_else(|e| e.into_inner()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Whether an operator that begins with this byte is one of the gc proposal, of whose types only those for functions
/// are supported.
fn is_of_gc(byte: u8) -> bool {
    // They all have this prefix, or compare values that only they can create.
    const PREFIX: u8 = 0xfb;
    const REF_EQ: u8 = 0xd3;
    matches!(byte, PREFIX | REF_EQ)
}
