//! The compile threads of the process.
//!
//! Used by `Module` and the parallel parts of compilation. There are as many threads as the machine has
//! cores, for work that somebody waits for, and one thread less, of low priority, for the rest. They start when there
//! is work, and end some time after it. Invariant: a compilation never depends on a free thread. The caller does
//! the work itself, and other threads help if they can.

use crate::error::CompileError;
use crate::progress::Tally;
use crate::sys::{lower_priority, pin_library};
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Cranelift recurses over the code's structure, so its threads need a large stack.
const STACK: usize = 8 << 20;
/// A thread ends after this long without work.
const IDLE: Duration = Duration::from_secs(5);

type Task = Box<dyn FnOnce() + Send>;

struct Pool {
    /// Whether nobody waits for the work.
    background: bool,
    state: Mutex<State>,
    /// Notified when there is work.
    work: Condvar,
    /// Notified when a helper has finished.
    back: Condvar,
}

#[derive(Default)]
struct State {
    /// Requests for help with running work have priority over new tasks.
    helps: VecDeque<Help>,
    tasks: VecDeque<Task>,
    threads: usize,
    idle: usize,
}

/// A request to help with running work.
struct Help {
    work: Work,
    group: Arc<Group>,
}

/// Borrowed from a caller of [`together`], which waits until no other thread has it.
#[derive(Clone, Copy)]
struct Work(NonNull<dyn Fn() + Sync>);

// SAFETY: the pointer is only used to call the closure, which is `Sync`.
unsafe impl Send for Work {}

/// The helpers of one piece of work.
#[derive(Default)]
struct Group {
    /// The number of running helpers. It changes only under the pool's lock.
    running: AtomicUsize,
}

static POOL: Pool = Pool::new(false);
static BACKGROUND: Pool = Pool::new(true);

/// Runs `task` on a thread of low priority, in order with other such tasks. If the system gives no thread, it may
/// never run.
pub fn spawn_background(task: impl FnOnce() + Send + 'static) {
    let mut state = BACKGROUND.lock();
    state.tasks.push_back(Box::new(task));
    BACKGROUND.call(&mut state);
}

/// The number of threads of low priority. They leave a core to whoever runs meanwhile.
pub fn background_threads() -> usize {
    cores().saturating_sub(1).max(1)
}

/// Runs `task` on a thread of the pool, in order with other tasks. If the system gives no thread at all, the
/// task runs here immediately.
pub fn spawn(task: impl FnOnce() + Send + 'static) {
    let mut state = POOL.lock();
    state.tasks.push_back(Box::new(task));
    POOL.call(&mut state);
    if state.threads == 0 {
        let task = state.tasks.pop_back();
        drop(state);
        task.into_iter().for_each(|task| task());
    }
}

/// Runs `own` here and `help` on up to `helpers` threads of the pool at the same time. Returns when all calls
/// that started have returned.
pub fn together<R>(helpers: usize, help: &(dyn Fn() + Sync), own: impl FnOnce() -> R) -> R {
    if helpers == 0 {
        return own();
    }
    /// On drop, withdraws the requests and waits for the threads that took one.
    struct Asked(Arc<Group>);
    impl Drop for Asked {
        fn drop(&mut self) {
            let mut state = POOL.lock();
            state.helps.retain(|help| !Arc::ptr_eq(&help.group, &self.0));
            while self.0.running.load(Ordering::Relaxed) > 0 {
                state = POOL.back.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
    let asked = Asked(Arc::default());
    let help: NonNull<dyn Fn() + Sync + '_> = NonNull::from(help);
    // SAFETY: only the lifetime changes. Whatever happens in `own`, `asked` waits on drop until no other
    // thread has the pointer, and it is dropped before the pointee.
    let work =
        Work(unsafe { std::mem::transmute::<NonNull<dyn Fn() + Sync + '_>, NonNull<dyn Fn() + Sync>>(help) });
    let mut state = POOL.lock();
    for _ in 0..helpers.min(cores()) {
        state.helps.push_back(Help { work, group: asked.0.clone() });
        POOL.call(&mut state);
    }
    drop(state);
    own()
}

/// The number of cores for this process. The system is asked once: it reads several files to tell.
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

impl Pool {
    const fn new(background: bool) -> Pool {
        Pool {
            background,
            state: Mutex::new(State { helps: VecDeque::new(), tasks: VecDeque::new(), threads: 0, idle: 0 }),
            work: Condvar::new(),
            back: Condvar::new(),
        }
    }

    fn most_threads(&self) -> usize {
        if self.background { background_threads() } else { cores() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a thread for work that was just queued.
    fn call(&'static self, state: &mut State) {
        if state.idle >= state.tasks.len() + state.helps.len() {
            self.work.notify_one();
        } else if state.threads < self.most_threads() {
            pin_library();
            let thread = std::thread::Builder::new().name("wasm-compile".into()).stack_size(STACK);
            // If the system refuses a thread, the others do the work.
            if thread.spawn(|| self.serve()).is_ok() {
                state.threads += 1;
            }
        }
    }

    fn serve(&self) {
        if self.background {
            lower_priority();
        }
        let mut state = self.lock();
        loop {
            // A panic is a bug. The waiting caller notices it, because the result is missing.
            if let Some(Help { work, group }) = state.helps.pop_front() {
                group.running.fetch_add(1, Ordering::Relaxed);
                drop(state);
                // SAFETY: the requesting thread waits for this call: see `together`.
                let _ = catch_unwind(AssertUnwindSafe(|| unsafe { work.0.as_ref()() }));
                state = self.lock();
                group.running.fetch_sub(1, Ordering::Relaxed);
                self.back.notify_all();
            } else if let Some(task) = state.tasks.pop_front() {
                drop(state);
                let _ = catch_unwind(AssertUnwindSafe(task));
                state = self.lock();
            } else {
                state.idle += 1;
                let (woken, waited) =
                    self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
                state = woken;
                state.idle -= 1;
                if waited.timed_out() && state.helps.is_empty() && state.tasks.is_empty() {
                    state.threads -= 1;
                    return;
                }
            }
        }
    }
}

/// When to stop a compilation: no caller waits for it any more. And how far it is.
pub struct Stop<'a> {
    /// Any thread may set it.
    pub flag: &'a AtomicBool,
    /// Called regularly by the compiling thread. If it returns false, the flag is set.
    pub go_on: &'a dyn Fn() -> bool,
    /// Where the functions that are made are counted.
    pub tally: Option<&'a Arc<Tally>>,
    asked: Cell<Instant>,
}

impl<'a> Stop<'a> {
    const INTERVAL: Duration = Duration::from_millis(50);

    pub fn new(flag: &'a AtomicBool, go_on: &'a dyn Fn() -> bool) -> Stop<'a> {
        Stop { flag, go_on, tally: None, asked: Cell::new(Instant::now()) }
    }

    pub fn counting(self, tally: &'a Arc<Tally>) -> Stop<'a> {
        Stop { tally: Some(tally), ..self }
    }

    /// Call this between functions.
    pub fn is_set(&self) -> bool {
        if self.asked.get().elapsed() > Stop::INTERVAL {
            self.asked.set(Instant::now());
            if !(self.go_on)() {
                self.flag.store(true, Ordering::Relaxed);
            }
        }
        self.flag.load(Ordering::Relaxed)
    }

    pub fn error() -> CompileError {
        CompileError::general("the compilation was stopped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_is_lent_to_helpers_is_back_when_the_work_is_done() {
        for _ in 0..200 {
            let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let work = || {
                while next.fetch_add(1, Ordering::Relaxed) < 100 {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            };
            together(4, &work, work);
            assert_eq!(done.into_inner(), 100);
        }
    }

    #[test]
    fn work_inside_tasks_needs_no_free_thread() {
        let (told, heard) = mpsc::channel();
        for _ in 0..4 * cores() {
            let told = told.clone();
            spawn(move || {
                let count = AtomicUsize::new(0);
                let work = || _ = count.fetch_add(1, Ordering::Relaxed);
                together(cores(), &work, work);
                told.send(count.into_inner() >= 1).expect("somebody listens");
            });
        }
        for _ in 0..4 * cores() {
            assert!(heard.recv_timeout(Duration::from_secs(60)).expect("every task runs"));
        }
    }

    #[test]
    fn a_panic_here_leaves_no_helper_with_what_is_gone() {
        let count = AtomicUsize::new(0);
        let help = || _ = count.fetch_add(1, Ordering::Relaxed);
        let panicked = catch_unwind(AssertUnwindSafe(|| together(4, &help, || panic!("on purpose"))));
        assert!(panicked.is_err());
    }
}
