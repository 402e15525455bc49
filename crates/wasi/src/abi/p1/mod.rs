//! `wasi_snapshot_preview1`: the functions as a guest imports them.
//!
//! Called by `host.rs` with the context and memory of the calling instance.
//! Every function takes the wasm-level integers of its signature in order. The
//! bodies are short: decode, look up, check, call, encode. Invariants: result
//! pointers are checked before anything has an effect, so a call that returns
//! `EFAULT` did nothing (a listing or a vectored read may have filled buffers
//! that were given); descriptors are cloned out of the table, so that a call
//! which waits holds nothing.

#![forbid(unsafe_code)]

mod fd;
mod path;
mod poll;
mod proc;
mod sock;

pub use fd::*;
pub(crate) use fd::{filestat_of_fd, seek};
pub(crate) use path::filestat_of_path;
pub use path::*;
pub use poll::*;
pub(crate) use poll::{SubscriptionLayout, poll};
pub use proc::*;
pub use sock::*;

/// The module name guests import these from.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// Calls `$callback!` with the table of all functions, in the order of the
/// witx file: `name(argument: type, ...);` where a type is `u32` (wasm `i32`),
/// or `u64` or `i64` (wasm `i64`). Whoever binds the functions is generated
/// from this and repeats no signature.
#[macro_export]
macro_rules! for_each_p1_function {
    ($callback:path) => {
        $callback! {
            args_get(argv: u32, argv_buf: u32);
            args_sizes_get(argc: u32, argv_buf_size: u32);
            environ_get(environ: u32, environ_buf: u32);
            environ_sizes_get(environc: u32, environ_buf_size: u32);
            clock_res_get(id: u32, resolution: u32);
            clock_time_get(id: u32, precision: u64, time: u32);
            fd_advise(fd: u32, offset: u64, len: u64, advice: u32);
            fd_allocate(fd: u32, offset: u64, len: u64);
            fd_close(fd: u32);
            fd_datasync(fd: u32);
            fd_fdstat_get(fd: u32, stat: u32);
            fd_fdstat_set_flags(fd: u32, flags: u32);
            fd_fdstat_set_rights(fd: u32, fs_rights_base: u64, fs_rights_inheriting: u64);
            fd_filestat_get(fd: u32, buf: u32);
            fd_filestat_set_size(fd: u32, size: u64);
            fd_filestat_set_times(fd: u32, atim: u64, mtim: u64, fst_flags: u32);
            fd_pread(fd: u32, iovs: u32, iovs_len: u32, offset: u64, nread: u32);
            fd_prestat_get(fd: u32, buf: u32);
            fd_prestat_dir_name(fd: u32, path: u32, path_len: u32);
            fd_pwrite(fd: u32, iovs: u32, iovs_len: u32, offset: u64, nwritten: u32);
            fd_read(fd: u32, iovs: u32, iovs_len: u32, nread: u32);
            fd_readdir(fd: u32, buf: u32, buf_len: u32, cookie: u64, bufused: u32);
            fd_renumber(fd: u32, to: u32);
            fd_seek(fd: u32, offset: i64, whence: u32, newoffset: u32);
            fd_sync(fd: u32);
            fd_tell(fd: u32, offset: u32);
            fd_write(fd: u32, iovs: u32, iovs_len: u32, nwritten: u32);
            path_create_directory(fd: u32, path: u32, path_len: u32);
            path_filestat_get(fd: u32, flags: u32, path: u32, path_len: u32, buf: u32);
            path_filestat_set_times(
                fd: u32, flags: u32, path: u32, path_len: u32,
                atim: u64, mtim: u64, fst_flags: u32
            );
            path_link(
                old_fd: u32, old_flags: u32, old_path: u32, old_path_len: u32,
                new_fd: u32, new_path: u32, new_path_len: u32
            );
            path_open(
                fd: u32, dirflags: u32, path: u32, path_len: u32, oflags: u32,
                fs_rights_base: u64, fs_rights_inheriting: u64, fdflags: u32, opened_fd: u32
            );
            path_readlink(
                fd: u32, path: u32, path_len: u32, buf: u32, buf_len: u32, bufused: u32
            );
            path_remove_directory(fd: u32, path: u32, path_len: u32);
            path_rename(
                fd: u32, old_path: u32, old_path_len: u32,
                new_fd: u32, new_path: u32, new_path_len: u32
            );
            path_symlink(
                old_path: u32, old_path_len: u32, fd: u32, new_path: u32, new_path_len: u32
            );
            path_unlink_file(fd: u32, path: u32, path_len: u32);
            poll_oneoff(in_: u32, out: u32, nsubscriptions: u32, nevents: u32);
            proc_exit(rval: u32);
            proc_raise(sig: u32);
            sched_yield();
            random_get(buf: u32, buf_len: u32);
            sock_accept(fd: u32, flags: u32, result_fd: u32);
            sock_recv(
                fd: u32, ri_data: u32, ri_data_len: u32, ri_flags: u32,
                ro_datalen: u32, ro_flags: u32
            );
            sock_send(fd: u32, si_data: u32, si_data_len: u32, si_flags: u32, so_datalen: u32);
            sock_shutdown(fd: u32, how: u32);
        }
    };
}
