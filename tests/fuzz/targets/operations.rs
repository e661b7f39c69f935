#![no_main]

use leasehold::store::nats::bytes;
use leasehold_fuzz::measured;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    bytes::operations(input, &|read| measured(input.len(), 32, 8192, read));
});
