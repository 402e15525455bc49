//! Arguments and environment.

use super::BuildError;

/// Strings as `args_get` and `environ_get` deliver them: one block, each
/// string ended by NUL.
pub struct StringTable {
    pub block: Vec<u8>,
    /// Where each string starts in the block.
    pub starts: Vec<u32>,
}

impl StringTable {
    pub fn new(what: &'static str, strings: Vec<Vec<u8>>, limit: usize) -> Result<StringTable, BuildError> {
        let mut table = StringTable { block: Vec::new(), starts: Vec::new() };
        for string in strings {
            if string.contains(&0) {
                return Err(BuildError::Nul { what });
            }
            // The limit keeps sizes within what a guest's `u32` holds.
            let limit = limit.min(u32::MAX as usize / 2);
            if table.block.len() + string.len() >= limit {
                return Err(BuildError::TooLong { what, limit });
            }
            table.starts.push(table.block.len() as u32);
            table.block.extend_from_slice(&string);
            table.block.push(0);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use crate::{BuildError, WasiCtx};

    #[test]
    fn strings_are_checked() {
        let args = vec![b"a\0b".to_vec()];
        assert!(matches!(WasiCtx::builder().args(args).build(), Err(BuildError::Nul { .. })));
        let env = vec![(b"X".to_vec(), vec![b'y'; 3 << 20])];
        assert!(matches!(WasiCtx::builder().env(env).build(), Err(BuildError::TooLong { .. })));
    }
}
