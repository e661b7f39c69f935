//! Two terminals' worth, as a new user would do it from the README alone. The transcript in the
//! README is what this prints: `cargo test --features cli --test cli_story -- --nocapture`.

mod cli;
#[macro_use]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cli::{PATIENCE, Site};
use rustix::process::Signal;
use support::process::Process;
use support::version::Version;

/// Runs commands and prints them as they look at a prompt.
struct Story<'a>(&'a Site);

impl Story<'_> {
    /// The text that a command prints; it must end with `code`.
    #[track_caller]
    fn tell(&self, line: &str, code: i32) -> String {
        let words: Vec<_> = line.split_whitespace().collect();
        let ended = self.0.run(&words);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        let exit = if code == 0 { String::new() } else { format!("(exit code {code})\n") };
        print!("$ leasehold {line}\n{said}{exit}");
        assert_eq!(ended.code, code, "{line}: {said}");
        said
    }

    fn daemon(&self, line: &str) -> Process {
        println!("$ leasehold {line} &");
        let words: Vec<_> = line.split_whitespace().collect();
        let node = words[1].trim_end_matches(".json");
        let daemon = self.0.daemon(node, &words[3..]);
        self.0.wait(node, "the daemon", |status| {
            status["daemon"] == true && status["connected"] == true
        });
        daemon
    }
}

on_both_servers!(a_new_user_with_two_nodes, |version| {
    let site = Site::new(version);
    let story = Story(&site);
    let url = site.server.url();
    for node in ["n1", "n2"] {
        let said = story.tell(
            &format!(
                "init -c {node}.json --cluster-id orders --node-id {node} --nats-url {url} \
                 --lease-ttl 3s --renew-interval 1s"
            ),
            0,
        );
        assert_eq!(said, format!("wrote {node}.json; next: leasehold daemon\n"));
    }
    let said = story.tell("-c n1.json join", 0);
    assert_eq!(said, "cluster orders, leader unknown, epoch 0\nno daemon answers\n");
    script(&site, "start.sh", "echo started > up");
    script(&site, "stop.sh", "rm up");
    let line = "-c n1.json daemon --on-primary ./start.sh --on-passive ./stop.sh";
    let mut first = story.daemon(line);
    site.wait_for_lead("n1");
    assert_eq!(site.wait_for_file("up"), "started\n");
    let mut second = story.daemon("-c n2.json daemon");
    let said = story.tell("-c n1.json status", 0);
    assert!(said.contains("role        PRIMARY\nleader      n1\nepoch       1\n"), "{said}");
    let said = story.tell("-c n1.json status --all", 0);
    assert!(said.contains("\nn1    PRIMARY       1") && said.contains("\nn2    PASSIVE"), "{said}");
    look(&site);
    story.tell("-c n2.json demote", 3);
    let said = story.tell("-c n1.json demote", 0);
    assert!(said.starts_with("n1 has given the lead back"), "{said}");
    assert!(!site.path("up").exists(), "the command ended before the lease was released");
    site.wait_for_lead("n2");
    println!("$ kill -9 %2");
    second.kill();
    let epoch = site.wait_for_lead("n1")["epoch"].as_u64().expect("a number");
    assert!(epoch >= 3, "{epoch}");
    story.tell("-c n2.json status --node n1", 0);
    let mut second = story.daemon("-c n2.json daemon");
    let said = story.tell("-c n2.json promote", 3);
    assert!(said.contains("n1 leads"), "{said}");
    story.tell("-c n2.json promote --force", 0);
    story.tell("-c n2.json transfer n1", 0);
    story.tell("-c n2.json leave", 0);
    assert!(second.exited(PATIENCE).success());
    story.tell("-c n2.json leave", 4);
    println!("$ kill %1");
    first.signal(Signal::TERM);
    assert!(first.exited(PATIENCE).success());
    assert!(!site.path("up").exists());
    let status = site.status("n1");
    let epoch = status["epoch"].as_u64().expect("a number");
    assert!(status["leader"] == "" && epoch >= 5 && status["daemon"] == false, "{status}");
});

fn script(site: &Site, name: &str, line: &str) {
    println!("$ printf '#!/bin/sh\\n{line}\\n' > {name}; chmod +x {name}");
    let file = site.path(name);
    fs::write(&file, format!("#!/bin/sh\n{line}\n")).expect("a folder");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("its own file");
}

/// `watch` in a pipe says who is there.
fn look(site: &Site) {
    let mut command = support::process::bound_command(cli::PROGRAM);
    command.current_dir(site.folder.path()).args(["-c", "n1.json", "watch"]);
    let watch = Process::spawn(command);
    println!("$ leasehold -c n1.json watch | cat");
    let mut said = String::new();
    while !["PRIMARY", "n2    PASSIVE", "n1 leads, epoch 1"].iter().all(|w| said.contains(w)) {
        let line = watch.line(PATIENCE).expect("it goes on");
        println!("{line}");
        said.push_str(&line);
    }
}
