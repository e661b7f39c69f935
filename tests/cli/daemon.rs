//! The daemon's hook commands, signals and systemd notifications: no command delays a renewal or
//! leaves a process behind.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::site::{PATIENCE, Site, processes_with};
use crate::support::bucket::Bucket;
use crate::support::nats::Client;
use crate::support::process::Process;
use crate::support::version::Version;
use crate::support::wait::eventually;

/// A `sleep` command that no other test uses.
fn unique_sleep(name: &str) -> String {
    let number: u32 = name.bytes().map(u32::from).sum();
    format!("sleep {}{number}", 100_000 + std::process::id())
}

/// The node leads in one term for this time, and renews.
fn leads_throughout(site: &Site, node: &str, time: Duration) {
    let first = site.wait_for_lead(node);
    let until = Instant::now() + time;
    let mut last = Value::Null;
    while Instant::now() < until {
        last = site.status(node);
        assert_eq!((&last["role"], &last["epoch"]), (&first["role"], &first["epoch"]), "{last}");
    }
    let renewals = |status: &Value| status["revision"].as_u64().expect("a number");
    assert!(renewals(&last) > renewals(&first), "{first} {last}");
}

#[test]
fn a_hanging_command_delays_no_renewal_and_is_killed_with_its_children() {
    let site = Site::new(Version::Newest);
    site.init("n1");
    let sleep = unique_sleep("hang");
    let primary = format!("trap '' TERM; {sleep} & {sleep}");
    let change = sleep.clone();
    let arguments = ["--on-primary", &primary, "--on-change", &change, "--hook-timeout", "4s"];
    let mut daemon = site.daemon("n1", &arguments);
    eventually(PATIENCE, "three of them", || processes_with(&sleep).len() >= 3);
    leads_throughout(&site, "n1", Duration::from_secs(2));
    daemon.prints(PATIENCE, "did not end within 4s and was killed");
    daemon.prints(PATIENCE, "the node steps down");
    daemon.signal(Signal::TERM);
    assert!(daemon.exited(PATIENCE).success());
    assert_eq!(processes_with(&sleep), [""; 0]);
}

#[test]
fn every_process_that_a_command_leaves_behind_is_killed() {
    let site = Site::new(Version::Newest);
    site.init("n1");
    let sleep = unique_sleep("fork");
    let primary = format!(
        "{sleep} & setsid {sleep} & (setsid sh -c '{sleep} & env -i setsid {sleep} &' &); \
         setsid sh -c 'setsid {sleep} & wait' & sleep 0.5; echo forked > forked"
    );
    let daemon = site.daemon("n1", &["--on-primary", &primary]);
    site.wait_for_file("forked");
    daemon.prints(PATIENCE, "the command for primary has ended");
    assert_eq!(processes_with(&sleep), [""; 0], "{}", daemon.transcript());
    daemon.prints(PATIENCE, "a process that a command left behind");
    leads_throughout(&site, "n1", Duration::from_millis(1_500));
}

#[test]
fn a_flood_of_output_is_cut_and_delays_nothing() {
    let site = Site::new(Version::Newest);
    site.init("n1");
    let primary = "(yes out & yes err >&2 & sleep 3; kill $!); printf '\\033[2J\\377end'";
    let mut daemon = site.daemon("n1", &["--on-primary", primary, "--hook-timeout", "10s"]);
    leads_throughout(&site, "n1", Duration::from_secs(2));
    daemon.prints(PATIENCE, "bytes more, which are not logged");
    eventually(PATIENCE, "its descendants' end", || processes_with("yes out").is_empty());
    daemon.signal(Signal::TERM);
    assert!(daemon.exited(PATIENCE).success());
    let printed = daemon.transcript();
    // 64 KiB in lines of four bytes, each with some 60 of its own.
    assert!(printed.len() < 2_000_000, "{} bytes", printed.len());
    assert!(!printed.contains('\u{1b}'), "an escape sequence in the log");
}

#[test]
fn a_node_whose_primary_command_fails_steps_down() {
    let site = Site::new(Version::Newest);
    site.init("n1");
    site.init("n2");
    let gate = "test -e allowed";
    let first = site.daemon("n1", &["--on-primary", gate]);
    first.prints(PATIENCE, "the node steps down");
    let mut second = site.daemon("n2", &["--on-primary", "true"]);
    site.wait_for_lead("n2");
    first.prints(PATIENCE, "ended with exit status: 1");
    fs::write(site.path("allowed"), "").unwrap();
    site.of("n2", &["transfer", "n1"]).succeeded();
    leads_throughout(&site, "n1", Duration::from_millis(1_500));
    second.signal(Signal::TERM);
    assert!(second.exited(PATIENCE).success());
    let printed = second.transcript();
    assert!(!printed.contains("the node steps down"), "{printed}");
}

#[test]
fn the_lease_is_released_only_after_the_passive_command() {
    let site = Site::new(Version::Newest);
    site.init("n1");
    site.init("n2");
    let passive = "env | grep ^LEASEHOLD_ | sort > variables; sleep 1; echo stopped > stopped";
    let _first = site.daemon("n1", &["--on-passive", passive]);
    site.wait_for_lead("n1");
    let next = "cat stopped > seen; echo $LEASEHOLD_EVENT $LEASEHOLD_LEADER >> seen";
    let _second = site.daemon("n2", &["--on-primary", next]);
    site.wait("n2", "the second", |status| status["daemon"] == true);
    site.of("n1", &["demote"]).succeeded();
    site.wait_for_lead("n2");
    eventually(PATIENCE, "the next one's command", || {
        fs::read_to_string(site.path("seen")).is_ok_and(|seen| seen == "stopped\nprimary n2\n")
    });
    let variables = site.wait_for_file("variables");
    for line in [
        "LEASEHOLD_CAUSE=resigned: step-down",
        "LEASEHOLD_CLUSTER=orders",
        "LEASEHOLD_EPOCH=1",
        "LEASEHOLD_EVENT=passive",
        "LEASEHOLD_LEADER=\n",
        "LEASEHOLD_NODE=n1",
    ] {
        assert!(variables.contains(line), "{line} in {variables}");
    }
}

/// The service may still run, so no other node leads before the lease has expired.
#[test]
fn a_lease_whose_passive_command_fails_or_hangs_is_not_released() {
    let site = Site::new(Version::Newest);
    for node in ["n1", "n2"] {
        site.init(node);
        site.change(node, |config| config["election"]["drainTimeoutMs"] = 300.into());
    }
    let witness = crate::support::nats::Client::connect(&site.server.url());
    let key = witness.subscribe("$KV.cluster-orders.lease");
    let first = site.daemon("n1", &["--on-passive", "exit 3"]);
    site.wait_for_lead("n1");
    let hangs = ["--on-passive", "sleep 60", "--hook-timeout", "100ms"];
    let second = site.daemon("n2", &hangs);
    site.wait("n2", "the second", |status| status["daemon"] == true);
    site.of("n1", &["demote"]).succeeded();
    site.wait_for_lead("n2");
    site.of("n2", &["demote"]).succeeded();
    site.wait_for_lead("n1");
    first.prints(PATIENCE, "passive ended with exit status: 3");
    second.prints(PATIENCE, "did not end within 100ms");
    let records: Vec<_> = key.drain().iter().map(crate::support::nats::Message::json).collect();
    let released = records.iter().any(|record| record["clean"] == true);
    assert!(records.len() >= 3 && !released, "{records:?}");
}

/// It is killed before the passive command starts, and long before its time is up.
#[test]
fn a_primary_command_is_killed_when_the_term_ends() {
    let mut site = Site::new(Version::Newest);
    site.init("n1");
    let sleep = unique_sleep("lost");
    let primary = format!("trap '' TERM; {sleep}; {sleep}");
    let passive = format!("pgrep -fx '{sleep}' > alive; echo $LEASEHOLD_CAUSE > cause");
    let arguments = ["--on-primary", &primary, "--on-passive", &passive, "--hook-timeout", "10m"];
    let mut daemon = site.daemon("n1", &arguments);
    eventually(PATIENCE, "it", || !processes_with(&sleep).is_empty());
    site.server.kill();
    assert_eq!(site.wait_for_file("cause"), "expired: no renewal succeeded in time\n");
    assert_eq!(fs::read_to_string(site.path("alive")).unwrap(), "");
    daemon.prints(PATIENCE, "was cancelled");
    daemon.signal(Signal::INT);
    assert!(daemon.exited(PATIENCE).success());
}

/// A second signal does not wait for a command that hangs.
#[test]
fn a_second_signal_ends_the_daemon_and_what_its_commands_started() {
    let site = Site::new(Version::Newest);
    site.init("n1");
    let sleep = unique_sleep("second");
    let passive = format!("trap '' TERM; setsid {sleep} & (setsid sh -c '{sleep}' &); {sleep}");
    let arguments = ["--on-passive", &passive, "--hook-timeout", "10m"];
    let mut daemon = site.daemon("n1", &arguments);
    site.wait_for_lead("n1");
    daemon.signal(Signal::TERM);
    eventually(PATIENCE, "all of them", || processes_with(&sleep).len() >= 4);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.exited(PATIENCE).code(), Some(1), "{}", daemon.transcript());
    assert_eq!(processes_with(&sleep), [""; 0]);
}

#[test]
fn a_daemon_with_a_blocked_log_keeps_leading() {
    let site = Site::new(Version::Newest);
    site.init("n1");
    // Full after 64 KiB: the reader is open and does not read.
    let log = site.path("log");
    let made = std::process::Command::new("mkfifo").arg(&log).status().expect("`mkfifo` is there");
    assert!(made.success());
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&log).expect("its own");
    let script =
        format!("exec {} -c n1.json --log-level trace daemon >log 2>&1", crate::site::PROGRAM);
    let mut command = crate::support::process::bound_command("/bin/sh");
    command.current_dir(site.folder.path()).arg("-c").arg(script);
    let mut daemon = Process::spawn(command);
    leads_throughout(&site, "n1", Duration::from_secs(4));
    site.of("n1", &["leave"]).succeeded();
    assert!(daemon.exited(PATIENCE).success());
}

#[test]
fn signals_stop_the_daemon_and_reload_the_configuration() {
    let site = Site::new(Version::Newest);
    site.init("n1");
    let mut daemon = site.daemon("n1", &["--json"]);
    site.wait_for_lead("n1");
    let file = site.path("n1.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["election"]["meta"] = serde_json::json!({ "address": "10.0.0.7:80" });
    fs::write(&file, config.to_string()).unwrap();
    daemon.signal(Signal::HUP);
    daemon.prints(PATIENCE, "election.meta applies");
    let witness = crate::support::nats::Client::connect(&site.server.url());
    let key = witness.subscribe("$KV.cluster-orders.lease");
    let renewal = key.next(PATIENCE).expect("a renewal").json();
    assert_eq!(renewal["meta"]["address"], "10.0.0.7:80");
    config["election"]["leaseTtlMs"] = 2_000.into();
    fs::write(&file, config.to_string()).unwrap();
    daemon.signal(Signal::HUP);
    daemon.prints(PATIENCE, "restart: election.leaseTtlMs");
    fs::write(&file, "{").unwrap();
    daemon.signal(Signal::HUP);
    daemon.prints(PATIENCE, "the file is refused, the old configuration stays: ");
    assert_eq!(site.server.version(), Version::Newest);
    daemon.signal(Signal::TERM);
    assert!(daemon.exited(PATIENCE).success());
    let log = daemon.transcript();
    let lines = log.lines().filter_map(|line| line.strip_prefix("stderr: "));
    for line in lines {
        let line: Value = serde_json::from_str(line).expect("each line is JSON");
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    let released = key.drain().last().expect("a release").json();
    assert_eq!((&released["node_id"], &released["clean"]), (&"".into(), &true.into()));
}

#[test]
fn a_reload_before_the_node_has_started_sends_no_ready() {
    let site = Site::new(Version::Newest);
    site.init("n1");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    site.change("n1", |config| {
        let server = silent.local_addr().expect("bound").to_string();
        config["nats"]["servers"] = serde_json::json!([server]);
        config["nats"]["connectTimeoutMs"] = 60_000.into();
    });
    let path = site.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let environment = [("NOTIFY_SOCKET", path.to_str().expect("text"))];
    let mut daemon = site.daemon_with("n1", &[], &environment);
    let _asked = silent.accept().expect("it connects");
    daemon.signal(Signal::HUP);
    daemon.prints(PATIENCE, "the node has not started yet");
    daemon.signal(Signal::TERM);
    let states = notified(&socket, "STOPPING=1");
    assert!(!states.iter().any(|state| state.contains("READY")), "{states:?}");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.exited(PATIENCE).code(), Some(1));
}

/// The notifications to systemd up to the one that starts with `wanted`.
fn notified(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let mut states = Vec::new();
    while !states.iter().any(|state: &String| state.starts_with(wanted)) {
        let mut buffer = [0; 512];
        let length =
            socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{wanted}: {e} {states:?}"));
        states.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    states
}

#[test]
fn systemd_gets_readiness_watchdog_reload_and_stop() {
    let site = Site::new(Version::Newest);
    let name = format!("leasehold-test-{}", std::process::id());
    let path = site.path("notify");
    let hidden = SocketAddr::from_abstract_name(&name).unwrap();
    for (node, socket, shown) in [
        ("n1", UnixDatagram::bind(&path).unwrap(), path.display().to_string()),
        ("n2", UnixDatagram::bind_addr(&hidden).unwrap(), format!("@{name}")),
    ] {
        site.init(node);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let environment = [("NOTIFY_SOCKET", shown.as_str()), ("WATCHDOG_USEC", "600000")];
        let change = "env | grep -c NOTIFY_SOCKET > inherited";
        let mut daemon = site.daemon_with(node, &["--on-change", change], &environment);
        notified(&socket, "READY=1");
        notified(&socket, &format!("STATUS=PRIMARY, leader {node}"));
        for _ in 0..3 {
            notified(&socket, "WATCHDOG=1");
        }
        daemon.signal(Signal::HUP);
        assert!(notified(&socket, "RELOADING=1").last().unwrap().contains("\nMONOTONIC_USEC="));
        notified(&socket, "READY=1");
        assert_eq!(site.wait_for_file("inherited"), "0\n");
        daemon.signal(Signal::TERM);
        notified(&socket, "STOPPING=1");
        assert!(daemon.exited(PATIENCE).success());
    }
}

/// A stream that is too small for a record.
#[test]
fn a_refusal_of_the_server_is_logged_and_shown_until_it_is_over() {
    let site = Site::new(Version::Newest);
    site.init("n1");
    let client = Client::connect(&site.server.url());
    let bucket = Bucket::of_cluster(&client, "orders");
    let mut config = bucket.usual_config();
    config["max_bytes"] = 100.into();
    bucket.create(&config).expect("created");
    let daemon = site.daemon("n1", &[]);
    let status = site.wait("n1", "the problem", |status| !status["problem"].is_null());
    let problem = status["problem"].as_str().expect("a text").to_owned();
    assert!(problem.starts_with("the server said 10077: "), "{problem}");
    let text = site.of("n1", &["status"]).succeeded().stdout;
    assert!(text.contains(&format!("problem     {problem}\n")), "{text}");
    let all = site.of("n1", &["status", "--all"]).succeeded().stdout;
    assert!(all.contains(&problem), "{all}");
    bucket.update(&bucket.usual_config()).expect("updated");
    let status = site.wait_for_lead("n1");
    assert!(status["problem"].is_null(), "{status}");
    let told = format!("WARN  n1 has a problem: {problem}");
    assert_eq!(daemon.transcript().matches(&told).count(), 1, "{}", daemon.transcript());
}
