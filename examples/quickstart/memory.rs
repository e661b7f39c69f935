//! The nodes as threads of this process, with the in-memory store.

use std::collections::BTreeMap;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Sender, unbounded};
use leasehold::Node;
use leasehold::clock::Clock;
use leasehold::store::memory::{MemoryLink, MemoryServer};

use crate::Result;
use crate::report::{Command, Kind, Report};
use crate::scenario::{Cluster, NodeReport};

pub(crate) struct Memory {
    server: MemoryServer,
    nodes: BTreeMap<String, Member>,
    reports: Sender<NodeReport>,
}

struct Member {
    commands: Sender<Command>,
    link: MemoryLink,
    thread: JoinHandle<()>,
}

impl Memory {
    pub(crate) fn new(reports: Sender<NodeReport>) -> Self {
        Self { server: MemoryServer::new(), nodes: BTreeMap::new(), reports }
    }

    fn member(&self, node: &str) -> Result<&Member> {
        Ok(self.nodes.get(node).ok_or_else(|| format!("{node} does not run"))?)
    }
}

impl Cluster for Memory {
    fn start(&mut self, node: &str) -> Result<()> {
        let store = self.server.connect(Clock::boot());
        let link = store.link();
        let config = crate::config("quickstart", node, "in.memory")?;
        let started = Node::builder(config).store(store).start()?;
        let (commands, received) = unbounded();
        let (reports, name) = (self.reports.clone(), node.to_owned());
        let thread = thread::spawn(move || {
            let with_time = |report| NodeReport { at: Instant::now(), node: name.clone(), report };
            let ran =
                crate::node::run(started, &received, |report| Ok(reports.send(with_time(report))?));
            if let Err(problem) = ran {
                // After the end of the scenario there is no receiver.
                let _ = reports.send(with_time(Report::plain(Kind::Ended, problem.to_string())));
            }
        });
        self.nodes.insert(node.to_owned(), Member { commands, link, thread });
        Ok(())
    }

    fn send(&mut self, node: &str, command: Command) -> Result<()> {
        Ok(self.member(node)?.commands.send(command)?)
    }

    fn nodes(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    fn crash(&mut self, node: &str) -> Result<&'static str> {
        self.member(node)?.link.cut();
        Ok("is cut off")
    }

    fn rejoin(&mut self, node: &str) -> Result<&'static str> {
        self.member(node)?.link.heal();
        Ok("is reached again")
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let nodes = std::mem::take(&mut self.nodes);
        // Dropping the senders ends all nodes. Only then each thread is waited for.
        let threads: Vec<_> = nodes.into_values().map(|member| member.thread).collect();
        for thread in threads {
            // A panic has been printed already.
            let _ = thread.join();
        }
    }
}
