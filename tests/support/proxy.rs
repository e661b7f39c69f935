//! A wire with faults: a TCP proxy that can fall silent, be cut, refuse, delay and stall.
//!
//! TCP cannot lose a byte, so loss is seen as what it causes: stalls, silence and resets. One
//! thread does everything with sockets that never block, and takes its orders between two turns:
//! when a call such as [`Proxy::freeze`] has returned, the order is in force.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_linger;

use super::port::Port;

/// How much is on its way in one direction of one connection before the sender has to wait.
const CAPACITY: usize = 64;

/// Largest piece that is read at once.
const PIECE: usize = 16 * 1024;

/// A direction of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From clients to the server.
    ToServer,
    /// From the server to clients.
    ToClient,
}

use Direction::{ToClient, ToServer};

/// A proxy in front of one address; its thread and its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    orders: Sender<(Order, Sender<()>)>,
    bell: UnixStream,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Forwards connections on a free loopback port to `target`.
    pub fn start(target: SocketAddr) -> Self {
        let port = Port::reserve();
        let address = port.address();
        let (orders, inbox) = channel();
        let (bell, wake) = UnixStream::pair().expect("a socket pair");
        wake.set_nonblocking(true).expect("a non-blocking socket");
        let counters = Arc::new(Counters::default());
        let wire = Wire {
            listener: Some(listen(&port)),
            port,
            target,
            inbox,
            wake,
            connections: Vec::new(),
            faults: Faults::default(),
            counters: Arc::clone(&counters),
        };
        let thread = thread::Builder::new().name("proxy".into()).spawn(move || wire.run());
        Self { address, orders, bell, counters, thread: Some(thread.expect("a thread")) }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where NATS clients connect.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Forwards nothing and closes nothing; new connections are accepted and stay mute.
    pub fn freeze(&self) {
        self.order(Order::Freeze([true; 2]));
    }

    /// Forwards nothing in one direction, a one-way black hole; the other one flows.
    pub fn freeze_only(&self, direction: Direction) {
        self.order(Order::Freeze([direction == ToServer, direction == ToClient]));
    }

    /// Forwards everything again, first what was held back.
    pub fn thaw(&self) {
        self.order(Order::Freeze([false; 2]));
    }

    /// Resets every connection; new ones are served.
    pub fn cut(&self) {
        self.order(Order::Cut);
    }

    /// Refuses new connections; those that stand go on.
    pub fn refuse(&self) {
        self.order(Order::Listen(false));
    }

    /// Takes new connections again.
    pub fn accept(&self) {
        self.order(Order::Listen(true));
    }

    /// Delays everything in `direction`; the order of bytes is kept.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.order(Order::Delay(direction, delay));
    }

    /// Stalls one piece in `one_in` at random for at most `longest`, both ways; the choice follows
    /// from `seed`. `one_in` 0 ends it.
    pub fn stall(&self, seed: u64, one_in: u64, longest: Duration) {
        self.order(Order::Stall(Stall { state: seed, one_in, longest }));
    }

    /// How many connections it has forwarded to the server so far.
    pub fn connections(&self) -> u64 {
        self.order(Order::Settle);
        self.counters.connections.load(Ordering::SeqCst)
    }

    /// How many bytes it has forwarded in `direction` so far.
    pub fn forwarded(&self, direction: Direction) -> u64 {
        self.order(Order::Settle);
        self.counters.bytes[direction as usize].load(Ordering::SeqCst)
    }

    fn order(&self, order: Order) {
        let (done, confirmation) = channel();
        let _ = self.orders.send((order, done));
        let _ = (&self.bell).write_all(b"!");
        let _ = confirmation.recv();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.order(Order::End);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the proxy panicked");
        }
    }
}

#[derive(Debug)]
enum Order {
    Freeze([bool; 2]),
    Cut,
    Listen(bool),
    Delay(Direction, Duration),
    Stall(Stall),
    /// Nothing but an answer: what was forwarded before is counted by then.
    Settle,
    End,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    bytes: [AtomicU64; 2],
}

/// What is wrong with the wire at present.
#[derive(Debug, Default)]
struct Faults {
    frozen: [bool; 2],
    delays: [Duration; 2],
    stall: Stall,
}

impl Faults {
    fn delay(&mut self, direction: Direction) -> Duration {
        self.delays[direction as usize] + self.stall.draw()
    }
}

#[derive(Debug, Default)]
struct Stall {
    state: u64,
    one_in: u64,
    longest: Duration,
}

impl Stall {
    fn draw(&mut self) -> Duration {
        if self.one_in == 0 || self.random() % self.one_in != 0 {
            return Duration::ZERO;
        }
        self.longest * u32::try_from(self.random() % 1000).unwrap_or(0) / 1000
    }

    /// `SplitMix64`.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// What the thread owns.
#[derive(Debug)]
struct Wire {
    listener: Option<TcpListener>,
    port: Port,
    target: SocketAddr,
    inbox: Receiver<(Order, Sender<()>)>,
    wake: UnixStream,
    connections: Vec<Connection>,
    faults: Faults,
    counters: Arc<Counters>,
}

impl Wire {
    fn run(mut self) {
        loop {
            self.wait();
            let _ = self.wake.read(&mut [0; 64]);
            while let Ok((order, done)) = self.inbox.try_recv() {
                let ends = matches!(order, Order::End);
                self.obey(order);
                let _ = done.send(());
                if ends {
                    return;
                }
            }
            self.take_connections();
            self.forward();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Freeze(frozen) => self.faults.frozen = frozen,
            Order::Delay(direction, delay) => self.faults.delays[direction as usize] = delay,
            Order::Stall(stall) => self.faults.stall = stall,
            Order::Listen(false) => self.listener = None,
            Order::Listen(true) => {
                self.listener.get_or_insert_with(|| listen(&self.port));
            }
            Order::Settle => {}
            Order::Cut | Order::End => self.connections.drain(..).for_each(Connection::reset),
        }
    }

    fn take_connections(&mut self) {
        while let Some(Ok((client, _))) = self.listener.as_ref().map(TcpListener::accept) {
            self.connections.push(Connection::new(client));
        }
    }

    fn forward(&mut self) {
        for connection in std::mem::take(&mut self.connections) {
            match connection.turn(self.target, &mut self.faults, &self.counters) {
                Ok(Some(connection)) => self.connections.push(connection),
                Ok(None) => {}
                Err(connection) => connection.reset(),
            }
        }
    }

    /// Returns when there may be something to do. Whatever is frozen is not looked at: a peer that
    /// hangs up would be reported again and again, and a silent wire does not tell it.
    fn wait(&self) {
        let now = Instant::now();
        let mut watched = vec![PollFd::new(&self.wake, PollFlags::IN)];
        watched.extend(self.listener.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        let mut next: Option<Instant> = None;
        for connection in &self.connections {
            for (direction, lane) in [(ToServer, &connection.up), (ToClient, &connection.down)] {
                if self.faults.frozen[direction as usize] {
                    continue;
                }
                let (from, to) = connection.ends(direction);
                if lane.wants_more() {
                    watched.extend(from.map(|socket| PollFd::new(socket, PollFlags::IN)));
                }
                match lane.due() {
                    Some(due) if due <= now => {
                        watched.extend(to.map(|socket| PollFd::new(socket, PollFlags::OUT)));
                    }
                    due => next = [next, due].into_iter().flatten().min(),
                }
            }
        }
        let timeout = next.map(|next| timespec(next - now));
        let _ = poll(&mut watched, timeout.as_ref());
    }
}

/// One client and, from the moment the wire to it is open, the server.
#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: Option<TcpStream>,
    up: Lane,
    down: Lane,
}

impl Connection {
    fn new(client: TcpStream) -> Self {
        let _ = prepare(&client);
        Self { client, server: None, up: Lane::default(), down: Lane::default() }
    }

    /// Forwards what can be; `None` when both ends are done, an error when one has failed.
    fn turn(
        mut self,
        target: SocketAddr,
        faults: &mut Faults,
        counters: &Counters,
    ) -> Result<Option<Self>, Self> {
        if self.server.is_none() && !faults.frozen[ToServer as usize] {
            match connect(target) {
                Ok(server) => self.server = Some(server),
                Err(_) => return Err(self),
            }
            counters.connections.fetch_add(1, Ordering::SeqCst);
        }
        let Some(server) = &self.server else { return Ok(Some(self)) };
        let up = self.up.turn(&self.client, server, ToServer, faults, counters);
        let down = self.down.turn(server, &self.client, ToClient, faults, counters);
        match up.and(down) {
            Ok(()) if self.up.ended && self.down.ended => Ok(None),
            Ok(()) => Ok(Some(self)),
            Err(_) => Err(self),
        }
    }

    fn ends(&self, direction: Direction) -> (Option<&TcpStream>, Option<&TcpStream>) {
        match direction {
            // Nothing is read from a client before there is somebody to send it to.
            ToServer => (self.server.as_ref().map(|_| &self.client), self.server.as_ref()),
            ToClient => (self.server.as_ref(), Some(&self.client)),
        }
    }

    /// Closes both ends so that their peers see a reset and not an orderly end.
    fn reset(self) {
        for socket in [Some(&self.client), self.server.as_ref()].into_iter().flatten() {
            let _ = set_socket_linger(socket, Some(Duration::ZERO));
        }
    }
}

/// What is on its way in one direction of one connection; an empty piece is the sender's end.
#[derive(Debug, Default)]
struct Lane {
    pieces: VecDeque<(Instant, Vec<u8>)>,
    read_all: bool,
    ended: bool,
}

impl Lane {
    fn wants_more(&self) -> bool {
        !self.read_all && self.pieces.len() < CAPACITY
    }

    fn due(&self) -> Option<Instant> {
        self.pieces.front().map(|(due, _)| *due)
    }

    fn turn(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        direction: Direction,
        faults: &mut Faults,
        counters: &Counters,
    ) -> io::Result<()> {
        if faults.frozen[direction as usize] {
            return Ok(());
        }
        self.read(from, || faults.delay(direction))?;
        self.write(to, &counters.bytes[direction as usize])
    }

    fn read(
        &mut self,
        mut from: &TcpStream,
        mut delay: impl FnMut() -> Duration,
    ) -> io::Result<()> {
        let mut buffer = [0; PIECE];
        while self.wants_more() {
            let Some(count) = unless_blocked(from.read(&mut buffer))? else { break };
            self.read_all = count == 0;
            let due = Instant::now() + delay();
            let due = self.pieces.back().map_or(due, |(last, _)| due.max(*last));
            self.pieces.push_back((due, buffer[..count].to_vec()));
        }
        Ok(())
    }

    fn write(&mut self, mut to: &TcpStream, counter: &AtomicU64) -> io::Result<()> {
        let now = Instant::now();
        while let Some((_, piece)) = self.pieces.front_mut().filter(|(due, _)| *due <= now) {
            if piece.is_empty() {
                self.ended = true;
                let _ = to.shutdown(Shutdown::Write);
                self.pieces.clear();
                break;
            }
            let Some(count) = unless_blocked(to.write(piece))? else { break };
            counter.fetch_add(count as u64, Ordering::SeqCst);
            piece.drain(..count);
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        Ok(())
    }
}

fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        result => result.map(Some),
    }
}

fn listen(port: &Port) -> TcpListener {
    let listener = port.listen();
    listener.set_nonblocking(true).expect("a non-blocking socket");
    listener
}

/// On loopback a server answers at once or not at all.
fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let server = TcpStream::connect_timeout(&target, Duration::from_secs(1))?;
    prepare(&server)?;
    Ok(server)
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
