//! The bounds of the current thread's stack.

use std::ops::Range;
use windows_sys::Win32::System::Threading::GetCurrentThreadStackLimits;

/// Whether the system makes a stack's pages in order, from the top: then no function may leave one out.
pub const GROWS_IN_ORDER: bool = true;

/// The address range of the current thread's stack: all that is reserved for it. The system keeps its lowest pages
/// for what it does when the stack ends, which is a small part of what the engine leaves to the host.
pub fn stack_bounds() -> Range<usize> {
    let (mut low, mut high) = (0, 0);
    // SAFETY: both are written to our variables.
    unsafe { GetCurrentThreadStackLimits(&mut low, &mut high) };
    low..high
}
