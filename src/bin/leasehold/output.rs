//! Output to stdout, and failures.

use std::io::{self, IsTerminal, Write};

use clap::ColorChoice;
use leasehold::text::printable;
use serde::Serialize;
use serde_json::{Value, json};

use super::failure::Failure;

/// Whether output has colours.
pub(super) fn colours(when: ColorChoice) -> bool {
    let unwanted = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match when {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => io::stdout().is_terminal() && !unwanted(),
    }
}

/// Writes the bytes. A reader that has closed the pipe is not a failure.
pub(super) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::System(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes and flushes a line. False when the reader has closed the pipe.
pub(super) fn line(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::System(format!("cannot write to stdout: {error}"))),
    }
}

/// Prints `text`, or `value` as JSON on one line.
pub(super) fn answer(json: bool, value: &impl Serialize, text: &str) -> Result<(), Failure> {
    if !json {
        return raw(text.as_bytes());
    }
    let value = serde_json::to_string(value).map_err(|error| Failure::System(error.to_string()))?;
    raw(format!("{value}\n").as_bytes())
}

/// Prints the result of a command: a sentence, or `{"ok":true}` with facts.
pub(super) fn done(as_json: bool, sentence: &str, facts: &Value) -> Result<(), Failure> {
    let mut value = json!({ "ok": true });
    if let (Value::Object(all), Value::Object(facts)) = (&mut value, facts) {
        all.extend(facts.clone());
    }
    answer(as_json, &value, &format!("{}\n", printable(sentence)))
}

/// Prints a failure on one line: on stderr, or as JSON on stdout if that can be written.
pub(super) fn failure(as_json: bool, failure: &Failure) {
    let text = printable(&failure.to_string());
    let value = json!({ "ok": false, "exitCode": failure.exit_code(), "error": text });
    if !as_json || raw(format!("{value}\n").as_bytes()).is_err() {
        let _ = writeln!(io::stderr(), "leasehold: {text}");
    }
}

pub(super) fn version(as_json: bool) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    answer(as_json, &json!({ "version": version }), &format!("leasehold {version}\n"))
}
