//! Input from outside, by property tests and by the corpus: whatever it is, it is refused or
//! within all bounds.

#[allow(dead_code, unreachable_pub, reason = "shared with the fuzz targets")]
mod checks;

mod answer;
mod config;
mod config_file;
mod record;
