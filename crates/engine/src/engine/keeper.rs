//! Keeps what is made of a module for later processes, in the cache.
//!
//! Used by `Module` and by `lazy.rs`. Until a module is complete, the cache has three files for it. One has the module
//! itself, in the form of an artifact without code: it says that the module is valid, and a later process reads and
//! validates nothing. Two have functions that are compiled, and grow: those that were called, with which a later process
//! begins, and others, which it needs when it makes all of them. The complete artifact takes the place of these files.
//! Invariant: whoever keeps has validated the module, and its hash is that in the key.

use super::Engine;
use super::module::image_of;
use crate::bytes::ModuleBytes;
use crate::code::{Artifact, Attached, Cache, Key, Piece, Pieces};
use crate::parse::info::ModuleInfo;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The place of one module in the cache, if there is a cache.
pub struct Keeper {
    cache: Option<Cache>,
    /// The key of the complete artifact.
    pub key: Key,
    pub info: Arc<ModuleInfo>,
    pub bytes: ModuleBytes,
    /// Whether the cache has the module, with or without code.
    is_begun: AtomicBool,
    /// Whether it was tried to give it to the cache.
    is_tried: AtomicBool,
    /// Whether what is kept next takes the place of a file: of others, and of functions that were called.
    replaces: [AtomicBool; 2],
}

/// The key of the artifact without code.
fn begun_key(key: &Key) -> Key {
    let settings = *blake3::hash(&[&b"begun "[..], &key.settings].concat()).as_bytes();
    Key { settings, ..*key }
}

impl Keeper {
    /// `is_begun` says that the module comes from [`Keeper::find`].
    pub fn new(
        engine: &Engine,
        cache: Option<&Cache>,
        info: Arc<ModuleInfo>,
        bytes: ModuleBytes,
        hash: &[u8; 32],
        is_begun: bool,
    ) -> Keeper {
        let is_begun = AtomicBool::new(is_begun);
        Keeper {
            cache: cache.cloned(),
            key: engine.key(hash),
            info,
            bytes,
            is_begun,
            is_tried: AtomicBool::new(false),
            replaces: Default::default(),
        }
    }

    /// The module with this hash without code, and its file, if an earlier process has kept it.
    pub fn find(engine: &Engine, hash: &[u8; 32]) -> Option<(Artifact, File)> {
        engine.cache()?.load(&begun_key(&engine.key(hash)), false)
    }

    /// The functions that earlier processes have compiled: those that were called, or others. If their file cannot grow,
    /// they should be given to [`Keeper::keep`] with the first others.
    pub fn pieces(&self, called: bool) -> Pieces {
        let pieces = self.cache.as_ref().map(|cache| cache.load_pieces(&self.key, called));
        let pieces = pieces.unwrap_or_default();
        self.replaces[usize::from(called)].store(!pieces.can_grow(), Ordering::Relaxed);
        pieces
    }

    /// Keeps these functions, too.
    pub fn keep(&self, called: bool, pieces: &[Piece]) {
        let Some(cache) = &self.cache else { return };
        if pieces.is_empty() {
            return;
        }
        if self.replaces[usize::from(called)].swap(false, Ordering::Relaxed) {
            cache.replace_pieces(&self.key, called, pieces);
        } else {
            cache.add_pieces(&self.key, called, pieces);
        }
    }

    /// Keeps the module without code, unless the cache has it. This takes as long as it takes to write the module.
    pub fn begin(&self) {
        if let Some(cache) = &self.cache
            && !self.is_begun.load(Ordering::Relaxed)
            && !self.is_tried.swap(true, Ordering::Relaxed)
            && let Ok(empty) = Artifact::empty(begun_key(&self.key))
        {
            // Without it, a later process validates the module again.
            let stored = store(cache, &empty, &self.info, &self.bytes);
            self.is_begun.fetch_or(stored, Ordering::Relaxed);
        }
    }

    /// Whether the cache has the module, or [`Keeper::begin`] can give it to it.
    pub fn can_begin(&self) -> bool {
        let can = || self.cache.as_ref().is_some_and(|cache| cache.takes(self.bytes.len()));
        self.is_begun.load(Ordering::Relaxed) || !self.is_tried.load(Ordering::Relaxed) && can()
    }

    /// Keeps everything.
    pub fn keep_whole(&self, artifact: &Artifact) {
        let Some(cache) = &self.cache else { return };
        if store(cache, artifact, &self.info, &self.bytes) {
            self.is_begun.store(true, Ordering::Relaxed);
            cache.remove(&begun_key(&self.key));
        }
    }
}

/// Stores an artifact with what belongs to its module.
pub fn store(cache: &Cache, artifact: &Artifact, info: &ModuleInfo, bytes: &ModuleBytes) -> bool {
    cache.store(artifact, &Attached { image: &image_of(info, bytes), module: bytes })
}
