//! Text files: read within bounds, and the configuration's file replaced in one step.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Longest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// The byte order mark of UTF-8, which some editors write.
const UTF8_MARK: &[u8] = "\u{feff}".as_bytes();

/// The text of a file of at most `limit` bytes, without a byte order mark.
pub(crate) fn read_text(file: &Path, limit: usize) -> io::Result<String> {
    String::from_utf8(read_lines(file, limit)?).map_err(|_| unusable("it is not valid UTF-8"))
}

/// As [`read_text`], for files with text of any encoding between the lines that count.
pub(crate) fn read_lines(file: &Path, limit: usize) -> io::Result<Vec<u8>> {
    // Only a regular file: a pipe without a writer would block for ever.
    check_regular(&fs::metadata(file)?)?;
    let (mut bytes, most) = (Vec::new(), u64::try_from(limit).unwrap_or(u64::MAX));
    // No further than needed to see that it is too long.
    File::open(file)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(unusable(&format!("it is longer than {limit} bytes")));
    }
    if is_utf16(&bytes) {
        return Err(unusable("it is UTF-16, must be UTF-8"));
    }
    if bytes.starts_with(UTF8_MARK) {
        bytes.drain(..UTF8_MARK.len());
    }
    Ok(bytes)
}

/// Whether a text begins with the byte order mark of UTF-16, or with an ASCII character in UTF-16.
fn is_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=255, ..] | [1..=255, 0, ..])
}

fn unusable(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
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

#[cfg(test)]
mod text_tests {
    use super::*;

    /// What a file with these bytes is read as.
    fn read(bytes: &[u8], limit: usize) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, bytes).unwrap();
        read_text(&file, limit).map_err(|error| error.to_string())
    }

    #[test]
    fn a_byte_order_mark_is_skipped_once_and_line_ends_are_kept() {
        assert_eq!(read(b"\xef\xbb\xbf{}\r\n", 9).as_deref(), Ok("{}\r\n"));
        assert_eq!(read("\u{feff}\u{feff}ä".as_bytes(), 9).as_deref(), Ok("\u{feff}ä"));
        for text in ["", "a", "\0", "{}"] {
            assert_eq!(read(text.as_bytes(), 9).as_deref(), Ok(text));
        }
    }

    #[test]
    fn another_encoding_is_named() {
        let utf16 = |order: fn(u16) -> [u8; 2], text: &str| -> Vec<u8> {
            text.encode_utf16().flat_map(order).collect()
        };
        for text in ["{ }", "\u{feff}{ }", "\u{feff}ä"] {
            for order in [u16::to_le_bytes, u16::to_be_bytes] {
                let refused = read(&utf16(order, text), 99).unwrap_err();
                assert_eq!(refused, "it is UTF-16, must be UTF-8", "{text:?}");
            }
        }
        assert_eq!(read(b"{\xe4}", 9).unwrap_err(), "it is not valid UTF-8");
    }

    #[test]
    fn the_limit_counts_bytes() {
        assert!(read(b"12345", 5).is_ok());
        assert_eq!(read(b"123456", 5).unwrap_err(), "it is longer than 5 bytes");
        // In the middle of a character.
        assert_eq!(read("1234ä".as_bytes(), 4).unwrap_err(), "it is longer than 4 bytes");
    }
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
