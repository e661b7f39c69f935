//! What came of it: rows with a budget and a verdict, series, notes; as tables and as JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use leasehold::config::TransportChoice;
use serde_json::{Value, json};

use super::options::Options;
use super::stats::Series;
use super::{CLIENTS, name, plot};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Millis,
    Nanos,
    Megabytes,
    Count,
}

impl Unit {
    fn number(self, value: f64) -> String {
        match self {
            Self::Millis if value >= 10.0 => format!("{value:.0}"),
            Self::Nanos => format!("{value:.1}"),
            _ => format!("{value:.2}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Millis => " ms",
            Self::Nanos => " ns",
            Self::Megabytes => " MiB",
            Self::Count => "",
        }
    }

    /// The median, and the tail where there is one.
    fn show(self, series: &Series) -> String {
        let (median, unit) = (self.number(series.median()), self.name());
        if series.len() <= 1 {
            return format!("{median}{unit}");
        }
        let (p99, most) = (self.number(series.p99()), self.number(series.quantile(1.0)));
        format!("{median} ({p99}, {most}){unit}")
    }
}

/// What is allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Budget {
    /// So many times the yardstick of the same run.
    Times {
        median: f64,
        p99: Option<f64>,
    },
    Median(f64),
    P99(f64),
}

impl Budget {
    fn show(self, unit: Unit) -> String {
        let limit = |value| format!("≤ {}{}", unit.number(value), unit.name());
        match self {
            Self::Times { median, p99: None } => format!("≤ {median}×"),
            Self::Times { median, p99: Some(p99) } => format!("≤ {median}×, p99 ≤ {p99}×"),
            Self::Median(most) => limit(most),
            Self::P99(most) => format!("p99 {}", limit(most)),
        }
    }

    /// How much of it is used; more than 1 is too much.
    fn used(self, ours: &Series, bare: Option<&Series>) -> f64 {
        let bare = |of: fn(&Series) -> f64| bare.map_or(f64::NAN, of);
        match self {
            Self::Times { median, p99 } => {
                let tail = p99.map_or(0.0, |p99| ours.p99() / bare(Series::p99) / p99);
                (ours.median() / bare(Series::median) / median).max(tail)
            }
            Self::Median(most) => ours.median() / most,
            Self::P99(most) => ours.p99() / most,
        }
    }
}

/// One line: what was measured, beside what, and how it does.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    what: String,
    server: &'static str,
    loops: usize,
    unit: Unit,
    bare: Option<Series>,
    /// By client, or one of what no client takes part in.
    columns: Vec<Series>,
    budget: Option<Budget>,
}

impl Row {
    /// Of milliseconds, unless another unit follows.
    pub(crate) fn new(what: &str, server: &'static str, columns: Vec<Series>) -> Self {
        let what = what.to_owned();
        Self { what, server, loops: 0, unit: Unit::Millis, bare: None, columns, budget: None }
    }

    pub(crate) fn loops(self, loops: usize) -> Self {
        Self { loops, ..self }
    }

    pub(crate) fn unit(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    /// The yardstick of the same run.
    pub(crate) fn beside(self, bare: Series) -> Self {
        Self { bare: Some(bare), ..self }
    }

    pub(crate) fn within(self, budget: Budget) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// How many times the yardstick the median is.
    fn ratio(&self, ours: &Series) -> Option<f64> {
        self.bare.as_ref().map(|bare| ours.median() / bare.median())
    }

    fn used(&self, ours: &Series) -> Option<f64> {
        self.budget.map(|budget| budget.used(ours, self.bare.as_ref()))
    }

    fn line(&self) -> String {
        let dash = || "–".to_owned();
        let bare = self.bare.as_ref().map_or_else(dash, |bare| self.unit.show(bare));
        let mut line = format!("| {} | {} | {} | {bare} |", self.what, self.server, self.loops);
        for ours in &self.columns {
            let ratio = self.ratio(ours).map_or_else(dash, |ratio| format!("{ratio:.2}×"));
            let verdict = match self.used(ours) {
                None => dash(),
                Some(used) if used <= 1.0 => "met".to_owned(),
                Some(used) => format!("missed by {used:.2}×"),
            };
            let _ = write!(line, " {} | {ratio} | {verdict} |", self.unit.show(ours));
        }
        let budget = self.budget.map_or_else(dash, |budget| budget.show(self.unit));
        format!("{line} {budget} |")
    }

    fn json(&self) -> Value {
        let columns = self.columns.iter().map(|ours| {
            json!({
                "median": ours.median(), "p99": ours.p99(), "max": ours.quantile(1.0),
                "ratio": self.ratio(ours), "met": self.used(ours).map(|used| used <= 1.0),
            })
        });
        json!({
            "what": self.what, "server": self.server, "loops": self.loops,
            "unit": format!("{:?}", self.unit), "yardstick": self.bare.as_ref().map(Series::median),
            "budget": self.budget.map(|budget| budget.show(self.unit)),
            "columns": columns.collect::<Vec<_>>(),
        })
    }
}

pub(crate) struct Report {
    rows: Vec<Row>,
    series: Vec<(String, Series)>,
    notes: Vec<String>,
    pub(crate) took: Duration,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        let servers: Vec<_> = options.servers.iter().map(|version| name(*version)).collect();
        let notes = vec![
            "median (p99, max) of all rounds; the ratio is that of the medians".to_owned(),
            format!("{}; nats-server {}; seed {}", machine(), servers.join(" and "), options.seed),
        ];
        Self { rows: Vec::new(), series: Vec::new(), notes, took: Duration::ZERO }
    }

    pub(crate) fn row(&mut self, row: Row) {
        eprintln!("{}", row.line());
        self.rows.push(row);
    }

    pub(crate) fn series(&mut self, name: &str, series: Series) {
        self.series.push((name.to_owned(), series));
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Writes the files, and the tables or the JSON to stdout.
    pub(crate) fn publish(&self, options: &Options) {
        let (tables, json) = (self.tables(), format!("{:#}\n", self.json()));
        fs::create_dir_all(&options.out).expect("a folder for the results");
        let write = |name: &str, text: &str| {
            fs::write(options.out.join(name), text).expect("room for the results");
        };
        write("failover.md", &tables);
        write("failover.json", &json);
        let picture = plot::draw(&self.series);
        write("failover.svg", &picture);
        if options.guide {
            renew_guide(&tables, &picture);
        }
        println!("{}", if options.json { json } else { tables });
        eprintln!("files in {}; {:.0} s", options.out.display(), self.took.as_secs_f64());
    }

    fn tables(&self) -> String {
        let clients = CLIENTS.map(|client| format!("{} | ratio | |", client.name())).join(" ");
        let mut text = self.table(&clients, CLIENTS.len()) + &self.table("measured | ratio | |", 1);
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }

    /// The rows of so many columns.
    fn table(&self, heads: &str, columns: usize) -> String {
        let mut rows = self.rows.iter().filter(|row| row.columns.len() == columns).peekable();
        if rows.peek().is_none() {
            return String::new();
        }
        let mut text = format!("| | nats-server | endless loops | yardstick | {heads} budget |\n|");
        text.push_str(&"---|".repeat(5 + 3 * columns));
        text.push('\n');
        for row in rows {
            let _ = writeln!(text, "{}", row.line());
        }
        text.push('\n');
        text
    }

    fn json(&self) -> Value {
        let series = self.series.iter().map(|(name, series)| {
            json!({
                "name": name, "count": series.len(), "median": series.median(),
                "p90": series.quantile(0.9), "p99": series.p99(), "values": series.values(),
            })
        });
        json!({
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "clients": CLIENTS.map(TransportChoice::name),
            "series": series.collect::<Vec<_>>(), "notes": self.notes,
            "seconds": self.took.as_secs_f64(),
        })
    }
}

/// Where the table stands in the guide.
const MARKS: [&str; 2] = ["<!-- failover -->\n", "<!-- /failover -->"];

/// Puts the tables into the guide, and the picture beside this program.
fn renew_guide(tables: &str, picture: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("src/guide/benchmarks.md");
    let text = fs::read_to_string(&path).expect("the page");
    let [begin, end] = MARKS.map(|mark| text.find(mark).expect("a place for the table"));
    let (before, after) = (&text[..begin + MARKS[0].len()], &text[end..]);
    fs::write(path, format!("{before}{tables}{after}")).expect("the page can be written");
    fs::write(root.join("tests/bench/failover.svg"), picture).expect("and the picture");
}

/// The processor, how many of its cores there are, the kernel's version without its build, and the
/// load by others as the run begins.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("a processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version: Vec<&str> = kernel.trim().splitn(3, '.').take(2).collect();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}, load {load} before", version.join("."))
}
