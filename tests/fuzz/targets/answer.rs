#![no_main]

use leasehold::health::Health;
use leasehold::service::Status;
use leasehold_fuzz::{hostile, measured};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    hostile::check_health(measured(input.len(), 128, 8192, || Health::parse(input)));
    hostile::check_status(measured(input.len(), 32, 8192, || Status::parse(input)));
});
