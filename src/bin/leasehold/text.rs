//! Numbers for people to read, and a cluster as a table.

use std::collections::BTreeSet;
use std::time::Duration;

use leasehold::Role;
use leasehold::manager::{ClusterView, NodeView};
use leasehold::text::printable;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The role by its name on the wire.
pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Leader => "PRIMARY",
        Role::Follower => "PASSIVE",
    }
}

/// `7.2 s`.
pub(super) fn seconds(millis: u64) -> String {
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}

/// The two largest units: `3h 12m`.
pub(super) fn uptime(millis: u64) -> String {
    let seconds = millis / 1000;
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {seconds}s"),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// `0.41 ms`, `12 ms`.
pub(super) fn round_trip(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 10.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
}

/// Everything about a node that is not as usual.
pub(super) fn remarks(node: &NodeView) -> String {
    let status = &node.status;
    let mut remarks = Vec::new();
    match node.missed {
        0 => {}
        1..3 => remarks.push("no response".to_owned()),
        missed => remarks.push(format!("no response, {missed} times in a row")),
    }
    let flags = [
        (status.stuck, "STUCK"),
        (status.resigning, "stepping down"),
        (!status.connected, "disconnected"),
        (status.vip_held, "holds the VIP"),
    ];
    let set = flags.into_iter().filter(|(is_set, _)| *is_set);
    remarks.extend(set.map(|(_, remark)| remark.to_owned()));
    remarks.extend(status.problem.clone());
    remarks.join(", ")
}

/// A cluster as lines of text.
pub(super) fn cluster(view: &ClusterView) -> String {
    let leader = printable(view.leader.as_deref().unwrap_or("unknown"));
    let mut text = format!("cluster {}, leader {leader}, epoch {}\n", view.cluster_id, view.epoch);
    if let Some(problem) = &view.problem {
        text.push_str("problem: ");
        text.push_str(&printable(problem));
        text.push('\n');
    }
    // A condition of the bucket is told by every node.
    let warnings: BTreeSet<_> = view.nodes.iter().flat_map(|node| &node.status.warnings).collect();
    for warning in warnings {
        text.extend(["warning: ", &printable(warning), "\n"]);
    }
    if view.nodes.is_empty() {
        text.push_str("no daemon answers\n");
        return text;
    }
    let width = id_width(&view.nodes).clamp(4, 40);
    let rows = view.nodes.iter().map(|node| node_row(node, width));
    for row in std::iter::once(heading(width)).chain(rows) {
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// The columns of the longest node id.
pub(super) fn id_width(nodes: &[NodeView]) -> usize {
    nodes.iter().map(|node| node.status.node_id.width()).max().unwrap_or(0)
}

pub(super) fn heading(width: usize) -> String {
    row(width, "NODE", ["ROLE", "EPOCH", "UPTIME", "RTT"], "")
}

/// The row of a node; its id takes `width` columns.
pub(super) fn node_row(node: &NodeView, width: usize) -> String {
    let status = &node.status;
    let (epoch, up) = (status.epoch.to_string(), uptime(status.uptime_ms));
    if node.missed > 0 {
        // Another node may have its role by now.
        return row(width, &status.node_id, ["-", &epoch, &up, "-"], &remarks(node));
    }
    let trip = round_trip(node.round_trip);
    row(width, &status.node_id, [role(status.role), &epoch, &up, &trip], &remarks(node))
}

fn row(width: usize, node: &str, columns: [&str; 4], rest: &str) -> String {
    let [role, epoch, uptime, trip] = columns;
    let node = fit(node, width);
    format!("{node}  {role:<7}  {epoch:>6}  {uptime:>8}  {trip:>8}  {}", printable(rest))
}

/// Exactly `width` columns of a terminal: cut, or padded with blanks.
pub(super) fn fit(text: &str, width: usize) -> String {
    let mut fitted = cut(text, width);
    let used = fitted.width();
    fitted.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
    fitted
}

/// At most `width` columns; a text that is cut ends in `…`.
pub(super) fn cut(text: &str, width: usize) -> String {
    let text = printable(text);
    if text.width() <= width {
        return text;
    }
    let mut kept = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        kept.push(c);
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_for_people() {
        assert_eq!((seconds(7_250), seconds(0)), ("7.2 s".into(), "0.0 s".into()));
        let times = [0, 59_999, 61_000, 3_600_000, 90_000_000].map(uptime);
        assert_eq!(times, ["0s", "59s", "1m 1s", "1h 0m", "1d 1h"]);
        let trips = [410, 12_345].map(|micros| round_trip(Duration::from_micros(micros)));
        assert_eq!(trips, ["0.41 ms", "12 ms"]);
    }

    #[test]
    fn text_is_cut_by_columns_and_not_by_characters() {
        assert_eq!(fit("node", 6), "node  ");
        assert_eq!(fit("node-12345", 6), "node-…");
        assert_eq!(fit("節点一二三", 6), "節点… ");
        assert_eq!(cut("a\u{1b}[2Jb", 80), "a [2Jb");
        assert_eq!(cut("abc", 0), "");
    }
}
