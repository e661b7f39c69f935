//! Somebody who hears every notice, sees every release on its way, stored or not, and may publish
//! notices. Nothing that is made up or said again may do more than cost a read.

use std::collections::VecDeque;
use std::time::SystemTime;

use leasehold::lease::{Lease, SessionId};
use leasehold::store::{Content, Entry};

use super::clock::{Instant, MILLISECOND};
use super::plan::Fault;
use super::world::{Event, World};

/// The clean releases that were sent, to the byte: also those that were refused, lost or late.
#[derive(Debug, Default)]
pub(crate) struct Overheard {
    releases: VecDeque<Vec<u8>>,
    /// What was held, and by sessions that may hold no more.
    held: VecDeque<Lease>,
    /// Until when renewals are made up, and how many were.
    flood_until: Instant,
    lies: u64,
}

impl Overheard {
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
    /// A release is on its way. Now and then a forger is quicker.
    pub(crate) fn overhear(&mut self, release: &[u8]) {
        if !self.plan.has(Fault::Forge) || self.quiet {
            return;
        }
        self.overheard.keep(release);
        if self.dice.one_in(4) {
            let soon = self.dice.log(1, 10 * MILLISECOND);
            self.after(soon, Event::StrikeOnce(Fault::Forge));
        }
    }

    /// A notice of the largest revision, of the newest, of one of the next; with a content that was
    /// sent once, that might be sent, or that could not.
    pub(crate) fn forge(&mut self) {
        let last = self.server.bucket.as_ref().map_or(0, |bucket| bucket.last);
        let further = last + self.dice.between(2, 9);
        let guesses = [u64::MAX, last, last + 1, last + 1, last + 1, last + 2, further];
        let revision = self.dice.pick(&guesses).max(1);
        let standing = self.server.record().and_then(|record| record.lease()).cloned();
        let content = match standing {
            _ if self.dice.one_in(3) && !self.overheard.releases.is_empty() => {
                let which = self.dice.index(self.overheard.releases.len());
                Content::Value(self.overheard.releases[which].clone())
            }
            _ if self.dice.one_in(4) && !self.overheard.held.is_empty() => {
                let which = self.dice.index(self.overheard.held.len());
                Content::Value(encode(&self.overheard.held[which]))
            }
            Some(lease) => self.made_up(&lease),
            None => Content::Marker,
        };
        self.note(|| format!("forged: revision {revision}, {content:?}"));
        let entry = Entry { revision, content };
        let spared = if self.dice.one_in(4) { self.dice.index(self.running.len()) } else { 99 };
        for slot in (0..self.running.len()).filter(|slot| *slot != spared) {
            if let Some(process) = self.running[slot] {
                self.whisper(process, entry.clone());
            }
        }
    }

    fn made_up(&mut self, standing: &Lease) -> Content {
        let next = Lease { write: standing.write + self.dice.between(0, 3), ..standing.clone() };
        let release = Lease { node_id: String::new(), clean: true, meta: None, ..next.clone() };
        let lease = match self.dice.below(8) {
            0 => return Content::Marker,
            1 => return Content::Value(b"forged".to_vec()),
            2 => next,
            3 => Lease { session: Some(SessionId::from_bits(7)), ..next },
            4 => {
                let to = self.dice.index(self.plan.slots.len());
                let successor = Some(self.plan.slots[to].name.clone());
                Lease { successor, ..release }
            }
            _ => release,
        };
        Content::Value(encode(&lease))
    }

    /// A leader is gone, and somebody goes on renewing for it, by notices alone.
    pub(crate) fn flood(&mut self) {
        if self.plan.flood.is_some() {
            let begun = self.overheard.flood_until > self.now;
            self.overheard.flood_until = self.now + 6 * self.plan.longest_ttl();
            if !begun {
                self.after(0, Event::StrikeOnce(Fault::Flood));
            }
        }
    }

    pub(crate) fn lie(&mut self) {
        let Some(pause) = self.plan.flood else { return };
        if self.now >= self.overheard.flood_until {
            return;
        }
        self.overheard.lies += 1;
        let last = self.server.bucket.as_ref().map_or(0, |bucket| bucket.last);
        let (lies, revision) = (self.overheard.lies, last + 10 + self.overheard.lies);
        if let Some(lease) = self.overheard.held.back() {
            let next = Lease { write: lease.write + lies, ..lease.clone() };
            let entry = Entry { revision, content: Content::Value(encode(&next)) };
            for process in self.running.iter().flatten().copied().collect::<Vec<_>>() {
                self.whisper(process, entry.clone());
            }
        }
        self.after(pause, Event::StrikeOnce(Fault::Flood));
    }
}

fn encode(lease: &Lease) -> Vec<u8> {
    lease.encode(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH)
}
