//! A session with two nodes. The transcript in the guide is compared with the output, except for
//! numbers and their widths.
//! `cargo test --features cli --test cli story -- --nocapture` prints it.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::site::{PATIENCE, Site};
use crate::support::process::Process;
use crate::support::version::Version;

/// Runs commands, and records them as at a prompt.
struct Story<'a> {
    site: &'a Site,
    transcript: RefCell<String>,
}

impl Story<'_> {
    fn note(&self, text: &str) {
        print!("{text}");
        self.transcript.borrow_mut().push_str(text);
    }

    /// The output of a command, which must end with `code`.
    #[track_caller]
    fn run(&self, line: &str, code: i32) -> String {
        let words: Vec<_> = line.split_whitespace().collect();
        let ended = self.site.run(&words);
        let output = format!("{}{}", ended.stdout, ended.stderr);
        let exit = if code == 0 { String::new() } else { format!("(exit code {code})\n") };
        self.note(&format!("$ leasehold {line}\n{output}{exit}"));
        assert_eq!(ended.code, code, "{line}: {output}");
        output
    }

    fn daemon(&self, line: &str) -> Process {
        self.note(&format!("$ leasehold {line} &\n"));
        let words: Vec<_> = line.split_whitespace().collect();
        let node = words[1].trim_end_matches(".json");
        let daemon = self.site.daemon(node, &words[3..]);
        self.site.wait(node, "the daemon", |status| {
            status["daemon"] == true && status["connected"] == true
        });
        daemon
    }
}

on_both_servers!(a_new_user_with_two_nodes, |version| {
    let site = Site::new(version);
    let story = Story { site: &site, transcript: RefCell::default() };
    let url = site.server.url();
    for node in ["n1", "n2"] {
        let output = story.run(
            &format!(
                "init -c {node}.json --cluster-id orders --node-id {node} --nats-url {url} \
                 --lease-ttl 3s --renew-interval 1s"
            ),
            0,
        );
        assert_eq!(output, format!("wrote {node}.json; next: leasehold -c {node}.json daemon\n"));
    }
    let output = story.run("-c n1.json join", 0);
    assert_eq!(output, "cluster orders, leader unknown, epoch 0\nno daemon answers\n");
    script(&story, "start.sh", "echo started > up");
    script(&story, "stop.sh", "rm up");
    let line = "-c n1.json daemon --on-primary ./start.sh --on-passive ./stop.sh";
    let mut first = story.daemon(line);
    site.wait_for_lead("n1");
    assert_eq!(site.wait_for_file("up"), "started\n");
    let mut second = story.daemon("-c n2.json daemon");
    let output = story.run("-c n1.json status", 0);
    assert!(output.contains("role        PRIMARY\nleader      n1\nepoch       1\n"), "{output}");
    let output = story.run("-c n1.json status --all", 0);
    assert!(
        output.contains("\nn1    PRIMARY       1") && output.contains("\nn2    PASSIVE"),
        "{output}"
    );
    watch(&story);
    story.run("-c n2.json demote", 3);
    let output = story.run("-c n1.json demote", 0);
    assert!(output.starts_with("n1 has stepped down"), "{output}");
    assert!(!site.path("up").exists(), "the command ended before the lease was released");
    site.wait_for_lead("n2");
    story.note("$ kill -9 %2\n");
    second.kill();
    let epoch = site.wait_for_lead("n1")["epoch"].as_u64().expect("a number");
    assert!(epoch >= 3, "{epoch}");
    story.run("-c n2.json status --node n1", 0);
    let mut second = story.daemon("-c n2.json daemon");
    let output = story.run("-c n2.json promote", 3);
    assert!(output.contains("n1 leads"), "{output}");
    story.run("-c n2.json promote --force", 0);
    story.run("-c n2.json transfer n1", 0);
    story.run("-c n2.json leave", 0);
    assert!(second.exited(PATIENCE).success());
    story.run("-c n2.json leave", 4);
    story.note("$ kill %1\n");
    first.signal(Signal::TERM);
    assert!(first.exited(PATIENCE).success());
    assert!(!site.path("up").exists());
    let status = site.status("n1");
    let epoch = status["epoch"].as_u64().expect("a number");
    assert!(status["leader"] == "" && epoch >= 5 && status["daemon"] == false, "{status}");
    let (played, written) = (normalized(&story.transcript.borrow()), normalized(written()));
    assert_eq!(played, written, "the guide shows another session");
});

/// The transcript in the guide.
fn written() -> &'static str {
    let page = include_str!("../../src/guide/daemons.md");
    let begin = page.find("$ leasehold init -c n1.json").expect("a transcript");
    let length = page[begin..].find("```").expect("its end");
    &page[begin..][..length]
}

/// Lines without the parts that differ in each run: numbers outside names, their widths, whether a
/// successor was known already, and the order of a watch's first lines.
fn normalized(transcript: &str) -> Vec<String> {
    let mut lines: Vec<String> = transcript.lines().map(without_numbers).collect();
    let is_watch = |line: &String| line.ends_with("watch | cat");
    let begin = lines.iter().position(is_watch).expect("a watch") + 1;
    let length = lines[begin..].iter().position(|line| line.starts_with('$')).expect("more");
    lines[begin..][..length].sort();
    lines
}

fn without_numbers(line: &str) -> String {
    // Exit codes must be equal.
    if line.starts_with("(exit code") {
        return line.to_owned();
    }
    let mut kept = String::new();
    for c in line.replace("stepped down; n2 leads", "stepped down").chars() {
        let before = kept.chars().last().unwrap_or(' ');
        let figure = c.is_ascii_digit() && !before.is_alphanumeric();
        let more = before == '#' && (c.is_ascii_digit() || c == '.');
        let blank = c == ' ' && before == ' ';
        if figure && !more {
            kept.push('#');
        } else if !more && !blank {
            kept.push(c);
        }
    }
    kept
}

fn script(story: &Story<'_>, name: &str, line: &str) {
    story.note(&format!("$ printf '#!/bin/sh\\n{line}\\n' > {name}; chmod +x {name}\n"));
    let file = story.site.path(name);
    fs::write(&file, format!("#!/bin/sh\n{line}\n")).expect("a folder");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("its own file");
}

/// `watch` in a pipe prints lines.
fn watch(story: &Story<'_>) {
    let mut command = crate::support::process::bound_command(crate::site::PROGRAM);
    command.current_dir(story.site.folder.path()).args(["-c", "n1.json", "watch"]);
    let watch = Process::spawn(command);
    story.note("$ leasehold -c n1.json watch | cat\n");
    let mut output = String::new();
    while !["PRIMARY", "n2    PASSIVE", "n1 leads, epoch 1"].iter().all(|w| output.contains(w)) {
        let line = watch.line(PATIENCE).expect("it goes on");
        story.note(&format!("{line}\n"));
        output.push_str(&line);
    }
}
