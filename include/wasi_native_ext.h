/*
 * wasi_native_ext: what wasi-native offers beyond WASI.
 *
 * The functions are imports of the module "wasi_native_ext". A host grants
 * them one by one; a program that imports one it is not granted does not link,
 * or gets ENOTCAPABLE or ENOSYS if the host chose so. Errors are the numbers
 * of WASI preview 1 (<wasi/api.h>); 0 is success. Pointers need no alignment.
 *
 * Needs clang for wasm32 (wasi-sdk, or `zig cc -target wasm32-wasi`).
 */
#ifndef WASI_NATIVE_EXT_H
#define WASI_NATIVE_EXT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WASI_NATIVE_IMPORT(name) \
    __attribute__((__import_module__("wasi_native_ext"), __import_name__(name)))

/* ---- advisory locks ---------------------------------------------------- */

#define WASI_NATIVE_LOCK_UN 0u /* give the lock up */
#define WASI_NATIVE_LOCK_SH 1u /* shared with other shared locks */
#define WASI_NATIVE_LOCK_EX 2u /* the only one */
#define WASI_NATIVE_LOCK_TRY 4u /* with SH or EX: EAGAIN instead of waiting */

/*
 * Locks a whole regular file or directory for those who ask for locks too
 * (flock of the host; other processes that use it take part). The lock belongs
 * to the open file: it ends with LOCK_UN, or when the last descriptor for that
 * open file is closed. Asking for the other kind changes the kind; on host
 * files a change that fails may have given up the lock that was held.
 *
 * EAGAIN  LOCK_TRY, and somebody else holds a lock in the way
 * EROFS/EPERM  LOCK_EX where the host does not let this program write
 * EINVAL  not one of the operations      EBADF  no such file
 *
 * There is no deadlock detection. A host that stops a program ends its wait.
 */
WASI_NATIVE_IMPORT("fd_lock")
int32_t wasi_native_fd_lock(int32_t fd, uint32_t operation);

/* ---- watching ---------------------------------------------------------- */

#define WASI_NATIVE_WATCH_CREATED 1u /* a name came: made, linked, moved here */
#define WASI_NATIVE_WATCH_REMOVED 2u /* a name went: removed, moved away */
#define WASI_NATIVE_WATCH_MODIFIED 4u /* contents changed */
#define WASI_NATIVE_WATCH_METADATA 8u /* times, permissions, links changed */
#define WASI_NATIVE_WATCH_GONE 16u /* what is watched is itself gone or moved */
#define WASI_NATIVE_WATCH_OVERFLOW 32u /* events were lost: look again */

/*
 * What fd_read yields: one or more whole records. `name_len` bytes of the name
 * follow (not ended by NUL; none if the event is about the watched thing
 * itself), then zeros up to a multiple of 8 from the start of the record.
 */
struct wasi_native_watch_event {
    uint32_t events; /* one or more of the above */
    uint32_t name_len;
};

#define WASI_NATIVE_WATCH_RECORD_SIZE(event) \
    ((sizeof(struct wasi_native_watch_event) + (size_t)(event)->name_len + 7) & ~(size_t)7)

/*
 * Watches a file, or what is directly in a directory (not deeper), beneath the
 * directory `fd`. `events` are those wanted, 0 for all; GONE and OVERFLOW are
 * always told. The new descriptor is readable (fd_read, poll_oneoff) when
 * something happened; fd_read waits unless NONBLOCK is set on it, and fails
 * with EINVAL if the buffer holds not even one record. fd_close ends it.
 * Events may be merged; order is that of the host.
 *
 * Needs the rights PATH_OPEN and PATH_FILESTAT_GET on `fd`.
 * ENOTSUP  in-memory directories, and hosts other than Linux
 * and the errors of path_open.
 */
WASI_NATIVE_IMPORT("path_watch")
int32_t wasi_native_path_watch(int32_t fd, const char *path, size_t path_len,
                               uint32_t events, int32_t *opened_fd);

/* ---- handing descriptors on -------------------------------------------- */

/*
 * Puts a descriptor for the same open file into the table of another program,
 * which the host linked to this one under `name`, and stores its number there
 * in `given_fd`; telling the other program is the caller's business. Position
 * and locks are shared, the descriptor is not: each closes its own. Rights are
 * those of WASI (__wasi_rights_t), no more than `fd` has. The host's
 * permissions of the directory it came from go with it.
 *
 * ENOENT  no program of that name, or it has ended
 * ENOTCAPABLE  a right that `fd` does not have
 * EMFILE  the other program's table is full
 * ENOTSUP  a descriptor made by path_watch
 */
WASI_NATIVE_IMPORT("fd_give")
int32_t wasi_native_fd_give(int32_t fd, const char *name, size_t name_len,
                            uint64_t fs_rights_base, uint64_t fs_rights_inheriting,
                            int32_t *given_fd);

#ifdef __cplusplus
}
#endif

#endif
