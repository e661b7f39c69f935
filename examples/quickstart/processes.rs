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
use crate::report::{Kind, Order, Report};
use crate::story::{News, Stage};

pub(crate) struct Processes {
    url: String,
    cluster_id: String,
    nodes: BTreeMap<String, Member>,
    news: Sender<News>,
}

struct Member {
    /// It is to end: that is no news.
    dismissed: Arc<AtomicBool>,
    child: Child,
}

impl Processes {
    pub(crate) fn new(url: &str, news: Sender<News>) -> Self {
        // The server may be one that others use, and this run not the first.
        let cluster_id = format!("quickstart-{:016x}", RandomState::new().hash_one(()));
        Self { url: url.to_owned(), cluster_id, nodes: BTreeMap::new(), news }
    }

    fn spawn(&self, node: &str) -> Result<Member> {
        let dismissed = Arc::new(AtomicBool::new(false));
        let (news, name, expected) = (self.news.clone(), node.to_owned(), Arc::clone(&dismissed));
        let hear = move |line: Option<String>| {
            if line.is_none() && expected.load(Ordering::SeqCst) {
                return;
            }
            let report = line.map_or_else(gone, |line| read(&line));
            // Nobody listens after the end of the story.
            let _ = news.send(News { at: Instant::now(), node: name.clone(), report });
        };
        let child = Child::start(&[NODE, &self.cluster_id, node, &self.url], hear)?;
        Ok(Member { dismissed, child })
    }

    fn member(&mut self, node: &str) -> Result<&mut Member> {
        Ok(self.nodes.get_mut(node).ok_or_else(|| format!("{node} does not run"))?)
    }
}

impl Stage for Processes {
    fn start(&mut self, node: &str) -> Result<()> {
        let member = self.spawn(node)?;
        self.nodes.insert(node.to_owned(), member);
        Ok(())
    }

    fn order(&mut self, node: &str, order: Order) -> Result<()> {
        let line = serde_json::to_string(&order)?;
        self.member(node)?.child.say(&line)
    }

    fn nodes(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    fn crash(&mut self, node: &str) -> Result<&'static str> {
        let member = self.member(node)?;
        member.dismissed.store(true, Ordering::SeqCst);
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
        // All at once, then each is waited for.
        for member in self.nodes.values_mut() {
            member.dismissed.store(true, Ordering::SeqCst);
            member.child.hang_up();
        }
    }
}

fn gone() -> Report {
    Report::plain(Kind::Gone, "has ended unexpectedly".to_owned())
}

fn read(line: &str) -> Report {
    let garbled = |error| Report::plain(Kind::Gone, format!("said {line:?}: {error}"));
    serde_json::from_str(line).unwrap_or_else(garbled)
}
