//! What must hold of the record, of the configuration's file, and of what strangers say and ask,
//! whatever it is. Shared by the
//! property tests and the fuzz targets; each function panics when it does not.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use leasehold::config::{Config, ConfigError, MAX_VIPS, check_node_id};
use leasehold::health::{Health, MAX_RESPONSE_BYTES, Malformed};
use leasehold::lease::{Epoch, Lease, MAX_RECORD_BYTES, MAX_TTL, MIN_TTL, Undecodable};
use leasehold::service::{CommandError, NodeStatus};

/// What was made of a record: it is within all ranges, and the same again when it is written and
/// read back.
pub fn check_record(decoded: Result<Lease, Undecodable>) {
    let lease = match decoded {
        Ok(lease) => lease,
        Err(error) => return check_line(&error.to_string(), 200),
    };
    assert!((1..=Epoch::MAX).contains(&lease.epoch.as_u64()));
    assert!(lease.ttl.is_none_or(|ttl| (MIN_TTL..=MAX_TTL).contains(&ttl)), "{:?}", lease.ttl);
    assert!(!lease.clean || (lease.node_id.is_empty() && lease.session.is_some()), "{lease:?}");
    check_line(&lease.node_id, 257);
    check_line(lease.successor.as_deref().unwrap_or_default(), 257);
    let written = lease.encode(SystemTime::now(), SystemTime::UNIX_EPOCH);
    if written.len() <= MAX_RECORD_BYTES {
        assert_eq!(Lease::decode(&written).as_ref(), Ok(&lease));
    }
}

/// What was made of a configuration's file: what is accepted is the same again after a save, and a
/// refusal is one line of sane length.
pub fn check_config(parsed: Result<Config, ConfigError>) {
    match parsed {
        Ok(config) => {
            let again = Config::from_json(&config.to_json());
            assert_eq!(again.map_err(|error| error.to_string()), Ok(config));
        }
        Err(error) => check_line(&error.to_string(), 1_000),
    }
}

/// What was made of a node's answer about its health: its texts are fit for a terminal, and it is
/// the same again when it is written and read back.
pub fn check_health(parsed: Result<Health, Malformed>) {
    let health = match parsed {
        Ok(health) => health,
        Err(error) => return check_line(&error.to_string(), 2_000),
    };
    check_line(&health.node_id, 1_025);
    check_line(health.leader.as_deref().unwrap_or_default(), 1_025);
    check_line(health.session.as_deref().unwrap_or_default(), 1_025);
    check_line(health.bucket.as_deref().unwrap_or_default(), 1_025);
    let written = serde_json::to_vec(&health).expect("writable");
    // Escapes may make it longer than it came.
    if written.len() <= MAX_RESPONSE_BYTES {
        assert_eq!(Health::parse(&written), Ok(health));
    }
}

/// The same of a daemon's answer.
pub fn check_status(parsed: Result<NodeStatus, Malformed>) {
    let status = match parsed {
        Ok(status) => status,
        Err(error) => return check_line(&error.to_string(), 2_000),
    };
    let texts = [&status.cluster_id, &status.node_id, &status.session, &status.version];
    let others = [&status.leader, &status.problem, &status.bucket].into_iter().flatten();
    assert!(status.vips.len() <= MAX_VIPS);
    let of_vips = status
        .vips
        .iter()
        .flat_map(|vip| [&vip.address, &vip.interface].into_iter().chain(&vip.problem));
    for text in texts.into_iter().chain(others).chain(of_vips).chain(&status.warnings) {
        check_line(text, 1_025);
    }
    let written = serde_json::to_vec(&status).expect("writable");
    assert_eq!(NodeStatus::parse(&written), Ok(status));
}

/// What was made of a command's body: it names a node that there may be, or is refused in a line.
pub fn check_commands(transfer: Result<String, CommandError>, promote: Result<bool, CommandError>) {
    match transfer {
        Ok(node) => check_node_id(&node).expect("a node's id"),
        Err(error) => check_line(&error.to_string(), 1_000),
    }
    if let Err(error) = promote {
        check_line(&error.to_string(), 1_000);
    }
}

/// One line, for a log or a terminal, shorter than `longest` bytes.
fn check_line(text: &str, longest: usize) {
    assert!(text.len() < longest && !text.contains(char::is_control), "{text:?}");
}

/// Each file of a fuzz target's corpus: what was found to be different from everything else, and
/// what once broke.
pub fn corpus(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut count = 0;
    for file in files {
        check(&fs::read(file.expect("readable").path()).expect("readable"));
        count += 1;
    }
    assert!(count >= 5, "{target}: {count} files");
}
