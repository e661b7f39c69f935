//! A gate that several processes share, by a file.
//!
//! The file has always a whole token, or does not exist: it appears with its first token, later
//! ones overwrite that in one sector, and a reset removes the file. So an empty file is a damaged
//! one, and no failure between two steps makes an empty gate.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use thiserror::Error;

use super::{Fenced, NotAToken, Token};

/// The length of the token's line in bytes: epoch, space, session and line feed. It is the same for
/// all tokens, so that overwriting one never changes the size of the file.
const LINE: usize = EPOCH_DIGITS + 1 + 32 + 1;
const EPOCH_DIGITS: usize = 19;

/// How often a lock that another one holds is tried. The system has no wait with a limit.
const POLL: Duration = Duration::from_millis(1);

/// A gate that the processes of one machine share: the highest token is in a file.
///
/// Each admission locks the file and reads the token **again**, so it does not matter when a
/// process opened the gate, nor how many processes and threads use it. Like [`Gate`](super::Gate),
/// it admits a token whose epoch is above all others so far, or that was admitted last.
///
/// This writes a file of data behind a gate. The data is replaced in one step, so that a process
/// that is killed leaves the old data or the new.
///
/// ```
/// use leasehold::fence::{FileGate, FileGateError, Token};
/// # use leasehold::lease::{Epoch, SessionId};
/// use std::fs::{self, File};
/// use std::io::{self, Write};
/// use std::path::Path;
///
/// fn store(gate: &FileGate, token: Token, data: &Path, state: &str) -> io::Result<()> {
///     let write = || {
///         let temporary = data.with_extension("new"); // the lock keeps others from it
///         let mut file = File::create(&temporary)?;
///         file.write_all(state.as_bytes())?;
///         file.sync_all()?;
///         fs::rename(&temporary, data)
///     };
///     gate.admit_with(token, write).map_err(io::Error::other)?
/// }
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// # let token = |epoch| Token::new(Epoch::new(epoch).unwrap(), SessionId::from_bits(1));
/// # let (old_token, new_token) = (token(6), token(7));
/// let data = folder.join("state");
/// let gate = FileGate::new(folder.join("state.gate"))?; // each process does this
///
/// store(&gate, old_token, &data, "six")?;
/// gate.admit(new_token)?; // a new leader first passes the gate,
/// let state = fs::read_to_string(&data)?; // and then reads
/// assert_eq!(state, "six");
/// store(&gate, new_token, &data, "seven")?;
/// assert!(store(&gate, old_token, &data, "too late").is_err());
/// assert!(matches!(gate.admit(old_token), Err(FileGateError::Fenced { .. })));
/// # assert_eq!(fs::read_to_string(&data)?, "seven");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # The file
/// One line: the epoch with leading zeros, a space, 32 hexadecimal digits of the session. The first
/// admission makes the file, which only its user may read and write then; for several users,
/// change its mode. The gate does not follow a symbolic link. A file without a token is an error:
/// an empty file too.
///
/// Put the file into a folder that only these programs may write. Deleting the file empties the
/// gate like [`reset`](Self::reset), but does not wait for a write that is under way. Back up and
/// restore the file together with the data.
///
/// # Blocking
/// Every method blocks while a write inside [`admit_with`](Self::admit_with) runs, in another
/// process or another thread, and returns [`FileGateError::Busy`] after the
/// [lock timeout](Self::lock_timeout). It tries the lock every millisecond: who gets it next is not
/// defined, and a process that writes without a pause can keep others out. So call
/// [`ensure`](crate::Leadership::ensure) before each write. A process that is suspended in its
/// write keeps the lock, and the new leader out, until it goes on or is killed. The kernel frees
/// the lock of a process that has ended.
///
/// Programs that a write starts do not inherit the lock. A write must not `fork` without `exec`: a
/// child may keep the lock, or free it too early.
///
/// # What is durable
/// The token is on the disk before the write begins, so each admission waits for the disk once,
/// some milliseconds or less. The disk must write a sector whole or not at all.
///
/// # Network file systems
/// Use a local file system. On NFS, a client that loses its connection also loses its locks, and a
/// write may go on without. Processes of several machines need another gate.
#[derive(Clone, Debug)]
pub struct FileGate {
    path: PathBuf,
    lock_timeout: Duration,
}

impl FileGate {
    /// The default lock timeout.
    pub const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

    /// The gate with this file. Opens nothing yet; the file may be missing, its folder may not.
    /// A relative path is of the working folder of this moment.
    ///
    /// # Errors
    /// [`FileGateError::Io`]: the path is empty, or relative while there is no working folder.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, FileGateError> {
        let path = path.as_ref();
        let absolute = std::path::absolute(path).map_err(|source| io_error(path, source))?;
        Ok(Self { path: absolute, lock_timeout: Self::DEFAULT_LOCK_TIMEOUT })
    }

    /// How long to wait for the lock: default 5 s, any duration. With zero, a lock that another
    /// one holds is [`FileGateError::Busy`] at once.
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Admits a token whose epoch is above all others so far, or that was admitted last. Blocks,
    /// see [above](Self#blocking).
    ///
    /// # Errors
    /// [`FileGateError`]: the token was not admitted.
    pub fn admit(&self, token: Token) -> Result<(), FileGateError> {
        self.admit_with(token, || ())
    }

    /// As [`admit`](Self::admit), and runs `act` before another token is admitted, on this thread.
    ///
    /// The token is stored before `act` runs, so also when `act` fails or panics: a failed write
    /// may have been applied. `act` holds the lock of the gate: do not use the gate in it.
    ///
    /// # Errors
    /// [`FileGateError`]: `act` did not run.
    pub fn admit_with<T>(&self, token: Token, act: impl FnOnce() -> T) -> Result<T, FileGateError> {
        let file = self.lock_or_create(token)?;
        let highest = self.read(&file)?;
        token
            .check(highest)
            .map_err(|fenced| FileGateError::Fenced { path: self.path.clone(), fenced })?;
        write(&file.0, token).map_err(|error| self.error(error))?;
        Ok(act())
    }

    /// The highest token admitted so far, by any process; `None` for an empty gate. Needs no right
    /// to write. Blocks, see [above](Self#blocking).
    ///
    /// # Errors
    /// [`FileGateError`], except [`Fenced`](FileGateError::Fenced).
    pub fn highest(&self) -> Result<Option<Token>, FileGateError> {
        let file = self.lock(FlockOperation::NonBlockingLockShared)?;
        file.map(|file| self.read(&file)).transpose()
    }

    /// Empties the gate by removing its file, also a damaged one, and returns the highest token if
    /// there was a readable one. Waits for a write that is under way; blocks, see
    /// [above](Self#blocking).
    ///
    /// An operator does this after epochs have restarted, and after making sure that no former
    /// leader runs; a fenced program never does.
    ///
    /// # Errors
    /// [`FileGateError::Busy`], [`NotAFile`](FileGateError::NotAFile) or
    /// [`Io`](FileGateError::Io).
    pub fn reset(&self) -> Result<Option<Token>, FileGateError> {
        let Some(file) = self.lock(FlockOperation::NonBlockingLockExclusive)? else {
            return Ok(None);
        };
        let highest = self.read(&file).ok();
        let removed = fs::remove_file(&self.path).and_then(|()| sync_folder(&self.path));
        removed.map_err(|error| self.error(error))?;
        Ok(highest)
    }

    /// The locked file; `None` without a file.
    fn lock(&self, operation: FlockOperation) -> Result<Option<Locked>, FileGateError> {
        self.retry(|| match self.try_lock(operation)? {
            Attempt::Locked(file) => Ok(Some(Some(file))),
            Attempt::Missing => Ok(Some(None)),
            Attempt::Busy => Ok(None),
        })
    }

    /// The locked file, made with this token if there was none.
    fn lock_or_create(&self, token: Token) -> Result<Locked, FileGateError> {
        self.retry(|| match self.try_lock(FlockOperation::NonBlockingLockExclusive)? {
            Attempt::Locked(file) => Ok(Some(file)),
            Attempt::Missing => create(&self.path, token).map_err(|error| self.error(error)),
            Attempt::Busy => Ok(None),
        })
    }

    /// Tries until the lock timeout has passed, at least once.
    fn retry<T>(
        &self,
        attempt: impl Fn() -> Result<Option<T>, FileGateError>,
    ) -> Result<T, FileGateError> {
        let start = Instant::now();
        loop {
            if let Some(done) = attempt()? {
                return Ok(done);
            }
            let left = self.lock_timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                let (path, waited) = (self.path.clone(), self.lock_timeout);
                return Err(FileGateError::Busy { path, waited });
            }
            thread::sleep(POLL.min(left));
        }
    }

    fn try_lock(&self, operation: FlockOperation) -> Result<Attempt, FileGateError> {
        let attempt = match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_file() => open_and_lock(&self.path, operation),
            Ok(_) => return Err(FileGateError::NotAFile(self.path.clone())),
            // An operator who names a wrong folder must not take it for an empty gate.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::metadata(folder_of(&self.path)).map(|_| Attempt::Missing)
            }
            Err(error) => Err(error),
        };
        attempt.map_err(|error| self.error(error))
    }

    fn read(&self, file: &Locked) -> Result<Token, FileGateError> {
        let mut bytes = Vec::new();
        let read = (&file.0).take(LINE as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.error(error))?;
        parse(&bytes).map_err(|source| FileGateError::NotAToken { path: self.path.clone(), source })
    }

    fn error(&self, source: io::Error) -> FileGateError {
        io_error(&self.path, source)
    }
}

/// Why a [`FileGate`] did not admit a token, or could not be read. Nothing was applied.
///
/// ```
/// use leasehold::fence::{FileGate, FileGateError, Token};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("orders.gate");
/// # let token: Token = "7 000000000000000000000000000000ab".parse()?;
/// let gate = FileGate::new(path)?;
/// match gate.admit(token) {
///     Ok(()) => println!("write now"),
///     Err(FileGateError::Fenced { .. }) => println!("another node leads: end the work"),
///     Err(FileGateError::Busy { .. }) => println!("try again"),
///     Err(error) => return Err(error.into()), // an operator has to act
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileGateError {
    /// The token's owner does not lead any more. Refuse the write; trying again is useless.
    #[error("{}: {fenced}", .path.display())]
    Fenced {
        /// The file.
        path: PathBuf,
        /// The token, and the one that came after it.
        fenced: Fenced,
    },
    /// Another process or thread held the lock for the whole lock timeout: its write takes long, or
    /// it is suspended in it. Try again, or end that process.
    #[error("{}: another process or thread held the lock for {waited:?}", .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// The lock timeout.
        waited: Duration,
    },
    /// The path names a symbolic link, a folder, a pipe or a device. An operator puts it right.
    #[error("{}: not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// The file is damaged, perhaps empty. An operator restores it, or [resets](FileGate::reset)
    /// the gate after making sure that no former leader runs.
    #[error("{}: {source}", .path.display())]
    NotAToken {
        /// The file.
        path: PathBuf,
        /// What was expected.
        source: NotAToken,
    },
    /// The file could not be made, opened, locked, read or written. The token may have been stored.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn io_error(path: &Path, source: io::Error) -> FileGateError {
    FileGateError::Io { path: path.to_owned(), source }
}

/// What came of one attempt to lock the file.
enum Attempt {
    Locked(Locked),
    /// Another one has the lock, or the file was replaced: to be tried again.
    Busy,
    Missing,
}

/// A locked file. Unlocked by a call, as closing alone would leave the lock to a child process that
/// was forked meanwhile and has not yet called `exec`.
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing follows, which frees the lock too.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Opens and locks what was a regular file a moment ago. Should it be a pipe by now, it does not
/// block the caller.
fn open_and_lock(path: &Path, operation: FlockOperation) -> io::Result<Attempt> {
    let access = match operation {
        FlockOperation::NonBlockingLockShared => OFlags::RDONLY,
        _ => OFlags::RDWR,
    };
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => lock_if_current(File::from(file), operation, path),
        Err(Errno::NOENT | Errno::LOOP) => Ok(Attempt::Busy),
        Err(error) => Err(error.into()),
    }
}

/// Locks an open file, unless another one holds the lock, or the path names another file by now:
/// those who come later would lock that one.
fn lock_if_current(file: File, operation: FlockOperation, path: &Path) -> io::Result<Attempt> {
    match flock(&file, operation) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(Attempt::Busy),
        Err(error) => return Err(error.into()),
    }
    let file = Locked(file);
    let named = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Attempt::Busy),
        named => named?,
    };
    let opened = file.0.metadata()?;
    let current = (named.dev(), named.ino()) == (opened.dev(), opened.ino());
    Ok(if current { Attempt::Locked(file) } else { Attempt::Busy })
}

/// Makes the file. It appears with its token and locked, or not at all; `None` when another one has
/// made it meanwhile.
fn create(path: &Path, token: Token) -> io::Result<Option<Locked>> {
    let (temporary, file) = create_temporary(path)?;
    let made = write(&file, token)
        .and_then(|()| Ok(flock(&file, FlockOperation::NonBlockingLockExclusive)?))
        .and_then(|()| fs::hard_link(&temporary, path));
    // Best effort: a file that is left there does no harm.
    let _ = fs::remove_file(&temporary);
    match made {
        Ok(()) => sync_folder(path).map(|()| Some(Locked(file))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error),
    }
}

fn create_temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    let temporary = folder_of(path).join(format!(".leasehold-{random:016x}.tmp"));
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL;
    let file = rustix::fs::open(&temporary, flags, Mode::RUSR | Mode::WUSR)?;
    Ok((temporary, File::from(file)))
}

/// Makes durable that a file appeared or is gone.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Stores the token, over the one that is there. Durable on return.
fn write(file: &File, token: Token) -> io::Result<()> {
    let (epoch, session) = (token.epoch().as_u64(), token.session());
    let line = format!("{epoch:0EPOCH_DIGITS$} {session}\n");
    file.write_all_at(line.as_bytes(), 0)?;
    file.sync_data()
}

/// Reads the token in the file's bytes. Written by hand, it may lack zeros and the line feed. It is
/// not longer than a line that this writes, of which the rest would stay behind the next token.
fn parse(bytes: &[u8]) -> Result<Token, NotAToken> {
    if bytes.len() > LINE {
        return Err(NotAToken);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NotAToken)?;
    text.strip_suffix('\n').unwrap_or(text).parse()
}

#[cfg(test)]
mod tests;
