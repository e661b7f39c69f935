//! Readiness, state and heartbeat for systemd (`Type=notify`), where it asks for them.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use leasehold::{Manager, Role};

/// How often is looked whether there is something to tell.
const LOOK: Duration = Duration::from_millis(100);
/// However little time it allows.
const SHORTEST: Duration = Duration::from_millis(10);

/// The socket on which systemd listens, if it does.
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
            log::warn!("NOTIFY_SOCKET {name:?} is of no use: {error}");
        }
        // Never waits for a receiver whose queue is full.
        Self(opened.ok().filter(|(socket, _)| socket.set_nonblocking(true).is_ok()))
    }

    pub(super) fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.0 {
            if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
                log::debug!("systemd was not told {state:?}: {error}");
            }
        }
    }
}

/// How often systemd is told that this process works, if it wants to hear it: three times in the
/// time it allows. Zero is no wish.
fn heartbeat(variable: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let number = |name: &str| variable(name)?.parse::<u64>().ok();
    let for_another =
        number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id()));
    let allowed = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && !for_another)?;
    Some((Duration::from_micros(allowed) / 3).max(SHORTEST))
}

/// Tells systemd how the daemon does, until `end` comes. It works as long as its renewal thread
/// does: a process that only breathes is restarted.
pub(super) fn supervise(manager: &Arc<Manager>, notifier: &Notifier, end: &Receiver<()>) {
    let beat = heartbeat(|name| env::var(name).ok());
    let look = beat.unwrap_or(LOOK).min(LOOK);
    let (mut ready, mut told) = (false, String::new());
    let mut beaten = Instant::now();
    while end.recv_timeout(look) == Err(RecvTimeoutError::Timeout) {
        let Some(node) = manager.node() else { continue };
        if !std::mem::replace(&mut ready, true) {
            notifier.tell("READY=1");
        }
        let status = node.status();
        let role = if status.role == Role::Leader { "PRIMARY" } else { "PASSIVE" };
        let leader = status.leader.as_deref().unwrap_or("unknown");
        let state = format!("STATUS={role}, leader {leader}");
        if state != told {
            notifier.tell(&state);
            told = state;
        }
        if beat.is_some_and(|every| beaten.elapsed() >= every) && !node.pulse().stuck {
            notifier.tell("WATCHDOG=1");
            beaten = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_a_third_of_what_is_allowed_and_never_a_busy_loop() {
        let beat = |usec: &str, pid: Option<u32>| {
            heartbeat(|name| match name {
                "WATCHDOG_USEC" => Some(usec.to_owned()),
                _ => pid.map(|pid| pid.to_string()),
            })
        };
        let own = std::process::id();
        assert_eq!(beat("30000000", None), Some(Duration::from_secs(10)));
        assert_eq!(beat("30000000", Some(own)), Some(Duration::from_secs(10)));
        assert_eq!(beat("30000000", Some(own + 1)), None);
        assert_eq!(beat("1", None), Some(SHORTEST));
        for none in ["0", "", "-1", "soon", "99999999999999999999999"] {
            assert_eq!(beat(none, None), None, "{none}");
        }
    }
}
