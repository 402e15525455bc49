//! Refuses `openat2`, without which cap-std walks paths by hand: what happens
//! on older kernels and under many sandboxes.

/// Runs a test in two threads, one of which cannot call `openat2`.
pub fn with_and_without(test: impl Fn() + Send + Sync) {
    test();
    // Where there is none, that was it: older kernels, and emulators of the kernel's calls, which have no filters either.
    #[cfg(target_os = "linux")]
    if linux::is_there() {
        std::thread::scope(|scope| {
            let without = scope.spawn(|| {
                linux::refuse_in_this_thread();
                test();
            });
            without.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }
}

#[cfg(target_os = "linux")]
mod linux {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

    pub fn is_there() -> bool {
        // SAFETY: the call has no structure to read, which it refuses.
        let result = unsafe { libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, c".".as_ptr(), 0, 0) };
        // SAFETY: the error of this thread.
        result != -1 || unsafe { *libc::__errno_location() } != libc::ENOSYS
    }

    /// By a seccomp filter that answers EPERM, as container runtimes do.
    /// (ENOSYS would make cap-std give up on it in the whole process.)
    pub fn refuse_in_this_thread() {
        let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        let mut filter = [
            step(LOAD_NUMBER, 0, 0, 0),
            step(IF_EQUAL, 0, 1, libc::SYS_openat2 as u32),
            step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
            step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: the filter outlives the call, which copies it.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program), 0);
            let result = libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, c".".as_ptr(), 0, 0);
            assert_eq!(result, -1);
            assert_eq!(*libc::__errno_location(), libc::EPERM);
        }
    }
}
