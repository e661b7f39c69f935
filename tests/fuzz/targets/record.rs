#![no_main]

use leasehold::lease::Lease;
use leasehold_fuzz::{checks, measured};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    checks::check_record(measured(input.len(), 128, 8192, || Lease::decode(input)));
});
