//! A fault in compiled code, and how it is answered: between the signal handler and who installed it.

/// An instruction that faulted.
#[derive(Clone, Copy)]
pub struct Fault {
    pub pc: usize,
    pub fp: usize,
}

/// How a fault of ours is answered.
#[derive(Clone, Copy)]
pub enum Answer {
    /// By the same instruction once more.
    Again,
    Resume(Resume),
    /// By `arch::ask`, which has what it needs from here and comes to the same instruction again, or ends
    /// the guest.
    Ask(*mut Asking),
}

/// Where to continue.
#[derive(Clone, Copy)]
pub struct Resume {
    pub pc: usize,
    pub sp: usize,
    pub fp: usize,
}

/// What `arch::ask` needs. It lives as long as the loop that faulted may run.
#[repr(C)]
pub struct Asking {
    /// Of the instruction that faulted. The signal handler writes this field and the next.
    pub pc: usize,
    /// What was in the register that now has the address of this.
    pub register: usize,
    /// Who is asked. It gets the stub's frame, which begins with the loop's frame pointer and `pc`, and
    /// returns null if the loop may go on; else `pc`, `sp`, `fp` and `payload` to continue at.
    pub asked: unsafe extern "C" fn(frame: *const [usize; 2]) -> *const [usize; 4],
}
