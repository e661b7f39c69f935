use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

fn is_readable(fd: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}

fn rings_until_it_is_cleared(bell: &(impl Bell + AsFd)) {
    assert!(!is_readable(bell));
    bell.clear();
    assert!(!is_readable(bell), "clearing what is clear does nothing");
    for rings in [1, 2, 64, 65, 100_000] {
        for _ in 0..rings {
            bell.ring();
        }
        assert!(is_readable(bell) && is_readable(bell), "level-triggered");
        bell.clear();
        assert!(!is_readable(bell), "after {rings} rings");
    }
}

#[test]
fn an_eventfd_is_readable_while_rung() {
    rings_until_it_is_cleared(&counter::Counter::new().unwrap());
}

#[test]
fn a_pipe_is_readable_while_rung() {
    rings_until_it_is_cleared(&pair::Pair::new().unwrap());
}
