#![no_main]
//! A few bytes, repeated to a message of full size at a place where something is collected: finds
//! what takes much more memory than it has letters.

use leasehold::Config;
use leasehold::lease::Lease;
use leasehold::store::nats::bytes;
use leasehold_fuzz::{checks, measured};

/// About the longest record that is read, and much more.
const SIZES: [usize; 2] = [16_000, 64_000];

/// What stands before and behind; the first byte of an input chooses.
const FRAMES: [(&str, &str); 10] = [
    ("", ""),
    ("[", "]"),
    (r#"{"epoch":1,"meta":["#, "]}"),
    (r#"{"clusterId":"c","nodeId":"n","nats":{"servers":["h"]},"election":{"meta":["#, "]}}"),
    (r#"{"clusterId":"c","nodeId":"n","nats":{"servers":["#, "]}}"),
    (r#"{"message":{"subject":"$KV.cluster-t.lease","seq":1,"data":""#, "\"}}"),
    (r#"{"created":"x","state":{"messages":0,"last_seq":0},"config":{"name":"KV_cluster-t","subjects":["#, "]}}"),
    (r#"{"created":"x","state":{"messages":0,"last_seq":0},"config":{"name":"KV_cluster-t","sources":["#, "]}}"),
    (r#"{"error":{"code":400,"err_code":1,"description":""#, "\"}}"),
    ("NATS/1.0\r\n", "\r\n\r\n"),
];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [choice, unit @ ..] = input else { return };
    if unit.is_empty() || unit.len() > 64 {
        return;
    }
    let (before, behind) = FRAMES[usize::from(*choice) % FRAMES.len()];
    for size in SIZES {
        let middle = unit.repeat(size / unit.len());
        read(&[before.as_bytes(), &middle, behind.as_bytes()].concat());
    }
});

fn read(text: &[u8]) {
    let length = text.len();
    for reader in [
        bytes::acknowledgement,
        bytes::message,
        bytes::stream,
        bytes::notice,
        bytes::operations,
        bytes::handshake,
    ] {
        reader(text, &|read| measured(length, 32, 8192, read));
    }
    checks::check_record(measured(length, 128, 8192, || Lease::decode(text)));
    if let Ok(text) = std::str::from_utf8(text) {
        checks::check_config(measured(length, 128, 65_536, || Config::from_json(text)));
    }
}
