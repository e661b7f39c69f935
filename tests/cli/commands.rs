//! The output of each command, in text and in JSON, and the exit codes.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use leasehold::Config;
use leasehold::guide::TOPICS;
use rustix::process::Signal;

use crate::site::{PATIENCE, PROGRAM, Site};
use crate::support::cluster::Cluster;
use crate::support::port::Port;
use crate::support::process::{Process, bound_command};
use crate::support::version::Version;

#[test]
fn init_writes_a_valid_file_and_replaces_none_without_force() {
    let site = Site::new(Version::Newest);
    let vip = ["--vip-address", "10.0.0.10", "--vip-interface", "eth0", "--vip-address", "fd00::1"];
    let names = ["--cluster-id", "orders", "--node-id", "node-1"];
    let urls = ["--nats-url", "nats://a.example,tls://b.example:4333", "--nats-url", "c.example"];
    site.run(&[&["init", "-c", "deep/er/cluster.json"], &names[..]].concat())
        .failed(2, "there is no folder deep/er");
    fs::create_dir_all(site.path("deep/er")).unwrap();
    let line = [&["init", "-c", "deep/er/cluster.json"], &names[..], &urls, &vip].concat();
    let output = site.run(&line).succeeded().stdout;
    assert_eq!(
        output,
        "wrote deep/er/cluster.json; no server answered, so 1 replica is assumed (see --replicas), \
         and a lease TTL of 10 s; all nodes of a cluster need the same TTL; next: leasehold -c \
         deep/er/cluster.json daemon\n"
    );
    let config = Config::load(site.path("deep/er/cluster.json")).expect("it loads");
    assert_eq!((config.cluster_id(), config.node_id()), ("orders", "node-1"));
    assert_eq!(config.servers().count(), 3);
    let vips: Vec<_> = config.vips().iter().map(ToString::to_string).collect();
    assert_eq!(vips, ["10.0.0.10/32", "fd00::1/128"], "each at its full length");
    site.run(&line).failed(2, "deep/er/cluster.json already exists; --force replaces it");
    let json = site.run(&[&line[..], &["--force", "--json"]].concat()).succeeded().json();
    assert_eq!((&json["ok"], &json["nodeId"]), (&true.into(), &"node-1".into()));
}

/// `init` for these servers: the file that it wrote, and what it printed.
fn init_for(site: &Site, urls: &[String], more: &[&str]) -> (Config, String) {
    let urls = urls.join(",");
    let line = ["init", "--force", "--cluster-id", "orders", "--node-id", "n1", "--nats-url"];
    let output = site.run(&[&line[..], &[&urls], more].concat()).succeeded().stdout;
    (Config::load(site.path("cluster.json")).expect("it loads"), output)
}

on_both_servers!(init_asks_a_cluster_how_many_replicas_it_can_have, |version| {
    let cluster = Cluster::start(version);
    let site = Site::new(version);
    let (config, output) = init_for(&site, &cluster.urls(), &[]);
    let (replicas, says) = match version {
        Version::Oldest => (1, "with 1 replica: 3 replicas need nats-server 2.11.0, and cluster "),
        Version::Newest => (3, "with 3 replicas: cluster \"test\" has 3 servers of nats-server 2."),
    };
    assert_eq!(config.replicas(), replicas);
    let seconds = if replicas == 3 { 20 } else { 10 };
    assert_eq!(config.lease_ttl(), Duration::from_secs(seconds), "{output}");
    assert_eq!(output.contains("and a lease TTL of 20 s, so that a lease "), replicas == 3);
    assert!(output.contains(&format!("wrote cluster.json {says}")), "{output}");
    let connections = || cluster.server(0).monitor().varz()["total_connections"].clone();
    let before = connections();
    for count in ["1", "3", "5"] {
        let (config, _) = init_for(&site, &cluster.urls(), &["--replicas", count]);
        assert_eq!(config.replicas().to_string(), count);
        let timers = ["--lease-ttl", "10s", "--replicas", count];
        let (config, output) = init_for(&site, &cluster.urls(), &timers);
        assert_eq!(config.lease_ttl(), Duration::from_secs(10), "as given");
        assert_eq!(output, "wrote cluster.json; next: leasehold -c cluster.json daemon\n");
    }
    assert_eq!(connections(), before, "nothing was asked");
    let (config, output) = init_for(&site, &cluster.urls()[..2], &[]);
    assert_eq!(config.replicas(), 1);
    assert!(output.contains("2 with JetStream answered of the servers of cluster"), "{output}");
});

on_both_servers!(init_says_what_it_assumes_and_nothing_where_there_is_no_choice, |version| {
    let site = Site::new(version);
    let (config, output) = init_for(&site, &[site.server.url()], &[]);
    assert_eq!(config.replicas(), 1);
    assert_eq!(output, "wrote cluster.json; next: leasehold -c cluster.json daemon\n");
    // One refuses, and one keeps silent.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let unused = Port::reserve();
    let urls = [silent.local_addr().unwrap(), unused.address()].map(|url| url.to_string());
    let begun = Instant::now();
    let (config, output) = init_for(&site, &urls, &[]);
    assert_eq!(config.replicas(), 1);
    assert!(output.contains("no server answered, so 1 replica is assumed"), "{output}");
    assert!(output.contains("all nodes of a cluster need the same TTL"), "{output}");
    // The survey takes a second; the rest is for a loaded machine.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    site.run(&["init", "--replicas", "2", "--cluster-id", "c", "--node-id", "n"])
        .failed(2, "invalid value '2' for '--replicas <COUNT>'");
});

on_both_servers!(one_replica_in_a_cluster_is_warned_about_once, |version| {
    let cluster = Cluster::start(version);
    let site = Site::new(version);
    let names = ["--cluster-id", "orders", "--node-id", "n1", "--replicas", "1"];
    let urls = cluster.urls().join(",");
    let line = [&["init", "-c", "n1.json", "--nats-url", &urls], &names[..]].concat();
    site.run(&line).succeeded();
    let daemon = site.daemon("n1", &[]);
    let status = site.wait_for_lead("n1");
    let [warning] = &status["warnings"].as_array().expect("a list")[..] else { panic!("{status}") };
    let warning = warning.as_str().expect("a text");
    let begins = "KV_cluster-orders has one replica in the cluster \"test\": no node leads while";
    assert!(warning.starts_with(begins) && status["problem"].is_null(), "{status}");
    let text = site.of("n1", &["status"]).succeeded().stdout;
    assert!(text.contains(&format!("warning     {warning}\n")), "{text}");
    let all = site.of("n1", &["status", "--all"]).succeeded().stdout;
    assert!(all.contains(&format!("warning: {warning}\n")), "{all}");
    let log = daemon.transcript();
    assert_eq!(log.matches(warning).count(), 1, "{log}");
});

#[test]
fn a_wrong_configuration_is_one_line_and_exit_code_2() {
    let site = Site::new(Version::Newest);
    site.run(&["status"]).failed(2, "cluster.json does not exist; `leasehold init` writes it");
    fs::write(site.path("cluster.json"), r#"{"clusterId":"c","nodeId":"n","nts":{}}"#).unwrap();
    site.run(&["status"]).failed(2, "nts is not a known key, did you mean nats?");
    let bad = site.run(&["status", "--json"]);
    assert_eq!((bad.code, bad.json()["exitCode"].as_u64()), (2, Some(2)));
    let init = ["init", "-c", "new.json", "--cluster-id", "c", "--node-id"];
    site.run(&[&init[..], &["a b"]].concat()).failed(2, "nodeId");
    // What a daemon would refuse is not written.
    for (vip, says) in [
        (&["10.0.0.999", "--vip-interface", "eth0"][..], "not a valid IP address"),
        (&["127.0.0.1", "--vip-interface", "lo"], "vip.address is 127.0.0.1, which cannot be a "),
        (&["10.0.0.10", "--vip-interface", "eth0:1"], "vip.interface is \"eth0:1\", must be 1 to "),
        (
            &["10.0.0.10", "--vip-interface", "eth0", "--vip-interface", "eth1"],
            "--vip-interface must be given once for all addresses or once for each, found 2 for 1 ",
        ),
        (
            &["10.0.0.10", "--vip-interface", "eth0", "--vip-address", "10.0.0.10"],
            "vip[1].address is 10.0.0.10, which is given twice",
        ),
        (
            &[
                "10.0.0.10",
                "--vip-interface",
                "eth0",
                "--lease-ttl",
                "3s",
                "--renew-interval",
                "1s",
            ],
            "election.leaseTtlMs: lease TTL is 3s, must be at least 5.296s with a virtual IP",
        ),
    ] {
        site.run(&[&init[..], &["n", "--vip-address"], vip].concat()).failed(2, says);
    }
    assert!(!site.path("new.json").exists());
    for (usage, says) in [
        (&["status", "--al"][..], "unexpected argument '--al' found; a similar argument exists: "),
        (&["watch", "--interval", "5y"], "unknown unit \"y\"; use ms, s, m or h; see `leasehold"),
        (&["watch", "--interval", "3000"], "no unit; use ms, s, m or h, as in 500ms or 3s"),
        (&["init", "--lease-ttl"], "none was supplied; see `leasehold init --help`"),
        (&["step-down", "--al"], "see `leasehold demote --help`"),
        (&["transfer"], "not provided: <NODE>; see `leasehold transfer --help`"),
        (&["stat"], "a similar subcommand exists: 'status'; see `leasehold --help`"),
        (&["init", "--vip-netmask", "255.255.255.0"], "'--vip-netmask <BITS>'"),
    ] {
        site.run(usage).failed(2, says);
        let json = site.run(&[usage, &["--json"]].concat());
        assert_eq!((json.code, json.json()["exitCode"].as_u64()), (2, Some(2)), "{json:?}");
        assert!(json.stderr.is_empty(), "{json:?}");
    }
    let nothing = site.run(&[]);
    assert!(nothing.code == 2 && nothing.stderr.contains("Usage:"), "{nothing:?}");
    let help = site.run(&["--help"]).succeeded().stdout;
    assert!(!help.contains('\u{1b}'), "{help}");
    let (_, codes) = help.split_once("Exit codes:\n").expect("exit codes");
    let guide = TOPICS.iter().find(|topic| topic.name == "daemons").expect("a page");
    for code in codes.lines().take_while(|line| !line.is_empty()) {
        let row = format!("| {} |", code.trim_start().replacen("  ", " | ", 1));
        assert!(guide.text.contains(&row), "{row}");
    }
}

#[test]
fn an_error_is_one_line_whatever_the_name_contains() {
    let site = Site::new(Version::Newest);
    site.run(&["-c", "a\nb\u{1b}[2J\u{202e}.json", "status"])
        .failed(2, "a b [2J.json does not exist;");
    let bytes = |text: &'static [u8]| OsStr::from_bytes(text);
    site.run_with(&[bytes(b"-c"), bytes(b"\xff.json"), bytes(b"status")], &[])
        .failed(2, "\u{fffd}.json does not exist");
    let node = [bytes(b"status"), bytes(b"--node"), bytes(b"\xff")];
    site.run_with(&node, &[]).failed(2, "invalid UTF-8");
    std::os::unix::fs::symlink("nowhere/else.json", site.path("link.json")).unwrap();
    let init = ["init", "-c", "link.json", "--cluster-id", "c", "--node-id", "n"];
    site.run(&init).failed(2, "link.json already exists");
    let made = std::process::Command::new("mkfifo").arg(site.path("pipe")).status();
    assert!(made.expect("`mkfifo` is there").success());
    for file in [".", "/dev/zero", "pipe"] {
        let says = format!("cannot read {file}: not a regular file");
        site.run(&["-c", file, "status"]).failed(2, &says);
    }
}

#[test]
fn a_full_disk_is_a_failure_and_a_closed_pipe_is_none() {
    let site = Site::new(Version::Newest);
    let shell = |script: &str| {
        let mut command = std::process::Command::new("/bin/sh");
        command.env_clear().arg("-c").arg(format!("exec {PROGRAM} {script}"));
        command.current_dir(site.folder.path()).stdin(Stdio::null()).output().unwrap()
    };
    site.init("n1");
    for command in ["version", "completions bash", "-c n1.json status", "-c n1.json join --json"] {
        let full = shell(&format!("{command} >/dev/full"));
        let stderr = String::from_utf8_lossy(&full.stderr).into_owned();
        assert!(
            full.status.code() == Some(1) && stderr.contains("cannot write to stdout"),
            "{stderr}"
        );
        let closed = shell(&format!("{command} <&- >&- 2>&-"));
        assert!(closed.status.success(), "{closed:?}");
    }
    let piped = shell("completions bash | head -c 1");
    assert!(piped.status.success() && piped.stderr.is_empty(), "{piped:?}");
}

on_both_servers!(a_hanging_daemon_times_out_and_a_killed_one_is_not_found, |version| {
    let site = Site::new(version);
    site.init("n1");
    site.init("n2");
    let mut first = site.daemon("n1", &[]);
    site.wait_for_lead("n1");
    let mut second = site.daemon("n2", &[]);
    site.wait("n2", "the second", |status| status["daemon"] == true);
    second.pause();
    let commands = [
        &["status"][..],
        &["status", "--node", "n2"],
        &["promote", "--force"],
        &["demote"],
        &["leave"],
        &["transfer", "n2"],
    ];
    for command in commands {
        let ended = site.of("n2", &[command, &["--timeout", "500ms"]].concat());
        assert!(!ended.stderr.contains("may still take effect"), "nothing was sent: {ended:?}");
        ended.failed(5, "node n2 did not respond in time; see the log of its daemon");
    }
    let json = site.of("n2", &["status", "--timeout", "500ms", "--json"]);
    assert_eq!((json.code, json.json()["exitCode"].as_u64()), (5, Some(5)));
    assert_eq!(site.status("n1")["role"], "PRIMARY", "nothing was given up for it");
    second.kill();
    for command in &commands[1..] {
        site.of("n2", command).failed(4, "no daemon of node n2");
    }
    assert_eq!(site.status("n2")["daemon"], false);
    // The leader is dead, and its lease has not expired yet.
    first.kill();
    site.of("n1", &["transfer", "n2"]).failed_with_one_of(&[3, 4]);
});

/// With a server that accepts connections and sends nothing.
#[test]
fn commands_keep_their_time_limit() {
    const TIMEOUT: Duration = Duration::from_secs(4);
    // To start a process and to close a connection that is silent.
    const ALLOWANCE: Duration = Duration::from_secs(3);
    let site = Site::new(Version::Newest);
    site.init("n1");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    site.change("n1", |config| {
        config["nats"]["servers"] = serde_json::json!([silent.local_addr().unwrap().to_string()]);
        config["nats"]["connectTimeoutMs"] = 300_000.into();
    });
    for command in [
        &["status", "--all"][..],
        &["join"],
        &["promote", "--force"],
        &["transfer", "n2"],
        &["status", "--node", "n2"],
    ] {
        let begun = Instant::now();
        site.of("n1", &[command, &["--timeout", "4s"]].concat()).failed(1, "nats.servers");
        assert!(begun.elapsed() < TIMEOUT + ALLOWANCE, "{command:?}: {:?}", begun.elapsed());
    }
    site.of("n1", &["--timeout", "1ms", "transfer", "n2"]).failed(1, "nats.servers");
}

on_both_servers!(a_command_makes_one_connection, |version| {
    let site = Site::new(version);
    for node in ["n1", "n2", "n3"] {
        site.init(node);
    }
    let _first = site.daemon("n1", &[]);
    site.wait_for_lead("n1");
    let _second = site.daemon("n2", &[]);
    site.wait("n2", "the second daemon", |status| status["daemon"] == true);
    let connections = || site.server.monitor().varz()["total_connections"].as_u64().unwrap();
    for (node, command) in [
        ("n1", &["status"][..]),
        ("n1", &["status", "--all"]),
        ("n3", &["status"]),
        ("n3", &["join"]),
        ("n1", &["transfer", "n2"]),
        ("n1", &["promote", "--force"]),
        ("n1", &["demote"]),
        ("n1", &["leave"]),
    ] {
        let before = connections();
        site.of(node, command).succeeded();
        // With the `nats` crate, the server is probed before the crate connects.
        let expected = if cfg!(leasehold_nats_client) { 2 } else { 1 };
        assert_eq!(connections() - before, expected, "{node} {command:?}");
    }
});

on_both_servers!(without_a_daemon_only_status_and_join_succeed, |version| {
    let site = Site::new(version);
    site.init("n1");
    let status = site.status("n1");
    assert_eq!((&status["clusterId"], &status["nodeId"]), (&"orders".into(), &"n1".into()));
    assert_eq!((&status["connected"], &status["daemon"]), (&true.into(), &false.into()));
    let text = site.of("n1", &["status"]).succeeded().stdout;
    assert!(text.contains("daemon      does not answer"), "{text}");
    let all = site.of("n1", &["status", "--all", "--json"]).succeeded().json();
    assert_eq!(all["nodes"].as_array().map(Vec::len), Some(0));
    site.of("n1", &["join"]).succeeded();
    for command in [&["promote"][..], &["demote"], &["leave"], &["status", "--node", "n9"]] {
        site.of("n1", command).failed(4, "no daemon of node n");
    }
    site.of("n1", &["transfer", "n9"])
        .failed(3, "no leader is known, so no node can hand over to n9");
});

on_both_servers!(daemons_answer_status_and_take_commands, |version| {
    let site = Site::new(version);
    site.init("n1");
    site.init("n2");
    let mut first = site.daemon("n1", &[]);
    let status = site.wait_for_lead("n1");
    for key in ["clusterId", "nodeId", "role", "leader", "epoch", "vipHeld", "uptimeMs"] {
        assert!(!status[key].is_null(), "{key} in {status}");
    }
    assert_eq!((&status["connected"], &status["leader"]), (&true.into(), &"n1".into()));
    let _second = site.daemon("n2", &["--no-control"]);
    site.wait("n2", "the second daemon", |status| status["daemon"] == true);
    site.of("n1", &["daemon"]).failed_with_log(6, "runs already");
    site.of("n1", &["join"]).failed(6, "runs already");
    site.of("n2", &["promote"]).failed(3, "n1 leads");
    site.of("n2", &["demote"]).failed(3, "n2 is not the leader, n1 is");
    site.of("n2", &["leave"]).failed(7, "n2 refuses");
    let all = site.of("n2", &["status", "--all", "--json"]).succeeded().json();
    let roles: Vec<_> = all["nodes"].as_array().unwrap().iter().map(|n| &n["role"]).collect();
    assert_eq!(roles, ["PRIMARY", "PASSIVE"]);
    assert_eq!((&all["leader"], &all["connected"]), (&"n1".into(), &true.into()));
    let json = site.of("n1", &["demote", "--json"]).succeeded().json();
    assert_eq!((&json["ok"], &json["nodeId"]), (&true.into(), &"n1".into()));
    site.wait_for_lead("n2");
    let json = site.of("n1", &["leave", "--json"]).succeeded().json();
    assert_eq!(json, serde_json::json!({ "ok": true, "nodeId": "n1" }));
    assert!(first.exited(PATIENCE).success());
});

impl crate::site::Ended {
    #[track_caller]
    fn failed_with_one_of(self, codes: &[i32]) {
        assert!(codes.contains(&self.code) && self.stderr.lines().count() == 1, "{self:?}");
    }

    /// As `failed`, where log lines may come before.
    #[track_caller]
    fn failed_with_log(self, code: i32, words: &str) {
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(self.code == code && last.starts_with("leasehold: "), "{self:?}");
        assert!(last.contains(words), "{self:?}");
    }
}

#[test]
fn without_a_server_every_command_says_so() {
    let mut site = Site::new(Version::Newest);
    site.init("n1");
    site.server.kill();
    let status = site.of("n1", &["status", "--json", "--timeout", "2s"]).succeeded().json();
    assert_eq!(status["connected"], false);
    assert!(status["problem"].as_str().is_some_and(|problem| !problem.is_empty()), "{status}");
    for command in [&["join"][..], &["status", "--all"], &["promote"], &["demote"], &["leave"]] {
        let ended = site.of("n1", &[command, &["--timeout", "2s"]].concat());
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.code == 1 && ended.stderr.contains("nats.servers"), "{ended:?}");
    }
    site.of("n1", &["daemon"]).failed_with_log(1, "nats.servers");
}

#[test]
fn help_prints_commands_and_topics_of_the_manual() {
    let site = Site::new(Version::Newest);
    let list = site.run(&["help"]).succeeded().stdout;
    assert!(list.contains("\n  promote   "), "{list}");
    for topic in TOPICS {
        assert!(list.contains(topic.name) && list.contains(topic.summary), "{list}");
        let page = site.run(&["help", topic.name]).succeeded().stdout;
        assert_eq!(page.lines().next(), topic.text.lines().next());
        assert!(!page.contains("crate::") && !page.contains("```"), "{page}");
        let json = site.run(&["help", topic.name, "--json"]).succeeded().json();
        assert_eq!((&json["name"], &json["text"]), (&topic.name.into(), &page.into()));
    }
    let page = |name| site.run(&["help", name]).succeeded().stdout;
    assert_eq!(page("vip"), page("virtual-ip"));
    let promote = site.run(&["help", "promote"]).succeeded().stdout;
    assert_eq!(promote, site.run(&["promote", "--help"]).succeeded().stdout);
    site.run(&["help", "confguration"]).failed(2, "a similar value exists: 'configuration'");
    let names: Vec<_> = TOPICS.iter().map(|topic| topic.name).collect();
    site.run(&["help", "zzz"]).failed(2, &format!("completions, {}]", names.join(", ")));
}

#[test]
fn version_and_completions_need_no_configuration() {
    let site = Site::new(Version::Newest);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(site.run(&["version"]).succeeded().stdout, format!("leasehold {version}\n"));
    assert_eq!(site.run(&["version", "--json"]).succeeded().json()["version"], version);
    for shell in ["bash", "zsh", "fish"] {
        let script = site.run(&["completions", shell]).succeeded().stdout;
        assert!(script.contains("leasehold") && script.contains("transfer"), "{shell}");
    }
}

fn watch(site: &Site, arguments: &[&str]) -> Process {
    let mut command = bound_command(PROGRAM);
    command.current_dir(site.folder.path()).args(["-c", "n1.json", "watch"]).args(arguments);
    Process::spawn(command)
}

#[test]
fn watch_streams_json_and_ends_when_the_reader_closes_the_pipe() {
    let site = Site::new(Version::Newest);
    site.init("n1");
    let _daemon = site.daemon("n1", &[]);
    site.wait_for_lead("n1");
    let mut seen = watch(&site, &["--json", "--interval", "200ms"]);
    let view = seen.json_where(PATIENCE, "a view of n1", |line| {
        line["type"] == "view" && line["view"]["nodes"][0]["role"] == "PRIMARY"
    });
    assert_eq!(view["view"]["leader"], "n1");
    site.of("n1", &["demote"]).succeeded();
    let event = seen.json_where(PATIENCE, "its loss", |line| line["type"] == "leader");
    assert!(event["timestamp"].as_u64().is_some() && event["text"].is_string(), "{event}");
    seen.signal(Signal::TERM);
    assert!(seen.exited(PATIENCE).success());
    let mut command = std::process::Command::new("/bin/sh");
    command.arg("-c").arg(format!("{PROGRAM} -c n1.json watch --json | head -n 1"));
    let output = command.current_dir(site.folder.path()).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// In a terminal of util-linux' `script`, which passes on the keys.
#[test]
fn watch_fills_a_terminal_and_restores_it() {
    let site = Site::new(Version::Newest);
    site.init("n1");
    let _daemon = site.daemon("n1", &[]);
    site.wait_for_lead("n1");
    let log = site.path("screen");
    let mut command = bound_command("script");
    command.current_dir(site.folder.path()).env("NO_COLOR", "1").env("TERM", "xterm");
    command.args(["--quiet", "--flush", "--return", "--command"]);
    command.arg(format!("stty cols 80 rows 24; {PROGRAM} -c n1.json watch; stty -a")).arg(&log);
    let mut terminal = Process::spawn(command);
    let shown = || fs::read(&log).map(|b| String::from_utf8_lossy(&b).into_owned());
    crate::support::wait::eventually(PATIENCE, "the screen", || {
        shown().is_ok_and(|text| text.contains("n1 leads   epoch 1") && text.contains("n1  "))
    });
    terminal.say("q");
    assert!(terminal.exited(PATIENCE).success());
    let text = shown().expect("a log");
    let (entered, left) = (text.find("\u{1b}[?1049h"), text.find("\u{1b}[?1049l"));
    assert!(entered < left && entered.is_some(), "{text:?}");
    let colours = ["\u{1b}[32m", "\u{1b}[31m", "\u{1b}[2m"];
    assert!(!colours.iter().any(|colour| text.contains(colour)), "NO_COLOR is set: {text:?}");
    let after = &text[left.unwrap()..];
    assert!(after.contains(" icanon") && after.contains(" echo "), "{after:?}");
    // A terminal that cannot move its cursor gets lines.
    let log = site.path("lines");
    let mut command = bound_command("script");
    command.current_dir(site.folder.path()).env("TERM", "dumb");
    command.args(["--quiet", "--flush", "--return", "--command"]);
    command.arg(format!("timeout --foreground 60 {PROGRAM} -c n1.json watch")).arg(&log);
    let _terminal = Process::spawn(command);
    crate::support::wait::eventually(PATIENCE, "a line", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("n1 leads, epoch 1"))
    });
    assert!(!fs::read_to_string(&log).unwrap().contains('\u{1b}'));
}
