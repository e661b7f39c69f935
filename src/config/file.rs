//! The configuration's file on disk: read within bounds, replaced in one step.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Longest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// The file's text. Reads no further than needed to see that it is too long.
pub(super) fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(file)?.take(MAX_FILE_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Opens a file to read it. Only a regular one: a pipe without a writer would block for ever.
pub(crate) fn open(file: &Path) -> io::Result<File> {
    check_regular(&fs::metadata(file)?)?;
    File::open(file)
}

fn check_regular(data: &Metadata) -> io::Result<()> {
    let error = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
    data.is_file().then_some(()).ok_or_else(error)
}

/// Replaces the file: writes a new one beside it, flushes that to disk, and renames it.
pub(super) fn write(file: &Path, text: &str, secret: bool) -> io::Result<()> {
    // A symbolic link is followed: its target is replaced.
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let old = fs::metadata(&target).ok();
    old.as_ref().map_or(Ok(()), check_regular)?;
    let (temporary, mut handle) = create_temporary(folder, secret)?;
    let written = handle
        .write_all(text.as_bytes())
        .and_then(|()| match old {
            Some(old) if !secret => handle.set_permissions(old.permissions()),
            _ => Ok(()),
        })
        .and_then(|()| handle.sync_all())
        .and_then(|()| fs::rename(&temporary, &target));
    if written.is_err() {
        // Best effort: the first error is reported.
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
        // Narrow from the start. The umask narrows 0666 further.
        options.mode(if secret { 0o600 } else { 0o666 });
    }
    #[cfg(not(unix))]
    let _ = secret;
    let handle = options.open(&temporary)?;
    Ok((temporary, handle))
}

/// Makes the rename itself durable, where the folder may be opened.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder).map_or(Ok(()), |folder| folder.sync_all())
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
pub(super) fn everybody_may_read(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|data| data.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
pub(super) fn everybody_may_read(_: &Path) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_that_everybody_may_read_is_told_from_one_that_a_group_may() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cluster.json");
        for (mode, everybody) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(everybody_may_read(&file), everybody, "{mode:o}");
        }
        assert!(!everybody_may_read(&folder.path().join("missing")));
    }

    #[test]
    fn a_device_is_not_replaced_by_a_file() {
        let error = write(Path::new("/dev/null"), "x", false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
