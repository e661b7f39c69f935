//! The screen of `watch` as lines of text, without a terminal or a clock.

use std::collections::VecDeque;
use std::time::Duration;

use leasehold::Role;
use leasehold::manager::{ClusterView, NodeView};

use super::text::{cut, fit, heading, id_width, node_row, seconds};

/// The smallest screen that is laid out; a smaller one is cut.
const LEAST: (usize, usize) = (40, 10);
/// Lines that are neither nodes nor events.
const FRAME: usize = 8;
/// Events that are shown even if there are more nodes than fit.
const LEAST_EVENTS: usize = 3;

/// Everything that the screen shows.
#[derive(Default)]
pub(super) struct Frame {
    /// `None` before the first view.
    pub(super) view: Option<ClusterView>,
    /// The time since the view was made.
    pub(super) age: Duration,
    /// Time and text of the events, the newest last.
    pub(super) events: VecDeque<(String, String)>,
    /// The wall-clock time.
    pub(super) now: String,
    /// How many nodes are above the first that is shown; drawing lowers it to the most possible.
    pub(super) scroll: usize,
}

/// The style of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
}

/// A line of one style, not wider than the screen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) style: Style,
    pub(super) text: String,
}

impl Line {
    /// The line with its escape sequences.
    pub(super) fn paint(&self, colours: bool) -> String {
        let code = match self.style {
            Style::Plain => return self.text.clone(),
            // These two need no colours.
            Style::Bold => "1",
            Style::Bad if !colours => "7",
            _ if !colours => return self.text.clone(),
            Style::Dim => "2",
            Style::Good => "32",
            Style::Bad => "31",
        };
        format!("\x1b[{code}m{}\x1b[0m", self.text)
    }
}

/// The screen: at most `height` lines, none wider than `width` columns.
pub(super) fn draw(frame: &mut Frame, width: usize, height: usize) -> Vec<Line> {
    let (wide, high) = (width.max(LEAST.0), height.max(LEAST.1));
    let mut lines = Lines { width: wide, lines: Vec::new() };
    frame.scroll = frame.scroll.min(frame.view.as_ref().map_or(0, |view| view.nodes.len()));
    match &frame.view {
        None => {
            lines.push(Style::Bold, "leasehold watch");
            lines.push(Style::Plain, "");
            lines.push(Style::Plain, "waiting for responses …");
        }
        Some(view) => {
            show_header(&mut lines, view, &frame.now, frame.age);
            let room = high - FRAME;
            let spare = room.saturating_sub(view.nodes.len().max(1)).max(LEAST_EVENTS);
            let events = frame.events.len().min(spare).min(room - 1);
            show_nodes(&mut lines, view, &mut frame.scroll, room - events.max(1));
            show_events(&mut lines, &frame.events, events);
        }
    }
    lines.lines.resize(high - 1, Line { style: Style::Plain, text: String::new() });
    lines.push(Style::Dim, "q quit   ↑ ↓ scroll");
    let mut lines = lines.lines;
    lines.truncate(height);
    for line in &mut lines {
        let text = cut(&line.text, width);
        text.trim_end().clone_into(&mut line.text);
    }
    lines
}

struct Lines {
    width: usize,
    lines: Vec<Line>,
}

impl Lines {
    fn push(&mut self, style: Style, text: &str) {
        self.lines.push(Line { style, text: cut(text, self.width) });
    }

    /// One text on the left side and one on the right.
    fn spread(&mut self, style: Style, left: &str, right: &str) {
        let rest = self.width.saturating_sub(right.chars().count() + 1);
        self.push(style, &format!("{} {right}", fit(left, rest)));
    }
}

/// Four lines: the cluster, the server, the lease, and an empty one.
fn show_header(lines: &mut Lines, view: &ClusterView, now: &str, age: Duration) {
    let leader = match &view.leader {
        Some(leader) if view.connected => format!("{leader} leads"),
        Some(leader) => format!("{leader} led"),
        None => "no leader is known".to_owned(),
    };
    let title = format!("{}   {leader}   epoch {}", view.cluster_id, view.epoch);
    lines.spread(Style::Bold, &title, now);
    match &view.server {
        _ if !view.connected => {
            lines.push(Style::Bad, "NO CONNECTION to a server; below is the last known state");
        }
        Some(server) => lines.push(Style::Dim, &format!("connected to {server}")),
        None => lines.push(Style::Dim, "connected"),
    }
    match &view.problem {
        Some(problem) => lines.push(Style::Bad, problem),
        None if !view.connected => lines.push(Style::Bad, "lease  unknown"),
        None => lines.push(lease_style(view), &lease(lines.width, view, age)),
    }
    lines.push(Style::Plain, "");
}

fn lease_style(view: &ClusterView) -> Style {
    if view.leader.is_some() { Style::Good } else { Style::Bad }
}

/// A bar of the lease's remaining time.
fn lease(width: usize, view: &ClusterView, age: Duration) -> String {
    let passed = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let Some(remaining) = view.lease_remaining_ms else {
        return match &view.leader {
            Some(leader) => format!("lease  held by {leader}; remaining time unknown"),
            None => "lease  no known holder".to_owned(),
        };
    };
    let (left, ttl) = (remaining.saturating_sub(passed), view.lease_ttl_ms.max(1));
    let figures = format!("{} of {}", seconds(left), seconds(ttl));
    let room = width.saturating_sub("lease  ".len() + figures.len() + 4).clamp(8, 60);
    let filled = usize::try_from(left.min(ttl) * room as u64 / ttl).unwrap_or(room);
    format!("lease  [{}{}] {figures}", "█".repeat(filled), "·".repeat(room - filled))
}

/// A heading and up to `room` nodes: the leader first, then by name.
fn show_nodes(lines: &mut Lines, view: &ClusterView, scroll: &mut usize, room: usize) {
    if view.nodes.is_empty() {
        lines.push(Style::Dim, "NODE");
        lines.push(Style::Plain, "no daemon answers");
        return;
    }
    let longest = lines.width.saturating_sub(60).clamp(12, 40);
    let width = id_width(&view.nodes).clamp(8, longest);
    lines.push(Style::Dim, &heading(width));
    let mut nodes: Vec<&NodeView> = view.nodes.iter().collect();
    nodes.sort_by_key(|node| node.missed > 0 || node.status.role != Role::Leader);
    let all_fit = nodes.len() <= room;
    let shown = if all_fit { room } else { room.saturating_sub(1) };
    *scroll = (*scroll).min(nodes.len().saturating_sub(shown));
    for node in nodes.iter().skip(*scroll).take(shown) {
        lines.push(node_style(node), &node_row(node, width));
    }
    if !all_fit {
        let below = nodes.len() - *scroll - shown;
        lines.push(Style::Dim, &format!("{scroll} above, {below} below"));
    }
}

fn node_style(node: &NodeView) -> Style {
    match node.status.role {
        _ if node.missed > 0 || node.status.stuck || !node.status.connected => Style::Bad,
        Role::Leader => Style::Good,
        Role::Follower => Style::Plain,
    }
}

fn show_events(lines: &mut Lines, events: &VecDeque<(String, String)>, count: usize) {
    lines.push(Style::Plain, "");
    lines.push(Style::Dim, "EVENTS");
    if count == 0 {
        lines.push(Style::Plain, "none yet");
    }
    for (time, text) in events.iter().skip(events.len() - count) {
        lines.push(Style::Plain, &format!("{time}  {text}"));
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
