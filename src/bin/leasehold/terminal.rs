//! A terminal as a screen: raw input, the alternate screen, and frames of which only changed lines
//! are sent.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Columns and lines of a terminal that does not report its size.
const DEFAULT_SIZE: (usize, usize) = (80, 24);

const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A pressed key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Key {
    Quit,
    Up,
    Down,
    Redraw,
}

/// Whether stdin and stdout are a terminal that can move its cursor.
pub(super) fn is_available() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}

/// The terminal as a screen; dropping it restores the terminal.
pub(super) struct Terminal {
    before: Termios,
    shown: Vec<String>,
    size: (usize, usize),
}

impl Terminal {
    pub(super) fn open() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?;
        let terminal = Self { before, shown: Vec::new(), size: size() };
        send(ENTER)?;
        Ok(terminal)
    }

    /// Its current size. After a change the next frame is drawn completely.
    pub(super) fn size(&mut self) -> (usize, usize) {
        let now = size();
        if now != self.size {
            self.size = now;
            self.redraw();
        }
        now
    }

    /// Makes the next frame be drawn completely.
    pub(super) fn redraw(&mut self) {
        self.shown.clear();
    }

    /// Shows these lines, which must fit.
    pub(super) fn show(&mut self, lines: Vec<String>) -> io::Result<()> {
        let changes = changes(&self.shown, &lines);
        self.shown = lines;
        // A synchronized update; terminals that do not know it ignore it.
        if changes.is_empty() { Ok(()) } else { send(&format!("\x1b[?2026h{changes}\x1b[?2026l")) }
    }

    /// The keys that are pressed within `wait`, in order.
    #[allow(clippy::unused_self, reason = "only an opened terminal reads single keys")]
    pub(super) fn keys(&self, wait: Duration) -> io::Result<Vec<Key>> {
        let stdin = io::stdin();
        let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
        let timeout = Timespec::try_from(wait).ok();
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut bytes = [0; 64];
        let count = rustix::io::read(&stdin, &mut bytes)?;
        Ok(parse_keys(&bytes[..count]))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = send(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => DEFAULT_SIZE,
    }
}

fn send(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// The output that turns the screen `before` into `after`.
fn changes(before: &[String], after: &[String]) -> String {
    let mut text = String::new();
    if before.is_empty() {
        text.push_str("\x1b[2J");
    }
    for (index, line) in after.iter().enumerate() {
        if before.get(index) != Some(line) {
            // Erased first: after a line of full width the cursor is on its last character.
            let _ = write!(text, "\x1b[{};1H\x1b[2K{line}", index + 1);
        }
    }
    if after.len() < before.len() {
        let _ = write!(text, "\x1b[{};1H\x1b[J", after.len() + 1);
    }
    text
}

/// The keys in `bytes` that have a meaning. No bytes mean that the terminal is gone. Several keys
/// arrive at once when one is held down, or the connection is slow.
fn parse_keys(bytes: &[u8]) -> Vec<Key> {
    if bytes.is_empty() {
        return vec![Key::Quit];
    }
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let length = if *first == 0x1b { sequence_length(rest) } else { 1 };
        keys.extend(match &rest[..length] {
            [b'q' | b'Q' | 3 | 4] => Some(Key::Quit),
            [b'k'] | [0x1b, b'[' | b'O', b'A'] => Some(Key::Up),
            [b'j'] | [0x1b, b'[' | b'O', b'B'] => Some(Key::Down),
            [12] => Some(Key::Redraw),
            _ => None,
        });
        rest = &rest[length..];
    }
    keys
}

/// The length of an escape sequence. A single escape byte is no key: it can be the beginning of a
/// sequence.
fn sequence_length(bytes: &[u8]) -> usize {
    match bytes {
        [_, b'O', _, ..] => 3,
        [_, b'[', rest @ ..] => {
            let end = rest.iter().position(|byte| (0x40..0x7f).contains(byte));
            end.map_or(bytes.len(), |end| end + 3)
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changed_lines_are_sent() {
        let lines = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(changes(&lines("a b c"), &lines("a b c")), "");
        assert_eq!(changes(&lines("a b c"), &lines("a x c")), "\x1b[2;1H\x1b[2Kx");
        assert_eq!(changes(&lines("a b c"), &lines("a b")), "\x1b[3;1H\x1b[J");
        assert!(changes(&[], &lines("a")).starts_with("\x1b[2J\x1b[1;1H\x1b[2Ka"));
    }

    #[test]
    fn keys_are_parsed_from_their_bytes() {
        for quits in [&b"q"[..], b"Q", b"\x03", b""] {
            assert_eq!(parse_keys(quits), [Key::Quit], "{quits:?}");
        }
        assert_eq!(parse_keys(b"\x1b[A\x1bOBkj"), [Key::Up, Key::Down, Key::Up, Key::Down]);
        assert_eq!(parse_keys(b"jjq"), [Key::Down, Key::Down, Key::Quit]);
        assert_eq!(parse_keys(b"\x1b[1;5Aq"), [Key::Quit]);
        for nothing in [&b"x"[..], b"\x1b", b"\x1b[", b"\x1b[12;", b"\x1b[24~"] {
            assert_eq!(parse_keys(nothing), [], "{nothing:?}");
        }
    }
}
