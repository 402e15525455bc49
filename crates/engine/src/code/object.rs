//! Machine code that is ready to run: an artifact that is registered by address, with the types of this
//! process.
//!
//! Made by the code that makes modules. The machine code is freed with the `CodeObject`.

use super::artifact::Artifact;
use super::registry::{CodeInfo, Registration};
use crate::bytes::ModuleBytes;
use crate::compile::TrampolineKind;
use crate::debug::DebugInfo;
use crate::parse::info::{DefinedFuncIndex, ModuleInfo, TypeIndex};
use crate::types::TypeId;
use cranelift_entity::EntityRef;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

/// The machine code of a module, ready to run.
pub struct CodeObject {
    registration: Registration,
    entries: Addresses,
    hosts: Addresses,
    natives: Addresses,
}

/// Trampolines by function type.
type Addresses = HashMap<TypeId, usize>;

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

    fn with_types(
        artifact: Artifact,
        module: Arc<ModuleInfo>,
        bytes: ModuleBytes,
        id: &dyn Fn(u32) -> Option<TypeId>,
    ) -> CodeObject {
        let start = artifact.text().as_ptr() as usize;
        let trampolines = |kind: TrampolineKind| -> Addresses {
            let all = artifact.trampolines().iter().filter(|trampoline| trampoline.kind == kind as u32);
            let address = |function: u32| {
                artifact.functions().get(function as usize).map(|place| start + *place as usize)
            };
            all.filter_map(|trampoline| Some((id(trampoline.ty)?, address(trampoline.function)?))).collect()
        };
        let [entries, hosts, natives] =
            [TrampolineKind::Entry, TrampolineKind::Host, TrampolineKind::Native].map(trampolines);
        let debug = Arc::new(DebugInfo::new(module.clone(), bytes.clone()));
        let info = CodeInfo { artifact, module, bytes, debug };
        CodeObject { registration: Registration::new(info), entries, hosts, natives }
    }

    pub fn artifact(&self) -> &Artifact {
        &self.registration.info().artifact
    }

    /// The code of a function of the module.
    pub fn function(&self, index: DefinedFuncIndex) -> *const c_void {
        let artifact = self.artifact();
        artifact.text()[artifact.functions()[index.index()] as usize..].as_ptr().cast()
    }

    /// The entry trampoline of a type, if the module has one: see `VMEntry`.
    pub fn entry(&self, ty: TypeId) -> Option<*const c_void> {
        self.entries.get(&ty).map(|address| *address as *const c_void)
    }

    /// The exit trampoline to a host function of this type.
    pub fn host(&self, ty: TypeId) -> Option<*const c_void> {
        self.hosts.get(&ty).map(|address| *address as *const c_void)
    }

    /// The exit trampoline to a typed native host function of this type.
    pub fn native(&self, ty: TypeId) -> Option<*const c_void> {
        self.natives.get(&ty).map(|address| *address as *const c_void)
    }

    /// Bytes of machine code, trampolines included.
    pub fn len(&self) -> usize {
        self.artifact().text().len()
    }
}

const _: () = {
    // A module's code is used from every thread that has an instance of it.
    const fn shared<T: Send + Sync>() {}
    shared::<CodeObject>();
};
