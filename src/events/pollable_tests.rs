use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

fn is_readable(fd: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}

fn readable_until_cleared(readiness: &(impl Readiness + AsFd)) {
    assert!(!is_readable(readiness));
    readiness.clear();
    assert!(!is_readable(readiness), "clearing it twice does nothing");
    for times in [1, 2, 64, 65, 100_000] {
        for _ in 0..times {
            readiness.set();
        }
        assert!(is_readable(readiness) && is_readable(readiness), "level-triggered");
        readiness.clear();
        assert!(!is_readable(readiness), "set {times} times");
    }
}

#[test]
fn an_eventfd_is_readable_while_set() {
    readable_until_cleared(&counter::Counter::new().unwrap());
}

#[test]
fn a_socket_pair_is_readable_while_set() {
    readable_until_cleared(&pair::Pair::new().unwrap());
}
