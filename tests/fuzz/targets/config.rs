#![no_main]

use leasehold::Config;
use leasehold_fuzz::{checks, measured};

libfuzzer_sys::fuzz_target!(|input: &str| {
    checks::check_config(measured(input.len(), 128, 65_536, || Config::from_json(input)));
});
