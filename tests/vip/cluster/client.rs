//! A client that sends requests to the virtual IP all the time, and keeps the responses.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::member::{Answer, IPV4, PORT};
use crate::netns::Host;
use crate::nodes::{millis_between, now};
use crate::support::wait::{eventually, eventually_some};

/// How often it asks.
const PACE: Duration = Duration::from_millis(1);
/// How long a handover may take on an overloaded machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often it looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(100);

pub(crate) struct Client {
    /// In the order in which the answers came.
    answers: Arc<Mutex<Vec<Answer>>>,
    over: Arc<AtomicBool>,
    threads: [JoinHandle<()>; 2],
}

impl Client {
    /// Asks from `host` on.
    pub(crate) fn start(host: &Host) -> Self {
        let (answers, over) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (log, stop) = (Arc::clone(&answers), Arc::clone(&over));
        // Their threads are made by the host's: they are where it is.
        let threads = host.run(move || {
            let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("there is a free port");
            socket.set_read_timeout(Some(GLANCE)).unwrap();
            let (ears, no_more) = (socket.try_clone().unwrap(), Arc::clone(&stop));
            let listener = thread::spawn(move || listen(&ears, &log, &no_more));
            [listener, thread::spawn(move || ask(&socket, &stop))]
        });
        Self { answers, over, threads }
    }

    /// Returns when `node` serves.
    #[track_caller]
    pub(crate) fn served_by(&self, node: &str) {
        eventually(PATIENCE, &format!("{node} to serve"), || {
            let answers = self.answers.lock().unwrap();
            answers.last().is_some_and(|last| last.node == node && last.epoch.is_some())
        });
    }

    /// For how many milliseconds no node served, before `node` did for the first time after `from`.
    #[track_caller]
    pub(crate) fn gap_to(&self, node: &str, from: u64) -> f64 {
        eventually_some(PATIENCE, &format!("{node} to serve"), || {
            let answers = self.answers.lock().unwrap();
            let mut served = answers.iter().filter(|answer| answer.epoch.is_some());
            let mut before = served.next()?;
            for answer in served {
                if answer.received >= from && answer.node == node {
                    return Some(millis_between(before.received, answer.received));
                }
                before = answer;
            }
            None
        })
    }

    /// When the newest response of `node` as the leader arrived.
    pub(crate) fn last_served_by(&self, node: &str) -> Option<u64> {
        let answers = self.answers.lock().unwrap();
        let mut newest = answers.iter().rev();
        newest.find(|answer| answer.node == node && answer.epoch.is_some()).map(|a| a.received)
    }

    /// Stops, and returns the responses in the order in which they came.
    pub(crate) fn finish(self) -> Vec<Answer> {
        self.over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("the client does not panic");
        }
        let mut answers = self.answers.lock().unwrap();
        std::mem::take(&mut *answers)
    }
}

fn ask(socket: &UdpSocket, over: &AtomicBool) {
    for question in 0_u32.. {
        if over.load(Ordering::SeqCst) {
            return;
        }
        // While no host has the address, sending fails.
        let _ = socket.send_to(&question.to_be_bytes(), (IPV4, PORT));
        thread::sleep(PACE);
    }
}

fn listen(socket: &UdpSocket, answers: &Mutex<Vec<Answer>>, over: &AtomicBool) {
    let mut answer = [0; 500];
    while !over.load(Ordering::SeqCst) {
        let Ok((length, from)) = socket.recv_from(&mut answer) else { continue };
        assert_eq!(from, (IPV4, PORT).into(), "answers come from the virtual IP");
        let answer = Answer::parse(&answer[..length], now());
        answers.lock().unwrap().push(answer);
    }
}
