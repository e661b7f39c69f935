//! The first broken rule of a run.

use super::rules::Rule;

/// A broken rule.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

/// The first broken rule of a run.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Only this rule is checked.
    only: Option<Rule>,
    pub(crate) violation: Option<Violation>,
}

impl Verdict {
    pub(crate) fn new(only: Option<Rule>) -> Self {
        Self { only, violation: None }
    }

    pub(crate) fn demand(&mut self, rule: Rule, holds: bool, what: impl FnOnce() -> String) {
        if holds || self.violation.is_some() {
            return;
        }
        if self.only.is_none_or(|only| only == rule) {
            self.violation = Some(Violation { rule, what: what() });
        }
    }
}
