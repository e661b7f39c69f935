//! Every row behaves alike in the JSON file, in the builder and in the C API.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::{Config, ConfigBuilder, Tls, TransportChoice, VipConfig};

/// Settings by their paths; of two for one path the later one counts.
type List = Vec<(&'static str, Value)>;

const SEED: &str = "SUEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE";
const SEED_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/config/seed.nk");

/// Values that are accepted, and values of the right type that are not.
fn samples(row: &Row) -> [Vec<Value>; 2] {
    let long = "x".repeat(65);
    let pair = match row.path {
        "clusterId" => json!([["c", "A_b-9"], ["a.b", "a b", long]]),
        "nodeId" => json!([["n", "n.1-a_B"], [".n", "n..1", "n>", long]]),
        "nats.servers" => json!([[["a"], ["tls://u:p@a", "b,c:1"]], [[], [""], ["a:x"]]]),
        "nats.user" | "nats.password" | "nats.token" => json!([["ä b", "x\0"], []]),
        "nats.nkey" => json!([[SEED], ["SU", SEED.to_lowercase()]]),
        "nats.nkeyFile" => json!([[SEED_FILE], ["/nonexistent"]]),
        "nats.transport" => json!([["auto", "direct", "nats-client"], ["Direct", "tcp"]]),
        "nats.domain" => json!([["leaf"], ["a.b", "*"]]),
        "nats.apiPrefix" | "nats.inboxPrefix" => json!([["a", "a.b."], ["a..b", "a.>", "a b"]]),
        "nats.replicas" => json!([[1, 3, 5], [0, 2, 4, 6]]),
        "vip.address" => json!([["10.0.0.1", "fd00::1"], ["10.0.0", "127.0.0.1", "10.0.0.1/8"]]),
        "vip.interface" => json!([["eth0", "x".repeat(127)], ["eth0:1", "x".repeat(128)]]),
        "election.meta" => json!([[0, false, "x", {"a": [null]}], ["x".repeat(4095)]]),
        _ => match row.kind {
            Kind::Flag => json!([[true, false], []]),
            Kind::Number(_) => {
                let (min, max) = range(row);
                let refused = [max + 1, u64::MAX].into_iter().chain(min.checked_sub(1));
                json!([[min, max], refused.collect::<Vec<_>>()])
            }
            _ => json!([["ä b", "/x"], ["x\0"]]),
        },
    };
    serde_json::from_value(pair).unwrap()
}

/// The two numbers of `milliseconds (100 to 300000)`; of several such pairs the last one.
fn range(row: &Row) -> (u64, u64) {
    let words = row.value.trim_end_matches(')').trim_end_matches(" for IPv6");
    let (min, max) = words.rsplit_once(" to ").unwrap();
    let min = min.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap();
    (min.parse().unwrap(), max.parse().unwrap())
}

/// A setting and those that it needs.
fn with_company(path: &'static str, value: Value) -> List {
    let timers = |ttl: u64, renew: u64, timeout: u64, drift: u64| {
        vec![
            ("election.leaseTtlMs", json!(ttl)),
            ("election.renewIntervalMs", json!(renew)),
            ("election.requestTimeoutMs", json!(timeout)),
            ("election.clockDriftPercent", json!(drift)),
        ]
    };
    let mut list = match (path, value.as_u64()) {
        ("election.leaseTtlMs" | "election.renewIntervalMs", Some(0..1_000)) => {
            timers(103, 40, 20, 1)
        }
        ("election.renewIntervalMs", _) => timers(3_600_000, 3_000, 20, 1),
        ("election.requestTimeoutMs", Some(1_000..)) => timers(3_600_000, 1_411_485, 20, 1),
        ("election.clockDriftPercent", _) => timers(1_000, 100, 20, 10),
        ("nats.user" | "nats.password", _) => {
            vec![("nats.user", json!("u")), ("nats.password", json!("p"))]
        }
        ("nats.tls.cert" | "nats.tls.key", _) => {
            vec![("nats.tls.cert", json!("/c")), ("nats.tls.key", json!("/k"))]
        }
        (vip, _) if vip.starts_with("vip.") => {
            vec![("vip.address", json!("fd00::1")), ("vip.interface", json!("eth0"))]
        }
        _ => Vec::new(),
    };
    list.push((path, value));
    let required = [("clusterId", json!("c")), ("nodeId", json!("n"))];
    required.into_iter().chain([("nats.servers", json!(["h"]))]).chain(list).collect()
}

fn by_json(list: &List) -> Result<Config, ConfigError> {
    let mut file = json!({});
    for (path, value) in list {
        *path.split('.').fold(&mut file, |at, key| &mut at[key]) = value.clone();
    }
    Config::from_json(&file.to_string())
}

/// As the C API does it.
fn by_keys(list: &List) -> Result<Config, ConfigError> {
    let mut builder = ConfigBuilder::default();
    for (path, value) in list {
        builder.set(path, value.clone())?;
    }
    builder.build()
}

fn by_methods(list: &List) -> Result<Config, ConfigError> {
    let value_at =
        |path: &str| list.iter().rev().find(|(other, _)| *other == path).map(|(_, value)| value);
    let text = |path: &str| value_at(path).and_then(Value::as_str).unwrap_or_default();
    let file = |path: &str| value_at(path).map(|file| file.as_str().unwrap().into());
    let mut builder = ConfigBuilder::default();
    for (path, value) in list {
        let number = value.as_u64().unwrap_or_default();
        let (time, flag) = (Duration::from_millis(number), value == &json!(true));
        builder = match *path {
            "clusterId" => builder.cluster_id(text(path)),
            "nodeId" => builder.node_id(text(path)),
            "nats.servers" => {
                let servers = value.as_array().into_iter().flatten();
                builder.servers(servers.map(|server| server.as_str().unwrap()))
            }
            "nats.credentials" => builder.credentials_file(text(path)),
            "nats.user" | "nats.password" => {
                builder.user_password(text("nats.user"), text("nats.password"))
            }
            "nats.token" => builder.token(text(path)),
            "nats.nkey" => builder.nkey_seed(text(path)),
            "nats.nkeyFile" => builder.nkey_file(text(path)),
            tls if tls.starts_with("nats.tls.") => {
                let flag = |path: &str| value_at(path) == Some(&json!(true));
                builder.tls(Tls {
                    required: flag("nats.tls.required"),
                    handshake_first: flag("nats.tls.handshakeFirst"),
                    ca_file: file("nats.tls.ca"),
                    cert_file: file("nats.tls.cert"),
                    key_file: file("nats.tls.key"),
                })
            }
            "nats.transport" => match TransportChoice::of(text(path)) {
                Some(choice) => builder.transport(choice),
                // A method takes no other value.
                None => builder.set(path, value.clone()).map(|()| builder)?,
            },
            "nats.domain" => builder.js_domain(text(path)),
            "nats.apiPrefix" => builder.api_prefix(text(path)),
            "nats.inboxPrefix" => builder.inbox_prefix(text(path)),
            "nats.replicas" => builder.replicas(number),
            "nats.connectTimeoutMs" => builder.connect_timeout(time),
            "nats.reconnectWaitMs" => builder.reconnect_wait(time),
            "nats.startDisconnected" => builder.start_disconnected(flag),
            vip if vip.starts_with("vip.") => {
                let bits = value_at("vip.netmask").and_then(Value::as_u64).unwrap_or_default();
                let vip = VipConfig::parse(text("vip.address"), text("vip.interface"))?;
                let (mut vip, flag) =
                    (vip.with_netmask(bits)?, |path: &str| value_at(path) == Some(&json!(true)));
                vip = if flag("vip.probe") { vip.with_probe() } else { vip };
                vip = if flag("vip.allowOnLoopback") { vip.allow_on_loopback() } else { vip };
                builder.vips([vip])
            }
            "election.leaseTtlMs" => builder.lease_ttl(time),
            "election.renewIntervalMs" => builder.renew_interval(time),
            "election.requestTimeoutMs" => builder.request_timeout(time),
            "election.clockDriftPercent" => {
                builder.clock_drift_percent(u32::try_from(number).unwrap_or(u32::MAX))
            }
            "election.cooldownMs" => builder.cooldown(time),
            "election.drainTimeoutMs" => builder.drain_timeout(time),
            "election.stopTimeoutMs" => builder.stop_timeout(time),
            "election.strictBootstrap" => builder.strict_bootstrap(flag),
            "election.eventCapacity" => {
                builder.event_capacity(usize::try_from(number).unwrap_or(usize::MAX))
            }
            "election.meta" => builder.meta(value.clone()),
            _ => panic!("no method sets {path}"),
        };
    }
    builder.build()
}

/// With the error as text, to compare.
fn told(config: Result<Config, ConfigError>) -> Result<Config, String> {
    config.map_err(|error| error.to_string())
}

#[test]
fn every_row_is_accepted_alike_and_comes_back_from_the_file() {
    for row in ROWS {
        let [accepted, _] = samples(row);
        for value in accepted {
            let list = with_company(row.path, value.clone());
            let config = by_json(&list).unwrap();
            assert_eq!(told(by_keys(&list)).as_ref(), Ok(&config), "{list:?}");
            assert_eq!(told(by_methods(&list)).as_ref(), Ok(&config), "{list:?}");

            let text = config.to_json();
            assert_eq!(Config::from_json(&text).unwrap(), config);
            let written: Value = serde_json::from_str(&text).unwrap();
            let written = row.path.split('.').fold(&written, |at, key| &at[key]);
            let unset = row.default() == Some(value.clone()) && written.is_null();
            let zero = value == 0 && row.is_of_go_cluster();
            assert!(written == &value || unset || zero, "{list:?}: {text}");
        }
    }
}

#[test]
fn every_row_is_refused_alike_by_its_path() {
    for row in ROWS {
        let [_, refused] = samples(row);
        for value in refused {
            let list = with_company(row.path, value.clone());
            for config in [by_json(&list), by_keys(&list), by_methods(&list)] {
                let error = config.expect_err(&format!("{list:?}"));
                assert!(error.path().is_some_and(|path| path.starts_with(row.path)), "{error}");
            }
            // A setter of the C API refuses the value whatever the other settings are. It reads no
            // file.
            let alone = ConfigBuilder::default().set(row.path, value);
            assert!(row.path == "nats.nkeyFile" || alone.is_err(), "{list:?}");
        }
        let wrong_type = if matches!(row.kind, Kind::Flag) { json!("true") } else { json!(true) };
        let list = with_company(row.path, wrong_type);
        for config in [by_json(&list), by_keys(&list)] {
            let fine = matches!(row.kind, Kind::Meta);
            let expected = format!("{}: expected ", row.path);
            assert!(config.map_or_else(|e| e.to_string().starts_with(&expected), |_| fine));
        }
    }
}

#[test]
fn the_section_of_virtual_ips_may_be_a_list() {
    let parse = |vip: &Value| {
        let file = json!({
            "clusterId": "c", "nodeId": "n", "nats": { "servers": ["h"] }, "vip": vip,
        });
        Config::from_json(&file.to_string())
    };
    let list = json!([
        { "address": "10.0.0.1", "netmask": 32, "interface": "eth0", "probe": true },
        { "address": "fd00::1", "interface": "eth1", "allowOnLoopback": true },
    ]);
    let config = parse(&list).unwrap();
    let shown: Vec<_> = config.vips().iter().map(|v| (v.to_string(), v.interface())).collect();
    assert_eq!(shown, [("10.0.0.1/32".into(), "eth0"), ("fd00::1/128".into(), "eth1")]);
    assert!(config.vips()[0].probe() && config.vips()[1].allows_on_loopback());
    assert_eq!(Config::from_json(&config.to_json()).unwrap(), config);
    let by_methods = config.to_builder().vips(config.vips().to_vec()).build().unwrap();
    assert_eq!(by_methods, config);
    let mut builder = config.to_builder();
    builder.set("vip", json!({ "address": "10.0.0.1", "interface": "eth0" })).unwrap();
    let one = builder.build().unwrap();
    assert_eq!(one.vips().len(), 1, "a section replaces the one before");
    assert_eq!(config.changed_keys(&one), ["vip.netmask", "vip.probe", "vip"]);
    builder = one.to_builder();
    builder.set("vip", list.clone()).unwrap();
    assert_eq!(builder.build().unwrap(), config);
    assert_eq!(parse(&json!([])).unwrap().vips(), []);
    let single = parse(&json!([list[0]])).unwrap();
    assert_eq!(single, parse(&list[0]).unwrap());

    let many: Vec<_> =
        (1..=65).map(|n| json!({ "address": format!("10.0.0.{n}"), "interface": "x" })).collect();
    let probed: Vec<_> = many[..5]
        .iter()
        .map(|vip| json!({ "address": vip["address"], "interface": "x", "probe": true }))
        .collect();
    let good = &list[0];
    for (bad, message) in [
        (json!([good, 5]), "vip[1]: expected an object, found a number"),
        (json!([good, {}]), "vip[1].address is required"),
        (json!([{ "address": "x", "interface": "e" }, good]), "vip[0].address is not a valid IP"),
        (json!([good, { "address": "fd00::1" }]), "vip[1].interface is required when vip.addr"),
        (json!([good, good]), "vip[1].address is 10.0.0.1, which is given twice"),
        (json!([good, { "adress": "" }]), "vip[1].adress is not a known key"),
        (json!(probed), "vip[4].probe is set for more than 4 virtual IPs"),
        (json!(many), "vip has 65 entries, must have at most 64"),
    ] {
        let error = parse(&bad).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

proptest! {
    #[test]
    fn every_number_is_judged_alike(
        rows in prop::collection::btree_map(0..ROWS.len(), (0..4_000_000_u64, any::<bool>()), 1..4),
    ) {
        let mut list = with_company("vip.interface", json!("eth0"));
        for (index, (number, small)) in rows {
            let row = ROWS[index];
            if matches!(row.kind, Kind::Number(_)) {
                let number = if small { number % 200 } else { number };
                // The methods do not take 0 for the default.
                list.push((row.path, json!(number.max(1))));
            }
        }
        let config = by_json(&list);
        if let Err(error) = &config {
            prop_assert!(error.path().is_some_and(|path| find(path).is_some()), "{}", error);
        }
        // Which of several faults is found first may differ.
        let config = config.ok();
        prop_assert_eq!(&by_methods(&list).ok(), &config);
        prop_assert_eq!(&by_keys(&list).ok(), &config);
    }
}
