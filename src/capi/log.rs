//! What the library logs, handed to C.

use std::ffi::{c_char, c_void};

use log::{LevelFilter, Log, Metadata, Record};

use super::code::leasehold_code::{LEASEHOLD_E_ALREADY, LEASEHOLD_E_NULL};
use super::code::{Failure, c_line, call, leasehold_code};

/// How important a line is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leasehold_level {
    /// Something is broken.
    LEASEHOLD_ERROR = 1,
    /// Something is not as it should be.
    LEASEHOLD_WARN = 2,
    /// Role and connection changes.
    LEASEHOLD_INFO = 3,
    /// Details.
    LEASEHOLD_DEBUG = 4,
}

/// Takes one line, which is the library's and goes when this returns.
pub type leasehold_log_function =
    Option<extern "C" fn(user_data: *mut c_void, level: leasehold_level, line: *const c_char)>;

struct Sink {
    write: extern "C" fn(*mut c_void, leasehold_level, *const c_char),
    user_data: *mut c_void,
    most: LevelFilter,
}

// SAFETY: that the function may be called from any thread, with that pointer, is what the header
// asks of whoever hands it in.
unsafe impl Send for Sink {}
// SAFETY: as above, from several at once.
unsafe impl Sync for Sink {}

impl Log for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.most && metadata.target().starts_with("leasehold")
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

/// Sends the library's log to a function, up to a level (`LEASEHOLD_INFO` is 3), for the rest of
/// the process; without this call nothing is logged. `LEASEHOLD_E_ALREADY` at a second call.
///
/// The function is called on any of the library's threads, also on several at once. Renewals wait
/// for it: it must not block, and must call nothing of this library. It and `user_data` must last
/// as long as the process. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_log(
    level: u32,
    write: leasehold_log_function,
    user_data: *mut c_void,
) -> leasehold_code {
    call(|| {
        let write = write.ok_or_else(|| Failure::new(LEASEHOLD_E_NULL, "the function is null"))?;
        let most = match level {
            0 => LevelFilter::Off,
            1 => LevelFilter::Error,
            2 => LevelFilter::Warn,
            3 => LevelFilter::Info,
            _ => LevelFilter::Debug,
        };
        let sink = Box::new(Sink { write, user_data, most });
        let already = |_| Failure::new(LEASEHOLD_E_ALREADY, "there is a log already");
        log::set_boxed_logger(sink).map_err(already)?;
        log::set_max_level(most);
        Ok(())
    })
}
