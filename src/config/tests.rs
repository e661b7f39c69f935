//! What the builder accepts and refuses.

use super::*;
use serde_json::json;

fn builder() -> ConfigBuilder {
    Config::builder("orders", "node-1", ["nats://127.0.0.1:4222"])
}

fn refusal(builder: ConfigBuilder) -> String {
    builder.build().unwrap_err().to_string()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = Config::new("orders", "node-1", ["nats://127.0.0.1:4222"]).unwrap();
    assert_eq!((config.cluster_id(), config.node_id()), ("orders", "node-1"));
    assert_eq!(config.servers().collect::<Vec<_>>(), ["nats://127.0.0.1:4222"]);
    assert_eq!(config.timing(), &Timing::default());
    assert_eq!((config.cooldown(), config.drain_timeout()), (None, ms(10_000)));
    assert_eq!((config.stop_timeout(), config.event_capacity()), (ms(5_000), 256));
    assert_eq!((config.connect_timeout(), config.reconnect_wait()), (ms(5_000), ms(2_000)));
    assert_eq!((config.replicas(), config.auth()), (1, &Auth::None));
    assert!(!config.strict_bootstrap() && !config.start_disconnected());
    assert_eq!((config.meta(), config.vips()), (None, &[][..]));
    let connection = config.connection();
    assert_eq!(connection.api_prefix, "$JS.API");
    assert_eq!(connection.inbox_prefix, "_INBOX");
    assert_eq!(connection.name, "leasehold/orders/node-1");
}

/// The guide's table is generated: `LEASEHOLD_WRITE=1 cargo test --lib guide_has_the_table` writes
/// it.
#[test]
fn the_guide_has_the_table_of_all_settings() {
    const START: &str = "<!-- options -->\n";
    let page = include_str!("../guide/configuration.md");
    let (before, rest) = page.split_once(START).unwrap();
    let (table, after) = rest.split_once("<!-- /options -->").unwrap();
    let generated = options_markdown();
    if std::env::var_os("LEASEHOLD_WRITE").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/configuration.md");
        let page = format!("{before}{START}{generated}<!-- /options -->{after}");
        std::fs::write(file, page).unwrap();
    } else {
        assert_eq!(table, generated);
    }
}

#[test]
fn the_three_required_fields_are_named_when_missing() {
    let new = |cluster, node, servers: &[&str]| {
        Config::new(cluster, node, servers.to_vec()).unwrap_err().to_string()
    };
    assert_eq!(new("", "n", &["a"]), "clusterId is required");
    assert_eq!(new("c", "", &["a"]), "nodeId is required");
    assert_eq!(new("c", "n", &[]), "nats.servers is required");
}

#[test]
fn servers_are_optional_only_where_a_store_of_its_own_is_meant() {
    let builder = || Config::without_servers("c", "n");
    let config = builder().build().unwrap();
    assert_eq!((config.cluster_id(), config.node_id()), ("c", "n"));
    assert_eq!((config.servers().count(), config.lease_ttl()), (0, ms(10_000)));
    assert_eq!(config.to_builder().lease_ttl(ms(20_000)).build().unwrap().servers().count(), 0);
    // Everything else is checked as it always is.
    assert_eq!(refusal(Config::without_servers("", "n")), "clusterId is required");
    assert_eq!(refusal(builder().servers([""; 0])), "nats.servers is required");
    assert!(refusal(builder().servers(["a:x"])).starts_with("nats.servers[0] has a port"));
    let named = builder().servers(["a"]).build().unwrap();
    assert_eq!(named.servers().collect::<Vec<_>>(), ["nats://a:4222"]);
    let error = Config::from_json(&config.to_json()).unwrap_err();
    assert_eq!(error.to_string(), "nats.servers is required");
}

#[test]
fn timers_that_do_not_fit_are_refused_with_a_value_that_does() {
    let message = refusal(builder().renew_interval(ms(9_000)));
    assert!(message.starts_with("election.renewIntervalMs: renew interval is 9s"), "{message}");
    assert!(message.contains("renew interval of 3.333s"), "{message}");
    builder().renew_interval(ms(3_333)).build().unwrap();
    assert!(refusal(builder().lease_ttl(ms(50))).starts_with("election.leaseTtlMs: "));
    assert!(refusal(builder().request_timeout(ms(1))).starts_with("election.requestTimeoutMs: "));
    assert!(refusal(builder().clock_drift_percent(0)).starts_with("election.clockDriftPercent: "));
}

#[test]
fn ranges_are_enforced_and_named() {
    for (refused, message) in [
        (builder().cooldown(ms(86_400_001)), "election.cooldownMs: expected milliseconds (0 to"),
        (builder().drain_timeout(Duration::MAX), "election.drainTimeoutMs: expected"),
        (builder().stop_timeout(ms(99)), "election.stopTimeoutMs: expected milliseconds (100 to"),
        (builder().event_capacity(15), "election.eventCapacity: expected a number of events (16"),
        (builder().connect_timeout(ms(99)), "nats.connectTimeoutMs: expected"),
        (builder().reconnect_wait(ms(9)), "nats.reconnectWaitMs: expected"),
        (builder().replicas(2), "nats.replicas: expected a number of replicas (1, 3 or 5), found"),
        (builder().replicas(7), "nats.replicas: expected a number of replicas (1, 3 or 5), found"),
    ] {
        let refused = refusal(refused);
        assert!(refused.starts_with(message), "{refused}");
    }
    builder().cooldown(ms(0)).drain_timeout(ms(0)).replicas(5).build().unwrap();
}

/// Each end of a range that a message names can be had, and nothing beyond it.
#[test]
fn ranges_of_timers_are_as_wide_as_any_configuration() {
    let file = |timers: [u64; 4]| {
        let [ttl, renew, timeout, drift] = timers;
        let election = json!({ "leaseTtlMs": ttl, "renewIntervalMs": renew,
            "requestTimeoutMs": timeout, "clockDriftPercent": drift });
        let node = json!({ "clusterId": "c", "nodeId": "n", "nats": { "servers": ["a"] },
            "election": election });
        Config::from_json(&node.to_string())
    };
    for timers in [
        [103, 40, 20, 1],
        [3_600_000, 3_528_652, 20, 1],
        [3_600_000, 1_411_484, 705_742, 1],
        [1_000, 100, 20, 50],
    ] {
        file(timers).unwrap();
    }
    for (timers, field) in [
        ([102, 40, 20, 1], "leaseTtlMs"),
        ([3_600_001, 40, 20, 1], "leaseTtlMs"),
        ([103, 39, 20, 1], "renewIntervalMs"),
        ([3_600_000, 3_528_653, 20, 1], "renewIntervalMs"),
        ([3_600_000, 1_411_486, 705_743, 1], "renewIntervalMs"),
        ([3_600_000, 1_411_485, 705_743, 1], "requestTimeoutMs"),
        ([1_000, 100, 20, 51], "clockDriftPercent"),
    ] {
        let refused = file(timers).unwrap_err();
        assert_eq!(refused.path(), Some(format!("election.{field}").as_str()), "{refused}");
    }
}

#[test]
fn fractions_of_a_millisecond_are_dropped() {
    let config = builder().cooldown(Duration::from_micros(1_500)).build().unwrap();
    assert_eq!(config.cooldown(), Some(ms(1)));
}

#[test]
fn a_value_for_the_record_is_bounded_in_length_and_depth() {
    builder().meta(json!("x".repeat(4094))).build().unwrap();
    assert!(refusal(builder().meta(json!("x".repeat(4095)))).contains("4097 bytes"));
    let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    builder().meta(deep(100)).build().unwrap();
    assert!(refusal(builder().meta(deep(130))).contains("nested too deeply"));
    assert_eq!(builder().meta(Value::Null).build().unwrap().meta(), None);
}

#[test]
fn the_last_credentials_given_count() {
    let config = builder().token("t").credentials_file("/c").build().unwrap();
    assert_eq!(config.auth(), &Auth::CredentialsFile("/c".into()));
    assert!(refusal(builder().user_password("u", "")).starts_with("nats.password is required"));
    assert!(refusal(builder().user_password("", "p")).starts_with("nats.user is required"));
    assert!(refusal(builder().token("")).starts_with("nats.token is required"));
    let message = refusal(builder().nkey_file("/nonexistent/seed"));
    let expected = "nats.nkeyFile names \"/nonexistent/seed\", which cannot be read: ";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn debug_output_and_errors_hold_no_secret() {
    let seed = format!("SU{}", "A".repeat(56));
    let servers = ["nats://root:hunter2@a", "hunter2@b"];
    let open = || Config::builder("orders", "node-1", servers);
    for builder in [open(), open().token("hunter2"), open().user_password("u", "hunter2")] {
        let printed = format!("{builder:?} {:?}", builder.clone().build().unwrap());
        assert!(!printed.contains("hunter2"), "{printed}");
        let refused = builder.lease_ttl(ms(1)).build().unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused:?}");
        assert!(!printed.contains("hunter2"));
    }
    let config = open().nkey_seed(seed.clone()).build().unwrap();
    assert!(!format!("{config:?}").contains(&seed));
    assert!(config.servers().all(|server| !server.contains("hunter2")));
}

#[test]
fn a_builder_of_a_configuration_has_its_settings() {
    let config = builder().token("t").cooldown(ms(7)).build().unwrap();
    assert_eq!(config.to_builder().build().unwrap(), config);
    let other = config.to_builder().cluster_id("bills").node_id("node-2").build().unwrap();
    assert_eq!((other.cluster_id(), other.node_id()), ("bills", "node-2"));
    assert_eq!((other.cooldown(), other.auth()), (Some(ms(7)), config.auth()));
}

#[test]
fn settings_that_need_another_are_refused_without_it() {
    for (key, value, message) in [
        ("nats.user", json!("u"), "nats.password is required when nats.user is set"),
        ("nats.password", json!("p"), "nats.user is required when nats.password is set"),
        ("nats.tls.cert", json!("/c"), "nats.tls.key is required when nats.tls.cert is set"),
        ("nats.tls.key", json!("/k"), "nats.tls.cert is required when nats.tls.key is set"),
        ("vip.address", json!("10.0.0.1"), "vip.interface is required when vip.address is set"),
    ] {
        let mut builder = builder();
        builder.set(key, value).unwrap();
        assert_eq!(refusal(builder), message);
    }
}

#[test]
fn a_path_must_be_text_that_the_file_can_hold() {
    let ca =
        |file: std::path::PathBuf| builder().tls(Tls { ca_file: Some(file), ..Tls::default() });
    assert_eq!(refusal(ca("".into())), "nats.tls.ca is required");
    assert_eq!(refusal(ca("a\0".into())), "nats.tls.ca is not a path of valid UTF-8");
    let seed = format!("SU{}", "A".repeat(56));
    let message = refusal(builder().nkey_file(&seed));
    assert_eq!(message, "nats.nkeyFile is a seed, must be the path of a file");
    let message = refusal(builder().nkey_file(format!("/nonexistent/{}", "x".repeat(5000))));
    assert!(message.len() < 200 && message.contains("xxx\"…, which cannot be read"), "{message}");
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(b"/etc/\xff");
        assert_eq!(refusal(ca(name.into())), "nats.tls.ca is not a path of valid UTF-8");
    }
}

#[test]
fn relative_paths_are_absolute_in_a_built_configuration_and_saved_as_they_were_given() {
    let tls = Tls {
        ca_file: Some("tls/ca.pem".into()),
        cert_file: Some("./node.pem".into()),
        key_file: Some("/etc/node.key".into()),
        ..Tls::default()
    };
    let config = builder().tls(tls).credentials_file("node.creds").build().unwrap();
    let folder = std::env::current_dir().unwrap();
    assert_eq!(config.auth(), &Auth::CredentialsFile(folder.join("node.creds")));
    let files = [&config.tls().ca_file, &config.tls().cert_file, &config.tls().key_file];
    let wanted = [folder.join("tls/ca.pem"), folder.join("node.pem"), "/etc/node.key".into()];
    assert_eq!(files.map(|file| file.clone().unwrap()), wanted);
    let saved = config.to_json();
    for given in ["tls/ca.pem", "./node.pem", "/etc/node.key", "node.creds"] {
        assert!(saved.contains(&format!("{given:?}")), "{saved}");
    }
    assert_eq!(Config::from_json(&saved).unwrap(), config);
    assert_eq!(config.to_builder().build().unwrap(), config);
}

#[test]
fn a_section_that_is_set_by_its_key_replaces_the_one_before() {
    let mut builder = builder().replicas(3).token("t").cooldown(ms(7)).lease_ttl(ms(20_000));
    builder.set("nats", json!({ "servers": ["h"], "replicas": 5 })).unwrap();
    let config = builder.clone().build().unwrap();
    assert_eq!((config.replicas(), config.auth()), (5, &Auth::None));
    assert_eq!((config.cooldown(), config.lease_ttl()), (Some(ms(7)), ms(20_000)));
    builder.set("election.cooldownMs", Value::Null).unwrap();
    builder.set("election.leaseTtlMs", json!(0)).unwrap();
    let config = builder.clone().build().unwrap();
    assert_eq!((config.cooldown(), config.lease_ttl()), (None, ms(10_000)));
    builder.set("nats", Value::Null).unwrap();
    assert_eq!(refusal(builder), "nats.servers is required");
}

#[test]
fn an_unknown_key_is_refused_by_its_path_and_changes_nothing() {
    let mut builder = builder();
    let before = builder.clone();
    let deep = "a.".repeat(100_000);
    for (key, message) in [
        ("", "\"\" is not a known key, known here are clusterId, "),
        ("nats.tsl.ca", "nats.tsl is not a known key, did you mean tls?"),
        ("nodeId.a", "nodeId: expected a text, found an object"),
        ("election", "election: expected an object, found a text"),
        ("nats.tls.ca.x.y", "nats.tls.ca: expected a text, found an object"),
        (&deep, "a is not a known key, known here are clusterId, "),
    ] {
        let error = builder.set(key, json!("x")).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
    assert_eq!(builder, before);
}
