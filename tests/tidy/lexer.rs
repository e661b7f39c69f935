//! Rust text cut into tokens: enough to tell code from comments and strings, and no more.

/// A word, a number, a literal with its quotes, or a sign; `::` is one sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// Where it begins, from 1.
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    /// Whether it is a string in which nothing is escaped.
    pub(crate) fn is_raw_string(&self) -> bool {
        let rest = self.text.trim_start_matches(['b', 'c']).strip_prefix('r');
        rest.is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    }

    /// Whether it is a name or a keyword.
    pub(crate) fn is_word(&self) -> bool {
        self.text.chars().all(is_word_character) && !self.text.starts_with(char::is_numeric)
    }
}

/// The tokens of `text` in their order, without comments.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let (length, counts) = next(rest);
        let (token, after) = rest.split_at(length);
        if counts {
            tokens.push(Token { text: token.to_owned(), line });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

/// How long the piece is that `text` begins with, and whether it is a token.
fn next(text: &str) -> (usize, bool) {
    let first = text.chars().next().unwrap_or(' ');
    if first.is_whitespace() {
        return (first.len_utf8(), false);
    }
    if text.starts_with("//") {
        return (text.find('\n').unwrap_or(text.len()), false);
    }
    if text.starts_with("/*") {
        return (block_comment(text), false);
    }
    let length = string(text).or_else(|| character(text)).unwrap_or_else(|| match first {
        _ if text.starts_with("::") => 2,
        _ if is_word_character(first) => word(text),
        _ => first.len_utf8(),
    });
    (length, true)
}

fn is_word_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn word(text: &str) -> usize {
    text.find(|character| !is_word_character(character)).unwrap_or(text.len())
}

/// Block comments nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut index = 0;
    while index < text.len() {
        let rest = &text.as_bytes()[index..];
        if rest.starts_with(b"/*") {
            depth += 1;
            index += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            index += 2;
            if depth == 0 {
                return index;
            }
        } else {
            index += 1;
        }
    }
    text.len()
}

/// The length of a string literal, plain or raw, with any prefix.
fn string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let opening = text.strip_prefix(prefix).map(|rest| rest.trim_start_matches('#'));
        opening.is_some_and(|opening| opening.starts_with('"'))
    })?;
    let body = &text[prefix.len()..];
    let marks = body.len() - body.trim_start_matches('#').len();
    let start = prefix.len() + marks + 1;
    if prefix.ends_with('r') {
        let closing = format!("\"{}", "#".repeat(marks));
        let length = text[start..].find(&closing).map(|end| start + end + closing.len());
        return Some(length.unwrap_or(text.len()));
    }
    (marks == 0).then(|| start + quoted(&text[start..], '"'))
}

/// The length of a character literal; `'a` alone is a lifetime, whose quote is a sign.
fn character(text: &str) -> Option<usize> {
    let start = if text.starts_with('b') { 2 } else { 1 };
    let body = text.strip_prefix('b').unwrap_or(text).strip_prefix('\'')?;
    let closed = body.starts_with('\\') || body.chars().nth(1) == Some('\'');
    closed.then(|| start + quoted(body, '\''))
}

/// How far it is to the end of the first `quote` that no backslash precedes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        if character == quote && !escaped {
            return index + 1;
        }
        escaped = character == '\\' && !escaped;
    }
    text.len()
}
