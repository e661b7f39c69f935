//! What is printed.

use std::fmt::Write as _;

use crate::arguments::Arguments;
use crate::faults::site::TTL;
use crate::footprint::Footprint;
use crate::rounds::Outcome;

/// Before the first fault.
pub(crate) fn heading(arguments: &Arguments) -> String {
    format!(
        "nats-server {}, five nodes, a lease of {TTL:?}, {} minutes, seed {}",
        arguments.servers.label(),
        arguments.length.as_secs() / 60,
        arguments.seed
    )
}

/// After the last.
pub(crate) fn table(outcome: &Outcome) -> String {
    let mut text = format!("\n{:<28} {:>5} {:>28}\n", "fault", "times", "longest without a leader");
    for (name, toll) in &outcome.tolls {
        let _ = writeln!(text, "{name:<28} {:>5} {:>25} ms", toll.times, toll.leaderless);
    }
    let times = outcome.tolls.values().map(|toll| toll.times).sum::<u32>();
    let _ = writeln!(text, "{:<28} {times:>5} {:>25} ms", "all", outcome.longest_leaderless);
    let _ = write!(text, "\n{}\n{}", verdict(outcome), footprints(outcome));
    for finding in outcome.findings.all() {
        let _ = write!(text, "\n{finding}");
    }
    text
}

fn verdict(outcome: &Outcome) -> String {
    let (findings, ttl) = (&outcome.findings, TTL.as_millis());
    let beyond = u128::from(outcome.longest_leaderless).saturating_sub(ttl);
    let all = 1000 * outcome.lasted.as_secs().max(1);
    let share = 1000 * outcome.all_leaderless / all;
    format!(
        "{} terms, epochs to {}, in {:.1} minutes\n\
         without a leader {}.{} % of the time, {beyond} ms beyond the TTL at the longest\n\
         two leaders: {}, epochs out of order: {}, events lost: {}",
        outcome.terms,
        outcome.epoch,
        outcome.lasted.as_secs_f32() / 60.0,
        share / 10,
        share % 10,
        findings.overlaps.len(),
        findings.disorder.len(),
        findings.lost_events.len(),
    )
}

fn footprints(outcome: &Outcome) -> String {
    let line = |name: &str, [start, end]: [Footprint; 2]| {
        format!(
            "{name:<12} {:>6} → {:>6} KiB, {:>2} → {:>2} descriptors, {:>2} → {:>2} threads",
            start.resident,
            end.resident,
            start.descriptors,
            end.descriptors,
            start.threads,
            end.threads
        )
    };
    let grown = if outcome.has_grown() { "\na process has grown" } else { "" };
    let (never, largest) =
        (line("never killed", outcome.spared), line("the largest", outcome.largest));
    format!("{never}\n{largest}{grown}")
}
