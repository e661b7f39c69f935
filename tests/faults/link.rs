//! Faults of the wires between a node and all its servers.

use std::time::Duration;

use super::fault::{Hit, Remedy};
use super::site::Site;
use crate::support::proxy::{Direction, Proxy};

pub fn freeze(site: &mut Site, hit: Hit) -> Remedy {
    fault(site, hit, Proxy::freeze, Proxy::thaw)
}

pub fn mute(site: &mut Site, hit: Hit) -> Remedy {
    fault(site, hit, |wire| wire.freeze_only(Direction::ToServer), Proxy::thaw)
}

pub fn deafen(site: &mut Site, hit: Hit) -> Remedy {
    fault(site, hit, |wire| wire.freeze_only(Direction::ToClient), Proxy::thaw)
}

pub fn cut(site: &mut Site, hit: Hit) -> Remedy {
    let cut = |wire: &Proxy| {
        wire.refuse();
        wire.cut();
    };
    fault(site, hit, cut, Proxy::accept)
}

pub fn reset(site: &mut Site, hit: Hit) -> Remedy {
    fault(site, hit, Proxy::cut, |_| {})
}

/// With the 100 ms that a request may take, one of two round trips of a read comes late when it
/// meets a stall.
pub fn slow(site: &mut Site, hit: Hit) -> Remedy {
    let delay = |wire: &Proxy, delay| {
        for direction in [Direction::ToServer, Direction::ToClient] {
            wire.delay(direction, delay);
        }
    };
    let slow = move |wire: &Proxy| {
        delay(wire, Duration::from_millis(20));
        wire.stall(7, 5, Duration::from_millis(300));
    };
    fault(site, hit, slow, move |wire| {
        delay(wire, Duration::ZERO);
        wire.stall(0, 0, Duration::ZERO);
    })
}

fn fault(
    site: &mut Site,
    hit: Hit,
    inflict: impl Fn(&Proxy),
    end: impl Fn(&Proxy) + 'static,
) -> Remedy {
    let seat = site.seat(hit);
    site.wires(seat).iter().for_each(inflict);
    Box::new(move |site| site.wires(seat).iter().for_each(end))
}
