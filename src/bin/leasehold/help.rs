//! `help`: the commands' help and the pages of the manual.

use std::fmt::Write as _;

use leasehold::guide::TOPICS;
use serde_json::json;

use super::args::parser;
use super::failure::Failure;
use super::markdown::plain;
use super::output;

/// Prints the list of commands and topics, or the one of that name.
pub(super) fn help(as_json: bool, name: Option<&str>) -> Result<(), Failure> {
    let text = name.map_or_else(list, |name| {
        let name = if name == "vip" { "virtual-ip" } else { name };
        let topic = TOPICS.iter().find(|topic| topic.name == name);
        topic.map_or_else(|| of_command(name), |topic| plain(topic.text))
    });
    output::print(as_json, &json!({ "name": name, "text": text }), &text)
}

/// The text of `leasehold NAME --help`, which clap returns as an error.
fn of_command(name: &str) -> String {
    let parsed = parser().try_get_matches_from(["leasehold", name, "--help"]);
    parsed.err().map(|help| help.to_string()).unwrap_or_default()
}

fn list() -> String {
    let mut text = String::from("Commands:\n");
    for command in parser().get_subcommands() {
        let summary = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "  {:<16} {summary}", command.get_name());
    }
    text.push_str("\nTopics of the manual:\n");
    for topic in TOPICS {
        let _ = writeln!(text, "  {:<16} {}", topic.name, topic.summary);
    }
    text.push_str("\n`leasehold help NAME` prints one of them.\n");
    text
}
