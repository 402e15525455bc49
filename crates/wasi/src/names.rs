//! Every function a guest can import, by name and number.
//!
//! At the ground: `policy.rs` looks at names alone, and `abi/` makes the functions from the same
//! tables. Invariant: a function's number is its place among [`all`], and never changes while a
//! process runs.

/// The modules that guests import from.
pub const PREVIEW_1: &str = "wasi_snapshot_preview1";
pub const PREVIEW_0: &str = "wasi_unstable";
pub const EXTENSIONS: &str = "wasi_native_ext";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    pub module: &'static str,
    pub name: &'static str,
}

impl Name {
    /// Whether it is a function of ours, which WASI does not have.
    pub fn is_extension(&self) -> bool {
        self.module == EXTENSIONS
    }
}

/// Calls `$callback!` with the table of preview 1's functions, in the order of the witx file:
/// `name(parameter: type, ...);`. The types are those of [`params`](crate::params); those of
/// `layout` are preview 1's or preview 0's, which is all that the two differ in. Whoever binds,
/// checks, traces or tests the functions is generated from this, and repeats no signature.
#[macro_export]
macro_rules! for_each_p1_function {
    ($callback:path) => {
        $callback! {
            args_get(argv: OutBytes, argv_buf: OutBytes);
            args_sizes_get(argc: Out<u32>, argv_buf_size: Out<u32>);
            environ_get(environ: OutBytes, environ_buf: OutBytes);
            environ_sizes_get(environc: Out<u32>, environ_buf_size: Out<u32>);
            clock_res_get(id: Encoded<Clockid>, resolution: Out<Timestamp>);
            clock_time_get(id: Encoded<Clockid>, precision: Timestamp, time: Out<Timestamp>);
            fd_advise(fd: Fd, offset: u64, len: u64, advice: Encoded<Advice>);
            fd_allocate(fd: Fd, offset: u64, len: u64);
            fd_close(fd: Fd);
            fd_datasync(fd: Fd);
            fd_fdstat_get(fd: Fd, stat: Out<Fdstat>);
            fd_fdstat_set_flags(fd: Fd, flags: Encoded<Fdflags>);
            fd_fdstat_set_rights(fd: Fd, fs_rights_base: RightsBits, fs_rights_inheriting: RightsBits);
            fd_filestat_get(fd: Fd, buf: Out<layout::Filestat>);
            fd_filestat_set_size(fd: Fd, size: u64);
            fd_filestat_set_times(
                fd: Fd, atim: Timestamp, mtim: Timestamp, fst_flags: Encoded<Fstflags>
            );
            fd_pread(fd: Fd, iovs: IovecArray, iovs_len: Size, offset: u64, nread: OutSize);
            fd_prestat_get(fd: Fd, buf: Out<Prestat>);
            fd_prestat_dir_name(fd: Fd, path: OutText, path_len: Size);
            fd_pwrite(fd: Fd, iovs: CiovecArray, iovs_len: Size, offset: u64, nwritten: OutSize);
            fd_read(fd: Fd, iovs: IovecArray, iovs_len: Size, nread: OutSize);
            fd_readdir(fd: Fd, buf: OutDirents, buf_len: Size, cookie: u64, bufused: OutSize);
            fd_renumber(fd: Fd, to: Fd);
            fd_seek(fd: Fd, offset: i64, whence: Encoded<layout::Whence>, newoffset: Out<u64>);
            fd_sync(fd: Fd);
            fd_tell(fd: Fd, offset: Out<u64>);
            fd_write(fd: Fd, iovs: CiovecArray, iovs_len: Size, nwritten: OutSize);
            path_create_directory(fd: Fd, path: Path, path_len: Size);
            path_filestat_get(
                fd: Fd, flags: Encoded<Lookupflags>, path: Path, path_len: Size,
                buf: Out<layout::Filestat>
            );
            path_filestat_set_times(
                fd: Fd, flags: Encoded<Lookupflags>, path: Path, path_len: Size,
                atim: Timestamp, mtim: Timestamp, fst_flags: Encoded<Fstflags>
            );
            path_link(
                old_fd: Fd, old_flags: Encoded<Lookupflags>, old_path: Path, old_path_len: Size,
                new_fd: Fd, new_path: Path, new_path_len: Size
            );
            path_open(
                fd: Fd, dirflags: Encoded<Lookupflags>, path: Path, path_len: Size,
                oflags: Encoded<Oflags>, fs_rights_base: RightsBits,
                fs_rights_inheriting: RightsBits, fdflags: Encoded<Fdflags>, opened_fd: Out<u32>
            );
            path_readlink(
                fd: Fd, path: Path, path_len: Size, buf: OutText, buf_len: Size, bufused: OutSize
            );
            path_remove_directory(fd: Fd, path: Path, path_len: Size);
            path_rename(
                fd: Fd, old_path: Path, old_path_len: Size,
                new_fd: Fd, new_path: Path, new_path_len: Size
            );
            path_symlink(
                old_path: Text, old_path_len: Size, fd: Fd, new_path: Path, new_path_len: Size
            );
            path_unlink_file(fd: Fd, path: Path, path_len: Size);
            poll_oneoff(
                in_: InArray<layout::Subscription>, out: OutArray<Event>, nsubscriptions: Size,
                nevents: OutSize
            );
            proc_exit(rval: u32);
            proc_raise(sig: u32);
            sched_yield();
            random_get(buf: OutBytes, buf_len: Size);
            sock_accept(fd: Fd, flags: Encoded<Fdflags>, result_fd: Out<u32>);
            sock_recv(
                fd: Fd, ri_data: IovecArray, ri_data_len: Size, ri_flags: Encoded<Riflags>,
                ro_datalen: OutSize, ro_flags: Out<u16>
            );
            sock_send(
                fd: Fd, si_data: CiovecArray, si_data_len: Size, si_flags: Encoded<Siflags>,
                so_datalen: OutSize
            );
            sock_shutdown(fd: Fd, how: Encoded<Sdflags>);
        }
    };
}

/// The same for our extensions, of which `include/wasi_native_ext.h` tells.
#[macro_export]
macro_rules! for_each_ext_function {
    ($callback:path) => {
        $callback! {
            fd_lock(fd: Fd, operation: Encoded<LockOperation>);
            path_watch(
                fd: Fd, path: Path, path_len: Size, events: Encoded<WatchEvents>,
                opened_fd: Out<u32>
            );
            fd_give(
                fd: Fd, name: Text, name_len: Size, fs_rights_base: RightsBits,
                fs_rights_inheriting: RightsBits, given_fd: Out<u32>
            );
        }
    };
}

macro_rules! names {
    ($table:ident $module:ident; $($name:ident($($params:tt)*);)*) => {
        static $table: &[Name] = &[$(Name { module: $module, name: stringify!($name) },)*];
    };
}

macro_rules! p1_names {
    ($($rows:tt)*) => { names! { P1 PREVIEW_1; $($rows)* } };
}

macro_rules! p0_names {
    ($($rows:tt)*) => { names! { P0 PREVIEW_0; $($rows)* } };
}

macro_rules! ext_names {
    ($($rows:tt)*) => { names! { EXT EXTENSIONS; $($rows)* } };
}

crate::for_each_p1_function!(p1_names);
crate::for_each_p1_function!(p0_names);
crate::for_each_ext_function!(ext_names);

pub fn all() -> impl Iterator<Item = &'static Name> {
    P1.iter().chain(P0).chain(EXT)
}

/// The number of a function.
pub fn find(module: &str, name: &str) -> Option<usize> {
    all().position(|function| function.module == module && function.name == name)
}
