//! Faults in compiled code and their answers: the interface between the signal handler and its installer.

/// An instruction that faulted.
#[derive(Clone, Copy)]
pub struct Fault {
    pub pc: usize,
    pub fp: usize,
    /// What it accessed, if it accessed memory.
    pub address: usize,
}

/// Where a thread is that was interrupted.
#[derive(Clone, Copy)]
pub struct Registers {
    pub pc: usize,
    pub fp: usize,
    pub sp: usize,
}

/// How to continue after a fault in compiled code.
#[derive(Clone, Copy)]
pub enum Answer {
    /// Execute the same instruction again.
    Again,
    Resume(Resume),
    /// Continue at `arch::ask`, which gets its data from here. It returns to the same instruction, or ends
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

/// Data for `arch::ask`. It lives as long as the faulting code may run.
#[repr(C)]
pub struct Asking {
    /// The pc of the faulting instruction. The signal handler writes this field and the next.
    pub pc: usize,
    /// The previous value of the register that now holds the address of this struct.
    pub register: usize,
    /// The function to call. It gets the stub's frame, which begins with the code's frame pointer and `pc`.
    /// It returns null if the instruction is to be executed again, else the `pc`, `sp`, `fp` and `payload` to
    /// continue with.
    pub asked: unsafe extern "C" fn(frame: *const [usize; 2]) -> *const [usize; 4],
}
