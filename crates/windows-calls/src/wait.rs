//! Waiting, ending the waits of other threads, and how long things took.

use crate::result;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr;
use std::time::Duration;
use windows_sys::Win32::Foundation::{FILETIME, WAIT_FAILED, WAIT_OBJECT_0};
use windows_sys::Win32::System::IO::CancelSynchronousIo;
use windows_sys::Win32::System::Pipes::PeekNamedPipe;
use windows_sys::Win32::System::Threading::{
    CreateEventW, GetCurrentProcess, GetCurrentThread, GetCurrentThreadId, GetProcessTimes, GetThreadTimes,
    INFINITE, OpenThread, ResetEvent, SetEvent, THREAD_TERMINATE, WaitForMultipleObjects,
};

/// Something that another thread can set, until it is cleared.
pub struct Event(OwnedHandle);

impl Event {
    pub fn new() -> io::Result<Event> {
        // SAFETY: an event without attributes or a name, reset by hand.
        let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
        if event.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle is new and ours.
        Ok(Event(unsafe { OwnedHandle::from_raw_handle(event) }))
    }

    pub fn set(&self) {
        // SAFETY: the handle is open.
        unsafe { SetEvent(self.0.as_raw_handle()) };
    }

    pub fn clear(&self) {
        // SAFETY: the handle is open.
        unsafe { ResetEvent(self.0.as_raw_handle()) };
    }

    pub fn handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// The most things that one call waits for.
const MOST: usize = 64;

/// Waits until one of these is signalled, or the time is over. Tells which: the first one that is. Of more than 64
/// the rest is not waited for.
pub fn wait_for_any(handles: &[BorrowedHandle<'_>], timeout: Option<Duration>) -> io::Result<Option<usize>> {
    let mut raw: [RawHandle; MOST] = [ptr::null_mut(); MOST];
    let mut count = 0;
    for (place, handle) in raw.iter_mut().zip(handles) {
        *place = handle.as_raw_handle();
        count += 1;
    }
    // Rounded up: a wait that ends too early would be done again.
    let longest = u128::from(INFINITE - 1);
    let milliseconds =
        timeout.map_or(INFINITE, |timeout| timeout.as_nanos().div_ceil(1_000_000).min(longest) as u32);
    if count == 0 {
        std::thread::sleep(Duration::from_millis(u64::from(milliseconds)));
        return Ok(None);
    }
    // SAFETY: so many handles are there, and all are open.
    match unsafe { WaitForMultipleObjects(count as u32, raw.as_ptr(), 0, milliseconds) } {
        WAIT_FAILED => Err(io::Error::last_os_error()),
        which => Ok(Some(which.wrapping_sub(WAIT_OBJECT_0) as usize).filter(|which| *which < count)),
    }
}

/// Bytes that can be read from a pipe at once. An error if nobody is left to write any.
pub fn pending_input(pipe: BorrowedHandle<'_>) -> io::Result<u32> {
    let mut available = 0;
    // SAFETY: the handle is open, and the number is written to our variable. Nothing is read.
    result(unsafe {
        PeekNamedPipe(
            pipe.as_raw_handle(),
            ptr::null_mut(),
            0,
            ptr::null_mut(),
            &mut available,
            ptr::null_mut(),
        )
    })?;
    Ok(available)
}

/// A thread whose calls others can end.
pub struct Thread(OwnedHandle);

impl Thread {
    /// The calling thread.
    pub fn current() -> io::Result<Thread> {
        // SAFETY: queries without arguments, and the calling thread exists. `CancelSynchronousIo` wants this right.
        let thread = unsafe { OpenThread(THREAD_TERMINATE, 0, GetCurrentThreadId()) };
        if thread.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle is new and ours.
        Ok(Thread(unsafe { OwnedHandle::from_raw_handle(thread) }))
    }

    /// Ends the call that the thread waits in for a file, a pipe or a console, if it does. That call fails then.
    pub fn cancel_call(&self) {
        // SAFETY: the handle is open. It fails when the thread is in no such call.
        unsafe { CancelSynchronousIo(self.0.as_raw_handle()) };
    }
}

fn steps(time: FILETIME) -> u64 {
    u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime)
}

/// The times of creation and end, in the system and in the program.
type Query =
    unsafe extern "system" fn(RawHandle, *mut FILETIME, *mut FILETIME, *mut FILETIME, *mut FILETIME) -> i32;

fn time(query: Query, of: RawHandle) -> Duration {
    let [mut created, mut ended, mut kernel, mut user] = [FILETIME::default(); 4];
    // SAFETY: the handle stands for the caller itself, and the times are written to our variables.
    unsafe { query(of, &mut created, &mut ended, &mut kernel, &mut user) };
    Duration::from_nanos((steps(kernel) + steps(user)).saturating_mul(100))
}

/// How long this process has been running on processors.
pub fn process_time() -> Duration {
    // SAFETY: a query without arguments.
    time(GetProcessTimes, unsafe { GetCurrentProcess() })
}

/// How long the calling thread has been running on one.
pub fn thread_time() -> Duration {
    // SAFETY: a query without arguments.
    time(GetThreadTimes, unsafe { GetCurrentThread() })
}
