//! The part of a node's process: a node with virtual IPs, and a service behind them.
//!
//! The service answers every question, also when it may not: then it says so, which shows who can
//! be reached under the address, and that is told in the log. An answer is a JSON object with
//!
//! * `question`, as it was asked;
//! * `node`, who answers, and `at`, when;
//! * `epoch`, if the node led at an instant after `at`, else null.
//!
//! It is sent *from* the virtual IP, as those of a server with connections are. The kernel refuses
//! that where the address is not: what a stopped process says when it goes on is heard by nobody.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Weak};
use std::thread;

use leasehold::vip::{Holder, Policy, VirtualAddress, Worker};
use leasehold::{Epoch, Node, NodeBuilder};
use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt::set_ip_freebind};
use serde_json::{Value, json};

use crate::nodes::{child, now};

/// The virtual IP that is asked.
pub(crate) const IPV4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
/// Every virtual IP of the cluster.
pub(crate) const ALL: [&str; 2] = ["10.0.0.10", "fd00::10"];
/// Where the service listens.
pub(crate) const PORT: u16 = 7_777;

/// Becomes a node with a service if the parent has given this process the part.
pub(crate) fn play() {
    child::run_if_child_with(
        |builder, _| with_addresses(builder),
        |node, _| {
            let (name, socket) = (node.config().node_id().to_owned(), listen());
            let node = Arc::downgrade(node);
            thread::spawn(move || serve(&node, &name, &socket));
        },
    );
}

fn with_addresses(builder: NodeBuilder) -> NodeBuilder {
    let address = |ip: &str| VirtualAddress::new(ip.parse().unwrap(), "eth0").unwrap();
    let holder = Holder::new(ALL.map(address).to_vec(), Policy::default()).unwrap();
    let worker = Worker::start(holder).unwrap();
    let events = worker.events();
    thread::spawn(move || {
        for event in events {
            child::say("vip", json!({ "what": format!("{event:?}") }));
        }
    });
    builder.vip(worker)
}

/// Bound to an address that is not there yet: what is asked under another one is not answered.
fn listen() -> UdpSocket {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    set_ip_freebind(&socket, true).unwrap();
    bind(&socket, &SocketAddrV4::new(IPV4, PORT)).unwrap();
    socket.into()
}

fn serve(node: &Weak<Node>, name: &str, socket: &UdpSocket) -> io::Result<()> {
    let mut question = [0; 4];
    loop {
        let (_, from) = socket.recv_from(&mut question)?;
        let question = u32::from_be_bytes(question);
        let (at, epoch) = permission(node);
        let answer = json!({ "question": question, "node": name, "at": at, "epoch": epoch });
        let sent = socket.send_to(answer.to_string().as_bytes(), from).is_ok();
        if epoch.is_none() {
            child::say("declined", json!({ "at": at, "question": question, "sent": sent }));
        }
    }
}

/// When it was asked for, and the epoch under which a question that came before may be answered.
fn permission(node: &Weak<Node>) -> (u64, Option<Epoch>) {
    let token = node.upgrade().and_then(|node| node.leadership());
    // After the term began and before the check: the term is in force at this very moment.
    let at = now();
    (at, token.and_then(|token| token.ensure().ok()))
}

/// An answer that reached the client.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) question: u64,
    pub(crate) node: String,
    /// When it was given.
    pub(crate) at: u64,
    /// `None` when the node said that it does not lead.
    pub(crate) epoch: Option<u64>,
    /// When it was here.
    pub(crate) received: u64,
}

impl Answer {
    pub(crate) fn parse(text: &[u8], received: u64) -> Self {
        let answer: Value = serde_json::from_slice(text).expect("the service speaks JSON");
        Self {
            question: answer["question"].as_u64().unwrap(),
            node: answer["node"].as_str().unwrap().to_owned(),
            at: answer["at"].as_u64().unwrap(),
            epoch: answer["epoch"].as_u64(),
            received,
        }
    }
}
