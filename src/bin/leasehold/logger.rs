//! Log lines to stderr, written by a thread of their own.
//!
//! The renewal thread logs, and must not wait for a stderr that blocks, such as a pipe to a pager.
//! So lines wait in a bounded queue; a line that finds it full is dropped and counted.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use leasehold::text::printable;
use leasehold::utc;
use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};

use super::args::{Args, Command};

/// The most lines that wait.
const QUEUE_LENGTH: usize = 4096;
/// How long the end of the process waits for the queue.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The format of lines.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    /// With the time, for terminals and files.
    Plain,
    /// With the priority that systemd's journal reads, and without the time, which it adds.
    Journal,
    Json,
}

enum Message {
    Line(String),
    Flush(SyncSender<()>),
}

struct Logger {
    format: Format,
    level: LevelFilter,
    queue: SyncSender<Message>,
}

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// A handle to flush the queue before the process ends.
pub(super) struct Flush(Option<SyncSender<Message>>);

pub(super) fn start(args: &Args) -> Flush {
    let daemon = matches!(args.command, Command::Daemon(_));
    let level = args.log_level.unwrap_or_else(|| default_level(&args.command));
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let format = match () {
        () if args.json && daemon => Format::Json,
        () if journal => Format::Journal,
        () => Format::Plain,
    };
    let (queue, lines) = sync_channel(QUEUE_LENGTH);
    let writer = thread::Builder::new().name("leasehold-log".into());
    if writer.spawn(move || write_all(&lines)).is_err() {
        return Flush(None);
    }
    let logger = Logger { format, level, queue: queue.clone() };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
    Flush(Some(queue))
}

impl Flush {
    /// Waits until the queued lines are written, at most [`FLUSH_TIMEOUT`].
    pub(super) fn finish(self) {
        let (done, written) = sync_channel(1);
        if self.0.is_some_and(|queue| queue.try_send(Message::Flush(done)).is_ok()) {
            let _ = written.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Errors only for commands, which print their failure themselves; none over the screen of `watch`.
fn default_level(command: &Command) -> LevelFilter {
    match command {
        Command::Daemon(_) => LevelFilter::Info,
        Command::Watch(_) => LevelFilter::Off,
        _ => LevelFilter::Error,
    }
}

fn write_all(lines: &Receiver<Message>) {
    for message in lines {
        match message {
            Message::Line(line) => {
                let _ = io::stderr().lock().write_all(line.as_bytes());
            }
            Message::Flush(done) => {
                let _ = done.try_send(());
            }
        }
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ = writeln!(io::stderr(), "{dropped} log lines were dropped");
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Lines of other crates below WARN help only a trace.
        let ours = metadata.target().starts_with("leasehold");
        let level = if ours { self.level } else { self.level.min(LevelFilter::Warn) };
        metadata.level() <= level || self.level == LevelFilter::Trace
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if self.queue.try_send(Message::Line(line(self.format, record))).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

/// The record as one line.
fn line(format: Format, record: &Record<'_>) -> String {
    let mut values = Values::default();
    // An error ends the visit; the values before it are kept.
    let _ = record.key_values().visit(&mut values);
    let message = printable(&record.args().to_string());
    if format == Format::Json {
        let mut object = serde_json::Map::new();
        object.insert("time".into(), utc::rfc3339(SystemTime::now()).into());
        object.insert("level".into(), record.level().as_str().to_lowercase().into());
        object.insert("message".into(), message.into());
        object.extend(values.0.into_iter().map(|(key, value)| (key, value.into())));
        return format!("{}\n", serde_json::Value::Object(object));
    }
    let mut line = match format {
        Format::Journal => format!("<{}>", priority(record.level())),
        _ => format!("{} {:<5} ", utc::rfc3339(SystemTime::now()), record.level()),
    };
    line.push_str(&message);
    for (key, value) in values.0 {
        let _ = write!(line, " {key}={}", quoted(&value));
    }
    line.push('\n');
    line
}

/// Syslog's number of the level.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// In quotes if the value could be read as more than one.
fn quoted(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/[]@+".contains(&b);
    if !value.is_empty() && value.bytes().all(plain) {
        value.to_owned()
    } else {
        format!("{value:?}")
    }
}

#[derive(Default)]
struct Values(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for Values {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.push((key.to_string(), printable(&value.to_string())));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(format: Format) -> String {
        line(
            format,
            &Record::builder()
                .level(Level::Warn)
                .target("leasehold::x")
                .args(format_args!("two\nlines"))
                .key_values(&[("node", "a\nb")])
                .build(),
        )
    }

    #[test]
    fn a_record_is_one_line_in_each_format() {
        let plain = record(Format::Plain);
        assert!(plain.ends_with("Z WARN  two lines node=\"a b\"\n"), "{plain}");
        assert_eq!(record(Format::Journal), "<4>two lines node=\"a b\"\n");
        let json: serde_json::Value = serde_json::from_str(&record(Format::Json)).unwrap();
        assert_eq!((&json["message"], &json["node"]), (&"two lines".into(), &"a b".into()));
        let (time, _) = plain.split_once(' ').unwrap();
        assert_eq!(time.len(), "2026-01-01T00:00:00.000000Z".len(), "{plain}");
    }
}
