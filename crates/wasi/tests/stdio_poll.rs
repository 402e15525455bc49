//! Standard streams, waiting, clocks, random bytes, sockets.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

use support::*;
use wasi::{Ending, Errno, Error, GuestMemory, Oflags, OutputBuffer, Rights, Stdio, WasiCtx, p1};

const IN: u32 = 0x1000;
const OUT: u32 = 0x2000;
const COUNT: u32 = 0x3000;
const MS: u64 = 1_000_000;

#[derive(Debug, PartialEq, Eq)]
struct Event {
    userdata: u64,
    errno: u16,
    kind: u8,
    nbytes: u64,
    hangup: bool,
}

fn ready(userdata: u64, kind: u8, nbytes: u64) -> Event {
    Event { userdata, errno: 0, kind, nbytes, hangup: false }
}

enum Sub {
    Clock { id: u32, timeout: u64, flags: u16 },
    Read(u32),
    Write(u32),
}

fn put_subscriptions(guest: &mut Guest, subs: &[Sub]) {
    for (index, sub) in subs.iter().enumerate() {
        let mut record = [0u8; 48];
        record[0..8].copy_from_slice(&(100 + index as u64).to_le_bytes());
        match sub {
            Sub::Clock { id, timeout, flags } => {
                record[16..20].copy_from_slice(&id.to_le_bytes());
                record[24..32].copy_from_slice(&timeout.to_le_bytes());
                record[40..42].copy_from_slice(&flags.to_le_bytes());
            }
            Sub::Read(fd) => {
                record[8] = 1;
                record[16..20].copy_from_slice(&fd.to_le_bytes());
            }
            Sub::Write(fd) => {
                record[8] = 2;
                record[16..20].copy_from_slice(&fd.to_le_bytes());
            }
        }
        guest.put(IN + index as u32 * 48, &record);
    }
}

fn poll(guest: &mut Guest, subs: &[Sub]) -> Result<Vec<Event>> {
    put_subscriptions(guest, subs);
    let n = subs.len() as u32;
    guest.call(|ctx, mem| p1::poll_oneoff(ctx, mem, IN, OUT, n, COUNT))?;
    Ok((0..guest.u32(COUNT))
        .map(|index| {
            let at = OUT + index * 32;
            let record = guest.bytes(at, 32);
            Event {
                userdata: guest.u64(at),
                errno: u16::from_le_bytes([record[8], record[9]]),
                kind: record[10],
                nbytes: guest.u64(at + 16),
                hangup: record[24] & 1 != 0,
            }
        })
        .collect())
}

fn relative(ms: u64) -> Sub {
    Sub::Clock { id: 1, timeout: ms * MS, flags: 0 }
}

#[test]
fn buffers_are_read_and_captured() {
    let out = OutputBuffer::new(10);
    let mut guest = Guest::with(
        WasiCtx::builder()
            .stdin(Stdio::ReadBuffer(b"input".to_vec()))
            .stdout(Stdio::WriteBuffer(out.clone())),
    );
    assert_eq!(guest.read(0, 3), Ok(b"inp".to_vec()));
    assert_eq!(poll(&mut guest, &[Sub::Read(0)]), Ok(vec![ready(100, 1, 2)]));
    assert_eq!(guest.read(0, 9), Ok(b"ut".to_vec()));
    assert_eq!(guest.read(0, 9), Ok(vec![]));
    assert_eq!(guest.write(1, b"1234567"), Ok(7));
    assert_eq!(guest.write(1, b"89abc"), Ok(3), "short at the limit");
    assert_eq!(guest.write(1, b"x"), Err(Errno::Fbig));
    assert_eq!(out.take(), b"123456789a");
    assert_eq!(guest.write(1, b"again"), Ok(5));
    assert_eq!(out.take(), b"again");
    assert_eq!(guest.seek(0, 0, 0), Err(Errno::Spipe));
    assert_eq!(guest.write(0, b"x"), Err(Errno::Badf));
    assert_eq!(guest.read(1, 1), Err(Errno::Badf));
    assert_eq!(guest.read(2, 1), Err(Errno::Badf));
    guest.fstat(0).unwrap();
}

#[test]
fn what_is_over_the_limit_of_a_captured_stream_ends_the_guest() {
    let out = OutputBuffer::capture("stderr", 10);
    let mut guest = Guest::with(WasiCtx::builder().stderr(Stdio::WriteBuffer(out.clone())));
    assert_eq!(guest.write(2, b"1234567"), Ok(7));
    assert_eq!(guest.write(2, b"890"), Ok(3), "an exact fit");
    for _ in 0..2 {
        guest.put(64, &100u32.to_le_bytes());
        guest.put(68, &3u32.to_le_bytes());
        let mut over = Ok(());
        let _ = guest.call(|ctx, mem| {
            over = p1::fd_write(ctx, mem, 2, 64, 1, 16);
            Ok(())
        });
        let Err(Error::Ending(Ending::OutputLimit(limit))) = over else { panic!("{over:?}") };
        assert_eq!((limit.stream, limit.limit), ("stderr", 10));
    }
    assert_eq!(out.peek(), b"1234567890");
    assert_eq!(out.take(), b"1234567890");
    assert_eq!(guest.write(2, b"again"), Ok(5));
}

#[test]
fn a_pipe_waits_for_its_writer() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut guest = Guest::with(WasiCtx::builder().stdin(Stdio::Host(reader.into())));
    assert_eq!(
        poll(&mut guest, &[Sub::Read(0), relative(20)]),
        Ok(vec![ready(101, 0, 0)]),
        "nothing to read yet"
    );
    writer.write_all(b"abc").unwrap();
    assert_eq!(poll(&mut guest, &[relative(10_000), Sub::Read(0)]), Ok(vec![ready(101, 1, 3)]));
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        writer.write_all(b"def").unwrap();
    });
    assert_eq!(guest.read(0, 10), Ok(b"abc".to_vec()));
    assert_eq!(guest.read(0, 10), Ok(b"def".to_vec()));
    late.join().unwrap();
    let events = poll(&mut guest, &[Sub::Read(0)]).unwrap();
    assert!(events[0].hangup, "the writer is gone");
    assert_eq!(guest.read(0, 10), Ok(vec![]));
}

#[test]
fn nonblock_is_the_guests_own() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut guest = Guest::with(WasiCtx::builder().stdin(Stdio::Host(reader.try_clone().unwrap().into())));
    guest.call(|ctx, mem| p1::fd_fdstat_set_flags(ctx, mem, 0, 4)).unwrap();
    assert_eq!(guest.read(0, 1), Err(Errno::Again));
    assert_eq!(guest.fdstat(0).unwrap().1, 4);
    let host = rustix::fs::fcntl_getfl(&reader).unwrap();
    assert!(!host.contains(rustix::fs::OFlags::NONBLOCK), "the host shares the description");
    writer.write_all(b"x").unwrap();
    assert_eq!(guest.read(0, 5), Ok(b"x".to_vec()));

    // And the other way: a description the host left non-blocking blocks.
    guest.call(|ctx, mem| p1::fd_fdstat_set_flags(ctx, mem, 0, 0)).unwrap();
    rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK).unwrap();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        writer.write_all(b"y").unwrap();
    });
    assert_eq!(guest.read(0, 5), Ok(b"y".to_vec()));
}

#[test]
fn clocks_strike_in_time_and_together() {
    let (mut guest, _host) = guest();
    let now = |guest: &mut Guest, id| {
        guest.call(|ctx, mem| p1::clock_time_get(ctx, mem, id, 0, 16)).unwrap();
        guest.u64(16)
    };
    let start = Instant::now();
    let events = poll(&mut guest, &[relative(30), relative(10_000), relative(30)]).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(events[0], ready(100, 0, 0));
    assert_eq!(poll(&mut guest, &[relative(0)]), Ok(vec![ready(100, 0, 0)]));
    for id in [0, 1] {
        let at = now(&mut guest, id) + 20 * MS;
        let past = Sub::Clock { id, timeout: 1, flags: 1 };
        assert_eq!(poll(&mut guest, &[past]), Ok(vec![ready(100, 0, 0)]));
        poll(&mut guest, &[Sub::Clock { id, timeout: at, flags: 1 }]).unwrap();
        assert!(now(&mut guest, id) >= at);
    }
    let events = poll(
        &mut guest,
        &[
            Sub::Clock { id: 1, timeout: u64::MAX, flags: 0 },
            Sub::Clock { id: 0, timeout: u64::MAX, flags: 1 },
            relative(1),
            Sub::Clock { id: 9, timeout: 0, flags: 0 },
        ],
    )
    .unwrap();
    let refused = Event { errno: Errno::Inval.raw(), ..ready(103, 0, 0) };
    assert_eq!(events, [refused], "what is refused does not wait for the others");
    let odd = Sub::Clock { id: 1, timeout: 0, flags: 2 };
    assert_eq!(poll(&mut guest, &[odd]), Err(Errno::Inval));
    assert_eq!(poll(&mut guest, &[]), Err(Errno::Inval));
}

#[test]
fn files_are_ready_and_bad_descriptors_say_so() {
    let (mut guest, _host) = guest();
    guest.write_file("f", b"0123456789").unwrap();
    let fd = guest.open("f", Oflags::empty(), READ_WRITE).unwrap();
    guest.seek(fd, 4, 0).unwrap();
    let blind = guest.open("f", Oflags::empty(), Rights::FD_READ).unwrap();
    guest.set_rights(blind, Rights::FD_READ, Rights::empty()).unwrap();
    let events =
        poll(&mut guest, &[Sub::Write(fd), relative(60_000), Sub::Read(fd), Sub::Read(77), Sub::Read(blind)])
            .unwrap();
    assert_eq!(
        events,
        [
            ready(100, 2, 0),
            ready(102, 1, 6),
            Event { errno: Errno::Badf.raw(), ..ready(103, 1, 0) },
            Event { errno: Errno::Notcapable.raw(), ..ready(104, 1, 0) },
        ]
    );
}

#[test]
fn an_interrupt_ends_every_wait() {
    fn interrupted(wait: impl FnOnce(&WasiCtx, &GuestMemory<'_>) -> std::result::Result<(), Error>) {
        let (reader, _writer) = std::io::pipe().unwrap();
        let mut guest = Guest::with(WasiCtx::builder().stdin(Stdio::Host(reader.into())));
        put_subscriptions(&mut guest, &[relative(60_000), Sub::Read(0)]);
        guest.put(64, &0x5000u32.to_le_bytes());
        guest.put(68, &16u32.to_le_bytes());
        let interrupt = guest.ctx.interrupt().unwrap();
        let start = Instant::now();
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            interrupt.fire();
        });
        let base = guest.memory().as_mut_ptr();
        // SAFETY: the memory lives in `guest` until the end.
        let mem = unsafe { GuestMemory::from_raw(base, MEMORY) };
        assert_eq!(wait(&guest.ctx, &mem), Err(Error::Ending(Ending::Interrupted)));
        assert!(start.elapsed() < Duration::from_secs(10));
        other.join().unwrap();
        assert_eq!(
            p1::sched_yield(&guest.ctx, &mem),
            Err(Error::Ending(Ending::Interrupted)),
            "it stays interrupted"
        );
    }
    interrupted(|ctx, mem| p1::poll_oneoff(ctx, mem, IN, OUT, 1, COUNT));
    interrupted(|ctx, mem| p1::poll_oneoff(ctx, mem, IN, OUT, 2, COUNT));
    interrupted(|ctx, mem| p1::poll_oneoff(ctx, mem, IN + 48, OUT, 1, COUNT));
    interrupted(|ctx, mem| p1::fd_read(ctx, mem, 0, 64, 1, 16));
}

/// A context whose standard streams are these, and whose waits can be ended.
fn armed(builder: wasi::WasiCtxBuilder) -> Guest {
    let guest = Guest::with(builder);
    guest.ctx.interrupt().unwrap();
    guest
}

/// More than a pipe or a socket takes at once.
const MUCH: usize = 900_000;

/// A buffer of so many bytes, described at 64.
fn describe_much(guest: &mut Guest) {
    guest.put(64, &4096u32.to_le_bytes());
    guest.put(68, &(MUCH as u32).to_le_bytes());
}

#[test]
fn an_interrupt_ends_a_write_of_more_than_the_other_end_takes() {
    let (_reader, writer) = std::io::pipe().unwrap();
    let (socket, _other) = UnixStream::pair().unwrap();
    let builder = WasiCtx::builder().stdout(Stdio::Host(writer.into())).socket(socket.into());
    let mut guest = armed(builder);
    describe_much(&mut guest);
    type Call = fn(&WasiCtx, &GuestMemory<'_>) -> std::result::Result<(), Error>;
    let calls: [Call; 4] = [
        |ctx, mem| p1::fd_write(ctx, mem, 1, 64, 1, 16),
        |ctx, mem| p1::fd_write(ctx, mem, 3, 64, 1, 16),
        |ctx, mem| p1::sock_send(ctx, mem, 3, 64, 1, 0, 16),
        |ctx, mem| p1::sock_recv(ctx, mem, 3, 64, 1, 2, 16, 20),
    ];
    for call in calls {
        let interrupt = guest.ctx.interrupt().unwrap();
        let other = interrupt.clone();
        let fires = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            other.fire();
        });
        let base = guest.memory().as_mut_ptr();
        // SAFETY: the memory lives in `guest` until the end.
        let mem = unsafe { GuestMemory::from_raw(base, MEMORY) };
        assert_eq!(call(&guest.ctx, &mem), Err(Error::Ending(Ending::Interrupted)));
        fires.join().unwrap();
        interrupt.clear();
    }
}

#[test]
fn a_write_that_waits_moves_all_of_it() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let (socket, mut other) = UnixStream::pair().unwrap();
    let builder = WasiCtx::builder().stdout(Stdio::Host(writer.into())).socket(socket.into());
    let mut guest = armed(builder);
    describe_much(&mut guest);
    for (at, byte) in guest.memory()[4096..4096 + MUCH].iter_mut().enumerate() {
        *byte = at as u8;
    }
    let expected = guest.memory()[4096..4096 + MUCH].to_vec();
    let read = std::thread::spawn(move || {
        let (mut piped, mut sent) = (vec![0; MUCH], vec![0; MUCH]);
        reader.read_exact(&mut piped).unwrap();
        other.read_exact(&mut sent).unwrap();
        (piped, sent)
    });
    for fd in [1, 3] {
        guest.call(|ctx, mem| p1::fd_write(ctx, mem, fd, 64, 1, 16)).unwrap();
        assert_eq!(guest.u32(16), MUCH as u32);
    }
    let (piped, sent) = read.join().unwrap();
    assert!(piped == expected && sent == expected);
}

#[test]
fn who_does_not_wait_writes_what_there_is_room_for() {
    // The host's own description waits.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut guest = Guest::with(WasiCtx::builder().stdout(Stdio::Host(writer.into())));
    describe_much(&mut guest);
    guest.call(|ctx, mem| p1::fd_fdstat_set_flags(ctx, mem, 1, 4)).unwrap();
    // Where the kernel has no writes that do not wait, each is only as long as a pipe takes as one.
    let mut written = 0;
    let refused = loop {
        match guest.call(|ctx, mem| p1::fd_write(ctx, mem, 1, 64, 1, 16)) {
            Ok(()) => written += guest.u32(16) as usize,
            Err(error) => break error,
        }
        assert!(written < MUCH, "{written}");
    };
    assert_eq!(refused, Errno::Again);
    assert!(written > 0);
    reader.read_exact(&mut vec![0; written]).unwrap();
    guest.call(|ctx, mem| p1::fd_write(ctx, mem, 1, 64, 1, 16)).unwrap();
}

#[test]
fn an_interrupt_ends_all_readers_of_one_pipe() {
    const BYTES: usize = 500;
    let (reader, mut writer) = std::io::pipe().unwrap();
    let guest = armed(WasiCtx::builder().stdin(Stdio::Host(reader.into())));
    let ctx = &guest.ctx;
    let reads = || {
        let mut memory = vec![0u8; 256];
        memory[64..68].copy_from_slice(&128u32.to_le_bytes());
        memory[68] = 8;
        let mut count = 0;
        loop {
            // All are told that there is something, and one gets it.
            match p1::fd_read(ctx, &GuestMemory::from_slice(&mut memory), 0, 64, 1, 16) {
                Ok(()) => count += usize::from(memory[16]),
                Err(error) => return (count, error),
            }
        }
    };
    std::thread::scope(|scope| {
        let readers = [scope.spawn(reads), scope.spawn(reads), scope.spawn(reads)];
        for _ in 0..BYTES {
            writer.write_all(b"!").unwrap();
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(50));
        ctx.interrupt().unwrap().fire();
        let read = readers.map(|reader| reader.join().unwrap());
        assert!(read.iter().all(|(_, error)| *error == Error::Ending(Ending::Interrupted)), "{read:?}");
        assert_eq!(read.iter().map(|(count, _)| count).sum::<usize>(), BYTES);
    });
}

#[test]
fn a_blocked_read_blocks_nobody_else() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let guest = Guest::with(WasiCtx::builder().stdin(Stdio::Host(reader.into())));
    let ctx = &guest.ctx;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut memory = vec![0u8; 256];
            memory[64..68].copy_from_slice(&128u32.to_le_bytes());
            memory[68] = 8;
            // SAFETY: the memory outlives the call.
            let mem = unsafe { GuestMemory::from_raw(memory.as_mut_ptr(), 256) };
            p1::fd_read(ctx, &mem, 0, 64, 1, 16).unwrap();
            assert_eq!(memory[128], b'!');
        });
        std::thread::sleep(Duration::from_millis(30));
        let mut memory = vec![0u8; 256];
        // SAFETY: as above.
        let mem = unsafe { GuestMemory::from_raw(memory.as_mut_ptr(), 256) };
        p1::fd_fdstat_get(ctx, &mem, 0, 0).unwrap();
        p1::fd_close(ctx, &mem, 0).unwrap();
        p1::fd_renumber(ctx, &mem, 1, 2).unwrap();
        writer.write_all(b"!").unwrap();
    });
}

#[test]
fn sockets_talk() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (one, mut other) = UnixStream::pair().unwrap();
    let (datagrams, sender) = UnixDatagram::pair().unwrap();
    let mut guest =
        Guest::with(WasiCtx::builder().socket(listener.into()).socket(one.into()).socket(datagrams.into()));
    let (listening, stream, datagram) = (3, 4, 5);
    assert_eq!(guest.fdstat(stream).unwrap().0, 6);
    assert_eq!(guest.fdstat(datagram).unwrap().0, 5);

    assert_eq!(poll(&mut guest, &[Sub::Read(listening), relative(10)]), Ok(vec![ready(101, 0, 0)]));
    let mut client = TcpStream::connect(address).unwrap();
    assert_eq!(poll(&mut guest, &[Sub::Read(listening)]).unwrap()[0].errno, 0);
    guest.call(|ctx, mem| p1::sock_accept(ctx, mem, listening, 4, 16)).unwrap();
    let accepted = guest.u32(16);
    assert_eq!(guest.fdstat(accepted).unwrap().1, 4);
    assert_eq!(guest.read(accepted, 5), Err(Errno::Again));
    client.write_all(b"hello").unwrap();
    poll(&mut guest, &[Sub::Read(accepted)]).unwrap();
    let recv = |guest: &mut Guest, fd, len: u32, flags| {
        guest.put(64, &0x5000u32.to_le_bytes());
        guest.put(68, &len.to_le_bytes());
        guest.call(|ctx, mem| p1::sock_recv(ctx, mem, fd, 64, 1, flags, 16, 24))?;
        let len = guest.u32(16) as usize;
        Ok::<_, Errno>((guest.bytes(0x5000, len).to_vec(), guest.bytes(24, 1)[0]))
    };
    assert_eq!(recv(&mut guest, accepted, 16, 1), Ok((b"hello".to_vec(), 0)), "peek");
    assert_eq!(guest.read(accepted, 16), Ok(b"hello".to_vec()));
    guest.write(accepted, b"bye").unwrap();
    guest.call(|ctx, mem| p1::sock_shutdown(ctx, mem, accepted, 2)).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "bye");

    guest.put(0x5000, b"datagram");
    guest.put(64, &0x5000u32.to_le_bytes());
    guest.put(68, &8u32.to_le_bytes());
    guest.call(|ctx, mem| p1::sock_send(ctx, mem, stream, 64, 1, 0, 16)).unwrap();
    let mut buffer = [0; 8];
    other.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"datagram");
    sender.send(b"0123456789").unwrap();
    assert_eq!(recv(&mut guest, datagram, 4, 0), Ok((b"0123".to_vec(), 1)), "cut");
    drop(other);
    assert_eq!(guest.write(stream, b"x"), Err(Errno::Pipe));

    assert_eq!(guest.call(|ctx, mem| p1::sock_shutdown(ctx, mem, stream, 0)), Err(Errno::Inval));
    assert_eq!(guest.call(|ctx, mem| p1::sock_accept(ctx, mem, stream, 0, 16)), Err(Errno::Inval));
    for fd in [0, 1, 2] {
        assert_eq!(guest.call(|ctx, mem| p1::sock_shutdown(ctx, mem, fd, 1)), Err(Errno::Notsock));
    }
}

#[test]
fn arguments_and_environment_are_those_given() {
    let mut guest = Guest::with(
        WasiCtx::builder()
            .args(vec![b"prog".to_vec(), b"".to_vec(), b"\xff".to_vec()])
            .env(vec![(b"A".to_vec(), b"1=2".to_vec())]),
    );
    guest.call(|ctx, mem| p1::args_sizes_get(ctx, mem, 16, 20)).unwrap();
    assert_eq!((guest.u32(16), guest.u32(20)), (3, 8));
    guest.call(|ctx, mem| p1::args_get(ctx, mem, 64, 128)).unwrap();
    assert_eq!((guest.u32(64), guest.u32(68), guest.u32(72)), (128, 133, 134));
    assert_eq!(guest.bytes(128, 8), b"prog\0\0\xff\0");
    guest.call(|ctx, mem| p1::environ_sizes_get(ctx, mem, 16, 20)).unwrap();
    assert_eq!((guest.u32(16), guest.u32(20)), (1, 6));
    guest.call(|ctx, mem| p1::environ_get(ctx, mem, 64, 128)).unwrap();
    assert_eq!(guest.bytes(128, 6), b"A=1=2\0");
    let mut bare = Guest::with(WasiCtx::builder());
    bare.call(|ctx, mem| p1::environ_sizes_get(ctx, mem, 16, 20)).unwrap();
    assert_eq!((bare.u32(16), bare.u32(20)), (0, 0), "nothing leaks from the process");
}

#[test]
fn clocks_and_random_bytes() {
    let (mut guest, _host) = guest();
    for id in 0..4 {
        guest.call(|ctx, mem| p1::clock_res_get(ctx, mem, id, 16)).unwrap();
        assert!(guest.u64(16) > 0);
        guest.call(|ctx, mem| p1::clock_time_get(ctx, mem, id, 0, 16)).unwrap();
        let first = guest.u64(16);
        guest.call(|ctx, mem| p1::clock_time_get(ctx, mem, id, 0, 16)).unwrap();
        assert!(first > 0 && guest.u64(16) >= first);
    }
    let half = (MEMORY / 2) as u32;
    guest.call(|ctx, mem| p1::random_get(ctx, mem, half, half)).unwrap();
    let zeros = guest.bytes(half, half as usize).iter().filter(|byte| **byte == 0).count();
    assert!((1500..2700).contains(&zeros), "{zeros} of {half} bytes are zero");
    assert_eq!(guest.bytes(half - 16, 16), [0; 16], "nothing before the buffer");
    assert_eq!(guest.call(|ctx, mem| p1::random_get(ctx, mem, half, half + 1)), Err(Errno::Fault));
    assert_eq!(guest.call(|ctx, mem| p1::random_get(ctx, mem, 0, u32::MAX)), Err(Errno::Fault));
}

#[test]
fn exit_carries_its_code() {
    let guest = Guest::with(WasiCtx::builder());
    let mut memory = [0u8; 8];
    // SAFETY: the memory outlives the view.
    let mem = unsafe { GuestMemory::from_raw(memory.as_mut_ptr(), 8) };
    for code in [0, 1, 255, 256, u32::MAX] {
        assert_eq!(p1::proc_exit(&guest.ctx, &mem, code), Err(Error::Ending(Ending::Exit(code))));
    }
    assert_eq!(p1::proc_raise(&guest.ctx, &mem, 9), Err(Error::Errno(Errno::Notsup)));
}
