//! The configuration's file on disk: read within bounds, replaced in one step.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::error::ConfigError;

/// Longest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// The file's text. Reads no further than needed to see that it is too long.
pub(super) fn read(file: &Path) -> Result<String, ConfigError> {
    let read = || {
        let mut text = String::new();
        let bound = MAX_FILE_BYTES as u64 + 1;
        File::open(file)?.take(bound).read_to_string(&mut text)?;
        Ok(text)
    };
    read().map_err(|source| ConfigError::Read { file: file.to_owned(), source })
}

/// Replaces the file: written beside it, flushed to disk, renamed over it.
pub(super) fn write(file: &Path, text: &str, secret: bool) -> io::Result<()> {
    // Through a link, the file it leads to is replaced and not the link.
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let (temporary, mut handle) = create_temporary(folder, secret)?;
    let written = handle
        .write_all(text.as_bytes())
        .and_then(|()| set_mode(&handle, &target, secret))
        .and_then(|()| handle.sync_all())
        .and_then(|()| fs::rename(&temporary, &target));
    if written.is_err() {
        // Best effort: the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_folder(folder)
}

fn create_temporary(folder: &Path, secret: bool) -> io::Result<(PathBuf, File)> {
    let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    let temporary = folder.join(format!(".leasehold-{random:016x}.tmp"));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Narrow from the first moment on; the umask narrows the other further.
        options.mode(if secret { 0o600 } else { 0o666 });
    }
    #[cfg(not(unix))]
    let _ = secret;
    let handle = options.open(&temporary)?;
    Ok((temporary, handle))
}

/// A file without secrets keeps the mode it had.
fn set_mode(handle: &File, target: &Path, secret: bool) -> io::Result<()> {
    match fs::metadata(target) {
        Ok(old) if !secret => handle.set_permissions(old.permissions()),
        _ => Ok(()),
    }
}

/// Makes the rename itself durable.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
pub(super) fn everybody_may_read(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
pub(super) fn everybody_may_read(_: &Path) -> bool {
    false
}
