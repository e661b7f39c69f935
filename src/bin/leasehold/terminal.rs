//! A terminal as a screen: raw input, the alternate screen, and frames of which only the lines that
//! changed are sent.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Columns and lines where the terminal does not say.
const USUAL: (usize, usize) = (80, 24);

const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// What was pressed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Key {
    Quit,
    Up,
    Down,
    Redraw,
    Other,
}

/// Both ends are a terminal, and one that can do more than print.
pub(super) fn is_there() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}

/// The terminal, until it is dropped: then it is as it was.
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

    /// Its size now. After a change everything is drawn anew.
    pub(super) fn size(&mut self) -> (usize, usize) {
        let now = size();
        if now != self.size {
            self.size = now;
            self.forget();
        }
        now
    }

    /// Draws everything anew the next time.
    pub(super) fn forget(&mut self) {
        self.shown.clear();
    }

    /// Shows these lines, which fit.
    pub(super) fn show(&mut self, lines: Vec<String>) -> io::Result<()> {
        let changes = changes(&self.shown, &lines);
        self.shown = lines;
        // Shown at once by terminals that know how; others ignore the frame.
        if changes.is_empty() { Ok(()) } else { send(&format!("\x1b[?2026h{changes}\x1b[?2026l")) }
    }

    /// What is pressed within `wait`, in order.
    #[allow(clippy::unused_self, reason = "only a terminal that was opened has single keys")]
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
        Ok(meaning(&bytes[..count]))
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
        _ => USUAL,
    }
}

fn send(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// What has to be sent so that `after` is seen where `before` was.
fn changes(before: &[String], after: &[String]) -> String {
    let mut text = String::new();
    if before.is_empty() {
        text.push_str("\x1b[2J");
    }
    for (index, line) in after.iter().enumerate() {
        if before.get(index) != Some(line) {
            // Erased first: behind a line of full width the cursor stands on its last letter.
            let _ = write!(text, "\x1b[{};1H\x1b[2K{line}", index + 1);
        }
    }
    if after.len() < before.len() {
        let _ = write!(text, "\x1b[{};1H\x1b[J", after.len() + 1);
    }
    text
}

/// No bytes mean that there is nobody any more. Several keys come at once where one is held down,
/// or the line is slow.
fn meaning(bytes: &[u8]) -> Vec<Key> {
    if bytes.is_empty() {
        return vec![Key::Quit];
    }
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let length = if *first == 0x1b { sequence(rest) } else { 1 };
        keys.push(match &rest[..length] {
            [b'q' | b'Q' | 3 | 4] => Key::Quit,
            [b'k'] | [0x1b, b'[' | b'O', b'A'] => Key::Up,
            [b'j'] | [0x1b, b'[' | b'O', b'B'] => Key::Down,
            [12] => Key::Redraw,
            _ => Key::Other,
        });
        rest = &rest[length..];
    }
    keys
}

/// How many bytes a key of several has. The escape key alone means nothing: over a slow line it may
/// be the beginning of another.
fn sequence(bytes: &[u8]) -> usize {
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
    fn only_lines_that_changed_are_sent() {
        let lines = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(changes(&lines("a b c"), &lines("a b c")), "");
        assert_eq!(changes(&lines("a b c"), &lines("a x c")), "\x1b[2;1H\x1b[2Kx");
        assert_eq!(changes(&lines("a b c"), &lines("a b")), "\x1b[3;1H\x1b[J");
        assert!(changes(&[], &lines("a")).starts_with("\x1b[2J\x1b[1;1H\x1b[2Ka"));
    }

    #[test]
    fn keys_are_known_by_their_bytes() {
        for quits in [&b"q"[..], b"Q", b"\x03", b""] {
            assert_eq!(meaning(quits), [Key::Quit], "{quits:?}");
        }
        assert_eq!(meaning(b"\x1b[A\x1bOBkj"), [Key::Up, Key::Down, Key::Up, Key::Down]);
        assert_eq!(meaning(b"jjq"), [Key::Down, Key::Down, Key::Quit]);
        assert_eq!(meaning(b"\x1b[1;5Aq"), [Key::Other, Key::Quit]);
        for nothing in [&b"x"[..], b"\x1b", b"\x1b[", b"\x1b[12;", b"\x1b[24~"] {
            assert_eq!(meaning(nothing), [Key::Other], "{nothing:?}");
        }
    }
}
