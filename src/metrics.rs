//! The state and the counters of a node as text for monitoring systems.
//!
//! The format is `OpenMetrics` 1.0, which Prometheus reads. Serve the text with the HTTP server of
//! your program, under the content type [`CONTENT_TYPE`]. The guide [lists](crate::guide::metrics)
//! all metrics.

use std::fmt::{self, Write as _};

use crate::event::Role;
use crate::lease::Epoch;
use crate::node::{NodeHandle, Stats};

/// The content type of the text, for HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl NodeHandle {
    /// The state and the counters of the node as [`OpenMetrics` text](crate::metrics). Each metric
    /// has the labels `cluster` and `node`.
    #[must_use]
    pub fn open_metrics(&self) -> String {
        let config = self.config();
        let mut text = Text::new(config.cluster_id(), config.node_id());
        let stats = self.stats();
        self.write_state(&mut text, &stats);
        write_counters(&mut text, &stats);
        text.end()
    }

    fn write_state(&self, text: &mut Text, stats: &Stats) {
        let (node, thread) = (self.status(), self.thread_health());
        text.info("build", "This library.", "version", env!("CARGO_PKG_VERSION"));
        let leads = u8::from(node.role == Role::Leader);
        text.gauge("leader", "", "Whether the node leads.", leads);
        let (connected, resigning) = (u8::from(node.connected), u8::from(node.resigning));
        text.gauge("connected", "", "Whether the node is connected.", connected);
        text.gauge("resigning", "", "Whether the node resigns.", resigning);
        text.gauge("stuck", "", "Whether the renewal thread hangs.", u8::from(thread.stuck));
        let epoch = node.epoch.map_or(0, Epoch::as_u64);
        text.gauge("epoch", "", "The highest epoch seen.", epoch);
        text.gauge("revision", "", "The newest revision seen.", node.revision);
        let (uptime, age) = (self.uptime().as_secs_f64(), thread.age.as_secs_f64());
        text.gauge("uptime", "seconds", "Since the node was started.", uptime);
        text.gauge("heartbeat_age", "seconds", "Since the renewal thread last did something.", age);
        let remaining = stats.remaining.as_secs_f64();
        text.gauge("lease_remaining", "seconds", "Until the held lease expires.", remaining);
        let trip = stats.last_round_trip.as_secs_f64();
        text.gauge("round_trip", "seconds", "Of the newest request with a response.", trip);
    }
}

fn write_counters(text: &mut Text, stats: &Stats) {
    for (name, help, value) in [
        ("terms", "Terms led.", stats.terms),
        ("renewals", "Renewals that moved the deadline.", stats.renewals),
        ("failures", "Requests that the server refused.", stats.failures),
        ("unknown_outcomes", "Requests of unknown outcome at first.", stats.unknown_outcomes),
        ("lost_races", "Writes that lost against another node.", stats.lost_races),
        ("reconnects", "Connections after the first.", stats.reconnects),
        ("abandoned_connections", "Connections given up.", stats.abandoned_connections),
        ("events_missed", "Events dropped because they were not taken.", stats.events_missed),
    ] {
        text.counter(name, help, value);
    }
}

/// The text so far.
struct Text {
    text: String,
    labels: String,
}

impl Text {
    fn new(cluster: &str, node: &str) -> Self {
        // Ids have neither quotes, backslashes nor line ends.
        let labels = format!("cluster=\"{cluster}\",node=\"{node}\"");
        Self { text: String::with_capacity(4096), labels }
    }

    fn head(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        let _ = writeln!(self.text, "# TYPE leasehold_{name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.text, "# UNIT leasehold_{name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP leasehold_{name} {help}");
    }

    fn gauge(&mut self, name: &str, unit: &str, help: &str, value: impl fmt::Display) {
        let name = if unit.is_empty() { name.to_owned() } else { format!("{name}_{unit}") };
        self.head(&name, "gauge", unit, help);
        let _ = writeln!(self.text, "leasehold_{name}{{{}}} {value}", self.labels);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", "", help);
        let _ = writeln!(self.text, "leasehold_{name}_total{{{}}} {value}", self.labels);
    }

    fn info(&mut self, name: &str, help: &str, label: &str, value: &str) {
        self.head(name, "info", "", help);
        let labels = &self.labels;
        let _ = writeln!(self.text, "leasehold_{name}_info{{{labels},{label}=\"{value}\"}} 1");
    }

    fn end(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }
}
