//! What it costs to keep a virtual IP: by netlink from this process, and by starting `ip`.
//!
//! `cargo bench --bench vip [-- --quick]`. Each figure is a median, both ways in turn in the same
//! run, in a network namespace of its own. An extension looks at the link and the address before
//! it refreshes; by `ip` these are three commands.

#[cfg(all(target_os = "linux", not(leasehold_portable)))]
#[path = "vip/compare.rs"]
mod compare;

fn main() {
    #[cfg(all(target_os = "linux", not(leasehold_portable)))]
    compare::run();
    #[cfg(not(all(target_os = "linux", not(leasehold_portable))))]
    println!("virtual IPs need Linux");
}
