//! `poll_oneoff`: its records in guest memory.

use std::time::Duration;

use guest_memory::GuestMemory;

use crate::abi::params::*;
use crate::abi::records::{self, Record, SubscriptionFields};
use crate::alloc::vec_for;
use crate::clock::Clock;
use crate::ctx::WasiCtx;
use crate::errno::{Errno, Error};
use crate::poll::{self, Subscription};
use crate::rights::Rights;
use crate::sys::Interest;

/// `poll_oneoff`
pub fn poll_oneoff<S: Record + Into<SubscriptionFields>>(
    ctx: &WasiCtx,
    mem: &GuestMemory<'_>,
    in_: InArray<S>,
    out: OutArray<Event>,
    nsubscriptions: Size,
    nevents: OutSize,
) -> Result<(), Error> {
    let Size(count) = nsubscriptions;
    if count == 0 || count > ctx.limits.max_subscriptions {
        return Err(Errno::Inval.into());
    }
    in_.reserve(mem, nsubscriptions)?;
    out.reserve(mem, nsubscriptions)?;
    nevents.reserve(mem)?;
    if count == 1 && matches!(ctx.clock, Clock::Host(_)) {
        let asked = in_.read(mem, 0)?.into();
        if is_no_wait(&asked) {
            ctx.waiter.check()?;
            out.write(mem, 0, &event(&asked, Errno::Success, 0, false))?;
            return Ok(nevents.write(mem, 1)?);
        }
    }
    let mut asked: Vec<SubscriptionFields> = vec_for(count as usize)?;
    let mut subscriptions = vec_for(count as usize)?;
    for index in 0..count {
        let fields = in_.read(mem, index)?.into();
        subscriptions.push(decode(ctx, &fields)?);
        asked.push(fields);
    }
    let events = poll::poll(&ctx.waiter, &ctx.clock, &subscriptions)?;
    for (place, told) in (0..).zip(&events) {
        if let Some(asked) = asked.get(told.index) {
            out.write(mem, place, &event(asked, told.errno, told.nbytes, told.hangup))?;
        }
    }
    Ok(nevents.write(mem, events.len())?)
}

#[inline]
fn event(asked: &SubscriptionFields, errno: Errno, nbytes: u64, hangup: bool) -> Event {
    let flags = if hangup { records::EVENT_FD_READWRITE_HANGUP } else { 0 };
    Event { userdata: asked.userdata, errno: errno.raw(), kind: asked.tag, nbytes, flags }
}

/// A sleep of no time at all, by which programs let others run.
#[inline]
fn is_no_wait(asked: &SubscriptionFields) -> bool {
    asked.tag == records::EVENT_CLOCK
        && (asked.timeout, asked.flags) == (0, 0)
        && matches!(Clockid::decode(asked.clock_id), Ok(Clockid::Realtime | Clockid::Monotonic))
}

/// What is well formed but impossible has an event that tells why.
fn decode(ctx: &WasiCtx, asked: &SubscriptionFields) -> Result<Subscription, Errno> {
    match asked.tag {
        records::EVENT_CLOCK => {
            if asked.flags & !records::SUBSCRIPTION_CLOCK_ABSTIME != 0 {
                return Err(Errno::Inval);
            }
            Ok(match Clockid::decode(asked.clock_id) {
                Ok(id @ (Clockid::Realtime | Clockid::Monotonic)) => {
                    if asked.flags & records::SUBSCRIPTION_CLOCK_ABSTIME != 0 {
                        Subscription::Alarm { id, at: Timestamp::from_nanos(asked.timeout) }
                    } else {
                        Subscription::Sleep { id, duration: Duration::from_nanos(asked.timeout) }
                    }
                }
                // A wait does not use the processor, so these never strike.
                Ok(_) => Subscription::Failed(Errno::Notsup),
                Err(errno) => Subscription::Failed(errno),
            })
        }
        records::EVENT_FD_READ => Ok(readiness(ctx, asked.fd, Interest::Read, Rights::FD_READ)),
        records::EVENT_FD_WRITE => Ok(readiness(ctx, asked.fd, Interest::Write, Rights::FD_WRITE)),
        _ => Err(Errno::Inval),
    }
}

fn readiness(ctx: &WasiCtx, fd: u32, interest: Interest, transfer: Rights) -> Subscription {
    let descriptor = ctx.table.get(fd).and_then(|descriptor| {
        descriptor.require(Rights::POLL_FD_READWRITE)?;
        descriptor.require_transfer(transfer)?;
        Ok(descriptor)
    });
    match descriptor {
        Ok(descriptor) => Subscription::Readiness { descriptor, interest },
        Err(errno) => Subscription::Failed(errno),
    }
}
