//! The manual, one module per page. `leasehold help TOPIC` prints the same pages.
//!
//! New here? Read [`quick_start`], then [`concepts`] and [`guarantees`].

#![allow(clippy::doc_markdown, reason = "pages name other projects as those write themselves")]

/// One page of the manual.
///
/// ```
/// use leasehold::guide::TOPICS;
///
/// let page = TOPICS.iter().find(|topic| topic.name == "timers").expect("a page of that name");
/// println!("{}\n\n{}", page.summary, page.text);
/// # assert!(page.text.starts_with("# "));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topic {
    /// The name that `leasehold help` takes: lower-case words joined by `-`.
    pub name: &'static str,
    /// One line that says what the page is about.
    pub summary: &'static str,
    /// The page, in Markdown.
    pub text: &'static str,
}

/// Declares a module and a [`Topic`] for each page, in reading order.
macro_rules! pages {
    ($($module:ident, $name:literal, $summary:literal;)*) => {
        /// All pages, in reading order.
        pub const TOPICS: &[Topic] = &[$(Topic {
            name: $name,
            summary: $summary,
            text: include_str!(concat!("guide/", stringify!($module), ".md")),
        }),*];

        $(
            #[doc = include_str!(concat!("guide/", stringify!($module), ".md"))]
            pub mod $module {}
        )*
    };
}

pages! {
    quick_start, "quick-start", "Lead from a Rust program in five minutes";
    concepts, "concepts", "Lease, term, epoch, drain: the words of this manual";
    guarantees, "guarantees", "What is guaranteed, and what is not";
    daemons, "daemons", "Run a node as a daemon, follow it from any program, command it";
    embedding, "embedding", "Main loop, select!, epoll, mio, thread pool, router, fork, hooks";
    your_tests, "your-tests", "Losing leadership in your tests, without waiting";
    fencing, "fencing", "Refuse the writes of a former leader: recipes";
    virtual_ip, "virtual-ip", "An address that follows the leader";
    c, "c", "The C and C++ API";
    configuration, "configuration", "Every setting: key, default, range, meaning";
    timers, "timers", "What happens when something fails, and how to choose timers";
    permissions, "permissions", "A complete set of NATS permissions, tested";
    metrics, "metrics", "Figures for a monitoring system";
    specification, "specification", "Record, bucket, subjects and JSON, for other implementations";
    go_cluster, "go-cluster", "Migrating from go-cluster: every name of its API";
    comparison, "comparison", "Beside other systems";
    benchmarks, "benchmarks", "How fast, how large";
    testing, "testing", "How it is tested";
    dependencies, "dependencies", "The two NATS clients, and known advisories";
    changelog, "changelog", "Versions and changes";
}
