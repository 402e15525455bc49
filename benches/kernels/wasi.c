// One WASI call in a loop, n times each. 0 when every call succeeded, else the errno.
//
// Compiled for WebAssembly, and once more for this machine, where native/wasi/api.h puts the system
// call in the place of the WASI call.
#include "kernel.h"
#include <wasi/api.h>

#ifdef __wasm__
#define BENCH(name) EXPORT(name) uint32_t bench_##name(uint32_t n)
#else
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#define BENCH(name) uint32_t bench_##name(uint32_t n)
#endif

// The preopened directories, as benches/rows/wasi.mjs gives them.
enum { WORK = 3, MANY = 4 };
#define FILE_RIGHTS                                                                          \
  (__WASI_RIGHTS_FD_READ | __WASI_RIGHTS_FD_WRITE | __WASI_RIGHTS_FD_SEEK |                  \
   __WASI_RIGHTS_FD_TELL | __WASI_RIGHTS_FD_FILESTAT_GET | __WASI_RIGHTS_FD_FILESTAT_SET_SIZE | \
   __WASI_RIGHTS_FD_FILESTAT_SET_TIMES | __WASI_RIGHTS_FD_ADVISE | __WASI_RIGHTS_FD_ALLOCATE | \
   __WASI_RIGHTS_FD_FDSTAT_SET_FLAGS | __WASI_RIGHTS_POLL_FD_READWRITE)

#define CHUNK 65536
#define CHUNKS 64

static uint8_t bytes[CHUNK];

static __wasi_errno_t open_file(const char *path, __wasi_fd_t *fd) {
  return __wasi_path_open(WORK, 0, path, 0, FILE_RIGHTS, 0, 0, fd);
}

#define REPEAT(call)                 \
  for (uint32_t i = 0; i < n; i++) { \
    __wasi_errno_t error = (call);   \
    if (error) return error;         \
  }

// The same on an open file.
#define REPEAT_ON(path, call)                       \
  __wasi_fd_t fd;                                   \
  __wasi_errno_t failed = open_file(path, &fd);     \
  if (failed) return failed;                        \
  REPEAT(call)                                      \
  return __wasi_fd_close(fd);

// ---- no system call

BENCH(args_sizes_get) {
  __wasi_size_t count, size;
  REPEAT(__wasi_args_sizes_get(&count, &size));
  return 0;
}

BENCH(environ_sizes_get) {
  __wasi_size_t count, size;
  REPEAT(__wasi_environ_sizes_get(&count, &size));
  return 0;
}

BENCH(fd_prestat_get) {
  __wasi_prestat_t stat;
  REPEAT(__wasi_fd_prestat_get(WORK, &stat));
  return 0;
}

BENCH(fd_prestat_dir_name) {
  REPEAT(__wasi_fd_prestat_dir_name(WORK, bytes, 5));
  return 0;
}

BENCH(fd_fdstat_get_directory) {
  __wasi_fdstat_t stat;
  REPEAT(__wasi_fd_fdstat_get(WORK, &stat));
  return 0;
}

BENCH(fd_fdstat_get) {
  __wasi_fdstat_t stat;
  REPEAT_ON("data.bin", __wasi_fd_fdstat_get(fd, &stat));
}

BENCH(clock_time_get) {
  __wasi_timestamp_t time;
  REPEAT(__wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 1, &time));
  return 0;
}

BENCH(clock_res_get) {
  __wasi_timestamp_t time;
  REPEAT(__wasi_clock_res_get(__WASI_CLOCKID_MONOTONIC, &time));
  return 0;
}

BENCH(random_get) {
  REPEAT(__wasi_random_get(bytes, 16));
  return 0;
}

BENCH(random_get_64k) {
  REPEAT(__wasi_random_get(bytes, CHUNK));
  return 0;
}

BENCH(sched_yield) {
  REPEAT(__wasi_sched_yield());
  return 0;
}

BENCH(poll_oneoff) {
  __wasi_subscription_t in = {.userdata = 1,
                              .u = {.tag = __WASI_EVENTTYPE_CLOCK,
                                    .u.clock = {.id = __WASI_CLOCKID_MONOTONIC, .timeout = 0}}};
  __wasi_event_t out;
  __wasi_size_t count;
  REPEAT(__wasi_poll_oneoff(&in, &out, 1, &count));
  return 0;
}

// ---- open files

BENCH(fd_seek) {
  __wasi_filesize_t at;
  REPEAT_ON("data.bin", __wasi_fd_seek(fd, i & 4095, __WASI_WHENCE_SET, &at));
}

BENCH(fd_tell) {
  __wasi_filesize_t at;
  REPEAT_ON("data.bin", __wasi_fd_tell(fd, &at));
}

BENCH(fd_read) {
  __wasi_size_t moved;
  __wasi_iovec_t one = {bytes, 1};
  REPEAT_ON("data.bin", __wasi_fd_read(fd, &one, 1, &moved));
}

BENCH(fd_write) {
  __wasi_size_t moved;
  __wasi_ciovec_t one = {bytes, 1};
  REPEAT_ON("data.bin", __wasi_fd_write(fd, &one, 1, &moved));
}

BENCH(fd_read_vectored) {
  __wasi_size_t moved;
  __wasi_iovec_t four[] = {{bytes, 1}, {bytes + 9, 1}, {bytes + 20, 1}, {bytes + 30, 1}};
  REPEAT_ON("data.bin", __wasi_fd_read(fd, four, 4, &moved));
}

BENCH(fd_pread) {
  __wasi_size_t moved;
  __wasi_iovec_t one = {bytes, 64};
  REPEAT_ON("data.bin", __wasi_fd_pread(fd, &one, 1, i & 4095, &moved));
}

BENCH(fd_pwrite) {
  __wasi_size_t moved;
  __wasi_ciovec_t one = {bytes, 64};
  REPEAT_ON("data.bin", __wasi_fd_pwrite(fd, &one, 1, i & 4095, &moved));
}

BENCH(fd_filestat_get) {
  __wasi_filestat_t stat;
  REPEAT_ON("data.bin", __wasi_fd_filestat_get(fd, &stat));
}

BENCH(fd_filestat_set_size) { REPEAT_ON("small.bin", __wasi_fd_filestat_set_size(fd, 100)); }

BENCH(fd_filestat_set_times) {
  REPEAT_ON("small.bin",
            __wasi_fd_filestat_set_times(fd, i, i, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM));
}

BENCH(fd_fdstat_set_flags) { REPEAT_ON("small.bin", __wasi_fd_fdstat_set_flags(fd, 0)); }

BENCH(fd_advise) { REPEAT_ON("data.bin", __wasi_fd_advise(fd, 0, 0, __WASI_ADVICE_NORMAL)); }

// ---- paths

BENCH(path_filestat_get) {
  __wasi_filestat_t stat;
  REPEAT(__wasi_path_filestat_get(WORK, 0, "data.bin", &stat));
  return 0;
}

BENCH(path_filestat_get_deep) {
  __wasi_filestat_t stat;
  REPEAT(__wasi_path_filestat_get(WORK, 0, "a/b/c.bin", &stat));
  return 0;
}

static __wasi_errno_t open_and_close(const char *path) {
  __wasi_fd_t fd;
  __wasi_errno_t error = open_file(path, &fd);
  return error ? error : __wasi_fd_close(fd);
}

BENCH(path_open) {
  REPEAT(open_and_close("data.bin"));
  return 0;
}

BENCH(path_open_deep) {
  REPEAT(open_and_close("a/b/c.bin"));
  return 0;
}

BENCH(path_readlink) {
  __wasi_size_t used;
  REPEAT(__wasi_path_readlink(WORK, "link", bytes, 100, &used));
  return 0;
}

BENCH(path_rename) {
  for (uint32_t i = 0; i < n; i++) {
    __wasi_errno_t error = __wasi_path_rename(WORK, "small.bin", WORK, "other.bin");
    if (!error) error = __wasi_path_rename(WORK, "other.bin", WORK, "small.bin");
    if (error) return error;
  }
  return 0;
}

BENCH(path_link) {
  for (uint32_t i = 0; i < n; i++) {
    __wasi_errno_t error = __wasi_path_link(WORK, 0, "small.bin", WORK, "hard");
    if (!error) error = __wasi_path_unlink_file(WORK, "hard");
    if (error) return error;
  }
  return 0;
}

BENCH(path_symlink) {
  for (uint32_t i = 0; i < n; i++) {
    __wasi_errno_t error = __wasi_path_symlink("small.bin", WORK, "soft");
    if (!error) error = __wasi_path_unlink_file(WORK, "soft");
    if (error) return error;
  }
  return 0;
}

BENCH(path_create_directory) {
  for (uint32_t i = 0; i < n; i++) {
    __wasi_errno_t error = __wasi_path_create_directory(WORK, "new");
    if (!error) error = __wasi_path_remove_directory(WORK, "new");
    if (error) return error;
  }
  return 0;
}

BENCH(path_filestat_set_times) {
  REPEAT(__wasi_path_filestat_set_times(WORK, 0, "small.bin", i, i,
                                        __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM));
  return 0;
}

// ---- a file of 4 MiB in chunks of 64 KiB, n times

BENCH(read_chunks) {
  __wasi_fd_t fd;
  __wasi_size_t moved;
  __wasi_filesize_t at;
  __wasi_iovec_t chunk = {bytes, CHUNK};
  __wasi_errno_t error = open_file("large.bin", &fd);
  for (uint32_t i = 0; i < n && !error; i++) {
    for (uint32_t k = 0; k < CHUNKS && !error; k++) {
      error = __wasi_fd_read(fd, &chunk, 1, &moved);
      if (!error && moved != CHUNK) return __WASI_ERRNO_IO;
    }
    if (!error) error = __wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at);
  }
  return error ? error : __wasi_fd_close(fd);
}

BENCH(write_chunks) {
  __wasi_fd_t fd;
  __wasi_size_t moved;
  __wasi_filesize_t at;
  __wasi_ciovec_t chunk = {bytes, CHUNK};
  __wasi_errno_t error = open_file("large.bin", &fd);
  for (uint32_t i = 0; i < n && !error; i++) {
    for (uint32_t k = 0; k < CHUNKS && !error; k++) {
      error = __wasi_fd_write(fd, &chunk, 1, &moved);
      if (!error && moved != CHUNK) return __WASI_ERRNO_IO;
    }
    if (!error) error = __wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at);
  }
  return error ? error : __wasi_fd_close(fd);
}

// ---- a directory of n files. Native programs list with readdir, which has a buffer of 32 KiB; the
// guest has wasi-libc's, of 4 KiB.

#ifdef __wasm__

// wasi/api.h passes a path as a C string, and a name in a listing does not end in NUL.
__attribute__((import_module("wasi_snapshot_preview1"), import_name("path_filestat_get"))) int32_t
filestat_get(int32_t fd, int32_t flags, const uint8_t *path, uint32_t len, __wasi_filestat_t *stat);

static uint32_t list(uint32_t n, int and_stat) {
  static uint8_t buffer[4096];
  __wasi_dircookie_t cookie = __WASI_DIRCOOKIE_START;
  uint32_t names = 0;
  for (;;) {
    __wasi_size_t used;
    __wasi_errno_t error = __wasi_fd_readdir(MANY, buffer, sizeof buffer, cookie, &used);
    if (error) return error;
    for (uint32_t at = 0; used - at >= sizeof(__wasi_dirent_t);) {
      __wasi_dirent_t entry;
      __builtin_memcpy(&entry, buffer + at, sizeof entry);
      uint8_t *name = buffer + at + sizeof entry;
      if (used - at - sizeof entry < entry.d_namlen) break;
      at += sizeof entry + entry.d_namlen;
      cookie = entry.d_next;
      if (name[0] == '.') continue;
      names++;
      __wasi_filestat_t stat;
      if (and_stat && filestat_get(MANY, 0, name, entry.d_namlen, &stat)) return __WASI_ERRNO_IO;
    }
    if (used < sizeof buffer) return names == n ? 0 : __WASI_ERRNO_IO;
  }
}

#else

static uint32_t list(uint32_t n, int and_stat) {
  DIR *directory = fdopendir(dup(MANY));
  uint32_t names = 0;
  rewinddir(directory);
  for (struct dirent *entry; (entry = readdir(directory));) {
    if (entry->d_name[0] == '.') continue;
    names++;
    struct stat stat;
    if (and_stat && fstatat(MANY, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW)) return __WASI_ERRNO_IO;
  }
  closedir(directory);
  return names == n ? 0 : __WASI_ERRNO_IO;
}

#endif

BENCH(list) { return list(n, 0); }
BENCH(list_and_stat) { return list(n, 1); }
