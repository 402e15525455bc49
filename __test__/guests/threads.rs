//! What a program built for wasm32-wasip1-threads finds of threads: the first argument says what to do.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, RwLock};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args[1].as_str() {
        "mutex" => mutex(),
        "condvar" => condvar(),
        "scope" => scope(),
        "many" => many(),
        "limit" => limit(),
        "locals" => locals(),
        "files" => files(&args[2]),
        "stdin" => stdin(),
        "sleep" => sleep(),
        "grow" => grow(),
        "panic" => in_thread_while(&args[2], || panic!("thread of a guest")),
        "exit" => in_thread_while(&args[2], || std::process::exit(7)),
        "main-ends" => {
            (0..3).for_each(|_| started(for_ever(&args[2])));
            println!("main ends");
        }
        "for-ever" => {
            (0..3).for_each(|_| started(for_ever(&args[2])));
            for_ever(&args[2])();
        }
        other => panic!("{other}"),
    }
}

/// Something that does not end by itself.
fn for_ever(how: &str) -> Box<dyn Fn() + Send> {
    match how {
        "spin" => Box::new(|| loop {
            std::hint::spin_loop();
        }),
        "sleep" => Box::new(|| thread::sleep(Duration::from_secs(1_000_000))),
        "wait" => Box::new(|| drop(Condvar::new().wait(Mutex::new(()).lock().unwrap()))),
        "read" => Box::new(|| drop(std::io::stdin().lock().read_line(&mut String::new()))),
        "print" => Box::new(|| loop {
            println!("{}", "again and again ".repeat(100));
        }),
        other => panic!("{other}"),
    }
}

/// Starts a thread, and returns when it runs.
fn started(what: Box<dyn Fn() + Send>) {
    let barrier = Arc::new(Barrier::new(2));
    let runs = barrier.clone();
    thread::spawn(move || {
        runs.wait();
        what()
    });
    barrier.wait();
}

fn in_thread_while(main: &str, what: fn()) {
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        what()
    });
    for_ever(main)();
}

fn mutex() {
    let (total, read) = (Arc::new(Mutex::new(0u64)), Arc::new(RwLock::new(1u64)));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (total, read) = (total.clone(), read.clone());
            thread::spawn(move || {
                for _ in 0..5_000 {
                    *total.lock().unwrap() += *read.read().unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    println!("{}", total.lock().unwrap());
}

/// Two threads hand a number to each other, by a condition variable and by a channel.
fn condvar() {
    let turn = Arc::new((Mutex::new(0u32), Condvar::new()));
    let other = turn.clone();
    let thread = thread::spawn(move || take_turns(&other, 1));
    take_turns(&turn, 0);
    thread.join().unwrap();
    let ((to, from), (back, answers)) = (channel::<u32>(), channel::<u32>());
    let thread = thread::spawn(move || from.iter().for_each(|number| back.send(number * 2).unwrap()));
    let doubled: u32 = (0..100)
        .map(|number| {
            to.send(number).unwrap();
            answers.recv().unwrap()
        })
        .sum();
    drop(to);
    thread.join().unwrap();
    println!("{} {doubled}", turn.0.lock().unwrap());
}

fn take_turns((number, changed): &(Mutex<u32>, Condvar), mine: u32) {
    for _ in 0..500 {
        let mut number = changed.wait_while(number.lock().unwrap(), |number| *number % 2 != mine).unwrap();
        *number += 1;
        changed.notify_all();
    }
}

/// Work that threads take from a common heap, as rayon's do, and that starts more of its kind.
fn scope() {
    fn sum(numbers: &[u64]) -> u64 {
        if numbers.len() <= 1000 {
            return numbers.iter().map(|number| number * number % 7).sum();
        }
        let (left, right) = numbers.split_at(numbers.len() / 2);
        thread::scope(|scope| {
            let left = scope.spawn(|| sum(left));
            sum(right) + left.join().unwrap()
        })
    }
    let numbers: Vec<u64> = (0..32_000).collect();
    let (next, total) = (AtomicUsize::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    total.fetch_add(number * number % 7, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{} {}", sum(&numbers), total.into_inner());
}

fn many() {
    let count = (0..1000u32).map(|number| thread::spawn(move || number % 3).join().unwrap()).sum::<u32>();
    println!("{count}");
}

/// As many threads as there may be, and again when they are gone.
fn limit() {
    for _ in 0..3 {
        let stop = Arc::new(Barrier::new(6));
        let mut threads = Vec::new();
        let error = loop {
            let stop = stop.clone();
            match Builder::new().spawn(move || drop(stop.wait())) {
                Ok(thread) => threads.push(thread),
                Err(error) => break error,
            }
        };
        println!("{} {:?}", threads.len(), error.kind());
        stop.wait();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Each thread has values of its own, which are dropped when it ends.
fn locals() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    static ONCE: Once = Once::new();
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    thread_local! {
        static OWN: RefCell<(u32, Option<Counted>)> = const { RefCell::new((0, None)) };
    }
    let threads: Vec<_> = (0..10)
        .map(|number| {
            thread::spawn(move || {
                ONCE.call_once(|| println!("once"));
                OWN.with_borrow_mut(|own| *own = (own.0 + number, Some(Counted)));
                thread::yield_now();
                OWN.with_borrow(|own| assert_eq!(own.0, number));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    println!("{} dropped, main has {}", DROPPED.load(Ordering::Relaxed), OWN.with_borrow(|own| own.0));
}

/// Threads that use the same descriptors, and open and close others, at the same time.
fn files(dir: &str) {
    let path = format!("{dir}/lines");
    let file = Arc::new(OpenOptions::new().create(true).append(true).open(&path).unwrap());
    let threads: Vec<_> = (0..6)
        .map(|number| {
            let (file, dir) = (file.clone(), dir.to_string());
            thread::spawn(move || {
                for round in 0..50 {
                    (&*file).write_all(format!("{number} {round}\n").as_bytes()).unwrap();
                    println!("{number} {round}");
                    let own = format!("{dir}/own-{number}");
                    fs::write(&own, format!("{number} {round}")).unwrap();
                    assert_eq!(fs::read_to_string(&own).unwrap(), format!("{number} {round}"));
                    assert!(fs::read_dir(&dir).unwrap().count() > 0);
                    assert!(File::open(format!("{dir}/none")).is_err());
                    file.metadata().unwrap();
                    fs::remove_file(&own).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    eprintln!("{} lines", lines.len());
}

/// One thread waits for input while others go on.
fn stdin() {
    let reader = thread::spawn(|| std::io::stdin().lock().lines().map_while(Result::ok).collect::<Vec<_>>());
    let worker = thread::spawn(|| (0..100_000u64).fold(0, |sum, number| sum ^ number));
    println!("{} while it waits", worker.join().unwrap());
    println!("{:?}", reader.join().unwrap());
}

fn sleep() {
    let start = Instant::now();
    let threads: Vec<_> = (0..5).map(|_| thread::spawn(|| thread::sleep(Duration::from_millis(200)))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let (lock, changed) = (Mutex::new(()), Condvar::new());
    let (_held, timeout) = changed.wait_timeout(lock.lock().unwrap(), Duration::from_millis(50)).unwrap();
    println!("{} {}", timeout.timed_out(), start.elapsed() >= Duration::from_millis(250));
}

/// Each thread needs more memory than there was. None asks for it before all have started, so that what fails is never
/// the stack of the next one, and none gives it back before all have theirs.
fn grow() {
    let all = Arc::new(Barrier::new(8));
    let grow = |number: u8, all: Arc<Barrier>| {
        move || {
            all.wait();
            let bytes = vec![number; 3 << 20];
            all.wait();
            bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>() >> 20
        }
    };
    let threads: Vec<_> = (0..8)
        .map(|number| Builder::new().stack_size(64 << 10).spawn(grow(number, all.clone())).unwrap())
        .collect();
    println!("{:?}", threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>());
}
