//! The metrics, read as a scraper does.
#![allow(clippy::float_cmp, reason = "whole numbers that were written as text")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use leasehold::clock::Clock;
use leasehold::store::memory::MemoryServer;
use leasehold::{Config, Node, metrics};

const PATIENCE: Duration = Duration::from_secs(30);

/// Checks the text by the rules of `OpenMetrics` 1.0 and returns the samples.
fn read(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("the end is marked");
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    let mut family = (String::new(), String::new());
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(families.insert(name.to_owned()), "{name} twice");
            assert!(["gauge", "counter", "info"].contains(&kind), "{line}");
            family = (name.to_owned(), kind.to_owned());
        } else if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (what, name) = (words.next().unwrap(), words.next().unwrap());
            assert_eq!(name, family.0, "{line}");
            let said = words.next().unwrap();
            match what {
                "UNIT" => assert!(name.ends_with(&format!("_{said}")), "{line}"),
                "HELP" => assert!(!said.is_empty()),
                _ => panic!("{line}"),
            }
        } else {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = name.split_once('{').expect("labels");
            assert!(labels.starts_with(r#"cluster="orders",node="node-1""#), "{line}");
            let suffix = match family.1.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            assert_eq!(name, format!("{}{suffix}", family.0));
            samples.insert(name.to_owned(), value.parse().expect("a number"));
        }
    }
    assert_eq!(samples.len(), families.len());
    samples
}

#[test]
fn metrics_are_valid_and_follow_the_node() {
    let server = MemoryServer::new();
    let config = Config::new("orders", "node-1", ["nats://localhost"]).unwrap();
    let node = Node::builder(config).store(server.connect(Clock::boot())).start().unwrap();
    node.wait_for_leadership(PATIENCE).unwrap();
    let found = read(&node.open_metrics());
    let of = |name: &str| found[&format!("leasehold_{name}")];
    assert_eq!(node.epoch().map(leasehold::Epoch::as_u64), Some(1));
    assert_eq!((of("leader"), of("connected"), of("stuck")), (1.0, 1.0, 0.0));
    assert_eq!((of("epoch"), of("terms_total"), of("build_info")), (1.0, 1.0, 1.0));
    assert!(of("lease_remaining_seconds") > 0.0 && of("uptime_seconds") > 0.0);
    assert!(of("heartbeat_age_seconds") >= 0.0 && of("revision") >= 1.0);

    let page = include_str!("../../src/guide/metrics.md");
    for name in found.keys() {
        assert!(page.contains(&format!("| `{name}` |")), "{name} is not in the guide");
    }
    assert_eq!(page.matches("\n| `leasehold_").count(), found.len());

    let handle = node.handle();
    node.stop();
    let found = read(&handle.open_metrics());
    assert_eq!(found["leasehold_leader"], 0.0);
    assert_eq!(found["leasehold_lease_remaining_seconds"], 0.0);
    assert!(metrics::CONTENT_TYPE.starts_with("application/openmetrics-text"));
}
