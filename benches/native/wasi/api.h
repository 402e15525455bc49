// The native side of kernels/wasi.c: under the names of WASI, what a C program would call.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef uint16_t __wasi_errno_t;
typedef int __wasi_fd_t;
typedef uint32_t __wasi_size_t;
typedef uint64_t __wasi_timestamp_t, __wasi_filesize_t;
typedef struct iovec __wasi_iovec_t, __wasi_ciovec_t;
typedef struct stat __wasi_filestat_t, __wasi_prestat_t;
typedef int __wasi_fdstat_t;
typedef struct { uint64_t userdata; } __wasi_event_t;
typedef struct {
  uint64_t userdata;
  struct { int tag; union { struct { int id; uint64_t timeout; } clock; } u; } u;
} __wasi_subscription_t;

enum { __WASI_ERRNO_IO = EIO, __WASI_EVENTTYPE_CLOCK, __WASI_CLOCKID_MONOTONIC = CLOCK_MONOTONIC };
enum { __WASI_WHENCE_SET = SEEK_SET, __WASI_ADVICE_NORMAL = POSIX_FADV_NORMAL };
enum { __WASI_FSTFLAGS_ATIM = 1, __WASI_FSTFLAGS_MTIM = 2 };
enum {
  __WASI_RIGHTS_FD_READ = 0, __WASI_RIGHTS_FD_WRITE = 0, __WASI_RIGHTS_FD_SEEK = 0,
  __WASI_RIGHTS_FD_TELL = 0, __WASI_RIGHTS_FD_FILESTAT_GET = 0, __WASI_RIGHTS_FD_FILESTAT_SET_SIZE = 0,
  __WASI_RIGHTS_FD_FILESTAT_SET_TIMES = 0, __WASI_RIGHTS_FD_ADVISE = 0, __WASI_RIGHTS_FD_ALLOCATE = 0,
  __WASI_RIGHTS_FD_FDSTAT_SET_FLAGS = 0, __WASI_RIGHTS_POLL_FD_READWRITE = 0,
};

#define TRY(call) ((call) < 0 ? errno : 0)
// Keeps a loop that calls nothing.
#define NOTHING ({ __asm__ volatile("" ::: "memory"); 0; })

#define __wasi_args_sizes_get(count, size) (*(count) = 0, *(size) = 0, NOTHING)
#define __wasi_environ_sizes_get(count, size) (*(count) = 0, *(size) = 0, NOTHING)
#define __wasi_fd_prestat_get(fd, out) ((void)(out), NOTHING)
#define __wasi_fd_prestat_dir_name(fd, path, len) NOTHING
#define __wasi_fd_fdstat_get(fd, out) TRY(*(out) = fcntl(fd, F_GETFL))
#define __wasi_fd_fdstat_set_flags(fd, flags) TRY(fcntl(fd, F_SETFL, flags))

#define NANOSECONDS(call, out)                                   \
  ({                                                             \
    struct timespec time_;                                       \
    int error_ = call;                                           \
    *(out) = time_.tv_sec * 1000000000ull + time_.tv_nsec;       \
    __asm__ volatile("" ::"m"(*(out)));                          \
    TRY(error_);                                                 \
  })
#define __wasi_clock_time_get(id, precision, out) NANOSECONDS(clock_gettime(id, &time_), out)
#define __wasi_clock_res_get(id, out) NANOSECONDS(clock_getres(id, &time_), out)
#define __wasi_random_get(into, len) TRY(getrandom(into, len, 0))
#define __wasi_sched_yield() TRY(sched_yield())
#define __wasi_poll_oneoff(in, out, n, count) ((void)(in), (void)(out), (void)(count), TRY(poll(0, 0, 0)))

#define __wasi_fd_close(fd) TRY(close(fd))
#define __wasi_fd_seek(fd, offset, whence, out) TRY((int64_t)(*(out) = lseek(fd, offset, whence)))
#define __wasi_fd_tell(fd, out) TRY((int64_t)(*(out) = lseek(fd, 0, SEEK_CUR)))
#define MOVED(call, out) ({ ssize_t moved_ = (call); *(out) = moved_; TRY(moved_); })
#define __wasi_fd_read(fd, iov, n, out) MOVED((n) == 1 ? read(fd, (iov)->iov_base, (iov)->iov_len) : readv(fd, iov, n), out)
#define __wasi_fd_write(fd, iov, n, out) MOVED(write(fd, (iov)->iov_base, (iov)->iov_len), out)
#define __wasi_fd_pread(fd, iov, n, at, out) MOVED(pread(fd, (iov)->iov_base, (iov)->iov_len, at), out)
#define __wasi_fd_pwrite(fd, iov, n, at, out) MOVED(pwrite(fd, (iov)->iov_base, (iov)->iov_len, at), out)
#define __wasi_fd_filestat_get(fd, out) TRY(fstat(fd, out))
#define __wasi_fd_filestat_set_size(fd, size) TRY(ftruncate(fd, size))
#define TIMES(a, m) ((struct timespec[]){{0, a}, {0, m}})
#define __wasi_fd_filestat_set_times(fd, a, m, flags) TRY(futimens(fd, TIMES(a, m)))
#define __wasi_fd_advise(fd, offset, len, advice) posix_fadvise(fd, offset, len, advice)

#define __wasi_path_open(dir, dirflags, path, oflags, base, inheriting, fdflags, out) \
  TRY(*(out) = openat(dir, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW))
#define __wasi_path_filestat_get(dir, flags, path, out) TRY(fstatat(dir, path, out, AT_SYMLINK_NOFOLLOW))
#define __wasi_path_filestat_set_times(dir, flags, path, a, m, which) \
  TRY(utimensat(dir, path, TIMES(a, m), AT_SYMLINK_NOFOLLOW))
#define __wasi_path_readlink(dir, path, into, len, out) MOVED(readlinkat(dir, path, (char *)(into), len), out)
#define __wasi_path_rename(dir, path, new_dir, new_path) TRY(renameat(dir, path, new_dir, new_path))
#define __wasi_path_link(dir, flags, path, new_dir, new_path) TRY(linkat(dir, path, new_dir, new_path, 0))
#define __wasi_path_symlink(text, dir, path) TRY(symlinkat(text, dir, path))
#define __wasi_path_unlink_file(dir, path) TRY(unlinkat(dir, path, 0))
#define __wasi_path_create_directory(dir, path) TRY(mkdirat(dir, path, 0777))
#define __wasi_path_remove_directory(dir, path) TRY(unlinkat(dir, path, AT_REMOVEDIR))
