//! Machine code that is ready to run: an artifact, or code that is made later, registered by address, with the
//! types of this process.
//!
//! Made by the code that makes modules. The machine code is freed with the `CodeObject`.

use super::artifact::Artifact;
use super::lazy::LazyCode;
use super::registry::{Code, CodeInfo, Registration};
use crate::bytes::ModuleBytes;
use crate::compile::{TrampolineKind, TypeTrampoline};
use crate::debug::{DebugInfo, perf};
use crate::parse::info::{DefinedFuncIndex, ModuleInfo, TypeIndex};
use crate::types::TypeId;
use cranelift_entity::EntityRef;
use rustc_hash::FxHashMap;
use std::ffi::c_void;
use std::sync::Arc;

/// The machine code of a module, ready to run.
pub struct CodeObject {
    registration: Registration,
    addresses: Addresses,
}

/// The addresses of trampolines, by kind and function type.
struct Addresses([FxHashMap<TypeId, usize>; 3]);

impl Addresses {
    /// `id` gives the process's number of a type, `address` the address of a function.
    fn of(
        trampolines: &[TypeTrampoline],
        id: &dyn Fn(u32) -> Option<TypeId>,
        address: &dyn Fn(u32) -> Option<usize>,
    ) -> Addresses {
        let kinds = [TrampolineKind::Entry, TrampolineKind::Host, TrampolineKind::Native];
        Addresses(kinds.map(|kind| {
            let all = trampolines.iter().filter(|trampoline| trampoline.kind == kind as u32);
            all.filter_map(|trampoline| Some((id(trampoline.ty)?, address(trampoline.function)?))).collect()
        }))
    }

    fn get(&self, kind: TrampolineKind, ty: TypeId) -> Option<*const c_void> {
        self.0[kind as usize].get(&ty).map(|address| *address as *const c_void)
    }
}

impl CodeObject {
    /// For the module of the artifact.
    pub fn new(artifact: Artifact, module: Arc<ModuleInfo>, bytes: ModuleBytes) -> CodeObject {
        let ids = module.clone();
        let id = |ty: u32| ids.types.get(TypeIndex::new(ty as usize)).map(|ty| ty.id());
        CodeObject::with_types(artifact, module, bytes, &id)
    }

    /// For an artifact that has only trampolines, all for one type.
    pub fn of_trampolines(artifact: Artifact, id: TypeId) -> CodeObject {
        CodeObject::with_types(artifact, Arc::default(), ModuleBytes::default(), &|_| Some(id))
    }

    /// For a module whose functions are compiled later.
    pub fn lazy(
        code: Arc<LazyCode>,
        trampolines: &[TypeTrampoline],
        module: Arc<ModuleInfo>,
        bytes: ModuleBytes,
    ) -> CodeObject {
        let id = |ty: u32| module.types.get(TypeIndex::new(ty as usize)).map(|ty| ty.id());
        let addresses = Addresses::of(trampolines, &id, &|function| code.trampoline(function));
        CodeObject::register(Code::Lazy(code), addresses, module.clone(), bytes)
    }

    fn with_types(
        artifact: Artifact,
        module: Arc<ModuleInfo>,
        bytes: ModuleBytes,
        id: &dyn Fn(u32) -> Option<TypeId>,
    ) -> CodeObject {
        let start = artifact.text().as_ptr() as usize;
        let addresses = Addresses::of(artifact.trampolines(), id, &|function| {
            artifact.functions().get(function as usize).map(|place| start + *place as usize)
        });
        CodeObject::register(Code::Artifact(Box::new(artifact)), addresses, module, bytes)
    }

    fn register(code: Code, addresses: Addresses, module: Arc<ModuleInfo>, bytes: ModuleBytes) -> CodeObject {
        if perf::is_logged() {
            log(&code, &module, &bytes);
        }
        let debug = Arc::new(DebugInfo::new(module.clone(), bytes.clone()));
        let info = CodeInfo { code, module, bytes, debug };
        CodeObject { registration: Registration::new(info), addresses }
    }

    /// The artifact, unless functions are compiled later.
    pub fn artifact(&self) -> Option<&Artifact> {
        match &self.registration.info().code {
            Code::Artifact(artifact) => Some(&**artifact),
            Code::Lazy(_) => None,
        }
    }

    /// The code of a function of the module.
    pub fn function(&self, index: DefinedFuncIndex) -> *const c_void {
        match &self.registration.info().code {
            Code::Artifact(artifact) => {
                artifact.text()[artifact.functions()[index.index()] as usize..].as_ptr().cast()
            }
            Code::Lazy(code) => code.function(index),
        }
    }

    /// The entry trampoline of a type, if the module has one: see `VMEntry`.
    pub fn entry(&self, ty: TypeId) -> Option<*const c_void> {
        self.addresses.get(TrampolineKind::Entry, ty)
    }

    /// The exit trampoline to a host function of this type.
    pub fn host(&self, ty: TypeId) -> Option<*const c_void> {
        self.addresses.get(TrampolineKind::Host, ty)
    }

    /// The exit trampoline to a typed native host function of this type.
    pub fn native(&self, ty: TypeId) -> Option<*const c_void> {
        self.addresses.get(TrampolineKind::Native, ty)
    }

    /// Bytes of machine code, trampolines included.
    pub fn len(&self) -> usize {
        match &self.registration.info().code {
            Code::Artifact(artifact) => artifact.text().len(),
            Code::Lazy(code) => code.len(),
        }
    }
}

/// Tells `perf` of the functions that there are, and of those that come.
fn log(code: &Code, module: &Arc<ModuleInfo>, bytes: &ModuleBytes) {
    fn logged<'a>(
        module: &ModuleInfo,
        bytes: &[u8],
        index: DefinedFuncIndex,
        code: &'a [u8],
    ) -> perf::Logged<'a> {
        let index = module.func_index(index);
        perf::Logged { code, name: module.function_name(bytes, index), index: index.as_u32() }
    }
    match code {
        Code::Artifact(artifact) => {
            let (text, starts) = (artifact.text(), artifact.functions());
            let ends = starts.iter().skip(1).copied().chain([text.len() as u32]);
            let bodies = (0..module.num_bodies()).zip(starts.iter().zip(ends));
            perf::log(bodies.filter_map(|(index, (start, end))| {
                let code = text.get(*start as usize..end as usize)?;
                Some(logged(module, bytes, DefinedFuncIndex::new(index), code))
            }));
        }
        Code::Lazy(code) => {
            let (module, bytes) = (module.clone(), bytes.clone());
            code.watch(Box::new(move |index, code| {
                perf::log([logged(&module, &bytes, index, code)].into_iter())
            }));
        }
    }
}

const _: () = {
    // A module's code is used from every thread that has an instance of it.
    const fn shared<T: Send + Sync>() {}
    shared::<CodeObject>();
};
