//! The screen as text, at 80×24 and 200×50, in every state of a cluster.
//!
//! The expected screens are in `snapshots/`. `LEASEHOLD_SNAPSHOTS=write` writes them anew: read
//! them before you commit them.

use std::path::Path;
use std::{env, fs};

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::*;

const SIZES: [(usize, usize); 2] = [(80, 24), (200, 50)];

fn node(id: &str, leads: bool, uptime: u64, millis: f64) -> Value {
    json!({
        "nodeId": id, "clusterId": "orders", "role": if leads { "PRIMARY" } else { "PASSIVE" },
        "leader": "node-1", "epoch": 7, "uptimeMs": uptime, "connected": true,
        "leaseTtlMs": 10_000, "leaseRemainingMs": if leads { 7_400 } else { 0 },
        "version": "0.1.0", "session": id, "roundTripMs": millis, "missed": 0,
    })
}

fn cluster(nodes: &[Value]) -> Value {
    json!({
        "clusterId": "orders", "connected": true, "server": "nats://nats-1.example:4222",
        "leader": "node-1", "epoch": 7, "revision": 4711, "leaseTtlMs": 10_000,
        "leaseRemainingMs": 7_400, "nodes": nodes, "problem": null,
    })
}

fn two_nodes() -> Value {
    cluster(&[node("node-1", true, 11_580_000, 0.41), node("node-2", false, 93_000, 12.6)])
}

fn twenty_nodes() -> Value {
    let node =
        |n: u32| node(&format!("node-{n}"), n == 1, u64::from(n) * 3_600_000, 0.1 * f64::from(n));
    cluster(&(1..=20).map(node).collect::<Vec<_>>())
}

fn no_leader() -> Value {
    let mut view = cluster(&[]);
    view["leader"] = "".into();
    view["leaseRemainingMs"] = Value::Null;
    view
}

fn server_gone() -> Value {
    let mut view = two_nodes();
    view["connected"] = false.into();
    view["problem"] = "no connection to nats://nats-1.example:4222: connection refused".into();
    view["nodes"][0]["missed"] = 7.into();
    view["nodes"][1]["missed"] = 7.into();
    view
}

/// Every remark about a node, and names that do not fit.
fn problems() -> Value {
    let mut view = two_nodes();
    view["nodes"][0]["vipHeld"] = true.into();
    view["nodes"][0]["resigning"] = true.into();
    view["nodes"][1]["nodeId"] = "節点-with-a-name-that-is-longer-than-anybody-would-like".into();
    view["nodes"][1]["connected"] = false.into();
    view["nodes"][1]["stuck"] = true.into();
    view["nodes"][1]["problem"] = "\u{1b}[2J\u{202e}something \u{7}odd".into();
    view
}

fn events(count: usize) -> VecDeque<(String, String)> {
    let texts =
        ["node-1 leads, epoch 7", "node-2 answers", "connected to nats://nats-1.example:4222"];
    (0..count).map(|n| (format!("10:00:{n:02}"), texts[n % 3].to_owned())).collect()
}

fn screen(view: Option<&Value>, event_count: usize, width: usize, height: usize) -> Vec<Line> {
    let mut frame = Frame {
        view: view.map(|view| ClusterView::parse(view.to_string().as_bytes()).unwrap()),
        age: Duration::from_millis(150),
        events: events(event_count),
        now: "10:02:11 UTC".to_owned(),
        scroll: 0,
    };
    draw(&mut frame, width, height)
}

fn text(lines: &[Line]) -> String {
    lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect()
}

#[test]
fn screens_equal_their_snapshots() {
    let states: [(&str, Option<Value>, usize); 6] = [
        ("two", Some(two_nodes()), 5),
        ("twenty", Some(twenty_nodes()), 30),
        ("no_leader", Some(no_leader()), 0),
        ("server_gone", Some(server_gone()), 8),
        ("problems", Some(problems()), 2),
        ("no_view", None, 0),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/leasehold/snapshots");
    for (name, view, event_count) in &states {
        for (width, height) in SIZES {
            let drawn = text(&screen(view.as_ref(), *event_count, width, height));
            let file = folder.join(format!("{name}_{width}x{height}.txt"));
            if env::var("LEASEHOLD_SNAPSHOTS").is_ok_and(|what| what == "write") {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&file, &drawn).unwrap();
            }
            let before = fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(drawn, before, "{} has another screen:\n{drawn}", file.display());
        }
    }
}

/// Long lines are cut.
#[test]
fn no_screen_exceeds_its_size() {
    for view in [Some(two_nodes()), Some(twenty_nodes()), Some(no_leader()), Some(problems()), None]
    {
        for width in [0, 1, 7, 39, 40, 60, 79, 80, 133, 500] {
            for height in [0, 1, 2, 5, 10, 11, 24, 60, 200] {
                let lines = screen(view.as_ref(), 40, width, height);
                assert!(lines.len() <= height, "{} lines of {height}", lines.len());
                for line in &lines {
                    assert!(line.text.width() <= width, "{:?} in {width}", line.text);
                    assert!(!line.text.contains(char::is_control), "{:?}", line.text);
                }
                if width >= 40 && height >= 10 {
                    let text = text(&lines);
                    assert_eq!(lines.len(), height);
                    assert!(text.contains("q quit"), "{text}");
                    assert!(view.is_none() || text.contains("orders"), "{text}");
                }
            }
        }
    }
}

#[test]
fn the_leader_is_on_top_and_the_rest_can_be_scrolled_to() {
    let view = ClusterView::parse(twenty_nodes().to_string().as_bytes()).unwrap();
    let shown = |scroll| {
        let view = Some(view.clone());
        let mut frame = Frame { view, events: events(3), scroll, ..Frame::default() };
        text(&draw(&mut frame, 80, 24))
    };
    assert!(shown(0).contains("PRIMARY"));
    assert!(shown(0).contains("0 above, 8 below"), "{}", shown(0));
    for scroll in [8, 19, 1_000] {
        assert!(shown(scroll).contains("8 above, 0 below"), "{}", shown(scroll));
    }
}

#[test]
fn without_nodes_there_is_nothing_to_scroll() {
    let mut frame = Frame { scroll: 3, ..Frame::default() };
    draw(&mut frame, 80, 24);
    assert_eq!(frame.scroll, 0, "before the first view");
    let view = json!({ "clusterId": "orders", "connected": true });
    frame.view = Some(ClusterView::parse(view.to_string().as_bytes()).unwrap());
    frame.scroll = 3;
    draw(&mut frame, 80, 24);
    assert_eq!(frame.scroll, 0, "no node answers");
}

/// Another node may have its role by now.
#[test]
fn a_node_that_does_not_answer_is_not_shown_as_leader() {
    let mut view = two_nodes();
    view["leader"] = "node-2".into();
    view["nodes"][0]["missed"] = 1.into();
    view["nodes"][1]["role"] = "PRIMARY".into();
    let lines = screen(Some(&view), 2, 80, 24);
    let row = |name: &str| lines.iter().position(|line| line.text.starts_with(name)).unwrap();
    let [gone, leads] = ["node-1 ", "node-2 "].map(row);
    assert!(leads < gone, "{}", text(&lines));
    assert!(lines[leads].text.contains("PRIMARY") && !lines[gone].text.contains("PRIMARY"));
    assert_eq!((lines[leads].style, lines[gone].style), (Style::Good, Style::Bad));
}

#[test]
fn the_bar_shrinks_as_time_passes_and_ends_empty() {
    let view = ClusterView::parse(two_nodes().to_string().as_bytes()).unwrap();
    let filled = |age: u64| lease(80, &view, Duration::from_millis(age)).matches('█').count();
    assert!(filled(0) > filled(3_000) && filled(3_000) > filled(7_000));
    assert_eq!((filled(7_400), filled(u64::MAX)), (0, 0));
}

#[test]
fn without_colours_only_weight_and_inversion_remain() {
    let line = |style| Line { style, text: "x".into() };
    assert_eq!(line(Style::Good).paint(true), "\x1b[32mx\x1b[0m");
    assert_eq!(line(Style::Good).paint(false), "x");
    assert_eq!(line(Style::Plain).paint(true), "x");
    assert_eq!(line(Style::Bad).paint(false), "\x1b[7mx\x1b[0m");
}
