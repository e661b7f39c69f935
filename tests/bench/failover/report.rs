//! What came of it: rows with a budget and a verdict, series, notes; as a table and as JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::options::Options;
use super::stats::Series;
use super::{name, plot};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Millis,
    Nanos,
    Megabytes,
    Count,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Millis if value < 10.0 => format!("{value:.2} ms"),
            Self::Millis => format!("{value:.0} ms"),
            Self::Nanos => format!("{value:.1} ns"),
            Self::Megabytes => format!("{value:.2} MiB"),
            Self::Count => format!("{value:.2}"),
        }
    }
}

/// One line: what was measured, against what, and how it does.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    what: String,
    server: &'static str,
    unit: Unit,
    value: f64,
    /// The yardstick of the same run, where the budget is a multiple of it.
    bare: Option<f64>,
    budget: f64,
}

impl Row {
    /// At most `budget` times the yardstick.
    pub(crate) fn ratio(
        what: &str,
        server: &'static str,
        unit: Unit,
        value: f64,
        bare: f64,
        budget: f64,
    ) -> Self {
        Self { what: what.to_owned(), server, unit, value, bare: Some(bare), budget }
    }

    /// At most `budget`.
    pub(crate) fn limit(
        what: &str,
        server: &'static str,
        unit: Unit,
        value: f64,
        budget: f64,
    ) -> Self {
        Self { what: what.to_owned(), server, unit, value, bare: None, budget }
    }

    /// How many times the yardstick it is, or how much of the budget it uses.
    fn ratio_of(&self) -> f64 {
        self.value / self.bare.unwrap_or(self.budget)
    }

    fn holds(&self) -> bool {
        self.value <= self.bare.unwrap_or(1.0) * self.budget
    }

    fn verdict(&self) -> String {
        if self.holds() {
            return "met".to_owned();
        }
        let over = self.value / (self.bare.unwrap_or(1.0) * self.budget);
        format!("missed by {over:.1}×")
    }

    fn line(&self) -> String {
        let value = self.unit.show(self.value);
        let (bare, ratio, budget) = match self.bare {
            Some(bare) => (
                self.unit.show(bare),
                format!("{:.2}×", self.ratio_of()),
                format!("≤ {}×", self.budget),
            ),
            None => ("–".to_owned(), "–".to_owned(), format!("≤ {}", self.unit.show(self.budget))),
        };
        let (what, server, verdict) = (&self.what, self.server, self.verdict());
        format!("| {what} | {server} | {value} | {bare} | {ratio} | {budget} | {verdict} |")
    }

    fn json(&self) -> Value {
        json!({
            "what": self.what, "server": self.server, "unit": format!("{:?}", self.unit),
            "value": self.value, "yardstick": self.bare, "budget": self.budget,
            "ratio": self.ratio_of(), "met": self.holds(),
        })
    }
}

pub(crate) struct Report {
    rows: Vec<Row>,
    series: Vec<(String, Series)>,
    notes: Vec<String>,
    pub(crate) took: Duration,
    quick: bool,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        let servers: Vec<_> = options.servers.iter().map(|version| name(*version)).collect();
        let notes = vec![format!(
            "{}; nats-server {}; seed {}; {}",
            machine(),
            servers.join(" and "),
            options.seed,
            if options.quick { "a quick run, too short for the tails" } else { "a full run" }
        )];
        let (rows, series) = (Vec::new(), Vec::new());
        Self { rows, series, notes, took: Duration::ZERO, quick: options.quick }
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

    /// Writes the files, and the table or the JSON to stdout.
    pub(crate) fn publish(&self, options: &Options) {
        let (table, json) = (self.table(), format!("{:#}\n", self.json()));
        fs::create_dir_all(&options.out).expect("a folder for the results");
        let write = |name: &str, text: &str| {
            fs::write(options.out.join(name), text).expect("room for the results");
        };
        write("failover.md", &table);
        write("failover.json", &json);
        let picture = plot::draw(&self.series);
        write("failover.svg", &picture);
        if options.guide {
            renew_guide(&table, &picture);
        }
        println!("{}", if options.json { json } else { table });
        eprintln!("files in {}; {:.0} s", options.out.display(), self.took.as_secs_f64());
    }

    fn table(&self) -> String {
        let mut text = String::from(
            "| | nats-server | measured | yardstick | ratio | budget | |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let _ = writeln!(text, "{}", row.line());
        }
        text.push('\n');
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
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
            "series": series.collect::<Vec<_>>(), "notes": self.notes,
            "seconds": self.took.as_secs_f64(), "quick": self.quick,
        })
    }
}

/// Where the table stands in the guide.
const MARKS: [&str; 2] = ["<!-- failover -->\n", "<!-- /failover -->"];

/// Puts the table into the guide, and the picture beside this program.
fn renew_guide(table: &str, picture: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("src/guide/benchmarks.md");
    let text = fs::read_to_string(&path).expect("the page");
    let [begin, end] = MARKS.map(|mark| text.find(mark).expect("a place for the table"));
    let (before, after) = (&text[..begin + MARKS[0].len()], &text[end..]);
    fs::write(path, format!("{before}{table}{after}")).expect("the page can be written");
    fs::write(root.join("tests/bench/failover.svg"), picture).expect("and the picture");
}

/// The processor, how many of its cores there are, and the kernel's version without its build.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("a processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version: Vec<&str> = kernel.trim().splitn(3, '.').take(2).collect();
    format!("{model}, {cores} cores, Linux {}", version.join("."))
}
