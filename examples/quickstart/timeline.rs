//! The output: a timeline for people, or lines of JSON.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use crate::report::{Kind, Report};
use crate::scenario::NodeReport;
use crate::{NODES, RENEW_INTERVAL, Result, TTL};

const BOLD: &str = "1";
const DIM: &str = "2";
/// A colour for each node, in order.
const COLOURS: [&str; 3] = ["36", "33", "35"];

pub(crate) struct Timeline {
    start: Instant,
    style: Style,
    store: String,
}

enum Style {
    Json,
    /// Fields with tabs between them, for other programs and files.
    Plain,
    Columns {
        colours: bool,
    },
}

#[derive(Serialize)]
struct JsonReport<'a> {
    ms: u64,
    node: &'a str,
    #[serde(flatten)]
    report: &'a Report,
}

/// The results.
#[derive(Serialize)]
pub(crate) struct Summary {
    pub(crate) store: String,
    pub(crate) terms: usize,
    pub(crate) epochs: Vec<u64>,
    /// From the call of the step-down to the event of the next leader.
    pub(crate) handover_ms: f64,
    /// From the crash to the event of the next leader.
    pub(crate) crash_failover_ms: f64,
}

impl Timeline {
    pub(crate) fn new(json: bool) -> Self {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let style = match (json, io::stdout().is_terminal()) {
            (true, _) => Style::Json,
            (false, true) => Style::Columns { colours },
            (false, false) => Style::Plain,
        };
        Self { start: Instant::now(), style, store: String::new() }
    }

    /// Prints the store and the kind of nodes.
    pub(crate) fn opening(&mut self, store: &str, nodes: &str) -> Result<()> {
        store.clone_into(&mut self.store);
        let ms = self.ms(Instant::now());
        if let Style::Json = self.style {
            return line(&json!({ "ms": ms, "event": "store", "store": store }).to_string());
        }
        line(&format!("Store: {store}. Three nodes, {nodes}."))?;
        line(&format!("The lease lasts {TTL:?} and is renewed every {RENEW_INTERVAL:?}."))?;
        line("")?;
        match self.style {
            Style::Columns { .. } => {
                let heads = format!("{:>7}  {:<6}  {:>5}  event", "ms", "node", "epoch");
                line(&self.paint(DIM, &heads))
            }
            _ => line("ms\tnode\tepoch\tevent"),
        }
    }

    /// Prints the title of the next part.
    pub(crate) fn heading(&self, text: &str) -> Result<()> {
        match self.style {
            Style::Json => Ok(()),
            Style::Plain => line(text),
            Style::Columns { .. } => line(&self.paint(BOLD, text)),
        }
    }

    /// Prints a report.
    pub(crate) fn report(&self, reports: &NodeReport) -> Result<()> {
        let NodeReport { at, node, report } = reports;
        let ms = self.ms(*at);
        if let Style::Json = self.style {
            return line(&serde_json::to_string(&JsonReport { ms, node, report })?);
        }
        // The leader has reported that it leads.
        let repeated = report.leader.as_ref() == Some(node);
        if repeated { Ok(()) } else { self.row(ms, node, report) }
    }

    /// Prints what is done to a node.
    pub(crate) fn action(&self, event: &str, node: &str, text: &str) -> Result<()> {
        let ms = self.ms(Instant::now());
        if let Style::Json = self.style {
            return line(&json!({ "ms": ms, "node": node, "event": event, "text": text }));
        }
        self.row(ms, node, &Report::plain(Kind::Other, text.to_owned()))
    }

    /// Prints the summary.
    pub(crate) fn summary(&self, summary: Summary) -> Result<()> {
        let summary = Summary { store: self.store.clone(), ..summary };
        if let Style::Json = self.style {
            return line(&json!({ "summary": summary }));
        }
        let Summary { terms, epochs, handover_ms, crash_failover_ms, .. } = summary;
        let epochs: Vec<_> = epochs.iter().map(ToString::to_string).collect();
        self.heading(&format!("{terms} terms, epochs {}; never two leaders", epochs.join(", ")))?;
        line(&format!("Step-down to next leader: {handover_ms} ms"))?;
        line(&format!("Crash to next leader: {crash_failover_ms} ms"))
    }

    fn row(&self, ms: u64, node: &str, report: &Report) -> Result<()> {
        let epoch = report.epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
        let text = &report.text;
        if !matches!(self.style, Style::Columns { .. }) {
            return line(&format!("{ms}\t{node}\t{epoch}\t{text}"));
        }
        let index = NODES.iter().position(|name| *name == node).unwrap_or_default();
        let mut text = format!("{node:<6}  {epoch:>5}  {text}");
        text = self.paint(COLOURS[index], &text);
        if report.kind == Kind::BecameLeader {
            text = self.paint(BOLD, &text);
        }
        line(&format!("{ms:>7}  {text}"))
    }

    fn paint(&self, code: &str, text: &str) -> String {
        match self.style {
            Style::Columns { colours: true } => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }

    fn ms(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Milliseconds with one decimal.
pub(crate) fn rounded_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

/// Prints a line. A closed output is an error and not a panic, so that the nodes are still
/// stopped.
fn line(text: &(impl ToString + ?Sized)) -> Result<()> {
    Ok(writeln!(io::stdout(), "{}", text.to_string())?)
}
