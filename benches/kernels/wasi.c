// One WASI call in a loop, n times each. 0 when every call succeeded, else the errno.
#include "kernel.h"
#include <wasi/api.h>

// The first preopened directories, as benches/rows/wasi.mjs gives them.
enum { WORK = 3, DEV = 4 };
#define FILE_RIGHTS \
  (__WASI_RIGHTS_FD_READ | __WASI_RIGHTS_FD_WRITE | __WASI_RIGHTS_FD_SEEK | __WASI_RIGHTS_FD_TELL)

static uint8_t bytes[64];

static __wasi_errno_t open(__wasi_fd_t directory, const char *path, __wasi_fd_t *fd) {
  return __wasi_path_open(directory, 0, path, 0, FILE_RIGHTS, 0, 0, fd);
}

#define REPEAT(call)                          \
  for (uint32_t i = 0; i < n; i++) {          \
    __wasi_errno_t error = (call);            \
    if (error) return error;                  \
  }

EXPORT(clock_time_get) uint32_t clock_time_get(uint32_t n) {
  __wasi_timestamp_t time;
  REPEAT(__wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 1, &time));
  return 0;
}

EXPORT(random_get) uint32_t random_get(uint32_t n) {
  REPEAT(__wasi_random_get(bytes, 16));
  return 0;
}

EXPORT(sched_yield) uint32_t sched_yield(uint32_t n) {
  REPEAT(__wasi_sched_yield());
  return 0;
}

EXPORT(fd_write) uint32_t fd_write(uint32_t n) {
  __wasi_fd_t fd;
  __wasi_size_t written;
  __wasi_ciovec_t one = {bytes, 1};
  __wasi_errno_t failed = open(DEV, "null", &fd);
  if (failed) return failed;
  REPEAT(__wasi_fd_write(fd, &one, 1, &written));
  return __wasi_fd_close(fd);
}

EXPORT(fd_read) uint32_t fd_read(uint32_t n) {
  __wasi_fd_t fd;
  __wasi_size_t read;
  __wasi_iovec_t one = {bytes, 64};
  __wasi_errno_t failed = open(DEV, "zero", &fd);
  if (failed) return failed;
  REPEAT(__wasi_fd_read(fd, &one, 1, &read));
  return __wasi_fd_close(fd);
}

EXPORT(fd_seek) uint32_t fd_seek(uint32_t n) {
  __wasi_fd_t fd;
  __wasi_filesize_t at;
  __wasi_errno_t failed = open(WORK, "data.bin", &fd);
  if (failed) return failed;
  REPEAT(__wasi_fd_seek(fd, i & 4095, __WASI_WHENCE_SET, &at));
  return __wasi_fd_close(fd);
}

EXPORT(fd_pread) uint32_t fd_pread(uint32_t n) {
  __wasi_fd_t fd;
  __wasi_size_t read;
  __wasi_iovec_t one = {bytes, 64};
  __wasi_errno_t failed = open(WORK, "data.bin", &fd);
  if (failed) return failed;
  REPEAT(__wasi_fd_pread(fd, &one, 1, i & 4095, &read));
  return __wasi_fd_close(fd);
}

EXPORT(path_open) uint32_t path_open(uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    __wasi_fd_t fd;
    __wasi_errno_t error = open(WORK, "data.bin", &fd);
    if (!error) error = __wasi_fd_close(fd);
    if (error) return error;
  }
  return 0;
}

EXPORT(path_filestat_get) uint32_t path_filestat_get(uint32_t n) {
  __wasi_filestat_t stat;
  REPEAT(__wasi_path_filestat_get(WORK, 0, "data.bin", &stat));
  return 0;
}
