//! A NATS client of its own, so that a test can look at a server past the library and write what
//! the library would never write.

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

/// Longest wait for a greeting or a round trip.
const LIMIT: Duration = Duration::from_secs(10);

/// A message as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub subject: String,
    /// Where an answer is wanted.
    pub reply: Option<String>,
    /// 503 for "no responders", for example.
    pub status: Option<u16>,
    /// Names and values in their order.
    pub headers: Vec<(String, String)>,
    /// Its payload.
    pub body: Vec<u8>,
}

impl Message {
    /// The value of the header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The payload as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON payload")
    }
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// Nothing came in time.
    Timeout,
    /// Nobody listens on the subject.
    NoResponders,
    /// The connection is gone.
    Disconnected,
}

/// A connection; ended when dropped, and never re-established.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

impl Client {
    /// Connects to `nats://[user:password@]host:port`, plain TCP.
    ///
    /// # Panics
    /// When the server does not answer, or refuses.
    #[track_caller]
    pub fn connect(url: &str) -> Self {
        Self::try_connect(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// Like [`connect`](Self::connect), with the error.
    pub fn try_connect(url: &str) -> io::Result<Self> {
        let (stream, input) = log_in(url)?;
        let writer = Mutex::new(stream.try_clone()?);
        let ids = AtomicU64::new(1);
        let shared = Arc::new(Shared { stream, writer, state: Mutex::default(), ids });
        let for_reader = Arc::clone(&shared);
        let reader = thread::spawn(move || for_reader.read_all(input));
        Ok(Self { shared, reader: Some(reader) })
    }

    /// Publishes; a lost connection shows in the next round trip.
    pub fn publish(&self, subject: &str, body: impl AsRef<[u8]>) {
        self.shared.publish(subject, None, &[], body.as_ref());
    }

    /// Publishes with headers.
    pub fn publish_with_headers(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) {
        self.shared.publish(subject, None, headers, body.as_ref());
    }

    /// Publishes with a reply subject of any kind.
    pub fn publish_with_reply(&self, subject: &str, reply: &str, body: impl AsRef<[u8]>) {
        self.shared.publish(subject, Some(reply), &[], body.as_ref());
    }

    /// Asks, and returns the first answer within `limit`.
    pub fn request(
        &self,
        subject: &str,
        body: impl AsRef<[u8]>,
        limit: Duration,
    ) -> Result<Message, RequestError> {
        self.request_with_headers(subject, &[], body, limit)
    }

    /// Asks with headers.
    pub fn request_with_headers(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
        limit: Duration,
    ) -> Result<Message, RequestError> {
        let inbox = self.inbox();
        let answers = self.listen(&inbox);
        self.shared.publish(subject, Some(&inbox), headers, body.as_ref());
        let answer = answers.receive(limit)?;
        if answer.status == Some(503) {
            return Err(RequestError::NoResponders);
        }
        Ok(answer)
    }

    /// A subject that nobody else listens on.
    pub fn inbox(&self) -> String {
        let local = self.shared.stream.local_addr().map_or(0, |address| address.port());
        format!("_INBOX.witness.{}.{local}.{}", std::process::id(), self.shared.new_id())
    }

    /// Listens on `subject`, wildcards included, until the subscription is dropped. The server has
    /// it when this returns: nothing published afterwards is missed.
    pub fn subscribe(&self, subject: &str) -> Subscription {
        let subscription = self.listen(subject);
        let _ = self.round_trip();
        subscription
    }

    /// Returns when the server has taken everything sent before.
    pub fn round_trip(&self) -> Result<(), RequestError> {
        self.shared.round_trip()
    }

    /// Whether the connection still stands.
    pub fn is_connected(&self) -> bool {
        !self.shared.state().ended
    }

    /// What the server complained of (`-ERR`), a permission violation for example.
    pub fn complaints(&self) -> Vec<String> {
        self.shared.state().complaints.clone()
    }

    fn listen(&self, subject: &str) -> Subscription {
        let (sender, messages) = channel();
        let id = self.shared.new_id();
        let mut state = self.shared.state();
        if !state.ended {
            state.subscribers.insert(id, sender);
        }
        drop(state);
        self.shared.send(format!("SUB {subject} {id}\r\n").as_bytes());
        Subscription { shared: Arc::clone(&self.shared), id, messages }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.shared.stream.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// A connection without a thread: who calls reads and writes the socket itself.
#[derive(Debug)]
pub struct Plain {
    stream: TcpStream,
    input: BufReader<TcpStream>,
}

impl Plain {
    /// Connects, and listens on these subjects.
    ///
    /// # Panics
    /// When the server does not answer, or refuses.
    #[track_caller]
    pub fn connect(url: &str, subjects: &[&str]) -> Self {
        let (stream, input) = log_in(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let mut plain = Self { stream, input };
        for (id, subject) in subjects.iter().enumerate() {
            plain.send(format!("SUB {subject} {id}\r\n").as_bytes());
        }
        plain.send(b"PING\r\n");
        while read_line(&mut plain.input).expect("an answer") != "PONG" {}
        plain
    }

    /// Publishes with headers.
    pub fn publish(&mut self, subject: &str, reply: &str, headers: &[(&str, &str)], body: &[u8]) {
        self.send(&publication(subject, Some(reply), headers, body));
    }

    /// Waits for the next message; `None` once the connection has ended.
    pub fn next(&mut self) -> Option<Message> {
        loop {
            let line = read_line(&mut self.input).ok()?;
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb {
                "PING" => self.send(b"PONG\r\n"),
                "MSG" | "HMSG" => {
                    let read = read_message(verb == "HMSG", rest, &mut self.input);
                    return read.ok().map(|(_, message)| message);
                }
                _ => {}
            }
        }
    }

    /// What ends the connection, for another thread.
    pub fn handle(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor")
    }

    /// A failed write shows in the next read.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }
}

/// Messages of one subject, in their order; unsubscribes when dropped.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    id: u64,
    messages: Receiver<Message>,
}

impl Subscription {
    /// The next message within `limit`.
    pub fn next(&self, limit: Duration) -> Option<Message> {
        self.receive(limit).ok()
    }

    /// All messages that the server has taken before this call and were not asked for yet.
    pub fn drain(&self) -> Vec<Message> {
        // A connection that is gone brings no more.
        let _ = self.shared.round_trip();
        self.messages.try_iter().collect()
    }

    fn receive(&self, limit: Duration) -> Result<Message, RequestError> {
        self.messages.recv_timeout(limit).map_err(RequestError::from)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.state().subscribers.remove(&self.id);
        self.shared.send(format!("UNSUB {}\r\n", self.id).as_bytes());
    }
}

impl From<RecvTimeoutError> for RequestError {
    fn from(error: RecvTimeoutError) -> Self {
        match error {
            RecvTimeoutError::Timeout => Self::Timeout,
            RecvTimeoutError::Disconnected => Self::Disconnected,
        }
    }
}

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    writer: Mutex<TcpStream>,
    state: Mutex<State>,
    ids: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    subscribers: HashMap<u64, Sender<Message>>,
    pongs: VecDeque<Sender<()>>,
    complaints: Vec<String>,
    ended: bool,
}

impl Shared {
    fn new_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn round_trip(&self) -> Result<(), RequestError> {
        let (sender, pong) = channel();
        let mut state = self.state();
        if state.ended {
            return Err(RequestError::Disconnected);
        }
        // Under the lock: the n-th PONG answers the n-th PING.
        state.pongs.push_back(sender);
        self.send(b"PING\r\n");
        drop(state);
        pong.recv_timeout(LIMIT).map_err(RequestError::from)
    }

    /// A failed write needs no report: the reader sees the same end.
    fn send(&self, bytes: &[u8]) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writer.write_all(bytes);
    }

    fn publish(&self, subject: &str, reply: Option<&str>, headers: &[(&str, &str)], body: &[u8]) {
        self.send(&publication(subject, reply, headers, body));
    }

    /// Hands out what comes until the connection ends, and then ends every wait for more.
    fn read_all(&self, mut input: BufReader<TcpStream>) {
        while let Ok(line) = read_line(&mut input) {
            if self.take(&line, &mut input).is_err() {
                break;
            }
        }
        let mut state = self.state();
        let complaints = std::mem::take(&mut state.complaints);
        *state = State { ended: true, complaints, ..State::default() };
    }

    fn take(&self, line: &str, input: &mut impl Read) -> io::Result<()> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "PING" => self.send(b"PONG\r\n"),
            "PONG" => {
                let waiting = self.state().pongs.pop_front();
                waiting.map(|pong| pong.send(()));
            }
            "-ERR" => self.state().complaints.push(rest.trim_matches('\'').to_owned()),
            "MSG" | "HMSG" => self.deliver(verb == "HMSG", rest, input)?,
            _ => {}
        }
        Ok(())
    }

    fn deliver(&self, with_headers: bool, line: &str, input: &mut impl Read) -> io::Result<()> {
        let (id, message) = read_message(with_headers, line, input)?;
        if let Some(subscriber) = self.state().subscribers.get(&id) {
            let _ = subscriber.send(message);
        }
        Ok(())
    }
}

/// A plain socket that the server has logged in.
fn log_in(url: &str) -> io::Result<(TcpStream, BufReader<TcpStream>)> {
    let (credentials, address) = split_url(url);
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut input = BufReader::new(stream.try_clone()?);
    let greeting = read_line(&mut input)?;
    if !greeting.starts_with("INFO ") {
        return Err(io::Error::other(format!("no greeting: {greeting}")));
    }
    let options = connect_options(credentials);
    (&stream).write_all(format!("CONNECT {options}\r\nPING\r\n").as_bytes())?;
    let answer = read_line(&mut input)?;
    if answer != "PONG" {
        return Err(io::Error::other(answer));
    }
    stream.set_read_timeout(None)?;
    Ok((stream, input))
}

/// A message as it is sent.
fn publication(
    subject: &str,
    reply: Option<&str>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let reply = reply.map_or_else(String::new, |reply| format!(" {reply}"));
    let mut frame = if headers.is_empty() {
        format!("PUB {subject}{reply} {}\r\n", body.len())
    } else {
        let block = header_block(headers);
        let total = block.len() + body.len();
        format!("HPUB {subject}{reply} {} {total}\r\n{block}", block.len())
    }
    .into_bytes();
    frame.extend_from_slice(body);
    frame.extend_from_slice(b"\r\n");
    frame
}

/// The rest of a message after its line, and the number of its subscription.
fn read_message(
    with_headers: bool,
    line: &str,
    input: &mut impl Read,
) -> io::Result<(u64, Message)> {
    let malformed = || io::Error::other(format!("malformed: {line}"));
    let words = line.split_whitespace().collect::<Vec<_>>();
    let sizes = if with_headers { 2 } else { 1 };
    let (names, sizes) = words.split_at(words.len().saturating_sub(sizes));
    let sizes = sizes.iter().map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>();
    let sizes = sizes.ok_or_else(malformed)?;
    let total = *sizes.last().ok_or_else(malformed)?;
    let mut bytes = vec![0; total + 2];
    input.read_exact(&mut bytes)?;
    bytes.truncate(total);
    let [subject, id, reply @ ..] = names else { return Err(malformed()) };
    let head = if with_headers { sizes[0].min(total) } else { 0 };
    let mut message = parse_headers(&String::from_utf8_lossy(&bytes[..head]));
    (*subject).clone_into(&mut message.subject);
    message.reply = reply.first().map(ToString::to_string);
    message.body = bytes.split_off(head);
    let id = id.parse::<u64>().map_err(|_| malformed())?;
    Ok((id, message))
}

fn header_block(headers: &[(&str, &str)]) -> String {
    let mut block = String::from("NATS/1.0\r\n");
    for (name, value) in headers {
        block.extend([name, ": ", value, "\r\n"]);
    }
    block + "\r\n"
}

fn parse_headers(block: &str) -> Message {
    let mut lines = block.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Message { status, headers, ..Message::default() }
}

/// `(user:password, host:port)` of a URL.
fn split_url(url: &str) -> (Option<&str>, &str) {
    let rest = url.strip_prefix("nats://").unwrap_or(url);
    match rest.rsplit_once('@') {
        Some((credentials, address)) => (Some(credentials), address),
        None => (None, rest),
    }
}

fn connect_options(credentials: Option<&str>) -> Value {
    let mut options = json!({
        "verbose": false, "pedantic": false, "lang": "test", "version": "0", "name": "witness",
        "headers": true, "no_responders": true, "echo": true, "protocol": 1,
    });
    match credentials.map(|text| text.split_once(':').ok_or(text)) {
        None => {}
        Some(Ok((user, password))) => {
            options["user"] = user.into();
            options["pass"] = password.into();
        }
        Some(Err(token)) => options["auth_token"] = token.into(),
    }
    options
}

fn read_line(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
