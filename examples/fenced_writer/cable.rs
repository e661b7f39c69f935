//! A cable that can be pulled, between a node and any store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Receiver;
use leasehold::clock::Timestamp;
use leasehold::store::{Request, Store, StoreEvent, Ticket};

/// Pulls the cable of one node.
#[derive(Clone, Default)]
pub(crate) struct Cable(Arc<AtomicBool>);

impl Cable {
    /// From now on nothing gets through, and nobody is told.
    pub(crate) fn pull(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn holds(&self) -> bool {
        !self.0.load(Ordering::SeqCst)
    }
}

/// A store at the end of a cable.
pub(crate) struct Cabled<S> {
    pub(crate) store: S,
    pub(crate) cable: Cable,
}

impl<S: Store> Store for Cabled<S> {
    fn submit(&mut self, ticket: Ticket, request: Request) {
        if self.cable.holds() {
            self.store.submit(ticket, request);
        }
    }

    fn poll(&mut self, wake: &Receiver<()>, until: Timestamp) -> Option<StoreEvent> {
        self.store.poll(wake, until).filter(|_| self.cable.holds())
    }

    fn reconnect(&mut self) {
        if self.cable.holds() {
            self.store.reconnect();
        }
    }

    fn close(&mut self, until: Timestamp) {
        self.store.close(until);
    }
}
