//! A node's figures as text that monitoring systems read.
//!
//! The format is `OpenMetrics` 1.0, which Prometheus takes under the content type
//! [`CONTENT_TYPE`]. Serving it is the application's business: it has an HTTP server or not.

use std::fmt::Write as _;

use crate::event::Role;
use crate::lease::Epoch;
use crate::node::NodeHandle;

/// What to call the text in HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl NodeHandle {
    /// The node's figures as [`OpenMetrics` text](crate::metrics), of one moment, each labelled
    /// with its cluster and node.
    #[must_use]
    pub fn open_metrics(&self) -> String {
        let config = self.config();
        let mut text = Text::new(config.cluster_id(), config.node_id());
        self.write_state(&mut text);
        self.write_counters(&mut text);
        text.end()
    }

    fn write_state(&self, text: &mut Text) {
        let (status, counters, thread) = (self.status(), self.stats(), self.thread_health());
        let flag = |set: bool| if set { 1.0 } else { 0.0 };
        text.info("build", "This library.", "version", env!("CARGO_PKG_VERSION"));
        let leads = flag(status.role == Role::Leader);
        text.gauge("leader", "", "Whether the node leads.", leads);
        text.gauge("connected", "", "Whether there is a connection.", flag(status.connected));
        text.gauge("resigning", "", "Whether a term is given back.", flag(status.resigning));
        text.gauge("stuck", "", "Whether the renewal thread hangs.", flag(thread.stuck));
        let epoch = status.epoch.map_or(0, Epoch::as_u64);
        text.whole("epoch", "The highest epoch seen.", epoch);
        text.whole("revision", "The newest revision known.", status.revision);
        let (uptime, age) = (self.uptime().as_secs_f64(), thread.age.as_secs_f64());
        text.gauge("uptime", "seconds", "Since the node was started.", uptime);
        text.gauge("heartbeat_age", "seconds", "Since the renewal thread last turned.", age);
        let remaining = counters.remaining.as_secs_f64();
        text.gauge("lease_remaining", "seconds", "What is left of a lease held.", remaining);
        let trip = counters.last_round_trip.as_secs_f64();
        text.gauge("round_trip", "seconds", "Of the newest answered request.", trip);
    }

    fn write_counters(&self, text: &mut Text) {
        let stats = self.stats();
        for (name, help, value) in [
            ("terms", "Terms led.", stats.terms),
            ("renewals", "Renewals that moved the deadline.", stats.renewals),
            ("failures", "Requests that the server refused.", stats.failures),
            ("unknown_outcomes", "Requests of unknown outcome at first.", stats.unknown_outcomes),
            ("lost_races", "Writes that came second.", stats.lost_races),
            ("reconnects", "Connections after the first.", stats.reconnects),
            (
                "abandoned_connections",
                "Connections given up as nothing was answered.",
                stats.abandoned_connections,
            ),
            ("events_missed", "Events that nobody took in time.", stats.events_missed),
        ] {
            text.counter(name, help, value);
        }
    }
}

/// The text in the making.
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

    fn gauge(&mut self, name: &str, unit: &str, help: &str, value: f64) {
        let name = if unit.is_empty() { name.to_owned() } else { format!("{name}_{unit}") };
        self.head(&name, "gauge", unit, help);
        let _ = writeln!(self.text, "leasehold_{name}{{{}}} {value}", self.labels);
    }

    fn whole(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", "", help);
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
