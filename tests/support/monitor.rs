//! A server's monitoring endpoint: JSON over HTTP, asked with a plain socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// No answer takes longer on loopback, unless the server hangs.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks one server about itself.
#[derive(Clone, Copy, Debug)]
pub struct Monitor {
    address: SocketAddr,
}

impl Monitor {
    /// The endpoint at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// General figures: `in_msgs`, `connections`, `slow_consumers` and so on.
    pub fn varz(&self) -> Value {
        self.json("/varz")
    }

    /// The client connections with their subscriptions.
    pub fn connz(&self) -> Value {
        self.json("/connz?subs=1")
    }

    /// JetStream with its streams, their state and configuration.
    pub fn jsz(&self) -> Value {
        self.json("/jsz?streams=1&config=1")
    }

    /// Whether the server says it is healthy: streams recovered, and in a cluster caught up.
    pub fn is_healthy(&self) -> bool {
        self.get("/healthz").is_ok_and(|(status, _)| status == 200)
    }

    /// The JSON behind `path`.
    ///
    /// # Panics
    /// When the server does not answer with JSON.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).expect("the monitoring endpoint answers");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("the monitoring endpoint speaks JSON")
    }

    /// Status and body of `path`.
    pub fn get(&self, path: &str) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.address, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        parse(&answer).ok_or_else(|| io::Error::other(format!("not HTTP: {answer:?}")))
    }
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
