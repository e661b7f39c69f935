//! Output to stdout, and failures.

use std::io::{self, IsTerminal, Write};

use clap::ColorChoice;
use leasehold::text::printable;
use serde::Serialize;
use serde_json::json;

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

/// Writes and flushes the bytes. False when the reader has closed the pipe.
pub(super) fn raw(bytes: &[u8]) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::System(format!("cannot write to stdout: {error}"))),
    }
}

/// Prints `text`, or `value` as JSON on one line.
pub(super) fn print(json: bool, value: &impl Serialize, text: &str) -> Result<(), Failure> {
    let in_json = || serde_json::to_string(value).map(|value| value + "\n");
    let text = if json { &in_json().map_err(io::Error::from)? } else { text };
    raw(text.as_bytes()).map(drop)
}

/// Prints the result of a command: a sentence, or `{"ok":true}` with facts.
pub(super) fn done(as_json: bool, sentence: &str, facts: &impl Serialize) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Done<'a, T> {
        ok: bool,
        #[serde(flatten)]
        facts: &'a T,
    }
    let value = Done { ok: true, facts };
    print(as_json, &value, &format!("{}\n", printable(sentence)))
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
    print(as_json, &json!({ "version": version }), &format!("leasehold {version}\n"))
}
