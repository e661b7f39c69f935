//! A link between a node and its store, which can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leasehold::clock::Timestamp;
use leasehold::store::{Request, Store, StoreEvent, Ticket, Waker};

/// The link of one node.
#[derive(Clone, Default)]
pub(crate) struct Link(Arc<AtomicBool>);

impl Link {
    /// From now on nothing gets through. The node is not told.
    pub(crate) fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_intact(&self) -> bool {
        !self.0.load(Ordering::SeqCst)
    }
}

/// A store behind a link.
pub(crate) struct Linked<S> {
    pub(crate) store: S,
    pub(crate) link: Link,
}

impl<S: Store> Store for Linked<S> {
    fn submit(&mut self, ticket: Ticket, request: Request) {
        if self.link.is_intact() {
            self.store.submit(ticket, request);
        }
    }

    fn waker(&self) -> Waker {
        self.store.waker()
    }

    fn poll(&mut self, until: Timestamp) -> Option<StoreEvent> {
        self.store.poll(until).filter(|_| self.link.is_intact())
    }

    fn reconnect(&mut self) {
        if self.link.is_intact() {
            self.store.reconnect();
        }
    }

    fn close(&mut self, until: Timestamp) {
        self.store.close(until);
    }
}
