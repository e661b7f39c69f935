//! How soon a waiting thread knows of a role change: by the channel, and by epoll.

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use leasehold::{Event, Events, Node, Pollable};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;

use super::report::{Report, Row, Unit};
use super::stats::Series;
use super::token;

const LIMIT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
enum Way {
    Channel,
    Epoll,
}

/// A main loop's epoll, with the events' descriptor in it.
struct Loop(OwnedFd);

impl Loop {
    fn new(pollable: &Pollable) -> Self {
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("a descriptor");
        epoll::add(&epoll, pollable, EventData::new_u64(0), EventFlags::IN).expect("it is open");
        Self(epoll)
    }

    fn next(&self, events: &Events) -> Option<Event> {
        let mut ready = Vec::with_capacity(1);
        let _ = epoll::wait(&self.0, rustix::buffer::spare_capacity(&mut ready), None);
        events.try_next()
    }
}

/// Waits until the lead is to be given back, and says when it knew.
fn hear(events: &Events, main_loop: &Loop, way: Way) -> Instant {
    loop {
        let event = match way {
            Way::Channel => events.next_timeout(LIMIT),
            Way::Epoll => main_loop.next(events),
        };
        if let Some(Event::Resigning { .. }) = event {
            return Instant::now();
        }
    }
}

/// Milliseconds from asking for a role change to when the other thread knows, by turns.
fn by_turns(node: &Node, rounds: usize) -> [Series; 2] {
    let events = node.events().clone();
    let main_loop = Loop::new(&events.pollable().expect("a descriptor"));
    let (ask, asked) = bounded(0);
    let (tell, told) = bounded(1);
    let waiter = thread::spawn(move || {
        for way in asked {
            let _ = tell.send(hear(&events, &main_loop, way));
        }
    });
    let mut taken = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (list, way) in taken.iter_mut().zip([Way::Channel, Way::Epoll]) {
            node.wait_for_leadership(LIMIT).expect("nobody else is there");
            ask.send(way).expect("the waiter waits");
            sleep(Duration::from_millis(1)); // until it does
            let begun = Instant::now();
            node.step_down().expect("it leads");
            let knew = told.recv_timeout(LIMIT).expect("the event comes");
            list.push(knew.saturating_duration_since(begun).as_secs_f64() * 1e3);
        }
    }
    drop(ask);
    waiter.join().expect("nothing panics");
    taken.map(Series::new)
}

pub(crate) fn measure(report: &mut Report, quick: bool) {
    let node = token::leader();
    let [channel, epoll] = by_turns(&node, if quick { 100 } else { 2_000 });
    let what = "role change → a thread in epoll has the event, beside one at the channel, median";
    report.row(Row::ratio(what, "–", Unit::Millis, epoll.median(), channel.median(), 1.5));
    report.note(format!(
        "role change → event, p99: {:.3} ms by epoll, {:.3} ms by the channel; medians {:.3} ms \
         and {:.3} ms",
        epoll.p99(),
        channel.p99(),
        epoll.median(),
        channel.median()
    ));
    node.stop();
}
