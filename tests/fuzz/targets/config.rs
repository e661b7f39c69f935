#![no_main]

use leasehold::Config;
use leasehold_fuzz::{hostile, measured};

libfuzzer_sys::fuzz_target!(|input: &str| {
    hostile::check_config(measured(input.len(), 128, 65_536, || Config::from_json(input)));
});
