//! The configuration's file: files of go-cluster v1 load, a saved file loads again, and errors name
//! the field.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leasehold::config::{Auth, Config, ConfigBuilder, ConfigError, MAX_FILE_BYTES};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config").join(name)
}

fn load(name: &str) -> Config {
    Config::load(fixture(name)).unwrap()
}

fn plain() -> ConfigBuilder {
    Config::builder("orders", "node-1", ["nats://127.0.0.1:4222"])
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The error for a text, which must be one line.
fn refusal(text: &str) -> String {
    let message = Config::from_json(text).unwrap_err().to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

/// A file with the three required fields and these others.
fn with(nats: &str, election: &str) -> String {
    let nats = format!(r#""nats":{{"servers":["a"]{nats}}}"#);
    format!(r#"{{"clusterId":"c","nodeId":"n",{nats},"election":{{{election}}}}}"#)
}

mod go_cluster_v1 {
    use super::*;

    #[test]
    fn a_full_file_loads_unchanged() {
        let config = load("v1_full.json");
        assert_eq!((config.cluster_id(), config.node_id()), ("test-cluster", "node-1"));
        assert_eq!(config.servers().collect::<Vec<_>>(), ["nats://localhost:4222"]);
        assert_eq!(config.auth(), &Auth::CredentialsFile("/path/to/creds".into()));
        let vip = &config.vips()[0];
        assert_eq!((vip.to_string().as_str(), vip.interface()), ("192.168.1.100/24", "eth0"));
        assert_eq!(config.lease_ttl(), Duration::from_secs(15));
        assert_eq!(config.renew_interval(), Duration::from_secs(5));
    }

    #[test]
    fn absent_empty_zero_and_null_all_mean_the_default() {
        for name in ["v1_init.json", "v1_zeros.json", "v1_short.json", "v1_nulls.json"] {
            let config = load(name);
            assert_eq!(config.lease_ttl(), Duration::from_secs(10), "{name}");
            assert_eq!(config.renew_interval(), Duration::from_secs(3), "{name}");
            assert_eq!((config.auth(), config.vips()), (&Auth::None, &[][..]), "{name}");
        }
    }

    #[test]
    fn every_server_is_used() {
        let servers: Vec<_> = load("v1_init.json").servers().collect();
        assert_eq!(servers, ["nats://10.0.0.1:4222", "nats://10.0.0.2:4222"]);
    }

    #[test]
    fn the_netmask_is_24_when_it_is_not_set() {
        assert_eq!(load("v1_vip_without_netmask.json").vips()[0].netmask(), 24);
    }

    #[test]
    fn unsafe_ids_are_refused_with_the_nearest_accepted_one() {
        let message = Config::load(fixture("v1_unsafe_ids.json")).unwrap_err().to_string();
        assert!(
            message.contains("v1_unsafe_ids.json: clusterId is \"my cluster.prod\""),
            "{message}"
        );
        assert!(message.contains("nearest accepted: \"my-cluster-prod\""), "{message}");
    }

    #[test]
    fn unsafe_timers_are_refused_with_the_nearest_accepted_ones() {
        let error = Config::load(fixture("v1_unsafe_timers.json")).unwrap_err();
        assert_eq!(error.path(), Some("election.renewIntervalMs"));
        let message = error.to_string();
        assert!(message.contains("take a renew interval of 3.333s"), "{message}");
        assert!(message.contains("or a lease TTL of 27s"), "{message}");
    }

    #[test]
    fn messages_are_those_that_its_tests_pin_down() {
        let required = |text: &str, message: &str| assert_eq!(refusal(text), message);
        required(r#"{"nodeId":"n","nats":{"servers":["a"]}}"#, "clusterId is required");
        required(r#"{"clusterId":"c","nats":{"servers":["a"]}}"#, "nodeId is required");
        required(r#"{"clusterId":"c","nodeId":"n"}"#, "nats.servers is required");
        required(
            r#"{"clusterId":"c","nodeId":"n","nats":{"servers":null}}"#,
            "nats.servers is required",
        );
        let vip = |vip: &str| {
            let text = r#"{"clusterId":"c","nodeId":"n","nats":{"servers":["a"]},"vip":"#;
            refusal(&format!("{text}{vip}}}"))
        };
        let message = vip(r#"{"address":"invalid-ip","netmask":24,"interface":"eth0"}"#);
        assert!(message.starts_with("vip.address is not a valid IP address"), "{message}");
        let message = vip(r#"{"address":"192.168.1.100","netmask":24}"#);
        assert_eq!(message, "vip.interface is required when vip.address is set");
        let message = vip(r#"{"address":"192.168.1.100","netmask":33,"interface":"eth0"}"#);
        assert!(message.starts_with("vip.netmask must be between 0 and 32"), "{message}");
    }

    #[test]
    fn its_settings_are_written_as_it_writes_them() {
        for name in ["v1_full.json", "v1_init.json"] {
            let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            let mut original = json(&fs::read_to_string(fixture(name)).unwrap());
            if original["vip"] == serde_json::json!({}) {
                original.as_object_mut().unwrap().remove("vip");
            }
            assert_eq!(json(&load(name).to_json()), original, "{name}");
        }
    }
}

mod keys {
    use super::*;

    #[test]
    fn every_option_can_be_set_and_is_saved_as_it_was_read() {
        let config = load("everything.json");
        assert_eq!(config.to_json(), fs::read_to_string(fixture("everything.json")).unwrap());
        assert_eq!(config.node_id(), "node-1.rack-2");
        assert_eq!(config.servers().count(), 3);
        assert!(matches!(config.auth(), Auth::NkeySeed(_)));
        assert!(config.tls().required && config.start_disconnected() && config.strict_bootstrap());
        assert_eq!(config.tls().key_file.as_deref(), Some(Path::new("/etc/orders/node-1.key")));
        assert_eq!((config.replicas(), config.event_capacity()), (3, 64));
        assert_eq!(config.connect_timeout(), Duration::from_millis(2_500));
        assert_eq!(config.reconnect_wait(), Duration::from_millis(500));
        assert_eq!(config.lease_ttl(), Duration::from_secs(20));
        assert_eq!(config.renew_interval(), Duration::from_secs(4));
        assert_eq!(config.request_timeout(), Duration::from_millis(700));
        assert_eq!(config.clock_drift_percent(), 12);
        assert_eq!(config.cooldown(), Some(Duration::ZERO));
        assert_eq!(config.drain_timeout(), Duration::from_secs(3));
        assert_eq!(config.stop_timeout(), Duration::from_secs(2));
        assert_eq!(config.meta().unwrap()["weight"], 3);
        assert_eq!(config.vips()[0].to_string(), "2001:db8::100/64");
    }

    #[test]
    fn an_unknown_key_is_refused_at_every_level_and_the_nearest_one_offered() {
        for (text, message) in [
            (
                r#"{"leaseTtlMs":3000}"#,
                "leaseTtlMs is not a known key, did you mean election.leaseTtlMs?",
            ),
            (r#"{"clusterID":"c"}"#, "clusterID is not a known key, did you mean clusterId?"),
            (
                &with(r#","credential":"x""#, ""),
                "nats.credential is not a known key, did you mean credentials?",
            ),
            (
                r#"{"nats":{"tls":{"requierd":true}}}"#,
                "nats.tls.requierd is not a known key, did you mean required?",
            ),
            (
                r#"{"vip":{"iface":"eth0"}}"#,
                "vip.iface is not a known key, did you mean interface?",
            ),
            (
                &with("", r#""leaseTTLms":1"#),
                "election.leaseTTLms is not a known key, did you mean leaseTtlMs?",
            ),
            (
                &with("", r#""heartbeatIntervalMs":1"#),
                "election.heartbeatIntervalMs is not a known key, its name here is renewIntervalMs",
            ),
            (
                r#"{"service":{}}"#,
                "service is not a known key, known here are clusterId, nodeId, nats, vip, election",
            ),
            (
                r#"{"nats":{"tls":{"a\nb":1}}}"#,
                "nats.tls.\"a\\nb\" is not a known key, known here are required, handshakeFirst, \
                 ca, cert, key",
            ),
        ] {
            assert_eq!(refusal(text), message);
        }
    }

    #[test]
    fn a_wrong_type_is_named_with_path_unit_range_and_value() {
        for (text, message) in [
            (
                with("", r#""leaseTtlMs":"10s""#),
                r#"election.leaseTtlMs: expected milliseconds (103 to 3600000), found "10s""#,
            ),
            (
                with("", r#""cooldownMs":-1"#),
                "election.cooldownMs: expected milliseconds (0 to 86400000), found -1",
            ),
            (
                with("", r#""cooldownMs":1.5"#),
                "election.cooldownMs: expected milliseconds (0 to 86400000), found 1.5",
            ),
            (
                with("", r#""stopTimeoutMs":0"#),
                "election.stopTimeoutMs: expected milliseconds (100 to 3600000), found 0",
            ),
            (
                with("", r#""strictBootstrap":"yes""#),
                r#"election.strictBootstrap: expected true or false, found "yes""#,
            ),
            (
                with("", r#""clockDriftPercent":[]"#),
                "election.clockDriftPercent: expected percent (1 to 50), found a list",
            ),
            (with(r#","domain":{}"#, ""), "nats.domain: expected a text, found an object"),
            (with(r#","tls":true"#, ""), "nats.tls: expected an object, found true or false"),
            ("[]".to_owned(), "the configuration: expected an object, found a list"),
            (
                r#"{"nats":{"servers":"a"}}"#.to_owned(),
                "nats.servers: expected a list of texts, found a text",
            ),
            (
                r#"{"nats":{"servers":["a",1]}}"#.to_owned(),
                "nats.servers[1]: expected a text, found a number",
            ),
        ] {
            assert_eq!(refusal(&text), message);
        }
    }

    #[test]
    fn a_number_of_any_size_is_refused_by_its_range() {
        for number in ["18446744073709551615", "18446744073709551616", "1e300", "3600001"] {
            for key in ["leaseTtlMs", "renewIntervalMs", "requestTimeoutMs", "drainTimeoutMs"] {
                let message = refusal(&with("", &format!(r#""{key}":{number}"#)));
                assert!(message.starts_with("election."), "{message}");
            }
            refusal(&with("", &format!(r#""clockDriftPercent":{number}"#)));
            refusal(&with("", &format!(r#""eventCapacity":{number}"#)));
            refusal(&with(&format!(r#","replicas":{number}"#), ""));
        }
    }

    #[test]
    fn ways_to_authenticate_exclude_each_other() {
        let ways = [
            r#""credentials":"/c""#,
            r#""user":"u","password":"p""#,
            r#""token":"t""#,
            r#""nkey":"s""#,
            r#""nkeyFile":"/s""#,
        ];
        for (index, one) in ways.iter().enumerate() {
            for other in &ways[index + 1..] {
                let message = refusal(&with(&format!(",{one},{other}"), ""));
                assert!(message.ends_with("exclude each other"), "{message}");
            }
        }
        let message = refusal(&with(r#","user":"u""#, ""));
        assert_eq!(message, "nats.password is required when nats.user is set");
        let message = refusal(&with(r#","domain":"d","apiPrefix":"p""#, ""));
        assert_eq!(message, "nats.domain and nats.apiPrefix exclude each other");
    }

    #[test]
    fn a_secret_of_the_wrong_type_or_in_the_wrong_place_is_not_quoted() {
        for nats in [
            r#","password":[7777]"#,
            r#","token":7777"#,
            r#","nkey":{"seed":"7777"}"#,
            r#","nkey":"SU7777""#,
        ] {
            assert!(!refusal(&with(nats, "")).contains("7777"));
        }
        for server in ["u:7777@h:x", "7777@h/path", "http://u:7777@h", "u:7777%4h@h"] {
            let text =
                format!(r#"{{"clusterId":"c","nodeId":"n","nats":{{"servers":["{server}"]}}}}"#);
            assert!(!refusal(&text).contains("7777"));
        }
    }
}

mod on_disk {
    use super::*;

    #[test]
    fn saving_creates_folders_and_loading_gives_the_same_back() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("a/b/cluster.json");
        let config = plain().cooldown(Duration::ZERO).api_prefix("x.API").build().unwrap();
        config.save(&file).unwrap();
        assert_eq!(Config::load(&file).unwrap(), config);
        let config = load("everything.json");
        config.save(&file).unwrap();
        assert_eq!(Config::load(&file).unwrap(), config);
    }

    #[test]
    fn saving_leaves_nothing_else_behind() {
        let folder = TempDir::new().unwrap();
        for _ in 0..3 {
            plain().build().unwrap().save(folder.path().join("cluster.json")).unwrap();
        }
        assert_eq!(names(&folder), ["cluster.json"]);
        fs::create_dir(folder.path().join("taken")).unwrap();
        let error = plain().build().unwrap().save(folder.path().join("taken")).unwrap_err();
        assert!(matches!(error, ConfigError::Write { .. }), "{error}");
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(names(&folder).len(), 2);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = Config::load("/nonexistent/path/config.json").unwrap_err();
        assert!(matches!(error, ConfigError::Read { .. }));
        assert!(error.to_string().contains("/nonexistent/path/config.json"), "{error}");
        assert!(Config::load(std::env::temp_dir()).is_err());
    }

    #[test]
    fn texts_that_are_no_configuration_are_refused() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("cluster.json");
        let cases: [(&[u8], &str); 8] = [
            (b"", "not valid JSON: EOF"),
            (b"not valid json", "not valid JSON: expected"),
            (b"\xff\xfe{\0}\0", "it is UTF-16, must be UTF-8"),
            (b"{\0}\0", "it is UTF-16, must be UTF-8"),
            (b"{\xff}", "it is not valid UTF-8"),
            (&vec![b' '; MAX_FILE_BYTES + 1], "longer than 1048576 bytes"),
            (&vec![b'['; MAX_FILE_BYTES], "recursion limit"),
            (b"{} {}", "trailing characters"),
        ];
        for (bytes, reason) in cases {
            fs::write(&file, bytes).unwrap();
            let message = Config::load(&file).unwrap_err().to_string();
            assert!(message.contains(reason) && message.contains("cluster.json"), "{message}");
        }
    }

    /// As editors on Windows write them.
    #[test]
    fn a_byte_order_mark_and_carriage_returns_are_no_part_of_a_file() {
        let folder = TempDir::new().unwrap();
        let file = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::write(&file, format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap();
            file
        };
        let seed = format!("SU{}", "A".repeat(56));
        let builder = plain().nkey_file(file("node.nk", &format!("{seed}\n")));
        let config = builder.build().unwrap();
        let Auth::NkeySeed(read) = config.auth() else { panic!("{config:?}") };
        assert_eq!(read.expose(), seed);
        assert_eq!(Config::load(file("cluster.json", &config.to_json())).unwrap(), config);
        assert_eq!(Config::from_json(&format!("\u{feff}{}", config.to_json())).unwrap(), config);
        fs::write(folder.path().join("node.nk"), b"\xff\xfeS\0U\0").unwrap();
        let refused = config.to_builder().build().unwrap_err().to_string();
        assert!(refused.ends_with("cannot be read: it is UTF-16, must be UTF-8"), "{refused}");
    }

    #[test]
    fn a_seed_file_is_read_when_built_and_only_its_name_is_saved() {
        let folder = TempDir::new().unwrap();
        let seed = format!("SU{}", "A".repeat(56));
        fs::write(folder.path().join("node.nk"), format!("{seed}\n")).unwrap();
        let config = plain().nkey_file(folder.path().join("node.nk")).build().unwrap();
        let Auth::NkeySeed(read) = config.auth() else { panic!("{config:?}") };
        assert_eq!(read.expose(), seed);
        assert!(!config.to_json().contains(&seed) && config.to_json().contains("nkeyFile"));
        config.save(folder.path().join("cluster.json")).unwrap();
        assert_eq!(Config::load(folder.path().join("cluster.json")).unwrap(), config);
    }

    #[cfg(unix)]
    mod modes {
        use super::*;
        use std::os::unix::fs::{PermissionsExt, symlink};

        fn mode(file: &Path) -> u32 {
            fs::metadata(file).unwrap().permissions().mode() & 0o777
        }

        fn set_mode(file: &Path, mode: u32) {
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        }

        #[test]
        fn only_the_owner_may_read_a_file_with_a_secret() {
            let folder = TempDir::new().unwrap();
            let in_url = Config::builder("c", "n", ["nats://u:p@a"]);
            let seed = format!("SU{}", "A".repeat(56));
            let ways = [
                in_url,
                plain().token("t"),
                plain().user_password("u", "p"),
                plain().nkey_seed(seed),
            ];
            for (index, builder) in ways.into_iter().enumerate() {
                let file = folder.path().join(index.to_string());
                fs::write(&file, "").unwrap();
                set_mode(&file, 0o644);
                builder.build().unwrap().save(&file).unwrap();
                assert_eq!(mode(&file), 0o600);
            }
        }

        #[test]
        fn a_file_without_a_secret_keeps_its_mode() {
            let folder = TempDir::new().unwrap();
            let file = folder.path().join("cluster.json");
            let config = plain().credentials_file("/c").build().unwrap();
            config.save(&file).unwrap();
            assert_eq!(mode(&file) & 0o700, 0o600);
            for kept in [0o640, 0o600, 0o664] {
                set_mode(&file, kept);
                config.save(&file).unwrap();
                assert_eq!(mode(&file), kept);
            }
        }

        #[test]
        fn a_symbolic_link_is_followed_and_its_target_replaced() {
            let folder = TempDir::new().unwrap();
            let (link, target) =
                (folder.path().join("link.json"), folder.path().join("real/cluster.json"));
            plain().build().unwrap().save(&target).unwrap();
            symlink(&target, &link).unwrap();
            let config = plain().cooldown(Duration::ZERO).build().unwrap();
            config.save(&link).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(Config::load(&target).unwrap(), config);
        }
    }
}
