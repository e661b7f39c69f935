//! The library's log, passed to C.

use std::ffi::{c_char, c_void};

use log::{LevelFilter, Log, Metadata, Record};

use super::code::leasehold_code::{LEASEHOLD_E_ALREADY, LEASEHOLD_E_NULL};
use super::code::{Failure, c_line, call, leasehold_code};

/// The level of a log line.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leasehold_level {
    /// Something failed.
    LEASEHOLD_ERROR = 1,
    /// Something needs attention.
    LEASEHOLD_WARN = 2,
    /// Role and connection changes.
    LEASEHOLD_INFO = 3,
    /// Details.
    LEASEHOLD_DEBUG = 4,
}

/// Receives one line, which is valid during the call.
pub type leasehold_log_function =
    Option<extern "C" fn(user_data: *mut c_void, level: leasehold_level, line: *const c_char)>;

struct Sink {
    write: extern "C" fn(*mut c_void, leasehold_level, *const c_char),
    user_data: *mut c_void,
    max_level: LevelFilter,
}

// SAFETY: the header requires that any thread can call the function with that pointer.
unsafe impl Send for Sink {}
// SAFETY: as above, and several threads at once.
unsafe impl Sync for Sink {}

impl Log for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.max_level && metadata.target().starts_with("leasehold")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            log::Level::Error => leasehold_level::LEASEHOLD_ERROR,
            log::Level::Warn => leasehold_level::LEASEHOLD_WARN,
            log::Level::Info => leasehold_level::LEASEHOLD_INFO,
            log::Level::Debug | log::Level::Trace => leasehold_level::LEASEHOLD_DEBUG,
        };
        let line = c_line(&record.args().to_string());
        (self.write)(self.user_data, level, line.as_ptr());
    }

    fn flush(&self) {}
}

/// Sends the library's log to a function, up to a level (`LEASEHOLD_INFO` is 3), until the process
/// ends. Without this call nothing is logged. `LEASEHOLD_E_ALREADY` for a second call.
///
/// Any thread of the library calls the function, several at once. Renewals wait for it: it must not
/// block, and must not call this library. It and `user_data` must exist until the process ends.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_log(
    level: u32,
    write: leasehold_log_function,
    user_data: *mut c_void,
) -> leasehold_code {
    call(|| {
        let write = write.ok_or_else(|| Failure::new(LEASEHOLD_E_NULL, "the function is null"))?;
        let max_level = match level {
            0 => LevelFilter::Off,
            1 => LevelFilter::Error,
            2 => LevelFilter::Warn,
            3 => LevelFilter::Info,
            _ => LevelFilter::Debug,
        };
        let sink = Box::new(Sink { write, user_data, max_level });
        let already = |_| Failure::new(LEASEHOLD_E_ALREADY, "there is a log already");
        log::set_boxed_logger(sink).map_err(already)?;
        log::set_max_level(max_level);
        Ok(())
    })
}
