#![no_main]

use leasehold::service::{parse_promote, parse_transfer};
use leasehold_fuzz::{checks, measured};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let transfer = measured(input.len(), 32, 8192, || parse_transfer(input));
    let promote = measured(input.len(), 32, 8192, || parse_promote(input));
    checks::check_commands(transfer, promote);
});
