//! Holds an address for some seconds.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use leasehold::clock::{Clock, Timestamp};
use leasehold::vip::{Holder, Policy, VirtualAddress};

use super::demo;

const USAGE: &str = "usage: vip --interface NAME --address IP --seconds N | vip --demo";

/// The validity of a renewal with the default timers.
const LEASE: Duration = Duration::from_millis(8_181);
const RENEW_INTERVAL: Duration = Duration::from_secs(3);

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--demo") {
        return demo::run();
    }
    if let [command, ip] = &arguments[..] {
        if command == demo::HOLDER {
            return demo::hold_on_command(ip.parse()?);
        }
    }
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let (Some(interface), Some(ip), Some(seconds)) =
        (value("--interface"), value("--address"), value("--seconds"))
    else {
        return Err(USAGE.into());
    };
    hold(VirtualAddress::new(ip.parse::<IpAddr>()?, interface)?, seconds.parse()?)
}

/// Acts like a leader whose renewals all succeed.
fn hold(address: VirtualAddress, seconds: u64) -> Result<(), Box<dyn Error>> {
    let clock = Clock::boot();
    let mut holder = Holder::new(vec![address], Policy::default())?;
    let events = holder.events();
    holder.sweep_stale()?;
    holder.acquire(clock.now() + LEASE)?;

    let end = clock.now() + Duration::from_secs(seconds);
    let mut renew_at = clock.now() + RENEW_INTERVAL;
    while clock.now() < end {
        events.try_iter().for_each(|event| println!("{event:?}"));
        if clock.now() >= renew_at {
            renew_at = renew_at + RENEW_INTERVAL;
            println!("{:?}", holder.extend(clock.now() + LEASE));
        }
        let due = holder.tick().unwrap_or(Timestamp::MAX).min(renew_at).min(end);
        std::thread::sleep(due.since(clock.now()));
    }
    holder.release()?;
    events.try_iter().for_each(|event| println!("{event:?}"));
    Ok(())
}
