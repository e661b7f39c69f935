//! How soon a waiting thread knows of a role change: by the channel, and by epoll.

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use leasehold::store::memory::MemoryServer;
use leasehold::{Event, Node, Pollable};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;

use super::report::{Budget, Report, Row};
use super::stats::Series;
use super::token;

const LIMIT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
enum Way {
    Channel,
    Epoll,
}

/// A node that may lead, and a main loop's epoll with the descriptor of its events in it.
struct Member {
    node: Node,
    epoll: OwnedFd,
    /// Keeps the descriptor.
    _pollable: Pollable,
}

impl Member {
    fn start(id: &str, memory: &MemoryServer) -> Self {
        let node = token::node(id, memory);
        let pollable = node.events().pollable().expect("a descriptor");
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("a descriptor");
        epoll::add(&epoll, &pollable, EventData::new_u64(0), EventFlags::IN).expect("it is open");
        Self { node, epoll, _pollable: pollable }
    }

    fn next(&self, way: Way) -> Option<Event> {
        if let Way::Epoll = way {
            let mut ready = Vec::with_capacity(1);
            let _ = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), None);
            return self.node.events().try_next();
        }
        self.node.events().next_timeout(LIMIT)
    }

    /// Waits until the lead is to be given back, lets it go, and says when it knew.
    fn hear(&self, way: Way) -> Instant {
        loop {
            if let Some(Event::Resigning { .. }) = self.next(way) {
                return Instant::now();
            }
        }
    }
}

/// Milliseconds from asking for a role change to when a waiting thread knows. The lead goes to and
/// fro between two members; each way is measured at each of them.
fn by_turns(members: &[Member; 2], rounds: usize) -> [Series; 2] {
    let (ask, asked) = bounded(0);
    let (tell, told) = bounded(1);
    let mut taken = [Vec::new(), Vec::new()];
    thread::scope(|scope| {
        scope.spawn(move || {
            for (member, way) in asked {
                let member: &Member = member;
                let _ = tell.send(member.hear(way));
            }
        });
        for round in 0..2 * rounds {
            let leader = &members[round % 2];
            leader.node.wait_for_leadership(LIMIT).expect("it is its turn");
            let way = if (round / 2) % 2 == 0 { Way::Channel } else { Way::Epoll };
            ask.send((leader, way)).expect("the waiter waits");
            sleep(Duration::from_millis(1)); // until it does
            let begun = Instant::now();
            leader.node.step_down().expect("it leads");
            let knew = told.recv_timeout(LIMIT).expect("the event comes");
            taken[way as usize].push(knew.saturating_duration_since(begun).as_secs_f64() * 1e3);
        }
        drop(ask);
    });
    taken.map(Series::new)
}

pub(crate) fn measure(report: &mut Report, quick: bool) {
    let memory = MemoryServer::new();
    let first = Member::start("a", &memory);
    first.node.wait_for_leadership(LIMIT).expect("nobody else is there");
    let members = [first, Member::start("b", &memory)];
    let [channel, epoll] = by_turns(&members, if quick { 100 } else { 1_000 });
    let what = "role change → a thread in epoll has the event, beside one at the channel";
    let row = Row::new(what, "–", vec![epoll]).beside(channel);
    report.row(row.within(Budget::Times { median: 1.5, p99: None }));
}
