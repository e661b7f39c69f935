//! The events of a run, for people. They are kept only when a single seed runs.

use super::clock::Instant;

#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn kept() -> Self {
        Self { lines: Some(Vec::new()) }
    }

    pub(crate) fn note(&mut self, at: Instant, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!(
                "{:>6}.{:06} {}",
                at / 1_000_000_000,
                at / 1_000 % 1_000_000,
                text()
            ));
        }
    }

    /// The first line, which is the plan, and the last `count` of the others.
    pub(crate) fn tail(&self, count: usize) -> Vec<&str> {
        let lines = self.lines.as_deref().unwrap_or_default();
        let start = lines.len().saturating_sub(count).max(1);
        let plan = lines.first().into_iter();
        plan.chain(lines.get(start..).unwrap_or_default()).map(String::as_str).collect()
    }
}
