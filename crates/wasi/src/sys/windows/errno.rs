//! Error numbers of the host.

use windows_sys::Win32::Foundation as host;

use crate::errno::Errno;

pub fn errno_from_raw(code: i32) -> Errno {
    match code as u32 {
        host::ERROR_FILE_NOT_FOUND
        | host::ERROR_PATH_NOT_FOUND
        | host::ERROR_INVALID_NAME
        | host::ERROR_BAD_NETPATH
        | host::ERROR_BAD_PATHNAME
        | host::ERROR_INVALID_DRIVE
        | host::ERROR_DELETE_PENDING => Errno::Noent,
        host::ERROR_ACCESS_DENIED | host::ERROR_CANNOT_MAKE => Errno::Acces,
        host::ERROR_PRIVILEGE_NOT_HELD | host::ERROR_NOT_OWNER => Errno::Perm,
        host::ERROR_SHARING_VIOLATION
        | host::ERROR_BUSY
        | host::ERROR_USER_MAPPED_FILE
        | host::ERROR_PATH_BUSY => Errno::Busy,
        host::ERROR_LOCK_VIOLATION | host::ERROR_IO_PENDING => Errno::Again,
        host::ERROR_FILE_EXISTS | host::ERROR_ALREADY_EXISTS => Errno::Exist,
        host::ERROR_DIR_NOT_EMPTY => Errno::Notempty,
        host::ERROR_DIRECTORY => Errno::Notdir,
        host::ERROR_DIRECTORY_NOT_SUPPORTED => Errno::Isdir,
        host::ERROR_NOT_A_REPARSE_POINT | host::ERROR_INVALID_PARAMETER | host::ERROR_NEGATIVE_SEEK => {
            Errno::Inval
        }
        host::ERROR_STOPPED_ON_SYMLINK | host::ERROR_CANT_RESOLVE_FILENAME => Errno::Loop,
        host::ERROR_SEEK_ON_DEVICE | host::ERROR_SEEK => Errno::Spipe,
        host::ERROR_BROKEN_PIPE | host::ERROR_NO_DATA | host::ERROR_PIPE_NOT_CONNECTED => Errno::Pipe,
        host::ERROR_DISK_FULL | host::ERROR_HANDLE_DISK_FULL => Errno::Nospc,
        host::ERROR_DISK_QUOTA_EXCEEDED => Errno::Dquot,
        host::ERROR_FILE_TOO_LARGE => Errno::Fbig,
        host::ERROR_WRITE_PROTECT => Errno::Rofs,
        host::ERROR_NOT_SAME_DEVICE => Errno::Xdev,
        host::ERROR_TOO_MANY_LINKS => Errno::Mlink,
        host::ERROR_TOO_MANY_OPEN_FILES => Errno::Mfile,
        host::ERROR_NOT_ENOUGH_MEMORY | host::ERROR_OUTOFMEMORY | host::ERROR_COMMITMENT_LIMIT => {
            Errno::Nomem
        }
        host::ERROR_FILENAME_EXCED_RANGE | host::ERROR_BUFFER_OVERFLOW => Errno::Nametoolong,
        host::ERROR_NOT_SUPPORTED | host::ERROR_INVALID_FUNCTION | host::ERROR_CALL_NOT_IMPLEMENTED => {
            Errno::Notsup
        }
        host::ERROR_INVALID_HANDLE => Errno::Badf,
        // Another thread has ended the call, for a reason that is looked for then.
        host::ERROR_OPERATION_ABORTED => Errno::Intr,
        host::ERROR_NO_UNICODE_TRANSLATION => Errno::Ilseq,
        host::ERROR_SEM_TIMEOUT | host::WAIT_TIMEOUT => Errno::Timedout,
        _ => Errno::Io,
    }
}
