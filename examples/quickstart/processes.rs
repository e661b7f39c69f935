//! The nodes as processes, on a server.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::Sender;

use crate::Result;
use crate::arguments::NODE;
use crate::child::Child;
use crate::report::{Command, Kind, Report};
use crate::scenario::{Cluster, NodeReport};

pub(crate) struct Processes {
    url: String,
    cluster_id: String,
    nodes: BTreeMap<String, Member>,
    reports: Sender<NodeReport>,
}

struct Member {
    /// It was told to end: its end is not reported.
    stopping: Arc<AtomicBool>,
    child: Child,
}

impl Processes {
    pub(crate) fn new(url: &str, reports: Sender<NodeReport>) -> Self {
        // The server may be shared, and this may not be the first run on it.
        let cluster_id = format!("quickstart-{:016x}", RandomState::new().hash_one(()));
        Self { url: url.to_owned(), cluster_id, nodes: BTreeMap::new(), reports }
    }

    fn spawn(&self, node: &str) -> Result<Member> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (reports, name, expected) =
            (self.reports.clone(), node.to_owned(), Arc::clone(&stopping));
        let handle = move |line: Option<String>| {
            if line.is_none() && expected.load(Ordering::SeqCst) {
                return;
            }
            let report = line.map_or_else(ended, |line| read(&line));
            // After the end of the scenario there is no receiver.
            let _ = reports.send(NodeReport { at: Instant::now(), node: name.clone(), report });
        };
        let child = Child::start(&[NODE, &self.cluster_id, node, &self.url], handle)?;
        Ok(Member { stopping, child })
    }

    fn member(&mut self, node: &str) -> Result<&mut Member> {
        Ok(self.nodes.get_mut(node).ok_or_else(|| format!("{node} does not run"))?)
    }
}

impl Cluster for Processes {
    fn start(&mut self, node: &str) -> Result<()> {
        let member = self.spawn(node)?;
        self.nodes.insert(node.to_owned(), member);
        Ok(())
    }

    fn send(&mut self, node: &str, command: Command) -> Result<()> {
        let line = serde_json::to_string(&command)?;
        self.member(node)?.child.send(&line)
    }

    fn nodes(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    fn crash(&mut self, node: &str) -> Result<&'static str> {
        let member = self.member(node)?;
        member.stopping.store(true, Ordering::SeqCst);
        member.child.kill()?;
        self.nodes.remove(node);
        Ok("is killed")
    }

    fn rejoin(&mut self, node: &str) -> Result<&'static str> {
        self.start(node)?;
        Ok("is started again")
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // All end at once. Dropping each child waits for it.
        for member in self.nodes.values_mut() {
            member.stopping.store(true, Ordering::SeqCst);
            member.child.close_stdin();
        }
    }
}

fn ended() -> Report {
    Report::plain(Kind::Ended, "has ended unexpectedly".to_owned())
}

fn read(line: &str) -> Report {
    let unreadable = |error| Report::plain(Kind::Ended, format!("printed {line:?}: {error}"));
    serde_json::from_str(line).unwrap_or_else(unreadable)
}
