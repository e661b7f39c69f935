//! Every interleaving of the queue and its readiness, under weak memory ordering, by a model
//! checker: `RUSTFLAGS="--cfg leasehold_loom" cargo test --release --lib explored`.
//!
//! The orders are the shipped ones: [`take`], [`announce`], [`attach`] and [`move_up`]. The channel
//! and the descriptor are models, as weak as the real ones may be.

use std::collections::VecDeque;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex, MutexGuard};
use loom::thread;

use super::backlog::move_up;
use super::readiness::{Readiness, announce, attach, take};

/// A channel with the weakest memory ordering that a real one may have.
#[derive(Default)]
struct Channel {
    sent: AtomicUsize,
    taken: AtomicUsize,
}

impl Channel {
    /// Called by one thread at a time.
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

impl Readiness for Counter {
    fn set(&self) {
        self.0.swap(true, Ordering::AcqRel);
    }

    fn clear(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}

impl Counter {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Default)]
struct Queue {
    channel: Channel,
    counter: Counter,
    attached: AtomicBool,
}

impl Queue {
    fn with_readiness() -> Arc<Self> {
        let queue = Self::default();
        queue.attached.store(true, Ordering::Relaxed);
        Arc::new(queue)
    }

    fn readiness(&self) -> Option<&Counter> {
        self.attached.load(Ordering::Acquire).then_some(&self.counter)
    }

    fn push(&self) {
        self.channel.send();
        announce(|| self.readiness());
    }

    fn take(&self) -> Option<usize> {
        take(|| self.channel.pop(), self.readiness())
    }

    fn attach(&self) {
        attach(|| {
            self.attached.store(true, Ordering::Release);
            &self.counter
        });
    }

    /// What must hold whenever no call is under way.
    fn check(&self) {
        let queued =
            self.channel.sent.load(Ordering::SeqCst) > self.channel.taken.load(Ordering::SeqCst);
        assert!(!queued || self.counter.is_set(), "lost wake-up");
        while self.take().is_some() {}
        assert!(!self.counter.is_set(), "a poller would spin");
    }
}

type Call = fn(&Queue);

/// One thread queues two events. Each of the others looks as often as `looks` says.
fn explore_pollers(looks: &'static [usize], push: Call, look: Call) {
    let mut model = loom::model::Builder::new();
    // With three threads, at most three preemptions: more would take too long.
    model.preemption_bound = (looks.len() > 1).then_some(3);
    model.check(move || {
        let queue = Queue::with_readiness();
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

/// One thread queues two events while another attaches readiness and looks once.
fn explore_late_readiness(push: Call, attach: Call) {
    loom::model(move || {
        let queue = Arc::<Queue>::default();
        let pusher = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || [(); 2].map(|()| push(&queue)))
        };
        attach(&queue);
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
fn no_wake_up_is_lost_when_readiness_is_attached_late() {
    explore_late_readiness(Queue::push, Queue::attach);
}

// Wrong orders. Each test plants one, and the model must find it.

#[test]
#[should_panic(expected = "lost wake-up")]
fn setting_before_queueing_loses_a_wake_up() {
    let push = |queue: &Queue| {
        announce(|| queue.readiness());
        queue.channel.send();
    };
    explore_pollers(&[2], push, look);
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn clearing_without_a_second_look_loses_a_wake_up() {
    let look = |queue: &Queue| {
        if queue.channel.pop().is_none() {
            queue.counter.clear();
        }
    };
    explore_pollers(&[2], Queue::push, look);
}

#[test]
#[should_panic(expected = "lost wake-up")]
fn clearing_after_the_second_look_loses_a_wake_up() {
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
fn not_setting_again_loses_a_wake_up() {
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
fn attaching_without_setting_loses_a_wake_up() {
    explore_late_readiness(Queue::push, |queue| queue.attached.store(true, Ordering::SeqCst));
}

/// Queueing is a store, and looking for readiness is a load: without a fence the processor may
/// reorder them.
#[test]
#[should_panic(expected = "lost wake-up")]
fn announcing_without_a_fence_loses_a_wake_up() {
    let push = |queue: &Queue| {
        queue.channel.send();
        if let Some(readiness) = queue.readiness() {
            readiness.set();
        }
    };
    explore_late_readiness(push, Queue::attach);
}

// A channel with room for one event, and the backlog behind it.

/// Holds the number of an event, or 0.
#[derive(Default)]
struct Place(AtomicUsize);

impl Place {
    /// Called under the lock of the backlog.
    fn send(&self, event: usize) -> Result<(), usize> {
        let full = self.0.load(Ordering::Acquire) != 0;
        if full {
            return Err(event);
        }
        self.0.store(event, Ordering::Release);
        Ok(())
    }

    fn pop(&self) -> Option<usize> {
        let event = Some(self.0.load(Ordering::Acquire)).filter(|event| *event != 0)?;
        self.0.compare_exchange(event, 0, Ordering::AcqRel, Ordering::Acquire).ok()
    }
}

#[derive(Default)]
struct Small {
    place: Place,
    backlog: Mutex<VecDeque<usize>>,
    counter: Counter,
}

impl Small {
    fn lock(&self) -> MutexGuard<'_, VecDeque<usize>> {
        self.backlog.lock().unwrap()
    }

    fn fill_under(&self, backlog: &mut VecDeque<usize>) {
        move_up(backlog, |event| {
            self.place.send(event)?;
            announce(|| Some(&self.counter));
            Ok(())
        });
    }

    fn push(&self, event: usize) {
        let mut backlog = self.lock();
        backlog.push_back(event);
        self.fill_under(&mut backlog);
    }

    fn fill(&self) {
        self.fill_under(&mut self.lock());
    }

    /// As `Events::try_next`.
    fn take(&self) -> Option<usize> {
        let pop = || {
            let mut backlog = self.lock();
            let event = self.place.pop().or_else(|| backlog.pop_front());
            self.fill_under(&mut backlog);
            event
        };
        take(pop, Some(&self.counter))
    }

    /// As a receiver that blocked: it takes without the lock.
    fn receive(&self) {
        if self.place.pop().is_some() {
            self.fill();
        }
    }

    /// As a receiver of the application. The thread that waits for room fills the channel up.
    fn receive_watched(small: &Arc<Self>) {
        if small.place.pop().is_some() {
            let small = Arc::clone(small);
            thread::spawn(move || small.fill()).join().unwrap();
        }
    }

    /// What must hold whenever no call is under way.
    fn check(&self) {
        let waits = !self.lock().is_empty();
        let full = self.place.0.load(Ordering::SeqCst) != 0;
        assert!(!waits || full, "an event is left behind: a receiver that blocks does not get it");
        assert!(!full || self.counter.is_set(), "lost wake-up");
        while self.take().is_some() {}
        assert!(!self.counter.is_set(), "a poller would spin");
    }
}

/// One thread queues two events while each of `takers` takes one.
fn explore_small<const TAKERS: usize>(takers: [fn(&Arc<Small>); TAKERS]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let small = Arc::<Small>::default();
        let threads = takers.map(|taker| {
            let small = Arc::clone(&small);
            thread::spawn(move || taker(&small))
        });
        small.push(1);
        small.push(2);
        for taker in threads {
            taker.join().unwrap();
        }
        small.check();
    });
}

#[test]
fn no_event_is_left_behind_by_a_receiver_that_blocked() {
    explore_small([|small| small.receive(), |small| _ = small.take()]);
}

#[test]
fn no_event_is_left_behind_by_a_receiver_of_the_application() {
    explore_small([Small::receive_watched, |small| _ = small.take()]);
}

#[test]
#[should_panic(expected = "an event is left behind")]
fn not_filling_leaves_an_event_behind() {
    explore_small([|small| _ = small.place.pop()]);
}

#[test]
#[should_panic(expected = "an event is left behind")]
fn filling_before_the_take_leaves_an_event_behind() {
    explore_small([|small| {
        small.fill();
        small.place.pop();
    }]);
}
