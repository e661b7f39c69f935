//! Waiting for a condition instead of sleeping and hoping.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Returns once `condition` holds.
///
/// # Panics
/// When it does not within `limit`; the message tells what was waited for.
#[track_caller]
pub fn eventually(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    eventually_some(limit, what, || condition().then_some(()));
}

/// Returns the first `Some` that `attempt` gives.
///
/// # Panics
/// When there is none within `limit`; the message tells what was waited for.
#[track_caller]
pub fn eventually_some<T>(
    limit: Duration,
    what: &str,
    mut attempt: impl FnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        let waited = start.elapsed();
        assert!(waited < limit, "waited {waited:.1?} in vain for: {what}");
        sleep(POLL);
    }
}
