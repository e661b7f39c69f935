//! The test support tested: what the other tests rest on does what it says.

use std::env;
use std::fs;
use std::io::{BufRead, stdin};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::bucket::Bucket;
use crate::support::nats::{Client, RequestError};
use crate::support::process::Process;
use crate::support::server::NatsServer;
use crate::support::tls::Certificates;
use crate::support::version::Version;
use crate::support::wait::eventually;

/// Nothing here takes long; a loaded machine may.
const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough to see that nothing comes.
const SILENCE: Duration = Duration::from_millis(300);

on_both_servers!(a_started_server_is_of_its_version_and_has_jetstream, |version| {
    let server = NatsServer::start(version);
    let stand_in = env::var("LEASEHOLD_NATS_STAND_IN").ok();
    let number = match version {
        Version::Oldest => stand_in.as_deref().unwrap_or("2.9.10"),
        Version::Newest => "2.15.1",
    };
    assert_eq!(server.monitor().varz()["version"], number);
    assert!(server.log().contains("Server is ready"));
    let client = Client::connect(&server.url());
    let info = client.request("$JS.API.INFO", "", PATIENCE).expect("JetStream answers");
    assert_eq!(info.json()["streams"], 0);
});

on_both_servers!(a_killed_server_keeps_its_port_and_its_store, |version| {
    let mut server = NatsServer::start(version);
    let url = server.url();
    let client = Client::connect(&url);
    let bucket = Bucket::of_cluster(&client, "kept");
    bucket.create(&bucket.usual_config()).expect("created");
    assert_eq!(bucket.put("lease", "first"), Ok(1));

    server.kill();
    eventually(PATIENCE, "the connection to end", || !client.is_connected());
    assert!(Client::try_connect(&url).is_err());

    server.restart();
    assert_eq!(server.url(), url);
    let client = Client::connect(&url);
    let bucket = Bucket::of_cluster(&client, "kept");
    assert_eq!(bucket.read("lease").expect("kept").body, b"first");
});

on_both_servers!(a_stopped_server_ends_in_order_and_starts_again, |version| {
    let mut server = NatsServer::start(version);
    server.stop();
    assert!(server.log().contains("Server Exiting"), "{}", server.log());
    assert!(TcpStream::connect(server.address()).is_err());
    server.restart();
    Client::connect(&server.url()).round_trip().expect("a round trip");
});

on_both_servers!(a_paused_server_answers_nothing_and_loses_nothing, |version| {
    let server = NatsServer::start(version);
    let client = Client::connect(&server.url());
    server.pause();
    assert_eq!(client.request("$JS.API.INFO", "", SILENCE), Err(RequestError::Timeout));
    assert!(client.is_connected());
    server.resume();
    client.round_trip().expect("a round trip");
});

on_both_servers!(a_dropped_server_leaves_neither_process_nor_folder, |version| {
    let server = NatsServer::start(version);
    let process = format!("/proc/{}", server.id().expect("running"));
    let store = server.store().to_owned();
    assert!(store.exists() && Path::new(&process).exists());
    drop(server);
    assert!(!store.exists());
    assert!(!Path::new(&process).exists());
});

on_both_servers!(a_given_store_outlives_its_server, |version| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    drop(NatsServer::builder(version).store(folder.path()).start());
    assert!(folder.path().join("jetstream").exists());
});

on_both_servers!(without_jetstream_there_are_no_responders, |version| {
    let server = NatsServer::builder(version).without_jetstream().start();
    let client = Client::connect(&server.url());
    assert_eq!(client.request("$JS.API.INFO", "", PATIENCE), Err(RequestError::NoResponders));
});

on_both_servers!(credentials_are_demanded, |version| {
    let server = NatsServer::builder(version).user("ada", "secret").start();
    let address = server.address();
    assert!(Client::try_connect(&server.url()).is_err());
    assert!(Client::try_connect(&format!("nats://ada:wrong@{address}")).is_err());
    Client::connect(&format!("nats://ada:secret@{address}")).round_trip().expect("a round trip");

    let server = NatsServer::builder(version).token("t0ken").start();
    assert!(Client::try_connect(&server.url()).is_err());
    Client::connect(&format!("nats://t0ken@{}", server.address()));
});

on_both_servers!(a_server_with_tls_demands_it, |version| {
    let certificates = Certificates::new();
    let server = NatsServer::builder(version).tls(&certificates).start();
    assert_eq!(server.monitor().varz()["tls_required"], true);
    assert!(Client::try_connect(&server.url()).is_err());
    let server = NatsServer::builder(version).tls_with_client_certificate(&certificates).start();
    assert_eq!(server.monitor().varz()["tls_verify"], true);
});

on_both_servers!(the_monitor_counts_connections_and_streams, |version| {
    let server = NatsServer::start(version);
    let client = Client::connect(&server.url());
    let _subscription = client.subscribe("counted.>");
    let connections = server.monitor().connz();
    assert_eq!(connections["connections"][0]["subscriptions_list"], json!(["counted.>"]));
    let bucket = Bucket::of_cluster(&client, "seen");
    bucket.create(&bucket.usual_config()).expect("created");
    let streams = server.monitor().jsz();
    assert_eq!(streams["account_details"][0]["stream_detail"][0]["name"], "KV_cluster-seen");
});

on_both_servers!(messages_carry_headers_and_arrive_in_order, |version| {
    let server = NatsServer::start(version);
    let (here, there) = (Client::connect(&server.url()), Client::connect(&server.url()));
    let inbound = here.subscribe("a.*");
    there.publish_with_headers("a.1", &[("Name", "value"), ("Other", "x:y")], "one");
    there.publish("a.2", "two\r\nlines");
    let first = inbound.next(PATIENCE).expect("the first");
    assert_eq!((first.header("Name"), first.header("Other")), (Some("value"), Some("x:y")));
    assert_eq!((first.subject.as_str(), first.body.as_slice()), ("a.1", &b"one"[..]));
    let second = inbound.next(PATIENCE).expect("the second");
    assert_eq!((second.headers.len(), second.body.as_slice()), (0, &b"two\r\nlines"[..]));
    assert_eq!(inbound.next(SILENCE), None);
    assert_eq!(here.request("nobody", "", PATIENCE), Err(RequestError::NoResponders));
});

on_both_servers!(a_lost_race_is_refused, |version| {
    let server = NatsServer::start(version);
    let client = Client::connect(&server.url());
    let bucket = Bucket::of_cluster(&client, "race");
    assert_eq!(bucket.info().expect_err("not there").code, 10059);
    bucket.create(&bucket.usual_config()).expect("created");
    assert_eq!(bucket.read("lease").expect_err("empty").code, 10037);

    assert_eq!(bucket.compare_and_set("lease", 0, "one"), Ok(1));
    assert_eq!(bucket.compare_and_set("lease", 1, "two"), Ok(2));
    assert_eq!(bucket.compare_and_set("lease", 1, "late").expect_err("a lost race").code, 10071);
    assert_eq!(bucket.read("lease").expect("there").body, b"two");
    assert_eq!(bucket.info().expect("there")["state"]["last_seq"], 2);
});

on_both_servers!(a_key_can_be_deleted_purged_and_the_bucket_too, |version| {
    let server = NatsServer::start(version);
    let client = Client::connect(&server.url());
    let bucket = Bucket::of_cluster(&client, "gone");
    bucket.create(&bucket.usual_config()).expect("created");
    bucket.put("lease", "one").expect("stored");
    bucket.delete_key("lease").expect("deleted");
    assert!(bucket.read("lease").expect("a marker").headers.contains("KV-Operation: DEL"));
    bucket.purge_key("lease").expect("purged");
    assert!(bucket.read("lease").expect("a marker").headers.contains("KV-Operation: PURGE"));
    bucket.purge("lease").expect("removed");
    assert_eq!(bucket.read("lease").expect_err("nothing").code, 10037);
    bucket.delete().expect("deleted");
    assert_eq!(bucket.info().expect_err("no bucket").code, 10059);
    assert_eq!(bucket.put("lease", "x").expect_err("nobody there").description, "NoResponders");
});

on_both_servers!(a_forged_notice_looks_like_one_of_the_server, |version| {
    let server = NatsServer::start(version);
    let client = Client::connect(&server.url());
    let bucket = Bucket::of_cluster(&client, "lies");
    let mut config = bucket.usual_config();
    config["republish"] = json!({ "src": "$KV.cluster-lies.>", "dest": "cluster.lies.kv.>" });
    bucket.create(&config).expect("created");
    let notices = client.subscribe("cluster.lies.kv.>");

    bucket.put("lease", "true").expect("stored");
    let notice = notices.next(PATIENCE).expect("a notice");
    bucket.forge_notice(&notice.subject, "lease", u64::MAX, "false");
    let forged = notices.next(PATIENCE).expect("a lie");
    let names = |message: &crate::support::nats::Message| -> Vec<String> {
        message
            .headers
            .iter()
            .map(|(name, _)| name.clone())
            .filter(|n| n != "Nats-Time-Stamp")
            .collect()
    };
    assert_eq!(names(&notice), names(&forged));
    assert_eq!(forged.header("Nats-Sequence"), Some("18446744073709551615"));
});

/// Names the role that a child of these tests plays.
const ROLE: &str = "LEASEHOLD_TEST_ROLE";

/// What a child process runs: it is one only where its parent has given it the role.
#[test]
fn child() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    println!("not JSON");
    println!("{}", json!({ "event": "started", "id": std::process::id() }));
    for line in stdin().lock().lines().map_while(Result::ok) {
        println!("{}", json!({ "event": "heard", "line": line }));
    }
}

fn start_child() -> Process {
    Process::this_test("support_self::child", &[(ROLE, "echo")])
}

#[test]
fn a_child_hears_and_answers_and_ends() {
    let mut process = start_child();
    assert_eq!(process.json(PATIENCE)["id"], process.id());
    process.say("one");
    process.say("two");
    let heard = process.json_where(PATIENCE, "the second line", |value| value["line"] == "two");
    assert_eq!(heard["event"], "heard");
    process.close_stdin();
    assert!(process.exited(PATIENCE).success());
}

#[test]
fn a_paused_child_is_silent_until_resumed() {
    let mut process = start_child();
    process.json(PATIENCE);
    process.pause();
    process.say("hello");
    assert_eq!(process.try_json_where(SILENCE, |_| true), None);
    process.resume();
    assert_eq!(process.json(PATIENCE)["line"], "hello");
}

#[test]
fn a_killed_child_is_gone() {
    let mut process = start_child();
    let path = format!("/proc/{}", process.id());
    process.json(PATIENCE);
    process.kill();
    assert!(!Path::new(&path).exists());
    assert_eq!(process.exited(PATIENCE).code(), None);
}

/// What a parent runs that is killed: it starts a child and a server, and waits.
#[test]
fn parent() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    let server = NatsServer::start(Version::Newest);
    // Forked for a thread that ends here and now: the child must not mind.
    let child = std::thread::spawn(start_child).join().expect("a started child");
    child.json(PATIENCE);
    println!("{}", json!({ "child": child.id(), "server": server.id() }));
    let _ = stdin().lock().lines().next();
}

#[test]
fn children_and_servers_die_with_a_killed_parent() {
    let mut parent = Process::this_test("support_self::parent", &[(ROLE, "parent")]);
    let ids = parent.json(PATIENCE);
    let running = |id: &serde_json::Value| {
        fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    };
    assert!(running(&ids["child"]) && running(&ids["server"]));
    parent.kill();
    eventually(PATIENCE, "the child and the server to die", || {
        !running(&ids["child"]) && !running(&ids["server"])
    });
}
