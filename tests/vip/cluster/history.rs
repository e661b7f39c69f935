//! What the logs of the nodes, the client and the witness prove together.
//!
//! A term's *turn* lasts from when its challenge was sent until the next one's was. All three logs
//! have the time of the boot-time clock, which is the same on every host of the lab.

use super::member::Answer;
use super::witness::Stay;
use crate::nodes::process::number;
use crate::nodes::{NodeProcess, Nodes, Term, millis_between};

pub(crate) struct History<'a> {
    nodes: &'a Nodes,
    /// By epoch, and so by time.
    terms: Vec<Term>,
}

impl<'a> History<'a> {
    /// Of nodes that have ended, and were found to have led one at a time.
    pub(crate) fn of(nodes: &'a Nodes) -> Self {
        Self { nodes, terms: nodes.terms() }
    }

    /// How many terms there were.
    pub(crate) fn terms(&self) -> usize {
        self.terms.len()
    }

    /// # Panics
    /// When a request was served by a node that did not lead, or two were reached under one
    /// address.
    pub(crate) fn check_answers(&self, answers: &[Answer]) {
        for pair in answers.windows(2) {
            let epochs = [&pair[0], &pair[1]].map(|answer| answer.epoch.unwrap_or(0));
            assert!(epochs[1] == 0 || epochs[0] <= epochs[1], "an epoch went down: {pair:?}");
        }
        for answer in answers {
            let whose = self.turn_of(answer.at).expect("answers are of some term's turn");
            assert_eq!(self.name(whose), answer.node, "not its turn: {answer:?}");
            if answer.epoch.is_some() {
                assert_eq!(answer.epoch, Some(whose.epoch), "{answer:?}");
                let end = self.end_of(whose);
                assert!(answer.at < end, "served after {end}, the end of its term: {answer:?}");
            }
        }
        self.check_hosts(answers);
    }

    /// By question, hosts take turns as the terms do.
    fn check_hosts(&self, answers: &[Answer]) {
        let mut by_question = answers.iter().collect::<Vec<_>>();
        by_question.sort_by_key(|answer| answer.question);
        for pair in by_question.windows(2) {
            assert_ne!(pair[0].question, pair[1].question, "answered twice: {pair:?}");
        }
        by_question.dedup_by(|after, before| after.node == before.node);
        let mut turns = self.terms.iter();
        for answer in by_question {
            let its_turn = turns.any(|term| self.name(term) == answer.node);
            assert!(its_turn, "another host answered in between: {answer:?}");
        }
    }

    /// # Panics
    /// When a node took the one before it for a rival.
    pub(crate) fn check_conflicts(&self) {
        for event in self.nodes.iter().flat_map(NodeProcess::events) {
            let conflict = event["what"].as_str().is_some_and(|what| what.contains("Conflict"));
            assert!(!conflict, "{event}");
        }
    }

    /// # Panics
    /// When a process that did not lead could still send from the address in another one's turn.
    pub(crate) fn check_declined(&self) {
        for node in self.nodes.iter() {
            let declined = node.events().iter().filter(|event| event["event"] == "declined");
            for event in declined.filter(|event| event["sent"] == true) {
                let whose = self.turn_of(number(event, "at")).map(|term| self.name(term));
                assert_eq!(whose, Some(node.name()), "{event}");
            }
        }
    }

    /// # Panics
    /// When a host had an address in another one's turn, and not because its kernel was late.
    pub(crate) fn check_stays(&self, stays: &[Stay], hosts: &[&str]) {
        for stay in stays.iter().filter(|stay| !stay.is_control()) {
            let began = self.terms.first().map_or(u64::MAX, |first| first.began);
            assert!(began <= stay.seen_by, "before the first term: {stay:?}");
            for (at, term) in self.terms.iter().enumerate() {
                let next = self.terms.get(at + 1).map_or(u64::MAX, |next| next.began);
                let meets = term.began.max(stay.seen_by) < next.min(stay.until);
                let excused = || stays.iter().any(|other| other.excuses(stay, term.began));
                if meets && self.name(term) != hosts[stay.host] && !excused() {
                    let late = millis_between(term.began, stay.until);
                    panic!("{late} ms in the turn of epoch {}: {stay:?}", term.epoch);
                }
            }
        }
    }

    fn name(&self, term: &Term) -> &'a str {
        self.nodes[term.node].name()
    }

    fn turn_of(&self, at: u64) -> Option<&Term> {
        self.terms.iter().rev().find(|term| term.began <= at)
    }

    /// Nothing is served from this moment on: the last deadline, or when an end was told, before
    /// which it had come.
    fn end_of(&self, term: &Term) -> u64 {
        let node = &self.nodes[term.node];
        let ends = ["resigning", "lost"];
        let told = node.events().iter().filter(|event| {
            event["epoch"] == term.epoch && ends.iter().any(|end| event["event"] == *end)
        });
        let told = told.map(|event| number(event, "at")).min();
        let samples = node.samples().iter().filter(|sample| sample["epoch"] == term.epoch);
        let deadline = samples.map(|sample| number(sample, "deadline")).max();
        deadline.into_iter().chain(told).min().unwrap_or(u64::MAX)
    }
}
