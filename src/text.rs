//! Text from outside this process, made safe for a log line, a terminal and a C string.
//!
//! Servers, other nodes, commands and users may send any characters. One rule holds wherever such
//! text is shown: control characters and line ends become spaces, and characters that hide text or
//! change its direction are dropped.

/// How many bytes of foreign text an error or a status keeps.
pub(crate) const MAX_EXCERPT: usize = 300;

/// All of `text`, on one line.
#[must_use]
pub fn printable(text: &str) -> String {
    visible(text).collect()
}

/// The first [`MAX_EXCERPT`] bytes of `text`, on one line.
pub(crate) fn excerpt(text: &str) -> String {
    truncated(text, MAX_EXCERPT)
}

/// As [`printable`], cut between characters to at most `max_bytes` bytes.
pub(crate) fn truncated(text: &str, max_bytes: usize) -> String {
    let mut kept = String::new();
    for c in visible(text) {
        if kept.len() + c.len_utf8() > max_bytes {
            break;
        }
        kept.push(c);
    }
    kept
}

fn visible(text: &str) -> impl Iterator<Item = char> {
    let ends_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.chars().filter(|c| !is_format(*c)).map(move |c| if ends_line(c) { ' ' } else { c })
}

/// Bidirectional controls, zero-width characters, and tags.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_become_spaces() {
        assert_eq!(printable("a\u{1b}[2J\r\nb\0\u{9b}\u{7f}\u{2028}c"), "a [2J  b    c");
    }

    #[test]
    fn direction_and_zero_width_characters_are_dropped() {
        assert_eq!(printable("a\u{202e}\u{2066}\u{61c}\u{200b}\u{feff}\u{e0041}b"), "ab");
        assert_eq!(printable("節点 é 🦀"), "節点 é 🦀");
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(truncated("aé節", 2), "a");
        assert_eq!(truncated("aé節", 3), "aé");
        assert_eq!(truncated("aé節", 6), "aé節");
        assert_eq!(excerpt(&"x".repeat(400)).len(), MAX_EXCERPT);
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_safe_line(text: String, max_bytes in 0..40_usize) {
            let safe = printable(&text);
            prop_assert!(!safe.contains(|c: char| c.is_control() || is_format(c)));
            prop_assert_eq!(&printable(&safe), &safe);
            let cut = truncated(&text, max_bytes);
            prop_assert!(cut.len() <= max_bytes && safe.starts_with(&cut));
        }
    }
}
