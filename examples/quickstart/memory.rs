//! The nodes as threads of this process, on the store in memory.

use std::collections::BTreeMap;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Sender, unbounded};
use leasehold::Node;
use leasehold::clock::Clock;
use leasehold::store::memory::{MemoryLink, MemoryServer};

use crate::Result;
use crate::report::{Kind, Order, Report};
use crate::story::{News, Stage};

pub(crate) struct Memory {
    server: MemoryServer,
    nodes: BTreeMap<String, Member>,
    news: Sender<News>,
}

struct Member {
    orders: Sender<Order>,
    link: MemoryLink,
    thread: JoinHandle<()>,
}

impl Memory {
    pub(crate) fn new(news: Sender<News>) -> Self {
        Self { server: MemoryServer::new(), nodes: BTreeMap::new(), news }
    }

    fn member(&self, node: &str) -> Result<&Member> {
        Ok(self.nodes.get(node).ok_or_else(|| format!("{node} does not run"))?)
    }
}

impl Stage for Memory {
    fn start(&mut self, node: &str) -> Result<()> {
        let store = self.server.connect(Clock::boot());
        let link = store.link();
        let config = crate::config("quickstart", node, "in.memory")?;
        let started = Node::builder(config).store(store).start()?;
        let (orders, ordered) = unbounded();
        let (news, name) = (self.news.clone(), node.to_owned());
        let thread = thread::spawn(move || {
            let tell = |report| News { at: Instant::now(), node: name.clone(), report };
            let ran = crate::node::run(started, &ordered, |report| Ok(news.send(tell(report))?));
            if let Err(problem) = ran {
                // Nobody listens after the end of the story.
                let _ = news.send(tell(Report::plain(Kind::Gone, problem.to_string())));
            }
        });
        self.nodes.insert(node.to_owned(), Member { orders, link, thread });
        Ok(())
    }

    fn order(&mut self, node: &str, order: Order) -> Result<()> {
        Ok(self.member(node)?.orders.send(order)?)
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
        // All are told, by the end of their orders, before the first is waited for.
        let threads: Vec<_> = nodes.into_values().map(|member| member.thread).collect();
        for thread in threads {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}
