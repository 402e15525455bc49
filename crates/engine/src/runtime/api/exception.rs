//! Exceptions and their values, as the embedder holds them.

use super::value::Val;
use crate::runtime::vm::exception::{Exception, Tag};
use crate::runtime::vm::group::Group;
use crate::runtime::vm::store::Store;
use crate::runtime::vm::traps::Error;

impl Exception {
    /// A new exception with a value for each of the tag's parameters.
    pub fn new(store: &Store, tag: &Tag, values: &[Val]) -> Result<Exception, Error> {
        let ty = tag.ty();
        let params = &ty.ty().params;
        let fits =
            values.len() == params.len() && values.iter().zip(params).all(|(value, ty)| value.is_a(*ty));
        if !fits {
            return Err(Error::Internal(format!("{values:?} are no values for a tag of {}", ty.ty())));
        }
        let group = tag.group().cloned().unwrap_or_else(|| Group::new(store));
        for value in values {
            if let Val::Func(Some(func)) = value {
                func.make_callable()?;
                group.join(func.group());
            }
        }
        let raw = values.iter().map(Val::to_raw).collect();
        store.new_exception(tag.as_ptr(), ty, raw, &group, store.budget())
    }

    /// The values it carries.
    pub fn values(&self) -> Vec<Val> {
        // SAFETY: the values live as long as the exception, which our handle keeps alive.
        self.raw_values().map(|(raw, ty)| unsafe { Val::from_raw(&self.store, raw, ty) }).collect()
    }
}

impl std::fmt::Debug for Exception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Exception{:?}", self.values())
    }
}
