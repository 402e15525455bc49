//! Which proposals a module makes use of.
//!
//! Used by `Module::features`. A proposal is used if the module is not valid without it, so what needs another
//! proposal counts for both.

use super::FEATURES;
use wasmparser::{Validator, WasmFeatures};

/// The proposals without which a valid module is not valid, by wasmparser's names in lower case.
pub fn used(bytes: &[u8]) -> Vec<String> {
    let is_valid_without = |feature: WasmFeatures| {
        let mut validator = Validator::new_with_features(FEATURES.difference(feature));
        validator.validate_all(bytes).is_ok()
    };
    let all = FEATURES.iter_names().filter(|(_, feature)| !is_valid_without(*feature));
    all.map(|(name, _)| name.to_lowercase().replace('_', "-")).collect()
}
