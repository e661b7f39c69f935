//! The result of a call: a code, and a message for the calling thread.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::fork;
use crate::config::ConfigError;
use crate::error::{Refused, StartError, StoreError, WaitError};
use crate::node::{SetMetaError, TransferError};
use crate::text::printable;

/// The result of a call. Later versions can add codes: treat an unknown one as an error.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leasehold_code {
    /// The call succeeded.
    LEASEHOLD_OK = 0,
    /// There is no result: no event in time, or no known leader. Not an error.
    LEASEHOLD_NOTHING = 1,
    /// The node has stopped, and all its events were taken. Not an error.
    LEASEHOLD_CLOSED = 2,
    /// The time limit passed first.
    LEASEHOLD_E_TIMED_OUT = 3,
    /// A pointer is null that must not be.
    LEASEHOLD_E_NULL = 10,
    /// A pointer is not a handle of this kind, or the handle was freed.
    LEASEHOLD_E_HANDLE = 11,
    /// A struct's `size` is wrong: set it to `sizeof`.
    LEASEHOLD_E_SIZE = 12,
    /// A buffer is too small. The needed length was stored, unless `length` is null.
    LEASEHOLD_E_BUFFER = 13,
    /// A text is not UTF-8, or not JSON where JSON is expected.
    LEASEHOLD_E_TEXT = 14,
    /// The configuration is invalid; the message names the field and its accepted values.
    LEASEHOLD_E_CONFIG = 15,
    /// The call can be made only once, and was made.
    LEASEHOLD_E_ALREADY = 16,
    /// The call is not possible within a callback of this library.
    LEASEHOLD_E_IN_CALLBACK = 17,
    /// This process was forked from the one that uses the library.
    LEASEHOLD_E_FORKED = 18,
    /// The node does not lead, and only the leader can do that. The message names the leader, if
    /// one is known.
    LEASEHOLD_E_NOT_LEADER = 20,
    /// The node is stepping down: try again after that.
    LEASEHOLD_E_RESIGNING = 21,
    /// A node cannot transfer its term to itself.
    LEASEHOLD_E_TO_ITSELF = 22,
    /// The node was reported unhealthy.
    LEASEHOLD_E_UNHEALTHY = 23,
    /// The node is stopping or has stopped.
    LEASEHOLD_E_STOPPED = 24,
    /// No server is reachable, or none answers. A retry may succeed.
    LEASEHOLD_E_UNREACHABLE = 30,
    /// A server refused: credentials, TLS, permissions, JetStream, or an unsuitable bucket. A retry
    /// does not help: this needs an operator.
    LEASEHOLD_E_SERVER = 31,
    /// The virtual IP cannot be used: its interface or a privilege.
    LEASEHOLD_E_VIP = 32,
    /// The system has no descriptor, thread or random bits left, or the library no handle.
    LEASEHOLD_E_SYSTEM = 33,
    /// A defect of this library; details are on standard error.
    LEASEHOLD_E_PANIC = 99,
}

use leasehold_code::{
    LEASEHOLD_CLOSED, LEASEHOLD_E_CONFIG, LEASEHOLD_E_FORKED, LEASEHOLD_E_NOT_LEADER,
    LEASEHOLD_E_PANIC, LEASEHOLD_E_RESIGNING, LEASEHOLD_E_SERVER, LEASEHOLD_E_STOPPED,
    LEASEHOLD_E_SYSTEM, LEASEHOLD_E_TIMED_OUT, LEASEHOLD_E_TO_ITSELF, LEASEHOLD_E_UNHEALTHY,
    LEASEHOLD_E_UNREACHABLE, LEASEHOLD_E_VIP, LEASEHOLD_OK,
};

/// Why a call did not succeed.
#[derive(Debug)]
pub(super) struct Failure {
    code: leasehold_code,
    message: String,
}

/// The result of a function before it returns to C.
pub(super) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(super) fn new(code: leasehold_code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn of(code: leasehold_code, error: &impl ToString) -> Self {
        Self::new(code, error.to_string())
    }

    pub(super) fn closed() -> Self {
        Self::new(LEASEHOLD_CLOSED, "the node has stopped")
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::of(LEASEHOLD_E_CONFIG, &error)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let code = match &refused {
            Refused::NotLeader { .. } | Refused::Observer => LEASEHOLD_E_NOT_LEADER,
            Refused::Resigning => LEASEHOLD_E_RESIGNING,
            Refused::TransferToSelf => LEASEHOLD_E_TO_ITSELF,
            Refused::Unhealthy => LEASEHOLD_E_UNHEALTHY,
            Refused::Stopped => LEASEHOLD_E_STOPPED,
            Refused::Stuck => LEASEHOLD_E_TIMED_OUT,
            Refused::Forked => LEASEHOLD_E_FORKED,
        };
        Self::of(code, &refused)
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        let code = match error {
            WaitError::TimedOut => LEASEHOLD_E_TIMED_OUT,
            WaitError::Stopped => LEASEHOLD_E_STOPPED,
            WaitError::Forked => LEASEHOLD_E_FORKED,
        };
        Self::of(code, &error)
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::NodeId(error) => Self::of(LEASEHOLD_E_CONFIG, &error),
            TransferError::Refused(refused) => refused.into(),
        }
    }
}

impl From<SetMetaError> for Failure {
    fn from(error: SetMetaError) -> Self {
        match error {
            SetMetaError::Value(error) => error.into(),
            SetMetaError::Refused(refused) => refused.into(),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let code = match &error {
            StartError::Store(error) => of_store(error),
            StartError::Thread(_) | StartError::Random(_) => LEASEHOLD_E_SYSTEM,
            StartError::ClockMismatch => LEASEHOLD_E_CONFIG,
            StartError::Vip(_) => LEASEHOLD_E_VIP,
        };
        Self::of(code, &error)
    }
}

fn of_store(error: &StoreError) -> leasehold_code {
    match error {
        StoreError::System { .. } => LEASEHOLD_E_SYSTEM,
        error if error.may_pass() => LEASEHOLD_E_UNREACHABLE,
        _ => LEASEHOLD_E_SERVER,
    }
}

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// The message of the last call on this thread that returned a code other than `LEASEHOLD_OK`: one
/// line, without secrets. Empty before the first such call.
///
/// The library owns the text, which is valid until the next such call on this thread: copy it to
/// keep it. Never fails and never returns null.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_last_error() -> *const c_char {
    const EMPTY: &[u8] = b"\0";
    // Not available while the thread ends.
    MESSAGE
        .try_with(|message| message.try_borrow().map(|text| text.as_ptr()).ok())
        .ok()
        .flatten()
        .unwrap_or(EMPTY.as_ptr().cast())
}

/// One line for C.
#[allow(clippy::expect_used, reason = "the message names the invariant")]
pub(super) fn c_line(text: &str) -> CString {
    CString::new(printable(text)).expect("invariant: printable text has no zero byte")
}

/// Runs a function of the API: refuses it in a forked child, catches panics, and keeps the message.
pub(super) fn call(work: impl FnOnce() -> Result<()>) -> leasehold_code {
    let outcome = if fork::is_forked_child() {
        Err(Failure::new(
            LEASEHOLD_E_FORKED,
            "this process was forked from the one that uses the library",
        ))
    } else {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(Failure::new(LEASEHOLD_E_PANIC, "a defect of this library, see standard error"))
        })
    };
    let Err(failure) = outcome else { return LEASEHOLD_OK };
    let text = c_line(&failure.message);
    let _ = MESSAGE.try_with(|message| message.try_borrow_mut().map(|mut old| *old = text));
    failure.code
}

/// Runs a function of the API that returns a value: zero when it fails.
pub(super) fn value(work: impl FnOnce() -> Result<u64>) -> u64 {
    let mut value = 0;
    call(|| {
        value = work()?;
        Ok(())
    });
    value
}
