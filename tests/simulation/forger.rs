//! A forger: it receives every notice, sees every release that is sent, stored or not, and may
//! publish notices. An invented or repeated notice may cost reads and lost races, and nothing more.

use std::collections::VecDeque;
use std::time::SystemTime;

use leasehold::lease::{Lease, SessionId};
use leasehold::store::{Content, Entry};

use super::clock::{Instant, MILLISECOND};
use super::plan::Fault;
use super::world::{Event, World};

/// What the forger has seen.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// The bytes of clean releases, also of those that were refused, lost or late.
    releases: VecDeque<Vec<u8>>,
    /// Held records, also of sessions that have ended.
    held: VecDeque<Lease>,
    /// Until when renewals are forged, and how many were.
    flood_until: Instant,
    forged: u64,
}

impl Recorded {
    pub(crate) fn keep_held(&mut self, lease: &Lease) {
        if self.held.back().is_none_or(|newest| newest.session != lease.session) {
            self.held.push_back(lease.clone());
        }
        if self.held.len() > 4 {
            self.held.pop_front();
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.releases.len() == 12 {
            self.releases.pop_front();
        }
        self.releases.push_back(bytes.to_vec());
    }
}

impl World {
    /// A release was sent. Now and then the forger is quicker than the server.
    pub(crate) fn record_release(&mut self, release: &[u8]) {
        if !self.plan.has(Fault::Forge) || self.quiet {
            return;
        }
        self.recorded.keep(release);
        if self.rng.one_in(4) {
            let soon = self.rng.log(1, 10 * MILLISECOND);
            self.after(soon, Event::InjectOnce(Fault::Forge));
        }
    }

    /// Forges a notice: of the largest revision, of the newest, or of one of the next; with content
    /// that was sent before, that might be sent, or that is impossible.
    pub(crate) fn forge(&mut self) {
        let last = self.server.bucket.as_ref().map_or(0, |bucket| bucket.last);
        let further = last + self.rng.between(2, 9);
        let guesses = [u64::MAX, last, last + 1, last + 1, last + 1, last + 2, further];
        let revision = self.rng.pick(&guesses).max(1);
        let standing = self.server.record().and_then(|record| record.lease()).cloned();
        let content = match standing {
            _ if self.rng.one_in(3) && !self.recorded.releases.is_empty() => {
                let which = self.rng.index(self.recorded.releases.len());
                Content::Value(self.recorded.releases[which].clone())
            }
            _ if self.rng.one_in(4) && !self.recorded.held.is_empty() => {
                let which = self.rng.index(self.recorded.held.len());
                Content::Value(encode(&self.recorded.held[which]))
            }
            Some(lease) => self.invented(&lease),
            None => Content::Marker,
        };
        self.note(|| format!("forged: revision {revision}, {content:?}"));
        let entry = Entry { revision, content };
        let spared = if self.rng.one_in(4) { self.rng.index(self.running.len()) } else { 99 };
        for slot in (0..self.running.len()).filter(|slot| *slot != spared) {
            if let Some(process) = self.running[slot] {
                self.send_forged(process, entry.clone());
            }
        }
    }

    fn invented(&mut self, standing: &Lease) -> Content {
        let next = Lease { write: standing.write + self.rng.between(0, 3), ..standing.clone() };
        let release = Lease { node_id: String::new(), clean: true, meta: None, ..next.clone() };
        let lease = match self.rng.below(8) {
            0 => return Content::Marker,
            1 => return Content::Value(b"forged".to_vec()),
            2 => next,
            3 => Lease { session: Some(SessionId::from_bits(7)), ..next },
            4 => {
                let to = self.rng.index(self.plan.slots.len());
                let successor = Some(self.plan.slots[to].name.clone());
                Lease { successor, ..release }
            }
            _ => release,
        };
        Content::Value(encode(&lease))
    }

    /// A leader has crashed. The forger goes on to publish renewals in its name.
    pub(crate) fn flood(&mut self) {
        if self.plan.flood.is_some() {
            let begun = self.recorded.flood_until > self.now;
            self.recorded.flood_until = self.now + 6 * self.plan.longest_ttl();
            if !begun {
                self.after(0, Event::InjectOnce(Fault::Flood));
            }
        }
    }

    pub(crate) fn forge_renewal(&mut self) {
        let Some(pause) = self.plan.flood else { return };
        if self.now >= self.recorded.flood_until {
            return;
        }
        self.recorded.forged += 1;
        let last = self.server.bucket.as_ref().map_or(0, |bucket| bucket.last);
        let (forged, revision) = (self.recorded.forged, last + 10 + self.recorded.forged);
        if let Some(lease) = self.recorded.held.back() {
            let next = Lease { write: lease.write + forged, ..lease.clone() };
            let entry = Entry { revision, content: Content::Value(encode(&next)) };
            for process in self.running.iter().flatten().copied().collect::<Vec<_>>() {
                self.send_forged(process, entry.clone());
            }
        }
        self.after(pause, Event::InjectOnce(Fault::Flood));
    }
}

fn encode(lease: &Lease) -> Vec<u8> {
    lease.encode(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH)
}
