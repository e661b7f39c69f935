//! The manager over real servers: the daemon, and what an operator does to it from other processes,
//! here other managers that share nothing with it.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, never};
use leasehold::manager::{ClusterView, Manager, WatchEvent};
use leasehold::{Config, Event, Hooks, Leadership, ManagerError, Role};
use serde_json::json;

use crate::daemons::{Daemon, PATIENCE, config, operator, telling};
use crate::support::bucket::Bucket;
use crate::support::nats::Client;
use crate::support::port::Port;
use crate::support::proxy::Proxy;
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::{eventually, eventually_some};

/// For what has nothing to wait for.
const LIMIT: Duration = Duration::from_secs(20);
/// How long is listened for who is there.
const LISTEN: Duration = Duration::from_millis(500);

#[test]
fn init_writes_a_file_that_loads_and_creates_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("etc/orders/cluster.json");
    let manager = operator("nats://127.0.0.1:1", "node-1");
    manager.init(&file).unwrap();
    assert_eq!(Config::load(&file).unwrap(), *manager.config());
    let nowhere = manager.init("/proc/nowhere/cluster.json").unwrap_err();
    assert_eq!(nowhere.exit_code(), 2);
    assert!(nowhere.to_string().contains("/proc/nowhere"), "{nowhere}");
}

on_both_servers!(join_and_status_work_without_a_bucket, |version| {
    let server = NatsServer::start(version);
    let manager = operator(&server.url(), "node-1");
    let view = manager.join(LIMIT).unwrap();
    assert!(view.connected && view.nodes.is_empty() && view.leader.is_none());
    let status = manager.status(LIMIT).unwrap();
    assert_eq!((status.cluster_id.as_str(), status.node_id.as_str()), ("orders", "node-1"));
    assert_eq!((status.role, status.epoch, status.leader), (Role::Follower, 0, None));
    assert!(status.connected && !status.daemon && status.problem.is_none());
    let client = Client::connect(&server.url());
    assert!(Bucket::of_cluster(&client, "orders").info().is_err(), "no bucket was made");
    assert!(!manager.is_running() && manager.node().is_none());
    for (command, error) in [
        ("promote", manager.promote(false, LIMIT).unwrap_err()),
        ("demote", manager.demote(LIMIT).unwrap_err()),
        ("leave", manager.leave(LIMIT).unwrap_err()),
        ("query", manager.query("node-1", LIMIT).unwrap_err()),
    ] {
        assert!(
            matches!(error, ManagerError::NoDaemon { ref node } if node == "node-1"),
            "{command}"
        );
        assert_eq!(error.exit_code(), 4);
    }
    let error = manager.transfer("node-2", LIMIT).unwrap_err();
    assert!(matches!(error, ManagerError::NoLeader { .. }), "{error}");
    assert!(matches!(manager.transfer("a b", LIMIT), Err(ManagerError::NodeId(_))));
});

#[test]
fn without_a_server_a_status_says_why_and_commands_fail() {
    let server = NatsServer::start(Version::Newest);
    let manager = operator(&server.url(), "node-1");
    drop(server);
    let short = Duration::from_millis(300);
    let status = manager.status(short).unwrap();
    assert!(!status.connected && !status.daemon);
    assert!(matches!(manager.query("a b", short), Err(ManagerError::NodeId(_))), "not sent");
    assert!(status.problem.unwrap().starts_with("no connection to nats://127.0.0.1:"));
    let config = manager.config().to_builder().connect_timeout(short).build().unwrap();
    let quick = Manager::new(config);
    for error in [
        manager.join(short).unwrap_err(),
        manager.query_all(short, short).unwrap_err(),
        manager.demote(short).unwrap_err(),
        quick.run(&never()).unwrap_err(),
    ] {
        assert!(matches!(error, ManagerError::Store(_)), "{error:?}");
        assert!(!error.to_string().contains('\n') && error.exit_code() == 1);
    }
    assert!(!manager.is_running());
    let mut watch = manager.watch(Duration::from_millis(100)).unwrap();
    let view = eventually_some(PATIENCE, "a view", || match watch.next_timeout(LISTEN) {
        Some(WatchEvent::View(view)) => Some(view),
        _ => None,
    });
    assert!(!view.connected && view.nodes.is_empty() && view.problem.is_some());
}

/// One refuses connections, one keeps silent, one refuses the credentials.
#[test]
fn a_failure_names_each_server_with_its_reason() {
    let [refusing, silent] = [Port::reserve(), Port::reserve()];
    let listener = std::net::TcpListener::bind(silent.address()).unwrap();
    let guarded = NatsServer::builder(Version::Newest).user("ada", "secret").start();
    let urls = [refusing.address(), silent.address()].map(|address| format!("nats://{address}"));
    let urls = [&urls[..], &[guarded.url()]].concat();
    let config = config(&urls[0], "node-1").servers(urls.clone());
    let manager = Manager::new(config.connect_timeout(Duration::from_secs(1)).build().unwrap());
    let reasons = ["refused", "it stayed silent", "refused the credentials: Authorization"];
    let text = manager.query_all(LISTEN, 3 * LISTEN + PATIENCE / 10).unwrap_err().to_string();
    assert!(text.starts_with("no connection to "), "{text}");
    for (url, reason) in urls.iter().zip(reasons) {
        let part =
            text.split("nats://").find(|part| url.ends_with(part.split(' ').next().unwrap()));
        assert!(part.is_some_and(|part| part.contains(reason)), "{url}: {text}");
    }
    drop(listener);
}

/// Another server may have other users.
#[test]
fn a_server_that_refuses_the_credentials_does_not_end_a_command() {
    let guarded = NatsServer::builder(Version::Newest).user("ada", "secret").start();
    let open = NatsServer::start(Version::Newest);
    let config = config(&open.url(), "node-1").servers([guarded.url(), open.url()]);
    let manager = Manager::new(config.build().unwrap());
    let view = manager.query_all(LISTEN, LIMIT).unwrap();
    assert_eq!(view.server.as_deref(), Some(open.url().as_str()));
    // Each of them refuses: waiting does not help.
    let other = NatsServer::builder(Version::Newest).user("ada", "secret").start();
    let config = manager.config().to_builder().servers([guarded.url(), other.url()]);
    let begun = Instant::now();
    let error = Manager::new(config.build().unwrap()).query_all(LISTEN, PATIENCE).unwrap_err();
    assert!(begun.elapsed() < PATIENCE / 2, "{error}");
    assert_eq!(error.to_string().matches("refused the credentials").count(), 2, "{error}");
}

on_both_servers!(a_daemon_leads_calls_its_hooks_and_stops_in_time, |version| {
    let server = NatsServer::start(version);
    let (hooks, told) = telling();
    let manager = Manager::builder(config(&server.url(), "node-1").build().unwrap()).hooks(hooks);
    let daemon = Daemon::start(manager);
    let token = daemon.leads();
    let manager = &daemon.manager;
    let status = manager.status(LIMIT).unwrap();
    assert!(manager.is_running() && status.connected && status.daemon);
    assert_eq!((status.role, status.leader.as_deref()), (Role::Leader, Some("node-1")));
    assert_eq!(status.epoch, token.epoch().as_u64());

    let running = |error: &ManagerError| matches!(error, ManagerError::AlreadyRunning { .. });
    assert!(manager.run(&never()).is_err_and(|error| running(&error)));
    assert!(manager.join(LIMIT).is_err_and(|error| running(&error)));

    eventually(PATIENCE, "the hook", || told.len() >= 3);
    let begun = Instant::now();
    let manager = std::sync::Arc::clone(&daemon.manager);
    let stopped = daemon.stop().unwrap();
    // The stop timeout is 5 s; that it takes milliseconds is not for a loaded machine to show.
    assert!(!stopped.left_to_expire && begun.elapsed() < Duration::from_secs(10));
    assert!(!token.is_valid() && !manager.is_running());
    let lines: Vec<_> = told.try_iter().filter(|line| !line.starts_with("leader")).collect();
    assert!(lines[0] == "start" && lines.last().unwrap() == "stop", "{lines:?}");
    let count = |what: &str| lines.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!((count("ready node-1"), count("became"), count("lost")), (1, 1, 1), "{lines:?}");

    let client = Client::connect(&server.url());
    let record = Bucket::of_cluster(&client, "orders").read("lease").unwrap().json();
    assert_eq!((&record["node_id"], &record["clean"]), (&json!(""), &json!(true)));
    // It can run again.
    let (stop, stopped) = bounded(1);
    thread::scope(|scope| {
        let again = scope.spawn(|| manager.run(&stopped));
        eventually(PATIENCE, "it to lead again", || {
            manager.node().is_some_and(|node| node.is_leader())
        });
        stop.send(()).unwrap();
        again.join().unwrap().unwrap();
    });
});

on_both_servers!(operators_read_and_command_from_other_processes, |version| {
    let server = NatsServer::start(version);
    let url = server.url();
    let one = Daemon::of(&url, "node-1");
    let epoch = one.leads().epoch().as_u64();
    let two = Daemon::of(&url, "node-2");
    two.node().wait_for_leader(PATIENCE).unwrap();
    let [op1, op2] = ["node-1", "node-2"].map(|name| operator(&url, name));

    let status = op1.status(LIMIT).unwrap();
    assert!(status.daemon && status.role == Role::Leader && status.epoch == epoch);
    assert!(
        status.uptime_ms > 0 && status.lease_remaining_ms.is_some() && !status.session.is_empty()
    );
    let view = op2.query_all(LISTEN, LIMIT).unwrap();
    assert_eq!((view.leader.as_deref(), view.epoch), (Some("node-1"), epoch));
    assert!(view.lease_remaining_ms.is_some_and(|left| left > 0 && left <= view.lease_ttl_ms));
    let names: Vec<_> = view.nodes.iter().map(|node| node.status.node_id.as_str()).collect();
    assert_eq!(names, ["node-1", "node-2"]);
    assert!(view.nodes.iter().all(|node| !node.round_trip.is_zero() && node.status.daemon));
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!((&json["leader"], &json["nodes"][1]["role"]), (&json!("node-1"), &json!("PASSIVE")));
    assert!(json["nodes"][0]["roundTripMs"].as_f64() > Some(0.0));

    let error = op2.demote(LIMIT).unwrap_err();
    assert!(matches!(error, ManagerError::NotLeader { .. }), "{error:?}");
    assert_eq!(error.to_string(), "node-2 is not the leader, node-1 is");
    assert_eq!(error.exit_code(), 3);
    let error = op2.promote(false, LIMIT).unwrap_err();
    assert!(
        matches!(&error, ManagerError::OtherLeader { leader } if leader == "node-1"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 3);
    assert_eq!(op1.promote(false, LIMIT).unwrap().epoch, epoch, "it leads already");

    let status = op1.demote(LIMIT).unwrap();
    assert_eq!((status.role, status.lease_remaining_ms), (Role::Follower, None));
    two.leads();
    assert_eq!(op1.promote(true, LIMIT).unwrap().role, Role::Leader);
    assert!(one.node().is_leader() && !two.node().is_leader());
    let status = op1.transfer("node-2", LIMIT).unwrap();
    assert_eq!((status.node_id.as_str(), status.role), ("node-2", Role::Leader));
    let error = op1.transfer("node-9", LIMIT).unwrap_err();
    assert!(matches!(error, ManagerError::NoDaemon { ref node } if node == "node-9"), "{error}");
    assert!(two.node().is_leader(), "nothing was given up for a node that is not there");

    let mut two = two;
    op2.leave(LIMIT).unwrap();
    assert!(!two.ended().unwrap().left_to_expire);
    one.leads();
    assert!(matches!(op2.leave(LIMIT), Err(ManagerError::NoDaemon { .. })));
    let status = op2.status(LIMIT).unwrap();
    assert!(!status.daemon && status.connected);
    assert_eq!(status.leader.as_deref(), Some("node-1"), "as an observer sees it");
});

on_both_servers!(a_manager_commands_its_own_daemon_directly, |version| {
    let server = NatsServer::start(version);
    let url = server.url();
    // Over NATS that is not possible.
    let quiet = |name: &str| {
        let config = config(&url, name).build().unwrap();
        Manager::builder(config).control(false)
    };
    let (one, two) = (Daemon::start(quiet("node-1")), Daemon::start(quiet("node-2")));
    let leads = |daemon: &Daemon| daemon.node().is_leader();
    eventually(PATIENCE, "a leader", || leads(&one) || leads(&two));
    let (holder, other) = if leads(&one) { (one, two) } else { (two, one) };
    let name = |daemon: &Daemon| daemon.manager.config().node_id().to_owned();
    other.node().wait_for_leader(PATIENCE).unwrap();

    let refused = operator(&url, &name(&holder)).demote(LIMIT).unwrap_err();
    assert!(matches!(refused, ManagerError::Refused { .. }), "{refused}");
    assert_eq!(refused.exit_code(), 7);
    assert!(matches!(other.manager.demote(LIMIT), Err(ManagerError::NotLeader { .. })));
    let error = other.manager.promote(false, LIMIT).unwrap_err();
    assert!(matches!(error, ManagerError::OtherLeader { ref leader } if *leader == name(&holder)));
    let error = other.manager.promote(true, LIMIT).unwrap_err();
    assert!(matches!(error, ManagerError::Refused { .. }), "the leader takes no commands: {error}");

    let status = holder.manager.demote(LIMIT).unwrap();
    assert_eq!(status.role, Role::Follower);
    other.leads();
    let (short, begun) = (Duration::from_millis(200), Instant::now());
    let (mut holder, other) = (holder, other);
    holder.node().set_healthy(false);
    other.manager.demote(LIMIT).unwrap();
    let error = holder.manager.promote(false, short);
    assert!(error.is_err() && begun.elapsed() < PATIENCE, "unfit: {error:?}");
    holder.manager.leave(LIMIT).unwrap();
    holder.ended().unwrap();
});

on_both_servers!(a_promotion_that_cannot_succeed_times_out, |version| {
    let server = NatsServer::start(version);
    let daemon = Daemon::of(&server.url(), "node-1");
    daemon.leads();
    // A node that holds the lease and is gone.
    let client = Client::connect(&server.url());
    let bucket = Bucket::of_cluster(&client, "orders");
    let mut record = bucket.read("lease").unwrap().json();
    record["node_id"] = json!("ghost");
    record["session"] = json!("00000000000000000000000000000001");
    record["epoch"] = json!(record["epoch"].as_u64().unwrap() + 1);
    bucket.put("lease", record.to_string()).unwrap();
    eventually(PATIENCE, "it to be deposed", || !daemon.node().is_leader());
    let known = || daemon.node().leader().as_deref() == Some("ghost");
    eventually(PATIENCE, "it to know the ghost", known);
    let operator = operator(&server.url(), "node-1");
    let error = operator.promote(false, LIMIT).unwrap_err();
    assert!(matches!(error, ManagerError::OtherLeader { ref leader } if leader == "ghost"));
    let error = operator.promote(true, LIMIT).unwrap_err();
    assert!(matches!(error, ManagerError::NoDaemon { ref node } if node == "ghost"), "{error}");
});

on_both_servers!(a_second_daemon_of_a_node_does_not_start_while_the_first_answers, |version| {
    let server = NatsServer::start(version);
    let first = Daemon::of(&server.url(), "node-1");
    let token = first.leads();
    let again = |name: &str| {
        let config = config(&server.url(), name).build().unwrap();
        Daemon::launch(Manager::builder(config))
    };
    let mut second = again("node-1");
    let error = second.ended().unwrap_err();
    assert!(matches!(error, ManagerError::AlreadyRunning { .. }), "{error}");
    assert_eq!(error.exit_code(), 6);
    assert!(token.is_valid() && !second.manager.is_running());
    // A checker of go-cluster v1 counts, too.
    let client = Client::connect(&server.url());
    let checker = client.subscribe("cluster.orders.health.v1");
    let mut third = again("v1");
    let question = checker.next(PATIENCE).expect("the question");
    client.publish(&question.reply.unwrap(), r#"{"nodeId":"v1","role":"PASSIVE"}"#);
    let error = third.ended().unwrap_err();
    assert!(matches!(error, ManagerError::AlreadyRunning { .. }), "{error}");
});

on_both_servers!(one_of_two_daemons_of_a_node_started_at_once_leads, |version| {
    let server = NatsServer::start(version);
    // Neither answers requests, so neither finds the other, as at the very same moment.
    let quiet = || {
        let config = config(&server.url(), "node-1").build().unwrap();
        let (hooks, told) = telling();
        let manager = Manager::builder(config).health(false).service(false).hooks(hooks);
        (Daemon::launch(manager), told)
    };
    let [(one, first), (two, second)] = [quiet(), quiet()];
    let started = |daemon: &Daemon| daemon.manager.node().is_some();
    eventually(PATIENCE, "both to start", || started(&one) && started(&two));
    let leads = |daemon: &Daemon| daemon.node().is_leader();
    eventually(PATIENCE, "one to lead", || leads(&one) || leads(&two));
    eventually(PATIENCE, "one to report the other", || {
        assert!(!(leads(&one) && leads(&two)), "two leaders");
        first.try_iter().chain(second.try_iter()).any(|line| line == "duplicate")
    });
});

on_both_servers!(a_transfer_to_an_unhealthy_node_is_refused, |version| {
    let server = NatsServer::start(version);
    let url = server.url();
    let one = Daemon::of(&url, "node-1");
    let token = one.leads();
    let two = Daemon::of(&url, "node-2");
    two.node().set_healthy(false);
    let operator = operator(&url, "node-1");
    let error = operator.transfer("node-2", LIMIT).unwrap_err();
    assert_eq!(error.to_string(), "node-2 refuses: unhealthy");
    two.node().set_healthy(true);
    assert!(token.is_valid());
    operator.transfer("node-2", LIMIT).unwrap();
    assert!(!token.is_valid());
});

on_both_servers!(reading_commands_write_nothing_and_never_lead, |version| {
    let server = NatsServer::start(version);
    let url = server.url();
    let mut daemon = Daemon::of(&url, "node-1");
    daemon.leads();
    daemon.manager.stop();
    daemon.ended().unwrap();
    // The lease is released: any candidate would lead at once.
    let client = Client::connect(&url);
    let bucket = Bucket::of_cluster(&client, "orders");
    let before = bucket.info().unwrap()["state"].clone();
    let (asked, absent) = (operator(&url, "node-2"), operator(&url, "node-3"));
    let responder = leasehold::health::Responder::standalone(asked.config()).unwrap();
    eventually(PATIENCE, "the responder to connect", || responder.is_connected());
    let mut health = leasehold::health::Client::connect(asked.config(), LIMIT).unwrap();
    let mut watch = absent.watch(Duration::from_millis(100)).unwrap();
    for call in 0..1000 {
        match call % 100 {
            0 => drop(absent.join(LIMIT).unwrap()),
            1 => drop(absent.query_all(Duration::from_millis(20), LIMIT).unwrap()),
            2..6 => assert!(!absent.status(LIMIT).unwrap().daemon),
            6 => drop(asked.status(LIMIT).unwrap()),
            7 => {
                if let Some(WatchEvent::Election(Event::BecameLeader(_))) =
                    watch.next_timeout(LISTEN)
                {
                    panic!("an observer led");
                }
            }
            _ => drop(health.query("node-2", LIMIT).unwrap()),
        }
    }
    assert_eq!(bucket.info().unwrap()["state"], before);
});

/// Hooks that hang in the wrong moment.
struct Hanging(crossbeam_channel::Receiver<()>);

impl Hooks for Hanging {
    fn on_lose_leadership(&mut self, _: leasehold::Epoch, _: &leasehold::Cause) {
        let _ = self.0.recv();
    }

    fn on_become_leader(&mut self, _: Leadership) {}
}

impl leasehold::manager::DaemonHooks for Hanging {}

on_both_servers!(a_hanging_hook_does_not_keep_the_daemon_from_stopping, |version| {
    let server = NatsServer::start(version);
    let (release, held) = bounded(0);
    let config = config(&server.url(), "node-1").stop_timeout(Duration::from_millis(500));
    let daemon = Daemon::start(Manager::builder(config.build().unwrap()).hooks(Hanging(held)));
    daemon.leads();
    let begun = Instant::now();
    let stopped = daemon.stop().unwrap();
    // The work may go on, so the lease is not released.
    assert!(stopped.left_to_expire && begun.elapsed() < PATIENCE);
    drop(release);
});

on_both_servers!(a_promotion_waits_for_the_work_of_the_leader_or_times_out, |version| {
    let server = NatsServer::start(version);
    let url = server.url();
    let (release, held) = bounded(0);
    // Neither the drain nor the lease runs out meanwhile.
    let patient = |name: &str| {
        let config = config(&url, name).drain_timeout(2 * PATIENCE).lease_ttl(2 * PATIENCE);
        Manager::builder(config.build().unwrap())
    };
    let one = Daemon::start(patient("node-1").hooks(Hanging(held)));
    one.leads();
    let two = Daemon::start(patient("node-2"));
    let operator = Manager::new(two.manager.config().clone());
    let error = operator.promote(true, Duration::from_secs(1)).unwrap_err();
    let ManagerError::TimedOut { waiting_for } = &error else { panic!("{error}") };
    assert_eq!((waiting_for.as_str(), error.exit_code()), ("node-2 to lead", 5));
    assert!(!one.node().is_leader() && !two.node().is_leader(), "the work may go on");
    let asked = Instant::now();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| operator.promote(true, LIMIT));
        drop(release);
        assert_eq!(waiting.join().unwrap().unwrap().role, Role::Leader);
    });
    assert!(asked.elapsed() < PATIENCE);
});

on_both_servers!(a_watch_reports_nodes_that_come_lead_and_go, |version| {
    let server = NatsServer::start(version);
    let url = server.url();
    let mut watch = operator(&url, "watcher").watch(Duration::from_millis(100)).unwrap();
    let mut seen = |what: &str, wanted: &dyn Fn(&WatchEvent) -> bool| {
        eventually_some(PATIENCE, what, || watch.next_timeout(LISTEN).filter(|event| wanted(event)))
    };
    let one = Daemon::of(&url, "node-1");
    seen(
        "node-1 to be up",
        &|event| matches!(event, WatchEvent::NodeUp { node_id } if node_id == "node-1"),
    );
    seen("a view with the leader and its lease", &|event| match event {
        WatchEvent::View(view) => {
            view.leader.as_deref() == Some("node-1")
                && view.lease_remaining_ms.is_some_and(|left| left > 0)
                && view.nodes.iter().any(|node| node.status.role == Role::Leader)
        }
        _ => false,
    });
    let two = Daemon::of(&url, "node-2");
    one.stop().unwrap();
    seen("node-2 to say it leads", &|event| match event {
        WatchEvent::RoleChanged { node_id, role: Role::Leader } => node_id == "node-2",
        WatchEvent::View(view) => view
            .nodes
            .iter()
            .any(|node| node.status.node_id == "node-2" && node.status.role == Role::Leader),
        _ => false,
    });
    seen(
        "node-1 to be down",
        &|event| matches!(event, WatchEvent::NodeDown { node_id } if node_id == "node-1"),
    );
    drop(two);
});

// A client with the permission to subscribe to the subjects of a node may send any response.
on_both_servers!(a_response_in_the_name_of_another_node_is_refused, |version| {
    let server = NatsServer::start(version);
    let forger = Client::connect(&server.url());
    let heard = forger.subscribe("cluster_orders.status.node-1");
    let operator = operator(&server.url(), "node-1");
    for forged in [r#"{"nodeId":"node-2","role":"PRIMARY"}"#, "[", r#"{"nodeId":"\u202enode-1"}"#] {
        let asked = thread::scope(|scope| {
            let asking = scope.spawn(|| (operator.promote(false, LIMIT), operator.status(LIMIT)));
            for _ in 0..2 {
                let question = heard.next(PATIENCE).expect("a question");
                forger.publish(&question.reply.expect("a reply subject"), forged);
            }
            asking.join().unwrap()
        });
        let (Err(ManagerError::Refused { node, reason }), Ok(status)) = asked else {
            panic!("{forged}: {asked:?}")
        };
        assert_eq!((node.as_str(), reason.as_str()), ("node-1", "its response cannot be parsed"));
        assert_eq!((status.role, status.connected, status.daemon), (Role::Follower, true, false));
        assert!(status.problem.is_some_and(|problem| problem.contains("cannot be parsed")));
    }
});

// No node answers, and the observer, which sends nothing for half a minute, has not noticed.
on_both_servers!(a_watch_reports_a_frozen_connection, |version| {
    let server = NatsServer::start(version);
    // Where there is no record, it looks for one all the time.
    let daemon = Daemon::of(&server.url(), "node-1");
    daemon.leads();
    let proxy = Proxy::start(server.address());
    let mut watch = operator(&proxy.url(), "watcher").watch(Duration::from_millis(100)).unwrap();
    let mut view = |what: &str, wanted: &dyn Fn(&ClusterView) -> bool| {
        eventually_some(2 * PATIENCE, what, || match watch.next_timeout(LISTEN) {
            Some(WatchEvent::View(view)) if wanted(&view) => Some(view),
            _ => None,
        })
    };
    view("a connection", &|view| view.connected && view.problem.is_none());
    proxy.freeze();
    let troubled = view("the silence to be noticed", &|view| view.problem.is_some());
    assert!(!troubled.connected && troubled.server.is_none(), "{troubled:?}");
    proxy.thaw();
    view("the connection again", &|view| view.connected && view.problem.is_none());
});

on_both_servers!(nodes_with_only_a_health_responder_are_listed, |version| {
    let server = NatsServer::start(version);
    let config = config(&server.url(), "node-1").build().unwrap();
    let daemon = Daemon::start(Manager::builder(config).service(false));
    daemon.leads();
    daemon.manager.set_custom("zone", "a").unwrap();
    let operator = operator(&server.url(), "node-1");
    let view = operator.query_all(LISTEN, LIMIT).unwrap();
    assert_eq!(view.nodes.len(), 1);
    assert_eq!(view.nodes[0].status.role, Role::Leader);
    let refused = operator.demote(LIMIT).unwrap_err();
    assert!(matches!(refused, ManagerError::Refused { .. }), "{refused}");
    let health = leasehold::health::query(operator.config(), "node-1", LIMIT).unwrap().health;
    assert_eq!(health.custom["zone"], "a");
});
