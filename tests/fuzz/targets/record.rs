#![no_main]

use leasehold::lease::Lease;
use leasehold_fuzz::{hostile, measured};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    hostile::check_record(measured(input.len(), 128, 8192, || Lease::decode(input)));
});
