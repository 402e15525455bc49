//! `poll_oneoff`: its records in guest memory.

#![forbid(unsafe_code)]

use crate::alloc::vec_for;
use crate::clock::Clock;
use crate::ctx::WasiCtx;
use crate::errno::{Errno, Error};
use crate::poll::{self, Event, EventKind, Subscribed, Subscription};
use crate::sys::Interest;
use crate::types::Clockid;
use guest_memory::GuestMemory;

/// Where the parts of a `subscription` lie that preview 0 had elsewhere.
pub(crate) struct SubscriptionLayout {
    pub size: u32,
    pub clock_id: u32,
    pub clock_timeout: u32,
    pub clock_flags: u32,
}

const SUBSCRIPTION: SubscriptionLayout =
    SubscriptionLayout { size: 48, clock_id: 16, clock_timeout: 24, clock_flags: 40 };

const EVENT_SIZE: u32 = 32;
const SUBSCRIPTION_CLOCK_ABSTIME: u16 = 1;
const FD_READWRITE_HANGUP: u16 = 1;

/// `poll_oneoff`
pub fn poll_oneoff(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    in_: u32,
    out: u32,
    nsubscriptions: u32,
    nevents: u32,
) -> Result<(), Error> {
    poll(ctx, mem, &SUBSCRIPTION, in_, out, nsubscriptions, nevents)
}

pub(crate) fn poll(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    layout: &SubscriptionLayout,
    in_: u32,
    out: u32,
    nsubscriptions: u32,
    nevents: u32,
) -> Result<(), Error> {
    if nsubscriptions == 0 || nsubscriptions > ctx.limits.max_subscriptions {
        return Err(Errno::Inval.into());
    }
    mem.reserve(in_, nsubscriptions as usize * layout.size as usize)?;
    mem.reserve(out, nsubscriptions as usize * EVENT_SIZE as usize)?;
    mem.reserve(nevents, 4)?;
    if nsubscriptions == 1 && is_no_wait(&decode(mem, layout, in_)?) && matches!(ctx.clock, Clock::Host) {
        ctx.waiter.check()?;
        let event = Event::struck(mem.read_u64(in_)?);
        encode(mem, out, &event)?;
        return Ok(mem.write_u32(nevents, 1)?);
    }
    let mut subscriptions = vec_for(nsubscriptions as usize)?;
    for index in 0..nsubscriptions {
        subscriptions.push(decode(mem, layout, in_ + index * layout.size)?);
    }
    let events = poll::poll_oneoff(&ctx.table, &ctx.waiter, &ctx.clock, &subscriptions)?;
    for (event, slot) in events.iter().zip((out..).step_by(EVENT_SIZE as usize)) {
        encode(mem, slot, event)?;
    }
    Ok(mem.write_u32(nevents, events.len() as u32)?)
}

/// A sleep of no time at all, by which programs let others run.
fn is_no_wait(subscription: &Subscription) -> bool {
    matches!(subscription.what, Subscribed::Clock { timeout: 0, absolute: false, .. })
}

fn decode(mem: &GuestMemory<'_>, layout: &SubscriptionLayout, at: u32) -> Result<Subscription, Errno> {
    let interest = |interest| Ok::<_, Errno>(Subscribed::Fd { fd: mem.read_u32(at + 16)?, interest });
    let what = match mem.read_u8(at + 8)? {
        0 => {
            let flags = mem.read_u16(at + layout.clock_flags)?;
            if flags & !SUBSCRIPTION_CLOCK_ABSTIME != 0 {
                return Err(Errno::Inval);
            }
            match Clockid::from_guest(mem.read_u32(at + layout.clock_id)?) {
                Ok(id @ (Clockid::Realtime | Clockid::Monotonic)) => Subscribed::Clock {
                    id,
                    timeout: mem.read_u64(at + layout.clock_timeout)?,
                    absolute: flags & SUBSCRIPTION_CLOCK_ABSTIME != 0,
                },
                // A wait does not use the processor, so these never strike.
                Ok(_) => Subscribed::Refused { kind: EventKind::Clock, errno: Errno::Notsup },
                Err(errno) => Subscribed::Refused { kind: EventKind::Clock, errno },
            }
        }
        1 => interest(Interest::Read)?,
        2 => interest(Interest::Write)?,
        _ => return Err(Errno::Inval),
    };
    Ok(Subscription { userdata: mem.read_u64(at)?, what })
}

fn encode(mem: &GuestMemory<'_>, at: u32, event: &Event) -> Result<(), Errno> {
    mem.write_bytes(at, &[0; EVENT_SIZE as usize])?;
    mem.write_u64(at, event.userdata)?;
    mem.write_u16(at + 8, event.errno.raw())?;
    mem.write_u8(at + 10, event.kind as u8)?;
    mem.write_u64(at + 16, event.nbytes)?;
    Ok(mem.write_u16(at + 24, if event.hangup { FD_READWRITE_HANGUP } else { 0 })?)
}
