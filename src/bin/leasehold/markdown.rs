//! The manual's Markdown as text for a terminal.

/// A page without link targets, comments, fences and the lines of code that only the compiler
/// needs. Code is indented.
pub(super) fn plain(page: &str) -> String {
    let mut plain = String::new();
    let mut fence: Option<&str> = None;
    for line in page.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(language) };
            continue;
        }
        match fence {
            Some(language) if is_hidden(language, line) => {}
            Some(_) => push(&mut plain, &format!("    {line}")),
            None if is_link_target(line) || line.starts_with("<!--") => {}
            None => push(&mut plain, &without_targets(line)),
        }
    }
    plain
}

fn push(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

/// rustdoc compiles such a line and does not show it.
fn is_hidden(language: &str, line: &str) -> bool {
    matches!(language, "" | "no_run") && (line == "#" || line.starts_with("# "))
}

/// `[name]: target`
fn is_link_target(line: &str) -> bool {
    line.starts_with('[') && line.contains("]: ")
}

/// `[text](target)` becomes `text`, with the name of the topic where the target is one; `[name]`
/// becomes `name`. Code stays as it is.
fn without_targets(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(['[', '`']) {
        let is_code = rest[before.len()..].starts_with('`');
        let Some((text, after)) = after.split_once(if is_code { '`' } else { ']' }) else { break };
        plain.push_str(before);
        rest = after;
        if is_code {
            plain.extend(["`", text, "`"]);
            continue;
        }
        plain.push_str(text);
        let target = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        if let Some((target, after)) = target {
            plain.push_str(&topic(target));
            rest = after;
        }
    }
    plain + rest
}

/// How to read on, where a link leads to another page.
fn topic(target: &str) -> String {
    let page = target.strip_prefix("crate::guide::");
    let page = page.map(|page| page.split('#').next().unwrap_or_default().replace('_', "-"));
    page.map(|name| format!(" (leasehold help {name})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use leasehold::guide::TOPICS;

    use super::*;

    #[test]
    fn links_show_their_text_and_the_topic_they_lead_to() {
        assert_eq!(without_targets("See [`Node`] and [it](crate::Node)."), "See `Node` and it.");
        let link = "Read [the limits](crate::guide::virtual_ip#limits).";
        assert_eq!(without_targets(link), "Read the limits (leasehold help virtual-ip).");
        for unchanged in ["a[0", "`host[:port]` and `[a](b)`(c)", "a ` b"] {
            assert_eq!(without_targets(unchanged), unchanged);
        }
    }

    #[test]
    fn code_is_indented_and_hidden_lines_are_left_out() {
        let page =
            "A\n\n```\n# use a;\nlet b = 1;\n#\n```\n```sh\n# a comment\n```\n[`A`]: crate::A\n";
        assert_eq!(plain(page), "A\n\n    let b = 1;\n    # a comment\n");
    }

    #[test]
    fn every_link_between_pages_names_a_topic() {
        for topic in TOPICS {
            let text = plain(topic.text);
            for rest in text.split("(leasehold help ").skip(1) {
                let name = rest.split(')').next().unwrap_or_default();
                assert!(TOPICS.iter().any(|topic| topic.name == name), "{name:?}");
            }
            assert!(text.starts_with("# ") && !text.contains("crate::guide"), "{}", topic.name);
            assert!(!text.contains("<!--"), "{}", topic.name);
        }
    }
}
