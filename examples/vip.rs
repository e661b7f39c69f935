//! Holds a virtual IP for some seconds, or shows what clients see when it moves.
//!
//! ```text
//! cargo run --example vip -- --interface eth0 --address 10.0.0.10 --seconds 60
//! cargo run --example vip -- --demo
//! ```
//!
//! The first needs `CAP_NET_ADMIN` and `CAP_NET_RAW`. If you kill it with SIGKILL while it holds
//! the address, the kernel removes the address within six seconds. The second needs no rights. It
//! creates its own network namespaces and changes nothing else.

#[cfg(all(target_os = "linux", not(leasehold_portable)))]
#[path = "vip/demo.rs"]
mod demo;
#[cfg(all(target_os = "linux", not(leasehold_portable)))]
#[path = "vip/hold.rs"]
mod hold;

use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vip: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    #[cfg(all(target_os = "linux", not(leasehold_portable)))]
    return hold::run();
    #[cfg(not(all(target_os = "linux", not(leasehold_portable))))]
    Err("virtual IPs need Linux".into())
}
