//! What is in the cache, for people who look at it.
//!
//! Used by embedders. Invariant: nothing here decides what runs, and nothing is changed by looking.

use super::cache::{CALLED, Cache, EXTENSION, NOTE, OTHERS, digest_of_path_bytes};
use super::{artifact, notes, pieces};
use crate::sys;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

/// What is kept of one module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The hash of the module.
    pub module: [u8; 32],
    /// The files that it was found in.
    pub paths: Vec<String>,
    /// The size of what is kept.
    pub bytes: u64,
    pub used: SystemTime,
    /// Whether there are pieces of it: a process ended before all of it was compiled.
    pub is_begun: bool,
}

impl Cache {
    /// The modules in the cache, the most recently used first. Files that another process removes meanwhile, or that
    /// are damaged, are left out.
    pub fn modules(&self) -> Vec<Kept> {
        if sys::check_private_directory(&self.directory).is_err() {
            return Vec::new();
        }
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let mut found: BTreeMap<[u8; 32], Kept> = BTreeMap::new();
        let mut paths: Vec<([u8; 32], String)> = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(metadata) = entry.metadata() else { continue };
            let Ok(used) = metadata.modified() else { continue };
            let Some(extension) = path.extension() else { continue };
            let is_note = extension == NOTE;
            let is_piece = extension == CALLED || extension == OTHERS;
            let module = if extension == EXTENSION || is_piece {
                module_of(&path)
            } else if is_note {
                let told = notes::tell(&path);
                if let Some(told) = &told
                    && digest_of_path_bytes(&told.about) == told.subject
                {
                    paths.push((told.module, String::from_utf8_lossy(&told.about).into_owned()));
                }
                told.map(|told| told.module)
            } else {
                None
            };
            let Some(module) = module else { continue };
            let new = Kept { module, paths: Vec::new(), bytes: 0, used, is_begun: false };
            let kept = found.entry(module).or_insert(new);
            kept.bytes += if is_note { 0 } else { metadata.len() };
            kept.used = kept.used.max(used);
            kept.is_begun |= is_piece;
        }
        for (module, path) in paths {
            if let Some(kept) = found.get_mut(&module) {
                kept.paths.push(path);
            }
        }
        // A note may be about a module that has gone.
        let mut modules: Vec<Kept> = found.into_values().filter(|kept| kept.bytes > 0).collect();
        modules.iter_mut().for_each(|kept| kept.paths.sort());
        modules.sort_by_key(|kept| std::cmp::Reverse(kept.used));
        modules
    }
}

/// The hash of the module whose code or pieces are in a file.
fn module_of(path: &Path) -> Option<[u8; 32]> {
    let (mut file, _) = sys::open_private_file(path).ok()?;
    let mut begin = [0; artifact::BEGIN];
    file.read_exact(&mut begin).ok()?;
    let (magic, key) = artifact::begin(&begin);
    [artifact::MAGIC, pieces::MAGIC].contains(&magic).then_some(key.module)
}
