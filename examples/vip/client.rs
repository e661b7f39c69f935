//! A client that asks an address, all the time, which host it is.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::netns::{Host, eventually};

const PORT: u16 = 7_777;
const INTERVAL: Duration = Duration::from_micros(200);
const PATIENCE: Duration = Duration::from_secs(20);

/// One answer: to which question, by which host, and when it was here.
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
    /// The last host asks, the others answer for as long as they have the address.
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
            let ears = socket.try_clone().expect("sockets can be cloned");
            thread::spawn(move || listen(&ears, &answers));
            thread::spawn(move || ask(&socket, ip, &over));
        });
        client
    }

    /// Waits until a host answers.
    pub(crate) fn wait_for(&self, host: usize) {
        let answers = || self.answers.lock().expect("no thread of ours panics");
        eventually("an answer", PATIENCE, || latest_run(&answers(), host).is_some());
    }

    /// Waits until `host` has taken over, and tells how long nobody answered before it did.
    pub(crate) fn gap_to(&self, host: usize) -> Duration {
        self.wait_for(host);
        let answers = self.answers.lock().expect("no thread of ours panics");
        let first = latest_run(&answers, host).expect("it was waited for");
        let before = answers[..first].last().expect("somebody held the address before");
        answers[first].at.saturating_duration_since(before.at)
    }

    /// Counts the answers. Sorted by question they must show one host after the other, with no
    /// more changes than there were handovers: more means that two had the address at a time.
    pub(crate) fn check(&self, handovers: usize) -> Result<usize, String> {
        let mut answers = self.answers.lock().expect("no thread of ours panics").clone();
        // A late answer is no second holder: what counts is who received which question.
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

/// Where the latest run of answers begins, if it is of this host.
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
        // While nobody has the address there is nowhere to send to.
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
