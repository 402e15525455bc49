//! Modules in files: a file that an earlier process has read is not read again.
//!
//! Used by the code that makes modules. Invariant: what stands for the contents of a file is its state (device,
//! inode, size, times), and only if that would have changed with the contents. The module that is then used is
//! the one in the cache, bytes included, so nothing happens to it if the file is written meanwhile.

use super::Engine;
use super::making::{self, Given};
use super::module::Module;
use crate::bytes::ModuleBytes;
use crate::code::{Cache, now};
use crate::error::CompileError;
use crate::parse;
use crate::pool;
use crate::sys::FileState;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The result of [`Module::start_file`]: `None` if the file cannot be read, or is no ordinary file.
pub type FileResult = Result<Option<Module>, CompileError>;

/// A caller's interest in the module of a file. Dropping it means that the result is no longer needed.
pub struct Reading(Arc<AtomicBool>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Which engine makes a module, by its bytes.
type Choose<'a> = dyn Fn(&[u8]) -> Result<Engine, CompileError> + 'a;

pub fn start(
    engines: Vec<Engine>,
    choose: impl Fn(&[u8]) -> Result<Engine, CompileError> + Send + 'static,
    path: PathBuf,
    use_cache: bool,
    done: impl FnOnce(FileResult) + Send + 'static,
) -> Reading {
    let abandoned = Arc::new(AtomicBool::new(false));
    let flag = abandoned.clone();
    pool::spawn(move || {
        let go_on = || !flag.load(Ordering::Relaxed);
        if go_on() {
            done(make(&engines, &choose, &path, use_cache, &go_on));
        }
    });
    Reading(abandoned)
}

/// `engines` are those that `choose` may choose, the likeliest first: a note says which module a file has, but not who
/// made it.
pub fn make(
    engines: &[Engine],
    choose: &Choose<'_>,
    path: &Path,
    use_cache: bool,
    go_on: &dyn Fn() -> bool,
) -> FileResult {
    let cache = engines.iter().find_map(Engine::cache).filter(|_| use_cache);
    let at = now();
    let Ok((mut file, state)) = open(path) else { return Ok(None) };
    if let Some(hash) = cache.and_then(|cache| cache.module_in(path, &state))
        && let Some((by, module)) = engines.iter().find_map(|by| Some((by, find(by, &hash)?)))
    {
        let chosen = choose(module.bytes())?;
        if chosen.same(by) {
            return Ok(Some(module));
        }
        if let Some(module) = find(&chosen, module.hash()) {
            return Ok(Some(module));
        }
    }
    let Ok((bytes, len)) = read(&mut file, cache) else { return Ok(None) };
    parse::check_len(len)?;
    let engine = choose(&bytes)?;
    let module = making::make(&engine, Given::Own(bytes), use_cache, go_on)?;
    // Whoever wrote the file while it was read has changed its state.
    let unchanged = FileState::of(&file).is_ok_and(|now| now == state);
    if let Some(cache) = cache.filter(|_| unchanged && module.may_be_kept()) {
        cache.note_module(path, &state, at, module.hash());
    }
    Ok(Some(module))
}

/// The module with this hash, if it need not be read and validated.
fn find(engine: &Engine, hash: &[u8; 32]) -> Option<Module> {
    engine.modules().made(hash).or_else(|| Module::cached(engine, hash))
}

fn open(path: &Path) -> io::Result<(File, FileState)> {
    let file = crate::sys::open_without_waiting(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let state = FileState::of(&file)?;
    Ok((file, state))
}

/// The bytes of a file, and how many there are. Of too many for a module none are read.
fn read(file: &mut File, cache: Option<&Cache>) -> io::Result<(ModuleBytes, u64)> {
    let len = file.metadata()?.len();
    let wanted = if parse::check_len(len).is_ok() { len as usize } else { 0 };
    // The kernel copies them.
    let copy = |to: &mut File| io::copy(&mut (&*file).take(wanted as u64), to);
    if let Some(bytes) = cache.and_then(|cache| cache.file_for(wanted, copy)) {
        return Ok((bytes, len));
    }
    file.rewind()?;
    Ok((ModuleBytes::read(file, wanted)?, len))
}
