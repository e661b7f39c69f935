//! Fencing: a gate in front of a resource admits the newest leader and refuses former ones.
//!
//! No lease can stop a process between its check and its write: the process may be suspended there
//! and write long after another node leads. So send the *fencing token*, the epoch and the session
//! of the term, along with every write, and let the resource ask a gate before it applies the
//! write. After a gate has admitted a token, it refuses lower epochs, and other sessions of the
//! same epoch.
//!
//! ```
//! use leasehold::fence::{Gate, Token};
//! use leasehold::lease::{Epoch, SessionId};
//!
//! let token = |epoch, session| {
//!     Token::new(Epoch::new(epoch).unwrap(), SessionId::from_bits(session))
//! };
//! let gate = Gate::new();
//! gate.admit(token(6, 0xa)).unwrap();
//! gate.admit(token(7, 0xb)).unwrap();
//! let fenced = gate.admit(token(6, 0xa)).unwrap_err(); // a former leader
//! assert_eq!(fenced.highest(), token(7, 0xb));
//! ```
//!
//! A leader's token is [`Leadership::token`](crate::Leadership::token).
//!
//! # Which gate
//!
//! | the resource | its gate |
//! |---|---|
//! | belongs to one process, which makes all its writes | [`Gate`] |
//! | is used by several processes of one machine | [`FileGate`], on Unix |
//! | is a database, an object store, a service | one of the [recipes](crate::guide::fencing) |
//!
//! # Check and write in one step
//! Between [`Gate::admit`] and your write, a newer leader may write; yours then overwrites that. To
//! prevent it, write inside [`Gate::admit_with`].
//!
//! # Pass the gate before you read
//! A new leader that reads the resource before its token was admitted may read too early: the
//! former leader may still write after that. So let the gate admit the token at the beginning of
//! the term, and read then.
//!
//! # Keep the token as long as the resource
//! A [`Gate`] lives as long as its process, and an empty gate admits any token first. If the
//! resource outlives the process, use a [`FileGate`]; or store the token together with the data, in
//! one atomic step, and [restore](Gate::restore) the gate from it.
//!
//! # When epochs restart
//! Epochs only rise while the bucket has its record, or the stream its sequence, or a running node
//! its memory. If all three are lost (all nodes stopped, and the bucket deleted or restored from an
//! old backup), epochs may fall, and the gate refuses every node. Make sure that no former leader
//! runs, then [`Gate::reset`] the gate by hand.

#[cfg(unix)]
mod file;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::str::FromStr;

use parking_lot::Mutex;
use thiserror::Error;

use crate::lease::{Epoch, SessionId};

#[cfg(unix)]
pub use self::file::{FileGate, FileGateError};

/// A fencing token: the epoch of a term and the session of its leader.
///
/// ```
/// use leasehold::fence::Token;
/// use leasehold::lease::{Epoch, SessionId};
///
/// let token = Token::new(Epoch::new(7).unwrap(), SessionId::from_bits(0xab));
/// let text = token.to_string(); // to send with a write, or to store beside the data
/// assert_eq!(text, "7 000000000000000000000000000000ab");
/// assert_eq!(text.parse(), Ok(token));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    epoch: Epoch,
    session: SessionId,
}

impl Token {
    /// The token of a term and a session.
    #[must_use]
    pub const fn new(epoch: Epoch, session: SessionId) -> Self {
        Self { epoch, session }
    }

    /// The epoch.
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        self.epoch
    }

    /// The session.
    #[must_use]
    pub const fn session(self) -> SessionId {
        self.session
    }

    /// Refuses a token that comes after `highest`, unless it is of a later term, or the same.
    fn check(self, highest: Self) -> Result<(), Fenced> {
        let admitted = self.epoch > highest.epoch || self == highest;
        if admitted { Ok(()) } else { Err(Fenced { shown: self, highest }) }
    }
}

impl fmt::Display for Token {
    /// `7 000102030405060708090a0b0c0d0e0f`, as [`FromStr`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.epoch, self.session)
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let (epoch, session) = text.split_once(' ').ok_or(NotAToken)?;
        let epoch = epoch.parse().map_err(|_| NotAToken)?;
        let session = session.parse().map_err(|_| NotAToken)?;
        Ok(Self::new(epoch, session))
    }
}

/// The text is not a token: the stored data is damaged. Do not start with an empty gate then.
///
/// ```
/// use leasehold::fence::{NotAToken, Token};
///
/// let stored = "7 00000"; // the file was cut off: restore it from a copy
/// assert_eq!(stored.parse::<Token>(), Err(NotAToken));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a fencing token: expected an epoch, a space and 32 hexadecimal digits")]
pub struct NotAToken;

/// The gate refused a token: its owner does not lead any more, or never led in that epoch. Nothing
/// was applied.
///
/// ```
/// use leasehold::fence::Fenced;
///
/// /// The response of a resource to a write: the sender of a refused one does not try again.
/// fn status(admitted: Result<(), Fenced>) -> u16 {
///     match admitted {
///         Ok(()) => 204,
///         Err(fenced) => {
///             eprintln!("{fenced}");
///             409
///         }
///     }
/// }
/// # assert_eq!(status(Ok(())), 204);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("fenced: epoch {} of session {} came after epoch {} of session {}",
    .shown.epoch, .shown.session, .highest.epoch, .highest.session)]
pub struct Fenced {
    shown: Token,
    highest: Token,
}

impl Fenced {
    /// The token that was refused.
    #[must_use]
    pub const fn shown(self) -> Token {
        self.shown
    }

    /// The highest token admitted so far.
    #[must_use]
    pub const fn highest(self) -> Token {
        self.highest
    }
}

/// Admits the tokens of the newest leader. Threads share it by reference.
///
/// One gate protects one resource for one cluster: epochs of different clusters cannot be compared.
///
/// ```
/// use leasehold::fence::Gate;
///
/// let stored = "7 000000000000000000000000000000ab"; // kept beside the data
/// let gate = Gate::restore(stored.parse()?);
/// assert_eq!(gate.highest().map(|token| token.epoch().as_u64()), Some(7));
/// # Ok::<(), leasehold::fence::NotAToken>(())
/// ```
#[derive(Debug, Default)]
pub struct Gate {
    highest: Mutex<Option<Token>>,
}

// A panic in `act` leaves the token stored, as the docs of `admit_with` say.
impl UnwindSafe for Gate {}
impl RefUnwindSafe for Gate {}

impl Gate {
    /// An empty gate. It admits the first token, whichever it is.
    #[must_use]
    pub const fn new() -> Self {
        Self { highest: parking_lot::const_mutex(None) }
    }

    /// A gate that continues after one that admitted `highest` last.
    #[must_use]
    pub const fn restore(highest: Token) -> Self {
        Self { highest: parking_lot::const_mutex(Some(highest)) }
    }

    /// Admits a token whose epoch is above all others so far, or that was admitted last. Blocks
    /// while an [`admit_with`](Self::admit_with) runs.
    ///
    /// # Errors
    /// [`Fenced`]: refuse the write. Its sender does not lead any more; trying again is useless.
    pub fn admit(&self, token: Token) -> Result<(), Fenced> {
        self.admit_with(token, || ())
    }

    /// As [`admit`](Self::admit), and runs `act` before another token is admitted.
    ///
    /// The gate remembers the token before `act` runs, so also when `act` fails or panics: a failed
    /// write may have been applied. `act` holds the lock of the gate: do not use the gate in it.
    ///
    /// # Errors
    /// [`Fenced`]: `act` did not run.
    pub fn admit_with<T>(&self, token: Token, act: impl FnOnce() -> T) -> Result<T, Fenced> {
        let mut highest = self.highest.lock();
        highest.map_or(Ok(()), |highest| token.check(highest))?;
        *highest = Some(token);
        Ok(act())
    }

    /// The highest token admitted so far. Blocks while an [`admit_with`](Self::admit_with) runs.
    #[must_use]
    pub fn highest(&self) -> Option<Token> {
        *self.highest.lock()
    }

    /// Empties the gate, after epochs have restarted, and returns the highest token. An operator
    /// does this after making sure that no former leader runs; a fenced program never does.
    pub fn reset(&self) -> Option<Token> {
        self.highest.lock().take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread;

    fn token(epoch: u64, session: u128) -> Token {
        Token::new(Epoch::new(epoch).unwrap(), SessionId::from_bits(session))
    }

    /// The guarantee of the gate, for the tokens in the order in which they were admitted: epochs
    /// never fall, and all tokens of one epoch have the same session.
    fn assert_fenced_order(admitted: &[Token]) {
        for pair in admitted.windows(2) {
            assert!(pair[1].epoch > pair[0].epoch || pair[1] == pair[0], "{pair:?}");
        }
    }

    #[test]
    fn a_lower_epoch_is_refused_and_the_error_has_the_highest() {
        let gate = Gate::new();
        assert_eq!(gate.highest(), None);
        gate.admit(token(7, 1)).unwrap();
        gate.admit(token(7, 1)).unwrap();
        let fenced = gate.admit(token(6, 2)).unwrap_err();
        assert_eq!((fenced.shown(), fenced.highest()), (token(6, 2), token(7, 1)));
        assert!(fenced.to_string().starts_with("fenced: epoch 6 of session 0"), "{fenced}");
        gate.admit(token(9, 2)).unwrap();
        assert!(gate.admit(token(8, 1)).is_err());
        assert_eq!(gate.highest(), Some(token(9, 2)));
    }

    #[test]
    fn an_epoch_belongs_to_its_first_session() {
        let gate = Gate::new();
        gate.admit(token(7, 1)).unwrap();
        assert!(gate.admit(token(7, 2)).is_err());
        gate.admit(token(7, 1)).unwrap();
    }

    #[test]
    fn a_restored_gate_continues_and_a_reset_one_is_empty() {
        let gate = Gate::restore(token(7, 1));
        assert!(gate.admit(token(6, 1)).is_err());
        assert!(gate.admit(token(7, 2)).is_err());
        gate.admit(token(7, 1)).unwrap();
        assert_eq!(gate.reset(), Some(token(7, 1)));
        gate.admit(token(1, 3)).unwrap();
    }

    #[test]
    fn the_token_of_an_act_that_fails_or_panics_is_remembered() {
        let gate = Gate::new();
        let (failing, panicking) = (token(3, 1), token(4, 1));
        let failed = gate.admit_with(failing, || Err::<(), _>("disk"));
        assert_eq!(failed, Ok(Err("disk")));
        assert_eq!(gate.highest(), Some(failing));
        let panic = AssertUnwindSafe(|| {
            let _ = gate.admit_with(panicking, || panic!("in act"));
        });
        catch_unwind(panic).unwrap_err();
        assert_eq!(gate.highest(), Some(panicking));
        assert!(gate.admit(failing).is_err());
    }

    #[test]
    fn the_act_of_a_fenced_token_does_not_run() {
        let gate = Gate::restore(token(7, 1));
        let fenced = gate.admit_with(token(6, 1), || panic!("ran behind a gate that refused"));
        assert!(fenced.is_err());
    }

    #[test]
    fn a_token_is_read_as_it_is_displayed_and_other_texts_are_refused() {
        let highest = token(Epoch::MAX, u128::MAX);
        for token in [token(1, 0), token(7, 0xab), highest] {
            assert_eq!(token.to_string().parse(), Ok(token));
        }
        let session = "0".repeat(32);
        for text in ["", " ", "7", "7 ", "x x"] {
            assert_eq!(text.parse::<Token>(), Err(NotAToken), "{text:?}");
        }
        for epoch in ["0", "+7", "-7", "", "9223372036854775808", "18446744073709551616", " 7"] {
            assert!(format!("{epoch} {session}").parse::<Token>().is_err(), "{epoch:?}");
        }
        assert!(format!("7 {session}0").parse::<Token>().is_err());
        assert!(format!("7 {session}\n").parse::<Token>().is_err());
    }

    #[test]
    fn many_threads_are_admitted_in_fenced_order() {
        static GATE: Gate = Gate::new();
        let written = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for session in 0..8_u128 {
                let written = &written;
                scope.spawn(move || {
                    for step in 0..2_000_u64 {
                        // All sessions use the same epochs.
                        let token = token(1 + step / 3, session);
                        let _ = GATE.admit_with(token, || written.lock().push(token));
                    }
                });
            }
        });
        let written = written.into_inner();
        assert!(
            written.len() >= 667,
            "one token at least for each of 667 epochs, {}",
            written.len()
        );
        assert_fenced_order(&written);
        assert_eq!(GATE.highest().map(|token| token.epoch.as_u64()), Some(667));
    }

    proptest! {
        #[test]
        fn tokens_in_any_order_are_admitted_in_fenced_order(
            arrivals in prop::collection::vec((1..9_u64, 0..3_u128), 0..60)
        ) {
            let gate = Gate::new();
            let arrivals = arrivals.into_iter().map(|(epoch, session)| token(epoch, session));
            let admitted: Vec<_> = arrivals.filter(|token| gate.admit(*token).is_ok()).collect();
            assert_fenced_order(&admitted);
            prop_assert_eq!(gate.highest(), admitted.last().copied());
        }
    }
}
