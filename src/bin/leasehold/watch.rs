//! `watch`: the cluster live, on a screen, as lines of text, or as lines of JSON.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use leasehold::Manager;
use leasehold::manager::{ClusterView, WatchEvent};
use leasehold::text::printable;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use time::OffsetDateTime;

use super::args::Args;
use super::commands::load;
use super::failure::Failure;
use super::screen::{Frame, draw, scroll_limit};
use super::terminal::{Key, Terminal, is_there};
use super::{output, text};

/// How long a key or an event is waited for; the lease's bar moves as often.
const TICK: Duration = Duration::from_millis(100);
/// Events that are kept.
const KEPT: usize = 200;

pub(super) fn watch(args: &Args, interval: Duration) -> Result<(), Failure> {
    let manager = Manager::new(load(args)?);
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    let news = follow(manager, interval)?;
    match () {
        () if args.json => lines(&news, &ended, in_json),
        () if is_there() => screen(args, &news, &ended),
        () => {
            let mut troubled = None;
            lines(&news, &ended, |event| in_text(event, &mut troubled))
        }
    }
}

/// A question to every node takes its time, which a key must not wait for.
fn follow(manager: Manager, interval: Duration) -> Result<Receiver<WatchEvent>, Failure> {
    let mut watch = manager.watch(interval)?;
    let (sender, news) = sync_channel(64);
    let follower = thread::Builder::new().name("leasehold-watch".into());
    follower.spawn(move || {
        let _manager = manager;
        loop {
            let event = watch.next_timeout(Duration::from_secs(1));
            if event.is_some_and(|event| sender.send(event).is_err()) {
                return;
            }
        }
    })?;
    Ok(news)
}

fn lines(
    news: &Receiver<WatchEvent>,
    ended: &AtomicBool,
    mut line: impl FnMut(&WatchEvent) -> Option<String>,
) -> Result<(), Failure> {
    while !ended.load(Ordering::SeqCst) {
        if let Ok(event) = news.recv_timeout(TICK) {
            if let Some(line) = line(&event) {
                if !output::line(&line)? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn in_json(event: &WatchEvent) -> Option<String> {
    let time = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    let value = match event {
        WatchEvent::View(view) => json!({ "type": "view", "timestamp": time, "view": view }),
        event => json!({
            "type": kind(event), "timestamp": time, "nodeId": node(event), "text": words(event)?,
        }),
    };
    Some(value.to_string())
}

/// The cluster once, and again when it can be seen again or no more; what changes in between comes
/// as events.
fn in_text(event: &WatchEvent, troubled: &mut Option<bool>) -> Option<String> {
    match event {
        WatchEvent::View(view) => {
            let now = Some(view.problem.is_some());
            let changed = std::mem::replace(troubled, now) != now;
            changed.then(|| text::cluster(view).trim_end().to_owned())
        }
        event => Some(format!("{}  {}", clock(), printable(&words(event)?))),
    }
}

fn kind(event: &WatchEvent) -> &'static str {
    match event {
        WatchEvent::Election(leasehold::Event::LeaderChanged { .. }) => "leader",
        WatchEvent::Election(leasehold::Event::Connected { .. }) => "connected",
        WatchEvent::Election(leasehold::Event::Disconnected { .. }) => "disconnected",
        WatchEvent::NodeUp { .. } => "up",
        WatchEvent::NodeDown { .. } => "down",
        WatchEvent::RoleChanged { .. } => "role",
        _ => "other",
    }
}

fn node(event: &WatchEvent) -> Option<&str> {
    match event {
        WatchEvent::NodeUp { node_id }
        | WatchEvent::NodeDown { node_id }
        | WatchEvent::RoleChanged { node_id, .. } => Some(node_id),
        WatchEvent::Election(leasehold::Event::LeaderChanged { leader, .. }) => leader.as_deref(),
        _ => None,
    }
}

/// What happened, for people; nothing for what is no event.
fn words(event: &WatchEvent) -> Option<String> {
    use leasehold::Event;
    Some(match event {
        WatchEvent::View(_) => return None,
        WatchEvent::NodeUp { node_id } => format!("{node_id} answers"),
        WatchEvent::NodeDown { node_id } => format!("{node_id} answers no more"),
        WatchEvent::RoleChanged { node_id, role } => {
            format!("{node_id} is {}", text::role(*role))
        }
        WatchEvent::Election(Event::LeaderChanged { leader: Some(leader), epoch }) => {
            let epoch = epoch.map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
            format!("{leader} leads{epoch}")
        }
        WatchEvent::Election(Event::LeaderChanged { leader: None, .. }) => {
            "nobody is known to lead".to_owned()
        }
        WatchEvent::Election(Event::Connected { server }) => format!("connected to {server}"),
        WatchEvent::Election(Event::Disconnected { error }) => format!("disconnected: {error}"),
        WatchEvent::Election(event) => format!("the watch {event}"),
        _ => return None,
    })
}

/// Hours, minutes and seconds, in UTC.
fn clock() -> String {
    let (hour, minute, second) = OffsetDateTime::now_utc().time().as_hms();
    format!("{hour:02}:{minute:02}:{second:02}")
}

/// What the screen knows.
#[derive(Default)]
struct State {
    /// And when it was made.
    view: Option<(ClusterView, Instant)>,
    events: VecDeque<(String, String)>,
    scroll: usize,
}

impl State {
    fn take(&mut self, event: WatchEvent) {
        if let Some(words) = words(&event) {
            self.events.push_back((clock(), words));
            if self.events.len() > KEPT {
                self.events.pop_front();
            }
        }
        if let WatchEvent::View(view) = event {
            self.view = Some((view, Instant::now()));
        }
    }

    fn key(&mut self, key: Key) {
        let limit = scroll_limit(self.view.as_ref().map(|(view, _)| view));
        match key {
            Key::Up => self.scroll = self.scroll.min(limit).saturating_sub(1),
            Key::Down => self.scroll = (self.scroll + 1).min(limit),
            Key::Quit | Key::Redraw | Key::Other => {}
        }
    }
}

fn screen(args: &Args, news: &Receiver<WatchEvent>, ended: &AtomicBool) -> Result<(), Failure> {
    let colours = output::colours(args.color);
    let mut terminal = Terminal::open()?;
    let mut state = State::default();
    while !ended.load(Ordering::SeqCst) {
        loop {
            match news.try_recv() {
                Ok(event) => state.take(event),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
        let (width, height) = terminal.size();
        let frame = Frame {
            view: state.view.as_ref().map(|(view, _)| view),
            age: state.view.as_ref().map_or(Duration::ZERO, |(_, made)| made.elapsed()),
            events: &state.events,
            now: &format!("{} UTC", clock()),
            scroll: state.scroll,
        };
        let lines = draw(&frame, width, height);
        let painted = lines.iter().map(|line| line.paint(colours)).collect();
        terminal.show(painted)?;
        for key in terminal.keys(TICK)? {
            match key {
                Key::Quit => return Ok(()),
                Key::Redraw => terminal.forget(),
                key => state.key(key),
            }
        }
    }
    Ok(())
}
