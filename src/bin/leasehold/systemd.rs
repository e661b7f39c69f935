//! Readiness, status and watchdog notifications for systemd (`Type=notify`).

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use leasehold::Manager;

use super::text;

/// How often the node's status is read.
const POLL: Duration = Duration::from_millis(100);
/// The shortest watchdog interval.
const SHORTEST: Duration = Duration::from_millis(10);

/// The socket of systemd, if it asks for notifications.
#[derive(Debug)]
pub(super) struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Notifier {
    pub(super) fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self(None) };
        let name = name.to_string_lossy().into_owned();
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        let opened = address.and_then(|address| Ok((UnixDatagram::unbound()?, address)));
        if let Err(error) = &opened {
            log::warn!("NOTIFY_SOCKET {name:?} cannot be used: {error}");
        }
        // Nonblocking: the queue of the receiver can be full.
        Self(opened.ok().filter(|(socket, _)| socket.set_nonblocking(true).is_ok()))
    }

    pub(super) fn notify(&self, state: &str) {
        if let Some((socket, address)) = &self.0 {
            if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
                log::debug!("could not notify systemd of {state:?}: {error}");
            }
        }
    }
}

/// The watchdog interval, if systemd asks for one: a third of the time that it allows. Zero means
/// that it does not ask.
fn watchdog_interval(variable: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let number = |name: &str| variable(name)?.parse::<u64>().ok();
    let for_another =
        number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id()));
    let allowed = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && !for_another)?;
    Some((Duration::from_micros(allowed) / 3).max(SHORTEST))
}

/// Notifies systemd until `end` is disconnected. The watchdog is fed only while the renewal thread
/// runs: a daemon whose renewal thread is stuck is restarted.
pub(super) fn supervise(manager: &Arc<Manager>, notifier: &Notifier, end: &Receiver<()>) {
    let interval = watchdog_interval(|name| env::var(name).ok());
    let poll = interval.unwrap_or(POLL).min(POLL);
    let (mut ready, mut sent) = (false, String::new());
    let mut fed_at = Instant::now();
    while end.recv_timeout(poll) == Err(RecvTimeoutError::Timeout) {
        let Some(node) = manager.node() else { continue };
        if !std::mem::replace(&mut ready, true) {
            notifier.notify("READY=1");
        }
        let status = node.status();
        let leader = status.leader.as_deref().unwrap_or("unknown");
        let state = format!("STATUS={}, leader {leader}", text::role(status.role));
        if state != sent {
            notifier.notify(&state);
            sent = state;
        }
        if interval.is_some_and(|interval| fed_at.elapsed() >= interval)
            && !node.thread_health().stuck
        {
            notifier.notify("WATCHDOG=1");
            fed_at = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_interval_is_a_third_of_the_allowed_time_and_at_least_the_shortest() {
        let interval = |usec: &str, pid: Option<u32>| {
            watchdog_interval(|name| match name {
                "WATCHDOG_USEC" => Some(usec.to_owned()),
                _ => pid.map(|pid| pid.to_string()),
            })
        };
        let own = std::process::id();
        assert_eq!(interval("30000000", None), Some(Duration::from_secs(10)));
        assert_eq!(interval("30000000", Some(own)), Some(Duration::from_secs(10)));
        assert_eq!(interval("30000000", Some(own + 1)), None);
        assert_eq!(interval("1", None), Some(SHORTEST));
        for none in ["0", "", "-1", "soon", "99999999999999999999999"] {
            assert_eq!(interval(none, None), None, "{none}");
        }
    }
}
