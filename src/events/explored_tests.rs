//! Every interleaving of the queue and its bell, and of memory that answers late, by a model
//! checker: `RUSTFLAGS="--cfg leasehold_loom" cargo test --release --lib explored`.
//!
//! The orders are the shipped ones, [`take`], [`announce`] and [`hang`]; the channel and the
//! descriptor are models, as weak as the real ones may be.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use super::bell::{Bell, announce, hang, take};

/// A channel as weak as it may be: what was sent is seen by whoever learned of it otherwise.
#[derive(Default)]
struct Channel {
    sent: AtomicUsize,
    taken: AtomicUsize,
}

impl Channel {
    /// By one thread at a time.
    fn send(&self) {
        let sent = self.sent.load(Ordering::Relaxed);
        self.sent.store(sent + 1, Ordering::Release);
    }

    fn pop(&self) -> Option<usize> {
        let mut taken = self.taken.load(Ordering::Acquire);
        loop {
            if taken >= self.sent.load(Ordering::Acquire) {
                return None;
            }
            let next = taken + 1;
            match self.taken.compare_exchange(taken, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(taken),
                Err(other) => taken = other,
            }
        }
    }
}

/// The kernel's counter; its calls are ordered among themselves.
#[derive(Default)]
struct Counter(AtomicBool);

impl Bell for Counter {
    fn ring(&self) {
        self.0.swap(true, Ordering::AcqRel);
    }

    fn clear(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}

impl Counter {
    fn is_rung(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Default)]
struct Queue {
    channel: Channel,
    counter: Counter,
    hung: AtomicBool,
}

impl Queue {
    fn with_bell() -> Arc<Self> {
        let queue = Self::default();
        queue.hung.store(true, Ordering::Relaxed);
        Arc::new(queue)
    }

    fn bell(&self) -> Option<&Counter> {
        self.hung.load(Ordering::Acquire).then_some(&self.counter)
    }

    fn push(&self) {
        self.channel.send();
        announce(|| self.bell());
    }

    fn take(&self) -> Option<usize> {
        take(|| self.channel.pop(), self.bell())
    }

    fn hang(&self) {
        hang(|| {
            self.hung.store(true, Ordering::Release);
            &self.counter
        });
    }

    /// What must hold whenever no call is under way.
    fn check(&self) {
        let queued =
            self.channel.sent.load(Ordering::SeqCst) > self.channel.taken.load(Ordering::SeqCst);
        assert!(!queued || self.counter.is_rung(), "lost wake-up");
        while self.take().is_some() {}
        assert!(!self.counter.is_rung(), "a poller would spin");
    }
}

type Call = fn(&Queue);

/// One thread queues two events while others look, so often each.
fn explore_pollers(looks: &'static [usize], push: Call, look: Call) {
    let mut model = loom::model::Builder::new();
    // With three threads, all that three preemptions can do.
    model.preemption_bound = (looks.len() > 1).then_some(3);
    model.check(move || {
        let queue = Queue::with_bell();
        let others: Vec<_> = looks
            .iter()
            .map(|looks| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || (0..*looks).for_each(|_| look(&queue)))
            })
            .collect();
        push(&queue);
        push(&queue);
        for other in others {
            other.join().unwrap();
        }
        queue.check();
    });
}

/// One thread queues two events while another hangs the bell and looks once.
fn explore_late_bell(push: Call, hang: Call) {
    loom::model(move || {
        let queue = Arc::<Queue>::default();
        let pusher = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || [(); 2].map(|()| push(&queue)))
        };
        hang(&queue);
        look(&queue);
        pusher.join().unwrap();
        queue.check();
    });
}

fn look(queue: &Queue) {
    let _ = queue.take();
}

#[test]
fn no_wake_up_is_lost_to_one_poller() {
    explore_pollers(&[2], Queue::push, look);
}

#[test]
fn no_wake_up_is_lost_between_two_pollers() {
    explore_pollers(&[2, 1], Queue::push, look);
}

#[test]
fn no_wake_up_is_lost_when_the_bell_comes_late() {
    explore_late_bell(Queue::push, Queue::hang);
}

// The orders that must not be. Each test plants one, and the model has to find it.

#[test]
#[should_panic(expected = "lost wake-up")]
fn ringing_before_queueing_is_found_wrong() {
    let push = |queue: &Queue| {
        announce(|| queue.bell());
        queue.channel.send();
    };
    explore_pollers(&[2], push, look);
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn clearing_without_a_second_look_is_found_wrong() {
    let look = |queue: &Queue| {
        if queue.channel.pop().is_none() {
            queue.counter.clear();
        }
    };
    explore_pollers(&[2], Queue::push, look);
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn clearing_after_the_second_look_is_found_wrong() {
    let look = |queue: &Queue| {
        let pop = || queue.channel.pop();
        if pop().or_else(pop).is_none() {
            queue.counter.clear();
        }
    };
    explore_pollers(&[2], Queue::push, look);
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn not_ringing_again_is_found_wrong() {
    let look = |queue: &Queue| {
        if queue.channel.pop().is_none() {
            queue.counter.clear();
            queue.channel.pop();
        }
    };
    explore_pollers(&[2], Queue::push, look);
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn a_late_bell_that_does_not_ring_is_found_wrong() {
    explore_late_bell(Queue::push, |queue| queue.hung.store(true, Ordering::SeqCst));
}

/// Queueing and looking for the bell are a store and a load: without a fence the processor may
/// exchange them.
#[test]
#[should_panic(expected = "lost wake-up")]
fn announcing_without_a_fence_is_found_wrong() {
    let push = |queue: &Queue| {
        queue.channel.send();
        if let Some(bell) = queue.bell() {
            bell.ring();
        }
    };
    explore_late_bell(push, Queue::hang);
}
