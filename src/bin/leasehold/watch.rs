//! `watch`: shows the cluster live, on a screen, as lines of text, or as lines of JSON.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use leasehold::manager::WatchEvent;
use leasehold::text::printable;
use leasehold::utc;
use leasehold::{Event, Manager};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::args::Args;
use super::commands::load;
use super::failure::Failure;
use super::screen::{Frame, draw};
use super::terminal::{Key, Terminal, is_available};
use super::{output, text};

/// The longest wait for a key or an event; the lease's bar is redrawn as often.
const TICK: Duration = Duration::from_millis(100);
/// How many events the screen keeps.
const KEPT: usize = 200;

pub(super) fn watch(args: &Args, interval: Duration) -> Result<(), Failure> {
    let manager = Manager::new(load(args)?);
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    let events = follow(manager, interval)?;
    match () {
        () if args.json => lines(&events, &ended, in_json),
        () if is_available() => screen(args, &events, &ended),
        () => {
            let mut had_problem = None;
            lines(&events, &ended, |event| in_text(event, &mut had_problem))
        }
    }
}

/// Asks the nodes on a thread of its own: a key does not wait for their responses.
fn follow(manager: Manager, interval: Duration) -> Result<Receiver<WatchEvent>, Failure> {
    let mut watch = manager.watch(interval)?;
    let (sender, events) = sync_channel(64);
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
    Ok(events)
}

fn lines(
    events: &Receiver<WatchEvent>,
    ended: &AtomicBool,
    mut line: impl FnMut(&WatchEvent) -> Option<String>,
) -> Result<(), Failure> {
    while !ended.load(Ordering::SeqCst) {
        let line = match events.recv_timeout(TICK) {
            Ok(event) => line(&event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if let Some(line) = line {
            if !output::raw(format!("{line}\n").as_bytes())? {
                break;
            }
        }
    }
    Ok(())
}

fn in_json(event: &WatchEvent) -> Option<String> {
    let time = utc::unix_millis();
    let value = match event {
        WatchEvent::View(view) => json!({ "type": "view", "timestamp": time, "view": view }),
        event => {
            let (kind, node, text) = describe(event)?;
            json!({ "type": kind, "timestamp": time, "nodeId": node, "text": text })
        }
    };
    Some(value.to_string())
}

/// The whole cluster at first and when a problem begins or ends, and events in between.
fn in_text(event: &WatchEvent, had_problem: &mut Option<bool>) -> Option<String> {
    match event {
        WatchEvent::View(view) => {
            let now = Some(view.problem.is_some());
            let changed = std::mem::replace(had_problem, now) != now;
            changed.then(|| text::cluster(view).trim_end().to_owned())
        }
        event => Some(format!("{}  {}", clock(), printable(&describe(event)?.2))),
    }
}

/// The kind of an event and its node, for JSON, and a sentence; `None` for a view.
fn describe(event: &WatchEvent) -> Option<(&'static str, Option<&String>, String)> {
    Some(match event {
        WatchEvent::NodeUp { node_id } => ("up", Some(node_id), format!("{node_id} answers")),
        WatchEvent::NodeDown { node_id } => {
            ("down", Some(node_id), format!("{node_id} does not answer"))
        }
        WatchEvent::RoleChanged { node_id, role } => {
            ("role", Some(node_id), format!("{node_id} is {}", text::role(*role)))
        }
        WatchEvent::Election(Event::LeaderChanged { leader: Some(leader), epoch }) => {
            let epoch = epoch.map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
            ("leader", Some(leader), format!("{leader} leads{epoch}"))
        }
        WatchEvent::Election(Event::LeaderChanged { leader: None, .. }) => {
            ("leader", None, "no leader is known".to_owned())
        }
        WatchEvent::Election(Event::MetaChanged { .. }) => {
            ("meta", None, "the value of the leader changed".to_owned())
        }
        WatchEvent::Election(Event::Connected { server }) => {
            ("connected", None, format!("connected to {server}"))
        }
        WatchEvent::Election(Event::Disconnected { error }) => {
            ("disconnected", None, format!("disconnected: {error}"))
        }
        WatchEvent::Election(event) => ("other", None, format!("the watch {event}")),
        _ => return None,
    })
}

/// The time of day in UTC: the part of RFC 3339 between `T` and the fraction.
fn clock() -> String {
    utc::rfc3339(SystemTime::now())[11..19].to_owned()
}

fn add(events: &mut VecDeque<(String, String)>, event: &WatchEvent) {
    if let Some((.., text)) = describe(event) {
        events.push_back((clock(), text));
        if events.len() > KEPT {
            events.pop_front();
        }
    }
}

fn screen(args: &Args, events: &Receiver<WatchEvent>, ended: &AtomicBool) -> Result<(), Failure> {
    let colours = output::colours(args.color);
    let mut terminal = Terminal::open()?;
    let (mut frame, mut viewed_at) = (Frame::default(), Instant::now());
    while !ended.load(Ordering::SeqCst) {
        loop {
            match events.try_recv() {
                Ok(WatchEvent::View(view)) => {
                    (frame.view, viewed_at) = (Some(view), Instant::now());
                }
                Ok(event) => add(&mut frame.events, &event),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
        let (width, height) = terminal.size();
        frame.now = format!("{} UTC", clock());
        frame.age = viewed_at.elapsed();
        let lines = draw(&mut frame, width, height);
        let painted = lines.iter().map(|line| line.paint(colours)).collect();
        terminal.show(painted)?;
        for key in terminal.keys(TICK)? {
            match key {
                Key::Quit => return Ok(()),
                Key::Redraw => terminal.redraw(),
                Key::Up => frame.scroll = frame.scroll.saturating_sub(1),
                Key::Down => frame.scroll += 1,
            }
        }
    }
    Ok(())
}
