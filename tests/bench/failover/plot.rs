//! The distributions as one picture: for each series the share of rounds that took no longer.

use std::fmt::Write as _;

use super::stats::Series;

const WIDTH: f64 = 860.0;
const ROW: f64 = 300.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 300.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 40.0;
/// One for each line of a panel.
const COLOURS: [&str; 8] =
    ["#0072b2", "#999999", "#d55e00", "#cc79a7", "#009e73", "#e69f00", "#000000", "#56b4e9"];

/// The axis, in milliseconds and on a log scale.
const LEAST: f64 = 0.1;
const MOST: f64 = 100.0;

/// One panel a server; series that belong to none are not latencies.
pub(crate) fn draw(all: &[(String, Series)]) -> String {
    let servers: Vec<_> = ["2.9.10", "2.15.1"]
        .into_iter()
        .filter(|server| all.iter().any(|(name, _)| name.contains(server)))
        .collect();
    #[allow(clippy::cast_precision_loss)]
    let height = ROW * servers.len().max(1) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n"
    );
    let mut top = 0.0;
    for server in servers {
        let of: Vec<_> = all.iter().filter(|(name, _)| name.contains(server)).collect();
        panel(&mut svg, top, server, &of);
        top += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

fn x(millis: f64) -> f64 {
    let share = (millis.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn y(top: f64, share: f64) -> f64 {
    top + TOP + (1.0 - share) * (ROW - TOP - BOTTOM)
}

fn panel(svg: &mut String, top: f64, server: &str, series: &[&(String, Series)]) {
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">nats-server {server}: share of rounds \
         that took no longer</text>",
        top + 18.0
    );
    grid(svg, top);
    assert!(series.len() <= COLOURS.len(), "each line has a colour of its own");
    for (at, ((name, values), colour)) in series.iter().zip(COLOURS).enumerate() {
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" points=\"{}\"/>",
            steps(top, values)
        );
        #[allow(clippy::cast_precision_loss)]
        let line = top + TOP + 14.0 + at as f64 * 30.0;
        let label = name.replace(&format!(" ({server})"), "");
        let _ = writeln!(
            svg,
            "<text x=\"{0}\" y=\"{line}\" fill=\"{colour}\">{label}</text>\n<text x=\"{0}\" \
             y=\"{1}\" font-size=\"11\" fill=\"#444\">median {2:.2} ms, p99 {3:.2} ms</text>",
            WIDTH - RIGHT + 14.0,
            line + 13.0,
            values.median(),
            values.p99()
        );
    }
}

fn grid(svg: &mut String, top: f64) {
    for millis in [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0] {
        let (x, bottom) = (x(millis), y(top, 0.0));
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{millis} ms</text>",
            y(top, 1.0),
            bottom + 16.0
        );
    }
    for percent in [0, 50, 90, 100] {
        let y = y(top, f64::from(percent) / 100.0);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0
        );
    }
}

fn steps(top: f64, series: &Series) -> String {
    let mut points = String::new();
    #[allow(clippy::cast_precision_loss)]
    let count = series.len().max(1) as f64;
    for (at, value) in series.values().iter().enumerate() {
        #[allow(clippy::cast_precision_loss)]
        let share = (at + 1) as f64 / count;
        let _ = write!(points, "{:.1},{:.1} ", x(*value), y(top, share));
    }
    points
}
