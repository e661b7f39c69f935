//! How a call ends: a code, and a text for people on the thread that called.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::fork;
use crate::config::ConfigError;
use crate::error::{Refused, StartError, StoreError, WaitError};
use crate::node::TransferError;
use crate::text::printable;

/// How a call ended. Further codes may be added: treat an unknown one as an error.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leasehold_code {
    /// It did what it says.
    LEASEHOLD_OK = 0,
    /// There is nothing: no event in time, no leader known. Not an error.
    LEASEHOLD_NOTHING = 1,
    /// The node has stopped, and there will be no more events. Not an error.
    LEASEHOLD_CLOSED = 2,
    /// It did not happen in time.
    LEASEHOLD_E_TIMED_OUT = 3,
    /// A pointer that must not be null is.
    LEASEHOLD_E_NULL = 10,
    /// A handle that was freed, or is none, or one of another kind.
    LEASEHOLD_E_HANDLE = 11,
    /// A struct's `size` is none that this library knows: set it to `sizeof`.
    LEASEHOLD_E_SIZE = 12,
    /// A buffer is too small. The length that is needed was stored, where it was asked for.
    LEASEHOLD_E_BUFFER = 13,
    /// A text is not UTF-8, or not JSON where that is asked for.
    LEASEHOLD_E_TEXT = 14,
    /// The configuration is not accepted; the message names the field and what would be accepted.
    LEASEHOLD_E_CONFIG = 15,
    /// Something can be done only once, and was done.
    LEASEHOLD_E_ALREADY = 16,
    /// Not possible within a callback of this library.
    LEASEHOLD_E_IN_CALLBACK = 17,
    /// This process was forked from the one that uses the library.
    LEASEHOLD_E_FORKED = 18,
    /// Only the leader can do that; the message names the leader, if one is known.
    LEASEHOLD_E_NOT_LEADER = 20,
    /// The node is giving its term back: try again when that is done.
    LEASEHOLD_E_RESIGNING = 21,
    /// A term cannot be transferred to the node that holds it.
    LEASEHOLD_E_TO_ITSELF = 22,
    /// The node was reported unfit to lead.
    LEASEHOLD_E_UNHEALTHY = 23,
    /// The node is stopping or has stopped.
    LEASEHOLD_E_STOPPED = 24,
    /// No server can be reached, or none answers. Trying again may help.
    LEASEHOLD_E_UNREACHABLE = 30,
    /// A server refused: credentials, TLS, permissions, JetStream, or an unsuitable bucket. For a
    /// person to put right.
    LEASEHOLD_E_SERVER = 31,
    /// The virtual IP cannot be held: its interface or a privilege.
    LEASEHOLD_E_VIP = 32,
    /// The system gave no descriptor, thread, handle or random bits.
    LEASEHOLD_E_SYSTEM = 33,
    /// A defect of this library.
    LEASEHOLD_E_PANIC = 99,
}

use leasehold_code::{
    LEASEHOLD_CLOSED, LEASEHOLD_E_CONFIG, LEASEHOLD_E_FORKED, LEASEHOLD_E_NOT_LEADER,
    LEASEHOLD_E_PANIC, LEASEHOLD_E_RESIGNING, LEASEHOLD_E_SERVER, LEASEHOLD_E_STOPPED,
    LEASEHOLD_E_SYSTEM, LEASEHOLD_E_TIMED_OUT, LEASEHOLD_E_TO_ITSELF, LEASEHOLD_E_UNHEALTHY,
    LEASEHOLD_E_UNREACHABLE, LEASEHOLD_E_VIP, LEASEHOLD_OK,
};

/// Why a call came to nothing.
#[derive(Debug)]
pub(super) struct Failure {
    code: leasehold_code,
    message: String,
}

/// What functions come to before they return to C.
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

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let code = match &error {
            StartError::Store(error) => of_store(error),
            StartError::Thread(_) | StartError::Random(_) => LEASEHOLD_E_SYSTEM,
            StartError::Vip(_) => LEASEHOLD_E_VIP,
        };
        Self::of(code, &error)
    }
}

fn of_store(error: &StoreError) -> leasehold_code {
    if error.may_pass() { LEASEHOLD_E_UNREACHABLE } else { LEASEHOLD_E_SERVER }
}

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// What was wrong with the newest call on this thread that returned a code other than
/// `LEASEHOLD_OK`: one line for people, without secrets. Empty before the first.
///
/// The text is the library's; it stands until the next such call on this thread. Copy what is to be
/// kept. Never fails and never returns null.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_last_error() -> *const c_char {
    const EMPTY: &[u8] = b"\0";
    // The thread is ending when it cannot be had.
    MESSAGE
        .try_with(|message| message.try_borrow().map(|text| text.as_ptr()).ok())
        .ok()
        .flatten()
        .unwrap_or(EMPTY.as_ptr().cast())
}

/// One line for C.
pub(super) fn c_line(text: &str) -> CString {
    CString::new(printable(text)).expect("invariant: printable text has no zero byte")
}

/// Runs a function of the API: refuses it in a forked child, keeps panics, and leaves the message.
pub(super) fn call(work: impl FnOnce() -> Result<()>) -> leasehold_code {
    let outcome = if fork::is_forked_child() {
        Err(Failure::new(LEASEHOLD_E_FORKED, "this process was forked from the library's"))
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
