//! File systems in memory, behind `MemoryFS`.
//!
//! For the face, through Node-API. What goes wrong becomes an error whose `code` is the name of the errno,
//! as in `node:fs`.

use super::buffers::copied;
use super::failure::{Failure, Kind, run};
use super::realm::Realm;
use napi::bindgen_prelude::{Env, External, Uint8Array, Unknown};
use napi_derive::napi;
use std::rc::Rc;
use wasi::{Errno, MemoryFs};

/// The face has checked that `quota` is a safe integer and not negative.
#[napi(catch_unwind)]
pub fn memory_fs(quota: f64) -> External<MemoryFs> {
    External::new(MemoryFs::new(quota as u64))
}

#[napi(catch_unwind)]
pub fn memory_fs_read<'env>(
    env: &'env Env,
    realm: &External<Rc<Realm>>,
    fs: &External<MemoryFs>,
    path: String,
) -> napi::Result<Unknown<'env>> {
    let bytes = run(realm, || fs.read_file(&path).map_err(failed("readFile", &path)))?;
    copied(env, realm, &bytes)
}

#[napi(catch_unwind)]
pub fn memory_fs_write(
    realm: &External<Rc<Realm>>,
    fs: &External<MemoryFs>,
    path: String,
    bytes: Uint8Array,
) -> napi::Result<()> {
    run(realm, || {
        // Such a path means a directory, as in the answer of `paths()`.
        let written = if path.ends_with('/') { Err(Errno::Isdir) } else { fs.set_file(&path, &bytes) };
        written.map_err(failed("writeFile", &path))
    })
}

#[napi(catch_unwind)]
pub fn memory_fs_remove(
    realm: &External<Rc<Realm>>,
    fs: &External<MemoryFs>,
    path: String,
) -> napi::Result<()> {
    run(realm, || fs.remove_file(&path).map_err(failed("remove", &path)))
}

#[napi(catch_unwind)]
pub fn memory_fs_paths(realm: &External<Rc<Realm>>, fs: &External<MemoryFs>) -> napi::Result<Vec<String>> {
    run(realm, || {
        fs.paths().map_err(|errno| {
            let reason = match errno {
                Errno::Overflow => format!(
                    ", all paths together are longer than {} MiB; a quota keeps a program from nesting \
                     so many directories",
                    MemoryFs::PATHS_MAX >> 20
                ),
                _ => String::new(),
            };
            Failure::new(Kind::File, format!("{errno}: MemoryFS.paths(){reason}"))
        })
    })
}

#[napi(catch_unwind)]
pub fn memory_fs_used(fs: &External<MemoryFs>) -> f64 {
    fs.used() as f64
}

fn failed<'a>(method: &'a str, path: &'a str) -> impl FnOnce(Errno) -> Failure + 'a {
    move |errno| {
        // JavaScript knows this name from `node:fs`.
        let errno = if errno == Errno::Notcapable { Errno::Perm } else { errno };
        let reason = match errno {
            Errno::Noent => ", there is no such file",
            Errno::Isdir => ", it is a directory",
            Errno::Notdir => ", a part of the path is a file",
            Errno::Nospc => ", the quota is used up; set a larger one or remove files",
            Errno::Perm => ", the path leads out of the file system",
            Errno::Inval => ", this is no path of a file",
            _ => "",
        };
        // The face takes the code from in front of the colon.
        Failure::new(Kind::File, format!("{errno}: MemoryFS.{method}({path:?}){reason}"))
    }
}
