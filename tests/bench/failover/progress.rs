//! A line on stderr that says how far it is.

use std::io::{IsTerminal, Write, stderr};

const WIDTH: usize = 30;

pub(crate) struct Progress {
    what: String,
    shown: usize,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { what: String::new(), shown: 0 }
    }

    /// Another measurement begins.
    pub(crate) fn begin(&mut self, what: &str) {
        what.clone_into(&mut self.what);
        self.shown = usize::MAX;
        if !stderr().is_terminal() {
            eprintln!("{what}");
        }
    }

    pub(crate) fn at(&mut self, done: usize, of: usize) {
        let filled = done * WIDTH / of.max(1);
        if filled == self.shown || !stderr().is_terminal() {
            return;
        }
        self.shown = filled;
        let bar = "#".repeat(filled) + &".".repeat(WIDTH - filled);
        let end = if done >= of { '\n' } else { '\r' };
        eprint!("\x1b[2K[{bar}] {}{end}", self.what);
        let _ = stderr().flush();
    }
}
