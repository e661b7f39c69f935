//! Nothing is left behind by daemons that have ended and commands that were given.

use std::fs::read_dir;
use std::time::Duration;

use leasehold::health::{self, HealthCheck, HealthCheckSettings, Responder};
use leasehold::manager::Manager;

use crate::daemons::{Daemon, PATIENCE, config, operator, telling};
use crate::support::alone::alone;
use crate::support::server::NatsServer;
use crate::support::version::Version;
use crate::support::wait::eventually;

const LIMIT: Duration = Duration::from_secs(20);

fn count(of: &str) -> usize {
    read_dir(format!("/proc/self/{of}")).expect("procfs").count()
}

fn once(url: &str) {
    let config = config(url, "node-1").build().expect("a valid configuration");
    let daemon = Daemon::start(Manager::builder(config.clone()).hooks(telling().0));
    daemon.leads();
    let gate = HealthCheck::start(daemon.node(), HealthCheckSettings::default(), || true)
        .expect("a thread");
    operator(url, "node-9").join(LIMIT).expect("a server");
    let operator = operator(url, "node-1");
    operator.status(LIMIT).expect("a daemon");
    let mut watch = operator.watch(Duration::from_millis(100)).expect("a thread");
    watch.next_timeout(Duration::from_millis(300));
    health::query(&config, "node-1", LIMIT).expect("an answer");
    let responder = Responder::standalone(&config).expect("a thread");
    operator.leave(LIMIT).expect("it ends");
    drop((watch, responder, gate, daemon));
}

#[test]
fn daemons_and_commands_leave_no_thread_and_no_descriptor() {
    alone(|| {
        let server = NatsServer::start(Version::Newest);
        let url = server.url();
        once(&url);
        let settled = || (count("task"), count("fd"));
        // What is put away on the side takes a moment.
        let mut before = settled();
        eventually(PATIENCE, "what is on its way out to be gone", || {
            std::thread::sleep(Duration::from_millis(200));
            let same = settled() == before;
            before = settled();
            same
        });
        for _ in 0..8 {
            once(&url);
        }
        eventually(PATIENCE, "the threads to end", || count("task") <= before.0);
        eventually(PATIENCE, "the descriptors to be closed", || count("fd") <= before.1);
    });
}
