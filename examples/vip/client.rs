//! A client that sends a request to an address every 0.2 ms and records which host answers.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::netns::{Host, eventually};

const PORT: u16 = 7_777;
const INTERVAL: Duration = Duration::from_micros(200);
const PATIENCE: Duration = Duration::from_secs(20);

/// One response: to which request, from which host, and when it arrived.
#[derive(Clone, Copy)]
struct Answer {
    question: u32,
    host: usize,
    at: Instant,
}

pub(crate) struct Client {
    answers: Arc<Mutex<Vec<Answer>>>,
    over: Arc<AtomicBool>,
}

impl Client {
    /// The last host sends requests. The others answer while they have the address.
    pub(crate) fn start(hosts: &[Host; 3], ip: IpAddr) -> Self {
        for (name, host) in (0..).zip(&hosts[..2]) {
            host.run(move || {
                let socket = UdpSocket::bind(("::", PORT)).expect("the port is free");
                thread::spawn(move || answer(&socket, name));
            });
        }
        let client = Self { answers: Arc::default(), over: Arc::default() };
        let (answers, over) = (Arc::clone(&client.answers), Arc::clone(&client.over));
        hosts[2].run(move || {
            let socket = UdpSocket::bind(("::", 0)).expect("there is a free port");
            let receiver = socket.try_clone().expect("sockets can be cloned");
            thread::spawn(move || listen(&receiver, &answers));
            thread::spawn(move || ask(&socket, ip, &over));
        });
        client
    }

    /// Waits until a host answers.
    pub(crate) fn wait_for(&self, host: usize) {
        let answers = || self.answers.lock().expect("no thread of ours panics");
        eventually("an answer", PATIENCE, || latest_run(&answers(), host).is_some());
    }

    /// Waits until `host` answers, and returns how long no host answered before.
    pub(crate) fn gap_to(&self, host: usize) -> Duration {
        self.wait_for(host);
        let answers = self.answers.lock().expect("no thread of ours panics");
        let first = latest_run(&answers, host).expect("it was waited for");
        let before = answers[..first].last().expect("another host held the address before");
        answers[first].at.saturating_duration_since(before.at)
    }

    /// Counts the responses. Sorted by request, there must be no more changes of host than
    /// handovers. More changes mean that two hosts had the address at once.
    pub(crate) fn check(&self, handovers: usize) -> Result<usize, String> {
        let mut answers = self.answers.lock().expect("no thread of ours panics").clone();
        // Sorted, because a late response does not mean a second holder.
        answers.sort_by_key(|answer| answer.question);
        let pairs = || answers.windows(2).map(|pair| (pair[0], pair[1]));
        if let Some((twice, _)) = pairs().find(|(a, b)| a.question == b.question) {
            return Err(format!("question {} was answered twice", twice.question));
        }
        let changes = pairs().filter(|(a, b)| a.host != b.host).count();
        if changes > handovers {
            return Err(format!("{handovers} handovers, but {changes} changes of host"));
        }
        Ok(answers.len())
    }
}

/// Where the last run of responses begins, if it is from this host.
fn latest_run(answers: &[Answer], host: usize) -> Option<usize> {
    let run = answers.iter().rev().take_while(|answer| answer.host == host).count();
    (run > 0).then(|| answers.len() - run)
}

impl Drop for Client {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn ask(socket: &UdpSocket, ip: IpAddr, over: &AtomicBool) {
    let to = match ip {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), PORT),
        IpAddr::V6(_) => SocketAddr::new(ip, PORT),
    };
    for question in 0_u32.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        // This fails while no host has the address.
        let _ = socket.send_to(&question.to_be_bytes(), to);
        thread::sleep(INTERVAL);
    }
}

fn answer(socket: &UdpSocket, name: u8) {
    let mut question = [0; 4];
    while let Ok((_, from)) = socket.recv_from(&mut question) {
        let [a, b, c, d] = question;
        let _ = socket.send_to(&[a, b, c, d, name], from);
    }
}

fn listen(socket: &UdpSocket, answers: &Mutex<Vec<Answer>>) {
    let mut answer = [0; 5];
    while socket.recv_from(&mut answer).is_ok() {
        let [a, b, c, d, host] = answer;
        let question = u32::from_be_bytes([a, b, c, d]);
        let answer = Answer { question, host: host.into(), at: Instant::now() };
        answers.lock().expect("no thread of ours panics").push(answer);
    }
}
