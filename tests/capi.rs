//! The C API as C programs use it.
#![cfg(all(feature = "capi", target_os = "linux"))]

#[path = "capi/header.rs"]
mod header;

const HEADER: &str = "src/capi/leasehold.h";

/// `LEASEHOLD_WRITE=1 cargo test --features capi --test capi the_header` writes it anew.
#[test]
fn the_header_is_what_the_sources_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/capi/leasehold.h");
    let generated = header::generate();
    if std::env::var_os("LEASEHOLD_WRITE").is_some() {
        std::fs::write(path, &generated).expect("a file");
    }
    let committed = std::fs::read_to_string(path).expect("a file");
    let lines = || committed.lines().zip(generated.lines()).enumerate();
    let first = lines().find(|(_, (old, new))| old != new);
    assert!(committed == generated, "{HEADER} is stale, first at {first:?}");
}
